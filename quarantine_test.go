package durango_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// quarantined lists what the filter selects.
func quarantined(t *testing.T, c *durango.Client, f durango.QuarantineFilter) (all []durango.Quarantine) {
	t.Helper()
	for q, err := range c.Quarantines(context.Background(), f) {
		assert.NoError(t, err)
		all = append(all, q)
	}
	return all
}

// reaches waits, in virtual time, until an instance has a status.
func reaches(t *testing.T, store provider.Inspector, id string, want provider.Status) provider.Instance {
	t.Helper()
	for range 10_000 {
		row, err := store.Get(context.Background(), provider.Target{ID: id})
		assert.NoError(t, err)
		if row.Status == want {
			return row
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("instance %s does not become %v", id, want)
	return provider.Instance{}
}

// DESIGN 8.6: "After MaxConsecutiveFailures (5) the policy acts: Suspend (status
// Quarantined, the default) … one or in bulk by filter or failure fingerprint."
// One instance of a hundred panics.
func TestOnePercentEndsInQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		step := durango.DefineActivity("step", func(_ context.Context, n int) (int, error) { return n + 1, nil })
		prog := durango.NewOrchestration[int, int]("prog")
		runs := map[int]*durango.Run[int]{}
		turns := map[int]int{}
		var mu sync.Mutex
		client, stop := brief(t, store, durango.Options{}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
			if n%100 == 7 {
				mu.Lock()
				turns[n]++
				mu.Unlock()
				panic(fmt.Sprint("a bug with ", n))
			}
			return step.Call(ctx, n)
		}))
		for n := range 1000 {
			run, err := prog.Start(ctx, client, fmt.Sprint("i", n), n)
			assert.NoError(t, err)
			runs[n] = run
		}
		for n, run := range runs {
			if n%100 == 7 {
				row := reaches(t, store, run.ID(), provider.Quarantined)
				assert.Equal(t, row.Owner, provider.NodeKey(0))
				continue
			}
			completes(t, run, n+1)
		}
		all := quarantined(t, client, durango.QuarantineFilter{})
		assert.Equal(t, len(all), 10)
		for _, q := range all {
			assert.Equal(t, q.Kind, "panic")
			assert.Contains(t, q.Place, "/quarantine_test.go:")
			assert.Equal(t, q.Fingerprint, all[0].Fingerprint)
			assert.Contains(t, q.Cause, "a bug with")
			assert.False(t, strings.Contains(q.Cause, "{"), q.Cause)
			assert.Equal(t, q.Failures, int64(5))
			assert.True(t, q.LastFailure.Sub(q.FirstFailure) >= 15*time.Second, q) // pauses of 1, 2, 4, and 8 s
		}
		mu.Lock()
		for n, tried := range turns {
			// Five, and one before it exists if it is born on the node.
			assert.True(t, tried == 5 || tried == 6, "%d turns of %d", tried, n)
		}
		mu.Unlock()
		stop()

		client, _ = brief(t, store, durango.Options{}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) { return step.Call(ctx, n) }))
		time.Sleep(time.Hour)
		assert.Equal(t, len(quarantined(t, client, durango.QuarantineFilter{})), 10, "nobody lets them go")
		none, err := client.ReleaseAll(ctx, durango.QuarantineFilter{Fingerprint: "panic elsewhere.go:1"})
		assert.NoError(t, err)
		assert.Equal(t, none, 0)
		n, err := client.ReleaseAll(ctx, durango.QuarantineFilter{Fingerprint: all[0].Fingerprint})
		assert.NoError(t, err)
		assert.Equal(t, n, 10)
		for n, run := range runs {
			completes(t, run, n+1)
		}
		assert.Equal(t, len(quarantined(t, client, durango.QuarantineFilter{})), 0)
	})
}

