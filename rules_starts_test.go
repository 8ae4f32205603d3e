package durango_test

import (
	"context"
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

// "Timers are absolute times of the store's clock recorded at emission; never
// early; after downtime they fire at once."
func TestTimersAfterDowntime(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, d time.Duration) (time.Duration, error) {
		begun := ctx.Now()
		err := ctx.Sleep(d)
		return ctx.Now().Sub(begun), err
	})
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		client, stop := brief(t, store, durango.Options{}, o)
		begun := time.Now()
		var runs []*durango.Run[time.Duration]
		for _, d := range []time.Duration{time.Hour, 3 * time.Hour} {
			run, err := o.Start(t.Context(), client, d.String(), d)
			assert.NoError(t, err)
			runs = append(runs, run)
		}
		time.Sleep(10 * time.Minute)
		stop()
		time.Sleep(110 * time.Minute) // nothing runs
		back := time.Now()
		_, stop = brief(t, store, durango.Options{}, o)
		got, err := runs[0].Wait(t.Context())
		assert.NoError(t, err)
		assert.True(t, got >= 2*time.Hour && time.Since(back) < 2*time.Second, "it fired after %s, %s after the node was back", got, time.Since(back))
		got, err = runs[1].Wait(t.Context())
		assert.NoError(t, err)
		assert.True(t, got >= 3*time.Hour && time.Since(begun) < 3*time.Hour+2*time.Second, "three hours took %s", got)
		stop()
	})
}

// "Start is a conditional insert: ErrAlreadyExists with the existing run;
// IfExists: Reuse returns it instead", also when it has ended, and of many at
// once one. "A start may be delayed."
func TestStarts(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (string, error) {
		w, err := word.Next(ctx).Await(ctx)
		return fmt.Sprint(n, w), err
	})
	now := durango.DefineOrchestration("now", func(ctx *durango.Context, _ durango.None) (time.Time, error) {
		return ctx.Now(), nil
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		first := durangotest.Start(e, o, "o", 1)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				run, err := o.Start(ctx, c, "o", 2)
				assert.ErrorIs(t, err, durango.ErrAlreadyExists)
				assert.Equal(t, assert.ErrorAs[*durango.AlreadyExistsError](t, err).ID, "o")
				assert.Equal(t, run.ID(), "o")
			})
		}
		all.Wait()
		reuse := o.With(durango.CallOptions{IfExists: durango.Reuse})
		second, err := reuse.Start(ctx, c, "o", 3)
		assert.NoError(t, err)
		assert.NoError(t, word.Send(ctx, c, "o", " went on"))
		for _, run := range []*durango.Run[string]{first, second} {
			assert.Equal(t, durangotest.Wait(e, run), "1 went on")
		}
		ended, err := reuse.Start(ctx, c, "o", 4)
		assert.NoError(t, err)
		assert.Equal(t, durangotest.Wait(e, ended), "1 went on")

		at := time.Now().Truncate(time.Hour).Add(time.Hour) // the same when a crash has taken time
		late := durangotest.Start(e, now.With(durango.CallOptions{StartAt: at}), "late", durango.None{})
		began := durangotest.Wait(e, late)
		assert.True(t, !began.Before(at) && began.Sub(at) < time.Minute, "it began at %s and not at %s", began, at)
	}, o, now)
}

// "Attempts count at claim (a crash must count); a clean shutdown gives them
// back": what a node was at work on when it was stopped has not failed, even
// where the policy allows one attempt.
func TestCleanShutdownCostsNoAttempt(t *testing.T) {
	for name, opts := range map[string]durango.CallOptions{
		"in memory": {Retry: &durango.RetryPolicy{MaxAttempts: 1}},
		"a row":     {Retry: &durango.RetryPolicy{MaxAttempts: 1}, Heartbeat: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.Open()
				var ends atomic.Bool
				begun := make(chan struct{}, 1)
				work := durango.DefineActivity("work", func(ctx context.Context, _ int) (int, error) {
					if !ends.Load() {
						begun <- struct{}{}
						<-ctx.Done()
						return 0, ctx.Err()
					}
					return durango.Info(ctx).Attempt, nil
				})
				o := caller(work.With(opts))
				client, stop := brief(t, store, durango.Options{}, o, work)
				run, err := o.Start(t.Context(), client, "i", 1)
				assert.NoError(t, err)
				begins := func(attempt int) {
					t.Helper()
					select {
					case <-begun:
					case <-time.After(time.Hour):
						info, err := run.Status(t.Context())
						t.Fatalf("attempt %d does not begin: %+v, %v", attempt, info, err)
					}
				}
				for i := range 3 {
					begins(i + 1)
					stop()
					_, stop = brief(t, store, durango.Options{}, o, work)
				}
				begins(4)
				ends.Store(true)
				stop()
				brief(t, store, durango.Options{}, o, work)
				completes(t, run, 1)
			})
		})
	}
}
