package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/durango-go/durango/provider"
)

// join makes this node a member under a new key.
func (e *Engine) join(ctx context.Context) error {
	info := provider.NodeInfo{Name: e.o.Name, PID: os.Getpid(), Version: e.o.Version}
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, maxPause) {
		key, err := e.store.Join(ctx, info)
		if err == nil {
			e.node.Store(int64(key))
			poke(e.wake)
			poke(e.wakeTask)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !retryable(err) {
			return fmt.Errorf("join: %w", err)
		}
		e.o.Logger.Warn("join will be repeated", "error", err)
		if !e.await(ctx, nil, delay) {
			return ctx.Err()
		}
	}
}

// observation is what this node has seen of another's beat, by its own
// monotonic clock. No other clock has a say in who is dead.
type observation struct {
	beat  int64
	since time.Time
}

// heartbeats renews this node, watches the others and buries the dead. A node
// that is alone beats for whoever may join, and therefore less often, until it
// hears that somebody else writes to the store.
func (e *Engine) heartbeats(ctx context.Context) {
	interval := e.beatInterval()
	seen := map[provider.NodeKey]observation{}
	last, reconciled := time.Now(), time.Now()
	wait, stalled := interval, false
	for {
		late, before := last.Add(2*max(wait, min(e.o.Lease/5, time.Second))), stalled
		wait = interval
		if stalled = e.stalled(); stalled {
			if !before {
				e.o.Logger.Error("commits make no progress: this node stops its heartbeat until they do")
			}
		} else if err := e.heartbeat(ctx, seen, late); err != nil && ctx.Err() == nil {
			e.o.Logger.Warn("heartbeat failed", "error", err)
			// What was not watched without a gap proves nothing.
			clear(seen)
			wait = interval / 4 // others count the time since the last that came through
		} else if e.alone.Load() {
			wait = e.lonelyInterval()
		}
		last = time.Now()
		if last.Sub(reconciled) >= 10*interval {
			e.reconcile(ctx)
			reconciled = last
		}
		if wait > interval && !e.await(ctx, e.wakeBeat, wait) || !e.await(ctx, nil, min(wait, interval-time.Since(last))) {
			return
		}
	}
}

// beatInterval is the time between the beats of a node that others watch. They
// count a lease from the last beat they saw, so several may get lost.
func (e *Engine) beatInterval() time.Duration { return min(e.o.Lease/15, time.Second) }

// lonelyInterval is the time between the beats of a node that is alone: soon
// enough for one that joins right after a beat.
func (e *Engine) lonelyInterval() time.Duration { return 3 * e.beatInterval() }

// stalled reports whether a commit has been under way for most of a lease.
// Then others had better take over.
func (e *Engine) stalled() bool {
	return e.progress.stuck() > e.o.Lease*3/4
}

// heartbeat beats once. A reply that comes after late has left a gap in which
// this node has seen nothing, be it that it slept or that the store did.
func (e *Engine) heartbeat(ctx context.Context, seen map[provider.NodeKey]observation, late time.Time) error {
	node := e.nodeKey()
	pulse, err := e.store.Heartbeat(ctx, node)
	if errors.Is(err, provider.ErrNodeGone) {
		e.lostMembership(node)
		e.alone.Store(false)
		clear(seen)
		return nil
	}
	if err != nil {
		return err
	}
	if time.Now().After(late) {
		clear(seen)
	}
	e.clock.set(pulse.Now)
	present := map[provider.NodeKey]bool{}
	others := 0
	for _, v := range pulse.Nodes {
		present[v.Key] = true
		if v.Key == node {
			continue
		}
		o, ok := seen[v.Key]
		if !ok || o.beat != v.Beat {
			o = observation{v.Beat, time.Now()}
			seen[v.Key] = o
		}
		if v.Gone || v.Dead || time.Since(o.since) >= e.o.Lease {
			e.bury(ctx, v)
			continue
		}
		others++
	}
	for k := range seen {
		if !present[k] {
			delete(seen, k)
		}
	}
	e.alone.Store(others == 0)
	return nil
}

// renewals says that held tasks and attempts on probation are alive, as often
// as the node beats, and sleeps while there are none. No heartbeat waits for
// it.
func (e *Engine) renewals(ctx context.Context) {
	for {
		if !e.holds() {
			select {
			case <-e.wakeRenewals:
			case <-ctx.Done():
				return
			}
		}
		if !e.await(ctx, nil, e.beatInterval()) {
			return
		}
		node := e.nodeKey()
		if node == 0 {
			continue
		}
		if err := errors.Join(e.vouch(ctx), e.extend(ctx, node)); err != nil && ctx.Err() == nil {
			e.o.Logger.Warn("tasks could not be extended", "error", err)
		}
	}
}

// holds reports whether there is anything to renew.
func (e *Engine) holds() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.held)+len(e.probationers) > 0
}

// extend finds out which held tasks have been withdrawn.
func (e *Engine) extend(ctx context.Context, node provider.NodeKey) error {
	e.mu.Lock()
	batch := make([]provider.TaskBeat, 0, len(e.held))
	for ref, t := range e.held {
		batch = append(batch, provider.TaskBeat{TaskRef: ref, Details: e.fitting(t.news())})
	}
	e.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	still, err := e.store.ExtendTasks(ctx, node, batch)
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		for i := range batch {
			if t := e.held[batch[i].TaskRef]; t != nil && batch[i].Details != nil {
				t.again()
			}
		}
		return err
	}
	for i, ok := range still {
		if ok {
			continue
		}
		if t := e.unhold(batch[i].TaskRef); t != nil && !t.settled.Swap(true) {
			t.ctx.cancel(errCanceled, ErrTaskCanceled)
		}
	}
	return nil
}

