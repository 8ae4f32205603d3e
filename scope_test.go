package durango_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

// kinds lists the commands of all turns.
func kinds(h *harness) (all []history.Kind) {
	for _, turn := range h.turns {
		for _, c := range turn.Commands {
			all = append(all, c.Kind)
		}
	}
	return all
}

var never = durango.NewSignal[int]("never")

// "ctx.WithTimeout scopes work": what waits gets an error that is ErrTimeout
// and not ErrCanceled, whatever it waits with, and the rest goes on.
func TestWithTimeout(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		outside := double.Go(ctx, 1)
		part, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		below, done := part.WithCancel()
		defer done()
		inside := below.After(time.Hour)
		helper := durango.Go(part, func(ctx *durango.Context) (int, error) { return never.Next(ctx).Await(ctx) })
		if won := part.Select(inside, helper); won != nil || ctx.Err() != nil {
			return "", errors.New("somebody won")
		}
		_, byOuter := inside.Await(ctx) // waited for by who has not expired
		_, byHelper := helper.Await(ctx)
		_, call := double.Call(below, 1)
		_, signal := never.Next(below).Await(below)
		for i, err := range []error{
			part.Err(), below.Err(), byOuter, byHelper, call, signal, part.Sleep(1), part.Join(inside),
		} {
			var e *durango.Error
			if !errors.Is(err, durango.ErrTimeout) || errors.Is(err, durango.ErrCanceled) ||
				!errors.As(err, &e) || e.Type != "context" || err.Error() != "timed out after 1m0s" {
				return "", fmt.Errorf("error %d: %w", i, err)
			}
		}
		cancel("too late")
		if !errors.Is(part.Err(), durango.ErrTimeout) {
			return "", part.Err()
		}
		n, err := outside.Await(ctx)
		return fmt.Sprint(n), err
	})
	h := newHarness(t, o, double).start("o", nil)
	waits(h.advance(time.Minute - 1))
	want(h.advance(1), "2")
}

// "The timer is withdrawn when the work ends first." What the work left open
// goes with it.
func TestTimeoutIsWithdrawn(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		n, err := func() (int, error) {
			ctx, cancel := ctx.WithTimeout(time.Minute)
			defer cancel()
			ctx.After(time.Hour)
			return double.Call(ctx, 1)
		}()
		if err != nil {
			return 0, err
		}
		return n, ctx.Sleep(time.Hour)
	})
	h := newHarness(t, o, double).start("o", nil)
	assert.Equal(t, kinds(h), []history.Kind{
		history.TimerSet, history.TimerSet, history.ActivityScheduled,
		history.TimerCanceled, history.TimerCanceled, history.TimerSet,
	})
	waits(h.advance(time.Minute))
	want(h.advance(time.Hour), 2)
}

// The timer and what it bounds arrive in one turn: the first has won.
func TestTimeoutAgainstResult(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		ctx, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		return never.Next(ctx).Await(ctx)
	})
	signal := history.Event{Kind: history.SignalReceived, Name: "never", Payload: []byte("7")}
	h := newHarness(t, o).start("o", nil)
	h.now += int64(time.Minute)
	timer := h.m.DueTimers(h.now, nil)[0]
	wantErr(h.deliver(timer, signal), durango.ErrTimeout)
	assert.Equal(t, h.end.Kind, history.Failed)

	h = newHarness(t, o).start("o", nil)
	h.now += int64(time.Minute)
	want(h.deliver(signal, timer), 7)
}

func TestTimeoutThatHasPassed(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, d time.Duration) (int, error) {
		ctx, cancel := ctx.WithTimeout(d)
		defer cancel()
		return double.Call(ctx, 1)
	})
	for _, d := range []time.Duration{0, -time.Hour} {
		h := newHarness(t, o, double).start("o", d)
		wantErr(h, durango.ErrTimeout)
		assert.Equal(t, kinds(h), []history.Kind{history.Failed})
	}
	want(newHarness(t, o, double).start("o", time.Duration(1<<63-1)), 2)
}

// The outer limit ends the inner one, with the outer's error; a request to
// cancel ends both, and it is one.
func TestNestedTimeouts(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, inner time.Duration) (string, error) {
		outer, cancel := ctx.WithTimeout(time.Hour)
		defer cancel()
		part, cancel := outer.WithTimeout(inner)
		defer cancel()
		err := part.Sleep(24 * time.Hour)
		return fmt.Sprintf("%v; %v; %v", err, outer.Err(), ctx.Err()), nil
	})
	const m, h1, h2 = time.Minute, time.Hour, 2 * time.Hour
	want(newHarness(t, o).start("o", m).advance(m), "timed out after 1m0s; <nil>; <nil>")
	want(newHarness(t, o).start("o", h2).advance(h1), "timed out after 1h0m0s; timed out after 1h0m0s; <nil>")
	want(newHarness(t, o).start("o", m).cancel("stop"), "canceled: stop; canceled: stop; canceled: stop")
	want(newHarness(t, o).start("o", m).advance(h2), "timed out after 1m0s; <nil>; <nil>") // both are due
}

// "Compensation may run under ctx.Detach()", also with a limit of its own.
func TestDetachedTimeout(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		err := ctx.Sleep(time.Hour)
		undo, cancel := ctx.Detach().WithTimeout(time.Minute)
		defer cancel()
		n, _ := double.Call(undo, 4)
		return fmt.Sprint(err, n, undo.Sleep(time.Hour)), nil
	})
	want(newHarness(t, o, double).start("o", nil).cancel("x").advance(time.Minute), "canceled: x 8 timed out after 1m0s")
}

