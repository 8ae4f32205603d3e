package providertest

import (
	"github.com/durango-go/durango/provider"
)

// terminateCases run for both ways to terminate: an operator's, and a message
// within a commit (a close policy).
var terminateCases = []testCase{
	{"Rule09ACommitInFlightFails", func(h *harness) {
		// DESIGN 6, rule 9: "Terminate, suspend, quarantine and delete lock the
		// row and clear the owner, so a commit in flight fails."
		node := h.join()
		key := h.owned(node, "a")
		late := h.turn(key)
		late.Status, late.Outcome = provider.Completed, []byte("too late")
		h.ok(h.Terminate(h.ctx, provider.Target{Key: key}, []byte("stopped"), nil), "terminate")
		h.same("owner", h.row(key).Owner, provider.NodeKey(0))
		h.is(h.commit(node, late).Err, provider.ErrConflict, "commit in flight")
		h.same("outcome", string(h.row(key).Outcome), "stopped")
		h.same("status", h.row(key).Status, provider.Terminated)
	}},
	{"AnInstanceEndsWithoutItsCode", func(h *harness) {
		h.eachTerminate(func(h *harness, id string, end func(key provider.Key)) {
			node := h.join()
			key, task := h.working(node, id, 4)
			h.post(key, "unread")
			end(key)
			row := h.row(key)
			h.same("status", row.Status, provider.Terminated)
			h.same("outcome", string(row.Outcome), "stopped")
			h.same("owner", row.Owner, provider.NodeKey(0))
			h.same("wake at", row.WakeAt, provider.Never)
			h.same("unread", row.Unread(), false)
			if row.ClosedAt == 0 {
				h.Error("closed at is zero")
			}
			h.same("mail", h.letters(key), []string{})
			h.same("tasks", len(h.taskRows(key)), 0)
			h.same("turns are kept", len(h.turns(key)), 1)
			h.is(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("late")}), provider.ErrStale, "finish")
			h.is(h.send(to(key, "late")).Err, provider.ErrNotOpen, "send")
			h.same("claimed", len(h.claim(node, 1).Claimed), 0)
		})
	}},
	{"TheParentIsTold", func(h *harness) {
		// DESIGN 9: "Every terminal path notifies the parent."
		h.eachTerminate(func(h *harness, id string, end func(key provider.Key)) {
			node := h.join()
			parent := h.asleep(node, "parent of "+id)
			n := h.child(parent, id, 6)
			h.create(0, n)
			end(n.Key)
			h.same("mail", h.mail(parent), []provider.Mail{{Seq: 2, Execution: 1, Command: 6, Payload: []byte("child stopped")}})
			h.same("answered", h.load(parent).Answered, []int64{6})
			h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{parent})
			h.same("terminated again", h.Terminate(h.ctx, provider.Target{Key: n.Key}, nil, []byte("twice")) != nil, true)
			h.same("mail", len(h.mail(parent)), 1)
		})
	}},
	{"AParentThatIsGoneIsNotTold", func(h *harness) {
		h.eachTerminate(func(h *harness, id string, end func(key provider.Key)) {
			node := h.join()
			parent := h.owned(node, "parent of "+id)
			n, orphan := h.child(parent, id, 6), h.child(parent, "orphan "+id, 7)
			h.create(0, n, orphan)
			c := h.turn(parent)
			c.Status = provider.Completed
			h.apply(node, c)
			end(n.Key)
			h.same("status", h.row(n.Key).Status, provider.Terminated)
			h.same("mail of the ended parent", h.letters(parent), []string{})
			h.ok(h.Delete(h.ctx, provider.Target{Key: parent}, false), "delete the parent")
			end(orphan.Key)
			h.same("status of the orphan", h.row(orphan.Key).Status, provider.Terminated)
		})
	}},
	{"NothingToSayNothingSaid", func(h *harness) {
		parent := h.fresh("parent")
		n := h.child(parent, "child", 6)
		h.create(0, n)
		h.ok(h.Terminate(h.ctx, provider.Target{Key: n.Key}, nil, nil), "terminate")
		h.same("mail", h.letters(parent), []string{"start parent"})
	}},
	{"OnlyWhatIsOpenEnds", func(h *harness) {
		key := h.ended(h.join(), "a")
		h.is(h.Terminate(h.ctx, provider.Target{Key: key}, nil, nil), provider.ErrNotOpen, "terminate")
		h.is(h.Terminate(h.ctx, provider.Target{ID: "nobody"}, nil, nil), provider.ErrNotFound, "terminate")
		h.is(h.Terminate(h.ctx, provider.Target{Key: key, ID: "b"}, nil, nil), provider.ErrNotFound, "terminate")
		h.same("status", h.row(key).Status, provider.Completed)
	}},
	{"EveryOpenStatusEnds", func(h *harness) {
		node := h.join()
		pending, running, suspended := h.fresh("p"), h.owned(node, "r"), h.fresh("s")
		h.apply(node, h.turn(running))
		h.ok(h.Suspend(h.ctx, provider.Target{Key: suspended}), "suspend")
		quarantined := h.owned(node, "q")
		c := h.failure(quarantined, "poison", 0)
		c.Status = provider.Quarantined
		h.apply(node, c)
		for _, key := range []provider.Key{pending, running, suspended, quarantined} {
			h.ok(h.Terminate(h.ctx, provider.Target{Key: key}, nil, nil), "terminate")
		}
		h.same("terminated", h.stats().Instances[provider.Terminated], int64(4))
	}},
	{"TerminatingByMessageReportsItsFate", func(h *harness) {
		key, over := h.fresh("a"), h.ended(h.join(), "b")
		results, err := h.Send(h.ctx, []provider.Message{
			{To: provider.Target{ID: "a"}, Terminate: true}, {To: provider.Target{Key: over}, Terminate: true},
			{To: provider.Target{ID: "nobody"}, Terminate: true},
		})
		h.ok(err, "send")
		h.ok(results[0].Err, "terminate")
		h.same("key", results[0].Key, key)
		h.same("number of what is not mail", results[0].Seq, int64(0))
		h.is(results[1].Err, provider.ErrNotOpen, "terminate the ended")
		h.is(results[2].Err, provider.ErrNotFound, "terminate nobody")
	}},
	{"IfParentKeepsAStrangerAlive", func(h *harness) {
		key := h.fresh("a")
		h.ok(h.send(provider.Message{To: provider.Target{Key: key}, Terminate: true, IfParent: 99}).Err, "send")
		h.same("status", h.row(key).Status, provider.Pending)
	}},
	{"AClosePolicyTerminatesInOneCommit", func(h *harness) {
		// DESIGN 5: "Parent close policy: cancel (default), terminate,
		// abandon."
		node := h.join()
		parent := h.owned(node, "parent")
		n := h.child(parent, "child", 6)
		n.Owned = true
		h.create(node, n)
		late := h.turn(n.Key)
		c := h.turn(parent)
		c.Status = provider.Completed
		c.Messages = []provider.Message{{
			To: provider.Target{ID: "child"}, IfParent: parent, Terminate: true, Payload: []byte("closed"), Notify: []byte("to nobody"),
		}}
		h.ok(h.apply(node, c).Sent[0].Err, "terminate")
		h.same("status", h.row(n.Key).Status, provider.Terminated)
		h.same("outcome", string(h.row(n.Key).Outcome), "closed")
		h.is(h.commit(node, late).Err, provider.ErrConflict, "commit in flight")
		h.same("mail of the parent", h.letters(parent), []string{})
	}},
	{"BuffersMayBeReused", func(h *harness) {
		parent := h.fresh("parent")
		n := h.child(parent, "child", 6)
		h.create(0, n)
		outcome, notify := []byte("original"), []byte("original")
		h.ok(h.Terminate(h.ctx, provider.Target{Key: n.Key}, outcome, notify), "terminate")
		copy(outcome, "CHANGED!")
		copy(notify, "CHANGED!")
		h.same("outcome", string(h.row(n.Key).Outcome), "original")
		h.same("mail", h.letters(parent), []string{"start parent", "original"})
	}},
}

