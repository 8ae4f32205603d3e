package providertest

import (
	"errors"
	"time"

	"github.com/durango-go/durango/provider"
)

// sessionCases are about tasks of one session, which one node has.
var sessionCases = []testCase{
	{"TheFirstClaimOpensIt", func(h *harness) {
		node, other := h.join(), h.join()
		h.queued(node, "a", inSession(1, "s"), inSession(2, "s"))
		h.same("claimed", commands(h.sessionTasks(node, 1, 1, 0)), []int64{1})
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 0)), []int64{})
		h.same("claimed by who has it", commands(h.sessionTasks(node, 1, 5, 0)), []int64{2})
	}},
	{"OneClaimOpensItOnce", func(h *harness) {
		node := h.join()
		h.queued(node, "a", inSession(1, "s"), inSession(2, "s"), inSession(3, "s"))
		h.same("claimed", commands(h.sessionTasks(node, 1, 5, 0)), []int64{1, 2, 3})
	}},
	{"ItIsOpenAcrossInstances", func(h *harness) {
		node, other := h.join(), h.join()
		a := h.queued(node, "a", inSession(1, "s"))
		h.same("claimed", commands(h.sessionTasks(node, 1, 5, 0)), []int64{1})
		h.queued(other, "b", inSession(2, "s"))
		h.ok(h.Delete(h.ctx, provider.Target{Key: a}, true), "delete")
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 0)), []int64{})
		h.same("claimed by who has it", commands(h.sessionTasks(node, 1, 5, 0)), []int64{2})
	}},
	{"NamesAreComparedByteByByte", func(h *harness) {
		node, other := h.join(), h.join()
		h.queued(node, "a", inSession(1, "s"), inSession(2, "S"), inSession(3, "s "))
		h.same("claimed", commands(h.sessionTasks(node, 1, 5, 0)), []int64{1})
		h.same("claimed by another", commands(h.sessionTasks(other, 9, 5, 0)), []int64{2, 3})
	}},
	{"MaxSessionsBounds", func(h *harness) {
		node := h.join()
		h.queued(node, "a", inSession(1, "s"), inSession(2, "t"), inSession(3, "u"), inSession(4, "s"))
		h.same("with none", commands(h.sessionTasks(node, 0, 5, 0)), []int64{})
		h.same("with one", commands(h.sessionTasks(node, 1, 5, 0)), []int64{1, 4})
		h.same("with one, again", commands(h.sessionTasks(node, 1, 5, 0)), []int64{})
		h.same("with two", commands(h.sessionTasks(node, 2, 5, 0)), []int64{2})
		h.queued(node, "b", inSession(5, "s"), inSession(6, "t"), inSession(7, "v"))
		h.same("with none again: those it has", commands(h.sessionTasks(node, 0, 5, 0)), []int64{5, 6})
	}},
	{"SessionsOfOthersAreNotCounted", func(h *harness) {
		node, other := h.join(), h.join()
		h.queued(node, "a", inSession(1, "s"), inSession(2, "t"))
		h.same("claimed", commands(h.sessionTasks(node, 1, 1, 0)), []int64{1})
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 0)), []int64{2})
	}},
	{"WhatCannotBeTakenIsNotInTheWay", func(h *harness) {
		// Neither tasks of another's session nor of one too many hide what is
		// behind them.
		node, other := h.join(), h.join()
		h.queued(node, "a", inSession(1, "s"))
		h.same("claimed", len(h.sessionTasks(node, 1, 1, 0)), 1)
		var many []provider.NewTask
		for i := range 300 {
			many = append(many, inSession(int64(i+1), []string{"s", "t" + itoa(i)}[i%2]))
		}
		h.queued(node, "b", many...)
		last := job(1000)
		last.VisibleAt = 5000
		h.queued(node, "c", last)
		h.same("claimed by another", commands(h.sessionTasks(other, 0, 1, 0)), []int64{1000})
	}},
	{"OldestFirstWithAndWithoutASession", func(h *harness) {
		node := h.join()
		tasks := []provider.NewTask{inSession(1, "s"), job(2), inSession(3, "t"), job(4), inSession(5, "s")}
		for i := range tasks {
			tasks[i].VisibleAt = int64(1000 - i)
		}
		h.queued(node, "a", tasks...)
		h.same("order", append(commands(h.sessionTasks(node, 2, 3, 0)), commands(h.sessionTasks(node, 2, 3, 0))...), []int64{5, 4, 3, 2, 1})
	}},
	{"ATaskThatDoesNotMatchOpensNothing", func(h *harness) {
		node, other := h.join(), h.join()
		t := inSession(1, "s")
		t.Pool = "gpu"
		future := inSession(2, "s")
		future.VisibleAt = h.now() + hour
		h.queued(node, "a", t, future, h.inSessionParked(3, "s"))
		h.same("claimed", len(h.sessionTasks(node, 5, 5, 0)), 0)
		h.queued(node, "b", inSession(4, "s"))
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 0)), []int64{4})
	}},
	{"WhatIsLeftForLackOfRoomOpensNothing", func(h *harness) {
		node, other := h.join(), h.join()
		h.queued(node, "a", job(1), inSession(2, "s"))
		h.same("claimed", commands(h.sessionTasks(node, 1, 1, 0)), []int64{1})
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 0)), []int64{2})
	}},
	{"ARetryStaysInTheSession", func(h *harness) {
		node, other := h.join(), h.join()
		h.queued(node, "a", inSession(1, "s"))
		held := only(h, "tasks claimed", h.sessionTasks(node, 1, 5, 0))
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: held.Ref(), VisibleAt: 1}), "retry")
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 0)), []int64{})
		h.same("claimed by who has it", commands(h.sessionTasks(node, 1, 5, 0)), []int64{1})
	}},
	{"AnIdleSessionIsClosed", func(h *harness) {
		node, other := h.join(), h.join()
		h.idle(node, "s")
		h.queued(node, "b", inSession(2, "s"))
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 1)), []int64{})
		h.same("with zero", commands(h.elsewhere(node, 0)), []int64{})
		h.same("with an hour", commands(h.elsewhere(node, hour)), []int64{})
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 1)), []int64{})
		h.same("with a nanosecond", commands(h.elsewhere(node, 1)), []int64{})
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 1)), []int64{2})
	}},
	{"AnIdleSessionMakesRoom", func(h *harness) {
		node := h.join()
		h.idle(node, "s")
		h.queued(node, "b", inSession(2, "t"), inSession(3, "s"))
		h.same("with an hour", commands(h.sessionTasks(node, 1, 1, hour)), []int64{3})
		h.ok(h.finishHeld(node), "finish")
		h.tick()
		h.same("with a nanosecond", commands(h.sessionTasks(node, 1, 5, 1)), []int64{2})
	}},
	{"AnIdleSessionIsOpenedAgain", func(h *harness) {
		node, other := h.join(), h.join()
		h.idle(node, "s")
		h.queued(node, "b", inSession(2, "s"), inSession(3, "s"))
		h.same("claimed", commands(h.sessionTasks(node, 1, 1, 1)), []int64{2})
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 1)), []int64{})
	}},
	{"ASessionInUseIsNotIdle", func(h *harness) {
		node, other := h.join(), h.join()
		h.queued(node, "a", inSession(1, "s"), inSession(2, "s"))
		held := only(h, "tasks claimed", h.sessionTasks(node, 1, 1, 0))
		h.tick()
		h.elsewhere(node, 1)
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 1)), []int64{})
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: held.Ref(), Message: []byte("done")}), "finish")
		h.tick()
		h.elsewhere(node, 1)
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 5, 1)), []int64{2})
	}},
	{"AFinishIsAUse", func(h *harness) {
		// The claim was so long ago that it does not count; what was finished
		// just now keeps the session, unless the machine is too slow to tell.
		for wait := 20 * time.Millisecond; wait < patience; wait *= 2 {
			node, other := h.join(), h.join()
			id := wait.String()
			h.queued(node, id, inSession(1, id), inSession(2, id))
			held := only(h, "tasks claimed", h.sessionTasks(node, 1, 1, 0))
			h.eventually("the clock", func() bool { return h.now() > held.HeldSince+int64(wait) })
			before := h.now()
			h.ok(h.finish(node, provider.TaskFinish{TaskRef: held.Ref(), Message: []byte("done")}), "finish")
			h.elsewhere(node, before-held.HeldSince)
			inTime := h.now()-before < before-held.HeldSince
			got := commands(h.sessionTasks(other, 1, 5, 0))
			if inTime {
				h.same("claimed by another", got, []int64{})
				return
			}
		}
	}},
	{"ABurialClosesItsSessions", func(h *harness) {
		node, other, heir := h.join(), h.join(), h.join()
		h.queued(node, "a", inSession(1, "s"), inSession(2, "s"), inSession(3, "t"), inSession(4, "u"), inSession(5, "u"))
		h.same("claimed", commands(h.sessionTasks(node, 2, 1, 0)), []int64{1})
		h.queued(other, "b", job(9))
		h.same("claimed by another", commands(h.sessionTasks(other, 1, 2, 0)), []int64{9, 3})
		r, err := h.Bury(h.ctx, provider.Burial{Node: node, Beat: -1}) // its beat moved
		h.ok(err, "bury")
		h.same("refused burial", r, provider.BuryResult{Done: true})
		h.same("claimed by an heir", commands(h.sessionTasks(heir, 1, 5, 0)), []int64{4, 5})
		h.same("tasks returned", h.kill(node).Tasks, 1)
		h.same("claimed by an heir", commands(h.sessionTasks(heir, 2, 5, 0)), []int64{2, 1})
		h.queued(heir, "c", inSession(6, "t"))
		h.same("a session of another", commands(h.sessionTasks(heir, 9, 5, 0)), []int64{})
		h.same("claimed by who has it", commands(h.sessionTasks(other, 1, 5, 0)), []int64{6})
	}},
	{"ABurialClosesAnIdleSession", func(h *harness) {
		node, heir := h.join(), h.join()
		h.idle(node, "s")
		h.queued(node, "b", inSession(2, "s"))
		h.same("claimed by an heir", commands(h.sessionTasks(heir, 1, 5, 0)), []int64{})
		h.kill(node)
		h.same("claimed by an heir", commands(h.sessionTasks(heir, 1, 5, 0)), []int64{2})
	}},
}

