package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// A group is bounded so that the first in it does not wait long for the last,
// and so that a transaction fits in the page cache.
const (
	maxGroupItems = 512
	maxGroupBytes = 4 << 20
)

// request is what a caller wants written: n items, executed in order. It must
// bear being executed again after a rollback.
type request struct {
	op string
	n  int
	// bytes is roughly how much will be written.
	bytes int
	// run executes item i. An error means that something unexpected happened
	// and rolls the transaction back; what is wrong with the item itself
	// belongs in its result.
	run func(w *writer, i int) error
	// fail stores what went wrong with item i when it was executed alone. Nil
	// for requests that are not a batch.
	fail func(i int, err error)
	// written, unless nil, is called when the request's group has been written
	// and not flushed.
	written func()

	err  error
	wake chan bool // receives true when the request's owner has to lead
	next *request
}

// writer executes requests on the one connection that writes.
type writer struct {
	s *Store

	mu      sync.Mutex
	first   *request // queued, oldest first
	last    *request
	leading bool
	closed  bool
	idle    *sync.Cond // leading became false

	flushing sync.WaitGroup // groups that are written and not answered

	// What follows belongs to the leader.
	c       *conn
	now     int64
	version int64        // data_version when the cache was last known to be right
	foreign atomic.Int64 // how often other connections have changed the file
	cache   map[provider.Key]*entry
	dirty   []*entry
	left    []*entry                // no longer in the cache since this transaction
	spare   []*entry                // to be used again
	byID    map[string]provider.Key // instances made in this transaction
	nodes   map[provider.NodeKey]bool
	commits int64
}

func newWriter(s *Store, c *conn) (*writer, error) {
	w := &writer{s: s, c: c}
	w.idle = sync.NewCond(&w.mu)
	if err := w.refresh(); err != nil { // what is in the file now is no change
		return nil, err
	}
	w.foreign.Store(0)
	w.c.SetBusyTimeout(0) // begin waits in its own way
	w.forget()
	return w, nil
}

// submit has a request executed and returns when it is durable. A context
// that ends before the request's group has begun takes the request back.
func (w *writer) submit(ctx context.Context, op string, r *request) error {
	if err := w.s.ready(ctx, op); err != nil {
		return err
	}
	if w.s.options.ReadOnly {
		return fmt.Errorf("sqlite: %s: %s: %w: opened with ReadOnly", op, w.s.name, provider.ErrReadOnly)
	}
	r.op = op
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return w.s.closedError(op)
	}
	lead := !w.leading
	w.leading = true
	if !lead {
		r.wake = wakes.Get().(chan bool)
		defer wakes.Put(r.wake)
	}
	w.push(r)
	w.mu.Unlock()

	if !lead {
		select {
		case lead = <-r.wake:
		case <-ctx.Done():
			if w.remove(r) {
				return fmt.Errorf("sqlite: %s: %w", op, ctx.Err())
			}
			lead = <-r.wake // its group has begun: the result is near
		}
	}
	if lead {
		w.lead()
	}
	return r.err
}

var wakes = sync.Pool{New: func() any { return make(chan bool, 1) }}

func (w *writer) push(r *request) {
	if w.last == nil {
		w.first = r
	} else {
		w.last.next = r
	}
	w.last = r
}

// remove takes r out of the queue, unless it is no longer there.
func (w *writer) remove(r *request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	var before *request
	for q := w.first; q != nil; before, q = q, q.next {
		if q != r {
			continue
		}
		if len(r.wake) > 0 {
			return false // it has just been told to lead
		}
		if before == nil {
			w.first = q.next
		} else {
			before.next = q.next
		}
		if w.last == q {
			w.last = before
		}
		return true
	}
	return false
}

// lead executes the group at the head of the queue, which the caller's request
// is part of, and passes the lead on to the first of those that came meanwhile.
func (w *writer) lead() {
	w.mu.Lock()
	group, count := w.take()
	w.mu.Unlock()

	w.execute(group, count)
	w.s.counts.statements.Add(w.c.steps)
	w.c.steps = 0
	if w.s.flusher != nil {
		number := w.s.flusher.written.Load() // what a group that wrote nothing has read
		if w.c.wrote {
			number = w.s.flusher.add(w.now)
		}
		w.c.wrote = false
		w.flushing.Add(1)
		defer w.flushing.Done()
		for r := group; r != nil; r = r.next {
			if r.written != nil {
				r.written()
			}
		}
		w.release()
		w.answer(group, w.s.flusher.flush(number))
		return
	}
	w.answer(group, nil)
	// Those just woken may have more to write. Letting them queue it before the
	// next group is taken makes groups of nearly all writers instead of half of
	// them, which measured a third less CPU per turn.
	runtime.Gosched()
	w.release()
}

// answer wakes those whose requests are done. The first is the leader's own.
func (w *writer) answer(group *request, failed error) {
	for r := group; r != nil; {
		next := r.next // r belongs to its caller again once it has been woken
		if failed != nil && r.err == nil {
			r.err = w.s.fail(r.op, failed)
		}
		if r != group {
			r.wake <- false
		}
		r = next
	}
}

// release gives up the lead, to the first request in the queue if there is one.
func (w *writer) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first != nil {
		w.first.wake <- true
		return
	}
	w.leading = false
	w.idle.Broadcast()
}

// take removes a group from the head of the queue.
func (w *writer) take() (group *request, count int) {
	group = w.first
	items, bytes := group.n, group.bytes
	end := group
	for count = 1; end.next != nil; count++ {
		items += end.next.n
		bytes += end.next.bytes
		if items > maxGroupItems || bytes > maxGroupBytes {
			break
		}
		end = end.next
	}
	w.first = end.next
	if w.first == nil {
		w.last = nil
	}
	end.next = nil
	return group, count
}

