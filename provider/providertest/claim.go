package providertest

import (
	"time"

	"github.com/durango-go/durango/provider"
)

var claimCases = []testCase{
	{"AClaimTakesWhatIsDue", func(h *harness) {
		node := h.join()
		key := h.fresh("a")
		h.post(key, "m")
		reply := h.claim(node, 10)
		h.same("claimed", keysOf(reply.Claimed), []provider.Key{key})
		got, want := reply.Claimed[0], h.row(key)
		h.same("owner", want.Owner, node)
		h.same("attempts", want.Attempts, int64(1))
		h.same("row in the reply", got, want)
		h.same("claimed again", len(h.claim(node, 10).Claimed), 0)
		h.same("claimed by another", len(h.claim(h.join(), 10).Claimed), 0)
	}},
	{"EveryClaimCountsAnAttempt", func(h *harness) {
		// DESIGN 9: "Attempts count at claim (a crash must count)".
		key := h.fresh("a")
		for i := range 4 {
			node := h.join()
			claimed := h.claim(node, 10).Claimed
			h.same("claimed", keysOf(claimed), []provider.Key{key})
			h.same("attempts", claimed[0].Attempts, int64(i+1))
			h.kill(node)
		}
	}},
	{"Rule01AClaimNeedsALiveNode", func(h *harness) {
		// DESIGN 6, rule 1: "Otherwise a claim that commits after its node's
		// death owns the row for ever."
		node := h.join()
		key := h.fresh("a")
		h.kill(node)
		for _, n := range []provider.NodeKey{node, provider.NewNodeKey(), 0} {
			_, err := h.Claim(h.ctx, provider.ClaimRequest{Node: n, Definitions: []provider.Definition{flow}, Limit: 10})
			h.is(err, provider.ErrNodeGone, "claim")
		}
		h.same("owner", h.row(key).Owner, provider.NodeKey(0))
		h.same("attempts", h.row(key).Attempts, int64(0))
	}},
	{"OnlyWhatTheNodeCanRun", func(h *harness) {
		mine, otherName, otherVersion, unversioned := draft("a"), draft("b"), draft("c"), draft("d")
		otherName.Name, otherVersion.Version, unversioned.Version = "flow2", "1.0.1", ""
		h.create(0, otherName, otherVersion, unversioned, mine)
		h.same("claimed", keysOf(h.claim(h.join(), 10).Claimed), []provider.Key{mine.Key})
		reply, err := h.Claim(h.ctx, provider.ClaimRequest{
			Node: h.join(), Definitions: []provider.Definition{{Name: "flow2", Version: "1.0.0"}, {Name: "flow", Version: "1.0.1"}}, Limit: 10,
		})
		h.ok(err, "claim")
		got := map[provider.Key]bool{}
		for _, row := range reply.Claimed {
			got[row.Key] = true
		}
		h.same("claimed", got, map[provider.Key]bool{otherName.Key: true, otherVersion.Key: true})
	}},
	{"WithoutDefinitionsNothingIsClaimed", func(h *harness) {
		h.fresh("a")
		reply, err := h.Claim(h.ctx, provider.ClaimRequest{Node: h.join(), Limit: 10})
		h.ok(err, "claim")
		h.same("claimed", len(reply.Claimed), 0)
		h.same("next due", reply.NextDue, provider.Never)
	}},
	{"OldestFirst", func(h *harness) {
		node := h.join()
		var keys []provider.Key
		for i := range 6 {
			key := h.owned(node, itoa(i))
			c := h.turn(key)
			c.Release, c.DueAt = true, int64(1000-100*i) // the last is due longest
			h.apply(node, c)
			keys = append([]provider.Key{key}, keys...)
		}
		var got []provider.Key
		for range 3 {
			claimed := h.claim(node, 2).Claimed
			h.same("claimed at once", len(claimed), 2)
			got = append(got, keysOf(claimed)...)
		}
		// Within one claim the order is the store's business.
		for i := 0; i < len(got); i += 2 {
			if got[i] != keys[i] {
				got[i], got[i+1] = got[i+1], got[i]
			}
		}
		h.same("order", got, keys)
	}},
	{"TheLimitBounds", func(h *harness) {
		node := h.join()
		for i := range 7 {
			h.fresh(itoa(i))
		}
		h.same("claimed", len(h.claim(node, 5).Claimed), 5)
		h.same("claimed", len(h.claim(node, 5).Claimed), 2)
	}},
	{"TheLimitBoundsAllDefinitionsTogether", func(h *harness) {
		node := h.join()
		defs := []provider.Definition{flow, {Name: "flow", Version: "2.0.0"}, {Name: "other"}}
		for i := range 9 {
			n := draft(itoa(i))
			n.Name, n.Version = defs[i%3].Name, defs[i%3].Version
			h.create(0, n)
		}
		total := 0
		for range 3 { // no definition starves the others
			reply, err := h.Claim(h.ctx, provider.ClaimRequest{Node: node, Definitions: defs, Limit: 4})
			h.ok(err, "claim")
			if len(reply.Claimed) > 4 {
				h.Errorf("claimed %d with a limit of 4", len(reply.Claimed))
			}
			total += len(reply.Claimed)
		}
		h.same("claimed", total, 9)
	}},
	{"ALimitOfZeroOnlyLooks", func(h *harness) {
		node := h.join()
		mine, due, sleeper := h.owned(node, "a"), h.fresh("b"), draft("c")
		sleeper.NotBefore = h.now() + hour
		h.create(0, sleeper)
		reply := h.claim(node, 0)
		h.same("claimed", len(reply.Claimed), 0)
		h.same("mail", reply.Mail, []provider.Key{mine})
		h.same("next due", reply.NextDue, sleeper.NotBefore)
		h.same("owner", h.row(due).Owner, provider.NodeKey(0))
		h.same("attempts", h.row(due).Attempts, int64(0))
	}},
	{"NextDueIsTheEarliestAhead", func(h *harness) {
		node := h.join()
		h.same("next due", h.claim(node, 10).NextDue, provider.Never)
		base := h.now()
		for i, after := range []int64{3 * hour, hour, 2 * hour} {
			n := draft(itoa(i))
			n.NotBefore = base + after
			h.create(0, n)
		}
		foreign := draft("foreign")
		foreign.Name, foreign.NotBefore = "unknown", base+hour/2
		h.create(0, foreign)
		h.same("next due", h.claim(node, 10).NextDue, base+hour)
	}},
	{"NextDueLeavesOutWhatIsOwned", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.DueAt = h.now() + hour
		h.apply(node, c)
		h.same("next due", h.claim(node, 10).NextDue, provider.Never)
		r := h.release(key)
		h.apply(node, r)
		h.same("next due after the release", h.claim(node, 10).NextDue, c.DueAt)
	}},
	{"ASleeperWakes", func(h *harness) {
		// DESIGN 5: "Timers are absolute times of the store's clock recorded at
		// emission; never early".
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Release, c.DueAt = true, h.now()+int64(30*time.Millisecond)
		h.apply(node, c)
		h.eventually("the timer", func() bool {
			reply := h.claim(node, 10)
			if len(reply.Claimed) == 1 && reply.Now < c.DueAt {
				h.Errorf("claimed %d ns early", c.DueAt-reply.Now)
			}
			return len(reply.Claimed) == 1
		})
	}},
	{"WhatHasEndedIsNotClaimed", func(h *harness) {
		node := h.join()
		for i, status := range []provider.Status{provider.Completed, provider.Failed, provider.Canceled} {
			c := h.turn(h.owned(node, itoa(i)))
			c.Status, c.DueAt = status, 0
			h.apply(node, c)
		}
		reply := h.claim(node, 10)
		h.same("claimed", len(reply.Claimed)+len(reply.Mail), 0)
		h.same("next due", reply.NextDue, provider.Never)
	}},
	{"MailListsOnlyWhatWasOwnedBefore", func(h *harness) {
		node := h.join()
		old, young := h.owned(node, "old"), h.fresh("young")
		reply := h.claim(node, 10)
		h.same("claimed", keysOf(reply.Claimed), []provider.Key{young})
		h.same("mail", reply.Mail, []provider.Key{old})
	}},
	{"AForeignBacklogIsNotInTheWay", func(h *harness) {
		// DESIGN 6: "probed per definition so that what nobody here can run
		// does not fill the head of the queue".
		var foreign []provider.NewInstance
		for i := range 300 {
			n := draft("foreign-" + itoa(i))
			n.Name = "unknown"
			foreign = append(foreign, n)
		}
		h.create(0, foreign...)
		key := h.fresh("mine")
		h.same("claimed", keysOf(h.claim(h.join(), 1).Claimed), []provider.Key{key})
	}},
	{"FutureRowsAreNotInTheWay", func(h *harness) {
		var sleepers []provider.NewInstance
		at := h.now() + hour
		for i := range 300 {
			n := draft("sleeper-" + itoa(i))
			n.NotBefore = at + int64(i)
			sleepers = append(sleepers, n)
		}
		h.create(0, sleepers...)
		key := h.fresh("mine")
		reply := h.claim(h.join(), 10)
		h.same("claimed", keysOf(reply.Claimed), []provider.Key{key})
		h.same("next due", reply.NextDue, at)
	}},
	{"AReleasedInstanceIsClaimedByAnother", func(h *harness) {
		a, b := h.join(), h.join()
		key := h.owned(a, "a")
		c := h.turn(key)
		c.Release, c.DueAt = true, 0
		h.apply(a, c)
		claimed := h.claim(b, 10).Claimed
		h.same("claimed", keysOf(claimed), []provider.Key{key})
		h.same("next turn", claimed[0].NextTurn, int64(2))
		h.apply(b, h.turn(key))
	}},
}
