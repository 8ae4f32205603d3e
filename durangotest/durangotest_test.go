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

var (
	charge  = durango.NewActivity[int, string]("charge")
	remind  = durango.NewActivity[string, durango.None]("remind")
	paid    = durango.NewSignal[string]("paid")
	invoice = durango.NewOrchestration[int, string]("invoice")
)

// bill waits a month for its payment and reminds once.
func bill(ctx *durango.Context, cents int) (string, error) {
	receipt, err := charge.Call(ctx, cents)
	if err != nil {
		return "", err
	}
	payment, late := paid.Next(ctx), ctx.After(30*24*time.Hour)
	if ctx.Select(payment, late) == late {
		if _, err := remind.Call(ctx, receipt); err != nil {
			return "", err
		}
	}
	by, err := payment.Await(ctx)
	return receipt + " by " + by, err
}

var billing = []durango.Registrable{
	invoice.Bind(bill),
	charge.Bind(func(_ context.Context, cents int) (string, error) { return "receipt", nil }),
	remind.Bind(func(context.Context, string) (durango.None, error) {
		return durango.None{}, errors.New("no mail in tests")
	}),
}

func TestRunInVirtualTime(t *testing.T) {
	began := time.Now()
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		reminded := time.Time{}
		e.Replace(remind.Bind(func(context.Context, string) (durango.None, error) {
			reminded = time.Now()
			return durango.None{}, nil
		}))
		start := time.Now()
		run := durangotest.Start(e, invoice, "a", 100)
		e.After(31*24*time.Hour, func() {
			if err := paid.Send(e.Context(), e.Client(), "a", "ann"); err != nil {
				t.Error(err)
			}
		})
		assert.Equal(t, durangotest.Wait(e, run), "receipt by ann")
		assert.Equal(t, reminded.Sub(start), 30*24*time.Hour)
		assert.Equal(t, time.Since(start), 31*24*time.Hour)
		e.CheckReplay()
	}, billing...)
	assert.True(t, time.Since(began) < 5*time.Second, "a month took %s", time.Since(began))
}

// Settle lets happen what can happen, and no time pass.
func TestSettle(t *testing.T) {
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		e.Replace(charge.Bind(func(ctx context.Context, cents int) (string, error) {
			e.Effect(ctx, cents)
			return "receipt", nil
		}))
		start := time.Now()
		run := durangotest.Start(e, invoice, "a", 100)
		e.Settle()
		assert.Equal(t, e.Effects(), []string{"charge: 100"})
		info, err := run.Status(e.Context())
		assert.NoError(t, err)
		assert.Equal(t, info.Status, durango.StatusRunning)
		assert.True(t, time.Since(start) < 100*time.Millisecond, time.Since(start))
		e.CheckReplay("a")

		e.After(time.Hour, func() { t.Error("the test had ended") })
	}, billing...)
}

func TestCheckReplayReplaysEveryPrefix(t *testing.T) {
	runs := 0
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
		runs = 0
		e.CheckReplay()
		assert.Equal(t, runs, 5) // as many as there are turns
	}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
		runs++
		for range 4 {
			n, _ = step.Call(ctx, n)
		}
		return n, nil
	}))
}

// Replacing an orchestration is a deployment: what has been recorded must
// replay, and goes on with the new code.
func TestDeployment(t *testing.T) {
	step := durango.DefineActivity("step", func(_ context.Context, n int) (int, error) { return n + 1, nil })
	prog := durango.NewOrchestration[int, string]("prog")
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		old := durangotest.Start(e, prog, "old", 1)
		time.Sleep(time.Minute)
		e.Replace(prog.BindVersion("2.0.0", func(ctx *durango.Context, n int) (string, error) { return "two", nil }))
		young := durangotest.Start(e, prog, "young", 1)
		assert.Equal(t, durangotest.Wait(e, young), "two")
		assert.Equal(t, durangotest.Wait(e, old), "one 2")
		e.CheckReplay()
	}, step, prog.Bind(func(ctx *durango.Context, n int) (string, error) {
		n, err := step.Call(ctx, n)
		if err != nil {
			return "", err
		}
		return fmt.Sprint("one ", n), ctx.Sleep(time.Hour)
	}))
}

// A bug does not end an instance: it goes on when the code has been corrected.
func TestTurnFailureAndFix(t *testing.T) {
	prog := durango.NewOrchestration[int, int]("prog")
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		e.AllowTurnFailures()
		run := durangotest.Start(e, prog, "it", 1)
		time.Sleep(10 * time.Second)
		info, err := run.Status(e.Context())
		assert.NoError(t, err)
		assert.Contains(t, info.TurnFailure, "a bug")
		e.Replace(prog.Bind(func(ctx *durango.Context, n int) (int, error) { return n, nil }))
		assert.Equal(t, durangotest.Wait(e, run), 1)
	}, prog.Bind(func(ctx *durango.Context, n int) (int, error) { panic("a bug") }))
}

