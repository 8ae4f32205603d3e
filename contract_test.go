package durango_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/providertest"
)

// lacking is a store with an Inspector and nothing else.
type lacking struct {
	provider.Provider
	provider.Inspector
}

func (s *lacking) Describe(ctx context.Context) (provider.Description, error) {
	d, err := s.Provider.Describe(ctx)
	d.Capabilities.Inspect = true
	return d, err
}

func inspectable() *lacking {
	m := memory.Open()
	return &lacking{providertest.Version1(m), m}
}

// DESIGN 8.9: "Capabilities are logged and gate features one by one with a typed
// ErrNotSupported{Feature, Reason}." Each capability with an interface has here
// all calls that need it.
func TestCallsThatNeedACapability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := durango.DefineActivity("later", func(ctx context.Context, _ durango.None) (durango.None, error) {
			_, err := durango.CompleteLater(ctx)
			return durango.None{}, err
		})
		waits := durango.DefineOrchestration("waits", func(ctx *durango.Context, _ durango.None) (durango.None, error) {
			return later.Call(ctx, durango.None{})
		})
		fails := durango.DefineOrchestration("fails", func(*durango.Context, durango.None) (durango.None, error) {
			panic("a bug")
		}).WithQuarantine(durango.QuarantinePolicy{MaxConsecutiveFailures: 1})
		called := durango.QuarantinePolicy{Action: durango.QuarantineCallback,
			Callback: func(context.Context, durango.Quarantine) error { return nil }}

		large := durango.NewOrchestration[durango.Blob, durango.None]("large")

		// A store in each state, and what is done with it.
		type world struct {
			store  provider.Provider
			rt     *durango.Runtime
			client *durango.Client
			run    *durango.Run[durango.None]
			token  string
		}
		ctx := t.Context()
		open := func(store provider.Provider, whole provider.Inspector) *world {
			w := &world{store: store}
			w.client, _ = brief(t, store, durango.Options{}, later, waits, fails)
			run, err := waits.Start(ctx, w.client, "waits", durango.None{})
			assert.NoError(t, err)
			_, err = fails.Start(ctx, w.client, "fails", durango.None{})
			assert.NoError(t, err)
			row := reaches(t, whole, "fails", provider.Quarantined)
			assert.Contains(t, row.TurnFailure, "a bug")
			for w.token == "" {
				tasks, err := whole.Tasks(ctx, reaches(t, whole, "waits", provider.Running).Key)
				assert.NoError(t, err)
				if len(tasks) == 1 {
					w.token = durango.TokenOf(tasks[0])
				}
				time.Sleep(time.Millisecond)
			}
			w.run = run
			w.rt, err = durango.New(store, durango.Options{Logger: slog.New(slog.DiscardHandler)})
			assert.NoError(t, err)
			return w
		}
		m := memory.Open()
		bare := open(providertest.Version1(m), m)
		half := inspectable()
		seen := open(half, half)

		type call struct {
			name string
			do   func(*world) error
		}
		needed := map[string]struct {
			on    *world
			calls []call
		}{
			"Inspect": {bare, []call{
				{"Status", func(w *world) error { _, err := w.run.Status(ctx); return err }},
				{"Terminate", func(w *world) error { return w.run.Terminate(ctx, "") }},
				{"Check", func(w *world) error { _, err := w.rt.Check(ctx, durango.CheckOptions{}); return err }},
				{"Fail", func(w *world) error { return w.client.Fail(ctx, w.token, errors.New("no")) }},
				{"Quarantine", func(w *world) error { _, err := w.client.Quarantine(ctx, "fails"); return err }},
				{"Quarantines", func(w *world) (last error) {
					for _, last = range w.client.Quarantines(ctx, durango.QuarantineFilter{}) {
					}
					return last
				}},
				{"Release", func(w *world) error { return w.client.Release(ctx, "fails") }},
				{"Restart", func(w *world) error {
					_, err := waits.With(durango.CallOptions{IfExists: durango.Restart}).Start(ctx, w.client, "new", durango.None{})
					return err
				}},
				{"Purge", func(w *world) error { return w.client.Purge(ctx, "fails") }},
				{"PurgeAll", func(w *world) error { _, err := w.client.PurgeAll(ctx, durango.QuarantineFilter{}); return err }},
				{"SuspendIncompatible", func(w *world) error {
					_, err := durango.New(w.store, durango.Options{SuspendIncompatible: true})
					return err
				}},
			}},
			"Hold": {seen, []call{
				{"SuspendIncompatible", func(w *world) error {
					_, err := durango.New(w.store, durango.Options{SuspendIncompatible: true})
					return err
				}},
			}},
			"Amend": {seen, []call{
				{"Release", func(w *world) error { return w.client.Release(ctx, "fails") }},
				{"Retry", func(w *world) error { return w.client.Retry(ctx, "fails") }},
				{"ReleaseAll", func(w *world) error { _, err := w.client.ReleaseAll(ctx, durango.QuarantineFilter{}); return err }},
				{"RetryAll", func(w *world) error { _, err := w.client.RetryAll(ctx, durango.QuarantineFilter{}); return err }},
				{"Options.Quarantine with a callback", func(w *world) error {
					_, err := durango.New(w.store, durango.Options{Quarantine: called})
					return err
				}},
				{"WithQuarantine with a callback", func(w *world) error {
					rt, err := durango.New(w.store, durango.Options{Logger: slog.New(slog.DiscardHandler)})
					assert.NoError(t, err)
					rt.Register(waits.WithQuarantine(called))
					return rt.Run(ctx)
				}},
			}},
			"Blobs": {seen, []call{
				{"start with a large Blob", func(w *world) error {
					_, err := large.Start(ctx, w.client, "large", durango.BlobOf(make([]byte, 1<<20)))
					return err
				}},
				{"Options.Blobs with a store", func(w *world) error {
					_, err := durango.New(w.store, durango.Options{Blobs: durango.BlobOptions{Store: noBlobs{}}})
					return err
				}},
				{"SweepBlobs", func(w *world) error { return w.rt.SweepBlobs(ctx) }},
			}},
			"Examine":  {}, // for 'durango doctor' alone, which says so
			"Pipeline": {}, // what happens without is slower
		}
		for _, a := range provider.AllCapabilities() {
			want, known := needed[a.Name]
			if a.Interface == "" {
				continue // what happens without is slower, and no error
			}
			assert.True(t, known, "no calls are known that need %s", a.Name)
			for _, c := range want.calls {
				err := c.do(want.on)
				assert.ErrorIs(t, err, durango.ErrNotSupported, "%s", c.name)
				var typed *provider.NotSupportedError
				assert.True(t, errors.As(err, &typed), "%s: %v", c.name, err)
				assert.True(t, typed.Feature != "", "%s: no feature", c.name)
				assert.Equal(t, typed.Reason, "the store memory 1 lacks the capability "+a.Name, c.name)
			}
		}
		// What needs none still works: the rest of the instance's life.
		for _, w := range []*world{bare, seen} {
			assert.NoError(t, later.Complete(ctx, w.client, w.token, durango.None{}))
			_, err := w.run.Wait(ctx)
			assert.NoError(t, err)
		}
	})
}

