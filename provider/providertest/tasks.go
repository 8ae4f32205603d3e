package providertest

import (
	"time"

	"github.com/durango-go/durango/provider"
)

var taskCases = []testCase{
	{"ATaskIsClaimedWhole", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		n := provider.NewTask{
			Command: 3, Name: "charge", Pool: "gpu", Session: "s1", Attempt: 2, VisibleAt: 100, ScheduledAt: 50,
			StartWithin: provider.Never / 2, CloseBy: h.now() + hour,
			Payload: []byte("input"), Failure: []byte("last failure"), Details: []byte("at 40 %"),
		}
		c := h.turn(key)
		c.Tasks = []provider.NewTask{n}
		h.apply(node, c)
		reply, err := h.ClaimTasks(h.ctx, provider.TaskClaim{
			Node: node, Filters: []provider.TaskFilter{{Name: "charge", Pool: "gpu"}}, Limit: 5, MaxSessions: 1,
		})
		h.ok(err, "claim tasks")
		got := only(h, "tasks", reply.Tasks)
		n.Attempt = 3
		n.VisibleAt = got.VisibleAt // of a held task it says nothing
		h.same("task", got, provider.Task{
			Instance: key, InstanceID: "a", Execution: 1, NewTask: n, Holder: node, HeldSince: got.HeldSince,
		})
		if got.HeldSince < reply.Now-hour || got.HeldSince > reply.Now {
			h.Errorf("held since %d, claimed at %d", got.HeldSince, reply.Now)
		}
		h.same("row", h.taskRows(key), reply.Tasks)
	}},
	{"Rule01AClaimNeedsALiveNode", func(h *harness) {
		// DESIGN 6, rule 1, for tasks.
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Tasks = []provider.NewTask{job(1)}
		h.apply(node, c)
		h.kill(node)
		for _, n := range []provider.NodeKey{node, provider.NewNodeKey(), 0} {
			_, err := h.ClaimTasks(h.ctx, provider.TaskClaim{Node: n, Filters: []provider.TaskFilter{charge}, Limit: 1})
			h.is(err, provider.ErrNodeGone, "claim tasks")
		}
		h.same("holder", only(h, "task rows", h.taskRows(key)).Holder, provider.NodeKey(0))
		h.same("attempt", only(h, "task rows", h.taskRows(key)).Attempt, int64(0))
	}},
	{"AHeldTaskIsNotClaimed", func(h *harness) {
		node := h.join()
		h.working(node, "a", 1)
		h.same("claimed", len(h.claimTasks(node, 5).Tasks)+len(h.claimTasks(h.join(), 5).Tasks), 0)
	}},
	{"OnlyTasksThatMatch", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		for i, f := range []provider.TaskFilter{
			{Name: "charge"}, {Name: "charge", Pool: "gpu"}, {Name: "refund"}, {Name: "refund", Pool: "gpu"}, {Name: "Charge"},
		} {
			c.Tasks = append(c.Tasks, provider.NewTask{Command: int64(i + 1), Name: f.Name, Pool: f.Pool})
		}
		h.apply(node, c)
		claim := func(filters ...provider.TaskFilter) map[int64]bool {
			reply, err := h.ClaimTasks(h.ctx, provider.TaskClaim{Node: node, Filters: filters, Limit: 10})
			h.ok(err, "claim tasks")
			got := map[int64]bool{}
			for _, t := range reply.Tasks {
				got[t.Command] = true
			}
			return got
		}
		h.same("without filters", claim(), map[int64]bool{})
		h.same("default pool", claim(charge), map[int64]bool{1: true})
		h.same("two filters", claim(provider.TaskFilter{Name: "charge", Pool: "gpu"}, provider.TaskFilter{Name: "refund"}),
			map[int64]bool{2: true, 3: true})
		h.same("the rest", claim(provider.TaskFilter{Name: "refund", Pool: "gpu"}), map[int64]bool{4: true})
	}},
	{"OldestFirst", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		for i := range 5 {
			t := job(int64(i + 1))
			t.VisibleAt = int64(500 - 100*i)
			c.Tasks = append(c.Tasks, t)
		}
		h.apply(node, c)
		var got []int64
		for range 5 {
			for _, t := range h.claimTasks(node, 1).Tasks {
				got = append(got, t.Command)
			}
		}
		h.same("order", got, []int64{5, 4, 3, 2, 1})
	}},
	{"TheLimitBounds", func(h *harness) {
		node := h.join()
		c := h.turn(h.owned(node, "a"))
		for i := range 7 {
			c.Tasks = append(c.Tasks, job(int64(i+1)))
		}
		h.apply(node, c)
		h.same("claimed", len(h.claimTasks(node, 5).Tasks), 5)
		h.same("claimed", len(h.claimTasks(node, 0).Tasks), 0)
		h.same("claimed", len(h.claimTasks(node, 5).Tasks), 2)
	}},
	{"AFutureTaskWaits", func(h *harness) {
		node := h.join()
		h.same("next due", h.claimTasks(node, 5).NextDue, provider.Never)
		c := h.turn(h.owned(node, "a"))
		base := h.now()
		for i, after := range []int64{2 * hour, hour, 3 * hour} {
			t := job(int64(i + 1))
			t.VisibleAt = base + after
			c.Tasks = append(c.Tasks, t)
		}
		other := job(9)
		other.Name, other.VisibleAt = "other", base+hour/2
		c.Tasks = append(c.Tasks, other)
		h.apply(node, c)
		reply := h.claimTasks(node, 5)
		h.same("claimed", len(reply.Tasks), 0)
		h.same("next due", reply.NextDue, base+hour)
	}},
	{"AFutureTaskComes", func(h *harness) {
		node := h.join()
		c := h.turn(h.owned(node, "a"))
		t := job(1)
		t.VisibleAt = h.now() + int64(30*time.Millisecond)
		c.Tasks = []provider.NewTask{t}
		h.apply(node, c)
		h.eventually("the task", func() bool {
			reply := h.claimTasks(node, 5)
			if len(reply.Tasks) == 1 && reply.Now < t.VisibleAt {
				h.Errorf("claimed %d ns early", t.VisibleAt-reply.Now)
			}
			return len(reply.Tasks) == 1
		})
	}},
	{"CanceledAfterAdded", func(h *harness) {
		// DESIGN 9: "Work scheduled and canceled in one turn never starts."
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Tasks = []provider.NewTask{job(1), job(2), job(3)}
		c.CancelTasks = []int64{2, 99}
		h.apply(node, c)
		h.same("tasks", h.load(key).Tasks, []int64{1, 3})
	}},
	{"CancelRemovesAHeldTask", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		other, kept := h.working(node, "b", 4)
		h.post(key, "wake")
		h.claim(node, 1)
		c := h.turn(key)
		c.CancelTasks = []int64{4}
		h.apply(node, c)
		h.same("tasks", len(h.taskRows(key)), 0)
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref()}), false)
		h.is(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("late")}), provider.ErrStale, "finish")
		h.same("mail", h.letters(key), []string{})
		h.same("tasks of the other", len(h.taskRows(other)), 1)
		h.same("held of the other", h.extend(node, provider.TaskBeat{TaskRef: kept.Ref()}), true)
	}},
	{"ATaskThatIsThereStays", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.post(key, "wake")
		h.claim(node, 1)
		c := h.turn(key)
		again := job(4)
		again.Payload = []byte("other")
		c.Tasks = []provider.NewTask{again, job(5)}
		h.apply(node, c)
		h.same("tasks", h.load(key).Tasks, []int64{4, 5})
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref()}), true)
		h.same("payload", string(h.taskRows(key)[0].Payload), "input")
	}},
	{"TasksOfSeveralInstancesDoNotMix", func(h *harness) {
		node := h.join()
		a, b := h.owned(node, "a"), h.owned(node, "b")
		ca, cb := h.turn(a), h.turn(b)
		ca.Tasks, cb.Tasks = []provider.NewTask{job(1), job(2)}, []provider.NewTask{job(1)}
		_, err := h.Commit(h.ctx, node, []provider.Commit{ca, cb})
		h.ok(err, "commit")
		h.same("tasks of a", len(h.taskRows(a)), 2)
		h.same("tasks of b", len(h.taskRows(b)), 1)
		c := h.turn(b)
		c.Status = provider.Completed
		h.apply(node, c)
		h.same("tasks of a", len(h.taskRows(a)), 2)
		h.same("tasks of b", len(h.taskRows(b)), 0)
	}},
	{"TasksAreCounted", func(h *harness) {
		node := h.join()
		c := h.turn(h.owned(node, "a"))
		c.Tasks = []provider.NewTask{job(1), job(2), job(3)}
		h.apply(node, c)
		h.claimTasks(node, 1)
		s := h.stats()
		h.same("waiting", s.TaskWaiting, int64(2))
		h.same("held", s.TaskHeld, int64(1))
	}},
	{"TasksOfASleepingInstanceWork", func(h *harness) {
		node := h.join()
		key, task := h.working(node, "a", 4)
		h.same("owner", h.row(key).Owner, provider.NodeKey(0))
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("done")}), "finish")
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
}
