package providertest

import (
	"fmt"

	"github.com/durango-go/durango/provider"
)

var taskFinishCases = []testCase{
	{"AnAnswerReplacesTheTask", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("done")}), "finish")
		h.same("tasks", len(h.taskRows(key)), 0)
		h.same("mail", h.mail(key), []provider.Mail{{Seq: 2, Execution: 1, Command: 4, Payload: []byte("done")}})
		if row := h.row(key); row.WakeAt > h.now() {
			h.Errorf("wake at %d is in the future", row.WakeAt)
		}
	}},
	{"AnEmptyAnswerIsAnAnswer", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte{}}), "finish")
		h.same("tasks", len(h.taskRows(key)), 0)
		h.same("mail", len(h.mail(key)), 1)
	}},
	{"ATaskIsTriedAgain", func(h *harness) {
		node, other := h.join(), h.join()
		key, task := h.working(node, "a", 4)
		h.ok(h.finish(node, provider.TaskFinish{
			TaskRef: task.Ref(), VisibleAt: 777, Failure: []byte("it failed"), Details: []byte("at 3"),
		}), "finish")
		h.same("mail", h.letters(key), []string{})
		row := only(h, "task rows", h.taskRows(key))
		h.same("holder", row.Holder, provider.NodeKey(0))
		h.same("visible at", row.VisibleAt, int64(777))
		h.same("attempt", row.Attempt, int64(1))
		h.same("failure", string(row.Failure), "it failed")
		h.same("details", string(row.Details), "at 3")
		next := h.claimTasks(other, 5).Tasks
		h.same("claimed", len(next), 1)
		h.same("attempt", next[0].Attempt, int64(2))
		h.same("failure of the last attempt", string(next[0].Failure), "it failed")
		h.same("details of the last attempt", string(next[0].Details), "at 3")
	}},
	{"ARetryWaits", func(h *harness) {
		node := h.join()
		_, task := h.working(node, "a", 4)
		at := h.now() + hour
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), VisibleAt: at}), "finish")
		reply := h.claimTasks(node, 5)
		h.same("claimed", len(reply.Tasks), 0)
		h.same("next due", reply.NextDue, at)
	}},
	{"WhatARetryDoesNotSayStays", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Failure: []byte("first"), Details: []byte("at 3")}), "finish")
		again := only(h, "tasks claimed", h.claimTasks(node, 1).Tasks)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: again.Ref(), GiveBack: true}), "give back")
		row := only(h, "task rows", h.taskRows(key))
		h.same("failure", string(row.Failure), "first")
		h.same("details", string(row.Details), "at 3")
	}},
	{"WhatIsGivenBackIsNotCounted", func(h *harness) {
		// DESIGN 9: "a clean shutdown gives them back."
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), GiveBack: true}), "give back")
		h.same("attempt", only(h, "task rows", h.taskRows(key)).Attempt, int64(0))
		h.same("attempt when claimed", only(h, "tasks claimed", h.claimTasks(node, 1).Tasks).Attempt, int64(1))
	}},
	{"Rule12FinishIsFencedByHolder", func(h *harness) {
		// DESIGN 6, rule 12: "A task's finish is fenced by holder and attempt."
		node, thief := h.join(), h.join()
		key, task := h.working(node, "a", 4)
		for _, n := range []provider.NodeKey{thief, 0, provider.NewNodeKey()} {
			h.is(h.finish(n, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("no")}), provider.ErrStale, "finish")
			h.is(h.finish(n, provider.TaskFinish{TaskRef: task.Ref()}), provider.ErrStale, "retry")
		}
		h.same("row", only(h, "task rows", h.taskRows(key)), task)
		h.same("mail", h.letters(key), []string{})
	}},
	{"Rule12FinishIsFencedByAttempt", func(h *harness) {
		// DESIGN 6, rule 12, when the same node has the task again.
		node := h.join()
		key, first := h.working(node, "a", 4)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: first.Ref()}), "retry")
		second := only(h, "tasks claimed", h.claimTasks(node, 1).Tasks)
		h.is(h.finish(node, provider.TaskFinish{TaskRef: first.Ref(), Message: []byte("late")}), provider.ErrStale, "finish of attempt 1")
		h.same("held under attempt 1", h.extend(node, provider.TaskBeat{TaskRef: first.Ref(), Details: []byte("x")}), false)
		h.same("mail", h.letters(key), []string{})
		h.same("row", only(h, "task rows", h.taskRows(key)), second)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: second.Ref(), Message: []byte("done")}), "finish of attempt 2")
	}},
	{"Rule12ATaskIsFinishedOnce", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		f := provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("done")}
		h.ok(h.finish(node, f), "finish")
		h.is(h.finish(node, f), provider.ErrStale, "finish again")
		h.same("mail", h.letters(key), []string{"done"})
	}},
	{"Rule12AnUnheldTaskIsNotFinished", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref()}), "retry")
		h.is(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("no")}), provider.ErrStale, "finish")
		h.is(h.finish(0, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("no")}), provider.ErrStale, "finish by no node")
		h.same("tasks", len(h.taskRows(key)), 1)
	}},
	{"Rule12WhereTheRefIsOfAnother", func(h *harness) {
		node := h.join()
		_, task := h.working(node, "a", 4)
		other, _ := h.working(node, "b", 5)
		for _, change := range []func(*provider.TaskRef){
			func(r *provider.TaskRef) { r.Instance = other },
			func(r *provider.TaskRef) { r.Instance = provider.NewKey() },
			func(r *provider.TaskRef) { r.Execution = 2 },
			func(r *provider.TaskRef) { r.Command = 5 },
			func(r *provider.TaskRef) { r.Attempt++ },
		} {
			ref := task.Ref()
			change(&ref)
			h.is(h.finish(node, provider.TaskFinish{TaskRef: ref, Message: []byte("no")}), provider.ErrStale, "finish")
		}
		h.same("unread mail", h.stats().UnreadMail, int64(0))
	}},
	{"OneStaleItemDoesNotTouchTheOthers", func(h *harness) {
		node := h.join()
		a, ta := h.working(node, "a", 1)
		b, tb := h.working(node, "b", 1)
		stale := ta.Ref()
		stale.Attempt = 9
		errs, err := h.FinishTasks(h.ctx, node, []provider.TaskFinish{
			{TaskRef: ta.Ref(), Message: []byte("a")}, {TaskRef: stale, Message: []byte("x")}, {TaskRef: tb.Ref(), Message: []byte("b")},
		})
		h.ok(err, "finish tasks")
		h.ok(errs[0], "first")
		h.is(errs[1], provider.ErrStale, "second")
		h.ok(errs[2], "third")
		h.same("mail", append(h.letters(a), h.letters(b)...), []string{"a", "b"})
	}},
	{"SeveralAnswersToOneInstance", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		for i := range 20 {
			c.Tasks = append(c.Tasks, job(int64(i+1)))
		}
		c.Release, c.DueAt = true, provider.Never
		h.apply(node, c)
		var batch []provider.TaskFinish
		for _, t := range h.claimTasks(node, 20).Tasks {
			batch = append(batch, provider.TaskFinish{TaskRef: t.Ref(), Message: []byte(itoa(int(t.Command)))})
		}
		errs, err := h.FinishTasks(h.ctx, node, batch)
		h.ok(err, "finish tasks")
		for _, e := range errs {
			h.ok(e, "finish")
		}
		mail := h.mail(key)
		h.same("mail", len(mail), 20)
		for i, m := range mail {
			h.same("number", m.Seq, int64(i+2))
			h.same("order", string(m.Payload), string(batch[i].Message))
		}
		h.same("tasks", len(h.taskRows(key)), 0)
	}},
	{"ASuspendedInstanceGetsItsAnswer", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("done")}), "finish")
		h.same("mail", h.letters(key), []string{"done"})
		h.same("wake at", h.row(key).WakeAt, provider.Never)
	}},
	{"AnAnswerToAnOwnedInstanceIsReported", func(h *harness) {
		owner, worker := h.join(), h.join()
		key, task := h.working(worker, "a", 4)
		h.post(key, "wake")
		h.claim(owner, 1)
		h.apply(owner, h.turn(key))
		h.ok(h.finish(worker, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("done")}), "finish")
		h.same("mail", h.claim(owner, 1).Mail, []provider.Key{key})
	}},
	{"ABeatStoresDetails", func(h *harness) {
		node, other := h.join(), h.join()
		key, task := h.working(node, "a", 4)
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref(), Details: []byte("at 1")}), true)
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref()}), true)
		h.same("details", string(only(h, "task rows", h.taskRows(key)).Details), "at 1")
		h.same("held by another", h.extend(other, provider.TaskBeat{TaskRef: task.Ref(), Details: []byte("no")}), false)
		h.same("details", string(only(h, "task rows", h.taskRows(key)).Details), "at 1")
		h.kill(node)
		h.same("held by the dead", h.extend(node, provider.TaskBeat{TaskRef: task.Ref(), Details: []byte("no")}), false)
		h.same("details for the next attempt", string(only(h, "tasks claimed", h.claimTasks(other, 1).Tasks).Details), "at 1")
	}},
	{"ABeatStoresANote", func(h *harness) {
		h.need(h.caps.Notes, "Notes")
		node, other := h.join(), h.join()
		key, task := h.working(node, "a", 4)
		beat := provider.TaskBeat{TaskRef: task.Ref(), Details: []byte("at 1"), Failure: []byte("noted")}
		h.same("held", h.extend(node, beat), true)
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref(), Details: []byte("at 2")}), true)
		h.same("held by another", h.extend(other, beat), false)
		row := only(h, "task rows", h.taskRows(key))
		h.same("note and details", string(row.Failure)+" "+string(row.Details), "noted at 2")
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref(), Failure: []byte("again")}), true)
		row = only(h, "task rows", h.taskRows(key))
		h.same("note and details", string(row.Failure)+" "+string(row.Details), "again at 2")
		h.same("holder, attempt", fmt.Sprint(row.Holder == node, row.Attempt), fmt.Sprint(true, task.Attempt))
		h.kill(node)
		next := only(h, "tasks claimed", h.claimTasks(other, 1).Tasks)
		h.same("note for the next attempt", string(next.Failure), "again")
		h.ok(h.finish(other, provider.TaskFinish{TaskRef: next.Ref(), GiveBack: true, Failure: []byte{}}), "give back")
		h.same("note", len(only(h, "task rows", h.taskRows(key)).Failure), 0)
	}},
	{"BeatsAreAnsweredItemByItem", func(h *harness) {
		node := h.join()
		_, a := h.working(node, "a", 1)
		_, b := h.working(node, "b", 1)
		stale := a.Ref()
		stale.Attempt = 7
		held, err := h.ExtendTasks(h.ctx, node, []provider.TaskBeat{
			{TaskRef: a.Ref()}, {TaskRef: stale}, {TaskRef: provider.TaskRef{Instance: 1}}, {TaskRef: b.Ref()},
		})
		h.ok(err, "extend tasks")
		h.same("held", held, []bool{true, false, false, true})
	}},
	{"BuffersMayBeReused", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		buf := []byte("original")
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref(), Details: buf}), true)
		copy(buf, "CHANGED!")
		h.same("details of a beat", string(only(h, "task rows", h.taskRows(key)).Details), "original")
		copy(buf, "original")
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Failure: buf, Details: buf}), "retry")
		copy(buf, "CHANGED!")
		again := only(h, "tasks claimed", h.claimTasks(node, 1).Tasks)
		h.same("failure and details", string(again.Failure)+string(again.Details), "originaloriginal")
		copy(buf, "original")
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: again.Ref(), Message: buf}), "finish")
		copy(buf, "CHANGED!")
		h.same("mail", h.letters(key), []string{"original"})
	}},
}
