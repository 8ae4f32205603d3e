package durango_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

var (
	approved = durango.NewSignal[string]("approved")
	counted  = durango.NewSignal[int]("counted")
)

// "ctx.Select returns the argument that won, the earliest argument on a tie,
// and nil when ctx is canceled or every argument is nil."
func TestSelect(t *testing.T) {
	wait := durango.DefineOrchestration("wait", func(ctx *durango.Context, _ durango.None) (string, error) {
		yes, expired := approved.Next(ctx), ctx.After(time.Hour)
		switch ctx.Select(yes, expired) {
		case yes:
			by, err := yes.Await(ctx)
			return "approved by " + by, err
		case expired:
			return "expired", nil
		}
		return "canceled", nil
	})
	want(newHarness(t, wait).start("wait", nil).signal("approved", "ann"), "approved by ann")
	want(newHarness(t, wait).start("wait", nil).signal("other", 1).advance(time.Hour), "expired")
	want(newHarness(t, wait).start("wait", nil).cancel(""), "canceled")

	// What was delivered first has won, also within one turn.
	both := newHarness(t, wait).start("wait", nil)
	both.now += int64(time.Hour)
	timer := both.m.DueTimers(both.now, nil)
	signal := history.Event{Kind: history.SignalReceived, Name: "approved", Payload: []byte(`"ann"`)}
	want(both.deliver(timer[0], signal), "expired")

	tie := durango.DefineOrchestration("tie", func(ctx *durango.Context, _ durango.None) (string, error) {
		a, b := double.Go(ctx, 1), double.Go(ctx, 2)
		if err := ctx.Join(a, b); err != nil {
			return "", err
		}
		var none *durango.Future[string]
		name := map[durango.Awaitable]string{a: "a", b: "b"}
		first, second := ctx.Select(none, b, a), ctx.Select(a, b)
		return fmt.Sprint(name[first], name[second], ctx.Select() == nil, ctx.Select(none, nil) == nil), nil
	})
	want(newHarness(t, tie, double).start("tie", nil), "batrue true")
}

// "A nil future is never selected, like a nil channel; set a consumed one to
// nil."
func TestSelectLoopWithNil(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		a, b := double.Go(ctx, 1), ctx.After(time.Minute)
		order := ""
		for a != nil || b != nil {
			switch ctx.Select(a, b) {
			case a:
				order, a = order+"a", nil
			case b:
				order, b = order+"b", nil
			}
		}
		return order, nil
	})
	want(newHarness(t, o, double).start("o", nil).advance(time.Minute), "ab")
}

func TestSelectWithManyArguments(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
		fs := make([]durango.Awaitable, n)
		for i := range fs {
			fs[i] = ctx.After(time.Duration(n-i) * time.Minute)
		}
		won := ctx.Select(fs...)
		for i, f := range fs {
			if f == won {
				return i, nil
			}
		}
		return -1, nil
	})
	want(newHarness(t, o).start("o", 40).advance(time.Minute), 39)
}

// A future that failed at the call is ready, and wins like any other.
func TestSelectReturnsFailedFuture(t *testing.T) {
	bad := durango.NewSignal[int]("")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (bool, error) {
		timer, f := ctx.After(time.Hour), bad.Next(ctx)
		_, err := f.Await(ctx)
		if none := (*durango.Future[int])(nil); ctx.Select(timer, f) != f || !f.Ready() || timer.Ready() || none.Ready() {
			return false, errors.New("the failed future did not win")
		}
		return true, err
	})
	wantErr(newHarness(t, o).start("o", nil), durango.ErrInvalid)
}

// "A signal is consumed by the Await or Select that returns it. A losing or
// abandoned Next consumes nothing."
func TestSignalConsumption(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		first, second := counted.Next(ctx), counted.Next(ctx)
		timer := ctx.After(time.Minute)
		if ctx.Select(first, timer) != timer {
			return "", errors.New("the timer did not win")
		}
		// first has lost; second is awaited first and takes the first signal.
		b, _ := second.Await(ctx)
		b2, _ := second.Await(ctx)
		a, _ := first.Await(ctx)
		c, err := counted.Next(ctx).Await(ctx)
		return fmt.Sprint(b, b2, a, c), err
	})
	h := newHarness(t, o).start("o", nil).advance(time.Minute)
	want(h.signal("counted", 1).signal("counted", 2).signal("counted", 3), "1 1 2 3")

	// Sent before anyone waits, they are kept, in order.
	early := durango.DefineOrchestration("early", func(ctx *durango.Context, _ durango.None) (string, error) {
		if err := ctx.Sleep(time.Minute); err != nil {
			return "", err
		}
		f := counted.Next(ctx)
		ready := f.Ready()
		a, _ := f.Await(ctx)
		again, _ := f.Await(ctx)
		if ctx.Select(f) != f || again != a {
			return "", errors.New("a future changed its mind")
		}
		b, err := counted.Next(ctx).Await(ctx)
		return fmt.Sprint(ready, a, b), err
	})
	h = newHarness(t, early).start("early", nil).signal("counted", 1).signal("counted", 2)
	want(h.advance(time.Minute), "true 1 2")
}

