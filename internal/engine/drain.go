package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/durango-go/durango/provider"
)

// drainGrace is how long activities may run on when a node stops, so that
// most of them end with their result recorded instead of being begun again
// elsewhere.
const drainGrace = 500 * time.Millisecond

// drain hands over everything and leaves: nothing is left owned. Other nodes
// can continue at once, before this one has ended.
func (e *Engine) drain(stopLoops, stopWork func()) error {
	e.o.Logger.Info("node draining", "node", int64(e.nodeKey()))
	e.draining.Store(true)
	stopLoops()
	node := e.nodeKey()

	e.handOverIdle(false)
	if !e.waitUntil(drainGrace, func() bool { return e.emptied() }) {
		e.handOverIdle(true)
		e.waitUntil(e.o.DrainTimeout, func() bool { return e.emptied() })
	}
	e.giveBack(node)
	err := e.leave(node)
	stopWork() // what still tries to reach the store need not: nothing is owned
	if !e.waitFor(e.o.DrainTimeout) {
		e.o.Logger.Warn("activities or turns do not end; the node leaves without them")
	}
	e.letGo()
	e.pool.close()
	e.o.Logger.Info("node left", "node", int64(node))
	return err
}

// handOver releases an execution of a draining node, unless it has local
// tasks that may still end by themselves. The caller holds x.mu.
func (e *Engine) handOver(x *execution) {
	if x.state != idle || x.node == 0 || len(x.local) > 0 && !e.hurry.Load() {
		return
	}
	e.leaveIdle(x, running)
	e.release(x)
}

// handOverIdle hands over what is idle; what is busy does it by itself when
// its commit returns. In a hurry, local tasks are given up as well.
func (e *Engine) handOverIdle(hurry bool) {
	e.hurry.Store(hurry)
	for _, x := range e.all() {
		x.mu.Lock()
		if x.state == queued && x.birth == nil { // its turn would only make new work
			x.state = idle
			e.busy.Add(-1)
		}
		e.handOver(x)
		x.mu.Unlock()
	}
}

func (e *Engine) emptied() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.execs {
		if x.mu.TryLock() {
			owned := x.node != 0
			x.mu.Unlock()
			if !owned {
				continue
			}
		}
		return false
	}
	return true
}

// waitUntil looks at a condition that several goroutines bring about, for a
// bounded time.
func (e *Engine) waitUntil(limit time.Duration, done func() bool) bool {
	end := time.Now().Add(limit)
	for !done() {
		if time.Now().After(end) {
			return false
		}
		e.await(context.Background(), nil, 2*time.Millisecond)
	}
	return true
}

// giveBack returns held tasks to the queue, their attempt uncounted, also those
// whose function left their completion to others and still runs, and those that
// carry this node's key although it never learned of them.
func (e *Engine) giveBack(node provider.NodeKey) {
	e.mu.Lock()
	held := e.held
	e.held = map[provider.TaskRef]*task{}
	e.mu.Unlock()
	back := map[provider.TaskRef]provider.TaskFinish{}
	give := func(ref provider.TaskRef, details, failure []byte) {
		back[ref] = provider.TaskFinish{TaskRef: ref, VisibleAt: e.clock.now(), GiveBack: true, Details: details, Failure: failure}
	}
	for ref, t := range held {
		if !t.settled.Swap(true) {
			t.ctx.cancel(errCanceled, ErrDraining)
			var note []byte
			if t.held.past.suspicious() {
				note = t.noteOf("")
			}
			give(ref, t.details(), note)
		}
	}
	e.waitUntil(e.o.DrainTimeout, func() bool { return e.parks.Load() == 0 })
	ctx, cancel := context.WithTimeout(e.ctx, e.o.DrainTimeout)
	defer cancel()
	e.giveBackParked(ctx)
	if node == 0 {
		return
	}
	for {
		rows, err := e.store.Owned(ctx, node)
		if err == nil {
			for _, ref := range rows.Tasks {
				if held[ref] == nil {
					give(ref, nil, nil)
				}
			}
			if len(back) == 0 {
				return
			}
			_, err = e.store.FinishTasks(ctx, node, slices.Collect(maps.Values(back)))
		}
		switch {
		case err == nil:
			return
		case !retryable(err) || ctx.Err() != nil:
			e.o.Logger.Warn("tasks could not be given back; leaving returns them", "error", err)
			return
		}
		e.await(ctx, nil, 10*time.Millisecond)
	}
}

// leave ends this node's membership.
func (e *Engine) leave(node provider.NodeKey) error {
	if node == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(e.ctx, e.o.DrainTimeout)
	defer cancel()
	for {
		r, err := e.store.Bury(ctx, provider.Burial{Node: node, Force: true})
		switch {
		case err == nil && r.Done:
			e.node.CompareAndSwap(int64(node), 0)
			return nil
		case err == nil:
		case retryable(err) && ctx.Err() == nil:
			e.await(ctx, nil, 10*time.Millisecond)
		default:
			return fmt.Errorf("leave: %w", err)
		}
	}
}

// waitFor waits for the node's goroutines to end, for a bounded time.
func (e *Engine) waitFor(limit time.Duration) bool {
	done := make(chan struct{})
	go func() { e.pool.work.Wait(); close(done) }()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}
