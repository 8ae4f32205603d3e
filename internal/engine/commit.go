package engine

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/durango-go/durango/provider"
)

// submit hands x's prepared commit to the committer. The caller holds x.mu.
func (e *Engine) submit(x *execution) {
	x.state = committing
	e.packCommit(x)
	e.commits.add(x)
}

// commitGroup writes the commits of a group in one transaction. The next group
// is written while the effects of this one happen, and if the store can, while
// this one is on its way to the disk; unless it is small: a change of goroutine
// costs more than the effects of a few.
func (e *Engine) commitGroup(group []*execution, next func()) {
	// Under another key than that of its turn nothing is committed, however
	// often the call is repeated.
	node := e.nodeKey()
	if group = e.ownedBy(node, group); len(group) == 0 {
		return
	}
	w := writings.Get().(*writing)
	w.fill(node, group)
	e.progress.begin()
	var results []provider.CommitResult
	var err error
	large := len(group) >= e.o.minAhead
	if store, ok := e.store.(provider.Pipeliner); ok && large {
		results, err = store.CommitAhead(e.ctx, node, w.batch, next)
	} else if results, err = e.store.Commit(e.ctx, node, w.batch); err == nil && large {
		next()
	}
	e.written(w, results, err)
}

// writing is a group of commits on its way into the store. The batcher uses
// its own slice again.
type writing struct {
	node  provider.NodeKey
	group []*execution
	batch []provider.Commit
}

var writings = sync.Pool{New: func() any { return new(writing) }}

func (w *writing) fill(node provider.NodeKey, group []*execution) {
	w.node = node
	w.group = append(w.group, group...)
	w.batch = slices.Grow(w.batch, len(group))
	for _, x := range group {
		w.batch = append(w.batch, x.turn.commit)
	}
}

func (w *writing) recycle() {
	clear(w.group)
	clear(w.batch)
	w.group, w.batch = w.group[:0], w.batch[:0]
	writings.Put(w)
}

// written lets the effects of a group happen. Trouble of the store is not
// trouble of an orchestration: the write is repeated for as long as the node
// lives. The same commits are sent again, so a commit whose reply was lost is
// resolved by its repetition.
func (e *Engine) written(w *writing, results []provider.CommitResult, err error) {
	defer w.recycle()
	defer e.progress.end()
	for delay := time.Millisecond; ; delay = min(2*delay, maxPause) {
		switch {
		case err == nil:
			e.metrics.groups.Add(1)
			e.metrics.commits.Add(int64(len(w.group)))
			var mail []handoff
			for i, x := range w.group {
				e.committed(x, &results[i], &mail)
			}
			e.handMails(mail)
			return
		case errors.Is(err, provider.ErrNodeGone):
			e.lostMembership(w.node)
			for _, x := range w.group {
				e.abandonCommit(x)
			}
			return
		case e.ctx.Err() != nil:
			for _, x := range w.group {
				e.abandonCommit(x)
			}
			return
		case retryable(err):
			e.o.Logger.Warn("commit will be repeated", "error", err, "turns", len(w.group))
			e.pause(delay)
		case len(w.group) > 1:
			// One of them spoils the group: find it.
			for i := range w.group {
				e.commitGroup(w.group[i:i+1], func() {})
			}
			return
		default:
			e.committed(w.group[0], &provider.CommitResult{Err: err}, nil)
			return
		}
		results, err = e.store.Commit(e.ctx, w.node, w.batch)
	}
}

// underway is what is known of the groups that are being written.
type underway struct {
	mu     sync.Mutex
	groups int
	since  time.Time // the last of them began or ended
}

func (u *underway) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.groups++; u.groups == 1 {
		u.since = time.Now()
	}
}

func (u *underway) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.groups--
	u.since = time.Now()
}

// stuck is for how long none of the groups has come through.
func (u *underway) stuck() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.groups == 0 {
		return 0
	}
	return time.Since(u.since)
}

// ownedBy keeps, in place, the executions that are owned under a key, and lets
// go of the others: their node has been buried since.
func (e *Engine) ownedBy(node provider.NodeKey, group []*execution) []*execution {
	kept := group[:0]
	for _, x := range group {
		x.mu.Lock()
		owned := x.node == node && node != 0
		x.mu.Unlock()
		if owned {
			kept = append(kept, x)
		} else {
			e.abandonCommit(x)
		}
	}
	return kept
}

// retryable reports whether the store may recover from err by itself.
func retryable(err error) bool {
	return errors.Is(err, provider.ErrTransient) || errors.Is(err, provider.ErrUnknownOutcome) ||
		errors.Is(err, provider.ErrFull) || errors.Is(err, provider.ErrReadOnly)
}

