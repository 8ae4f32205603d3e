package durango

import (
	"errors"
	"slices"

	"github.com/durango-go/durango/internal/replay"
)

// Select waits until one of the futures is ready and returns it: the earliest
// argument when several are. It returns nil when ctx has ended, and when
// every argument is nil. It cancels nobody. The result is meant for a switch:
//
//	switch ctx.Select(approved, expired) {
//	case approved: // approved.Await(ctx) returns at once
//	case expired:
//	default: // canceled
//	}
func (ctx *Context) Select(futures ...Awaitable) Awaitable {
	if ctx.scope.Canceled() {
		return nil
	}
	var room [9]replay.Source
	// The scope comes first: when it is canceled nothing else wins.
	sources := append(room[:0], ctx.scope)
	any := false
	for i, f := range futures {
		if f == nil || f.absent() || takes(f) && slices.Contains(futures[:i], f) {
			sources = append(sources, nil)
			continue
		}
		if f.claim(ctx) {
			return f
		}
		any = true
		sources = append(sources, f.source())
	}
	if !any {
		return nil
	}
	for i, f := range futures {
		if sources[i+1] != nil {
			f.begin(ctx)
		}
	}
	i, e := ctx.x.m.Wait(sources...)
	each(futures, Awaitable.abandon)
	if i == 0 {
		return nil
	}
	futures[i-1].settle(ctx, e)
	return futures[i-1]
}

// takes reports whether who waits for the future takes something from others, and
// must not do so twice.
func takes(f Awaitable) bool {
	_, ok := f.source().(*replay.Queue)
	return ok
}

func each(futures []Awaitable, do func(Awaitable)) {
	for _, f := range futures {
		if f != nil && !f.absent() {
			do(f)
		}
	}
}

// Until waits until condition is true: a condition on what the coroutines and
// handlers of the execution share, such as a variable that the handler of an update
// changes. It is asked at once, and again whenever something has happened and all
// coroutines wait. When ctx has ended Until returns the error of [Context.Err], and
// does not ask.
//
// The condition runs in every replay, as all code does. It may look at what the
// orchestration knows, and at ctx as far as reading goes ([Value.Get],
// [Context.Now], [Future.Ready]), and must change nothing. Time alone makes nothing happen: to
// wait for a moment, or no longer than it, is for [Context.Sleep] and
// [Context.WithTimeout].
func (ctx *Context) Until(condition func() bool) error {
	if !ctx.x.m.Until(ctx.scope, condition) {
		return ctx.Err()
	}
	return nil
}

// Join waits until all futures are ready. Its error joins those of the futures
// that failed, in the order of the arguments; when ctx has ended it is
// that of [Context.Err].
func (ctx *Context) Join(futures ...Awaitable) error {
	if err := ctx.gather(futures, nil); err != nil {
		return err
	}
	var failed []error
	each(futures, func(f Awaitable) { failed = append(failed, f.failure()) })
	return errors.Join(failed...)
}

// All waits for futures of one type and returns their results in the order of
// the arguments. It returns at the first error, canceling the others. Nil
// futures leave a zero value.
func All[T any](ctx *Context, futures ...*Future[T]) ([]T, error) {
	list := awaitables(futures)
	var failed error
	err := ctx.gather(list, func(f Awaitable) bool {
		failed = f.failure()
		return failed == nil
	})
	if err == nil && failed != nil {
		each(list, func(f Awaitable) { f.Cancel(ctx) })
		err = failed
	}
	if err != nil {
		return nil, err
	}
	results := make([]T, len(futures))
	for i, f := range futures {
		if f != nil {
			results[i] = f.value
		}
	}
	return results, nil
}

// gather settles futures as they become ready until all are or next, unless
// nil, returns false for one. Its error is that ctx has ended.
func (ctx *Context) gather(futures []Awaitable, next func(Awaitable) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := ctx.x.m.NewWaiter()
	defer w.Close()
	w.Add(-1, ctx.scope)
	left := 0
	for i, f := range futures {
		switch {
		case f == nil || f.absent():
		case !f.claim(ctx):
			left++
			f.begin(ctx)
			defer f.abandon()
			w.Add(i, f.source())
		case next != nil && !next(f):
			return nil
		}
	}
	for ; left > 0; left-- {
		i, e := w.Next()
		if ctx.scope.Canceled() {
			if i >= 0 {
				futures[i].settle(ctx, e)
			}
			return ctx.Err()
		}
		futures[i].settle(ctx, e)
		if next != nil && !next(futures[i]) {
			return nil
		}
	}
	return nil
}
