package durango_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// "Work scheduled and canceled in one turn never starts": not by its node, and
// not by another one when that crashes.
func TestCanceledInTheSameTurnNeverStarts(t *testing.T) {
	var started atomic.Int64
	work := durango.DefineActivity("work", func(_ context.Context, what string) (string, error) {
		if what != "wanted" {
			started.Add(1)
		}
		return what, nil
	})
	queued := work.With(durango.CallOptions{Heartbeat: time.Hour})
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		part, cancel := ctx.WithCancel()
		work.Go(part, "scoped")
		queued.Go(part, "scoped row")
		kid.With(durango.CallOptions{ID: "scoped"}).Go(part, "waits")
		one, two := work.Go(ctx, "single"), queued.Go(ctx, "single row")
		three := kid.With(durango.CallOptions{ID: "single"}).Go(ctx, "waits")
		cancel()
		for _, f := range []durango.Awaitable{one, two, three} {
			f.Cancel(ctx)
		}
		if _, err := one.Await(ctx); !errors.Is(err, durango.ErrCanceled) {
			return "", err
		}
		return work.Call(ctx, "wanted")
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o, "o", durango.None{})
		assert.Equal(t, durangotest.Wait(e, run), "wanted")
		time.Sleep(time.Hour)
		assert.Equal(t, started.Load(), 0)
		for _, id := range []string{"scoped", "single"} {
			_, err := kid.Run(e.Client(), id).Status(e.Context())
			assert.ErrorIs(t, err, durango.ErrNotFound)
		}
		e.CheckReplay()
	}, o, work, kid.Bind(kidRun))
}

// "A child scheduled in the terminal turn is started, then the close policy
// applies. Detached starts of a continue-as-new turn happen." So do the signals.
func TestTheLastTurnTakesEffect(t *testing.T) {
	o := durango.NewOrchestration[int, string]("o")
	body := func(ctx *durango.Context, round int) (string, error) {
		if round == 2 {
			return "done", nil
		}
		kid.With(durango.CallOptions{ID: "abandoned", OnParentClose: durango.AbandonChild}).Go(ctx, "waits")
		kid.With(durango.CallOptions{ID: "dropped"}).Go(ctx, "waits")
		for _, id := range []string{"detached", "second"} {
			if _, err := kid.StartFrom(ctx, id, "waits"); err != nil {
				return "", err
			}
		}
		if _, err := word.SendFrom(ctx, "listener", "heard"); err != nil {
			return "", err
		}
		return o.ContinueAsNew(ctx, 2)
	}
	listener := durango.DefineOrchestration("listener", func(ctx *durango.Context, _ durango.None) (string, error) {
		return word.Next(ctx).Await(ctx)
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		listens := durangotest.Start(e, listener, "listener", durango.None{})
		assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, o, "o", 1)), "done")
		assert.Equal(t, durangotest.Wait(e, listens), "heard")
		e.Settle()
		_, err := kid.Run(e.Client(), "dropped").Wait(e.Context())
		assert.ErrorIs(t, err, durango.ErrCanceled)
		for _, id := range []string{"abandoned", "detached", "second"} {
			info, err := kid.Run(e.Client(), id).Status(e.Context())
			assert.NoError(t, err)
			assert.True(t, info.Status.Open(), "%s has ended", id)
			assert.NoError(t, kid.Run(e.Client(), id).Terminate(e.Context(), ""))
		}
	}, o.Bind(body), kid.Bind(kidRun), listener)
}

// "One terminal event, last." The code goes on after it has asked to continue as
// new, coroutines are open, and a request to cancel meets the end.
func TestOneTerminalEventLast(t *testing.T) {
	o := durango.NewOrchestration[string, string]("o")
	body := func(ctx *durango.Context, how string) (string, error) {
		durango.Go(ctx, func(ctx *durango.Context) (string, error) {
			defer func() { _ = ctx.SetStatus("unwound") }()
			return kid.Call(ctx, "waits")
		})
		w, err := word.Next(ctx).Await(ctx)
		switch {
		case err != nil && how == "stubborn":
			return "anyway", nil
		case err != nil:
			return "", err
		case how == "fails":
			return "", errors.New(w)
		case how == "continues":
			return o.ContinueAsNew(ctx, "ends")
		}
		return w, nil
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		for how, want := range map[string][]history.Kind{
			"ends": {history.Completed}, "fails": {history.Failed}, "continues": {history.ContinuedAsNew, history.Completed},
			"canceled": {history.Canceled}, "stubborn": {history.Completed},
		} {
			run := durangotest.Start(e, o, how, how)
			e.Settle()
			if how == "canceled" || how == "stubborn" {
				assert.NoError(t, run.Cancel(e.Context(), ""))
			}
			for range 3 {
				_ = word.Send(e.Context(), e.Client(), how, "word")
			}
			e.Wait(how)
			_, commands := historyOf(t, e.Client(), how)
			var ends []history.Kind
			for i := range commands {
				if commands[i].Kind.Terminal() {
					ends = append(ends, commands[i].Kind)
				}
			}
			assert.Equal(t, ends, want, how)
			assert.True(t, commands[len(commands)-1].Kind.Terminal(), "%s: something follows the end", how)
		}
		e.CheckReplay()
	}, o.Bind(body), kid.Bind(kidRun))
}

