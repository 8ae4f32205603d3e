package providertest

import (
	"github.com/durango-go/durango/provider"
)

// failureCases are about commits without a turn: failures, their charge, and
// releases.
var failureCases = []testCase{
	{"AFailureIsStoredForPeople", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		before := h.now()
		h.apply(node, h.failure(key, "panic: index out of range", before+hour))
		row := h.row(key)
		h.same("failure", row.TurnFailure, "panic: index out of range")
		if row.FailedAt < before-hour || row.FailedAt > before+hour {
			h.Errorf("failed at %d, the clock says %d", row.FailedAt, before)
		}
		h.same("not before", row.NotBefore, before+hour)
		h.same("attempts", row.Attempts, int64(1))
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.same("next turn", row.NextTurn, int64(1))
		h.same("mail", h.letters(key), []string{"start a"})
	}},
	{"BackoffEndsByItself", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		until := h.now() + 30_000_000
		h.apply(node, h.failure(key, "no", until))
		h.eventually("the end of backoff", func() bool {
			reply := h.claim(node, 1)
			if len(reply.Claimed) == 1 {
				h.same("early", reply.Now < until, false)
				h.same("attempts", reply.Claimed[0].Attempts, int64(2))
			}
			return len(reply.Claimed) == 1
		})
	}},
	{"BackoffFloorsTheDueTime", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.failure(key, "no", h.now()+hour)
		c.DueAt = 0
		h.apply(node, c)
		h.same("wake at", h.row(key).WakeAt, c.NotBefore)
		h.same("next due", h.claim(node, 1).NextDue, c.NotBefore)
	}},
	{"ATurnClearsFailureAttemptsAndBackoff", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		for want := int64(1); want <= 3; want++ {
			h.same("attempts", h.row(key).Attempts, want)
			h.apply(node, h.failure(key, "no", 1))
			h.same("claimed", len(h.claim(node, 1).Claimed), 1)
		}
		h.apply(node, h.turn(key))
		row := h.row(key)
		h.same("attempts", row.Attempts, int64(0))
		h.same("not before", row.NotBefore, int64(0))
		h.same("failure", row.TurnFailure, "")
		h.same("failed at", row.FailedAt, int64(0))
	}},
	{"Rule15AFailureIsChargedOnce", func(h *harness) {
		// DESIGN 6, rule 15: "A failure under a claim already charged is not
		// charged again".
		node := h.join()
		key := h.fresh("a")
		h.claim(node, 1)
		h.apply(node, h.failure(key, "no", 0))
		h.same("attempts", h.row(key).Attempts, int64(1))
	}},
	{"Rule15AClearedChargeIsCountedAgain", func(h *harness) {
		// A commit has cleared the charge of the claim; the failure that
		// follows under the same claim counts for itself.
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.turn(key))
		h.same("attempts", h.row(key).Attempts, int64(0))
		c := h.failure(key, "no", 0)
		c.Charge = true
		h.apply(node, c)
		h.same("attempts", h.row(key).Attempts, int64(1))
		h.same("attempts at the claim", only(h, "instances claimed", h.claim(node, 1).Claimed).Attempts, int64(2))
	}},
	{"Rule15AReleaseWithoutATurnClearsTheCharge", func(h *harness) {
		// DESIGN 6, rule 15: "a release without a turn, and quiescence after a
		// replay, clear the charge."
		node := h.join()
		key := h.fresh("a")
		h.claim(node, 1)
		h.same("attempts", h.row(key).Attempts, int64(1))
		h.apply(node, h.release(key))
		row := h.row(key)
		h.same("attempts", row.Attempts, int64(0))
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.same("mail", h.letters(key), []string{"start a"})
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"ACommitWithoutTurnOrReleaseKeepsTheCharge", func(h *harness) {
		// Mail that changed nothing is consumed: the code has not run, and a
		// crash after it must still find the attempt counted.
		node := h.join()
		key := h.owned(node, "a")
		row := h.row(key)
		c := beside(&row)
		c.ReadSeq = 1
		h.apply(node, c)
		h.same("attempts", h.row(key).Attempts, int64(1))
		h.same("read", h.row(key).ReadSeq, int64(1))
	}},
	{"AReleaseKeepsTheFailureForPeople", func(h *harness) {
		// TurnFailure is the last failure since the last turn that succeeded:
		// giving an instance up is not a turn.
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.failure(key, "no", 0))
		h.claim(node, 1)
		h.apply(node, h.release(key))
		h.same("failure", h.row(key).TurnFailure, "no")
	}},
	{"AReleasedPendingInstanceIsStillPending", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.release(key))
		h.same("status", h.row(key).Status, provider.Pending)
		h.same("next turn", h.row(key).NextTurn, int64(1))
	}},
	{"Rule09AQuarantinedInstanceIsNotClaimed", func(h *harness) {
		// DESIGN 6, rule 9: "Terminate, suspend, quarantine and delete lock the
		// row and clear the owner, so a commit in flight fails."
		node := h.join()
		key := h.owned(node, "a")
		late := h.turn(key)
		c := h.failure(key, "poison", 0)
		c.Status = provider.Quarantined
		h.apply(node, c)
		row := h.row(key)
		h.same("status", row.Status, provider.Quarantined)
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.same("wake at", row.WakeAt, provider.Never)
		h.post(key, "still accepted")
		h.same("claimed", len(h.claim(node, 10).Claimed), 0)
		h.is(h.commit(node, late).Err, provider.ErrConflict, "commit in flight")
		h.ok(h.Resume(h.ctx, provider.Target{Key: key}), "resume")
		h.same("claimed after the release", keysOf(h.claim(node, 10).Claimed), []provider.Key{key})
	}},
	{"Rule09WhatCannotRunIsNotOwned", func(h *harness) {
		// DESIGN 6, rule 9, when a commit says Quarantined and not Release.
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Status = provider.Quarantined
		h.apply(node, c)
		h.same("owner", h.row(key).Owner, provider.NodeKey(0))
		h.same("wake at", h.row(key).WakeAt, provider.Never)
		h.same("owned", h.kill(node).Instances, 0)
	}},
	{"APolicyEndsAnInstanceWithoutATurn", func(h *harness) {
		// DESIGN 8.6: "Cancel and MoveToDeadLetter end the instance without
		// running its code".
		node := h.join()
		parent, key := h.fresh("parent"), h.owned(node, "a")
		c := h.failure(key, "poison", 0)
		c.Status, c.Outcome = provider.Failed, []byte("quarantined")
		m := to(parent, "your child failed")
		m.Execution, m.Command = 1, 4
		c.Messages = []provider.Message{m}
		h.apply(node, c)
		row := h.row(key)
		h.same("status", row.Status, provider.Failed)
		h.same("outcome", string(row.Outcome), "quarantined")
		h.same("turns", len(h.turns(key)), 0)
		h.same("mail of the parent", h.letters(parent), []string{"start parent", "your child failed"})
	}},
	{"Rule14AFailedTurnsLateCommitFails", func(h *harness) {
		// DESIGN 6, rule 14: "The watchdog ends ownership of an instance whose
		// turn hangs, as a turn failure; its late commit fails by rule 2."
		node := h.join()
		key := h.owned(node, "a")
		late := h.turn(key)
		h.apply(node, h.failure(key, "the turn hangs", 0))
		h.is(h.commit(node, late).Err, provider.ErrConflict, "late commit")
		h.claim(node, 1)
		h.apply(node, h.turn(key))
		h.is(h.commit(node, late).Err, provider.ErrConflict, "later commit, when the node owns it again")
		h.same("turns", len(h.turns(key)), 1)
	}},
}

// failure makes the commit of a turn that failed.
func (h *harness) failure(key provider.Key, text string, notBefore int64) provider.Commit {
	h.Helper()
	c := h.release(key)
	c.Failure, c.NotBefore = text, notBefore
	return c
}
