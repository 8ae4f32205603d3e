package durango_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

// "ctx.Race is Select that cancels the losers."
func TestRace(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		var none *durango.Future[int]
		slow, quick, answer := ctx.After(time.Hour), ctx.After(time.Minute), counted.Next(ctx)
		helper := durango.Go(ctx, func(ctx *durango.Context) (string, error) { return "", ctx.Sleep(time.Hour) })
		name := map[durango.Awaitable]string{slow: "slow", quick: "quick", answer: "answer", helper: "helper"}
		won := ctx.Race(nil, slow, none, quick, answer, helper)
		_, errSlow := slow.Await(ctx)
		_, errQuick := quick.Await(ctx)
		_, errHelper := helper.Await(ctx)
		n, err := answer.Await(ctx) // a signal that has not come is nobody's to withdraw
		return fmt.Sprint(name[won], " ", errSlow, errQuick, errHelper, " ", n, ctx.Race(none, nil) == nil), err
	})
	h := newHarness(t, o).start("o", nil).advance(time.Minute)
	assert.Equal(t, kinds(h), []history.Kind{
		history.TimerSet, history.TimerSet, history.TimerSet, history.TimerCanceled, history.TimerCanceled,
	})
	want(h.signal("counted", 3), "quick canceled <nil> canceled 3 true")

	// Nobody wins what is canceled, so what was asked for elsewhere is nobody's
	// loss.
	outside := durango.DefineOrchestration("outside", func(ctx *durango.Context, _ durango.None) (string, error) {
		timer := ctx.After(time.Hour)
		part, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		if part.Race(timer, never.Next(ctx)) != nil {
			return "", errors.New("somebody won")
		}
		_, err := timer.Await(ctx)
		return fmt.Sprint(part.Err()), err
	})
	want(newHarness(t, outside).start("outside", nil).advance(time.Minute).advance(time.Hour), "timed out after 1m0s")
}

// "Ties go to the earlier argument." A loser that was ready too keeps what it
// has.
func TestRaceTie(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		a, b := double.Go(ctx, 1), double.Go(ctx, 2)
		if err := ctx.Sleep(time.Minute); err != nil {
			return "", err
		}
		won := ctx.Race(b, a)
		x, errA := a.Await(ctx)
		y, errB := b.Await(ctx)
		return fmt.Sprint(won == b, x, errA, y, errB), nil
	})
	want(newHarness(t, o, double).start("o", nil).advance(time.Minute), "true 2 <nil> 4 <nil>")
}

// A race in one turn: who loses before it began never starts.
func TestLoserNeverStarts(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		at := durango.Go(ctx, func(*durango.Context) (int, error) { return 1, nil })
		won := ctx.Race(at, broken.Go(ctx, durango.None{}))
		return fmt.Sprint(won == at), nil
	})
	want(newHarness(t, o).start("o", nil), "true") // there is no activity "broken" to run
}

func show[T any](rs []durango.Result[T]) string {
	s := ""
	for i, r := range rs {
		s += fmt.Sprintf("%d: %v %v; ", i, r.Value, r.Err)
	}
	return s
}

// "durango.Settle joins without failing."
func TestSettle(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		later := durango.Go(ctx, func(ctx *durango.Context) (int, error) { return 9, ctx.Sleep(time.Minute) })
		rs := durango.Settle(ctx, later, broken.Go(ctx, durango.None{}), nil, double.Go(ctx, 2), counted.Next(ctx))
		return show(rs) + fmt.Sprint(len(durango.Settle[int](ctx))), nil
	})
	h := newHarness(t, o, double, broken).start("o", nil).signal("counted", 5)
	waits(h)
	want(h.advance(time.Minute), "0: 9 <nil>; 1: 0 no luck; 2: 0 <nil>; 3: 4 <nil>; 4: 5 <nil>; 0")

	// What was ready before the end of ctx is kept, the rest tells why it is not.
	ends := durango.DefineOrchestration("ends", func(ctx *durango.Context, _ durango.None) (string, error) {
		s, n := counted.Next(ctx), never.Next(ctx)
		part, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		rs := show(durango.Settle(part, s, double.Go(part, 2), n))
		return rs + show(durango.Settle(part, s, n)), nil
	})
	h = newHarness(t, ends, double).start("ends", nil).signal("counted", 5).advance(time.Minute)
	want(h, "0: 5 <nil>; 1: 4 <nil>; 2: 0 timed out after 1m0s; 0: 5 <nil>; 1: 0 timed out after 1m0s; ")
}

