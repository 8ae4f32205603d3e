package engine

import (
	"bytes"
	"cmp"
	"context"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/durango-go/durango/provider"
)

// An execution that has waited, unowned, for so many times the patience of an
// owner leaves memory, unless its history is so long that it costs more to
// replay it than to claim the instance, which whoever goes on with it has to.
const (
	hotPatience = 6
	longHistory = 200
)

// housekeeping looks over all executions now and then: turns that do not end,
// and instances that have waited so long that they need no owner, or no place
// in memory.
func (e *Engine) housekeeping(ctx context.Context) {
	var noticed []*execution
	for e.await(ctx, nil, e.sweepInterval()) {
		e.pool.trim()
		now := time.Now()
		noticed = e.notice(now, noticed)
		for _, x := range noticed {
			x.mu.Lock()
			switch {
			case x.hangs(now, e.o.TurnTimeout):
				e.giveUp(x, now.Sub(x.turn.began))
			case x.state == idle && x.node != 0 && x.idleSince.Before(now) && len(x.local) == 0 && len(x.inbox) == 0 &&
				!e.draining.Load():
				e.leaveIdle(x, running)
				e.release(x)
			case e.lukewarm(x, now):
				e.evict(x)
			}
			x.mu.Unlock()
		}
		clear(noticed)
	}
}

// sweepInterval is the time between two looks; a node that is full makes room
// more often.
func (e *Engine) sweepInterval() time.Duration {
	longest := 10 * time.Second
	e.mu.Lock()
	if len(e.execs) >= e.capacity() {
		longest = 4 * time.Second
	}
	e.mu.Unlock()
	return max(min(e.o.TurnTimeout, e.o.IdleRelease, longest)/4, time.Millisecond)
}

// notice lists, in list, what housekeeping has to do something about. Most
// executions are none of its business, so it walks past those quickly.
func (e *Engine) notice(now time.Time, list []*execution) []*execution {
	list = list[:0]
	e.mu.Lock()
	patience := e.o.IdleRelease
	if len(e.execs) >= e.capacity() {
		patience = 0
	}
	for _, x := range e.execs {
		if !x.mu.TryLock() {
			continue // busy at this moment, so neither
		}
		if x.hangs(now, e.o.TurnTimeout) || x.state == idle && x.node != 0 && now.Sub(x.idleSince) > patience ||
			e.lukewarm(x, now) {
			list = append(list, x)
		}
		x.mu.Unlock()
	}
	e.mu.Unlock()
	slices.SortFunc(list, func(a, b *execution) int { return cmp.Compare(a.key, b.key) })
	return list
}

// lukewarm reports whether x has been kept for a message that did not come. The
// caller holds x.mu.
func (e *Engine) lukewarm(x *execution, now time.Time) bool {
	return x.state == idle && x.node == 0 && x.events <= longHistory && now.Sub(x.idleSince)/hotPatience > e.o.IdleRelease
}

// misuseGrace is how long a turn may go on in which a goroutine has used the
// context: it fails when it ends, and it waits for that goroutine if it does not.
const misuseGrace = time.Second

// hangs reports whether a turn of x runs for longer than limit, or than makes
// sense. The caller holds x.mu.
func (x *execution) hangs(now time.Time, limit time.Duration) bool {
	if x.state != running || x.turn.began.IsZero() {
		return false
	}
	ran := now.Sub(x.turn.began)
	return ran > limit || ran > misuseGrace && x.misused() != nil
}

// misused says what was wrong with the use of the context in the turn that runs,
// if anything was. The caller holds x.mu.
func (x *execution) misused() error {
	if x.machine == nil {
		return nil
	}
	return x.machine.Misused()
}

// giveUp ends the ownership of an instance whose turn hangs: the goroutine
// cannot be stopped, but what it may still commit will find another owner. Its
// place among the turns stays taken for as long as it hangs. The caller holds
// x.mu.
func (e *Engine) giveUp(x *execution, after time.Duration) {
	stacks := stuckStacks()
	e.o.Logger.Error("turn does not end", "instance", x.id, "turn", x.nextTurn, "after", after.Round(time.Millisecond),
		"stacks", stacks)
	cause := cmp.Or(x.misused(), error(&stuckError{e.o.TurnTimeout, stacks}))
	if x.birth != nil {
		e.miscarry(x) // it hangs again where people see it
		return
	}
	// The stuck goroutine still uses x; its successor carries the release.
	y := &execution{
		key: x.key, id: x.id, node: x.node, charged: x.charged, attempts: x.attempts,
		name: x.name, version: x.version, status: x.status, generation: x.generation, nextTurn: x.nextTurn,
		readSeq: x.readSeq, historyFrom: x.historyFrom, parent: x.parent, nextTimer: provider.Never,
		fault: x.fault, quietFrom: x.quietFrom, notBefore: x.notBefore,
		local: x.local, inbox: x.inbox, extra: x.extra, unrecorded: x.unrecorded, parking: x.parking,
	}
	y.occupy()
	y.turn.taken = append(y.turn.taken, x.turn.taken...)
	y.turn.extra = append(y.turn.extra, x.turn.extra...)
	x.local, x.inbox, x.extra, x.parking = nil, nil, nil, nil
	e.forget(x)
	e.mu.Lock()
	e.execs[y.key] = y
	e.mu.Unlock()
	y.mu.Lock()
	defer y.mu.Unlock()
	y.state = running
	e.busy.Add(1)
	e.failTurn(y, cause)
}

// stuckStacks returns the stacks of coroutines that are not parked.
func stuckStacks() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var b strings.Builder
	for _, g := range bytes.Split(buf, []byte("\n\n")) {
		header, _, _ := bytes.Cut(g, []byte("\n"))
		if !bytes.Contains(g, []byte("internal/coro.")) || bytes.Contains(header, []byte("[coroutine")) {
			continue
		}
		b.Write(g)
		b.WriteString("\n\n")
	}
	return b.String()
}
