package durango_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

// "Policy: start-to-close and schedule-to-close timeouts": the first is of each
// attempt, the second of all; the attempt's context ends, and says when.
func TestTimeoutsOfActivities(t *testing.T) {
	for _, c := range []struct {
		name     string
		opts     durango.CallOptions
		attempts int64
		took     time.Duration
	}{
		{"start-to-close", durango.CallOptions{StartToClose: time.Minute}, 1, time.Minute},
		{"start-to-close", durango.CallOptions{
			StartToClose: time.Minute, Retry: &durango.RetryPolicy{MaxAttempts: 3, Initial: time.Second, Backoff: durango.Fixed},
		}, 3, 3*time.Minute + 2*time.Second},
		{"schedule-to-close", durango.CallOptions{ScheduleToClose: 90 * time.Second}, 1, 90 * time.Second},
		{"schedule-to-close", durango.CallOptions{
			StartToClose: time.Minute, ScheduleToClose: 90 * time.Second,
			Retry: &durango.RetryPolicy{MaxAttempts: durango.Unlimited, Initial: time.Second},
		}, 2, 90 * time.Second},
	} {
		var attempts atomic.Int64
		hang := durango.DefineActivity("hang", func(ctx context.Context, _ int) (int, error) {
			attempts.Add(1)
			deadline, ok := ctx.Deadline()
			if info := durango.Info(ctx); !ok || !deadline.Equal(info.Deadline) || deadline.Before(time.Now()) {
				return 0, durango.NonRetryable(fmt.Errorf("the deadline is %s and %s", deadline, info.Deadline))
			}
			<-ctx.Done()
			return 0, ctx.Err()
		})
		o := caller(hang.With(c.opts))
		durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
			begun := time.Now()
			_, err := durangotest.Start(e, o, "i", 1).Wait(e.Context())
			assert.ErrorIs(t, err, durango.ErrTimeout, c.name)
			assert.False(t, errors.Is(err, durango.ErrCanceled), "a timeout is a cancellation")
			assert.Equal(t, assert.ErrorAs[*durango.Error](t, err).Type, c.name)
			assert.Equal(t, durango.TimeoutKind(err), c.name)
			assert.Equal(t, attempts.Load(), c.attempts)
			took := time.Since(begun)
			assert.True(t, took >= c.took && took < c.took+10*time.Second, "%s took %s", c.name, took)
		}, o, hang)
	}
}

// What an activity returns because its time is over is not its result, however
// soon it does.
func TestTimeoutAgainstItsOwnError(t *testing.T) {
	hang := durango.DefineActivity("hang", func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	const n = 2000
	o := durango.DefineOrchestration("all", func(ctx *durango.Context, _ int) (wrong int, err error) {
		all := make([]*durango.Future[int], n)
		for i := range all {
			all[i] = hang.With(durango.CallOptions{StartToClose: time.Minute}).Go(ctx, i)
		}
		for _, f := range all {
			if _, err := f.Await(ctx); !errors.Is(err, durango.ErrTimeout) {
				wrong++
			}
		}
		return wrong, nil
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, o, "i", 0)), 0)
	}, o, hang)
}

// "Default: an error the activity returns goes to the orchestration at once."
// "Retries are the engine's, visible as attempts, and cost the orchestration
// nothing": no turn.
func TestRetriesCostNoTurn(t *testing.T) {
	var attempts atomic.Int64
	fails := durango.DefineActivity("fails", func(ctx context.Context, times int) (int, error) {
		attempts.Add(1)
		if n := durango.Info(ctx).Attempt; n <= times {
			return 0, fmt.Errorf("attempt %d", n)
		}
		return durango.Info(ctx).Attempt, nil
	})
	plain, retried := caller(fails.Activity), durango.DefineOrchestration("retried", func(ctx *durango.Context, times int) (int, error) {
		return fails.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 5}}).Call(ctx, times)
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		_, err := durangotest.Start(e, plain, "plain", 1).Wait(e.Context())
		assert.ErrorContains(t, err, "attempt 1")
		assert.Equal(t, attempts.Load(), 1)
		for i, times := range []int{0, 4} {
			run := durangotest.Start(e, retried, fmt.Sprint("r", i), times)
			assert.Equal(t, durangotest.Wait(e, run), times+1)
			info, err := run.Status(e.Context())
			assert.NoError(t, err)
			assert.Equal(t, info.Turns, int64(2), "%d failures", times)
		}
		_, err = durangotest.Start(e, retried, "r5", 5).Wait(e.Context())
		assert.ErrorContains(t, err, "attempt 5")
	}, plain, retried, fails)
}

// "Exponential/linear/fixed backoff, jitter, non-retryable error kinds."
func TestPausesBetweenAttempts(t *testing.T) {
	hopeless := durango.NewError[int]("hopeless")
	for _, c := range []struct {
		policy durango.RetryPolicy
		want   []time.Duration
	}{
		{durango.RetryPolicy{Initial: time.Second}, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}},
		{durango.RetryPolicy{Initial: time.Second, Factor: 10, Max: 5 * time.Second},
			[]time.Duration{time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second}},
		{durango.RetryPolicy{Initial: 2 * time.Second, Backoff: durango.Linear},
			[]time.Duration{2 * time.Second, 4 * time.Second, 6 * time.Second, 8 * time.Second}},
		{durango.RetryPolicy{Initial: 3 * time.Second, Backoff: durango.Fixed},
			[]time.Duration{3 * time.Second, 3 * time.Second, 3 * time.Second, 3 * time.Second}},
	} {
		for _, jitter := range []float64{0, 0.5} {
			var mu sync.Mutex
			var at []time.Time
			fails := durango.DefineActivity("fails", func(context.Context, int) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				if at = append(at, time.Now()); len(at) == 6 {
					return 0, hopeless.New(1)
				}
				return 0, errors.New("again")
			})
			policy := c.policy
			policy.MaxAttempts, policy.Jitter, policy.NonRetryable = 100, jitter, []string{"hopeless"}
			o := caller(fails.With(durango.CallOptions{Retry: &policy}))
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				_, err := durangotest.Start(e, o, "i", 1).Wait(e.Context())
				assert.ErrorIs(t, err, hopeless) // and no seventh
				assert.Equal(t, len(at), 6)
				for i, want := range c.want {
					got := at[i+1].Sub(at[i])
					least := time.Duration(float64(want) * (1 - jitter))
					assert.True(t, got >= least && got < want+500*time.Millisecond, "pause %d is %s, want %s (jitter %v)", i, got, want, jitter)
				}
			}, o, fails)
		}
	}
}

