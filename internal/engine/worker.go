package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

var errCanceled = context.Canceled

// task is one attempt of an activity on this node: local, known to nobody
// else and found again from the history after a crash, or held, with a row in
// the store.
type task struct {
	ctx     taskContext
	attempt Attempt
	act     *activity
	x       *execution // of a local task
	held    *holding   // of a held one
	node    provider.NodeKey
	engine  *Engine
	policy  *history.Policy
	until   int64 // when the attempt must be over, or provider.Never
	// settled: the attempt has its result, is being parked, or nobody wants it
	// any more.
	settled atomic.Bool
	leaving atomic.Bool // it has been settled, if it has, by being parked
	// parked: it has become a row that is finished from outside. parking guards
	// it, and is held while that is being stored.
	parking sync.Mutex
	parked  bool
	beats   *beats // nil: there is nothing to know of them
}

// holding is the row of a held task, with what concerns no other. There is a task
// for every step of every orchestration, and most have no row.
type holding struct {
	*provider.Task
	// past is what is known of the attempts before, last the failure of the last
	// that failed. trial: it runs apart until over is closed, which is when both
	// halves of its end have come.
	past   past
	last   *history.Failure
	trial  atomic.Bool
	halves atomic.Int32
	over   chan struct{}
}

// activity is a registered activity with the number of its tasks here.
type activity struct {
	Activity
	running atomic.Int64
	rate    *rate.Limiter // nil: no limit
}

// workers runs tasks on a bounded number of goroutines, which exist only
// while there is work.
type workers struct {
	e       *Engine
	mu      sync.Mutex
	queue   ring[*task]
	active  int
	loop    func()       // work, as a value made once
	present atomic.Int64 // queued and running
}

// reserve takes room for a task on this node, if there is any.
func (w *workers) reserve(a *activity, limit int) bool {
	if w.present.Add(1) > int64(limit) {
		w.present.Add(-1)
		return false
	}
	if a.running.Add(1) > int64(a.MaxConcurrent) && a.MaxConcurrent > 0 {
		w.unreserve(a)
		return false
	}
	if a.rate != nil && !a.rate.Allow() {
		w.unreserve(a)
		return false
	}
	return true
}

func (w *workers) unreserve(a *activity) {
	a.running.Add(-1)
	w.present.Add(-1)
}

// start hands a reserved task to a worker.
func (w *workers) start(t *task) {
	w.mu.Lock()
	w.queue.push(t)
	spawn := w.active < w.e.o.MaxActivities
	if spawn {
		w.active++
	}
	w.mu.Unlock()
	if spawn {
		w.e.pool.run(w.loop)
	}
}

