package providertest

import (
	"slices"

	"github.com/durango-go/durango/provider"
)

var lookupCases = []testCase{
	{"TheUnknownAreNotFound", func(h *harness) {
		key := h.fresh("a")
		for _, t := range []provider.Target{{}, {ID: "A"}, {ID: "nobody"}, {Key: provider.NewKey()}, {Key: key, ID: "b"}} {
			for kind := provider.LookupStatus; kind <= provider.LookupReply; kind++ {
				f := only(h, "findings", h.lookup(provider.Lookup{To: t, Kind: kind, Name: "x"}))
				h.is(f.Err, provider.ErrNotFound, "look up")
				h.same("found", f.Found, false)
			}
		}
	}},
	{"ByIDOrKey", func(h *harness) {
		key := h.everything(h.join(), "a")
		for _, t := range []provider.Target{{Key: key}, {ID: "a"}, {Key: key, ID: "a"}} {
			f := only(h, "findings", h.lookup(provider.Lookup{To: t, Kind: provider.LookupValue, Name: "x"}))
			h.ok(f.Err, "look up")
			h.same("finding", f, provider.Finding{Key: key, Status: provider.Running, Found: true, Payload: []byte("1")})
		}
	}},
	{"AnUnknownKindIsInvalid", func(h *harness) {
		key := h.everything(h.join(), "a")
		for _, kind := range []provider.LookupKind{0, 4, 255} {
			f := only(h, "findings", h.lookup(provider.Lookup{To: provider.Target{Key: key}, Kind: kind, Name: "x"}))
			h.is(f.Err, provider.ErrInvalid, "look up")
			h.same("found", f.Found, false)
		}
	}},
	{"WhatIsNotThereIsNotAnError", func(h *harness) {
		key := h.fresh("a")
		for kind := provider.LookupStatus; kind <= provider.LookupReply; kind++ {
			f := h.find(key, kind, "x")
			h.same("payload", len(f.Payload), 0)
			f.Payload = nil
			h.same("finding", f, provider.Finding{Key: key, Status: provider.Pending})
		}
	}},
	{"TheStatusIsShown", func(h *harness) {
		node := h.join()
		want := map[provider.Key]provider.Status{
			h.fresh("a"): provider.Pending, h.owned(node, "b"): provider.Pending, h.asleep(node, "c"): provider.Running,
			h.ended(node, "d"): provider.Completed, h.everything(node, "e"): provider.Running,
		}
		suspended := h.fresh("f")
		h.ok(h.Suspend(h.ctx, provider.Target{Key: suspended}), "suspend")
		want[suspended] = provider.Suspended
		for key, status := range want {
			for kind := provider.LookupStatus; kind <= provider.LookupReply; kind++ {
				f := h.find(key, kind, "x")
				h.same("status", f.Status, status)
				h.same("key", f.Key, key)
			}
		}
	}},
	{"ValuesAndRepliesDoNotMix", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Values, c.Replies = []provider.Value{value("x", "value"), value("v", "")}, []provider.Reply{reply("x", "reply"), reply("r", "")}
		h.apply(node, c)
		h.same("value", string(h.find(key, provider.LookupValue, "x").Payload), "value")
		h.same("reply", string(h.find(key, provider.LookupReply, "x").Payload), "reply")
		h.same("a reply as value", h.find(key, provider.LookupValue, "r").Found, false)
		h.same("a value as reply", h.find(key, provider.LookupReply, "v").Found, false)
		h.same("the status", h.find(key, provider.LookupStatus, "x").Found, false)
		h.same("turn of a value", h.find(key, provider.LookupValue, "x").Turn, int64(0))
	}},
	{"ItemByItem", func(h *harness) {
		node := h.join()
		a, b := h.everything(node, "a"), h.owned(node, "b")
		h.publish(node, b, value("x", "of b"))
		findings := h.lookup(
			provider.Lookup{To: provider.Target{ID: "b"}, Kind: provider.LookupValue, Name: "x"},
			provider.Lookup{To: provider.Target{ID: "nobody"}, Kind: provider.LookupValue, Name: "x"},
			provider.Lookup{To: provider.Target{Key: a}, Kind: provider.LookupReply, Name: "r"},
			provider.Lookup{To: provider.Target{Key: a}, Kind: 9},
			provider.Lookup{To: provider.Target{Key: a}, Kind: provider.LookupStatus},
			provider.Lookup{To: provider.Target{Key: a}, Kind: provider.LookupValue, Name: "x"},
		)
		got := []string{}
		for _, f := range findings {
			got = append(got, string(f.Payload))
		}
		h.same("payloads", got, []string{"of b", "", "yes", "", "status", "1"})
		h.is(findings[1].Err, provider.ErrNotFound, "the second")
		h.is(findings[3].Err, provider.ErrInvalid, "the fourth")
	}},
}

