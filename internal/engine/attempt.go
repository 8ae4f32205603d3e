package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/durango-go/durango/history"
)

// Why an attempt's context ended, if not for a [TimeoutError]. context.Cause
// returns it, as Options.Cause has it.
var (
	// ErrTaskCanceled: the orchestration withdrew the activity or ended.
	ErrTaskCanceled = errors.New("activity canceled")
	// ErrTaskLost: the node no longer holds the activity; its result would be
	// discarded.
	ErrTaskLost = errors.New("activity is no longer held by this node")
	// ErrDraining: the node is shutting down; the activity will be tried
	// again elsewhere.
	ErrDraining = errors.New("node is shutting down")
)

// TimeoutError is why the context of an attempt ended that has failed because
// its time was over, or it was silent.
type TimeoutError struct{ Failure *history.Failure }

func (e *TimeoutError) Error() string { return e.Failure.Message }

type attemptKey struct{}

// AttemptFrom returns the attempt that ctx belongs to, or nil outside an
// activity.
func AttemptFrom(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}

// taskContext is the context of one attempt. An attempt needs one per step of
// every orchestration, and most never look at it: a context of our own costs
// nothing until Done is called, where context.WithCancel would allocate, and
// lock its parent, each time.
type taskContext struct {
	attempt *Attempt

	mu     sync.Mutex
	done   chan struct{}
	err    error
	ended  context.Context // where context.Cause finds why; nil before
	after  map[int]func()
	nextID int
	timer  *time.Timer
}

func (c *taskContext) Deadline() (time.Time, bool) {
	return c.attempt.Deadline, !c.attempt.Deadline.IsZero()
}

func (c *taskContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *taskContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *taskContext) Value(key any) any {
	if _, ok := key.(attemptKey); ok {
		return c.attempt
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		return nil
	}
	return c.ended.Value(key)
}

// AfterFunc lets package context follow this context without a goroutine.
func (c *taskContext) AfterFunc(f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = map[int]func(){}
	}
	id := c.nextID
	c.nextID++
	c.after[id] = f
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.after[id]
		delete(c.after, id)
		return waiting
	}
}

// cancel ends the context. The first call decides. context.Cause looks for a
// context of its own package, with a key that only that has: one that has ended
// for the same cause answers for this.
func (c *taskContext) cancel(err, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if public := c.attempt.task.engine.o.Cause; public != nil {
		cause = public(cause)
	}
	ended, end := context.WithCancelCause(context.Background())
	end(cause)
	c.err, c.ended = err, ended
	if c.done != nil {
		close(c.done)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	for _, f := range c.after {
		go f()
	}
	c.after = nil
}