// maxPause is the longest pause before a call that failed for a passing reason
// is repeated: what a node does after an outage begins that much later.
const maxPause = 250 * time.Millisecond

// pause waits for d or until the node's work is over.
func (e *Engine) pause(d time.Duration) {
	d += time.Duration(e.o.random(int64(d)/4 + 1))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.ctx.Done():
	}
}

// abandonCommit lets go of an execution whose commit nobody will make.
func (e *Engine) abandonCommit(x *execution) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.state != gone {
		e.forget(x)
	}
	e.unstart(x)
	e.closeMachine(x)
}

// committed applies the effects of a commit that stands, or lets go of an
// execution that is no longer this node's.
func (e *Engine) committed(x *execution, r *provider.CommitResult, mail *[]handoff) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.turn
	if x.state == gone {
		e.unstart(x)
		e.closeMachine(x)
		return
	}
	switch {
	case r.Err == nil:
	case errors.Is(r.Err, provider.ErrConflict), errors.Is(r.Err, provider.ErrNotFound):
		e.metrics.conflicts.Add(1)
		e.unstart(x)
		e.forget(x)
		e.client.lostSight(x.key)
		poke(e.wake) // it may be ours to claim again
		return
	case errors.Is(r.Err, provider.ErrAlreadyExists) && len(s.commit.Children) > 0:
		// Another process made the key of a child in the same millisecond.
		for i := range s.commit.Children {
			s.commit.Children[i].Key = provider.NewKey()
		}
		e.submit(x)
		return
	case s.failing:
		e.o.Logger.Error("a failed turn could not be recorded", "instance", x.id, "error", r.Err)
		e.forget(x)
		e.client.lostSight(x.key)
		return
	default:
		e.unstart(x)
		e.failTurn(x, r.Err)
		return
	}
	c := &s.commit
	if s.noted != nil {
		e.noted(x)
		return
	}
	if c.Turn != nil && s.aside {
		e.putAside(x)
	}
	s.trim()
	if c.Turn != nil || c.Release {
		x.charged, x.attempts = false, 0
	}
	x.readSeq, x.status = c.ReadSeq, c.Status
	e.client.published(c)
	x.unpark(c)
	s.extra = s.extra[:0]
	if c.Turn != nil {
		e.metrics.turns.Add(1)
		x.nextTurn++
		x.fault = nil
		e.grow(x, int64(s.record.Deliveries+s.record.Commands))
		x.lastTime = s.record.Time
		x.first = nil
	}
	for _, command := range s.stopped {
		e.stop(x, command, ErrTaskCanceled)
		x.withdrawExtra(command) // it may have failed, and be due again, meanwhile
	}
	e.effects(x, r, mail)
	switch {
	case s.final != nil && s.carried == nil:
		e.ended(x)
		x.vacate()
		return
	case s.carried != nil:
		e.continued(x)
	}
	if c.Release {
		e.released(x, r)
		return
	}
	e.startLocal(x)
	x.needMail = x.mailHint || r.MailboxSeq > x.mailSeen
	x.mailHint = false
	e.remember(x)
	e.enterIdle(x)
	switch {
	case e.draining.Load():
		e.handOver(x)
	case e.poke(x):
		e.turns.push(x)
	default:
		e.settle(x)
	}
}

// settle gives back a claim that led to nothing, which clears its charge:
// quiescence after a replay is a sign of health. One whose timer is near stays;
// it was claimed by a clock that is a little ahead of this node's. The caller
// holds x.mu.
func (e *Engine) settle(x *execution) {
	if x.state == idle && x.node != 0 && x.charged && len(x.local) == 0 && x.nextTimer > after(e.clock.now(), e.o.IdleRelease) {
		e.leaveIdle(x, running)
		e.release(x)
	}
}

// unstart gives back the places of tasks that will not begin.
func (e *Engine) unstart(x *execution) {
	for _, t := range x.turn.started {
		e.workers.unreserve(t.act)
	}
	x.turn.started = x.turn.started[:0]
}

func (e *Engine) startLocal(x *execution) {
	for _, t := range x.turn.started {
		if x.local == nil {
			x.local = map[int64]*task{}
		}
		x.local[t.attempt.Command] = t
		e.workers.start(t)
	}
	clear(x.turn.started)
	x.turn.started = x.turn.started[:0]
}