// eachTerminate runs f with each way to terminate an instance.
func (h *harness) eachTerminate(f func(h *harness, id string, end func(key provider.Key))) {
	h.Helper()
	outcome, notify := []byte("stopped"), []byte("child stopped")
	f(h, "by operator", func(key provider.Key) {
		h.ok(h.Terminate(h.ctx, provider.Target{Key: key}, outcome, notify), "terminate")
	})
	m := provider.Message{Terminate: true, Payload: outcome, Notify: notify}
	f(h, "by message", func(key provider.Key) {
		m.To = provider.Target{Key: key}
		h.ok(h.send(m).Err, "terminate by message")
	})
	closer := h.owned(h.join(), "closer")
	f(h, "by commit", func(key provider.Key) {
		m.To = provider.Target{Key: key}
		c := h.turn(closer)
		c.Messages = []provider.Message{m}
		h.ok(h.apply(h.row(closer).Owner, c).Sent[0].Err, "terminate by commit")
	})
}

var suspendCases = []testCase{
	{"Rule09ACommitInFlightFails", func(h *harness) {
		// DESIGN 6, rule 9, for suspend.
		node := h.join()
		key := h.owned(node, "a")
		late := h.turn(key)
		h.ok(h.Suspend(h.ctx, provider.Target{ID: "a"}), "suspend")
		h.is(h.commit(node, late).Err, provider.ErrConflict, "commit in flight")
		row := h.row(key)
		h.same("status", row.Status, provider.Suspended)
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.same("wake at", row.WakeAt, provider.Never)
		h.same("mail", h.letters(key), []string{"start a"})
	}},
	{"ASuspendedInstanceIsNotClaimed", func(h *harness) {
		node := h.join()
		key := h.fresh("a")
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		reply := h.claim(node, 1)
		h.same("claimed", len(reply.Claimed), 0)
		h.same("next due", reply.NextDue, provider.Never)
		h.ok(h.Resume(h.ctx, provider.Target{Key: key}), "resume")
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"ResumeRestoresTheStatus", func(h *harness) {
		node := h.join()
		pending, running := h.fresh("p"), h.owned(node, "r")
		h.apply(node, h.turn(running))
		for key, want := range map[provider.Key]provider.Status{pending: provider.Pending, running: provider.Running} {
			for range 2 { // suspending twice is suspending once
				h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
				h.same("status", h.row(key).Status, provider.Suspended)
			}
			h.ok(h.Resume(h.ctx, provider.Target{Key: key}), "resume")
			h.same("status", h.row(key).Status, want)
		}
	}},
	{"ResumeKeepsTheDueTime", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Release, c.DueAt = true, h.now()+hour
		h.apply(node, c)
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		h.ok(h.Resume(h.ctx, provider.Target{Key: key}), "resume")
		h.same("wake at", h.row(key).WakeAt, c.DueAt)
	}},
	{"ResumeClearsBackoffAndAttempts", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.failure(key, "no", h.now()+hour))
		h.ok(h.Resume(h.ctx, provider.Target{Key: key}), "resume")
		row := h.row(key)
		h.same("attempts", row.Attempts, int64(0))
		h.same("not before", row.NotBefore, int64(0))
		h.same("failure is kept for people", row.TurnFailure, "no")
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"ResumeDoesNotHastenADelayedStart", func(h *harness) {
		node := h.join()
		n := draft("a")
		n.NotBefore = h.now() + hour
		h.create(0, n)
		h.ok(h.Suspend(h.ctx, provider.Target{Key: n.Key}), "suspend")
		h.ok(h.Resume(h.ctx, provider.Target{Key: n.Key}), "resume")
		h.same("wake at", h.row(n.Key).WakeAt, n.NotBefore)
		h.same("claimed", len(h.claim(node, 1).Claimed), 0)
	}},
	{"ResumeOfARunningInstanceDisturbsNothing", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.turn(key))
		h.ok(h.Resume(h.ctx, provider.Target{Key: key}), "resume")
		h.same("owner", h.row(key).Owner, node)
		h.apply(node, h.turn(key))
	}},
	{"OnlyWhatIsOpen", func(h *harness) {
		key := h.ended(h.join(), "a")
		h.is(h.Suspend(h.ctx, provider.Target{Key: key}), provider.ErrNotOpen, "suspend")
		h.is(h.Resume(h.ctx, provider.Target{Key: key}), provider.ErrNotOpen, "resume")
		h.is(h.Suspend(h.ctx, provider.Target{ID: "nobody"}), provider.ErrNotFound, "suspend")
		h.is(h.Resume(h.ctx, provider.Target{ID: "nobody"}), provider.ErrNotFound, "resume")
		h.same("status", h.row(key).Status, provider.Completed)
	}},
	{"ADeadOwnerChangesNothing", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		h.same("instances returned", h.kill(node).Instances, 0)
		h.same("wake at", h.row(key).WakeAt, provider.Never)
	}},
}