// exclusively runs f on the connection if nobody is writing, and reports
// whether it did.
func (w *writer) exclusively(f func()) bool {
	w.mu.Lock()
	if w.leading || w.closed {
		w.mu.Unlock()
		return false
	}
	w.leading = true
	w.mu.Unlock()
	f()
	w.release()
	return true
}

// close waits until nothing is queued and closes the connection.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	for w.leading {
		w.idle.Wait()
	}
	w.mu.Unlock()
	w.flushing.Wait()
	if w.s.flusher != nil {
		w.s.flusher.close()
	}
	if w.s.file != "" && !w.s.options.ReadOnly {
		// What cannot be copied back now is copied by whoever opens the file
		// next, so a failure here is of no consequence.
		_ = w.c.pragma("wal_checkpoint(truncate)")
	}
	return w.c.Close()
}

// execute runs a group in one transaction. When something unexpected happens
// to it, its requests are tried one by one, and then their items, so that what
// one of them suffers from does not touch the others.
func (w *writer) execute(group *request, count int) {
	err := w.transaction(func() error {
		for r := group; r != nil; r = r.next {
			if err := w.runAll(r); err != nil {
				return err
			}
		}
		return nil
	})
	if count > 1 {
		w.s.counts.groups.Add(1)
	}
	for r := group; r != nil; r = r.next {
		switch {
		case err == nil:
			r.err = nil
			w.s.counts.items.Add(int64(r.n))
		case wholesale(err):
			r.err = w.s.fail(r.op, err)
		default:
			w.alone(r, err, count == 1)
		}
	}
}

func (w *writer) runAll(r *request) error {
	for i := range r.n {
		if err := r.run(w, i); err != nil {
			return err
		}
	}
	return nil
}

// alone executes a request in a transaction of its own, unless it has been
// tried like that, and then its items, each in one of their own.
func (w *writer) alone(r *request, err error, tried bool) {
	if !tried {
		err = w.transaction(func() error { return w.runAll(r) })
	}
	r.err = w.s.fail(r.op, err)
	if err == nil {
		w.s.counts.items.Add(int64(r.n))
	}
	if err == nil || r.fail == nil || wholesale(err) {
		return
	}
	r.err = nil
	for i := range r.n {
		if err := w.transaction(func() error { return r.run(w, i) }); err != nil {
			r.fail(i, w.s.fail(r.op, err))
		}
	}
}

// transaction runs f between BEGIN and COMMIT. Nothing is applied when it
// returns an error, unless that is ErrUnknownOutcome.
func (w *writer) transaction(f func() error) error {
	if err := w.begin(); err != nil {
		return err
	}
	w.s.counts.transactions.Add(1)
	err := f()
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		if err = w.c.exec(qCommit); err != nil && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultIOErr {
			// The log may hold the commit although flushing it failed.
			err = fmt.Errorf("%w: %w", provider.ErrUnknownOutcome, err)
		}
	}
	if err != nil {
		w.rollback()
		return err
	}
	w.s.counts.commits.Add(w.commits)
	w.settle()
	return nil
}

// begin takes the write lock.
func (w *writer) begin() error {
	if err := w.s.patiently(func() error { return w.c.exec(qBegin) }); err != nil {
		return err
	}
	w.now = now()
	if err := w.refresh(); err != nil {
		w.rollback()
		return err
	}
	return nil
}

// patiently repeats what fails because another process holds a lock. They hold
// them for milliseconds, so it asks often at first; SQLite's own waiting would
// sleep through many turns, and does not happen at all for some statements.
func (s *Store) patiently(f func() error) error {
	deadline := time.Time{}
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		err := f()
		if err == nil || sqlite.ErrCode(err).ToPrimary() != sqlite.ResultBusy {
			return err
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(s.options.BusyTimeout)
		} else if time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause/2 + rand.N(pause))
	}
}

// refresh forgets what is cached if another connection has changed the file.
// This connection's own changes do not count: that is how data_version works.
func (w *writer) refresh() error {
	var version int64
	_, err := row(w.c.query(qDataVersion), func(st *sqlite.Stmt) { version = st.ColumnInt64(0) })
	if err == nil && version != w.version {
		w.version = version
		w.foreign.Add(1)
		w.forget()
	}
	return err
}

func (w *writer) rollback() {
	if !w.c.AutocommitEnabled() { // some failures have rolled back already
		for _, st := range w.c.stmts {
			st.Reset()
		}
		// Should this fail, the next BEGIN fails as well and says so; nothing
		// of the transaction is visible to anyone.
		_ = w.c.exec(qRollback)
	}
	w.forget()
}

// forget empties what is cached, including what was not written yet.
func (w *writer) forget() {
	w.cache = map[provider.Key]*entry{}
	w.nodes = map[provider.NodeKey]bool{}
	w.byID = map[string]provider.Key{}
	w.dirty, w.left = w.dirty[:0], w.left[:0]
	w.commits = 0
	w.s.defs.rollback()
	w.s.kinds.rollback()
}

// maxCached bounds the rows kept. They are some 400 bytes each.
const maxCached = 1 << 15

// settle keeps, after a commit, what the next transactions will need.
func (w *writer) settle() {
	if len(w.byID) > 0 {
		clear(w.byID)
	}
	w.commits = 0
	for _, e := range w.left {
		if *e = (entry{}); len(w.spare) < maxGroupItems {
			w.spare = append(w.spare, e)
		}
	}
	clear(w.left)
	w.left = w.left[:0]
	w.s.defs.commit()
	w.s.kinds.commit()
	if len(w.cache) > maxCached {
		w.cache = map[provider.Key]*entry{}
	}
}
