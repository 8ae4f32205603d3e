package providertest

import "github.com/durango-go/durango/provider"

// parkingCases are about tasks that are finished from outside. Those who do
// that are no node: they come as node zero.
//
// DESIGN 6, rule 11: "A completion token makes the task a row first."
var parkingCases = []testCase{
	{"Rule11AParkedTaskIsInNoQueue", func(h *harness) {
		node := h.join()
		key := h.queued(node, "a", h.parked(4, 1))
		reply := h.claimTasks(node, 5)
		h.same("claimed", len(reply.Tasks), 0)
		h.same("next due", reply.NextDue, provider.Never)
		row := only(h, "task rows", h.taskRows(key))
		h.same("task", row, provider.Task{Instance: key, InstanceID: "a", Execution: 1, NewTask: h.parked(4, 1)})
		h.same("tasks of the load", h.load(key).Tasks, []int64{4})
		h.same("waiting", h.stats().TaskWaiting, int64(1))
	}},
	{"Rule11AHolderParksItsTask", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		at := h.now() + hour
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Park: true, VisibleAt: at, Details: []byte("at 3")}), "park")
		row := only(h, "task rows", h.taskRows(key))
		h.same("parked", row.Parked, true)
		h.same("holder", row.Holder, provider.NodeKey(0))
		h.same("attempt is kept", row.Attempt, int64(1))
		h.same("visible at", row.VisibleAt, at)
		h.same("details", string(row.Details), "at 3")
		reply := h.claimTasks(node, 5)
		h.same("claimed", len(reply.Tasks), 0)
		h.same("next due", reply.NextDue, at)
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref()}), false)
		holdings, err := h.Owned(h.ctx, node)
		h.ok(err, "owned")
		h.same("owned", len(holdings.Tasks), 0)
		h.is(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("late")}), provider.ErrStale, "finish by the former holder")
	}},
	{"WhatParkingDoesNotSayStays", func(h *harness) {
		node := h.join()
		t := job(4)
		t.Failure, t.Details = []byte("failed"), []byte("at 3")
		key := h.queued(node, "a", t)
		task := only(h, "tasks claimed", h.claimTasks(node, 1).Tasks)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Park: true, VisibleAt: provider.Never}), "park")
		row := only(h, "task rows", h.taskRows(key))
		h.same("failure and details", string(row.Failure)+string(row.Details), "failedat 3")
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: task.Ref(), Park: true, VisibleAt: provider.Never, Failure: []byte("again")}), "park again")
		row = only(h, "task rows", h.taskRows(key))
		h.same("failure and details", string(row.Failure)+string(row.Details), "againat 3")
	}},
	{"Rule12ItIsAnsweredFromOutside", func(h *harness) {
		node := h.join()
		key := h.queued(node, "a", h.parked(4, 1))
		f := provider.TaskFinish{TaskRef: h.ref(key), Message: []byte("done")}
		h.ok(h.finish(0, f), "finish")
		h.same("mail", h.mail(key), []provider.Mail{{Seq: 2, Execution: 1, Command: 4, Payload: []byte("done")}})
		h.same("tasks", len(h.taskRows(key)), 0)
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
		h.is(h.finish(0, f), provider.ErrStale, "finish again")
		h.same("mail", h.letters(key), []string{"done"})
	}},
	{"AnEmptyAnswerIsAnAnswer", func(h *harness) {
		key := h.queued(h.join(), "a", h.parked(4, 1))
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: h.ref(key), Message: []byte{}, Park: true, VisibleAt: provider.Never}), "finish")
		h.same("mail", h.letters(key), []string{""})
		h.same("tasks", len(h.taskRows(key)), 0)
	}},
	{"Rule12OnlyUnderItsAttempt", func(h *harness) {
		node := h.join()
		key := h.queued(node, "a", h.parked(4, 2))
		before := h.taskRows(key)
		for _, attempt := range []int64{0, 1, 3} {
			ref := h.ref(key)
			ref.Attempt = attempt
			h.is(h.finish(0, provider.TaskFinish{TaskRef: ref, Message: []byte("no")}), provider.ErrStale, "finish")
			h.is(h.finish(0, provider.TaskFinish{TaskRef: ref}), provider.ErrStale, "retry")
			h.same("parked under that attempt", h.extend(0, provider.TaskBeat{TaskRef: ref, Details: []byte("no")}), false)
		}
		for _, change := range []func(*provider.TaskRef){
			func(r *provider.TaskRef) { r.Instance = provider.NewKey() },
			func(r *provider.TaskRef) { r.Execution = 2 },
			func(r *provider.TaskRef) { r.Command = 5 },
		} {
			ref := h.ref(key)
			change(&ref)
			h.is(h.finish(0, provider.TaskFinish{TaskRef: ref, Message: []byte("no")}), provider.ErrStale, "finish")
		}
		h.same("row", h.taskRows(key), before)
		h.same("mail", h.letters(key), []string{})
	}},
	{"Rule12NoNodeFinishesIt", func(h *harness) {
		node := h.join()
		key := h.queued(node, "a", h.parked(4, 1))
		h.is(h.finish(node, provider.TaskFinish{TaskRef: h.ref(key), Message: []byte("no")}), provider.ErrStale, "finish")
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: h.ref(key), Details: []byte("no")}), false)
		h.same("details", len(only(h, "task rows", h.taskRows(key)).Details), 0)
	}},
	{"Rule12OutsidersTouchOnlyTheParked", func(h *harness) {
		node := h.join()
		waiting := h.queued(node, "a", job(4))
		ref := h.ref(waiting)
		for range 2 { // unheld, and held
			h.is(h.finish(0, provider.TaskFinish{TaskRef: ref, Message: []byte("no")}), provider.ErrStale, "finish")
			h.is(h.finish(0, provider.TaskFinish{TaskRef: ref, Park: true, VisibleAt: 1}), provider.ErrStale, "park")
			h.same("parked", h.extend(0, provider.TaskBeat{TaskRef: ref, Details: []byte("no")}), false)
			if t := h.claimTasks(node, 1).Tasks; len(t) == 1 {
				ref = t[0].Ref()
			}
		}
		row := only(h, "task rows", h.taskRows(waiting))
		h.same("held, not parked", []any{row.Holder, row.Parked, len(row.Details)}, []any{node, false, 0})
	}},
	{"ARetryFromOutsideGoesBackToTheQueue", func(h *harness) {
		node := h.join()
		key := h.queued(node, "a", h.parked(4, 1))
		at := h.now() + hour
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: h.ref(key), VisibleAt: at, Failure: []byte("failed")}), "retry")
		row := only(h, "task rows", h.taskRows(key))
		h.same("parked", row.Parked, false)
		h.same("failure", string(row.Failure), "failed")
		h.same("next due", h.claimTasks(node, 5).NextDue, at)
		h.is(h.finish(0, provider.TaskFinish{TaskRef: h.ref(key), Message: []byte("no")}), provider.ErrStale, "finish")

		again := h.queued(node, "b", h.parked(4, 1))
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: h.ref(again), VisibleAt: 1}), "retry")
		task := only(h, "tasks claimed", h.claimTasks(node, 5).Tasks)
		h.same("attempt", task.Attempt, int64(2))
		h.same("expired", task.Expired, false)
		h.same("parked", task.Parked, false)
	}},
	{"AHoldersRetryUnparks", func(h *harness) {
		// What has expired in its place is held, and parked until its holder
		// says otherwise.
		node := h.join()
		t := h.parked(4, 1)
		t.VisibleAt = 1000
		h.queued(node, "a", t)
		held := only(h, "tasks claimed", h.expired(node, 5))
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: held.Ref(), VisibleAt: 1}), "retry")
		task := only(h, "tasks claimed", h.claimTasks(node, 5).Tasks)
		h.same("expired", task.Expired, false)
		h.same("attempt", task.Attempt, int64(2))
	}},
	{"ParkedAgainItWaitsLonger", func(h *harness) {
		node := h.join()
		now := h.now()
		t := h.parked(4, 1)
		t.VisibleAt = now + hour
		key := h.queued(node, "a", t)
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: h.ref(key), Park: true, VisibleAt: now + 2*hour}), "park")
		h.same("parked", only(h, "task rows", h.taskRows(key)).Parked, true)
		h.same("next due", h.claimTasks(node, 5).NextDue, now+2*hour)
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: h.ref(key), Message: []byte("done")}), "finish")
	}},
	{"WhatIsGivenBackIsNotCounted", func(h *harness) {
		node := h.join()
		key := h.queued(node, "a", h.parked(4, 2))
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: h.ref(key), GiveBack: true}), "give back")
		h.same("attempt", only(h, "task rows", h.taskRows(key)).Attempt, int64(1))
		h.same("attempt when claimed", only(h, "tasks claimed", h.claimTasks(node, 1).Tasks).Attempt, int64(2))
	}},
	{"ABeatFromOutsideStoresDetails", func(h *harness) {
		key := h.queued(h.join(), "a", h.parked(4, 1))
		h.same("parked", h.extend(0, provider.TaskBeat{TaskRef: h.ref(key), Details: []byte("at 1")}), true)
		h.same("parked", h.extend(0, provider.TaskBeat{TaskRef: h.ref(key)}), true)
		row := only(h, "task rows", h.taskRows(key))
		h.same("details", string(row.Details), "at 1")
		h.same("parked", row.Parked, true)
		ref := h.ref(key)
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: ref, Message: []byte("done")}), "finish")
		h.same("parked when finished", h.extend(0, provider.TaskBeat{TaskRef: ref}), false)
	}},
	{"ItExpiresWhereItIsParked", func(h *harness) {
		node, other := h.join(), h.join()
		t := h.parked(4, 2)
		t.VisibleAt = 1000
		key := h.queued(node, "a", t)
		held := only(h, "tasks claimed", h.expired(other, 5))
		h.same("attempt is not counted", held.Attempt, int64(2))
		h.same("parked", held.Parked, true)
		h.is(h.finish(0, provider.TaskFinish{TaskRef: held.Ref(), Message: []byte("no")}), provider.ErrStale, "finish from outside")
		h.same("parked for those outside", h.extend(0, provider.TaskBeat{TaskRef: held.Ref()}), false)
		h.ok(h.finish(other, provider.TaskFinish{TaskRef: held.Ref(), Message: []byte("too late")}), "finish")
		h.same("mail", h.letters(key), []string{"too late"})
	}},
	{"NothingElseMakesItExpire", func(h *harness) {
		node := h.join()
		t := h.parked(4, 1)
		t.StartWithin, t.CloseBy = 1, 1000
		key := h.queued(node, "a", t)
		h.same("claimed", len(h.expired(node, 5)), 0)
		h.same("next due", h.claimTasks(node, 5).NextDue, provider.Never)
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: h.ref(key), VisibleAt: provider.Never}), "retry")
		only(h, "expired in the queue", h.expired(node, 5))
	}},
	{"TheDeadLeaveItParked", func(h *harness) {
		node, heir := h.join(), h.join()
		_, task := h.working(node, "a", 4)
		at := h.now() + hour
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Park: true, VisibleAt: at}), "park")
		late := h.parked(5, 1)
		late.VisibleAt = 1000
		h.queued(node, "b", late)
		only(h, "tasks claimed", h.expired(node, 5))
		h.same("tasks returned", h.kill(node).Tasks, 1)
		reply := h.claimTasks(heir, 5)
		again := only(h, "tasks claimed", reply.Tasks)
		h.same("command, attempt, expired", []any{again.Command, again.Attempt, again.Expired}, []any{int64(5), int64(1), true})
		h.same("next due", reply.NextDue, at)
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("done")}), "finish")
	}},
	{"ATaskThatIsThereIsNotParked", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Tasks = []provider.NewTask{job(4)}
		h.apply(node, c)
		c = h.turn(key)
		c.Tasks = []provider.NewTask{h.parked(4, 1)}
		h.apply(node, c)
		h.same("parked", only(h, "task rows", h.taskRows(key)).Parked, false)
		h.same("claimed", len(h.claimTasks(node, 5).Tasks), 1)
	}},
	{"WhatIsRemovedIsStale", func(h *harness) {
		// Canceled, continued as new, ended, deleted.
		node := h.join()
		for name, remove := range map[string]func(key provider.Key, c *provider.Commit){
			"canceled":  func(_ provider.Key, c *provider.Commit) { c.CancelTasks = []int64{4} },
			"continued": func(_ provider.Key, c *provider.Commit) { c.Execution, c.HistoryFrom = 2, c.Expect },
			"ended":     func(_ provider.Key, c *provider.Commit) { c.Status = provider.Completed },
			"deleted": func(key provider.Key, _ *provider.Commit) {
				h.ok(h.Delete(h.ctx, provider.Target{Key: key}, true), "delete")
			},
		} {
			key := h.owned(node, name)
			c := h.turn(key)
			c.Tasks = []provider.NewTask{h.parked(4, 1)}
			h.apply(node, c)
			ref := h.ref(key)
			c = h.turn(key)
			remove(key, &c)
			if name != "deleted" {
				h.apply(node, c)
			}
			h.same("tasks of the "+name, len(h.taskRows(key)), 0)
			h.is(h.finish(0, provider.TaskFinish{TaskRef: ref, Message: []byte("late")}), provider.ErrStale, "finish")
			h.same("mail of the "+name, h.letters(key), []string{})
		}
	}},
	{"ItemByItem", func(h *harness) {
		node := h.join()
		a, b, c := h.queued(node, "a", h.parked(4, 1)), h.queued(node, "b", job(4)), h.queued(node, "c", h.parked(4, 1))
		h.ok(h.Suspend(h.ctx, provider.Target{Key: c}), "suspend")
		errs, err := h.FinishTasks(h.ctx, 0, []provider.TaskFinish{
			{TaskRef: h.ref(a), Message: []byte("1")}, {TaskRef: h.ref(b), Message: []byte("2")}, {TaskRef: h.ref(c), Message: []byte("3")},
		})
		h.ok(err, "finish tasks")
		h.ok(errs[0], "the first")
		h.is(errs[1], provider.ErrStale, "the second")
		h.ok(errs[2], "the third, of a suspended instance")
		h.same("mail", [][]string{h.letters(a), h.letters(b), h.letters(c)}, [][]string{{"1"}, {}, {"3"}})
	}},
}

// parked makes a task that waits to be finished from outside, for ever.
func (h *harness) parked(command, attempt int64) provider.NewTask {
	t := job(command)
	t.Attempt, t.Parked, t.VisibleAt = attempt, true, provider.Never
	return t
}

// ref returns what identifies the only task of an instance as it is now.
func (h *harness) ref(key provider.Key) provider.TaskRef {
	h.Helper()
	t := only(h, "task rows", h.taskRows(key))
	return t.Ref()
}
