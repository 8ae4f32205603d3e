package durangotest_test

import (
	"context"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// What a node holds back for longer than it rests is not lost: it takes the time
// that it takes in reality.
func TestWhatANodeHoldsBack(t *testing.T) {
	echo := durango.NewActivity[int, int]("echo")
	run := func(_ context.Context, n int) (int, error) { return n, nil }
	took := func(e *durangotest.Env, begin func()) time.Duration {
		begun := time.Now()
		begin()
		return time.Since(begun)
	}

	rare := echo.With(durango.CallOptions{MaxPerSecond: 0.05}).Bind(run)
	three := durango.DefineOrchestration("three", func(ctx *durango.Context, n int) (int, error) {
		all, err := durango.All(ctx, echo.Go(ctx, 1), echo.Go(ctx, 2), echo.Go(ctx, 3))
		return len(all), err
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		d := took(e, func() { assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, three.Orchestration, "i", 0)), 3) })
		assert.True(t, d >= 38*time.Second && d < 50*time.Second, "three in 20 s each took %s", d)
	}, three, rare)

	bound := echo.Bind(run)
	pinned := durango.DefineOrchestration("pinned", func(ctx *durango.Context, n int) (int, error) {
		return echo.With(durango.CallOptions{Session: ctx.InstanceID()}).Call(ctx, n)
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		e.Configure(func(o *durango.Options) { o.MaxSessions = 1 })
		d := took(e, func() {
			first, second := durangotest.Start(e, pinned.Orchestration, "a", 1), durangotest.Start(e, pinned.Orchestration, "b", 2)
			assert.Equal(t, durangotest.Wait(e, first)+durangotest.Wait(e, second), 3)
		})
		assert.True(t, d >= 4*time.Minute && d < 6*time.Minute, "the second session began after %s", d)
	}, pinned, bound)
}

// What no node serves does not keep a node up.
func TestWhatNobodyServes(t *testing.T) {
	echo := durango.NewActivity[int, int]("echo")
	bound := echo.Bind(func(_ context.Context, n int) (int, error) { return n, nil })
	elsewhere := durango.DefineOrchestration("elsewhere", func(ctx *durango.Context, n int) (int, error) {
		return echo.With(durango.CallOptions{Pool: "gpu", ScheduleToStart: 365 * 24 * time.Hour}).Call(ctx, n)
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		_, err := durangotest.Start(e, elsewhere.Orchestration, "i", 1).Wait(e.Context())
		assert.ErrorIs(t, err, durango.ErrNoWorker)
	}, elsewhere, bound)
}
