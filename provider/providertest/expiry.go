package providertest

import (
	"time"

	"github.com/durango-go/durango/provider"
)

// expiryCases are about tasks that expire while nobody holds them: any node's
// claim returns them, so that somebody can say so.
var expiryCases = []testCase{
	{"WhatDoesNotStartInTimeExpires", func(h *harness) {
		node := h.join()
		t := job(1)
		t.Attempt, t.VisibleAt, t.StartWithin = 2, 1000, 500
		key := h.queued(node, "a", t)
		got := only(h, "tasks claimed", h.expired(node, 5))
		t.VisibleAt = got.VisibleAt // of a held task it says nothing
		h.same("task", got, provider.Task{
			Instance: key, InstanceID: "a", Execution: 1, NewTask: t, Holder: node, HeldSince: got.HeldSince, Expired: true,
		})
		if now := h.now(); got.HeldSince < now-hour || got.HeldSince > now+hour {
			h.Errorf("held since %d, claimed at %d", got.HeldSince, now)
		}
		row := only(h, "task rows", h.taskRows(key))
		h.same("holder", row.Holder, node)
		h.same("attempt", row.Attempt, int64(2))
		holdings, err := h.Owned(h.ctx, node)
		h.ok(err, "owned")
		h.same("owned", holdings.Tasks, []provider.TaskRef{got.Ref()})
		h.same("claimed again", len(h.expired(h.join(), 5)), 0)
	}},
	{"WhatIsNotClosedInTimeExpires", func(h *harness) {
		node := h.join()
		t := job(1)
		t.VisibleAt, t.CloseBy = h.now()+hour, 1000 // before it is visible
		h.queued(node, "a", t)
		got := only(h, "tasks claimed", h.expired(node, 5))
		h.same("attempt", got.Attempt, int64(0))
		h.same("close by", got.CloseBy, int64(1000))
	}},
	{"TheEarlierOfTheTwoCounts", func(h *harness) {
		node := h.join()
		for i, t := range []provider.NewTask{
			{VisibleAt: 1000, StartWithin: 1, CloseBy: h.now() + hour},
			{VisibleAt: h.now(), StartWithin: hour, CloseBy: 1000},
		} {
			t.Command, t.Name = 1, "other"
			h.queued(node, itoa(i), t)
			only(h, "tasks claimed", h.expired(node, 5))
		}
	}},
	{"NotBeforeItsTime", func(h *harness) {
		node := h.join()
		now := h.now()
		a, b, c := job(1), job(2), job(3)
		a.VisibleAt, a.StartWithin = now, hour
		b.VisibleAt, b.CloseBy = now, now+hour
		c.VisibleAt = 1 // without limits for ever
		h.queued(node, "a", a, b, c)
		h.same("expired", len(h.expired(node, 5)), 0)
		for _, t := range h.claimTasks(node, 3).Tasks {
			h.same("expired", t.Expired, false)
			h.same("attempt", t.Attempt, int64(1))
			h.same("limits", []int64{t.StartWithin, t.CloseBy}, map[int64][]int64{1: {hour, 0}, 2: {0, now + hour}, 3: {0, 0}}[t.Command])
		}
		h.same("held", h.stats().TaskHeld, int64(3))
	}},
	{"ItsTimeBeginsWhenItIsVisible", func(h *harness) {
		node := h.join()
		at := h.now() + hour
		t := job(1)
		t.VisibleAt, t.StartWithin = at, 1
		h.queued(node, "a", t)
		reply := h.claimTasks(node, 5)
		h.same("claimed", len(reply.Tasks), 0)
		h.same("next due for who can run it", reply.NextDue, at)
		h.same("next due for others", h.otherTasks(node, 5).NextDue, at+1)
	}},
	{"NeverIsNeverReached", func(h *harness) {
		node := h.join()
		a, b := job(1), job(2)
		a.VisibleAt, a.StartWithin = provider.Never, hour
		b.VisibleAt, b.StartWithin, b.CloseBy = provider.Never-1, provider.Never-1, provider.Never
		h.queued(node, "a", a, b)
		h.same("claimed", len(h.claimTasks(node, 5).Tasks), 0)
		h.same("next due for others", h.otherTasks(node, 5).NextDue, provider.Never)
	}},
	{"AnExpiredTaskComes", func(h *harness) {
		node := h.join()
		t := job(1)
		t.VisibleAt, t.CloseBy = h.now()+hour, h.now()+int64(30*time.Millisecond)
		h.queued(node, "a", t)
		h.eventually("the task", func() bool {
			reply := h.otherTasks(node, 5)
			if len(reply.Tasks) == 0 {
				return false
			}
			if reply.Now < t.CloseBy {
				h.Errorf("expired %d ns early", t.CloseBy-reply.Now)
			}
			return reply.Tasks[0].Expired
		})
	}},
	{"TheExpiredComeFirst", func(h *harness) {
		// Earliest first, and the limit is for all together.
		node := h.join()
		a, b, c, d, e := job(1), job(2), job(3), job(4), job(5)
		a.VisibleAt, a.StartWithin = 1, 3000
		b.VisibleAt, b.CloseBy = h.now()+hour, 1000
		c.VisibleAt, c.CloseBy, c.Name, c.Pool = 1, 2000, "other", "gpu"
		d.VisibleAt = 2
		e.VisibleAt = 3
		h.queued(node, "a", a, b, c, d, e)
		h.same("with no room", len(h.claimTasks(node, 0).Tasks), 0)
		got := []int64{}
		for _, t := range append(h.claimTasks(node, 2).Tasks, h.claimTasks(node, 2).Tasks...) {
			got = append(got, t.Command)
			h.same("expired", t.Expired, t.Command <= 3)
			h.same("attempt", t.Attempt, map[bool]int64{true: 0, false: 1}[t.Expired])
		}
		h.same("order", got, []int64{2, 3, 1, 4})
		h.same("waiting", h.stats().TaskWaiting, int64(1))
	}},
	{"AnExpiredTaskOpensNoSession", func(h *harness) {
		node, other := h.join(), h.join()
		late, fine := job(1), job(2)
		late.Session, late.CloseBy = "s", 1000
		fine.Session = "s"
		h.queued(node, "a", late)
		got := only(h, "tasks claimed", h.sessionTasks(node, 1, 5, 0))
		h.same("expired", got.Expired, true)
		h.queued(other, "b", fine)
		h.same("claimed by the other", len(h.sessionTasks(other, 1, 5, 0)), 1)
	}},
	{"AnExpiredTaskIsWhoeversSessionItIs", func(h *harness) {
		node, other := h.join(), h.join()
		a, b := job(1), job(2)
		a.Session, b.Session, b.CloseBy = "s", "s", 1000
		h.queued(node, "a", a)
		h.same("claimed", len(h.sessionTasks(node, 1, 5, 0)), 1)
		h.queued(node, "b", b)
		h.same("expired", only(h, "tasks claimed", h.expired(other, 5)).Command, int64(2))
	}},
	{"WhatIsHeldDoesNotExpire", func(h *harness) {
		node, other := h.join(), h.join()
		t := job(1)
		t.CloseBy = 1000
		h.queued(node, "a", t)
		held := only(h, "tasks claimed", h.expired(node, 5))
		reply := h.claimTasks(other, 5)
		h.same("claimed", len(reply.Tasks), 0)
		h.same("next due", reply.NextDue, provider.Never)
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: held.Ref()}), true)
	}},
	{"ItIsAnsweredByItsHolder", func(h *harness) {
		// DESIGN 6, rule 12, for those that have expired.
		node, thief := h.join(), h.join()
		t := job(4)
		t.Attempt, t.CloseBy = 1, 1000
		key := h.queued(node, "a", t)
		held := only(h, "tasks claimed", h.expired(node, 5))
		for _, n := range []provider.NodeKey{thief, 0} {
			h.is(h.finish(n, provider.TaskFinish{TaskRef: held.Ref(), Message: []byte("no")}), provider.ErrStale, "finish")
		}
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: held.Ref(), Message: []byte("too late")}), "finish")
		h.same("mail", h.mail(key), []provider.Mail{{Seq: 2, Execution: 1, Command: 4, Payload: []byte("too late")}})
		h.same("tasks", len(h.taskRows(key)), 0)
	}},
	{"ItsLimitsOutliveTheAttempt", func(h *harness) {
		node := h.join()
		now := h.now()
		t := job(1)
		t.VisibleAt, t.StartWithin, t.CloseBy = now, hour, now+2*hour
		key := h.queued(node, "a", t)
		first := only(h, "tasks claimed", h.claimTasks(node, 5).Tasks)
		h.same("expired", first.Expired, false)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: first.Ref(), VisibleAt: now}), "retry")
		second := only(h, "tasks claimed", h.claimTasks(node, 5).Tasks)
		h.same("expired", second.Expired, false)
		h.same("limits", []int64{second.StartWithin, second.CloseBy}, []int64{hour, now + 2*hour})
		// Visible so long ago that it has expired since.
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: second.Ref(), VisibleAt: now - 2*hour}), "retry")
		third := only(h, "tasks claimed", h.expired(node, 5))
		h.same("attempt", third.Attempt, int64(2))
		// And so late that it will be closed before.
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: third.Ref(), VisibleAt: now + 3*hour}), "retry")
		h.same("next due", h.claimTasks(node, 5).NextDue, now+2*hour)
		h.same("holder", only(h, "task rows", h.taskRows(key)).Holder, provider.NodeKey(0))
	}},
	{"GivenBackExpiredItIsAsItWas", func(h *harness) {
		node, other := h.join(), h.join()
		t := job(1)
		t.VisibleAt, t.StartWithin, t.Attempt = h.now()-2*hour, hour, 3
		key := h.queued(node, "a", t)
		first := only(h, "tasks claimed", h.expired(node, 5))
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: first.Ref(), VisibleAt: h.now(), GiveBack: true}), "give back")
		row := only(h, "task rows", h.taskRows(key))
		h.same("attempt", row.Attempt, int64(3))
		h.same("visible", row.VisibleAt, t.VisibleAt)
		second := only(h, "tasks claimed", h.expired(other, 5))
		h.same("attempt", second.Attempt, int64(3))

		parked := h.parked(4, 2)
		parked.VisibleAt = 1000
		key = h.queued(node, "b", parked)
		third := only(h, "tasks claimed", h.expired(node, 5))
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: third.Ref(), VisibleAt: h.now() + hour, GiveBack: true}), "give back")
		row = only(h, "task rows", h.taskRows(key))
		h.same("parked", row.Parked, true)
		h.same("attempt", row.Attempt, third.Attempt)
		h.ok(h.finish(0, provider.TaskFinish{TaskRef: row.Ref(), Message: []byte("done")}), "finish from outside")
	}},
	{"GivenBackItsTimeBeginsAnew", func(h *harness) {
		node := h.join()
		now := h.now()
		t := job(1)
		t.VisibleAt, t.StartWithin = now-hour, 2*hour
		h.queued(node, "a", t)
		held := only(h, "tasks claimed", h.claimTasks(node, 5).Tasks)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: held.Ref(), VisibleAt: now, GiveBack: true}), "give back")
		h.same("next due for others", h.otherTasks(node, 5).NextDue, now+2*hour)
	}},
	{"AfterADeathItsTimeBeginsAnew", func(h *harness) {
		node, heir := h.join(), h.join()
		before := h.now()
		t := job(1)
		t.VisibleAt, t.StartWithin = before-hour, 2*hour
		h.queued(node, "a", t)
		only(h, "tasks claimed", h.claimTasks(node, 5).Tasks)
		h.kill(node)
		due := h.otherTasks(heir, 5).NextDue
		if after := h.now(); due < before+2*hour-hour/2 || due > after+2*hour+hour/2 {
			h.Errorf("expires at %d, want two hours after %d", due, before)
		}
		h.same("expired", only(h, "tasks claimed", h.claimTasks(heir, 5).Tasks).Expired, false)
	}},
	{"ItExpiresAgainAfterADeath", func(h *harness) {
		node, heir := h.join(), h.join()
		t := job(1)
		t.CloseBy = 1000
		key := h.queued(node, "a", t)
		only(h, "tasks claimed", h.expired(node, 5))
		h.same("tasks returned", h.kill(node).Tasks, 1)
		held := only(h, "tasks claimed", h.expired(heir, 5))
		h.ok(h.finish(heir, provider.TaskFinish{TaskRef: held.Ref(), Message: []byte("too late")}), "finish")
		h.same("mail", h.letters(key), []string{"too late"})
	}},
	{"NextDueTellsWhenAnythingExpires", func(h *harness) {
		node := h.join()
		now := h.now()
		match, other, held, late := job(1), job(2), job(3), job(4)
		match.VisibleAt = now + 3*hour
		other.Name, other.VisibleAt, other.CloseBy = "other", 1, now+2*hour
		held.VisibleAt, held.CloseBy = 1, now+hour
		late.VisibleAt, late.CloseBy = 2, 1000
		h.queued(node, "a", match, other, held)
		h.same("held", only(h, "tasks claimed", h.claimTasks(node, 1).Tasks).Command, int64(3))
		h.queued(node, "b", late) // what is left for lack of room does not count
		reply := h.claimTasks(node, 0)
		h.same("claimed", len(reply.Tasks), 0)
		h.same("next due", reply.NextDue, now+2*hour)
		h.same("next due for others", h.otherTasks(node, 0).NextDue, now+2*hour)
	}},
	{"NextDueTellsWhenTheVisibleExpires", func(h *harness) {
		node := h.join()
		now := h.now()
		a, b := job(1), job(2)
		a.VisibleAt, a.StartWithin = now, hour
		b.VisibleAt = 1
		h.queued(node, "a", a, b)
		reply := h.claimTasks(node, 1)
		h.same("claimed", only(h, "tasks claimed", reply.Tasks).Command, int64(2))
		h.same("next due", reply.NextDue, now+hour)
	}},
	{"TasksOfTheSuspendedExpire", func(h *harness) {
		node := h.join()
		t := job(1)
		t.CloseBy = 1000
		key := h.queued(node, "a", t)
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		only(h, "tasks claimed", h.expired(node, 5))
	}},
	{"TasksOfTheEndedDoNot", func(h *harness) {
		node := h.join()
		t := job(1)
		t.CloseBy = 1000
		key := h.queued(node, "a", t)
		h.ok(h.Terminate(h.ctx, provider.Target{Key: key}, nil, nil), "terminate")
		h.same("claimed", len(h.expired(node, 5)), 0)
	}},
}

// queued makes an instance, asleep, with tasks that wait.
func (h *harness) queued(node provider.NodeKey, id string, tasks ...provider.NewTask) provider.Key {
	h.Helper()
	key := h.owned(node, id)
	c := h.turn(key)
	c.Tasks, c.Release, c.DueAt = tasks, true, provider.Never
	h.apply(node, c)
	return key
}

// expired claims what has expired, and nothing else.
func (h *harness) expired(node provider.NodeKey, limit int) []provider.Task {
	h.Helper()
	reply, err := h.ClaimTasks(h.ctx, provider.TaskClaim{Node: node, Limit: limit})
	h.ok(err, "claim tasks")
	for _, t := range reply.Tasks {
		h.same("expired", t.Expired, true)
	}
	return reply.Tasks
}

// otherTasks claims as a node that can run nothing of what there is.
func (h *harness) otherTasks(node provider.NodeKey, limit int) provider.TaskClaimReply {
	h.Helper()
	reply, err := h.ClaimTasks(h.ctx, provider.TaskClaim{
		Node: node, Filters: []provider.TaskFilter{{Name: "nothing", Pool: "nowhere"}}, Limit: limit,
	})
	h.ok(err, "claim tasks")
	return reply
}
