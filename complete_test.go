package durango_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

// "A clean shutdown gives them back": also an attempt whose function has called
// CompleteLater and still runs. It is canceled, and costs nothing.
func TestAShutdownGivesBackWhatIsCompletedLater(t *testing.T) {
	for name, limit := range map[string]time.Duration{"local": 0, "held": time.Hour} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var attempts []int
			token := ""
			work := durango.DefineActivity("work", func(ctx context.Context, _ int) (string, error) {
				got, err := durango.CompleteLater(ctx)
				mu.Lock()
				attempts, token = append(attempts, durango.Info(ctx).Attempt), got
				n := len(attempts)
				mu.Unlock()
				if err == nil && n <= 4 {
					<-ctx.Done()
					err = ctx.Err()
				}
				return "", err
			})
			o := caller(work.With(durango.CallOptions{Heartbeat: limit, Retry: &durango.RetryPolicy{MaxAttempts: 2}}))
			synctest.Test(t, func(t *testing.T) {
				store := memory.Open()
				client := durango.NewClient(store)
				run, err := o.Start(t.Context(), client, "i", 1)
				assert.NoError(t, err)
				for range 5 {
					_, stop := brief(t, store, durango.Options{DrainTimeout: 2 * time.Second, Lease: 2 * time.Second}, o, work)
					time.Sleep(30 * time.Second)
					before := time.Now()
					stop()
					assert.True(t, time.Since(before) < time.Second, "the shutdown took %s", time.Since(before))
				}
				assert.Equal(t, attempts, []int{1, 1, 1, 1, 1})
				assert.NoError(t, client.Complete(t.Context(), token, "done")) // of the last, which has returned
				brief(t, store, durango.Options{}, o, work)
				completes(t, run, "done")
			})
		})
	}
}

// A node of durangotest does not rest while a function runs that has called
// CompleteLater.
func TestCompleteLaterAndGoOn(t *testing.T) {
	tokens := make(chan string, 10) // of each attempt
	work := durango.DefineActivity("work", func(ctx context.Context, _ int) (string, error) {
		token, err := durango.CompleteLater(ctx)
		if err != nil {
			return "", err
		}
		tokens <- token
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(200 * time.Second):
			return "", nil
		}
	})
	o := caller(work.Activity)
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o.Orchestration, "i", 1)
		time.Sleep(10 * time.Minute)
		assert.Equal(t, len(tokens), 1)
		assert.NoError(t, e.Client().Complete(e.Context(), <-tokens, "done"))
		assert.Equal(t, durangotest.Wait(e, run), "done")
	}, o, work)
}

