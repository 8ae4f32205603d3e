package durango

import (
	"errors"
	"iter"

	"github.com/durango-go/durango/internal/replay"
)

// Chan carries values between coroutines of one execution. It is made by
// [NewChan] inside the orchestration. Values are not encoded, and nothing is
// emitted: a replay sends them again. It is not closed; who receives ends with
// its context.
type Chan[T any] struct {
	x      *execution
	q      *replay.Queue // as long as values
	values []T
	room   *Semaphore
}

var chanDeclaration = &declaration{what: "channel"}

// NewChan makes a channel that holds up to capacity values that nobody has
// received. A capacity below 1 fails the turn.
func NewChan[T any](ctx *Context, capacity int) *Chan[T] {
	if capacity < 1 {
		ctx.x.fail(errors.New("a channel that holds nothing; its capacity is at least 1"))
	}
	return &Chan[T]{x: ctx.x, q: ctx.x.m.NewQueue(), room: NewSemaphore(ctx, capacity)}
}

// Send waits until there is room, in the order of the calls, and sends v. When
// ctx ends before that it returns the error of [Context.Err], and v is not sent.
func (c *Chan[T]) Send(ctx *Context, v T) error {
	if err := c.room.Acquire(ctx); err != nil {
		return err
	}
	c.values = append(c.values, v)
	c.q.Push()
	return nil
}

// Next returns the future of the next value. As with [Signal.Next], the value is
// received by the Await or Select that returns it: a future that loses, or is
// dropped, takes nothing.
func (c *Chan[T]) Next(ctx *Context) *Future[T] {
	if c.x != ctx.x {
		ctx.x.fail(errors.New("a channel of another execution; make one inside the orchestration"))
	}
	return &Future[T]{src: c.q, d: chanDeclaration, ch: c}
}

// All ranges over the values as they come, until ctx ends.
func (c *Chan[T]) All(ctx *Context) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			f := c.Next(ctx)
			if ctx.Select(f) == nil || !yield(f.value) {
				return
			}
		}
	}
}

// take is called for each signal of the queue that was consumed.
func (c *Chan[T]) take() T {
	v := c.values[0]
	c.values[0] = *new(T)
	c.values = c.values[1:]
	c.room.Release()
	return v
}
