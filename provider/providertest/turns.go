package providertest

import (
	"bytes"
	"math"

	"github.com/durango-go/durango/provider"
)

var turnCases = []testCase{
	{"TurnsComeInOrder", func(h *harness) {
		key := h.withTurns(h.join(), "a", 150)
		turns := h.turns(key)
		h.same("turns", len(turns), 150)
		for i, t := range turns {
			h.same("number", t.Number, int64(i+1))
			h.same("events", t.Events, []byte{1, 2, 3, byte(i + 1)})
		}
		h.same("next turn", h.row(key).NextTurn, int64(151))
	}},
	{"TurnsAreShownInParts", func(h *harness) {
		key := h.withTurns(h.join(), "a", 5)
		turns, err := h.Turns(h.ctx, key, 2, 3)
		h.ok(err, "turns")
		h.same("turns", numbers(turns), []int64{2, 3, 4})
		turns, err = h.Turns(h.ctx, key, 6, 3)
		h.ok(err, "turns")
		h.same("turns behind the end", len(turns), 0)
	}},
	{"TurnsOfAnUnknownInstanceAreNone", func(h *harness) {
		h.same("turns", len(h.turns(provider.NewKey())), 0)
	}},
	{"EventsAreKeptByteForByte", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		events := make([]byte, 512)
		for i := range events {
			events[i] = byte(255 - i)
		}
		c := h.turn(key)
		c.Turn.Events = events
		h.apply(node, c)
		if got := only(h, "turns", h.turns(key)).Events; !bytes.Equal(got, events) {
			h.Errorf("events: got %x", got)
		}
	}},
	{"APayloadOfOneMiBIsKept", func(h *harness) {
		if h.max > 0 && h.max < 1<<20 {
			h.need(false, "MaxEventSize of 1 MiB")
		}
		big := make([]byte, 1<<20)
		for i := range big {
			big[i] = byte(i * 7)
		}
		node := h.join()
		n := draft("a")
		n.Start, n.Owned = big, true
		h.create(node, n)
		h.ok(h.send(provider.Message{To: provider.Target{Key: n.Key}, Payload: big}).Err, "send")
		l := h.load(n.Key)
		h.same("messages", len(l.Mail), 2)
		for _, m := range l.Mail {
			h.same("message kept", bytes.Equal(m.Payload, big), true)
		}
		c := h.turn(n.Key)
		c.Turn.Events = append([]byte{9}, big...)
		task := job(1)
		task.Payload = big
		c.Tasks = []provider.NewTask{task}
		c.Release, c.DueAt = true, provider.Never
		h.apply(node, c)
		h.same("events kept", bytes.Equal(only(h, "loaded", h.load(n.Key).Turns).Events, c.Turn.Events), true)
		claimed := only(h, "tasks claimed", h.claimTasks(node, 1).Tasks)
		h.same("task kept", bytes.Equal(claimed.Payload, big), true)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: claimed.Ref(), Message: big}), "finish")
		h.same("result kept", bytes.Equal(only(h, "messages", h.mail(n.Key)).Payload, big), true)
		h.claim(node, 1)
		c = h.turn(n.Key)
		c.Status, c.Outcome = provider.Completed, big
		h.apply(node, c)
		h.same("outcome kept", bytes.Equal(h.row(n.Key).Outcome, big), true)
	}},
	{"NumbersHave64Bits", func(h *harness) {
		node := h.join()
		n := draft("a")
		n.Owned = true
		n.Parent = provider.ParentLink{Key: math.MaxInt64, ID: "p", Execution: math.MaxInt64 - 1, Command: math.MaxInt64 - 2}
		h.create(node, n)
		c := h.turn(n.Key)
		c.CommitID = math.MaxInt64
		c.Turn.CommitID, c.Turn.Time = math.MaxInt64, math.MaxInt64
		task := job(math.MaxInt64)
		task.Attempt, task.ScheduledAt, task.VisibleAt = math.MaxInt32, 1_900_000_000_123_456_789, math.MaxInt64
		c.Tasks = []provider.NewTask{task}
		h.apply(node, c)
		h.same("parent", h.row(n.Key).Parent, n.Parent)
		h.same("last commit", h.row(n.Key).LastCommit, int64(math.MaxInt64))
		h.same("turn", only(h, "turns", h.turns(n.Key)), *c.Turn)
		h.same("task", only(h, "task rows", h.taskRows(n.Key)).NewTask, task)
	}},
	{"NoTurnIsWrittenWithoutOne", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 2)
		row := h.row(key)
		h.apply(node, beside(&row))
		h.same("turns", numbers(h.turns(key)), []int64{1, 2})
		h.same("next turn", h.row(key).NextTurn, int64(3))
		h.same("last commit changed", h.row(key).LastCommit != row.LastCommit, true)
	}},
	{"HistoriesDoNotMix", func(h *harness) {
		node := h.join()
		a, b := h.withTurns(node, "a", 3), h.withTurns(node, "b", 1)
		h.same("turns of a", numbers(h.turns(a)), []int64{1, 2, 3})
		h.same("turns of b", numbers(h.turns(b)), []int64{1})
	}},
}