// A signal that arrives in the turn of a cancellation, or with a signal that
// was consumed, is not lost.
func TestCanceledWaitConsumesNothing(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		f := counted.Next(ctx)
		_, err := f.Await(ctx)
		if !errors.Is(err, durango.ErrCanceled) {
			return "", fmt.Errorf("awaited: %v", err)
		}
		n, err := f.Await(ctx.Detach())
		return fmt.Sprint(n), err
	})
	h := newHarness(t, o).start("o", nil)
	h.deliver(
		history.Event{Kind: history.CancelRequested},
		history.Event{Kind: history.SignalReceived, Name: "counted", Payload: []byte("7")},
	)
	want(h, "7")
}

func TestTwoCoroutinesTakeSignalsInTurn(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		take := func(ctx *durango.Context) (int, error) { return counted.Next(ctx).Await(ctx) }
		all, err := durango.All(ctx, durango.Go(ctx, take), durango.Go(ctx, take))
		return fmt.Sprint(all), err
	})
	want(newHarness(t, o).start("o", nil).signal("counted", 1).signal("counted", 2), "[1 2]")

	shared := durango.DefineOrchestration("shared", func(ctx *durango.Context, _ durango.None) (int, error) {
		f := counted.Next(ctx)
		take := func(ctx *durango.Context) (int, error) { return f.Await(ctx) }
		return sumOf(durango.All(ctx, durango.Go(ctx, take), durango.Go(ctx, take)))
	})
	wantTurnFailure(newHarness(t, shared).start("shared", nil), `future of signal "counted" is awaited twice at once`)
}

// Futures of signals may be gathered like any other.
func TestAllOfSignals(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		a, b := counted.Next(ctx), counted.Next(ctx)
		all, err := durango.All(ctx, a, b)
		c, _ := b.Await(ctx)
		return fmt.Sprint(all, c), err
	})
	want(newHarness(t, o).start("o", nil).signal("counted", 1).signal("counted", 2), "[1 2] 2")

	// One that All gave up can be awaited again.
	fails := durango.DefineOrchestration("fails", func(ctx *durango.Context, _ durango.None) (int, error) {
		a := counted.Next(ctx)
		if _, err := durango.All(ctx, a, broken.Go(ctx, durango.None{})); err == nil || a.Ready() {
			return 0, fmt.Errorf("all: %v", err)
		}
		return a.Await(ctx)
	})
	want(newHarness(t, fails, broken).start("fails", nil).signal("counted", 1), 1)
}

// What is canceled in the very moment in which it wakes up has been canceled.
func TestCancelBeatsResult(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		f := double.Go(ctx, 1)
		var b *durango.Future[int]
		a := durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			if _, err := f.Await(ctx); err != nil {
				return 0, err
			}
			bad := durango.Go(ctx, func(*durango.Context) (int, error) { return 0, errors.New("bad") })
			_, err := durango.All(ctx, durango.NewSignal[int]("").Next(ctx), bad, b)
			return 0, err
		})
		b = durango.Go(ctx, func(ctx *durango.Context) (int, error) { return f.Await(ctx) })
		_, errA := a.Await(ctx)
		_, errB := b.Await(ctx)
		return fmt.Sprint(errors.Is(errA, durango.ErrInvalid), errors.Is(errB, durango.ErrCanceled)), nil
	})
	want(newHarness(t, o, double).start("o", nil), "true true")
}

// "A message from outside that cannot be decoded … its Await gets a typed
// error."
func TestSignalThatDoesNotDecode(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		f := counted.Next(ctx)
		if ctx.Select(f) != f {
			return 0, errors.New("not selected")
		}
		_, err := f.Await(ctx)
		var d *durango.DecodeError
		if !errors.As(err, &d) || !errors.Is(err, durango.ErrDecode) || d.What != `signal "counted"` {
			return 0, fmt.Errorf("error is %w", err)
		}
		return counted.Next(ctx).Await(ctx)
	})
	want(newHarness(t, o).start("o", nil).signal("counted", "no number").signal("counted", 2), 2)
}

func TestSendFrom(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, to string) (string, error) {
		refused, err := approved.SendFrom(ctx, to, "ann")
		if err != nil {
			return "", err
		}
		answer := counted.Next(ctx)
		if ctx.Select(refused, answer) == answer {
			return "answered", nil
		}
		_, err = refused.Await(ctx)
		return "", err
	})
	h := newHarness(t, o).start("o", "them")
	assert.Equal(t, h.sent, []history.Event{{
		Kind: history.SignalSent, Seq: 1, Name: "approved", Target: "them", Payload: []byte(`"ann"`),
	}})
	want(h.signal("counted", 1), "answered")

	h = newHarness(t, o).start("o", "them")
	wantErr(h.deliver(history.Event{Kind: history.SignalRefused, Ref: 1, Failure: &history.Failure{
		Code: durango.CodeNotFound, Message: "no such instance",
	}}), durango.ErrNotFound)
	wantErr(newHarness(t, o).start("o", ""), durango.ErrInvalid)

	withID := durango.DefineOrchestration("with-id", func(ctx *durango.Context, _ durango.None) (int, error) {
		_, err := approved.With(durango.SendOptions{ID: "x"}).SendFrom(ctx, "them", "ann")
		return 0, err
	})
	wantErr(newHarness(t, withID).start("with-id", nil), durango.ErrInvalid)
}
