package durango_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

var (
	deposit   = durango.NewUpdate[int, int]("deposit")
	refused   = durango.NewError[int]("refused")
	closeDown = durango.NewSignal[durango.None]("close-down")
	account   = durango.NewOrchestration[int, int]("account")
	audited   = durango.DefineActivity("audited", func(_ context.Context, n int) (int, error) { return n, nil })
)

func accountRun(ctx *durango.Context, balance int) (int, error) {
	deposit.Handle(ctx, func(ctx *durango.Context, n int) (int, error) {
		n, err := audited.Call(ctx, n)
		if err != nil {
			return 0, err
		}
		if n == 13 {
			return 0, refused.New(n)
		}
		balance += n
		return balance, nil
	}, func(n int) error {
		if n <= 0 {
			return refused.New(n, "not positive")
		}
		if n > 1000 {
			panic("too much")
		}
		return nil
	}, func(n int) error {
		if balance+n > 100 {
			return errors.New("over the limit")
		}
		return nil
	})
	_, err := closeDown.Next(ctx).Await(ctx)
	return balance, err
}

// "Update: a validated, synchronous request to a running instance, answered when
// the orchestration handled it; a rejected one consumes its message and answers,
// and leaves no turn."
func TestUpdates(t *testing.T) {
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, account, "acc", 10)
		ctx, c := e.Context(), e.Client()
		got, err := deposit.Call(ctx, c, "acc", 5)
		assert.NoError(t, err)
		assert.Equal(t, got, 15)
		before, err := run.Status(ctx)
		assert.NoError(t, err)

		_, err = deposit.Call(ctx, c, "acc", -1)
		n, is := refused.From(err)
		assert.True(t, is && n == -1 && strings.Contains(err.Error(), "not positive"), "the validator's error is %v", err)
		_, err = deposit.Call(ctx, c, "acc", 2000)
		assert.ErrorIs(t, err, durango.ErrPanic)
		_, err = deposit.Call(ctx, c, "acc", 99)
		assert.True(t, err != nil && strings.Contains(err.Error(), "over the limit"), "got %v", err)
		after, err := run.Status(ctx)
		assert.NoError(t, err)
		assert.Equal(t, after.Turns, before.Turns)

		_, err = deposit.Call(ctx, c, "acc", 13)
		assert.True(t, refused.Is(err), "the handler's error is %v", err)

		same := deposit.With(durango.SendOptions{ID: "once"})
		for range 3 {
			got, err = same.Call(ctx, c, "acc", 20)
			assert.NoError(t, err)
			assert.Equal(t, got, 35)
		}
		_, err = durango.NewUpdate[int, int]("withdraw").Call(ctx, c, "acc", 1)
		assert.ErrorIs(t, err, durango.ErrNoHandler)
		_, err = durango.NewUpdate[string, int]("deposit").Call(ctx, c, "acc", "much")
		assert.ErrorIs(t, err, durango.ErrDecode)
		_, err = deposit.Call(ctx, c, "nobody", 1)
		assert.ErrorIs(t, err, durango.ErrNotFound)

		assert.NoError(t, closeDown.Send(ctx, c, "acc", durango.None{}))
		assert.Equal(t, durangotest.Wait(e, run), 35)
		_, err = deposit.Call(ctx, c, "acc", 1)
		assert.ErrorIs(t, err, durango.ErrNotRunning)
		got, err = same.Call(ctx, c, "acc", 20) // what was answered is answered again
		assert.NoError(t, err)
		assert.Equal(t, got, 35)
		e.CheckReplay()
	}, account.Bind(accountRun), audited)
}

// Requests that come together are handled side by side, and those that are
// open when the execution ends are answered.
func TestUpdatesSideBySide(t *testing.T) {
	slow := durango.NewUpdate[time.Duration, string]("slow")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		slow.Handle(ctx, func(ctx *durango.Context, d time.Duration) (string, error) {
			return d.String(), ctx.Sleep(d)
		})
		return "", ctx.Sleep(3 * time.Hour)
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o, "o", durango.None{})
		begun := time.Now()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				d := time.Duration(i+1) * time.Minute
				got, err := slow.Call(e.Context(), e.Client(), "o", d)
				assert.NoError(t, err)
				assert.Equal(t, got, d.String())
			})
		}
		all.Wait()
		assert.True(t, time.Since(begun) < 11*time.Minute, "they waited for each other: %s", time.Since(begun))
		_, err := slow.Call(e.Context(), e.Client(), "o", 100*time.Hour)
		assert.ErrorIs(t, err, durango.ErrNotRunning)
		durangotest.Wait(e, run)
	}, o)
}

