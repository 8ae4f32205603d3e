package durango

import "iter"

// Race is [Context.Select] that cancels the losers, as [Future.Cancel] does, in
// the order of the arguments. A loser that is ready keeps its result. When
// nobody wins, because ctx has ended, nobody has lost either: what was asked for
// with ctx has ended with it.
func (ctx *Context) Race(futures ...Awaitable) Awaitable {
	won := ctx.Select(futures...)
	if won != nil {
		each(futures, func(f Awaitable) {
			if f != won {
				f.Cancel(ctx)
			}
		})
	}
	return won
}

// Result is what a future became: a value or an error.
type Result[T any] struct {
	Value T
	Err   error
}

// Settle waits until all futures are ready and returns their results in the
// order of the arguments. It does not fail: each result has its own error. When
// ctx ends, those that were not settled have the error of [Context.Err], and
// nothing is canceled that was not asked for with ctx. A nil future leaves a
// zero Result.
func Settle[T any](ctx *Context, futures ...*Future[T]) []Result[T] {
	_ = ctx.gather(awaitables(futures), nil) // result tells, future by future
	results := make([]Result[T], len(futures))
	for i, f := range futures {
		if f != nil {
			results[i] = f.result(ctx)
		}
	}
	return results
}

// result is of a future that is done, or that ctx's end keeps from it.
func (f *Future[T]) result(ctx *Context) Result[T] {
	if !f.done {
		return Result[T]{Err: ctx.Err()}
	}
	return Result[T]{f.value, f.err}
}

// AsCompleted ranges over the futures in the order in which they become ready,
// those that already are first; each comes with its index among the arguments:
//
//	for i, r := range durango.AsCompleted(ctx, parts...) {
//
// Breaking out cancels nothing, and what did not come can be awaited as before.
// Every future comes once, except nil ones: when ctx ends, those that are left
// come at once, in the order of the arguments, with the error of [Context.Err]
// unless they were settled before.
func AsCompleted[T any](ctx *Context, futures ...*Future[T]) iter.Seq2[int, Result[T]] {
	return func(yield func(int, Result[T]) bool) {
		left := 0
		came := make([]bool, len(futures))
		w := ctx.x.m.NewWaiter()
		release := func() {
			w.Close() // signals that were offered are for others
			each(awaitables(futures), Awaitable.abandon)
		}
		defer release()
		w.Add(-1, ctx.scope)
		for i, f := range futures {
			if f == nil {
				continue
			}
			left++
			if f.done {
				w.Add(i, ctx.x.m.NewOpenGate())
				continue
			}
			f.begin(ctx)
			w.Add(i, f.src)
		}
		for ; left > 0 && !ctx.scope.Canceled(); left-- {
			i, e := w.Next()
			if i >= 0 {
				futures[i].settle(ctx, e) // a signal that was taken stays with its future
			}
			if ctx.scope.Canceled() {
				break // nothing else wins
			}
			came[i] = true
			if !yield(i, futures[i].result(ctx)) {
				return
			}
		}
		if left == 0 {
			return
		}
		release() // what follows may wait, with a detached context
		for i, f := range futures {
			if f != nil && !came[i] && !yield(i, f.result(ctx)) {
				return
			}
		}
	}
}

func awaitables[T any](futures []*Future[T]) []Awaitable {
	list := make([]Awaitable, len(futures))
	for i, f := range futures {
		list[i] = f
	}
	return list
}