// "Work scheduled and canceled in one turn never starts."
func TestWithCancel(t *testing.T) {
	ran := 0
	count := durango.DefineActivity("count", func(_ context.Context, n int) (int, error) { ran++; return n, nil })
	child := durango.DefineOrchestration("child", func(*durango.Context, durango.None) (int, error) { ran++; return 0, nil })
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		part, cancel := ctx.WithCancel()
		began := false
		a, b, k := count.Go(part, 1), count.Go(ctx, 2), child.Go(part, durango.None{})
		c := durango.Go(part, func(*durango.Context) (int, error) { began = true; return 0, nil })
		cancel("first", "turn")
		cancel("again")
		_, errA := a.Await(ctx)
		_, errC := c.Await(ctx)
		_, errK := k.Await(ctx)
		n, err := b.Await(ctx)
		return fmt.Sprintf("%v|%v|%v|%d %t %v", errA, errC, errK, n, began, ctx.Err()), err
	})
	h := newHarness(t, o, count, child).start("o", nil)
	const c = "canceled: first: turn"
	want(h, c+"|"+c+"|"+c+"|2 false <nil>")
	assert.Equal(t, ran, 1)
	assert.Equal(t, len(h.started), 0)
}

// A completion that comes for what was canceled changes nothing and blocks
// nothing behind it.
func TestLateCompletion(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		a := double.Go(ctx, 1)
		if _, err := counted.Next(ctx).Await(ctx); err != nil {
			return "", err
		}
		a.Cancel(ctx)
		a.Cancel(ctx)
		_, err := a.Await(ctx)
		n, _ := counted.Next(ctx).Await(ctx)
		return fmt.Sprint(err, " ", n, a.Ready()), nil
	})
	h := newHarness(t, o, double)
	h.hold = true
	h.start("o", nil).signal("counted", 1)
	h.hold = false
	h.deliver(append(h.answers, history.Event{Kind: history.SignalReceived, Name: "counted", Payload: []byte("2")})...)
	want(h, "canceled 2 true")
}

func TestFutureCancel(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		var none *durango.Future[int]
		none.Cancel(ctx)
		done, timer, signal := double.Go(ctx, 1), ctx.After(time.Hour), counted.Next(ctx)
		if err := ctx.Join(done); err != nil {
			return "", err
		}
		ready := double.Go(ctx, 2)
		if err := ctx.Sleep(time.Minute); err != nil {
			return "", err
		}
		tidy := durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			err := ctx.Sleep(time.Hour)
			n, _ := double.Call(ctx.Detach(), 3)
			return n, err
		})
		if err := ctx.Sleep(time.Minute); err != nil {
			return "", err
		}
		for _, f := range []durango.Awaitable{done, ready, timer, signal, tidy} {
			f.Cancel(ctx)
		}
		if tidy.Ready() || signal.Ready() || !timer.Ready() {
			return "", errors.New("wrong ones are ready")
		}
		d, _ := done.Await(ctx)
		r, _ := ready.Await(ctx)
		_, errTimer := timer.Await(ctx)
		n, errTidy := tidy.Await(ctx) // a coroutine winds up before its future is ready
		s, err := signal.Await(ctx)
		return fmt.Sprint(d, r, " ", errTimer, " ", n, errTidy, " ", s), err
	})
	h := newHarness(t, o, double).start("o", nil).advance(time.Minute).advance(time.Minute).signal("counted", 5)
	want(h, "2 4 canceled 6 canceled 5")
}

// Coroutines begun by one that has ended are canceled with the instance, and so
// is what they do with its context.
func TestCancelReachesOrphans(t *testing.T) {
	var seen []string
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		seen = nil
		var orphans []*durango.Future[int]
		middle := durango.Go(ctx, func(middle *durango.Context) (int, error) {
			for _, with := range []string{"own", "outer", "limit"} {
				orphans = append(orphans, durango.Go(middle, func(ctx *durango.Context) (int, error) {
					if with == "outer" {
						ctx = middle
					} else if with == "limit" {
						ctx, _ = ctx.WithTimeout(time.Hour)
					}
					if err := ctx.Sleep(time.Minute); err != nil {
						return 0, err
					}
					_, err := double.Call(ctx, 1)
					seen = append(seen, fmt.Sprint(with, " ", err))
					err = ctx.Sleep(24 * time.Hour)
					seen = append(seen, fmt.Sprint(with, " ", err))
					return 0, err
				}))
			}
			return 0, nil
		})
		if _, err := middle.Await(ctx); err != nil {
			return 0, err
		}
		durango.Settle(ctx.Detach(), orphans...)
		return 0, ctx.Err()
	})
	h := newHarness(t, o, double).start("o", nil).advance(time.Minute)
	waits(h)
	wantErr(h.cancel("stop"), durango.ErrCanceled)
	assert.Equal(t, seen, []string{
		"own <nil>", "outer <nil>", "limit <nil>", "own canceled: stop", "outer canceled: stop", "limit canceled: stop",
	})
}

// Coroutines that wait for each other, or for themselves, wait until something
// else ends it.
func TestCoroutinesThatWaitForEachOther(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		var a, b, self *durango.Future[int]
		part, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		a = durango.Go(part, func(ctx *durango.Context) (int, error) { return b.Await(ctx) })
		b = durango.Go(part, func(ctx *durango.Context) (int, error) { return a.Await(ctx) })
		self = durango.Go(ctx, func(ctx *durango.Context) (int, error) { return self.Await(ctx) })
		rs := durango.Settle(ctx, a, b)
		self.Cancel(ctx)
		_, err := self.Await(ctx)
		return fmt.Sprint(rs[0].Err, "; ", rs[1].Err, "; ", err), nil
	})
	h := newHarness(t, o).start("o", nil)
	waits(h)
	want(h.advance(time.Minute), "timed out after 1m0s; timed out after 1m0s; canceled")
}