var continueCases = []testCase{
	{"Rule02NextTurnNeverResets", func(h *harness) {
		// DESIGN 6, rule 2: "`next_turn` never resets while the instance lives,
		// not even at continue-as-new".
		node := h.join()
		key := h.withTurns(node, "a", 2)
		late := h.turn(key)
		h.apply(node, h.next(key))
		row := h.row(key)
		h.same("execution", row.Execution, int64(2))
		h.same("next turn", row.NextTurn, int64(4))
		h.same("history from", row.HistoryFrom, int64(3))
		h.same("status", row.Status, provider.Running)
		h.is(h.commit(node, late).Err, provider.ErrConflict, "commit of the older execution")
		h.apply(node, h.turn(key))
		h.same("turns", numbers(h.turns(key)), []int64{1, 2, 3, 4})
		h.same("execution of the last", h.turns(key)[3].Execution, int64(2))
	}},
	{"TheTurnThatContinuedIsLoaded", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 2)
		h.apply(node, h.next(key))
		turns := h.load(key).Turns
		h.same("turns", numbers(turns), []int64{3})
		h.same("its execution", turns[0].Execution, int64(1))
	}},
	{"TheNextExecutionIsDueAtOnce", func(h *harness) {
		// DESIGN 6: "at once while it has an unstarted execution (from birth,
		// and from a continue-as-new until the next execution's first turn)".
		node, heir := h.join(), h.join()
		key := h.owned(node, "a")
		h.apply(node, h.next(key))
		h.kill(node)
		h.same("claimed", keysOf(h.claim(heir, 1).Claimed), []provider.Key{key})
		released := h.owned(heir, "b")
		c := h.next(released)
		c.Release = true
		h.apply(heir, c)
		h.same("claimed", keysOf(h.claim(heir, 1).Claimed), []provider.Key{released})
	}},
	{"TasksOfTheOlderExecutionAreRemoved", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Tasks = []provider.NewTask{job(1), job(2)}
		h.apply(node, c)
		held := only(h, "tasks claimed", h.claimTasks(node, 1).Tasks)
		h.apply(node, h.next(key))
		h.same("tasks", len(h.taskRows(key)), 0)
		h.same("tasks to claim", len(h.claimTasks(node, 5).Tasks), 0)
		h.is(h.finish(node, provider.TaskFinish{TaskRef: held.Ref(), Message: []byte("late")}), provider.ErrStale, "finish")
		h.same("still held", h.extend(node, provider.TaskBeat{TaskRef: held.Ref()}), false)
		h.same("mail", h.letters(key), []string{})
	}},
	{"ACommandNumberOfTheOlderExecutionIsFree", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Tasks = []provider.NewTask{job(1)}
		h.apply(node, c)
		old := only(h, "tasks claimed", h.claimTasks(node, 1).Tasks)
		h.apply(node, h.next(key))
		c = h.turn(key)
		c.Tasks = []provider.NewTask{job(1)}
		h.apply(node, c)
		now := only(h, "tasks claimed", h.claimTasks(node, 1).Tasks)
		h.same("execution", now.Execution, int64(2))
		h.is(h.finish(node, provider.TaskFinish{TaskRef: old.Ref(), Message: []byte("late")}), provider.ErrStale, "finish of the old")
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: now.Ref(), Message: []byte("done")}), "finish of the new")
		h.same("mail", h.mail(key), []provider.Mail{{Seq: 2, Execution: 2, Command: 1, Payload: []byte("done")}})
	}},
	{"Rule10UnreadMailStaysInItsOrder", func(h *harness) {
		// DESIGN 6, rule 10: "Unconsumed signals become the first deliveries of
		// the next execution; they are not re-sent behind newer mail."
		node := h.join()
		key := h.owned(node, "a")
		h.post(key, "2")
		h.post(key, "3")
		c := h.next(key)
		c.ReadSeq = 1
		h.apply(node, c)
		h.post(key, "4")
		h.same("mail", h.letters(key), []string{"2", "3", "4"})
	}},
	{"TheVersionMayChange", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.next(key)
		c.Version, c.Release = "", true
		h.apply(node, c)
		h.same("claimed by the old version", len(h.claim(node, 1).Claimed), 0)
		reply, err := h.Claim(h.ctx, provider.ClaimRequest{Node: node, Definitions: []provider.Definition{{Name: "flow"}}, Limit: 1})
		h.ok(err, "claim")
		h.same("claimed", keysOf(reply.Claimed), []provider.Key{key})
	}},
	{"CustomStatusAndParentStay", func(h *harness) {
		node := h.join()
		n := draft("a")
		n.Owned, n.Parent = true, provider.ParentLink{Key: 5, ID: "p", Execution: 2, Command: 3}
		h.create(node, n)
		c := h.turn(n.Key)
		c.CustomStatus = []byte("kept")
		h.apply(node, c)
		h.apply(node, h.next(n.Key))
		row := h.row(n.Key)
		h.same("custom status", string(row.CustomStatus), "kept")
		h.same("parent", row.Parent, n.Parent)
	}},
	{"DetachedStartsOfItsTurnHappen", func(h *harness) {
		// DESIGN 9: "Detached starts of a continue-as-new turn happen."
		node := h.join()
		key := h.owned(node, "a")
		c := h.next(key)
		child := draft("child")
		c.Children = []provider.NewInstance{child}
		h.apply(node, c)
		h.same("mail of the child", h.letters(child.Key), []string{"start child"})
	}},
}

// next makes the commit of a turn that continues as new.
func (h *harness) next(key provider.Key) provider.Commit {
	h.Helper()
	c := h.turn(key)
	c.HistoryFrom = c.Turn.Number
	c.Execution++
	c.DueAt = 0
	return c
}
