package providertest

import (
	"strings"
	"time"

	"github.com/durango-go/durango/provider"
)

var createCases = []testCase{
	{"ANewInstanceIsPendingAndDue", func(h *harness) {
		before := h.now()
		key := h.fresh("a")
		row := h.row(key)
		if row.CreatedAt < before-hour || row.CreatedAt > before+hour {
			h.Errorf("created at %d, the clock says %d", row.CreatedAt, before)
		}
		if row.WakeAt > h.now() {
			h.Errorf("wake at %d is in the future", row.WakeAt)
		}
		h.same("row", row, provider.Instance{
			Key: key, ID: "a", Name: "flow", Version: "1.0.0", Status: provider.Pending,
			Execution: 1, NextTurn: 1, HistoryFrom: 1, MailboxSeq: 1,
			CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, WakeAt: row.WakeAt,
		})
	}},
	{"StartIsMessageNumberOne", func(h *harness) {
		key := h.fresh("a")
		h.same("mail", h.mail(key), []provider.Mail{{Seq: 1, Payload: []byte("start a")}})
	}},
	{"OwnedFromBirth", func(h *harness) {
		node, other := h.join(), h.join()
		key := h.owned(node, "a")
		row := h.row(key)
		h.same("owner", row.Owner, node)
		h.same("attempts", row.Attempts, int64(1))
		h.same("claimed by another", len(h.claim(other, 10).Claimed), 0)
		h.same("claimed by the owner", len(h.claim(node, 10).Claimed), 0)
		h.apply(node, h.turn(key))
	}},
	{"Rule01OwnedNeedsALiveNode", func(h *harness) {
		// DESIGN 6, rule 1: "A transaction that writes a node's key into any
		// row first locks that node's row and checks it exists."
		node := h.join()
		h.kill(node)
		plain, owned := draft("a"), draft("b")
		owned.Owned = true
		_, err := h.Create(h.ctx, node, []provider.NewInstance{plain, owned})
		h.is(err, provider.ErrNodeGone, "create")
		for _, key := range []provider.Key{plain.Key, owned.Key} {
			_, err := h.Get(h.ctx, provider.Target{Key: key})
			h.is(err, provider.ErrNotFound, "get")
		}
	}},
	{"UnownedNeedsNoNode", func(h *harness) {
		h.create(0, draft("a"))
		h.create(provider.NewNodeKey(), draft("b"))
	}},
	{"ATakenIDIsToldWhoHasIt", func(h *harness) {
		key := h.fresh("a")
		before := h.row(key)
		results, err := h.Create(h.ctx, 0, []provider.NewInstance{draft("b"), draft("a"), draft("c")})
		h.ok(err, "create")
		h.ok(results[0].Err, "create b")
		h.is(results[1].Err, provider.ErrAlreadyExists, "create a")
		h.same("key", results[1].Key, key)
		h.ok(results[2].Err, "create c")
		h.same("row", h.row(key), before)
		h.same("mail", h.letters(key), []string{"start a"})
	}},
	{"TheSameKeyAndIDSucceedAgain", func(h *harness) {
		node := h.join()
		n := draft("a")
		n.Owned = true
		h.create(node, n)
		h.apply(node, h.turn(n.Key))
		before := h.row(n.Key)
		h.create(node, n)
		h.same("row", h.row(n.Key), before)
		h.same("mail", h.letters(n.Key), []string{})
	}},
	{"TheSameIDTwiceInABatch", func(h *harness) {
		first, second := draft("a"), draft("a")
		results, err := h.Create(h.ctx, 0, []provider.NewInstance{first, second})
		h.ok(err, "create")
		h.ok(results[0].Err, "create")
		h.is(results[1].Err, provider.ErrAlreadyExists, "create again")
		h.same("key", results[1].Key, first.Key)
		h.same("mail", h.letters(first.Key), []string{"start a"})
	}},
	{"ATakenKeyNamesNobody", func(h *harness) {
		// Two processes may, rarely, make the same key: the caller makes
		// another one, which it can tell from the missing Key.
		taken := draft("a")
		h.create(0, taken)
		n := draft("b")
		n.Key = taken.Key
		results, err := h.Create(h.ctx, 0, []provider.NewInstance{n, draft("c")})
		h.ok(err, "create")
		h.is(results[0].Err, provider.ErrAlreadyExists, "create")
		h.same("key", results[0].Key, provider.Key(0))
		h.ok(results[1].Err, "create c")
		h.same("ID", h.row(taken.Key).ID, "a")
		h.same("mail", h.letters(taken.Key), []string{"start a"})
		_, err = h.Get(h.ctx, provider.Target{ID: "b"})
		h.is(err, provider.ErrNotFound, "get b")
	}},
	{"AnEndedInstanceKeepsItsID", func(h *harness) {
		key := h.ended(h.join(), "a")
		results, err := h.Create(h.ctx, 0, []provider.NewInstance{draft("a")})
		h.ok(err, "create")
		h.is(results[0].Err, provider.ErrAlreadyExists, "create")
		h.same("key", results[0].Key, key)
	}},
	{"ADelayedStartWaits", func(h *harness) {
		node := h.join()
		n := draft("a")
		n.NotBefore = h.now() + hour
		h.create(0, n)
		h.same("wake at", h.row(n.Key).WakeAt, n.NotBefore)
		reply := h.claim(node, 10)
		h.same("claimed", len(reply.Claimed), 0)
		h.same("next due", reply.NextDue, n.NotBefore)
	}},
	{"ADelayedStartComes", func(h *harness) {
		node := h.join()
		n := draft("a")
		n.NotBefore = h.now() + int64(30*time.Millisecond)
		h.create(0, n)
		h.eventually("the start", func() bool {
			reply := h.claim(node, 10)
			if len(reply.Claimed) == 1 && reply.Now < n.NotBefore {
				h.Errorf("claimed %d ns early", n.NotBefore-reply.Now)
			}
			return len(reply.Claimed) == 1
		})
	}},
	{"MailDoesNotHastenADelayedStart", func(h *harness) {
		// DESIGN 6: "`not_before` is backoff and delayed start, and floors
		// every send, release and reset."
		node := h.join()
		n := draft("a")
		n.NotBefore = h.now() + hour
		h.create(0, n)
		h.post(n.Key, "early")
		h.same("wake at", h.row(n.Key).WakeAt, n.NotBefore)
		h.same("claimed", len(h.claim(node, 10).Claimed), 0)
		h.same("mail", h.letters(n.Key), []string{"start a", "early"})
	}},
	{"AMessageMayHastenADelayedStart", func(h *harness) {
		h.need(h.caps.Hasten, "Hasten")
		node := h.join()
		hasten := func(to provider.Key, id string) provider.Message {
			return provider.Message{To: provider.Target{Key: to}, ID: id, Payload: []byte("at once"), Hasten: true}
		}
		delayed := func(id string) provider.NewInstance {
			n := draft(id)
			n.NotBefore = h.now() + hour
			return n
		}
		claims := func(what string, want ...provider.Key) {
			h.same(what, keysOf(h.claim(node, 10).Claimed), append([]provider.Key{}, want...))
		}
		a, b, c := delayed("a"), delayed("b"), delayed("c")
		h.create(0, a)
		h.create(0, b)
		h.create(0, c)
		// A duplicate is no message, nor is what is not the parent's.
		h.post(c.Key, "early")
		m := hasten(a.Key, "")
		m.IfParent = 77
		h.send(m)
		claims("nobody")

		h.send(hasten(a.Key, "x"))
		row := h.row(a.Key)
		h.same("not before", row.NotBefore, int64(0))
		claims("the one that was hastened", a.Key)
		h.same("mail", h.letters(a.Key), []string{"start a", "at once"})

		// Backoff stays: of a turn that failed, and of one that is not the first.
		later := h.now() + hour
		failed := h.failure(a.Key, "a bug", later)
		h.apply(node, failed)
		h.send(hasten(a.Key, "y"))
		h.same("not before", h.row(a.Key).NotBefore, later)
		claims("nobody in backoff")

		// In a commit, also to one that cannot run now.
		h.ok(h.Suspend(h.ctx, provider.Target{Key: b.Key}), "suspend")
		turn := h.turn(h.owned(node, "sender"))
		turn.Messages = []provider.Message{hasten(b.Key, "")}
		h.apply(node, turn)
		h.same("not before", h.row(b.Key).NotBefore, int64(0))
		claims("nobody that is suspended")
		h.ok(h.Resume(h.ctx, provider.Target{Key: b.Key}), "resume")
		claims("the one that was resumed", b.Key)
		h.same("the other", h.row(c.Key).NotBefore, c.NotBefore)
	}},
	{"TheParentLinkIsKept", func(h *harness) {
		n := draft("child")
		n.Parent = provider.ParentLink{Key: 77, ID: "parent", Execution: 3, Command: 12}
		h.create(0, n)
		h.same("parent", h.row(n.Key).Parent, n.Parent)
	}},
	{"AVersionMayBeChosenLater", func(h *harness) {
		n := draft("a")
		n.Version = ""
		h.create(0, n)
		h.same("claimed by version", len(h.claim(h.join(), 10).Claimed), 0)
		reply, err := h.Claim(h.ctx, provider.ClaimRequest{
			Node: h.join(), Definitions: []provider.Definition{{Name: "flow"}}, Limit: 10,
		})
		h.ok(err, "claim")
		h.same("claimed", keysOf(reply.Claimed), []provider.Key{n.Key})
	}},
	{"AnyTextIsAnID", func(h *harness) {
		ids := []string{
			"order-42", "Order-42", "ORDER-42", "order-42 ", " order-42", "a/b/1.2", "100%", "a_b", "axb", `it's "quoted"`,
			"'; DROP TABLE instances; --", "日本語", "é", "e\u0301", `back\slash`, "tab\there", "{1,2}", "$1", "NULL",
			strings.Repeat("x", 200),
		}
		keys := map[string]provider.Key{}
		for _, id := range ids {
			keys[id] = h.fresh(id)
		}
		for _, id := range ids {
			row, err := h.Get(h.ctx, provider.Target{ID: id})
			h.ok(err, "get "+id)
			h.same("key of "+id, row.Key, keys[id])
			h.same("ID", row.ID, id)
		}
	}},
	{"AnEmptyStartIsAMessage", func(h *harness) {
		n := draft("a")
		n.Start = []byte{}
		h.create(0, n)
		mail := h.mail(n.Key)
		h.same("messages", len(mail), 1)
		h.same("payload", len(mail[0].Payload), 0)
	}},
	{"ABatchOfManyIsCreated", func(h *harness) {
		batch := make([]provider.NewInstance, 500)
		for i := range batch {
			batch[i] = draft("many-" + itoa(i))
		}
		h.create(0, batch...)
		h.same("pending", h.stats().Instances[provider.Pending], int64(500))
		h.same("mail", h.letters(batch[499].Key), []string{"start many-499"})
	}},
	{"BuffersMayBeReused", func(h *harness) {
		n := draft("a")
		buf := []byte("original")
		n.Start = buf
		h.create(0, n)
		copy(buf, "CHANGED!")
		h.same("mail", h.letters(n.Key), []string{"original"})
	}},
	{"WithoutKeyOrIDIsInvalid", func(h *harness) {
		noKey, noID := draft("a"), draft("")
		noKey.Key = 0
		results, err := h.Create(h.ctx, 0, []provider.NewInstance{noKey, noID, draft("c")})
		h.ok(err, "create")
		h.is(results[0].Err, provider.ErrInvalid, "create without key")
		h.is(results[1].Err, provider.ErrInvalid, "create without ID")
		h.ok(results[2].Err, "create c")
	}},
}
