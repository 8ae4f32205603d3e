package providertest

import (
	"slices"

	"github.com/durango-go/durango/provider"
)

var commitCases = []testCase{
	{"ATurnIsStoredWithItsColumns", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Turn.Time, c.Turn.Deliveries, c.Turn.Commands = 123456789, 3, 5
		h.apply(node, c)
		h.same("turns", h.turns(key), []provider.Turn{*c.Turn})
	}},
	{"TheRowIsStoredAsGiven", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		before := h.row(key)
		c := h.turn(key)
		c.Name, c.Version, c.HistoryFrom, c.DueAt = "renamed", "3.1.4", 1, 0
		c.CustomStatus = []byte("half way")
		h.apply(node, c)
		row := h.row(key)
		if row.UpdatedAt < before.UpdatedAt {
			h.Errorf("updated at %d, before it was created", row.UpdatedAt)
		}
		want := before
		want.Name, want.Version, want.Status = "renamed", "3.1.4", provider.Running
		want.NextTurn, want.ReadSeq, want.LastCommit = 2, 1, c.CommitID
		want.Attempts, want.CustomStatus, want.CustomStatusTurn = 0, []byte("half way"), 1
		want.WakeAt, want.UpdatedAt = provider.Never, row.UpdatedAt
		h.same("row", row, want)
	}},
	{"OnlyTheOwnerCommits", func(h *harness) {
		// DESIGN 6: "A commit succeeds only if the instance is still owned by
		// the committer and `next_turn` is what it expected".
		owner, thief := h.join(), h.join()
		key := h.owned(owner, "a")
		before := h.row(key)
		c := h.turn(key)
		h.is(h.commit(thief, c).Err, provider.ErrConflict, "commit of a stranger")
		h.same("row", h.row(key), before)
		h.same("turns", len(h.turns(key)), 0)
		h.apply(owner, c)
	}},
	{"NobodyCommitsWhatNobodyOwns", func(h *harness) {
		node := h.join()
		key := h.fresh("a")
		h.is(h.commit(node, h.turn(key)).Err, provider.ErrConflict, "commit")
		h.same("turns", len(h.turns(key)), 0)
	}},
	{"AReleasedInstanceIsNotCommitted", func(h *harness) {
		node := h.join()
		key := h.asleep(node, "a")
		h.is(h.commit(node, h.turn(key)).Err, provider.ErrConflict, "commit")
	}},
	{"OnlyTheNextTurnIsCommitted", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 2)
		for _, number := range []int64{0, 1, 2, 4, 100} {
			c := h.turn(key)
			c.Expect, c.Turn.Number = number, number
			h.is(h.commit(node, c).Err, provider.ErrConflict, "commit of turn "+itoa(int(number)))
		}
		h.same("turns", numbers(h.turns(key)), []int64{1, 2})
		h.same("next turn", h.row(key).NextTurn, int64(3))
	}},
	{"WithoutATurnTheExpectationCountsToo", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 2)
		c := h.release(key)
		c.Expect = 2
		h.is(h.commit(node, c).Err, provider.ErrConflict, "release")
		h.same("owner", h.row(key).Owner, node)
	}},
	{"AnUnknownInstanceIsNotFound", func(h *harness) {
		node := h.join()
		c := h.turn(h.owned(node, "a"))
		c.Key = provider.NewKey()
		h.is(h.commit(node, c).Err, provider.ErrNotFound, "commit")
	}},
	{"Rule01ACommitNeedsALiveNode", func(h *harness) {
		// DESIGN 6, rule 1, for a commit: a node that is gone writes nothing.
		node, other := h.join(), h.join()
		a, b := h.owned(node, "a"), h.owned(other, "b")
		batch := []provider.Commit{h.turn(a), h.turn(b)}
		h.kill(node)
		results, err := h.Commit(h.ctx, node, batch)
		h.is(err, provider.ErrNodeGone, "commit")
		h.same("results", len(results), 0)
		h.same("turns", len(h.turns(a))+len(h.turns(b)), 0)
	}},
	{"Rule08ABadItemFailsAlone", func(h *harness) {
		// DESIGN 6, rule 8: "One bad item never fails its group for ever".
		node := h.join()
		var batch []provider.Commit
		for i := range 7 {
			batch = append(batch, h.turn(h.owned(node, itoa(i))))
		}
		batch[1].Expect, batch[1].Turn.Number = 9, 9
		batch[3].Key = provider.NewKey()
		batch[5].OpenLocal, batch[5].Release = 1, true
		want := []error{nil, provider.ErrConflict, nil, provider.ErrNotFound, nil, provider.ErrInvalid, nil}
		results, err := h.Commit(h.ctx, node, batch)
		h.ok(err, "commit")
		for i, r := range results {
			if want[i] == nil {
				h.ok(r.Err, "item "+itoa(i))
				h.same("turns of "+itoa(i), len(h.turns(batch[i].Key)), 1)
			} else {
				h.is(r.Err, want[i], "item "+itoa(i))
			}
		}
		h.same("turns", h.stats().Turns, int64(4))
	}},
	{"AConflictAppliesNothing", func(h *harness) {
		node, other := h.join(), h.join()
		key, friend := h.owned(other, "a"), h.fresh("b")
		before, friendBefore := h.row(key), h.row(friend)
		c := h.turn(key)
		c.CustomStatus, c.Release = []byte("no"), true
		c.Tasks = []provider.NewTask{job(1)}
		c.Children = []provider.NewInstance{draft("child")}
		c.Messages = []provider.Message{to(friend, "no")}
		r := h.commit(node, c)
		h.is(r.Err, provider.ErrConflict, "commit")
		h.same("row", h.row(key), before)
		h.same("row of the friend", h.row(friend), friendBefore)
		h.same("mail", h.letters(key), []string{"start a"})
		h.same("tasks", len(h.taskRows(key)), 0)
		_, err := h.Get(h.ctx, provider.Target{ID: "child"})
		h.is(err, provider.ErrNotFound, "get the child")
	}},
	{"ReadMailIsConsumed", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		for _, text := range []string{"2", "3", "4"} {
			h.post(key, text)
		}
		c := h.turn(key)
		c.ReadSeq = 2
		r := h.apply(node, c)
		h.same("mailbox", r.MailboxSeq, int64(4))
		h.same("mail", h.letters(key), []string{"3", "4"})
		h.same("read", h.row(key).ReadSeq, int64(2))
		h.same("number of the next", h.post(key, "5").Seq, int64(5))
	}},
	{"MailIsConsumedWithoutATurn", func(h *harness) {
		// DESIGN 5: "the contract has "consume and reply without a turn"".
		node := h.join()
		key, asker := h.owned(node, "a"), h.fresh("asker")
		h.apply(node, h.turn(key))
		h.post(key, "question")
		row := h.row(key)
		c := beside(&row)
		c.ReadSeq = 2
		c.Messages = []provider.Message{to(asker, "answer")}
		h.apply(node, c)
		h.same("mail", h.letters(key), []string{})
		h.same("mail of the asker", h.letters(asker), []string{"start asker", "answer"})
		h.same("next turn", h.row(key).NextTurn, int64(2))
		h.same("owner", h.row(key).Owner, node)
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"WhatIsReadStaysRead", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.turn(key))
		h.post(key, "2")
		c := h.turn(key)
		c.ReadSeq = 0
		h.apply(node, c)
		h.same("read", h.row(key).ReadSeq, int64(1))
		h.same("mail", h.letters(key), []string{"2"})
	}},
	{"MailThatHasNotComeIsNotRead", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.ReadSeq = 2
		h.is(h.commit(node, c).Err, provider.ErrInvalid, "commit")
		h.same("next turn", h.row(key).NextTurn, int64(1))
	}},
	{"CustomStatusStaysUnlessReplaced", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		for _, step := range []struct{ set, want []byte }{
			{nil, nil}, {[]byte("one"), []byte("one")}, {nil, []byte("one")}, {[]byte("two"), []byte("two")},
		} {
			c := h.turn(key)
			c.CustomStatus = step.set
			h.apply(node, c)
			h.same("custom status", string(h.row(key).CustomStatus), string(step.want))
		}
		c := h.turn(key)
		c.Status = provider.Completed
		h.apply(node, c)
		h.same("custom status at the end", string(h.row(key).CustomStatus), "two")
	}},
	{"ACommitKeepsTheOwner", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 2)
		h.same("owner", h.row(key).Owner, node)
		h.same("wake at", h.row(key).WakeAt, provider.Never)
	}},
	{"AnEndClosesTheInstance", func(h *harness) {
		node := h.join()
		for _, status := range []provider.Status{provider.Completed, provider.Failed, provider.Canceled, provider.Terminated} {
			key := h.owned(node, status.String())
			h.apply(node, h.turn(key))
			h.post(key, "unread")
			c := h.turn(key)
			c.Status, c.Outcome, c.ReadSeq = status, []byte("out"), 1
			c.Tasks = []provider.NewTask{job(1)}
			h.apply(node, c)
			row := h.row(key)
			h.same("status", row.Status, status)
			h.same("outcome", string(row.Outcome), "out")
			h.same("owner", row.Owner, provider.NodeKey(0))
			h.same("wake at", row.WakeAt, provider.Never)
			h.same("unread", row.Unread(), false)
			if row.ClosedAt == 0 {
				h.Error("closed at is zero")
			}
			h.same("mail", h.letters(key), []string{})
			h.same("tasks", len(h.taskRows(key)), 0)
			h.same("turns", len(h.turns(key)), 2)
		}
		h.same("mail left", h.stats().UnreadMail, int64(0))
	}},
	{"AnEndedInstanceIsNotCommitted", func(h *harness) {
		node := h.join()
		key := h.ended(node, "a")
		h.is(h.commit(node, h.turn(key)).Err, provider.ErrConflict, "commit")
	}},
	{"ReleaseWithMailIsClaimableAtOnce", func(h *harness) {
		// DESIGN 6: "always computed from the locked row, never from what the
		// engine believes": mail that came during the turn is not slept over.
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Release, c.DueAt = true, provider.Never
		h.post(key, "came meanwhile")
		r := h.apply(node, c)
		h.same("mailbox", r.MailboxSeq, int64(2))
		h.same("owner", h.row(key).Owner, provider.NodeKey(0))
		h.same("claimed", keysOf(h.claim(node, 10).Claimed), []provider.Key{key})
	}},
	{"ReleaseWithoutMailSleepsUntilDue", func(h *harness) {
		node := h.join()
		for i, due := range []int64{provider.Never, h.now() + hour, 0} {
			key := h.owned(node, itoa(i))
			c := h.turn(key)
			c.Release, c.DueAt = true, due
			h.apply(node, c)
			row := h.row(key)
			h.same("wake at", row.WakeAt, due)
			h.same("due at", row.DueAt, due)
			h.same("owner", row.Owner, provider.NodeKey(0))
		}
		h.same("claimed", len(h.claim(node, 10).Claimed), 1)
	}},
	{"Rule04OpenLocalTasksAreNotReleased", func(h *harness) {
		// DESIGN 6, rule 4: "An instance with open local tasks or unrecorded
		// local results is not released."
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.OpenLocal, c.Release = 2, true
		h.is(h.commit(node, c).Err, provider.ErrInvalid, "release")
		c.Release, c.DueAt = false, provider.Never
		h.is(h.commit(node, c).Err, provider.ErrInvalid, "commit that sleeps")
		h.same("next turn", h.row(key).NextTurn, int64(1))
		c.DueAt = 0
		h.apply(node, c)
		h.same("owner", h.row(key).Owner, node)
	}},
	{"Rule04LocalTasksAreNotLostWithTheirNode", func(h *harness) {
		// DESIGN 6: "`due_at` says when it needs an owner without mail: at once
		// while it has [...] open local tasks".
		node, heir := h.join(), h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.OpenLocal, c.DueAt = 1, 0
		h.apply(node, c)
		h.kill(node)
		h.same("claimed", keysOf(h.claim(heir, 10).Claimed), []provider.Key{key})
	}},
	{"Rule04ADrainTurnsLocalTasksIntoRows", func(h *harness) {
		// DESIGN 6, rule 4: "Drain first turns running local tasks into `tasks`
		// rows, in the releasing transaction."
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.OpenLocal, c.DueAt = 1, 0
		h.apply(node, c)
		d := h.release(key)
		d.DueAt = provider.Never
		d.Tasks = []provider.NewTask{job(1)}
		h.apply(node, d)
		h.same("owner", h.row(key).Owner, provider.NodeKey(0))
		h.same("task claimed", len(h.claimTasks(h.join(), 5).Tasks), 1)
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"NonsenseIsInvalid", func(h *harness) {
		node := h.join()
		for name, spoil := range map[string]func(*provider.Commit){
			"turn number": func(c *provider.Commit) { c.Turn.Number = 2 },
			"commit ID":   func(c *provider.Commit) { c.CommitID = 0 },
			"status":      func(c *provider.Commit) { c.Status = 0 },
		} {
			key := h.owned(node, name)
			c := h.turn(key)
			spoil(&c)
			h.is(h.commit(node, c).Err, provider.ErrInvalid, "commit with a wrong "+name)
			h.same("turns", len(h.turns(key)), 0)
			h.same("mail", len(h.mail(key)), 1)
		}
	}},
	{"BuffersMayBeReused", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		buf := []byte("original")
		c := h.turn(key)
		c.Turn.Events, c.CustomStatus = buf, buf
		task := job(1)
		task.Payload, task.Failure, task.Details = buf, buf, buf
		c.Tasks = []provider.NewTask{task}
		child := draft("child")
		child.Start = buf
		c.Children = []provider.NewInstance{child}
		c.Messages = []provider.Message{{To: provider.Target{Key: key}, Payload: buf}}
		h.apply(node, c)
		copy(buf, "CHANGED!")
		stored := only(h, "task rows", h.taskRows(key))
		got := []string{
			string(only(h, "turns", h.turns(key)).Events), string(h.row(key).CustomStatus),
			only(h, "messages", h.letters(key)), only(h, "messages", h.letters(child.Key)),
			string(stored.Payload), string(stored.Failure), string(stored.Details),
		}
		h.same("stored", got, slices.Repeat([]string{"original"}, len(got)))

		copy(buf, "original")
		c = h.turn(key)
		c.Status, c.Outcome = provider.Completed, buf
		h.apply(node, c)
		copy(buf, "CHANGED!")
		h.same("outcome", string(h.row(key).Outcome), "original")
	}},
	{"AGroupOfManyIsCommitted", func(h *harness) {
		node := h.join()
		var keys []provider.Key
		for i := range 256 {
			n := draft(itoa(i))
			n.Owned = true
			h.create(node, n)
			keys = append(keys, n.Key)
		}
		var batch []provider.Commit
		for _, key := range keys {
			batch = append(batch, h.turn(key))
		}
		results, err := h.Commit(h.ctx, node, batch)
		h.ok(err, "commit")
		for _, r := range results {
			h.ok(r.Err, "commit")
		}
		h.same("turns", h.stats().Turns, int64(256))
	}},
}
