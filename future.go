package durango

import (
	"fmt"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
)

// Future is a result that is not there yet: of an activity, a child, a timer,
// a signal or a coroutine. It belongs to the orchestration that made it.
type Future[T any] struct {
	// src is what is waited for: a *replay.Op, *replay.Task or *replay.Queue;
	// nil if the future was settled from the start.
	src   replay.Source
	d     *declaration  // whose result it is; nil for timers and coroutines
	scope *replay.Scope // of a coroutine
	ch    *Chan[T]      // whose value it is, or nil
	// waiting is set while somebody waits for the queue of a signal or channel.
	// Two could each be handed one, and a future has room for one.
	waiting bool
	done    bool
	value   T
	err     error
}

// Awaitable is a future of any type: what [Context.Select] and [Context.Join]
// take. Nil futures are allowed and never ready.
type Awaitable interface {
	absent() bool
	claim(ctx *Context) bool
	source() replay.Source
	begin(ctx *Context)
	settle(ctx *Context, e *history.Event)
	abandon()
	Cancel(ctx *Context)
	failure() error
}

func settled[T any](err error) *Future[T] { return &Future[T]{done: true, err: err} }

// resultFuture is the future of the answer to op.
func resultFuture[T any](d *declaration, op *replay.Op, err error) *Future[T] {
	if err != nil {
		return settled[T](err)
	}
	return &Future[T]{src: op, d: d}
}

// Await waits for the result. Awaiting again returns the same result again.
// When ctx has ended it returns the error of [Context.Err] and consumes nothing;
// a result that has come is still there for a detached context.
func (f *Future[T]) Await(ctx *Context) (T, error) {
	if f == nil {
		ctx.x.fail(fmt.Errorf("await of a nil future, which would never end"))
	}
	if ctx.scope.Canceled() {
		return *new(T), ctx.Err()
	}
	if !f.claim(ctx) {
		f.begin(ctx)
		// The scope comes first: when it is canceled nothing else wins.
		i, e := ctx.x.m.Wait(ctx.scope, f.src)
		if i == 0 {
			f.abandon()
			return *new(T), ctx.Err()
		}
		f.settle(ctx, e)
	}
	return f.value, f.err
}

// Ready reports whether Await would return at once.
func (f *Future[T]) Ready() bool { return f != nil && (f.done || f.pending()) }

func (f *Future[T]) absent() bool          { return f == nil }
func (f *Future[T]) source() replay.Source { return f.src }
func (f *Future[T]) failure() error        { return f.err }

// pending reports whether the source has something for a future that is not
// done.
func (f *Future[T]) pending() bool {
	switch s := f.src.(type) {
	case *replay.Op:
		return s.Done()
	case *replay.Task:
		return s.Done()
	case *replay.Queue:
		return s.Len() > 0
	}
	return false
}

// claim settles the future if that needs no waiting, and reports whether it is
// settled.
func (f *Future[T]) claim(ctx *Context) bool {
	if !f.done && f.pending() {
		f.begin(ctx)
		_, e := ctx.x.m.Wait(f.src)
		f.settle(ctx, e)
	}
	return f.done
}

// begin is called before a wait for the future, abandon after one that did not
// settle it.
func (f *Future[T]) begin(ctx *Context) {
	if _, ok := f.src.(*replay.Queue); !ok {
		return
	}
	if f.waiting {
		ctx.x.fail(fmt.Errorf("a future of %s %q is awaited twice at once; call Next for each wait", f.d.what, f.d.name))
	}
	f.waiting = true
}

func (f *Future[T]) abandon() { f.waiting = false }

// settle takes over the result. e is what the wait for the source returned. A
// coroutine has settled its own, and another waiter may have been faster: what
// it was given is not decoded again, into the same memory.
func (f *Future[T]) settle(ctx *Context, e *history.Event) {
	if f.done {
		return
	}
	switch s := f.src.(type) {
	case *replay.Op:
		f.done = true
		if f.err = outcome(ctx, f.d, s, e, &f.value); f.err != nil {
			f.value = *new(T)
		}
	case *replay.Queue:
		f.done = true
		if f.ch != nil {
			f.value = f.ch.take()
			return
		}
		if err := decode(ctx.x.codec, e.Payload, &f.value); err != nil {
			f.value = *new(T)
			f.err = decodeError[T](fmt.Sprintf("signal %q", f.d.name), err)
		}
	}
}

// outcome reads the answer to op; nil means that it was canceled. A result that
// does not decode into today's type fails the turn.
func outcome[T any](ctx *Context, d *declaration, op *replay.Op, e *history.Event, v *T) error {
	if e == nil {
		return ended(op)
	}
	switch e.Kind {
	case history.ActivityCompleted, history.ChildCompleted:
		if err := decode(ctx.x.codec, e.Payload, v); err != nil {
			ctx.x.fail(decodeError[T](fmt.Sprintf("the recorded result of %s %q", d.what, d.name), err))
		}
		return nil
	case history.ActivityFailed, history.ChildFailed, history.SignalRefused:
		switch err := fromFailure(ctx.x.codec, e.Failure).(type) {
		case nil:
		case *DecodeError: // a wrong key is no failure of the activity
			ctx.x.fail(fmt.Errorf("the recorded failure of %s %q: %w", d.what, d.name, err))
		default:
			return err
		}
		return &Error{Message: fmt.Sprintf("%s %q failed without saying why", d.what, d.name)}
	}
	return nil
}

// awaitResult waits for the answer to op without making a future.
func awaitResult[T any](ctx *Context, d *declaration, op *replay.Op) (T, error) {
	var v T
	_, e := ctx.x.m.Wait(op)
	if err := outcome(ctx, d, op, e, &v); err != nil {
		return *new(T), err
	}
	ctx.x.m.Release(op)
	return v, nil
}

// Cancel withdraws what the future waits for, unless it is there already:
// an activity, a timer or a child is canceled and the future fails with
// [ErrCanceled]; a coroutine is told, and the future is ready when it returns.
// Activities and children canceled in the turn that asked for them never start.
// A signal that has not come is nobody's to withdraw, so such a future stays as
// it is. Canceling a nil future does nothing.
func (f *Future[T]) Cancel(ctx *Context) {
	if f == nil || f.done {
		return
	}
	switch s := f.src.(type) {
	case *replay.Op:
		ctx.x.m.Cancel(s)
	case *replay.Task:
		f.scope.Cancel(ctx.scope.Reason())
	}
}

// Go runs fn as a coroutine of the orchestration, beside its caller: one runs
// until it waits, then another. The coroutine may use the context it is given
// and the outer one. One that is canceled before it has begun does not begin:
// its future fails as the context did. What has not ended when the
// orchestration returns is abandoned, except for a saga; see [RunSaga].
func Go[T any](ctx *Context, fn func(*Context) (T, error)) *Future[T] {
	if err := ctx.Err(); err != nil {
		return settled[T](err)
	}
	f := &Future[T]{scope: ctx.scope.Child()}
	inner := &Context{ctx.x, f.scope}
	f.src = ctx.x.m.Spawn(func() {
		if f.err = inner.Err(); f.err == nil {
			f.value, f.err = fn(inner)
		}
		f.done = true
		f.scope.Close()
	})
	return f
}