// CONTRACT: "a provider compiled against an older module goes on compiling and
// working": what the language has runs on it.
func TestProgramsRunOnVersion1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		add := durango.NewUpdate[int, int]("add")
		done := durango.NewSignal[string]("done")
		total := durango.NewValue[int]("total")
		flaky := durango.DefineActivity("flaky", func(ctx context.Context, n int) (int, error) {
			if durango.Info(ctx).Attempt < 3 {
				return 0, errors.New("not yet")
			}
			return n + 1, nil
		})
		child := durango.DefineOrchestration("child", func(ctx *durango.Context, n int) (int, error) {
			return flaky.With(durango.CallOptions{Session: "s", Retry: &durango.RetryPolicy{MaxAttempts: 5}}).Call(ctx, n)
		})
		parent := durango.NewOrchestration[int, string]("parent")
		program := parent.Bind(func(ctx *durango.Context, n int) (string, error) {
			add.Handle(ctx, func(ctx *durango.Context, n int) (int, error) {
				sum, _ := total.Get(ctx)
				return sum + n, total.Set(ctx, sum+n)
			})
			if n > 0 {
				m, err := child.Call(ctx, n)
				if err != nil || m != n+1 {
					return "", errors.New("the child is wrong")
				}
				if err := ctx.Sleep(time.Minute); err != nil {
					return "", err
				}
				return parent.ContinueAsNew(ctx, n-1)
			}
			return done.Next(ctx).Await(ctx)
		})
		store := memory.Open()
		old := providertest.Version1(store)
		owner, stop := brief(t, old, durango.Options{}, flaky, child, program)
		client := durango.NewClient(old) // one without a node, which polls
		run, err := parent.Start(ctx, client, "p", 2)
		assert.NoError(t, err)
		sum, err := add.Call(ctx, owner, "p", 4)
		assert.NoError(t, err)
		assert.Equal(t, sum, 4)
		stop()
		_, _ = brief(t, old, durango.Options{}, flaky, child, program) // another node goes on
		sum, err = add.Call(ctx, client, "p", 5)
		assert.NoError(t, err)
		assert.Equal(t, sum, 9)
		assert.NoError(t, done.Send(ctx, client, "p", "good"))
		completes(t, run, "good")
		read, _, err := total.Read(ctx, client, "p")
		assert.NoError(t, err)
		assert.Equal(t, read, 9)
	})
}