// A request outlives continue-as-new until it is judged.
func TestUpdateOverContinueAsNew(t *testing.T) {
	loop := durango.NewOrchestration[int, int]("loop")
	body := func(ctx *durango.Context, n int) (int, error) {
		handled := 0
		deposit.Handle(ctx, func(_ *durango.Context, by int) (int, error) {
			handled++
			n += by
			return n, nil
		})
		yes := next.Next(ctx)
		if ctx.Select(yes, closeDown.Next(ctx)) == yes {
			return loop.ContinueAsNew(ctx, n)
		}
		return n, nil
	}
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, cancel := context.WithTimeout(e.Context(), time.Hour)
		defer cancel()
		run := durangotest.Start(e, loop, "l", 0)
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				assert.NoError(t, next.Send(ctx, e.Client(), "l", i))
			})
			all.Go(func() {
				_, err := deposit.Call(ctx, e.Client(), "l", 1)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		assert.NoError(t, closeDown.Send(ctx, e.Client(), "l", durango.None{}))
		got, err := run.Wait(ctx)
		assert.NoError(t, err)
		assert.Equal(t, got, 4)
	}, loop.Bind(body))
}

// An instance that waits for its handlers leaves no request without an answer
// when it continues as new, in whatever turn the request came.
func TestAwaitUpdates(t *testing.T) {
	slow := durango.NewUpdate[time.Duration, time.Duration]("slow")
	loop := durango.NewOrchestration[int, int]("loop")
	body := func(ctx *durango.Context, n int) (int, error) {
		slow.Handle(ctx, func(ctx *durango.Context, d time.Duration) (time.Duration, error) { return d, ctx.Sleep(d) })
		if err := ctx.Sleep(time.Minute); err != nil {
			return n, err
		}
		if err := ctx.AwaitUpdates(); err != nil || n == 9 {
			return n, err
		}
		return loop.ContinueAsNew(ctx, n+1)
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, loop, "l", 0)
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				<-time.After(time.Duration(i) * 7 * time.Second)
				d := time.Duration(1+i%4) * 11 * time.Second
				got, err := slow.Call(e.Context(), e.Client(), "l", d)
				assert.NoError(t, err)
				assert.Equal(t, got, d)
			})
		}
		all.Wait()
		assert.Equal(t, durangotest.Wait(e, run), 9)
		e.CheckReplay()
	}, loop.Bind(body))
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, loop, "l", 8)
		_, err := slow.Call(e.Context(), e.Client(), "l", 90*time.Second)
		assert.NoError(t, err)
		assert.Equal(t, durangotest.Wait(e, run), 9)
	}, loop.Bind(body))
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, loop, "l", 9)
		var asked sync.WaitGroup
		asked.Go(func() {
			_, err := slow.Call(e.Context(), e.Client(), "l", time.Hour)
			assert.ErrorIs(t, err, durango.ErrCanceled)
		})
		e.After(2*time.Minute, func() { assert.NoError(t, run.Cancel(e.Context(), "enough")) })
		_, err := run.Wait(e.Context())
		assert.ErrorIs(t, err, durango.ErrCanceled)
		asked.Wait()
	}, loop.Bind(body))
}

func TestUpdateWithoutAnybody(t *testing.T) {
	c := durango.NewClient(memory.Open())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := account.Start(ctx, c, "acc", 1)
	assert.NoError(t, err)
	_, err = deposit.Call(ctx, c, "acc", 1)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = deposit.With(durango.SendOptions{ID: "a\x00b"}).Call(ctx, c, "acc", 1)
	assert.ErrorIs(t, err, durango.ErrInvalid)
}
