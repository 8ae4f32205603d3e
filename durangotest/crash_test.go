package durangotest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// DESIGN 4.3: "Nothing emitted by a turn has any effect before its commit
// returns"; 5: "Activities run at least once; a recorded result is never run
// again." So a program whose activities heed their idempotency key ends the
// same, wherever a node crashes.
func TestCrashEverywhere(t *testing.T) {
	var (
		pay     = durango.NewActivity[int, string]("pay")
		ship    = durango.NewActivity[string, string]("ship")
		flaky   = durango.NewActivity[durango.None, durango.None]("flaky")
		confirm = durango.NewSignal[string]("confirm")
		parcel  = durango.NewOrchestration[string, string]("parcel")
		order   = durango.NewOrchestration[int, string]("order")
	)
	crashes := map[string]bool{}
	sent := 0
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		crashes[t.Name()] = true
		sent = 0
		e.Replace(
			pay.Bind(func(ctx context.Context, cents int) (string, error) {
				e.EffectOnce(ctx, cents)
				return "receipt", nil
			}),
			ship.Bind(func(ctx context.Context, what string) (string, error) {
				time.Sleep(time.Minute) // a crash finds it under way
				e.EffectOnce(ctx, what)
				return "sent " + what, nil
			}),
			flaky.Bind(func(ctx context.Context, _ durango.None) (durango.None, error) {
				if durango.Info(ctx).Attempt < 3 {
					return durango.None{}, errors.New("not yet")
				}
				return durango.None{}, nil
			}),
		)
		e.After(2*time.Hour, func() {
			if err := confirm.With(durango.SendOptions{ID: "1"}).Send(e.Context(), e.Client(), "order-1", "ann"); err != nil {
				t.Error(err)
			}
			sent++
		})
		got := durangotest.Wait(e, durangotest.Start(e, order, "order-1", 990))
		assert.Equal(t, got, "receipt, ann, sent a, sent b")
		e.CheckReplay()
	},
		order.Bind(func(ctx *durango.Context, cents int) (string, error) {
			receipt, err := pay.Call(ctx, cents)
			if err != nil {
				return "", err
			}
			if err := ctx.SetStatus("paid"); err != nil {
				return "", err
			}
			retried := flaky.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 10, Initial: time.Hour}})
			if _, err := retried.Call(ctx, durango.None{}); err != nil {
				return "", err
			}
			by, err := confirm.Next(ctx).Await(ctx)
			if err != nil {
				return "", err
			}
			a, b := parcel.Go(ctx, "a"), parcel.Go(ctx, "b")
			if err := ctx.Join(a, b); err != nil {
				return "", err
			}
			first, _ := a.Await(ctx)
			second, err := b.Await(ctx)
			return fmt.Sprintf("%s, %s, %s, %s", receipt, by, first, second), err
		}),
		parcel.Bind(func(ctx *durango.Context, what string) (string, error) {
			if err := ctx.Sleep(24 * time.Hour); err != nil {
				return "", err
			}
			return ship.Call(ctx, what)
		}),
	)
	// Eight turns at the least, and a crash before and after each.
	assert.True(t, testing.Short() || len(crashes) > 16, "%d runs", len(crashes))
	assert.Equal(t, sent, 1)
}

// DESIGN 6, rule 5: recovery "looks for a completion … by (execution, command)".
// What the last execution's child answers late is not the answer to the activity
// that has the same number in this one.
func TestCrashBehindContinueAsNew(t *testing.T) {
	child := durango.NewOrchestration[durango.None, durango.None]("child")
	loop := durango.NewOrchestration[int, int]("loop")
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, loop, "it", 0)
		durangotest.Wait(e, run)
		if took := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); took > 2*time.Hour {
			t.Errorf("it has ended after %s", took)
		}
	}, step,
		child.Bind(func(ctx *durango.Context, _ durango.None) (durango.None, error) {
			return durango.None{}, ctx.Sleep(240 * time.Hour)
		}),
		loop.Bind(func(ctx *durango.Context, n int) (int, error) {
			if n > 0 {
				return step.Call(ctx, n)
			}
			c := child.Go(ctx, durango.None{})
			if err := ctx.Sleep(time.Hour); err != nil {
				return 0, err
			}
			c.Cancel(ctx)
			return loop.ContinueAsNew(ctx, 1)
		}),
	)
}