// "An attempt that was lost (its worker died) is dispatched again. A lost
// attempt counts against MaxAttempts; with none left the activity fails with
// ErrWorkerLost."
func TestLostAttempts(t *testing.T) {
	for _, c := range []struct {
		retry    *durango.RetryPolicy
		attempts int
	}{
		{nil, 2},
		{&durango.RetryPolicy{MaxAttempts: 2}, 2},
		{&durango.RetryPolicy{MaxAttempts: 1}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := memory.Open()
			dies := &severed{Store: store}
			begun := make(chan struct{}, 1)
			work := durango.DefineActivity("work", func(ctx context.Context, _ int) (int, error) {
				if n := durango.Info(ctx).Attempt; n > 1 {
					return n, nil
				}
				begun <- struct{}{}
				<-ctx.Done()
				return 0, ctx.Err()
			})
			o := caller(work.With(durango.CallOptions{Retry: c.retry}))
			client, stop := brief(t, dies, durango.Options{}, o, work)
			_, err := o.Start(t.Context(), client, "i", 1)
			assert.NoError(t, err)
			<-begun
			dies.cut.Store(true)
			brief(t, store, durango.Options{}, o, work)
			if run := o.Run(durango.NewClient(store), "i"); c.attempts > 0 {
				completes(t, run, c.attempts)
			} else {
				_, err := run.Wait(t.Context())
				assert.ErrorIs(t, err, durango.ErrWorkerLost)
			}
			dies.cut.Store(false) // so that it can leave
			stop()
		})
	}
}

// "Activities run at least once; a recorded result is never run again", and the
// idempotency key is that of the call: the same in every attempt, another for
// every other call, also of an instance that was deleted and created again.
func TestIdempotencyKeys(t *testing.T) {
	var mu sync.Mutex
	attempts, calls := map[string]int{}, map[string]bool{}
	work := durango.DefineActivity("work", func(ctx context.Context, n int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		info := durango.Info(ctx)
		if attempts[info.IdempotencyKey]++; info.Attempt < 3 {
			return 0, errors.New("again")
		}
		calls[info.IdempotencyKey] = true
		return n, nil
	})
	policy := durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 3, Initial: time.Millisecond}}
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, round int) (int, error) {
		all := []*durango.Future[int]{work.With(policy).Go(ctx, 1), work.With(policy).Go(ctx, 1)}
		if _, err := durango.All(ctx, all...); err != nil || round == 1 {
			return round, err
		}
		return durango.ContinueAsNew[int](ctx, round+1)
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		for range 2 {
			assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, o, "i", 0)), 1)
			e.CheckReplay() // nothing runs again
			remove(t, e.Client(), "i")
		}
		assert.Equal(t, len(calls), 8)
		for key, n := range attempts {
			assert.Equal(t, n, 3, key)
		}
	}, o, work)
}

// "Pools route activities to nodes that serve them."
func TestPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		where := durango.NewActivity[int, string]("where")
		here := func(pool, name string) durango.BoundActivity[int, string] {
			return where.With(durango.CallOptions{Pool: pool}).Bind(func(context.Context, int) (string, error) { return name, nil })
		}
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, pool string) (string, error) {
			return where.With(durango.CallOptions{Pool: pool, ScheduleToStart: time.Hour}).Call(ctx, 1)
		})
		client, _ := brief(t, store, durango.Options{}, o, here("", "plain"))
		brief(t, store, durango.Options{}, here("gpu", "gpu"))
		for i := range 5 {
			for pool, want := range map[string]string{"": "plain", "gpu": "gpu"} {
				run, err := o.Start(t.Context(), client, fmt.Sprint(pool, i), pool)
				assert.NoError(t, err)
				completes(t, run, want)
			}
		}
		run, err := o.Start(t.Context(), client, "tpu", "tpu")
		assert.NoError(t, err)
		_, err = run.Wait(t.Context())
		assert.ErrorIs(t, err, durango.ErrNoWorker)
	})
}

// MaxConcurrent bounds the attempts of one activity on one node.
func TestMaxConcurrent(t *testing.T) {
	var running, most atomic.Int64
	work := durango.NewActivity[int, int]("work")
	bound := work.With(durango.CallOptions{MaxConcurrent: 3}).Bind(func(_ context.Context, n int) (int, error) {
		defer running.Add(-1)
		if now := running.Add(1); now > most.Load() {
			most.Store(now)
		}
		time.Sleep(time.Second)
		return n, nil
	})
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
		var all []*durango.Future[int]
		for i := range n {
			all = append(all, work.Go(ctx, i))
		}
		_, err := durango.All(ctx, all...)
		return n, err
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		begun := time.Now()
		durangotest.Wait(e, durangotest.Start(e, o, "i", 12))
		assert.Equal(t, most.Load(), 3)
		assert.True(t, time.Since(begun) >= 4*time.Second && time.Since(begun) < 15*time.Second, "took %s", time.Since(begun))
	}, o, bound)
}
