package durango_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

var (
	word = durango.NewSignal[string]("word")
	idle = durango.NewSignal[string]("idle")
)

// "Signals form a durable mailbox: sent before anyone waits, they are kept; FIFO
// per name and sender; they outlive continue-as-new." Three are taken by each
// execution, so most are sent before the execution that reads them exists.
func TestSignalsAreKeptInOrder(t *testing.T) {
	const many = 10
	o := durango.NewOrchestration[string, string]("o")
	body := func(ctx *durango.Context, said string) (string, error) {
		if err := ctx.Sleep(1e9); err != nil { // nobody waits yet
			return "", err
		}
		for range 3 {
			w, err := word.Next(ctx).Await(ctx)
			if err != nil {
				return "", err
			}
			if said += w; len(said) == many {
				return said, nil
			}
		}
		return o.ContinueAsNew(ctx, said)
	}
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o, "o", "")
		for i := range many {
			assert.NoError(t, word.Send(e.Context(), e.Client(), "o", fmt.Sprint(i)))
		}
		assert.Equal(t, durangotest.Wait(e, run), "0123456789")
		e.CheckReplay()
	}, o.Bind(body))
}

// "Unconsumed ones are carried whole, no cap but size", and come before what is
// sent later.
func TestUnreadSignalsAreCarriedWhole(t *testing.T) {
	const many = 5000
	o := durango.NewOrchestration[int, string]("o")
	body := func(ctx *durango.Context, round int) (string, error) {
		if round < 3 {
			if _, err := approved.Next(ctx).Await(ctx); err != nil {
				return "", err
			}
			return o.ContinueAsNew(ctx, round+1)
		}
		for i := range many + 1 {
			w, err := word.Next(ctx).Await(ctx)
			if err != nil || w != fmt.Sprint(i) {
				return fmt.Sprintf("number %d is %s", i, w), err
			}
		}
		v, ok, err := idle.TryNext(ctx)
		return fmt.Sprint(v, ok), err
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o, "o", 0)
		ctx, c := e.Context(), e.Client()
		for i := range many {
			assert.NoError(t, word.Send(ctx, c, "o", fmt.Sprint(i)))
		}
		assert.NoError(t, idle.Send(ctx, c, "o", "still here "))
		for range 3 {
			assert.NoError(t, approved.Send(ctx, c, "o", "go on"))
			e.Settle()
		}
		assert.NoError(t, word.Send(ctx, c, "o", fmt.Sprint(many)))
		assert.Equal(t, durangotest.Wait(e, run), "still here true")
		e.CheckReplay()
	}, o.Bind(body))
}

// "A canceled wait consumes nothing", and neither does one that loses: on the
// engine, over continue-as-new, and wherever the node crashes.
func TestOnlyTheWinnerConsumes(t *testing.T) {
	o := durango.NewOrchestration[int, string]("o")
	body := func(ctx *durango.Context, round int) (string, error) {
		if round == 0 {
			part, cancel := ctx.WithCancel()
			first := word.Next(part)
			word.Next(ctx) // dropped
			cancel()
			if _, err := first.Await(part); !errors.Is(err, durango.ErrCanceled) {
				return "", fmt.Errorf("a canceled wait returned %w", err)
			}
			if yes := approved.Next(ctx); ctx.Select(yes, word.Next(ctx)) != yes {
				return "", errors.New("another one won")
			}
			return o.ContinueAsNew(ctx, 1)
		}
		a, err := word.Next(ctx).Await(ctx)
		if err != nil {
			return "", err
		}
		b, err := word.Next(ctx).Await(ctx)
		return a + b, err
	}
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o, "o", 0)
		e.Settle()
		assert.NoError(t, approved.Send(e.Context(), e.Client(), "o", "wins"))
		assert.NoError(t, word.Send(e.Context(), e.Client(), "o", "x"))
		assert.NoError(t, word.Send(e.Context(), e.Client(), "o", "y"))
		assert.Equal(t, durangotest.Wait(e, run), "xy")
	}, o.Bind(body))
}

