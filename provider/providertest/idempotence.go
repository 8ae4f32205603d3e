package providertest

import (
	"github.com/durango-go/durango/provider"
)

// Rule 3 of DESIGN 6: "After an unknown outcome [...] the node resolves it
// before anything else on that instance: it locks the row and compares the
// commit ID stored with the turn; until then it may resubmit only the
// identical turn."
var idempotenceCases = []testCase{
	{"Rule03TheSameCommitSucceedsAgain", func(h *harness) {
		node := h.join()
		key, friend := h.owned(node, "a"), h.fresh("b")
		c := h.turn(key)
		c.Tasks = []provider.NewTask{job(1)}
		c.Children = []provider.NewInstance{draft("child")}
		c.Messages = []provider.Message{to(friend, "once"), to(key, "to myself")}
		first := h.apply(node, c)
		h.same("children", len(first.Children), 1)
		h.same("sent", len(first.Sent), 2)
		row, stats := h.row(key), h.stats()
		for range 3 {
			again := h.apply(node, c)
			h.same("mailbox", again.MailboxSeq, int64(2))
			h.same("children", len(again.Children), 0)
			h.same("sent", len(again.Sent), 0)
		}
		h.same("row", h.row(key), row)
		stats.Now = 0
		after := h.stats()
		after.Now = 0
		h.same("stats", after, stats)
		h.same("mail of the friend", h.letters(friend), []string{"start b", "once"})
	}},
	{"Rule03WhatIsPublishedStays", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.CustomStatus, c.Values = []byte("status"), []provider.Value{value("x", "1"), value("y", "")}
		c.Replies, c.DropReplies = []provider.Reply{reply("r", "yes")}, provider.Never
		h.apply(node, c)
		row := h.row(key)
		for range 2 {
			h.apply(node, c)
			h.same("row", h.row(key), row)
			h.everythingIs(key)
		}
		// What is not a repetition, but names the same commit, is not read.
		other := c
		other.CustomStatus, other.Values = []byte("no"), []provider.Value{value("x", "no"), value("z", "no")}
		other.Replies = []provider.Reply{reply("r", "no"), reply("s", "no")}
		h.apply(node, other)
		h.same("row", h.row(key), row)
		h.everythingIs(key)
		h.same("another reply", h.find(key, provider.LookupReply, "s").Found, false)
	}},
	{"Rule03ParkedAndExpiringTasksAreNotAddedTwice", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Tasks = []provider.NewTask{h.parked(1, 1), inSession(2, "s")}
		h.apply(node, c)
		ref := h.taskRows(key)[0].Ref()
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: ref, Message: []byte("done")}), "finish")
		h.same("claimed", commands(h.sessionTasks(node, 1, 5, 0)), []int64{2})
		before := h.taskRows(key)
		h.apply(node, c)
		h.same("tasks", h.taskRows(key), before)
		h.is(h.finish(0, provider.TaskFinish{TaskRef: ref, Message: []byte("again")}), provider.ErrStale, "finish again")
		h.same("mail", h.letters(key), []string{"done"})
	}},
	{"Rule03ARepeatedReleaseSucceeds", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Release, c.DueAt = true, provider.Never
		h.apply(node, c)
		h.apply(node, c)
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"Rule03ARepeatedEndSucceeds", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Status, c.Outcome = provider.Completed, []byte("out")
		h.apply(node, c)
		before := h.row(key)
		h.apply(node, c)
		h.same("row", h.row(key), before)
	}},
	{"Rule03RepeatedAfterAnotherClaimed", func(h *harness) {
		node, other := h.join(), h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Release, c.DueAt = true, 0
		h.apply(node, c)
		h.same("claimed", len(h.claim(other, 1).Claimed), 1)
		h.apply(node, c)
		h.same("owner", h.row(key).Owner, other)
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"Rule03NotAfterTheNextCommit", func(h *harness) {
		// A commit is remembered "for as long as it is the instance's last".
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		h.apply(node, c)
		h.apply(node, h.turn(key))
		h.is(h.commit(node, c).Err, provider.ErrConflict, "commit of before")
		h.same("turns", len(h.turns(key)), 2)
	}},
	{"Rule03WithoutATurnToo", func(h *harness) {
		node := h.join()
		key, friend := h.owned(node, "a"), h.fresh("b")
		row := h.row(key)
		c := beside(&row)
		c.ReadSeq = 1
		c.Messages = []provider.Message{to(friend, "once")}
		c.Tasks = []provider.NewTask{job(1)}
		h.apply(node, c)
		h.ok(h.finishAll(node), "finish")
		h.apply(node, c)
		h.same("mail of the friend", h.letters(friend), []string{"start b", "once"})
		h.same("tasks", len(h.taskRows(key)), 0)
		h.same("last commit", h.row(key).LastCommit, c.CommitID)
	}},
	{"Rule03AFailureIsNotChargedTwice", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.turn(key))
		c := h.failure(key, "no", 0)
		c.Charge = true
		h.apply(node, c)
		h.apply(node, c)
		h.same("attempts", h.row(key).Attempts, int64(1))
	}},
	{"Rule03TheMailboxIsReportedAsItIsNow", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		h.apply(node, c)
		h.post(key, "m")
		h.same("mailbox", h.apply(node, c).MailboxSeq, int64(2))
		h.same("mail", h.letters(key), []string{"m"})
	}},
	{"Rule03ALoadTellsTheLastCommit", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.same("last commit of the new", h.load(key).Instance.LastCommit, int64(0))
		c := h.turn(key)
		h.apply(node, c)
		l := h.load(key)
		h.same("last commit", l.Instance.LastCommit, c.CommitID)
		h.same("commit of the turn", l.Turns[0].CommitID, c.CommitID)
	}},
	{"ARefusedCommitIsNotRemembered", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Expect, c.Turn.Number = 5, 5
		h.is(h.commit(node, c).Err, provider.ErrConflict, "commit")
		c.Expect, c.Turn.Number = 1, 1
		h.apply(node, c)
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"AppliedAndNewInOneBatch", func(h *harness) {
		node := h.join()
		a, b := h.turn(h.owned(node, "a")), h.turn(h.owned(node, "b"))
		h.apply(node, a)
		results, err := h.Commit(h.ctx, node, []provider.Commit{a, b})
		h.ok(err, "commit")
		h.ok(results[0].Err, "the applied")
		h.ok(results[1].Err, "the new")
		h.same("turns", h.stats().Turns, int64(2))
	}},
}

// finishAll finishes every task that is due.
func (h *harness) finishAll(node provider.NodeKey) error {
	h.Helper()
	for _, t := range h.claimTasks(node, 100).Tasks {
		if err := h.finish(node, provider.TaskFinish{TaskRef: t.Ref(), Message: []byte("done")}); err != nil {
			return err
		}
	}
	return nil
}
