package durango_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// What follows runs in virtual time: backoffs pass at once.

// brief runs a node until stop is called, or the test ends.
func brief(t *testing.T, store provider.Provider, o durango.Options, ds ...durango.Registrable) (client *durango.Client, stop func()) {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	rt, err := durango.New(store, o)
	assert.NoError(t, err)
	rt.Register(ds...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rt.Run(ctx) }()
	var stopped atomic.Bool
	stop = func() {
		if cancel(); !stopped.Swap(true) {
			assert.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return rt.Client(), stop
}

// turnFailure waits until the run's status shows a turn failure with all parts.
func turnFailure[T any](t *testing.T, run *durango.Run[T], parts ...string) durango.RunInfo {
	t.Helper()
	for range 1000 {
		info, err := run.Status(context.Background())
		assert.NoError(t, err)
		if info.TurnFailure != "" {
			assert.Contains(t, info.TurnFailure, parts...)
			assert.True(t, info.Status.Open(), "open")
			assert.False(t, info.TurnFailureAt.IsZero(), "the failure has a time")
			return info
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no turn failed")
	return durango.RunInfo{}
}

// completes checks what the instance returns, within virtual minutes.
func completes[T comparable](t *testing.T, run *durango.Run[T], want T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	got, err := run.Wait(ctx)
	assert.NoError(t, err)
	assert.Equal(t, got, want)
}

// DESIGN 4: what the code cannot decode "is not an outcome: it is a turn
// failure. The code … can be changed and the instance goes on."
func TestInputThatDoesNotDecodeWaitsForFixedCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		wrong := durango.DefineOrchestration("o", func(_ *durango.Context, n int) (string, error) { return "?", nil })
		fixed := durango.DefineOrchestration("o", func(_ *durango.Context, s string) (string, error) { return s, nil })
		_, stop := brief(t, store, durango.Options{}, wrong)
		run, err := fixed.Start(t.Context(), durango.NewClient(store), "id", "text")
		assert.NoError(t, err)
		info := turnFailure(t, run, `decode input of orchestration "o" into int`)
		assert.Equal(t, info.Status, durango.StatusPending)
		stop()
		brief(t, store, durango.Options{}, fixed)
		completes(t, run, "text")
	})
}

func TestRecordedResultThatDoesNotDecodeWaitsForFixedCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		var runs atomic.Int64
		text := durango.DefineActivity("text", func(context.Context, durango.None) (string, error) {
			runs.Add(1)
			return "recorded", nil
		})
		number := durango.NewActivity[durango.None, int]("text")
		o := durango.NewOrchestration[durango.None, string]("o")
		right := o.Bind(func(ctx *durango.Context, _ durango.None) (string, error) {
			s, err := text.Call(ctx, durango.None{})
			if err != nil {
				return "", err
			}
			by, err := approved.Next(ctx).Await(ctx)
			return s + " " + by, err
		})
		wrong := o.Bind(func(ctx *durango.Context, _ durango.None) (string, error) {
			_, err := number.Call(ctx, durango.None{})
			if err != nil {
				return "", err // must not become the outcome
			}
			return approved.Next(ctx).Await(ctx)
		})
		client, stop := brief(t, store, durango.Options{}, right, text)
		run, err := o.Start(t.Context(), client, "id", durango.None{})
		assert.NoError(t, err)
		synctest.Wait()
		stop()
		_, stop = brief(t, store, durango.Options{}, wrong, text)
		assert.NoError(t, approved.Send(t.Context(), durango.NewClient(store), "id", "ann"))
		turnFailure(t, run, `decode the recorded result of activity "text" into int`)
		stop()
		brief(t, store, durango.Options{}, right, text)
		completes(t, run, "recorded ann")
		assert.Equal(t, runs.Load(), int64(1), "what is recorded is not run again")
	})
}