// stop ends a local task whose result nobody wants.
func (e *Engine) stop(x *execution, command int64, cause error) {
	if t := x.local[command]; t != nil {
		delete(x.local, command)
		t.settled.Store(true)
		t.ctx.cancel(errCanceled, cause)
	}
}

// remember keeps what is needed of a machine that may be evicted.
func (e *Engine) remember(x *execution) {
	if x.machine != nil {
		x.nextTimer = x.machine.Pending().NextTimer
	}
	if len(x.first) > 0 {
		x.nextTimer = provider.Never
	}
}

// effects hands what the commit sent and created to executions of this node.
func (e *Engine) effects(x *execution, r *provider.CommitResult, mail *[]handoff) {
	s := x.turn
	c := &s.commit
	if len(c.Tasks) > 0 {
		poke(e.wakeTask)
	}
	for i := range r.Children {
		if r.Children[i].Err == nil && c.Children[i].Owned {
			e.adoptChild(&c.Children[i], x.node)
		} else if r.Children[i].Err == nil {
			poke(e.wake)
			poke(e.wakeSurvey)
		}
	}
	if r.Children == nil && len(c.Children) > 0 {
		poke(e.wake) // an earlier attempt created them; reconciliation finds what is ours
	}
	for i := range r.Sent {
		m := &c.Messages[i]
		switch {
		case m.Terminate:
			*mail = append(*mail, handoff{key: r.Sent[i].Key, ended: true})
		case r.Sent[i].Err != nil || r.Sent[i].Seq == 0:
		case r.Sent[i].Owner == x.node && r.Sent[i].Key != x.key:
			*mail = append(*mail, handoff{key: r.Sent[i].Key, seq: r.Sent[i].Seq, execution: m.Execution, payload: m.Payload})
		default:
			poke(e.wake)
		}
	}
}

// ended tells those who wait and lets go of an instance that has ended.
func (e *Engine) ended(x *execution) {
	o := provider.Outcome{Key: x.key, Status: x.turn.commit.Status, Payload: x.turn.commit.Outcome}
	for command := range x.local {
		e.stop(x, command, ErrTaskCanceled)
	}
	e.forget(x)
	e.client.ended(o)
}

// continued begins the next execution of the same instance.
func (e *Engine) continued(x *execution) {
	for command := range x.local {
		e.stop(x, command, ErrTaskCanceled)
	}
	x.abandonExtra(ErrTaskCanceled) // its commands are not those of the next execution
	e.closeMachine(x)
	x.events = 0
	x.generation++
	x.historyFrom = x.turn.commit.HistoryFrom
	x.version = x.turn.commit.Version
	x.first = x.turn.carried
}

// released keeps an execution hot that is no longer owned.
func (e *Engine) released(x *execution, r *provider.CommitResult) {
	e.metrics.released.Add(1)
	e.trialOver(x)
	node, claimable := x.node, r.MailboxSeq > x.readSeq || x.turn.commit.DueAt < provider.Never
	if x.turn.notify {
		x.turn.notify = false
		key, policy := x.key, e.policyOf(x.name, x.version)
		e.pool.run(func() { e.callBack(e.ctx, key, node, policy) })
	}
	for command := range x.local {
		e.stop(x, command, ErrDraining)
	}
	if x.turn.failing || x.machine == nil || e.draining.Load() {
		e.forget(x)
	} else {
		e.remember(x)
		e.busy.Add(-1)
		x.state = idle
		x.node = 0
		x.idleSince = time.Now()
		clear(x.inbox)
		x.abandonExtra(ErrTaskLost)
		x.inbox, x.unrecorded = x.inbox[:0], 0
		x.mailSeen, x.needMail = x.readSeq, false
		x.vacate()
		e.heat(x)
	}
	e.client.lostSight(x.key)
	if row := x.reclaimed; row != nil {
		x.reclaimed = nil
		e.pool.run(func() { e.adopt(row, node) })
	}
	if claimable {
		poke(e.wake) // it has a time to be claimed again, or mail already
	}
}

// release gives up an instance without a turn. The caller holds x.mu, and the
// execution is busy.
func (e *Engine) release(x *execution) {
	e.prepareRelease(x)
	e.submit(x)
}

// prepareRelease prepares a commit that gives up an instance and keeps what
// exists in memory only.
func (e *Engine) prepareRelease(x *execution) *provider.Commit {
	taken := x.turn.taken
	x.turn.extra = append(x.turn.extra, x.extra...)
	x.extra = x.extra[:0]
	c := e.reset(x, x.readSeq)
	c.Release = true
	c.DueAt = e.dueAt(x, 0)
	e.evacuate(x, c, taken, e.clock.now())
	return c
}