var deleteCases = []testCase{
	{"Rule09ACommitInFlightFails", func(h *harness) {
		// DESIGN 9: "Deleting an instance wins against a commit in flight".
		node := h.join()
		key := h.owned(node, "a")
		late := h.turn(key)
		h.ok(h.Delete(h.ctx, provider.Target{Key: key}, true), "delete")
		h.is(h.commit(node, late).Err, provider.ErrNotFound, "commit in flight")
		_, err := h.Get(h.ctx, provider.Target{ID: "a"})
		h.is(err, provider.ErrNotFound, "get")
	}},
	{"EverythingGoes", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.post(key, "unread")
		h.ok(h.Delete(h.ctx, provider.Target{ID: "a"}, true), "delete")
		h.same("turns, mail and tasks", len(h.turns(key))+len(h.mail(key))+len(h.taskRows(key)), 0)
		s := h.stats()
		h.same("counted", s.Turns+s.UnreadMail+s.TaskHeld+s.TaskWaiting+s.Instances[provider.Running], int64(0))
		h.is(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("late")}), provider.ErrStale, "finish")
		h.is(h.send(to(key, "late")).Err, provider.ErrNotFound, "send")
		h.is(h.loadPart(provider.LoadRequest{Key: key}).Err, provider.ErrNotFound, "load")
		h.is(h.Delete(h.ctx, provider.Target{Key: key}, true), provider.ErrNotFound, "delete again")
	}},
	{"WhatWasPublishedGoes", func(h *harness) {
		node := h.join()
		key := h.everything(node, "a")
		other := h.everything(node, "b")
		h.ok(h.Delete(h.ctx, provider.Target{Key: key}, true), "delete")
		values, err := h.Values(h.ctx, key)
		h.ok(err, "values")
		h.same("values", len(values), 0)
		h.is(h.lookup(provider.Lookup{To: provider.Target{Key: key}, Kind: provider.LookupReply, Name: "r"})[0].Err,
			provider.ErrNotFound, "look up")
		// Neither the ID nor the key brings it back.
		n := draft("a")
		n.Key, n.Owned = key, true
		h.create(node, n)
		h.same("values", h.values(key), map[string]string{})
		h.same("reply", h.find(key, provider.LookupReply, "r").Found, false)
		h.statusIs(key, 0, "")
		h.answer(node, key, 0, reply("r", "another"))
		h.replyIs(key, "r", "another")
		h.everythingIs(other)
	}},
	{"AnOpenInstanceNeedsForce", func(h *harness) {
		key := h.fresh("a")
		h.is(h.Delete(h.ctx, provider.Target{Key: key}, false), provider.ErrInvalid, "delete")
		h.same("mail", h.letters(key), []string{"start a"})
		over := h.ended(h.join(), "b")
		h.ok(h.Delete(h.ctx, provider.Target{Key: over}, false), "delete the ended")
	}},
	{"StaleResultsDoNotMatchTheRecreated", func(h *harness) {
		// DESIGN 9: "stale results after delete and re-create do not match."
		node := h.join()
		key, task := h.working(node, "a", 4)
		m := to(key, "m")
		m.ID = "req-1"
		h.ok(h.send(m).Err, "send")
		h.ok(h.Delete(h.ctx, provider.Target{Key: key}, true), "delete")
		again, newTask := h.working(node, "a", 4)
		h.same("attempt", newTask.Attempt, task.Attempt)
		h.is(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("late")}), provider.ErrStale, "finish")
		h.is(h.send(to(key, "late")).Err, provider.ErrNotFound, "send by the old key")
		h.same("mail", h.letters(again), []string{})
		m.To = provider.Target{ID: "a"}
		h.same("number: a new instance accepts the ID anew", h.send(m).Seq, int64(2))
	}},
	{"RelativesStay", func(h *harness) {
		parent := h.fresh("parent")
		n := h.child(parent, "child", 1)
		h.create(0, n)
		h.ok(h.Delete(h.ctx, provider.Target{Key: n.Key}, true), "delete the child")
		h.same("mail of the parent", h.letters(parent), []string{"start parent"})
		sibling := h.child(parent, "sibling", 2)
		h.create(0, sibling)
		h.ok(h.Delete(h.ctx, provider.Target{Key: parent}, true), "delete the parent")
		h.same("parent of the sibling", h.row(sibling.Key).Parent.Key, parent)
	}},
}
