package providertest

import (
	"time"

	"github.com/durango-go/durango/provider"
)

var deathCases = []testCase{
	{"InstancesReturnToThePool", func(h *harness) {
		node, heir := h.join(), h.join()
		key := h.owned(node, "a")
		r := h.kill(node)
		h.same("instances returned", r.Instances, 1)
		row := h.row(key)
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.same("attempts are kept", row.Attempts, int64(1))
		claimed := h.claim(heir, 10).Claimed
		h.same("claimed", keysOf(claimed), []provider.Key{key})
		h.same("attempts", claimed[0].Attempts, int64(2))
		h.apply(heir, h.turn(key))
	}},
	{"OnlyThoseWithSomethingToDoWake", func(h *harness) {
		// DESIGN 6: "waking only those with something to do".
		node, heir := h.join(), h.join()
		at := h.now() + hour
		due := map[string]int64{"idle": provider.Never, "later": at, "now": 0, "mail": provider.Never}
		keys := map[string]provider.Key{}
		for id, dueAt := range due {
			keys[id] = h.owned(node, id)
			c := h.turn(keys[id])
			c.DueAt = dueAt
			h.apply(node, c)
		}
		h.post(keys["mail"], "m")
		h.same("instances returned", h.kill(node).Instances, 4)
		h.same("wake at of the idle", h.row(keys["idle"]).WakeAt, provider.Never)
		h.same("wake at of the later", h.row(keys["later"]).WakeAt, at)
		reply := h.claim(heir, 10)
		h.same("claimed", len(reply.Claimed), 2)
		h.same("next due", reply.NextDue, at)
	}},
	{"TasksReturnToThePool", func(h *harness) {
		node, heir := h.join(), h.join()
		key, task := h.working(node, "a", 4)
		r := h.kill(node)
		h.same("tasks returned", r.Tasks, 1)
		row := only(h, "task rows", h.taskRows(key))
		h.same("holder", row.Holder, provider.NodeKey(0))
		h.same("attempts are kept", row.Attempt, int64(1))
		h.is(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("late")}), provider.ErrStale, "finish of the dead")
		next := h.claimTasks(heir, 5).Tasks
		h.same("claimed", len(next), 1)
		h.same("attempt", next[0].Attempt, int64(2))
		h.is(h.finish(node, provider.TaskFinish{TaskRef: next[0].Ref(), Message: []byte("late")}), provider.ErrStale, "finish of the dead")
		h.ok(h.finish(heir, provider.TaskFinish{TaskRef: next[0].Ref(), Message: []byte("done")}), "finish")
		h.same("mail", h.letters(key), []string{"done"})
	}},
	{"ANodeWhoseBeatMovedLives", func(h *harness) {
		node, observer := h.join(), h.join()
		key := h.owned(node, "a")
		seen := h.beat(observer, node)
		h.beat(node, node)
		r, err := h.Bury(h.ctx, provider.Burial{Node: node, Beat: seen})
		h.ok(err, "bury")
		h.same("result", r, provider.BuryResult{Done: true})
		h.same("owner", h.row(key).Owner, node)
		h.beat(node, node)
		h.apply(node, h.turn(key))
	}},
	{"ANodeWhoseBeatStoodStillIsBuried", func(h *harness) {
		node, observer := h.join(), h.join()
		h.beat(node, node)
		key := h.owned(node, "a")
		seen := h.beat(observer, node)
		r, err := h.Bury(h.ctx, provider.Burial{Node: node, Beat: seen})
		h.ok(err, "bury")
		for !r.Done {
			r, err = h.Bury(h.ctx, provider.Burial{Node: node, Beat: seen})
			h.ok(err, "bury")
		}
		h.same("owner", h.row(key).Owner, provider.NodeKey(0))
	}},
	{"ANodeThatNeverBeatIsBuried", func(h *harness) {
		node, observer := h.join(), h.join()
		key := h.owned(node, "a")
		seen := h.beat(observer, node)
		for done := false; !done; {
			r, err := h.Bury(h.ctx, provider.Burial{Node: node, Beat: seen})
			h.ok(err, "bury")
			done = r.Done
		}
		h.same("owner", h.row(key).Owner, provider.NodeKey(0))
	}},
	{"TheBuriedCannotDoAnything", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.fresh("b")
		batch := []provider.Commit{h.turn(key)}
		h.kill(node)
		_, err := h.Heartbeat(h.ctx, node)
		h.is(err, provider.ErrNodeGone, "heartbeat")
		_, err = h.Commit(h.ctx, node, batch)
		h.is(err, provider.ErrNodeGone, "commit")
		_, err = h.Claim(h.ctx, provider.ClaimRequest{Node: node, Definitions: []provider.Definition{flow}, Limit: 1})
		h.is(err, provider.ErrNodeGone, "claim")
		_, err = h.ClaimTasks(h.ctx, provider.TaskClaim{Node: node, Filters: []provider.TaskFilter{charge}, Limit: 1})
		h.is(err, provider.ErrNodeGone, "claim tasks")
		holdings, err := h.Owned(h.ctx, node)
		h.ok(err, "owned")
		h.same("holdings", len(holdings.Instances)+len(holdings.Tasks), 0)
		h.same("turns", len(h.turns(key)), 0)
	}},
	{"BuryingIsIdempotent", func(h *harness) {
		node, heir := h.join(), h.join()
		key := h.owned(node, "a")
		h.kill(node)
		h.claim(heir, 1)
		for _, b := range []provider.Burial{{Node: node, Force: true}, {Node: node}, {Node: provider.NewNodeKey(), Force: true}} {
			r, err := h.Bury(h.ctx, b)
			h.ok(err, "bury")
			h.same("result", r, provider.BuryResult{Done: true})
		}
		h.same("owner", h.row(key).Owner, heir)
	}},
	{"OthersAreNotTouched", func(h *harness) {
		node, other := h.join(), h.join()
		h.owned(node, "a")
		key := h.owned(other, "b")
		work, task := h.working(other, "c", 1)
		before, taskBefore := h.row(key), h.taskRows(work)
		h.kill(node)
		h.same("row", h.row(key), before)
		h.same("task", h.taskRows(work), taskBefore)
		h.same("held", h.extend(other, provider.TaskBeat{TaskRef: task.Ref()}), true)
		h.beat(other, other)
	}},
	{"BackoffSurvivesTheNode", func(h *harness) {
		node := h.join()
		n := draft("a")
		n.Owned, n.NotBefore = true, h.now()+hour
		h.create(node, n)
		h.kill(node)
		h.same("wake at", h.row(n.Key).WakeAt, n.NotBefore)
		h.same("claimed", len(h.claim(h.join(), 1).Claimed), 0)
	}},
	{"ManyAreReturnedInAsManyCallsAsItTakes", func(h *harness) {
		node, heir := h.join(), h.join()
		var batch []provider.NewInstance
		for i := range 400 {
			n := draft(itoa(i))
			n.Owned = true
			batch = append(batch, n)
		}
		h.create(node, batch...)
		h.same("instances returned", h.kill(node).Instances, 400)
		h.same("claimed", len(h.claim(heir, 1000).Claimed), 400)
	}},
	{"ATaskInBackoffStaysThere", func(h *harness) {
		// Only what the node held is made visible: a retry waits its time.
		node := h.join()
		key, task := h.working(node, "a", 4)
		at := h.now() + int64(time.Hour)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), VisibleAt: at}), "retry")
		h.kill(node)
		h.same("visible at", only(h, "task rows", h.taskRows(key)).VisibleAt, at)
	}},
}