// fitting returns details that the store takes: one that did not would keep
// it from hearing of all the others.
func (e *Engine) fitting(details []byte) []byte {
	if e.contract.Store.MaxEventSize > 0 && len(details) > e.contract.Store.MaxEventSize {
		e.o.Logger.Error("heartbeat details are too large for the store", "bytes", len(details), "limit", e.contract.Store.MaxEventSize)
		return nil
	}
	return details
}

// bury declares a node dead and returns what it had to the pool.
func (e *Engine) bury(ctx context.Context, v provider.NodeView) {
	for {
		r, err := e.store.Bury(ctx, provider.Burial{Node: v.Key, Beat: v.Beat})
		if err != nil {
			if ctx.Err() == nil {
				e.o.Logger.Warn("burial failed", "node", int64(v.Key), "error", err)
			}
			return
		}
		if r.Instances+r.Tasks > 0 || r.Done {
			e.metrics.buried.Add(1)
			e.o.Logger.Info("node declared dead", "node", int64(v.Key), "name", v.Info.Name, "pid", v.Info.PID,
				"exited", v.Gone, "instances", r.Instances, "tasks", r.Tasks)
			poke(e.wake)
			poke(e.wakeTask)
		}
		if r.Done {
			return
		}
	}
}

// lostMembership is called by whoever finds that this node, under key old, has
// been buried: everything it holds is somebody else's by now. It lets go of
// all of it and joins again under a new key.
func (e *Engine) lostMembership(old provider.NodeKey) {
	if old == 0 || !e.node.CompareAndSwap(int64(old), 0) {
		return // somebody else has seen to it
	}
	e.metrics.abandonments.Add(1)
	e.o.Logger.Error("this node was declared dead by another; it lets go of its work and joins again", "node", int64(old))
	e.letGo()
	e.pool.run(func() {
		if err := e.join(e.ctx); err != nil && e.ctx.Err() == nil {
			e.o.Logger.Error("could not join again", "error", err)
		}
	})
}

// letGo forgets every execution and cancels every held task. The caller holds
// no execution.
func (e *Engine) letGo() {
	e.mu.Lock()
	held := e.held
	e.held = map[provider.TaskRef]*task{}
	e.mu.Unlock()
	for _, t := range held {
		t.settled.Store(true)
		t.ctx.cancel(errCanceled, ErrTaskLost)
		e.halfOver(t)
	}
	for _, x := range e.all() {
		x.mu.Lock()
		switch {
		case x.state == gone:
		case x.birth != nil:
			e.miscarry(x)
		default:
			e.forget(x)
		}
		x.mu.Unlock()
	}
	e.client.lostSightOfAll()
}

// reconcile compares what carries this node's key with what it holds. What
// differs twice in a row is adopted, or let go of: a claim whose reply was lost
// would be held for ever otherwise.
func (e *Engine) reconcile(ctx context.Context) {
	node := e.nodeKey()
	if !e.member() {
		return
	}
	h, err := e.store.Owned(ctx, node)
	if err != nil {
		return
	}
	mine := make(map[provider.Key]bool, len(h.Instances))
	suspects := map[provider.Key]bool{}
	for _, i := range h.Instances {
		mine[i.Key] = true
		if e.unaware(i.Key, node) {
			suspects[i.Key] = true
			if e.suspects[i.Key] {
				e.readopt(&provider.Instance{Key: i.Key}, node)
				e.metrics.adopted.Add(1)
			}
		}
	}
	e.mu.Lock()
	var extra []*execution
	for k, x := range e.execs {
		if !mine[k] {
			extra = append(extra, x)
		}
	}
	e.mu.Unlock()
	for _, x := range extra {
		x.mu.Lock()
		if x.state == idle && x.node == node {
			suspects[x.key] = true
			if e.suspects[x.key] {
				e.forget(x)
			}
		}
		x.mu.Unlock()
	}
	e.suspects = suspects
	e.client.lostSightOfAll()
	e.reconcileTasks(ctx, node, h.Tasks)
}

// unaware reports whether this node does not know that it owns an instance. A
// copy that was only kept hot since an earlier ownership is forgotten.
func (e *Engine) unaware(k provider.Key, node provider.NodeKey) bool {
	x := e.lookup(k)
	if x == nil {
		return true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.node == node && x.state != gone {
		return false
	}
	if x.state == idle && e.suspects[k] {
		e.forget(x)
	}
	return true
}

func (e *Engine) reconcileTasks(ctx context.Context, node provider.NodeKey, rows []provider.TaskRef) {
	suspects := map[provider.TaskRef]bool{}
	var back []provider.TaskFinish
	held := make(map[provider.TaskRef]bool, len(rows))
	e.mu.Lock()
	for _, ref := range rows {
		held[ref] = true
		if e.held[ref] == nil {
			suspects[ref] = true
			if e.taskSuspects[ref] {
				back = append(back, provider.TaskFinish{TaskRef: ref, VisibleAt: e.clock.now(), GiveBack: true})
			}
		}
	}
	var lost []*task
	for ref, t := range e.held {
		if !held[ref] {
			suspects[ref] = true
			if e.taskSuspects[ref] {
				lost = append(lost, t)
				delete(e.held, ref)
			}
		}
	}
	e.mu.Unlock()
	e.taskSuspects = suspects
	for _, t := range lost {
		t.settled.Store(true)
		t.ctx.cancel(errCanceled, ErrTaskCanceled)
		e.halfOver(t)
	}
	if len(back) > 0 {
		if _, err := e.store.FinishTasks(ctx, node, back); err == nil {
			poke(e.wakeTask)
		}
	}
}