// lookup looks up a batch.
func (h *harness) lookup(batch ...provider.Lookup) []provider.Finding {
	h.Helper()
	findings, err := h.Lookup(h.ctx, batch)
	h.ok(err, "look up")
	if len(findings) != len(batch) {
		h.Fatalf("look up: %d results for %d items", len(findings), len(batch))
	}
	return findings
}

// find looks up one thing of an instance that is known.
func (h *harness) find(key provider.Key, kind provider.LookupKind, name string) provider.Finding {
	h.Helper()
	f := only(h, "findings", h.lookup(provider.Lookup{To: provider.Target{Key: key}, Kind: kind, Name: name}))
	h.ok(f.Err, "look up "+name)
	return f
}

// definitionCases allow what the contract allows: the list may lag, and may
// name what has ended.
var definitionCases = []testCase{
	{"AnEmptyStoreHasNone", func(h *harness) {
		h.same("definitions", len(h.definitions()), 0)
	}},
	{"WhateverIsOpenIsListed", func(h *harness) {
		node := h.join()
		want := []provider.Definition{
			{Name: "flow", Version: "1.0.0"}, {Name: "flow", Version: "2.0.0"}, {Name: "flow", Version: ""},
			{Name: "Flow", Version: "^1.2"}, {Name: "bill", Version: "1.0.0"},
		}
		for i, d := range want {
			for _, twice := range []string{"a", "b"} {
				n := draft(twice + itoa(i))
				n.Name, n.Version = d.Name, d.Version
				if i == 1 {
					n.NotBefore = h.now() + hour
				}
				n.Owned = i == 2
				h.create(node, n)
				if i == 3 {
					h.ok(h.Suspend(h.ctx, provider.Target{Key: n.Key}), "suspend")
				}
			}
		}
		h.listed(want...)
		for _, d := range h.definitions() {
			if !slices.Contains(want, d) {
				h.Errorf("%+v is listed and was never in the store", d)
			}
		}
	}},
	{"AVersionThatWasChosenIsListed", func(h *harness) {
		node := h.join()
		n := draft("a")
		n.Version, n.Owned = "", true
		h.create(node, n)
		h.listed(provider.Definition{Name: "flow"})
		c := h.turn(n.Key)
		c.Version = "1.4.2"
		h.apply(node, c)
		h.listed(provider.Definition{Name: "flow", Version: "1.4.2"})
		c = h.turn(n.Key)
		c.Name, c.Version = "renamed", "^2"
		h.apply(node, c)
		h.listed(provider.Definition{Name: "renamed", Version: "^2"})
	}},
	{"ChildrenAreListed", func(h *harness) {
		node := h.join()
		c := h.turn(h.owned(node, "a"))
		child := draft("child")
		child.Name, child.Version = "part", "3"
		c.Children = []provider.NewInstance{child}
		c.Status = provider.Completed
		h.apply(node, c)
		h.listed(provider.Definition{Name: "part", Version: "3"})
	}},
	{"TheOpenStayListedWhenOthersEnd", func(h *harness) {
		node := h.join()
		h.fresh("a")
		h.ended(node, "b")
		h.ok(h.Delete(h.ctx, provider.Target{Key: h.fresh("c")}, true), "delete")
		h.listed(flow)
	}},
}

func (h *harness) definitions() []provider.Definition {
	h.Helper()
	definitions, err := h.Definitions(h.ctx)
	h.ok(err, "definitions")
	return definitions
}

// listed waits until the definitions are listed.
func (h *harness) listed(want ...provider.Definition) {
	h.Helper()
	for _, d := range want {
		h.eventually("the definition "+d.Name+" "+d.Version, func() bool { return slices.Contains(h.definitions(), d) })
	}
}
