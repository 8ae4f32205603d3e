package durango_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// Durations and dates that are meant as "never" are not in the past, although
// no time of a store can hold them; and the distant past is over.
func TestPracticallyInfinite(t *testing.T) {
	const ever = time.Duration(math.MaxInt64)
	attempts := 0
	works := durango.DefineActivity("works", func(context.Context, durango.None) (string, error) { return "worked", nil })
	callback := durango.DefineActivity("callback", func(ctx context.Context, _ durango.None) (string, error) {
		_, err := durango.CompleteLater(ctx)
		return "", err
	})
	fails := durango.DefineActivity("fails", func(_ context.Context, pause time.Duration) (string, error) {
		attempts++
		if pause > 0 {
			return "", durango.RetryAfter(errors.New("busy"), pause)
		}
		return "", errors.New("busy")
	})
	kid := durango.DefineOrchestration("kid", func(*durango.Context, durango.None) (string, error) { return "worked", nil })

	within := func(ctx *durango.Context, f *durango.Future[string]) (string, error) {
		if ctx.Race(f, ctx.After(1000*time.Hour)) != f {
			return "waits", nil
		}
		return f.Await(ctx)
	}
	year := func(y int) durango.CallOptions {
		return durango.CallOptions{StartAt: time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	none := durango.None{}
	for name, c := range map[string]struct {
		run  func(*durango.Context) *durango.Future[string]
		want string
	}{
		"schedule-to-start": {func(ctx *durango.Context) *durango.Future[string] {
			return works.With(durango.CallOptions{ScheduleToStart: ever}).Go(ctx, none)
		}, "worked"},
		"all limits of a session": {func(ctx *durango.Context) *durango.Future[string] {
			return works.With(durango.CallOptions{
				Session: "s", StartToClose: ever, ScheduleToClose: ever, ScheduleToStart: ever, Heartbeat: ever,
			}).Go(ctx, none)
		}, "worked"},
		"completed later": {func(ctx *durango.Context) *durango.Future[string] {
			return callback.With(durango.CallOptions{StartToClose: ever}).Go(ctx, none)
		}, "waits"},
		"completed later, heard of": {func(ctx *durango.Context) *durango.Future[string] {
			return callback.With(durango.CallOptions{Heartbeat: ever}).Go(ctx, none)
		}, "waits"},
		"retried after": {func(ctx *durango.Context) *durango.Future[string] {
			return fails.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 5}}).Go(ctx, ever)
		}, "waits"},
		"retried after, within": {func(ctx *durango.Context) *durango.Future[string] {
			return fails.With(durango.CallOptions{ScheduleToClose: ever, Retry: &durango.RetryPolicy{MaxAttempts: 5}}).Go(ctx, ever)
		}, "waits"},
		"paused": {func(ctx *durango.Context) *durango.Future[string] {
			return fails.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 5, Initial: ever, Max: ever}}).Go(ctx, 0)
		}, "waits"},
		"child in 3000": {func(ctx *durango.Context) *durango.Future[string] { return kid.With(year(3000)).Go(ctx, none) }, "waits"},
		"child in 9999": {func(ctx *durango.Context) *durango.Future[string] { return kid.With(year(9999)).Go(ctx, none) }, "waits"},
		"child of 1600": {func(ctx *durango.Context) *durango.Future[string] { return kid.With(year(1600)).Go(ctx, none) }, "worked"},
		"child of 1960": {func(ctx *durango.Context) *durango.Future[string] { return kid.With(year(1960)).Go(ctx, none) }, "worked"},
		"child of year one": {func(ctx *durango.Context) *durango.Future[string] {
			return kid.With(durango.CallOptions{StartAt: time.Time{}.Add(1)}).Go(ctx, none)
		}, "worked"},
	} {
		t.Run(name, func(t *testing.T) {
			attempts = 0
			o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) { return within(ctx, c.run(ctx)) })
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, o.Orchestration, "o", none)), c.want)
				assert.True(t, attempts <= 1, "%d attempts", attempts)
			}, o, kid, works, callback, fails)
		})
	}
	t.Run("client", func(t *testing.T) {
		patient := durango.DefineOrchestration("patient", func(ctx *durango.Context, _ durango.None) (int, error) {
			return 1, ctx.Sleep(1000 * time.Hour)
		})
		durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
			assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, kid.With(year(1600)), "1600", none)), "worked")
			future := durangotest.Start(e, kid.With(year(3000)), "3000", none)
			durangotest.Wait(e, durangotest.Start(e, patient.Orchestration, "patient", none))
			info, err := future.Status(e.Context())
			assert.NoError(t, err)
			assert.Equal(t, info.Status, durango.StatusPending)
			assert.True(t, info.WaitingSince.IsZero(), "nobody waits for a node")
		}, kid, patient)
	})
}