// DESIGN 8.6: "`Release` resumes, `Retry` resumes with the count reset" and
// "Messages keep arriving."
func TestReleaseAndRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		letter := durango.NewSignal[int]("letter")
		var broken atomic.Bool
		var tries atomic.Int64
		broken.Store(true)
		prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, _ durango.None) (string, error) {
			tries.Add(1)
			if broken.Load() {
				panic("a bug")
			}
			out := ""
			for range 3 {
				n, err := letter.Next(ctx).Await(ctx)
				if err != nil {
					return "", err
				}
				out += fmt.Sprint(n)
			}
			return out, nil
		})
		client, _ := brief(t, store, durango.Options{}, prog)
		run, err := prog.Start(ctx, client, "it", durango.None{})
		assert.NoError(t, err)
		assert.NoError(t, letter.Send(ctx, client, "it", 1))
		reaches(t, store, "it", provider.Quarantined)
		assert.NoError(t, letter.Send(ctx, client, "it", 2))
		assert.NoError(t, letter.Send(ctx, client, "it", 3))
		time.Sleep(time.Hour)
		before := tries.Load()

		assert.NoError(t, client.Release(ctx, "it"))
		time.Sleep(time.Minute)
		q, err := client.Quarantine(ctx, "it")
		assert.NoError(t, err)
		assert.Equal(t, tries.Load()-before, int64(1), "one failure is one too many")
		assert.Equal(t, q.Failures, int64(6))
		assert.Equal(t, q.Unread, int64(4))

		assert.NoError(t, client.Retry(ctx, "it"))
		assert.ErrorIs(t, client.Retry(ctx, "it"), durango.ErrNotQuarantined)
		reaches(t, store, "it", provider.Quarantined)
		assert.Equal(t, tries.Load()-before, int64(6), "five more")
		assert.ErrorIs(t, client.Requeue(ctx, "it"), durango.ErrNotQuarantined)
		assert.ErrorIs(t, client.Purge(ctx, "it"), durango.ErrNotQuarantined)
		assert.ErrorIs(t, client.Release(ctx, "nobody"), durango.ErrNotFound)

		broken.Store(false)
		assert.NoError(t, client.Release(ctx, "it"))
		completes(t, run, "123")
		assert.ErrorIs(t, client.Release(ctx, "it"), durango.ErrNotQuarantined)

		// The history says so, once, where it happened.
		var stops []history.Event
		for _, turn := range recorded(t, store, "it") {
			for _, e := range turn.Deliveries {
				if e.Kind == history.InstanceQuarantined {
					stops = append(stops, e)
					assert.Equal(t, turn.Number, int64(1))
				}
			}
		}
		assert.Equal(t, len(stops), 1)
		assert.Equal(t, stops[0].Attempt, int64(5))
		assert.Equal(t, stops[0].Text, q.Cause)
		assert.Equal(t, stops[0].Name, q.Fingerprint)
		rt, err := durango.New(store, durango.Options{})
		assert.NoError(t, err)
		rt.Register(prog)
		warnings, err := rt.Replay(ctx, recorded(t, store, "it"))
		assert.NoError(t, err)
		assert.Equal(t, len(warnings), 0)
	})
}

// DESIGN 8.6: "a committed turn resets the count, and so does a quiet period
// longer than the window".
func TestWhatResetsTheCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		seen := make(chan int64, 100) // what is in the store when the code runs
		tries := 0
		prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, _ durango.None) (int, error) {
			for {
				row, err := store.Get(t.Context(), provider.Target{ID: "it"})
				if err != nil && !errors.Is(err, provider.ErrNotFound) { // its birth is one commit with its first turn
					return 0, err
				}
				seen <- provider.ParseTurnFailure(row.TurnFailure).Count
				if tries++; tries%3 != 0 {
					panic("now and then")
				}
				if err := ctx.Sleep(time.Second); err != nil {
					return 0, err
				}
			}
		}).WithQuarantine(durango.QuarantinePolicy{MaxConsecutiveFailures: 100, Window: time.Minute})
		client, stop := brief(t, store, durango.Options{}, prog)
		_, err := prog.Start(t.Context(), client, "it", durango.None{})
		assert.NoError(t, err)
		// The third try goes on to the next turn, which fails; the sixth replays it.
		for i, n := range []int64{0, 1, 2, 0, 1, 2, 2, 3} {
			assert.Equal(t, <-seen, n, "try %d", i)
		}
		stop()
		time.Sleep(2 * time.Minute) // nobody runs it
		for len(seen) > 0 {
			<-seen
		}
		tries = 0
		brief(t, store, durango.Options{}, prog)
		before := <-seen
		assert.True(t, before > 2, "%d failures before", before)
		assert.Equal(t, <-seen, 1, "begun anew")
	})
}