// "Heartbeat: a sign of life to the next", also of an activity whose function has
// passed its token on and returned.
func TestHeartbeatsOfWhatIsCompletedLater(t *testing.T) {
	type attempt struct {
		token string
		found int
	}
	attempts := make(chan attempt, 10)
	asking := durango.DefineActivity("asking", func(ctx context.Context, _ int) (string, error) {
		found, _, err := durango.HeartbeatDetails[int](ctx)
		if err != nil {
			return "", err
		}
		token, err := durango.CompleteLater(ctx)
		attempts <- attempt{token, found}
		return "", err
	})
	once := caller(asking.With(durango.CallOptions{Heartbeat: time.Minute, StartToClose: 10 * time.Minute}))
	twice := durango.DefineOrchestration("twice", func(ctx *durango.Context, in int) (string, error) {
		return asking.With(durango.CallOptions{
			Heartbeat: time.Minute, Retry: &durango.RetryPolicy{MaxAttempts: 2, Initial: time.Second},
		}).Call(ctx, in)
	})
	fails := func(t *testing.T, e *durangotest.Env, run *durango.Run[string], token, which string, after time.Duration) {
		t.Helper()
		begun := time.Now()
		_, err := run.Wait(e.Context())
		assert.ErrorIs(t, err, durango.ErrTimeout)
		assert.Equal(t, assert.ErrorAs[*durango.Error](t, err).Type, which)
		took := time.Since(begun)
		assert.True(t, took >= after-5*time.Second && took < after+5*time.Second, "took %s", took)
		assert.ErrorIs(t, e.Client().Heartbeat(e.Context(), token, 1), durango.ErrNotRunning)
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		begin := func(o durango.BoundOrchestration[int, string], id string) (*durango.Run[string], string) {
			run := durangotest.Start(e, o.Orchestration, id, 1)
			time.Sleep(5 * time.Second)
			return run, (<-attempts).token
		}
		run, token := begin(once, "silent")
		fails(t, e, run, token, "heartbeat", 55*time.Second)

		run, token = begin(once, "heard of")
		for range 13 {
			assert.NoError(t, c.Heartbeat(ctx, token, durango.None{}))
			time.Sleep(40 * time.Second)
		}
		assert.NoError(t, c.Heartbeat(ctx, token, nil))
		assert.NoError(t, c.Complete(ctx, token, "done"))
		assert.Equal(t, durangotest.Wait(e, run), "done")
		assert.ErrorIs(t, c.Heartbeat(ctx, token, nil), durango.ErrNotRunning)

		run, token = begin(once, "heard of for too long")
		e.After(570*time.Second, func() { assert.NoError(t, c.Heartbeat(ctx, token, nil)) })
		for range 14 {
			assert.NoError(t, c.Heartbeat(ctx, token, nil))
			time.Sleep(40 * time.Second)
		}
		fails(t, e, run, token, "start-to-close", 35*time.Second)

		run, token = begin(twice, "details")
		assert.NoError(t, c.Heartbeat(ctx, token, 7))
		fails(t, e, run, token, "heartbeat", 2*time.Minute)
		second := <-attempts
		assert.Equal(t, second.found, 7)
		assert.ErrorIs(t, c.Heartbeat(ctx, second.token, 1), durango.ErrNotRunning)

		run, token = begin(once, "canceled")
		assert.NoError(t, run.Cancel(ctx, ""))
		_, err := run.Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrCanceled)
		assert.ErrorIs(t, c.Heartbeat(ctx, token, 1), durango.ErrNotRunning)
		assert.ErrorIs(t, c.Heartbeat(ctx, "x", 1), durango.ErrInvalid)
		assert.ErrorIs(t, c.Heartbeat(ctx, token, make([]byte, 1<<20)), durango.ErrTooLarge)
	}, once, twice, asking)
}

// A function that goes on after CompleteLater has to be heard of itself, and is
// canceled at its deadline.
func TestHeartbeatsAfterCompleteLater(t *testing.T) {
	var mu sync.Mutex
	ended := map[string]time.Duration{}
	work := durango.DefineActivity("work", func(ctx context.Context, name string) (string, error) {
		begun := time.Now()
		if _, err := durango.CompleteLater(ctx); err != nil {
			return "", err
		}
		for name == "alive" && ctx.Err() == nil {
			if err := durango.Heartbeat(ctx, 1); err != nil {
				return "", err
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Second):
			}
		}
		<-ctx.Done()
		mu.Lock()
		ended[name] = time.Since(begun).Round(time.Second)
		mu.Unlock()
		return "", errors.New("not this")
	})
	o := caller(work.With(durango.CallOptions{Heartbeat: time.Minute, StartToClose: 5 * time.Minute}))
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		for name, which := range map[string]string{"silent": "heartbeat", "alive": "start-to-close"} {
			_, err := durangotest.Start(e, o.Orchestration, name, name).Wait(e.Context())
			assert.ErrorIs(t, err, durango.ErrTimeout, name)
			assert.Equal(t, assert.ErrorAs[*durango.Error](t, err).Type, which, name)
		}
		time.Sleep(time.Second) // who answers first may be the store's clock, or the node's
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, ended, map[string]time.Duration{"silent": time.Minute, "alive": 5 * time.Minute})
	}, o, work)
}
