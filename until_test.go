package durango_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// "Until waits until condition is true": what one coroutine does lets others go
// on, whoever came first, in one turn.
func TestUntil(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, last int) (string, error) {
		trace, at := "", last
		var fs []*durango.Future[int]
		for i := range 4 { // each is let go by the next
			fs = append(fs, durango.Go(ctx, func(ctx *durango.Context) (int, error) {
				err := ctx.Until(func() bool { return at <= i })
				trace += fmt.Sprint(i)
				at = i - 1
				return i, err
			}))
		}
		fs = append(fs, durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			if err := ctx.Sleep(time.Minute); err != nil {
				return 0, err
			}
			at = 3
			return 0, nil
		}))
		_, err := durango.All(ctx, fs...)
		return trace + fmt.Sprint("@", ctx.Now().Minute()), err
	})
	want(newHarness(t, o).start("o", 9).advance(time.Minute), "3210@1")
	h := newHarness(t, o).start("o", 0)
	waits(h)
	want(h.advance(time.Minute), "0123@1")
}

// What is asked is what came, also where no coroutine took it: a signal that is
// unread, a timer that fired.
func TestUntilSomethingHasCome(t *testing.T) {
	word := durango.NewSignal[string]("word")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ int) (string, error) {
		asked := 0
		timer, next := ctx.After(time.Minute), word.Next(ctx)
		err := ctx.Until(func() bool {
			asked++
			return timer.Ready() && next.Ready()
		})
		if err != nil || asked > 5 {
			return fmt.Sprint("asked ", asked), err
		}
		return next.Await(ctx)
	})
	h := newHarness(t, o).start("o", 0)
	waits(h)
	waits(h.signal("word", "hello"))
	want(h.advance(time.Minute), "hello")
	want(newHarness(t, o).start("o", 0).advance(time.Minute).signal("word", "late"), "late")
}

func TestUntilIsCanceled(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ int) (string, error) {
		inner, done := ctx.WithTimeout(time.Minute)
		defer done()
		first := inner.Until(func() bool { return false })
		asked := false
		again := inner.Until(func() bool { asked = true; return true })
		second := ctx.Until(func() bool { return false })
		err := ctx.Detach().Until(func() bool { return ctx.Err() != nil })
		return fmt.Sprint(first, "; ", again, "; ", asked, "; ", second, "; ", err), nil
	})
	h := newHarness(t, o).start("o", 0)
	waits(h.advance(time.Minute))
	want(h.cancel("enough"), "timed out after 1m0s; timed out after 1m0s; false; canceled: enough; <nil>")
}

// "It may look … and must change nothing."
func TestConditionsOnlyRead(t *testing.T) {
	for name, condition := range map[string]func(*durango.Context) bool{
		"used for more than reading inside a condition": func(ctx *durango.Context) bool {
			ctx.After(time.Second)
			return true
		},
		"until_test.go:": func(ctx *durango.Context) bool {
			return ctx.Until(func() bool { return true }) == nil
		},
		"panic: oops": func(*durango.Context) bool { panic("oops") },
	} {
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ int) (string, error) {
			return "", ctx.Until(func() bool { return condition(ctx) })
		})
		wantTurnFailure(newHarness(t, o).start("o", 0), name)
	}
	greeting := durango.NewValue[string]("greeting")
	reads := durango.DefineOrchestration("o", func(ctx *durango.Context, _ int) (string, error) {
		begun := ctx.Now()
		if err := greeting.Set(ctx, "hello"); err != nil {
			return "", err
		}
		ctx.After(time.Minute)
		err := ctx.Until(func() bool {
			text, ok := greeting.Get(ctx)
			return ctx.Now().After(begun) && ok && text == "hello" && ctx.Err() == nil && ctx.Execution() == 1
		})
		return "read", err
	})
	want(newHarness(t, reads).start("o", 0).advance(time.Minute), "read")
}

// A handler and the code share a variable: the usual form of an approval.
func TestUntilAnUpdate(t *testing.T) {
	approve := durango.NewUpdate[string, int]("approve")
	o := durango.DefineOrchestration("order", func(ctx *durango.Context, need int) (string, error) {
		var by []string
		approve.Handle(ctx, func(_ *durango.Context, who string) (int, error) {
			by = append(by, who)
			return len(by), nil
		})
		day, done := ctx.WithTimeout(24 * time.Hour)
		defer done()
		if err := day.Until(func() bool { return len(by) >= need }); err != nil {
			return "", err
		}
		return strings.Join(by, ","), nil
	})
	scenario := func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o.Orchestration, "i", 2)
		for i, who := range []string{"ann", "bob"} {
			got, err := approve.Call(e.Context(), e.Client(), "i", who)
			assert.NoError(t, err)
			assert.Equal(t, got, i+1)
		}
		assert.Equal(t, durangotest.Wait(e, run), "ann,bob")
		e.CheckReplay()
	}
	durangotest.Run(t, scenario, o)
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o.Orchestration, "i", 1)
		_, err := approve.With(durango.SendOptions{ID: "1"}).Call(e.Context(), e.Client(), "i", "ann")
		assert.NoError(t, err)
		assert.Equal(t, durangotest.Wait(e, run), "ann")
	}, o)
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o.Orchestration, "late", 1)
		_, err := run.Wait(context.WithoutCancel(e.Context()))
		assert.ErrorIs(t, err, durango.ErrTimeout)
	}, o)
}
