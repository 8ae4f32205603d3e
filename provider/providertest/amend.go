package providertest

import (
	"github.com/durango-go/durango/provider"
)

// amendCases are about letting go of what a policy has stopped.
var amendCases = []testCase{
	{"AQuarantinedInstanceIsResumed", func(h *harness) {
		a := h.amender()
		node := h.join()
		key := h.quarantined(node, "a")
		h.post(key, "waits")
		h.ok(a.Amend(h.ctx, provider.Amendment{To: provider.Target{ID: "a"}, Resume: true}), "amend")
		row := h.row(key)
		h.same("status", row.Status, provider.Pending)
		h.same("attempts", row.Attempts, int64(0))
		h.same("not before", row.NotBefore, int64(0))
		h.same("failure", row.TurnFailure, "poison")
		h.same("mail", h.letters(key), []string{"start a", "waits"})
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"TheTextIsReplacedAndTheTimeStays", func(h *harness) {
		a := h.amender()
		key := h.quarantined(h.join(), "a")
		at := h.row(key).FailedAt
		h.ok(a.Amend(h.ctx, provider.Amendment{To: provider.Target{Key: key}, FailedAt: at, Failure: "seen"}), "amend")
		row := h.row(key)
		h.same("failure", row.TurnFailure, "seen")
		h.same("failed at", row.FailedAt, at)
		h.same("status", row.Status, provider.Quarantined)
		h.same("owner", row.Owner, provider.NodeKey(0))
	}},
	{"WhatHasFailedAgainSinceIsNotAmended", func(h *harness) {
		a := h.amender()
		key := h.quarantined(h.join(), "a")
		m := provider.Amendment{To: provider.Target{Key: key}, FailedAt: h.row(key).FailedAt - 1, Failure: "old news", Resume: true}
		h.is(a.Amend(h.ctx, m), provider.ErrConflict, "amend")
		h.same("failure", h.row(key).TurnFailure, "poison")
		h.same("status", h.row(key).Status, provider.Quarantined)
	}},
	{"NothingElseIsAmended", func(h *harness) {
		a := h.amender()
		node := h.join()
		pending, running, suspended := h.fresh("pending"), h.owned(node, "running"), h.fresh("suspended")
		failing, ended := h.owned(node, "failing"), h.ended(node, "ended")
		stopped := h.quarantined(node, "stopped")
		h.apply(node, h.turn(running))
		h.ok(h.Suspend(h.ctx, provider.Target{Key: suspended}), "suspend")
		h.apply(node, h.failure(failing, "no", h.now()+hour))
		h.ok(h.Terminate(h.ctx, provider.Target{Key: stopped}, []byte("over"), nil), "terminate")
		for _, key := range []provider.Key{pending, running, suspended, failing, ended, stopped} {
			before := h.row(key)
			m := provider.Amendment{To: provider.Target{Key: key}, Failure: "changed", Resume: true}
			h.is(a.Amend(h.ctx, m), provider.ErrConflict, before.ID)
			h.same(before.ID, h.row(key), before)
		}
		h.is(a.Amend(h.ctx, provider.Amendment{To: provider.Target{ID: "nobody"}, Resume: true}), provider.ErrNotFound, "unknown")
	}},
	{"ADeadLetterKeepsItsMail", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.ok(h.send(provider.Message{To: provider.Target{Key: key}, ID: "once", Payload: []byte("unread")}).Err, "send")
		c := h.deadLetter(key)
		c.Tasks = []provider.NewTask{{Command: 1, Name: "work"}}
		h.apply(node, c)
		row := h.row(key)
		h.same("status", row.Status, provider.Failed)
		h.same("dead letter", row.DeadLetter(), true)
		h.same("outcome", string(row.Outcome), "given up")
		h.same("mail", h.letters(key), []string{"start a", "unread"})
		h.same("tasks", len(h.taskRows(key)), 0)
		h.same("wake at", row.WakeAt, provider.Never)
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.is(h.send(provider.Message{To: provider.Target{Key: key}, Payload: []byte("too late")}).Err, provider.ErrNotOpen, "send")
		h.same("claimed", len(h.claim(node, 10).Claimed), 0)
		h.same("open", len(h.list(provider.Query{TurnFailed: true})), 0)
	}},
	{"AFailedTurnIsNoDeadLetter", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Status, c.Outcome = provider.Failed, []byte("an error")
		h.apply(node, c)
		h.same("dead letter", deadLetter(h.row(key)), false)
		h.same("mail", len(h.mail(key)), 0)
	}},
	{"ADeadLetterOpensAgainAsItWas", func(h *harness) {
		a := h.amender()
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.turn(key))
		h.ok(h.send(provider.Message{To: provider.Target{Key: key}, ID: "once", Payload: []byte("unread")}).Err, "send")
		c := h.deadLetter(key)
		c.Charge = true
		h.apply(node, c)
		at := h.row(key).FailedAt
		h.ok(a.Amend(h.ctx, provider.Amendment{To: provider.Target{Key: key}, FailedAt: at, Failure: "once more", Resume: true}), "amend")
		row := h.row(key)
		h.same("status", row.Status, provider.Running)
		h.same("closed at", row.ClosedAt, int64(0))
		h.same("outcome", string(row.Outcome), "")
		h.same("failure", row.TurnFailure, "once more")
		h.same("attempts", row.Attempts, int64(0))
		h.same("turns", len(h.turns(key)), 1)
		h.same("mail", h.letters(key), []string{"unread"})
		again := h.send(provider.Message{To: provider.Target{Key: key}, ID: "once", Payload: []byte("unread")})
		h.ok(again.Err, "the message again")
		h.same("the message again", again.Seq, int64(0))
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
		h.apply(node, h.turn(key))
		h.same("failure after a turn", h.row(key).TurnFailure, "")
	}},
	{"ADeadLetterIsDueWhenItOpens", func(h *harness) {
		// Its tasks are gone, and nothing else says that they are wanted.
		a := h.amender()
		node := h.join()
		key := h.owned(node, "a")
		t := h.turn(key)
		t.ReadSeq = 1
		h.apply(node, t)
		c := h.deadLetter(key)
		c.DueAt = provider.Never
		h.apply(node, c)
		h.ok(a.Amend(h.ctx, provider.Amendment{To: provider.Target{Key: key}, Resume: true}), "amend")
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"DeadLettersAreListedAndPurged", func(h *harness) {
		node := h.join()
		dead := []provider.Key{}
		for _, id := range []string{"a", "b", "c"} {
			key := h.owned(node, id)
			h.apply(node, h.deadLetter(key))
			dead = append([]provider.Key{key}, dead...)
		}
		failed, over := h.owned(node, "failed"), h.quarantined(node, "over")
		c := h.turn(failed)
		c.Status = provider.Failed
		h.apply(node, c)
		h.same("dead letters", h.list(provider.Query{DeadLetters: true}), dead)
		h.same("failed dead letters", h.list(provider.Query{DeadLetters: true, Statuses: []provider.Status{provider.Failed, provider.Completed}}), dead)
		h.same("by ID", h.list(provider.Query{DeadLetters: true, IDPrefix: "b"}), dead[1:2])
		h.same("page", h.list(provider.Query{DeadLetters: true, After: dead[0], Limit: 1}), dead[1:2])
		h.same("completed", len(h.list(provider.Query{DeadLetters: true, Statuses: []provider.Status{provider.Completed}})), 0)
		h.same("open", h.list(provider.Query{TurnFailed: true}), []provider.Key{over})
		h.same("neither", len(h.list(provider.Query{TurnFailed: true, DeadLetters: true})), 0)
		h.ok(h.Delete(h.ctx, provider.Target{ID: "c"}, false), "purge")
		h.same("after the purge", h.list(provider.Query{DeadLetters: true}), dead[1:])
		h.create(0, draft("c"))
		h.same("mail of the next with the ID", len(h.mail(h.byID("c"))), 1)
	}},
	{"AFailureIsNotedWithoutARelease", func(h *harness) {
		// A node says what it is about to try before it does.
		node := h.join()
		key := h.owned(node, "a")
		row := h.row(key)
		c := beside(&row)
		c.Failure = "about to run"
		h.apply(node, c)
		row = h.row(key)
		h.same("failure", row.TurnFailure, "about to run")
		h.same("owner", row.Owner, node)
		h.same("attempts", row.Attempts, int64(1))
		h.kill(node)
		h.same("failure after the death", h.row(key).TurnFailure, "about to run")
		h.same("attempts of the next claim", only(h, "instances claimed", h.claim(h.join(), 1).Claimed).Attempts, int64(2))
	}},
}

// amender skips the case of a store that has none.
func (h *harness) amender() provider.Amender {
	h.Helper()
	if !h.caps.Amend {
		h.Skip("the store does not amend")
	}
	a, ok := h.store.(provider.Amender)
	if !ok {
		h.Fatal("the store says that it amends, and is no provider.Amender")
	}
	return a
}

func (h *harness) quarantined(node provider.NodeKey, id string) provider.Key {
	h.Helper()
	key := h.owned(node, id)
	c := h.failure(key, "poison", h.now()+hour)
	c.Status = provider.Quarantined
	h.apply(node, c)
	return key
}

func (h *harness) deadLetter(key provider.Key) provider.Commit {
	h.Helper()
	c := h.failure(key, "poison", 0)
	c.Status, c.Outcome, c.DueAt = provider.Failed, []byte("given up"), provider.Never
	return c
}

func (h *harness) byID(id string) provider.Key {
	h.Helper()
	row, err := h.Get(h.ctx, provider.Target{ID: id})
	h.ok(err, "get")
	return row.Key
}

func deadLetter(row provider.Instance) bool { return row.DeadLetter() }