// DESIGN 8.6: "Cancel and MoveToDeadLetter end the instance without running its
// code, reason `Quarantined: exceeded N consecutive failures`, parent notified".
func TestActionsThatEndAnInstance(t *testing.T) {
	for _, tt := range []struct {
		action durango.QuarantineAction
		want   error
		status durango.Status
	}{
		{durango.QuarantineCancel, durango.ErrCanceled, durango.StatusCanceled},
		{durango.QuarantineDeadLetter, durango.ErrQuarantined, durango.StatusFailed},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := memory.Open()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			sleeper := durango.DefineOrchestration("sleeper", func(ctx *durango.Context, _ durango.None) (durango.None, error) {
				return durango.None{}, ctx.Sleep(1000 * time.Hour)
			})
			bad := durango.DefineOrchestration("bad", func(ctx *durango.Context, _ durango.None) (int, error) {
				sleeper.Go(ctx, durango.None{})
				_ = ctx.Sleep(time.Second)
				panic("a bug")
			}).WithQuarantine(durango.QuarantinePolicy{MaxConsecutiveFailures: 2, Action: tt.action})
			parent := durango.DefineOrchestration("parent", func(ctx *durango.Context, _ durango.None) (string, error) {
				_, err := bad.With(durango.CallOptions{ID: "child"}).Call(ctx, durango.None{})
				if !errors.Is(err, tt.want) {
					return "", err
				}
				return err.Error(), nil
			})
			client, _ := brief(t, store, durango.Options{}, sleeper, bad, parent)
			run, err := parent.Start(ctx, client, "parent", durango.None{})
			assert.NoError(t, err)
			text, err := run.Wait(ctx)
			assert.NoError(t, err)
			assert.Contains(t, text, "Quarantined: exceeded 2 consecutive failures")
			info, err := bad.Run(client, "child").Status(ctx)
			assert.NoError(t, err)
			assert.Equal(t, info.Status, tt.status)
			assert.Contains(t, info.TurnFailure, "a bug")
			_, err = bad.Run(client, "child").Wait(ctx)
			assert.ErrorIs(t, err, tt.want)
			page, err := store.List(ctx, provider.Query{Parent: "child"})
			assert.NoError(t, err)
			want := provider.Canceled
			if tt.action == durango.QuarantineDeadLetter {
				want = provider.Running // it may be needed again
			}
			reaches(t, store, page.Instances[0].ID, want)
			assert.Equal(t, len(quarantined(t, client, durango.QuarantineFilter{})), 0)
		})
	}
}

// A dead letter keeps what it needs: requeued, it goes on from its last turn,
// with the messages and the ends of children that came meanwhile.
func TestDeadLettersAreRequeuedAndPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		letter := durango.NewSignal[string]("letter")
		var broken atomic.Bool
		var charged atomic.Int64
		broken.Store(true)
		charge := durango.DefineActivity("charge", func(context.Context, durango.None) (int64, error) { return charged.Add(1), nil })
		child := durango.DefineOrchestration("child", func(ctx *durango.Context, _ durango.None) (string, error) {
			return "child", ctx.Sleep(time.Hour)
		})
		prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, _ durango.None) (string, error) {
			n, err := charge.Call(ctx, durango.None{})
			if err != nil {
				return "", err
			}
			slow := child.Go(ctx, durango.None{})
			text, err := letter.Next(ctx).Await(ctx)
			if err != nil {
				return "", err
			}
			if broken.Load() {
				panic("a bug")
			}
			last, err := slow.Await(ctx)
			return fmt.Sprint(n, text, last), err
		})
		client, _ := brief(t, store, durango.Options{Quarantine: durango.QuarantinePolicy{Action: durango.QuarantineDeadLetter}}, charge, child, prog)
		for _, id := range []string{"a", "b", "c"} {
			_, err := prog.Start(ctx, client, id, durango.None{})
			assert.NoError(t, err)
			assert.NoError(t, letter.Send(ctx, client, id, " letter "))
		}
		for _, id := range []string{"a", "b", "c"} {
			reaches(t, store, id, provider.Failed)
		}
		assert.ErrorIs(t, letter.Send(ctx, client, "a", "too late"), durango.ErrNotRunning)
		all := quarantined(t, client, durango.QuarantineFilter{DeadLetters: true})
		assert.Equal(t, len(all), 3)
		assert.Equal(t, all[0].Unread > 0, true)
		assert.ErrorIs(t, client.Release(ctx, "a"), durango.ErrNotQuarantined)
		time.Sleep(2 * time.Hour) // the children end, and nobody is there to be told

		assert.NoError(t, client.Purge(ctx, "c"))
		assert.ErrorIs(t, client.Purge(ctx, "c"), durango.ErrNotFound)
		broken.Store(false)
		n, err := client.RequeueAll(ctx, durango.QuarantineFilter{Fingerprint: all[0].Fingerprint})
		assert.NoError(t, err)
		assert.Equal(t, n, 2)
		for _, id := range []string{"a", "b"} {
			got, err := prog.Run(client, id).Wait(ctx)
			assert.NoError(t, err)
			assert.Contains(t, got, "letter child")
		}
		assert.Equal(t, charged.Load(), int64(3), "what is recorded does not run again")
		assert.Equal(t, len(quarantined(t, client, durango.QuarantineFilter{DeadLetters: true})), 0)
		_, err = prog.Run(client, "c").Status(ctx)
		assert.ErrorIs(t, err, durango.ErrNotFound)
	})
}