// DESIGN 4: "The first difference is a nondeterminism error that shows: the
// recorded command, the emitted one, the turn, and the line of user code that
// emitted it. … returning early is a difference too."
func TestNondeterminismShowsAndWaitsForFixedCode(t *testing.T) {
	o := durango.NewOrchestration[durango.None, int]("o")
	triple := durango.DefineActivity("triple", func(_ context.Context, n int) (int, error) { return 3 * n, nil })
	right := o.Bind(func(ctx *durango.Context, _ durango.None) (int, error) {
		n, err := double.Call(ctx, 1)
		if err != nil {
			return 0, err
		}
		if _, err := approved.Next(ctx).Await(ctx); err != nil {
			return 0, err
		}
		return double.Call(ctx, n)
	})
	for name, c := range map[string]struct {
		code  func(*durango.Context, durango.None) (int, error)
		parts []string
	}{
		"another activity": {
			func(ctx *durango.Context, _ durango.None) (int, error) { return triple.Call(ctx, 1) },
			[]string{"nondeterminism in turn 1 at command 1", `recorded ActivityScheduled "double"`, `emitted ActivityScheduled "triple"`, "faults_test.go:", `likely cause: a name was changed, "double" to "triple"`, `if ctx.Patched("rename-triple") {`},
		},
		"one more": {
			func(ctx *durango.Context, _ durango.None) (int, error) {
				double.Go(ctx, 1)
				return double.Call(ctx, 1)
			},
			[]string{"nondeterminism in turn 1 at command 2", "recorded nothing more", `emitted ActivityScheduled "double"`, "faults_test.go:", "likely cause: a step was inserted"},
		},
		"returns early": {
			func(*durango.Context, durango.None) (int, error) { return 7, nil },
			[]string{"nondeterminism in turn 1 at command 1", `recorded ActivityScheduled "double"`, "emitted Completed", "likely cause: a step was removed"},
		},
		"returns where it waited": {
			func(ctx *durango.Context, _ durango.None) (int, error) { return double.Call(ctx, 1) },
			[]string{"nondeterminism in turn 2 at command 1", "recorded nothing more", "emitted Completed", "likely cause: the code waits for less before Completed"},
		},
		"waits where it went on": {
			func(ctx *durango.Context, _ durango.None) (int, error) {
				_, err := approved.Next(ctx).Await(ctx)
				return 0, err
			},
			[]string{"nondeterminism in turn 1 at command 1", `recorded ActivityScheduled "double"`, "emitted nothing more", "likely cause: "},
		},
		"fails early": {
			func(*durango.Context, durango.None) (int, error) { return 0, errors.New("must not become the outcome") },
			[]string{"nondeterminism in turn 1 at command 1", "emitted Failed", "likely cause: a step was removed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.Open()
				client, stop := brief(t, store, durango.Options{}, right, double)
				run, err := o.Start(t.Context(), client, "id", durango.None{})
				assert.NoError(t, err)
				synctest.Wait()
				stop()
				_, stop = brief(t, store, durango.Options{}, o.Bind(c.code), double, triple)
				assert.NoError(t, approved.Send(t.Context(), durango.NewClient(store), "id", "ann"))
				info := turnFailure(t, run, c.parts...)
				assert.True(t, info.Status == durango.StatusRunning && info.Turns == 2, info)
				stop()
				brief(t, store, durango.Options{}, right, double)
				completes(t, run, 4)
				info, err = run.Status(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, info.TurnFailure, "", "the failure of a turn is forgotten with the next")
			})
		})
	}
}

// DESIGN 3: "Using it from another goroutine fails the turn."
func TestMisuseFromAGoroutineShowsAndWaitsForFixedCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		o := durango.NewOrchestration[durango.None, int]("o")
		wrong := o.Bind(func(ctx *durango.Context, _ durango.None) (int, error) {
			done := make(chan bool)
			go func() {
				defer close(done)
				_, _ = double.Call(ctx, 1)
			}()
			<-done
			return double.Call(ctx, 1)
		})
		client, stop := brief(t, store, durango.Options{}, wrong, double)
		run, err := o.Start(t.Context(), client, "id", durango.None{})
		assert.NoError(t, err)
		turnFailure(t, run, "orchestration context used from a goroutine that is not its coroutine", "faults_test.go:")
		stop()
		brief(t, store, durango.Options{}, double,
			o.Bind(func(ctx *durango.Context, _ durango.None) (int, error) { return double.Call(ctx, 1) }))
		completes(t, run, 2)
	})
}

// The same for a turn that never ends because it waits for such a goroutine, and
// long before it would count as hanging.
func TestMisuseThatIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan int)
		defer close(answer) // ends the turns that hang, before the node is stopped
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
			if _, err := double.Call(ctx, 1); err != nil {
				return 0, err
			}
			go func() {
				n, _ := double.Call(ctx, 1)
				answer <- n
			}()
			return <-answer, nil
		})
		client, _ := brief(t, memory.Open(), durango.Options{TurnTimeout: time.Minute}, o, double)
		began := time.Now()
		run, err := o.Start(t.Context(), client, "id", durango.None{})
		assert.NoError(t, err)
		turnFailure(t, run, "orchestration context used from a goroutine that is not its coroutine", "faults_test.go:")
		assert.True(t, time.Since(began) < 20*time.Second, "after %s", time.Since(began))
	})
}

// DESIGN 4 and 9: a panic and a turn that does not end are turn failures that
// show where they happened.
func TestTurnsThatPanicOrHangShowAndWaitForFixedCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		var fixed atomic.Bool
		release := make(chan bool)
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, how string) (int, error) {
			n, err := double.Call(ctx, 1)
			switch {
			case fixed.Load():
			case how == "panic":
				panic("a bug")
			default:
				hangs(release)
			}
			return n, err
		})
		client, _ := brief(t, store, durango.Options{TurnTimeout: 100 * time.Millisecond}, o, double)
		panics, err := o.Start(t.Context(), client, "panics", "panic")
		assert.NoError(t, err)
		stuck, err := o.Start(t.Context(), client, "stuck", "hang")
		assert.NoError(t, err)
		turnFailure(t, panics, "panic: a bug")
		turnFailure(t, stuck, "the turn did not end within 100ms", "hangs", "faults_test.go:")
		fixed.Store(true)
		close(release)
		completes(t, panics, 2)
		completes(t, stuck, 2)
	})
}