// "durango.AsCompleted ranges in completion order."
func TestAsCompleted(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		sleeper := func(d time.Duration, v int) *durango.Future[int] {
			return durango.Go(ctx, func(ctx *durango.Context) (int, error) { return v, ctx.Sleep(d) })
		}
		consumed := counted.Next(ctx)
		if _, err := consumed.Await(ctx); err != nil {
			return "", err
		}
		trace := ""
		for i, r := range durango.AsCompleted(ctx, sleeper(3*time.Minute, 30), broken.Go(ctx, durango.None{}), nil,
			sleeper(time.Minute, 10), counted.Next(ctx), consumed, durango.NewSignal[int]("").Next(ctx)) {
			if errors.Is(r.Err, durango.ErrInvalid) {
				r.Err = durango.ErrInvalid
			}
			trace += fmt.Sprintf("%d: %d %v; ", i, r.Value, r.Err)
			if err := ctx.Sleep(time.Second); err != nil { // what comes meanwhile is not lost
				return "", err
			}
		}
		for range durango.AsCompleted[int](ctx) {
			trace += "of nothing"
		}
		return trace, nil
	})
	h := newHarness(t, o, broken).start("o", nil).signal("counted", 1)
	for range 4 {
		h.advance(time.Second)
	}
	h.signal("counted", 2)
	for range 5 {
		h.advance(time.Minute)
	}
	want(h, "5: 1 <nil>; 6: 0 invalid value; 1: 0 no luck; 4: 2 <nil>; 3: 10 <nil>; 0: 30 <nil>; ")
}

// "Breaking out cancels nothing", and consumes nothing that it did not give.
func TestBreakOutOfAsCompleted(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		a, s := double.Go(ctx, 1), counted.Next(ctx)
		if err := ctx.Sleep(time.Minute); err != nil {
			return "", err
		}
		b := durango.Go(ctx, func(ctx *durango.Context) (int, error) { return 3, ctx.Sleep(time.Minute) })
		first := -1
		for i := range durango.AsCompleted(ctx, b, a, s) { // a and s are ready
			first = i
			break
		}
		other, err := counted.Next(ctx).Await(ctx)
		if err != nil {
			return "", err
		}
		rs := durango.Settle(ctx, a, b, s)
		return fmt.Sprint(first, other, " ") + show(rs), nil
	})
	h := newHarness(t, o, double).start("o", nil).signal("counted", 1).signal("counted", 2)
	h.advance(time.Minute).advance(time.Minute)
	want(h, "1 1 0: 2 <nil>; 1: 3 <nil>; 2: 2 <nil>; ")
}

// When ctx ends, what is left comes with its error, and what was ready with its
// result only if the loop had taken it.
func TestAsCompletedEndsWithItsContext(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		part, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		trace := ""
		fs := []*durango.Future[int]{never.Next(ctx), double.Go(ctx, 1), counted.Next(ctx)}
		for i, r := range durango.AsCompleted(part, fs...) {
			trace += fmt.Sprintf("%d: %d %v; ", i, r.Value, r.Err)
			if i == 0 { // a signal that was offered to the loop is for others now
				n, err := counted.Next(ctx).Await(ctx)
				trace += fmt.Sprintf("other %d %v; ", n, err)
			}
			if r.Err == nil {
				_ = ctx.Sleep(time.Minute)
			}
		}
		for i := range durango.AsCompleted(part, fs...) {
			trace += fmt.Sprint(i)
		}
		return trace, nil
	})
	h := newHarness(t, o, double).start("o", nil).signal("counted", 5).advance(time.Minute)
	want(h, "1: 2 <nil>; 0: 0 timed out after 1m0s; other 5 <nil>; 2: 0 timed out after 1m0s; 012")
}