// DESIGN 8.6: "Callback runs on the node after the commit, at least once, with
// a deadline, and if it fails, Suspend."
func TestQuarantineCallback(t *testing.T) {
	for _, name := range []string{"retries", "fails", "panics", "hangs"} {
		synctest.Test(t, func(t *testing.T) {
			store, ctx := memory.Open(), context.Background()
			var broken atomic.Bool
			var calls atomic.Int64
			broken.Store(true)
			policy := durango.QuarantinePolicy{MaxConsecutiveFailures: 2, Action: durango.QuarantineCallback, CallbackTimeout: time.Minute}
			policy.Callback = func(ctx context.Context, q durango.Quarantine) error {
				calls.Add(1)
				assert.Equal(t, q.ID, "it")
				assert.Equal(t, q.Status, durango.StatusQuarantined)
				assert.Equal(t, q.Failures, int64(2))
				switch name {
				case "retries":
					broken.Store(false)
					return durango.NewClient(store).Retry(ctx, q.ID)
				case "fails":
					return errors.New("no")
				case "panics":
					panic("no")
				}
				<-ctx.Done()
				return nil
			}
			prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, _ durango.None) (int, error) {
				if broken.Load() {
					panic("a bug")
				}
				return 1, nil
			}).WithQuarantine(policy)
			client, _ := brief(t, store, durango.Options{}, prog)
			run, err := prog.Start(ctx, client, "it", durango.None{})
			assert.NoError(t, err)
			if name == "retries" {
				completes(t, run, 1)
			} else {
				row := reaches(t, store, "it", provider.Quarantined)
				time.Sleep(time.Hour)
				row, err = store.Get(ctx, provider.Target{Key: row.Key})
				assert.NoError(t, err)
				assert.Equal(t, row.Status, provider.Quarantined)
				assert.Equal(t, provider.ParseTurnFailure(row.TurnFailure).Notify, provider.NodeKey(0))
			}
			assert.Equal(t, calls.Load(), int64(1))
		})
	}
}

// A callback that its node did not live to see is called by another.
func TestQuarantineCallbackIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		called := make(chan string, 10)
		policy := durango.QuarantinePolicy{MaxConsecutiveFailures: 1, Action: durango.QuarantineCallback, CallbackTimeout: 10 * time.Hour}
		prog := func(name string, answer bool) durango.Registrable {
			p := policy
			p.Callback = func(ctx context.Context, q durango.Quarantine) error {
				called <- name
				if !answer {
					<-ctx.Done()
				}
				return ctx.Err()
			}
			return durango.DefineOrchestration("prog", func(ctx *durango.Context, _ durango.None) (int, error) { panic("a bug") }).WithQuarantine(p)
		}
		client, stop := brief(t, store, durango.Options{}, prog("first", false))
		_, err := durango.NewOrchestration[durango.None, int]("prog").Start(ctx, client, "it", durango.None{})
		assert.NoError(t, err)
		assert.Equal(t, <-called, "first")
		stop()
		brief(t, store, durango.Options{}, prog("second", true))
		assert.Equal(t, <-called, "second")
		time.Sleep(time.Hour)
		assert.Equal(t, len(called), 0)
	})
}

// DESIGN 8.6: "Quarantine belongs to the instance and survives
// continue-as-new": the second execution fails, and goes on when it is let go.
func TestQuarantineAfterContinueAsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		var broken atomic.Bool
		broken.Store(true)
		letter := durango.NewSignal[string]("letter")
		prog := durango.NewOrchestration[int, string]("prog")
		bound := prog.Bind(func(ctx *durango.Context, n int) (string, error) {
			if n < 2 {
				return prog.ContinueAsNew(ctx, n+1)
			}
			if broken.Load() {
				panic("a bug in the third execution")
			}
			text, err := letter.Next(ctx).Await(ctx)
			return fmt.Sprint(n, text), err
		})
		client, stop := brief(t, store, durango.Options{}, bound)
		run, err := prog.Start(ctx, client, "it", 0)
		assert.NoError(t, err)
		reaches(t, store, "it", provider.Quarantined)
		q, err := client.Quarantine(ctx, "it")
		assert.NoError(t, err)
		assert.Equal(t, q.Execution, int64(3))
		assert.Equal(t, q.Failures, int64(5))
		assert.NoError(t, letter.Send(ctx, client, "it", " waits"))
		stop()
		client, _ = brief(t, store, durango.Options{}, bound)
		broken.Store(false)
		assert.NoError(t, client.Retry(ctx, "it"))
		got, err := prog.Run(client, run.ID()).Wait(ctx)
		assert.NoError(t, err)
		assert.Equal(t, got, "2 waits")
	})
}