// "Backoff, attempts … belong to the instance, not to a message: what arrives
// meanwhile waits." A hundred signals do not make a turn that fails run more
// often.
func TestBackoffBelongsToTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		store := memory.Open()
		o := durango.NewOrchestration[int, int]("o")
		bad := o.Bind(func(ctx *durango.Context, n int) (int, error) {
			runs.Add(1)
			panic("not yet")
		})
		good := o.Bind(func(ctx *durango.Context, n int) (int, error) {
			for range n {
				if _, err := word.Next(ctx).Await(ctx); err != nil {
					return 0, err
				}
			}
			return n, nil
		})
		client, stop := brief(t, store, durango.Options{MinBackoff: 10 * time.Second}, bad)
		run, err := o.Start(t.Context(), client, "i", 100)
		assert.NoError(t, err)
		for range 100 {
			time.Sleep(300 * time.Millisecond)
			assert.NoError(t, word.Send(t.Context(), client, "i", "again"))
		}
		assert.True(t, runs.Load() >= 2 && runs.Load() <= 3, "it ran %d times in 30 s", runs.Load()) // at 0 and 10 s, and 30 s
		turnFailure(t, run, "not yet")
		stop()
		_, stop = brief(t, store, durango.Options{}, good)
		completes(t, run, 100)
		stop()
	})
}

// "A lost lease and a failed network call are different: only the first cancels
// an activity."
func TestOnlyALostLeaseCancels(t *testing.T) {
	for name, opts := range map[string]durango.CallOptions{"in memory": {}, "a row": {Heartbeat: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const lease = 15 * time.Second
				store := memory.Open()
				line := &severed{Store: store}
				canceled := make(chan string, 10)
				work := durango.DefineActivity("work", func(ctx context.Context, d time.Duration) (int, error) {
					select {
					case <-time.After(d):
						return durango.Info(ctx).Attempt, nil
					case <-ctx.Done():
						canceled <- "canceled"
						return 0, ctx.Err()
					}
				})
				o := caller(work.With(opts))
				client, stop := brief(t, line, durango.Options{Lease: lease}, o, work)
				run, err := o.Start(t.Context(), client, "short", time.Minute)
				assert.NoError(t, err)
				time.Sleep(time.Second)
				line.cut.Store(true)
				time.Sleep(2 * time.Minute) // nobody else is there to declare it dead
				line.cut.Store(false)
				completes(t, run, 1)
				assert.Equal(t, len(canceled), 0)

				run, err = o.Start(t.Context(), client, "long", 10*time.Minute)
				assert.NoError(t, err)
				time.Sleep(time.Second)
				_, stop2 := brief(t, store, durango.Options{Lease: lease}, o, work)
				line.cut.Store(true)
				time.Sleep(5 * lease)
				line.cut.Store(false)
				assert.Equal(t, <-canceled, "canceled")
				got, err := run.Wait(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, got, 2)
				stop()
				stop2()
			})
		})
	}
}

// "Attempts count at claim (a crash must count)": an instance whose turn takes
// its process down has been claimed once more each time. The third node finds
// that it ran alone on the second, counts that as a failure, and claims it again
// after the pause.
func TestCrashesCountAsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		gate := make(chan struct{})
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
			durango.Record(ctx, func() int { <-gate; return 1 })
			return "done", nil
		})
		run, err := o.Start(t.Context(), durango.NewClient(store), "i", durango.None{})
		assert.NoError(t, err)
		var lines []*severed
		for range 3 {
			line := &severed{Store: store}
			lines = append(lines, line)
			brief(t, line, durango.Options{Lease: time.Second, TurnTimeout: time.Hour}, o)
			time.Sleep(30 * time.Second)
			line.cut.Store(true) // in the middle of the turn
		}
		row, err := store.Get(t.Context(), provider.Target{ID: "i"})
		assert.NoError(t, err)
		assert.Equal(t, row.Attempts, int64(4))
		f := provider.ParseTurnFailure(row.TurnFailure)
		assert.Equal(t, f.Kind, "crash")
		assert.Equal(t, f.Count, int64(1), "one crash, alone")
		close(gate)
		for _, line := range lines {
			line.cut.Store(false)
		}
		completes(t, run, "done")
	})
}

// "Random IDs come from crypto/rand (UUIDv7)": those of clients, and those of
// orchestrations, which a replay repeats.
func TestNewIDs(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) ([]string, error) {
		ids := []string{ctx.NewID(), ctx.NewID()}
		if err := ctx.Sleep(time.Hour); err != nil {
			return nil, err
		}
		return append(ids, ctx.NewID()), nil
	})
	var ids []string
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		for _, id := range []string{"a", "b"} {
			ids = append(ids, durangotest.Wait(e, durangotest.Start(e, o, id, durango.None{}))...)
		}
		e.CheckReplay()
	}, o)
	for range 1000 {
		ids = append(ids, durango.NewID())
	}
	seen := map[string]bool{}
	for _, id := range ids {
		assert.True(t, len(id) == 36 && id[14] == '7' && strings.ContainsRune("89ab", rune(id[19])), "no UUIDv7: %s", id)
		assert.False(t, seen[id], "twice: %s", id)
		seen[id] = true
	}
}