// CONTRACT: "a client [agrees] with its first call".
func TestClientsOfAnotherContract(t *testing.T) {
	store := &contractor{provider.Plain(memory.Open()), provider.Range{Min: 7, Max: 9}}
	ctx := t.Context()
	for _, client := range []*durango.Client{durango.NewClient(store), durango.NewClientWith(store, durango.ClientOptions{})} {
		hello := durango.NewOrchestration[durango.None, durango.None]("hello")
		run := hello.Run(client, "id")
		calls := map[string]error{}
		_, calls["Start"] = hello.Start(ctx, client, "id", durango.None{})
		_, calls["Wait"] = run.Wait(ctx)
		_, calls["Status"] = run.Status(ctx)
		calls["Cancel"] = run.Cancel(ctx, "")
		calls["Terminate"] = run.Terminate(ctx, "")
		calls["Send"] = durango.NewSignal[int]("n").Send(ctx, client, "id", 1)
		_, calls["Call"] = durango.NewUpdate[int, int]("n").Call(ctx, client, "id", 1)
		_, _, calls["Read"] = durango.NewValue[int]("n").Read(ctx, client, "id")
		_, calls["NextStatus"] = run.NextStatus(ctx, 0)
		calls["Complete"] = client.Complete(ctx, durango.TokenOf(parked), 1)
		calls["Fail"] = client.Fail(ctx, durango.TokenOf(parked), errors.New("no"))
		calls["Heartbeat"] = client.Heartbeat(ctx, durango.TokenOf(parked), 1)
		calls["Release"] = client.Release(ctx, "id")
		for name, err := range calls {
			var typed *provider.IncompatibleError
			assert.True(t, errors.As(err, &typed), "%s: %v", name, err)
			assert.ErrorIs(t, err, provider.ErrIncompatible, name)
			assert.ErrorContains(t, err, "upgrade durango to a version that speaks 7")
		}
	}
}

// parked is some task that waits to be completed.
var parked = provider.Task{Instance: 5, Execution: 1, NewTask: provider.NewTask{Command: 2, Attempt: 1, Parked: true}}

// DESIGN 8.9: "Capabilities are logged".
func TestTheContractIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		rt, err := durango.New(memory.Open(), durango.Options{Logger: slog.New(slog.NewTextHandler(&text, nil))})
		assert.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		assert.NoError(t, rt.Run(ctx))
		assert.Equal(t, bytes.Count(text.Bytes(), []byte("contract=")), 1)
		assert.Contains(t, text.String(), `contract=1 capabilities="Amend Blobs Hasten Hold Inspect Notes"`)
	})
}

// noBlobs is a BlobStore that nobody gets as far as using.
type noBlobs struct{ durango.BlobStore }