// A test that is about a quarantine waits for it, and goes on when the code has
// been corrected.
func TestWaitUntilQuarantined(t *testing.T) {
	prog := durango.NewOrchestration[int, int]("prog")
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		e.AllowTurnFailures()
		run := durangotest.Start(e, prog, "it", 1)
		for range 2 { // it becomes quarantined, and is
			_, err := run.With(durango.WaitOptions{UntilQuarantined: true}).Wait(e.Context())
			assert.ErrorIs(t, err, durango.ErrQuarantined)
		}
		e.Replace(prog.Bind(func(ctx *durango.Context, n int) (int, error) { return n, nil }))
		assert.NoError(t, e.Client().Retry(e.Context(), "it"))
		assert.Equal(t, durangotest.Wait(e, run.With(durango.WaitOptions{UntilQuarantined: true})), 1)
	}, prog.Bind(func(ctx *durango.Context, n int) (int, error) { panic("a bug") }))
}

// However an instance ends, Wait returns; and activities may use a client.
func TestWaitReturnsForEveryEnd(t *testing.T) {
	inner := durango.DefineOrchestration("inner", func(ctx *durango.Context, d time.Duration) (durango.None, error) {
		return durango.None{}, ctx.Sleep(d)
	})
	nested := durango.DefineActivity("nested", func(ctx context.Context, id string) (durango.None, error) {
		run, err := inner.Start(ctx, durango.ClientFrom(ctx), id, time.Hour)
		if err != nil {
			return durango.None{}, err
		}
		return run.Wait(ctx)
	})
	outer := durango.DefineOrchestration("outer", func(ctx *durango.Context, id string) (durango.None, error) {
		return nested.Call(ctx, id)
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		start := time.Now()
		durangotest.Wait(e, durangotest.Start(e, outer.Orchestration, "outer", "inner"))
		assert.Equal(t, time.Since(start), time.Hour)

		canceled := durangotest.Start(e, inner.Orchestration, "canceled", 1000*time.Hour)
		terminated := durangotest.Start(e, inner.Orchestration, "terminated", 1000*time.Hour)
		e.After(time.Hour, func() {
			if err := errors.Join(canceled.Cancel(e.Context(), ""), terminated.Terminate(e.Context(), "")); err != nil {
				t.Error(err)
			}
		})
		e.Wait("canceled", "terminated", "inner")
		_, err := canceled.Wait(e.Context())
		assert.ErrorIs(t, err, durango.ErrCanceled)
		_, err = terminated.Wait(e.Context())
		assert.ErrorIs(t, err, durango.ErrTerminated)
		assert.Equal(t, time.Since(start), 2*time.Hour)
		e.CheckReplay()
	}, inner, nested, outer)
}

// Many at once, and one that never rests.
func TestLoad(t *testing.T) {
	leaf := durango.DefineActivity("leaf", func(_ context.Context, n int) (int, error) { return n, nil })
	child := durango.DefineOrchestration("child", func(ctx *durango.Context, n int) (int, error) { return leaf.Call(ctx, n) })
	fan := durango.DefineOrchestration("fan", func(ctx *durango.Context, n int) (int, error) {
		var parts []*durango.Future[int]
		for i := range n {
			parts = append(parts, child.Go(ctx, i))
		}
		all, err := durango.All(ctx, parts...)
		return len(all), err
	})
	stop := durango.NewSignal[string]("stop")
	hourly := durango.NewOrchestration[int, int]("hourly")
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, fan.Orchestration, "fan", 500)), 500)
		eternal := durangotest.Start(e, hourly, "eternal", 0)
		e.After(50*24*time.Hour+time.Minute, func() {
			if err := stop.Send(e.Context(), e.Client(), "eternal", "now"); err != nil {
				t.Error(err)
			}
		})
		assert.Equal(t, durangotest.Wait(e, eternal), 50*24)
		e.CheckReplay()
	}, leaf, child, fan, hourly.Bind(func(ctx *durango.Context, n int) (int, error) {
		s, tick := stop.Next(ctx), ctx.After(time.Hour)
		if ctx.Select(s, tick) == s {
			return n, nil
		}
		if _, err := leaf.Call(ctx, n); err != nil {
			return 0, err
		}
		return hourly.ContinueAsNew(ctx, n+1)
	}))
}