// A history has a limit: an execution that goes beyond fails its turn, and can
// go on when the limit is raised.
func TestHistoryLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, n int) (int, error) {
			for range n {
				if err := ctx.Sleep(time.Second); err != nil {
					return 0, err
				}
			}
			return n, nil
		})
		client, stop := brief(t, store, durango.Options{MaxHistory: 100}, prog)
		run, err := prog.Start(ctx, client, "it", 100)
		assert.NoError(t, err)
		reaches(t, store, "it", provider.Quarantined)
		q, err := client.Quarantine(ctx, "it")
		assert.NoError(t, err)
		assert.Equal(t, q.Kind, "limit")
		assert.Contains(t, q.Cause, "the limit is 100")
		stop()
		client, _ = brief(t, store, durango.Options{}, prog)
		assert.NoError(t, client.Retry(ctx, "it"))
		completes(t, prog.Run(client, run.ID()), 100)
	})
}

// What is wrong with a policy is said where it is given.
func TestQuarantinePolicyIsChecked(t *testing.T) {
	for part, p := range map[string]durango.QuarantinePolicy{
		"Window":          {Window: -1},
		"CallbackTimeout": {CallbackTimeout: -1},
		"Action is 9":     {Action: 9},
		"Callback":        {Action: durango.QuarantineCallback},
	} {
		_, err := durango.New(memory.Open(), durango.Options{Quarantine: p})
		assert.Contains(t, fmt.Sprint(err), part)
	}
}

// DESIGN 8.6: "Wait on a quarantined run keeps waiting unless asked to return
// ErrQuarantined."
func TestWaitUntilQuarantined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		stuck := durango.WaitOptions{UntilQuarantined: true}
		var fixed atomic.Bool
		prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, s string) (string, error) {
			if !fixed.Load() {
				panic("a bug")
			}
			return s, nil
		}).WithQuarantine(durango.QuarantinePolicy{MaxConsecutiveFailures: 3})
		client, _ := brief(t, store, durango.Options{}, prog)
		elsewhere := durango.NewClient(store)

		// Who waits before, on the node and elsewhere; who does not ask goes on.
		type result struct {
			out string
			err error
		}
		wait := func(run *durango.Run[string]) chan result {
			done := make(chan result, 1)
			go func() {
				out, err := run.Wait(ctx)
				done <- result{out, err}
			}()
			return done
		}
		run, err := prog.Start(ctx, client, "a", "out")
		assert.NoError(t, err)
		there := prog.Run(elsewhere, "a")
		asked := []chan result{wait(run.With(stuck)), wait(there.With(stuck)), wait(run.With(stuck).With(stuck))}
		patient := []chan result{wait(run), wait(there), wait(run.With(stuck).With(durango.WaitOptions{}))}
		for _, done := range asked {
			r := <-done
			assert.ErrorIs(t, r.err, durango.ErrQuarantined)
			assert.ErrorContains(t, r.err, `wait for instance "a"`)
			assert.Equal(t, r.out, "")
		}
		// Who asks later, is told at once.
		for _, again := range []*durango.Run[string]{run, there} {
			began := time.Now()
			_, err := again.With(stuck).Wait(ctx)
			assert.ErrorIs(t, err, durango.ErrQuarantined)
			assert.Equal(t, time.Since(began), time.Duration(0))
		}
		time.Sleep(time.Hour)
		for _, done := range patient {
			assert.Equal(t, len(done), 0, "it waits")
		}
		fixed.Store(true)
		assert.NoError(t, client.Retry(ctx, "a"))
		for _, done := range append(patient, wait(run.With(stuck)), wait(there.With(stuck))) {
			r := <-done
			assert.NoError(t, r.err)
			assert.Equal(t, r.out, "out")
		}

		// An end is an end, and says how.
		fixed.Store(false)
		letter := prog.WithQuarantine(durango.QuarantinePolicy{MaxConsecutiveFailures: 1, Action: durango.QuarantineDeadLetter})
		other := memory.Open()
		client, _ = brief(t, other, durango.Options{}, letter)
		run, err = prog.Start(ctx, client, "b", "out")
		assert.NoError(t, err)
		_, err = run.With(stuck).Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrQuarantined)
		var failed *durango.Error
		assert.True(t, errors.As(err, &failed), "%v", err)
	})
}