// inSession makes a task of a session that is due.
func inSession(command int64, session string) provider.NewTask {
	t := job(command)
	t.VisibleAt, t.Session = 1000+command, session
	return t
}

func (h *harness) inSessionParked(command int64, session string) provider.NewTask {
	t := h.parked(command, 1)
	t.Session = session
	return t
}

// sessionTasks claims tasks named charge with room for sessions.
func (h *harness) sessionTasks(node provider.NodeKey, sessions, limit int, idle int64) []provider.Task {
	h.Helper()
	reply, err := h.ClaimTasks(h.ctx, provider.TaskClaim{
		Node: node, Filters: []provider.TaskFilter{charge}, Limit: limit, MaxSessions: sessions, SessionIdle: idle,
	})
	h.ok(err, "claim tasks")
	return reply.Tasks
}

// elsewhere claims nothing that there is, which closes idle sessions.
func (h *harness) elsewhere(node provider.NodeKey, idle int64) []provider.Task {
	h.Helper()
	reply, err := h.ClaimTasks(h.ctx, provider.TaskClaim{
		Node: node, Filters: []provider.TaskFilter{{Name: "nothing"}}, Limit: 5, MaxSessions: 5, SessionIdle: idle,
	})
	h.ok(err, "claim tasks")
	return reply.Tasks
}

func commands(tasks []provider.Task) []int64 {
	commands := []int64{}
	for _, t := range tasks {
		commands = append(commands, t.Command)
	}
	return commands
}

// idle opens a session and does all there is in it; the clock has moved since.
func (h *harness) idle(node provider.NodeKey, session string) {
	h.Helper()
	h.queued(node, "opens "+session, inSession(1, session))
	h.same("claimed", len(h.sessionTasks(node, 1, 1, 0)), 1)
	h.ok(h.finishHeld(node), "finish")
	h.tick()
}

// finishHeld finishes every task that the node holds.
func (h *harness) finishHeld(node provider.NodeKey) error {
	h.Helper()
	holdings, err := h.Owned(h.ctx, node)
	h.ok(err, "owned")
	for _, ref := range holdings.Tasks {
		err = errors.Join(err, h.finish(node, provider.TaskFinish{TaskRef: ref, Message: []byte("done")}))
	}
	return err
}

// tick waits until the store's clock has moved on.
func (h *harness) tick() {
	h.Helper()
	now := h.now()
	h.eventually("the clock", func() bool { return h.now() > now+1 })
}