// What one waiter was given is not decoded again for another, into the same
// memory.
func TestResultIsDecodedOnce(t *testing.T) {
	list := durango.DefineActivity("list", func(_ context.Context, _ durango.None) ([]int, error) { return []int{3, 1, 2}, nil })
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		f := list.Go(ctx, durango.None{})
		sorted := durango.Go(ctx, func(ctx *durango.Context) ([]int, error) {
			v, err := f.Await(ctx)
			slices.Sort(v)
			return v, err
		})
		again := durango.Go(ctx, func(ctx *durango.Context) ([]int, error) { return f.Await(ctx) })
		rs := durango.Settle(ctx, sorted, again)
		return show(rs), nil
	})
	want(newHarness(t, o, list).start("o", nil), "0: [1 2 3] <nil>; 1: [1 2 3] <nil>; ")
}

// "A signal is consumed by what returns it."
func TestTryNext(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		_, before, _ := counted.TryNext(ctx)
		err := ctx.Sleep(time.Minute)
		trace := fmt.Sprint(before, err, ";")
		if err != nil {
			_, ok, err := counted.TryNext(ctx)
			trace += fmt.Sprint(ok, err, ";")
			ctx = ctx.Detach()
		}
		for {
			n, ok, err := counted.TryNext(ctx)
			if !ok {
				_, ok, err := durango.NewSignal[int]("").TryNext(ctx)
				return trace + fmt.Sprint(ok, errors.Is(err, durango.ErrInvalid)), nil
			}
			trace += fmt.Sprint(n, errors.Is(err, durango.ErrDecode), ";")
		}
	})
	begun := func() *harness {
		return newHarness(t, o).start("o", nil).signal("counted", 1).signal("counted", "x").signal("counted", 2)
	}
	want(begun().advance(time.Minute), "false <nil>;1 false;0 true;2 false;false true")
	want(begun().cancel("x"), "false canceled: x;false canceled: x;1 false;0 true;2 false;false true")
}

func TestAllSignals(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		trace := ""
		part, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		for n, err := range counted.All(part) {
			trace += fmt.Sprint(n, errors.Is(err, durango.ErrDecode), ";")
			if n == 2 {
				break
			}
		}
		for n := range counted.All(part) {
			trace += fmt.Sprint(n, ";")
		}
		for n := range counted.All(part) {
			trace += fmt.Sprint("ended", n)
		}
		for _, err := range durango.NewSignal[int]("").All(ctx) {
			trace += fmt.Sprint(errors.Is(err, durango.ErrInvalid), ";")
		}
		n, err := counted.Next(ctx).Await(ctx)
		return trace + fmt.Sprint(n, part.Err()), err
	})
	h := newHarness(t, o).start("o", nil).signal("counted", 1).signal("counted", "x").signal("counted", 2)
	h.signal("counted", 3).advance(time.Minute)
	waits(h)
	want(h.signal("counted", 4), "1 false;0 true;2 false;3;true;4 timed out after 1m0s")
}

// What is canceled in the very moment in which something becomes ready has been
// canceled: the loop gets what is left in the order of the arguments.
func TestAsCompletedIsCanceledWithAResult(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		part, cancel := ctx.WithCancel()
		f := double.Go(ctx, 1)
		first := durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			defer cancel("enough")
			return f.Await(ctx)
		})
		if err := ctx.Sleep(0); err != nil { // so that first waits before the loop does
			return "", err
		}
		trace := ""
		for i, r := range durango.AsCompleted(part, never.Next(ctx), f, first) {
			trace += fmt.Sprintf("%d: %d %v; ", i, r.Value, r.Err)
		}
		return trace, nil
	})
	h := newHarness(t, o, double)
	h.hold = true
	h.start("o", nil).advance(0)
	h.hold = false
	want(h.deliver(), "0: 0 canceled: enough; 1: 2 <nil>; 2: 2 <nil>; ")
}