// "Sending to an unknown or finished instance is an error to the sender, never
// a message lost or a queue blocked."
func TestSendersLearnThatNobodyIsThere(t *testing.T) {
	echo := durango.DefineOrchestration("echo", func(ctx *durango.Context, _ durango.None) (string, error) {
		return word.Next(ctx).Await(ctx)
	})
	teller := durango.DefineOrchestration("teller", func(ctx *durango.Context, to []string) (string, error) {
		var b strings.Builder
		for _, id := range to {
			refused, err := word.SendFrom(ctx, id, "from teller")
			if err != nil {
				return "", err
			}
			timer := ctx.After(1e9)
			if ctx.Race(refused, timer) == timer {
				b.WriteString("sent ")
				continue
			}
			_, err = refused.Await(ctx)
			fmt.Fprint(&b, errors.Is(err, durango.ErrNotFound), errors.Is(err, durango.ErrNotRunning), " ")
		}
		return b.String(), nil
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		ended := durangotest.Start(e, echo, "ended", durango.None{})
		assert.NoError(t, word.Send(ctx, c, "ended", "end"))
		durangotest.Wait(e, ended)
		assert.ErrorIs(t, word.Send(ctx, c, "nobody", "x"), durango.ErrNotFound)
		assert.ErrorIs(t, word.Send(ctx, c, "ended", "x"), durango.ErrNotRunning)
		live := durangotest.Start(e, echo, "live", durango.None{})
		told := durangotest.Start(e, teller, "teller", []string{"nobody", "ended", "live"})
		assert.Equal(t, durangotest.Wait(e, told), "true false false true sent ")
		assert.Equal(t, durangotest.Wait(e, live), "from teller")
	}, echo, teller)
}

// An ID is that of one message: another signal is another message, and an
// update that was meant to be another request is told so.
func TestMessageIDsOfOthers(t *testing.T) {
	other := durango.NewSignal[string]("other")
	ask, tell := durango.NewUpdate[int, int]("ask"), durango.NewUpdate[int, int]("tell")
	o := durango.NewOrchestration[string, string]("o")
	body := func(ctx *durango.Context, _ string) (string, error) {
		ask.Handle(ctx, func(_ *durango.Context, n int) (int, error) { return n, nil })
		tell.Handle(ctx, func(_ *durango.Context, n int) (int, error) { return -n, nil })
		first, err := word.Next(ctx).Await(ctx)
		if err != nil {
			return "", err
		}
		second, err := other.Next(ctx).Await(ctx)
		return first + second, err
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o, "one", "")
		id := durango.SendOptions{ID: "same"}
		got, err := ask.With(id).Call(e.Context(), e.Client(), "one", 1)
		assert.NoError(t, err)
		assert.Equal(t, got, 1)
		_, err = tell.With(id).Call(e.Context(), e.Client(), "one", 1)
		assert.ErrorIs(t, err, durango.ErrInvalid)
		assert.True(t, strings.Contains(err.Error(), `update "ask"`), "%v", err)
		assert.NoError(t, word.With(id).Send(e.Context(), e.Client(), "one", "a"))
		assert.NoError(t, other.With(id).Send(e.Context(), e.Client(), "one", "b"))
		assert.Equal(t, durangotest.Wait(e, run), "ab")
	}, o.Bind(body))
}

// "Send … and Update accept an ID that is accepted once per instance …, for as
// long as the receiver lives": also over continue-as-new, and by each receiver.
func TestMessageIDIsAcceptedOnce(t *testing.T) {
	o := durango.NewOrchestration[string, string]("o")
	body := func(ctx *durango.Context, said string) (string, error) {
		w, err := word.Next(ctx).Await(ctx)
		if err != nil || w == "end" {
			return said, err
		}
		return o.ContinueAsNew(ctx, said+w)
	}
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		one, two := durangotest.Start(e, o, "one", ""), durangotest.Start(e, o, "two", "")
		for range 3 {
			for i, text := range []string{"a", "b"} {
				same := word.With(durango.SendOptions{ID: fmt.Sprint("id-", i)})
				assert.NoError(t, same.Send(e.Context(), e.Client(), "one", text))
				assert.NoError(t, same.Send(e.Context(), e.Client(), "two", text))
			}
			e.Settle()
		}
		for _, id := range []string{"one", "two"} {
			assert.NoError(t, word.Send(e.Context(), e.Client(), id, "end"))
		}
		assert.Equal(t, durangotest.Wait(e, one), "ab")
		assert.Equal(t, durangotest.Wait(e, two), "ab")
	}, o.Bind(body))
}