func hangs(release chan bool) { <-release }

// A panic of an activity is a typed error to the orchestration, and of the
// orchestration to who waits for it.
func TestPanicOfAnActivityReachesTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := durango.DefineActivity("bad", func(context.Context, durango.None) (int, error) { panic("a bug") })
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
			n, err := bad.Call(ctx, durango.None{})
			if !errors.Is(err, durango.ErrPanic) {
				return n, errors.New("no panic")
			}
			return n, err
		})
		client, _ := brief(t, memory.Open(), durango.Options{}, o, bad)
		run, err := o.Start(t.Context(), client, "id", durango.None{})
		assert.NoError(t, err)
		_, err = run.Wait(t.Context())
		assert.ErrorIs(t, err, durango.ErrPanic)
		e := assert.ErrorAs[*durango.Error](t, err)
		assert.True(t, strings.Contains(string(e.Detail), "faults_test.go") && e.Message == "panic: a bug", e)
	})
}

// DESIGN 5: "Sending to an unknown or finished instance is an error to the
// sender, never a message lost or a queue blocked": here to an orchestration.
func TestSendFromToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, to string) (string, error) {
			refused, err := approved.SendFrom(ctx, to, "x")
			if err != nil {
				return "", err
			}
			// Something else goes out in the same turn, and arrives.
			if _, err := counted.SendFrom(ctx, ctx.InstanceID(), 1); err != nil {
				return "", err
			}
			if _, err := counted.Next(ctx).Await(ctx); err != nil {
				return "", err
			}
			timer := ctx.After(time.Minute)
			if ctx.Select(refused, timer) == timer {
				return "delivered", nil
			}
			_, err = refused.Await(ctx)
			return "", err
		})
		once := durango.DefineOrchestration("once", func(ctx *durango.Context, _ durango.None) (string, error) {
			return approved.Next(ctx).Await(ctx)
		})
		client, _ := brief(t, memory.Open(), durango.Options{}, o, once)
		there, err := once.Start(t.Context(), client, "there", durango.None{})
		assert.NoError(t, err)
		for _, c := range []struct {
			to   string
			want error
		}{{"nobody", durango.ErrNotFound}, {"there", nil}, {"there", durango.ErrNotRunning}} {
			id := "to " + c.to
			if c.want != nil {
				id += c.want.Error()
			}
			run, err := o.Start(t.Context(), client, id, c.to)
			assert.NoError(t, err)
			if c.want == nil {
				completes(t, run, "delivered")
				completes(t, there, "x")
				continue
			}
			_, err = run.Wait(t.Context())
			assert.ErrorIs(t, err, c.want)
			assert.ErrorContains(t, err, c.to)
		}
	})
}

// DESIGN 5: "A name no node has is not an error to a client: it waits and shows
// as stuck."
func TestNameNoNodeHasWaitsVisibly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		other := durango.DefineOrchestration("other", func(ctx *durango.Context, n int) (int, error) { return n, nil })
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) { return double.Call(ctx, n) })
		client, _ := brief(t, store, durango.Options{}, other)
		run, err := o.Start(t.Context(), client, "id", 21)
		assert.NoError(t, err)
		time.Sleep(time.Hour)
		info, err := run.Status(t.Context())
		assert.NoError(t, err)
		assert.True(t, info.Status == durango.StatusPending && info.Turns == 0 && info.Name == "o" && info.TurnFailure == "", info)
		brief(t, store, durango.Options{}, o, double)
		completes(t, run, 42)
	})
}

// CONTRACT: "Each side states a range …; if there is none, start-up fails and
// says who has to be upgraded."
func TestStoreOfAnotherContract(t *testing.T) {
	for upgrade, r := range map[string]provider.Range{
		"upgrade durango":              {Min: provider.ContractVersion + 1, Max: provider.ContractVersion + 1},
		"upgrade the store's provider": {},
	} {
		_, err := durango.New(&contractor{memory.Open(), r}, durango.Options{})
		assert.ErrorIs(t, err, provider.ErrIncompatible)
		assert.ErrorContains(t, err, "new runtime", "memory", upgrade)
	}
}

type contractor struct {
	provider.Provider
	speaks provider.Range
}

func (c *contractor) Describe(ctx context.Context) (provider.Description, error) {
	d, err := c.Provider.Describe(ctx)
	d.Contract = c.speaks
	return d, err
}
