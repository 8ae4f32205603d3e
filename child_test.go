package durango_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

var ids = durango.DefineOrchestration("ids", func(ctx *durango.Context, depth int) (string, error) {
	return ctx.InstanceID() + "<" + ctx.Info().Parent, nil
})

func TestChildren(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		a, err := ids.Call(ctx, 1)
		if err != nil {
			return "", err
		}
		b, c := ids.Go(ctx, 1), ids.With(durango.CallOptions{ID: "mine"}).Go(ctx, 1)
		list, err := durango.All(ctx, b, c)
		return fmt.Sprint(a, list), err
	})
	want(newHarness(t, o, ids).start("o", nil), "test/1.1<test[test/1.2<test mine<test]")

	// "A child ID already taken is an error to the parent's await, not a hang."
	taken := durango.DefineOrchestration("taken", func(ctx *durango.Context, _ durango.None) (string, error) {
		mine := ids.With(durango.CallOptions{ID: "mine"})
		if _, err := mine.Call(ctx, 1); err != nil {
			return "", err
		}
		return mine.Call(ctx, 2)
	})
	wantErr(newHarness(t, taken, ids).start("taken", nil), durango.ErrAlreadyExists)
}

func TestChildOptionsReachTheCommand(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		ids.With(durango.CallOptions{
			ID: "kid", Version: "2.0.0", OnParentClose: durango.TerminateChild, StartAt: ctx.Now().Add(time.Hour),
		}).Go(ctx, 1)
		ids.Go(ctx, 1)
		refused, err := ids.StartFrom(ctx, "free", 1)
		if err != nil {
			return 0, err
		}
		_, reuse := ids.With(durango.CallOptions{IfExists: durango.Reuse}).Call(ctx, 1)
		_, long := ids.With(durango.CallOptions{ID: strings.Repeat("x", 513)}).Call(ctx, 1)
		if refused.Ready() || !errors.Is(reuse, durango.ErrInvalid) || !errors.Is(long, durango.ErrInvalid) {
			return 0, fmt.Errorf("%v, %v", reuse, long)
		}
		return 1, ctx.Sleep(time.Minute)
	})
	h := newHarness(t, o, ids)
	h.hold = true
	h.start("o", nil)
	commands := h.turns[0].Commands
	assert.Equal(t, commands[0], history.Event{
		Kind: history.ChildStarted, Seq: 1, Name: "ids", Version: "2.0.0", Target: "kid", Payload: []byte("1"),
		Close: history.CloseTerminate, Time: h.now + int64(time.Hour),
	})
	assert.Equal(t, commands[1], history.Event{
		Kind: history.ChildStarted, Seq: 2, Name: "ids", Target: "test/1.1", Payload: []byte("1"),
	})
	assert.Equal(t, commands[2], history.Event{
		Kind: history.ChildStarted, Seq: 3, Name: "ids", Target: "free", Payload: []byte("1"),
		Detached: true, Close: history.CloseAbandon,
	})
}

func TestActivityOptionsReachTheCommand(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		base := double.With(durango.CallOptions{Pool: "gpu", StartToClose: time.Second})
		return base.With(durango.CallOptions{
			StartToClose: time.Minute, Heartbeat: time.Second,
			Retry: &durango.RetryPolicy{MaxAttempts: durango.Unlimited, Backoff: durango.Fixed, Initial: 5, Jitter: 0.5,
				NonRetryable: []string{"card-declined"}},
		}).Call(ctx, 1)
	})
	h := newHarness(t, o, double).start("o", nil)
	assert.Equal(t, h.turns[0].Commands[0], history.Event{
		Kind: history.ActivityScheduled, Seq: 1, Name: "double", Pool: "gpu", Payload: []byte("1"),
		Policy: &history.Policy{
			StartToClose: int64(time.Minute), Heartbeat: int64(time.Second), MaxAttempts: 1<<63 - 1,
			Backoff: history.BackoffFixed, Initial: 5, Jitter: 0.5, NonRetryable: []string{"card-declined"},
		},
	})
	want(h, 2)
}

// "Continue-as-new: return Fulfil.ContinueAsNew(ctx, in)"; unconsumed signals
// go on.
func TestContinueAsNew(t *testing.T) {
	handle := durango.NewOrchestration[int, string]("loop")
	loop := handle.Bind(func(ctx *durango.Context, n int) (string, error) {
		v, err := counted.Next(ctx).Await(ctx)
		if err != nil {
			return "", err
		}
		if n < 3 {
			return handle.ContinueAsNew(ctx, n+1)
		}
		return fmt.Sprint(n, " ", v, " ", ctx.Execution()), nil
	})
	h := newHarness(t, loop).start("loop", 1)
	// All arrive in one turn, and the rest is carried, twice.
	var events []history.Event
	for _, n := range []string{"10", "20", "30"} {
		events = append(events, history.Event{Kind: history.SignalReceived, Name: "counted", Payload: []byte(n)})
	}
	want(h.deliver(events...), "3 30 3")

	free := durango.DefineOrchestration("free", func(ctx *durango.Context, n int) (int64, error) {
		if n > 0 {
			return durango.ContinueAsNew[int64](ctx, n-1)
		}
		return ctx.Execution(), nil
	})
	want(newHarness(t, free).start("free", 4), int64(5))
}

// "Returning anything else afterwards is a turn failure."
func TestContinueAsNewMisused(t *testing.T) {
	for name, c := range map[string]struct {
		fn   func(*durango.Context, int) (int, error)
		text string
	}{
		"ignored": {func(ctx *durango.Context, n int) (int, error) {
			_, _ = durango.ContinueAsNew[int](ctx, n)
			return 7, nil
		}, "returned something else"},
		"other error": {func(ctx *durango.Context, n int) (int, error) {
			_, _ = durango.ContinueAsNew[int](ctx, n)
			return 0, errors.New("x")
		}, "returned something else"},
		"input": {func(ctx *durango.Context, n int) (int, error) {
			return durango.ContinueAsNew[int](ctx, "text")
		}, "cannot continue as new as a func(*Context, string) (int, error)"},
		"another": {func(ctx *durango.Context, n int) (int, error) {
			return durango.NewOrchestration[int, int]("other").ContinueAsNew(ctx, n)
		}, `cannot continue as new as "other"`},
	} {
		t.Run(name, func(t *testing.T) {
			wantTurnFailure(newHarness(t, durango.DefineOrchestration("o", c.fn)).start("o", 1), c.text)
		})
	}
	// An input that cannot be encoded is an ordinary error, and one may go on.
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, in map[string]any) (int, error) {
		if _, err := durango.ContinueAsNew[int](ctx, map[string]any{"f": func() {}}); err == nil {
			return 0, errors.New("no error")
		}
		return 1, nil
	})
	want(newHarness(t, o).start("o", nil), 1)
}

// An instance that was asked to cancel does not continue, or the request would
// be lost.
func TestContinueAsNewAfterCancel(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
		_ = ctx.Sleep(time.Hour)
		return durango.ContinueAsNew[int](ctx.Detach(), n)
	})
	h := newHarness(t, o).start("o", 1).cancel("stop")
	wantErr(h, durango.ErrCanceled)
	assert.Equal(t, h.end.Kind, history.Canceled)
}
