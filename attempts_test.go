package durango_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// caller calls one activity and returns what came out, as text.
func caller[In, Out any](a durango.Activity[In, Out]) durango.BoundOrchestration[In, Out] {
	return durango.DefineOrchestration("caller", func(ctx *durango.Context, in In) (Out, error) { return a.Call(ctx, in) })
}

// "A task no worker takes within schedule-to-start fails with ErrNoWorker if a
// limit is set." "schedule-to-close" holds there too.
func TestNobodyTakesIt(t *testing.T) {
	lonely := durango.NewActivity[int, int]("lonely")
	for _, c := range []struct {
		name   string
		opts   durango.CallOptions
		want   error
		within time.Duration
	}{
		{"schedule-to-start", durango.CallOptions{ScheduleToStart: time.Minute}, durango.ErrNoWorker, time.Minute},
		{"schedule-to-close", durango.CallOptions{ScheduleToClose: 2 * time.Minute}, durango.ErrTimeout, 2 * time.Minute},
	} {
		o := caller(lonely.With(c.opts))
		durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
			begun := time.Now()
			_, err := durangotest.Start(e, o, "i", 1).Wait(e.Context())
			assert.ErrorIs(t, err, c.want, c.name)
			took := time.Since(begun)
			assert.True(t, took >= c.within && took < c.within+10*time.Second, "%s took %s", c.name, took)
			e.CheckReplay("i")
		}, o)
	}
}

// Retry: "next delay chosen by the error".
func TestRetryAfter(t *testing.T) {
	var mu sync.Mutex
	var at []time.Time
	busy := durango.DefineActivity("busy", func(ctx context.Context, n int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		at = append(at, time.Now())
		switch durango.Info(ctx).Attempt {
		case 1:
			return 0, durango.RetryAfter(errors.New("come again"), time.Hour)
		case 2:
			return 0, errors.New("and again")
		}
		return n, nil
	})
	o := caller(busy.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 3, Initial: time.Second, Backoff: durango.Fixed}}))
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, o, "i", 7)), 7)
		first, second := at[1].Sub(at[0]), at[2].Sub(at[1])
		assert.True(t, first >= time.Hour && first < time.Hour+time.Minute, "the first pause is %s", first)
		assert.True(t, second >= time.Second && second < time.Minute, "the second pause is %s", second)
	}, o, busy)
	assert.NoError(t, durango.RetryAfter(nil, time.Second))
}

// "heartbeat timeout"; what an attempt said is handed to the next.
func TestHeartbeats(t *testing.T) {
	work := durango.DefineActivity("work", func(ctx context.Context, steps int) (int, error) {
		from, _, err := durango.HeartbeatDetails[int](ctx)
		if err != nil {
			return 0, err
		}
		for i := from; i < steps; i++ {
			if i == from+3 { // hangs
				<-ctx.Done()
				return 0, ctx.Err()
			}
			time.Sleep(20 * time.Second)
			if err := durango.Heartbeat(ctx, i+1); err != nil {
				return 0, err
			}
		}
		return durango.Info(ctx).Attempt, nil
	})
	policy := durango.CallOptions{Heartbeat: 30 * time.Second, Retry: &durango.RetryPolicy{MaxAttempts: 10, Initial: time.Second}}
	o := caller(work.With(policy))
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, o, "i", 10)), 4)
	}, o, work)

	once := caller(work.With(durango.CallOptions{Heartbeat: 30 * time.Second}))
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		_, err := durangotest.Start(e, once, "i", 10).Wait(e.Context())
		assert.ErrorIs(t, err, durango.ErrTimeout)
		var failed *durango.Error
		assert.True(t, errors.As(err, &failed) && failed.Type == "heartbeat", "got %+v", failed)
	}, once, work)

	// Details outlive the node that stored them.
	slow := durango.DefineActivity("slow", func(ctx context.Context, steps int) (int, error) {
		from, _, err := durango.HeartbeatDetails[int](ctx)
		for i := from; i < steps && err == nil; i++ {
			err = durango.Heartbeat(ctx, i+1)
			time.Sleep(5 * time.Second)
		}
		return from, err
	})
	moved := caller(slow.With(policy))
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, moved, "i", 10)
		time.Sleep(27 * time.Second)
		e.Replace() // the node stops, another begins
		from := durangotest.Wait(e, run)
		assert.True(t, from >= 4 && from <= 6, "the next attempt began at %d", from)
	}, moved, slow)
	assert.NoError(t, durango.Heartbeat(t.Context(), 1)) // outside of an activity
	_, ok, err := durango.HeartbeatDetails[int](t.Context())
	assert.True(t, !ok && err == nil, "details outside of an activity: %v, %v", ok, err)
}

var tokens sync.Map