func (w *workers) work() {
	for {
		w.mu.Lock()
		t, ok := w.queue.pop()
		if !ok {
			w.active--
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		w.run(t)
	}
}

// run runs one attempt to its end. Should the user's code end the goroutine
// (runtime.Goexit), the attempt fails and another goroutine takes over.
func (w *workers) run(t *task) {
	returned := false
	var result []byte
	var failure *history.Failure
	defer func() {
		if !returned {
			w.mu.Lock()
			w.active--
			w.mu.Unlock()
			failure = &history.Failure{Code: CodePanic, Message: "the activity ended its goroutine"}
			w.unreserve(t.act)
			w.settle(t, nil, failure)
			w.e.halfOver(t)
		}
	}()
	switch {
	case t.settled.Load():
	case w.tooLate(t):
		failure = noWorker(t.attempt.Name, t.policy)
	default:
		w.arm(t)
		result, failure = t.act.Run(&t.ctx, &t.attempt)
		t.disarm()
	}
	returned = true
	w.unreserve(t.act)
	if t.wasParked() {
		w.e.leftParked(t, failure)
		w.e.halfOver(t) // its row is not this node's
	} else {
		w.settle(t, result, failure)
	}
	w.e.halfOver(t)
}

// tooLate reports whether a task has waited in this node's memory for longer
// than it may. A row that waits too long expires in the store.
func (w *workers) tooLate(t *task) bool {
	p := t.policy
	return t.held == nil && p != nil && p.ScheduleToStart > 0 && w.e.clock.now() > after(t.attempt.ScheduledAt, p.ScheduleToStart)
}

func noWorker(name string, p *history.Policy) *history.Failure {
	return &history.Failure{
		Code: CodeNoWorker, Final: true,
		Message: fmt.Sprintf("activity %s: no worker took it within %s", name, time.Duration(p.ScheduleToStart)),
	}
}

// arm sets the attempt's deadline: when it passes the attempt has failed,
// whether or not the activity heeds its context.
func (w *workers) arm(t *task) {
	now := w.e.clock.now()
	at, which := deadline(t.policy, t.attempt.ScheduledAt, now)
	t.until = at
	if p := t.policy; p != nil && p.Heartbeat > 0 {
		w.expectBeats(t, time.Duration(p.Heartbeat))
	}
	if at == provider.Never {
		return
	}
	left := time.Duration(at - now)
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	t.attempt.Deadline = time.Now().Add(left)
	t.ctx.timer = time.AfterFunc(left, func() {
		w.expire(t, timeout(t.attempt.Name, which, left))
	})
}

// expire fails an attempt whose time is over, and ends its context after that:
// what the activity returns because of it is not the result.
func (w *workers) expire(t *task, f *history.Failure) {
	if t.settled.Swap(true) {
		if t.leaving.Load() {
			w.e.pool.run(func() { w.e.overdue(t, f) })
		}
		return
	}
	t.ctx.cancel(context.DeadlineExceeded, &TimeoutError{f})
	w.conclude(t, nil, f)
}

// disarm stops the clocks of an attempt.
func (t *task) disarm() {
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	if t.ctx.timer != nil {
		t.ctx.timer.Stop()
	}
	if t.beats != nil && t.beats.timer != nil {
		t.beats.timer.Stop()
	}
}

func timeout(name, which string, after time.Duration) *history.Failure {
	return &history.Failure{
		Code:    CodeTimeout,
		Message: fmt.Sprintf("activity %s: %s timeout after %s", name, which, after),
		Type:    which,
	}
}

// settle gives an attempt its result, unless it has one.
func (w *workers) settle(t *task, result []byte, failure *history.Failure) {
	if !t.settled.Swap(true) {
		w.conclude(t, result, failure)
	}
}

// conclude takes an attempt's result to where it belongs.
func (w *workers) conclude(t *task, result []byte, failure *history.Failure) {
	if failure != nil {
		now := w.e.clock.now()
		if at, again := retryAt(t.policy, t.spent(), failure, t.attempt.ScheduledAt, now, rand.Float64()); again {
			w.retry(t, at, failure)
			return
		}
		w.e.metrics.activitiesFailed.Add(1)
		w.finish(t, history.Event{Kind: history.ActivityFailed, Ref: t.attempt.Command, Attempt: number(t.attempt.Number), Failure: failure})
		return
	}
	w.finish(t, history.Event{Kind: history.ActivityCompleted, Ref: t.attempt.Command, Attempt: number(t.attempt.Number), Payload: result, Blobs: t.attempt.Blobs})
}

// number leaves out the usual attempt, the first, so that it takes no room.
func number(n int64) int64 {
	if n == 1 {
		return 0
	}
	return n
}

func (w *workers) finish(t *task, answer history.Event) {
	if t.held != nil {
		w.e.finishHeld(t, provider.TaskFinish{TaskRef: t.held.Ref(), Message: history.AppendMessage(nil, &answer), Blobs: answer.Blobs})
		return
	}
	w.e.localDone(t, answer)
}

func (w *workers) retry(t *task, at int64, failure *history.Failure) {
	reason := failed(t.attempt.Command, t.attempt.Number, failure)
	if t.held != nil {
		if idle := t.held.past.Idle; idle > 0 {
			reason = past{Attempt: t.attempt.Number, Idle: idle}.note(t.attempt.Command, failure)
		}
		w.e.finishHeld(t, provider.TaskFinish{TaskRef: t.held.Ref(), VisibleAt: at, Failure: reason, Details: t.details()})
		return
	}
	row := t.row()
	row.VisibleAt, row.Failure = at, reason
	w.e.requeue(t, row)
}

// failed is the failure of an attempt that is not the last, as its row keeps it.
func failed(command, attempt int64, f *history.Failure) []byte {
	return history.AppendMessage(nil, &history.Event{Kind: history.ActivityFailed, Ref: command, Attempt: attempt, Failure: f})
}

// row is what a local task becomes when it has to be tried again, or by another
// node.
func (t *task) row() provider.NewTask {
	command := history.Event{
		Kind: history.ActivityScheduled, Seq: t.attempt.Command, Name: t.attempt.Name, Payload: t.attempt.Input,
		Pool: t.act.Pool, Policy: t.policy, Time: t.attempt.ScheduledAt, Header: t.attempt.Header,
	}
	row := newRow(&command, command.Time, history.AppendMessage(nil, &command))
	row.Attempt, row.Details = t.attempt.Number, t.details()
	return row
}

// newRow is a task as the store keeps it, with the limits of its policy.
func newRow(cmd *history.Event, scheduled int64, payload []byte) provider.NewTask {
	row := provider.NewTask{
		Command: cmd.Seq, Name: cmd.Name, Pool: cmd.Pool, Session: cmd.Session, ScheduledAt: scheduled, Payload: payload,
	}
	if p := cmd.Policy; p != nil {
		row.StartWithin = p.ScheduleToStart
		if p.ScheduleToClose > 0 {
			row.CloseBy = closeBy(p, scheduled)
		}
	}
	return row
}

// ring is a queue that keeps its memory.
type ring[T any] struct {
	items []T
	head  int
	n     int
}

func (r *ring[T]) push(v T) {
	if r.n == len(r.items) {
		grown := make([]T, max(16, 2*len(r.items)))
		for i := range r.n {
			grown[i] = r.items[(r.head+i)%len(r.items)]
		}
		r.items, r.head = grown, 0
	}
	r.items[(r.head+r.n)%len(r.items)] = v
	r.n++
}

func (r *ring[T]) pop() (T, bool) {
	var zero T
	if r.n == 0 {
		return zero, false
	}
	v := r.items[r.head]
	r.items[r.head] = zero
	r.head = (r.head + 1) % len(r.items)
	r.n--
	return v, true
}