func ask(ctx context.Context, name string) (string, error) {
	token, err := durango.CompleteLater(ctx)
	if err != nil {
		return "", err
	}
	if again, err := durango.CompleteLater(ctx); err != nil || again != token {
		return "", errors.New("another token")
	}
	tokens.Store(name, token)
	if name == "impatient" {
		return "", durango.NonRetryable(errors.New("could not ask"))
	}
	return "not this", nil
}

// "CompleteLater gives a token and makes the task a row; Complete, Fail."
func TestCompleteLater(t *testing.T) {
	asking := durango.DefineActivity("asking", ask)
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, in string) (string, error) {
		return asking.With(durango.CallOptions{
			StartToClose: time.Hour, Retry: &durango.RetryPolicy{MaxAttempts: 2, Initial: time.Second},
		}).Call(ctx, in)
	})
	ask := func(e *durangotest.Env, name string) (*durango.Run[string], string) {
		tokens.Delete(name)
		run := durangotest.Start(e, o, name, name)
		for {
			if token, ok := tokens.Load(name); ok {
				return run, token.(string)
			}
			time.Sleep(time.Second)
		}
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		run, token := ask(e, "held")
		time.Sleep(30 * time.Minute)
		e.Replace() // the node that asked is gone
		err := durango.NewActivity[int, int]("other").Complete(ctx, c, token, 3)
		assert.ErrorIs(t, err, durango.ErrInvalid)
		assert.Contains(t, err.Error(), `"other"`)
		assert.NoError(t, c.Complete(ctx, token, "yes"))
		assert.Equal(t, durangotest.Wait(e, run), "yes")
		assert.ErrorIs(t, c.Complete(ctx, token, "no"), durango.ErrNotRunning)
		assert.ErrorIs(t, c.Fail(ctx, token, errors.New("no")), durango.ErrNotRunning)

		run, token = ask(e, "failed")
		tokens.Delete("failed")
		assert.NoError(t, c.Fail(ctx, token, errors.New("ask again")))
		time.Sleep(time.Minute) // the policy allows a second attempt
		second, ok := tokens.Load("failed")
		assert.True(t, ok && second != token, "no second attempt")
		assert.ErrorIs(t, c.Complete(ctx, token, "old"), durango.ErrNotRunning)
		assert.NoError(t, c.Fail(ctx, second.(string), errors.New("no more")))
		_, err = run.Wait(ctx)
		assert.True(t, err != nil && err.Error() == "no more", "got %v", err)

		run, _ = ask(e, "forgotten")
		_, err = run.Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrTimeout)

		run, _ = ask(e, "impatient")
		_, err = run.Wait(ctx)
		assert.True(t, err != nil && err.Error() == "could not ask", "got %v", err)

		run, token = ask(e, "canceled")
		assert.NoError(t, run.Cancel(ctx, ""))
		_, err = run.Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrCanceled)
		assert.ErrorIs(t, asking.Complete(ctx, c, token, "late"), durango.ErrNotRunning)

		for _, bad := range []string{"", "x", token + "AAAA", "####"} {
			assert.ErrorIs(t, c.Complete(ctx, bad, ""), durango.ErrInvalid, "token %q", bad)
		}
		assert.ErrorIs(t, c.Fail(ctx, token, nil), durango.ErrInvalid)
		_, err = durango.CompleteLater(ctx)
		assert.True(t, err != nil, "a token outside of an activity")
		e.CheckReplay("held", "failed")
	}, o, asking)

	// Without a limit on its time, too, the activity is not lost with a node that
	// dies before the token has been passed on.
	for _, o := range []durango.BoundOrchestration[string, string]{o, caller(asking.Activity)} {
		durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
			tokens.Delete("crash")
			run := durangotest.Start(e, o, "crash", "crash")
			for {
				time.Sleep(time.Second)
				token, ok := tokens.Load("crash")
				if !ok {
					continue
				}
				err := e.Client().Complete(e.Context(), token.(string), "yes")
				if err == nil {
					break
				}
				assert.ErrorIs(t, err, durango.ErrNotRunning) // of an attempt that was lost
			}
			assert.Equal(t, durangotest.Wait(e, run), "yes")
		}, o, asking)
	}
}

// Rates and numbers are bounds per node.
func TestMaxPerSecond(t *testing.T) {
	var mu sync.Mutex
	var at []time.Time
	quick := durango.DefineActivity("quick", func(context.Context, int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		at = append(at, time.Now())
		return 0, nil
	})
	limited := durango.BoundActivity[int, int]{}
	limited = quick
	limited.Activity = quick.With(durango.CallOptions{MaxPerSecond: 2})
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
		var all []*durango.Future[int]
		for i := range n {
			all = append(all, quick.Go(ctx, i))
		}
		_, err := durango.All(ctx, all...)
		return n, err
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		durangotest.Wait(e, durangotest.Start(e, o, "i", 20))
		assert.Equal(t, len(at), 20)
		took := at[19].Sub(at[0])
		assert.True(t, took >= 8*time.Second && took < 20*time.Second, "20 with 2 per second took %s", took)
	}, o, limited)
}
