package durango_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// killers are processes with an activity that ends them, one after the other.
type killers struct {
	t     *testing.T
	store *memory.Store
	o     durango.Options
	prog  durango.Registrable
	fixed atomic.Bool
	end   chan struct{}
	lines []*severed
}

// over lets what is left of the processes leave.
func (k *killers) over() {
	for _, line := range k.lines {
		line.cut.Store(false)
	}
	close(k.end)
}

var kills = durango.NewActivity[durango.None, string]("kills")

// until runs processes until done, and returns how many have ended.
func (k *killers) until(done func() bool) (ended int) {
	k.t.Helper()
	for {
		line := &severed{Store: k.store}
		k.lines = append(k.lines, line)
		var dead atomic.Bool
		_, stop := brief(k.t, line, k.o, k.prog, kills.Bind(func(context.Context, durango.None) (string, error) {
			if k.fixed.Load() {
				return "fixed", nil
			}
			line.cut.Store(true)
			dead.Store(true)
			<-k.end
			return "", nil
		}))
		for !dead.Load() && !done() {
			time.Sleep(10 * time.Millisecond)
		}
		if !dead.Load() {
			stop()
			return ended
		}
		ended++
		assert.True(k.t, ended < 20, "%d processes", ended)
	}
}

func (k *killers) status(id string, want provider.Status) func() bool {
	return func() bool {
		row, err := k.store.Get(context.Background(), provider.Target{ID: id})
		assert.NoError(k.t, err)
		return row.Status == want
	}
}

// DESIGN 8.6: what crashes its worker is quarantined, "`Release` resumes,
// `Retry` resumes with the count reset": the instance of an activity that ends
// its processes goes on with the activity when it is let go, and with the
// messages that came meanwhile.
func TestAnActivityThatEndsItsProcessesIsTriedAgainWhenItIsLetGo(t *testing.T) {
	for _, action := range []durango.QuarantineAction{durango.QuarantineSuspend, durango.QuarantineDeadLetter} {
		synctest.Test(t, func(t *testing.T) {
			ctx, letter := context.Background(), durango.NewSignal[string]("letter")
			k := &killers{t: t, store: memory.Open(), end: make(chan struct{})}
			defer k.over()
			k.o = durango.Options{Quarantine: durango.QuarantinePolicy{Action: action}}
			prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, _ durango.None) (string, error) {
				out, err := kills.Call(ctx, durango.None{})
				if err != nil {
					return "", err
				}
				text, err := letter.Next(ctx).Await(ctx)
				return out + text, err
			})
			k.prog = prog
			client := durango.NewClient(k.store)
			run, err := prog.Start(ctx, client, "it", durango.None{})
			assert.NoError(t, err)
			assert.NoError(t, letter.Send(ctx, client, "it", " and read"))
			again, stopped := client.Retry, provider.Quarantined
			if action == durango.QuarantineDeadLetter {
				again, stopped = client.Requeue, provider.Failed
			}
			assert.Equal(t, k.until(k.status("it", stopped)), 7)
			q, err := client.Quarantine(ctx, "it")
			assert.NoError(t, err)
			assert.Equal(t, q.Fingerprint, "worker-lost kills")
			assert.Equal(t, q.Failures, int64(5))
			assert.Contains(t, q.Cause, "activity kills ended its process 5 times")

			assert.NoError(t, again(ctx, "it"))
			assert.Equal(t, k.until(k.status("it", stopped)), 5, "it is under suspicion from the first attempt on")
			if action == durango.QuarantineSuspend {
				assert.NoError(t, client.Release(ctx, "it"))
				assert.Equal(t, k.until(k.status("it", stopped)), 1, "one more is one too many")
			}
			assert.NoError(t, again(ctx, "it"))
			k.fixed.Store(true)
			assert.Equal(t, k.until(k.status("it", provider.Completed)), 0)
			out, err := prog.Run(client, run.ID()).Wait(ctx)
			assert.NoError(t, err)
			assert.Equal(t, out, "fixed and read")
		})
	}
}

// If the policy says so the activity fails, and the orchestration decides.
func TestAnActivityThatEndsItsProcessesMayFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		k := &killers{t: t, store: memory.Open(), end: make(chan struct{})}
		defer k.over()
		k.o = durango.Options{MaxTaskCrashes: 2}
		prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, _ durango.None) (string, error) {
			_, err := kills.Call(ctx, durango.None{})
			if !errors.Is(err, durango.ErrWorkerLost) {
				return "", err
			}
			return "without it", ctx.Sleep(time.Second)
		}).WithQuarantine(durango.QuarantinePolicy{FailActivity: true})
		k.prog = prog
		client := durango.NewClient(k.store)
		run, err := prog.Start(ctx, client, "it", durango.None{})
		assert.NoError(t, err)
		assert.Equal(t, k.until(k.status("it", provider.Completed)), 4)
		out, err := run.Wait(ctx)
		assert.NoError(t, err)
		assert.Equal(t, out, "without it")
	})
}

// The other actions of a policy are done for an activity as for turns that fail.
func TestActionsForAnActivityThatEndsItsProcesses(t *testing.T) {
	for action, want := range map[durango.QuarantineAction]provider.Status{
		durango.QuarantineCancel: provider.Canceled, durango.QuarantineCallback: provider.Quarantined,
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			k := &killers{t: t, store: memory.Open(), end: make(chan struct{})}
			defer k.over()
			called := make(chan durango.Quarantine, 1)
			policy := durango.QuarantinePolicy{Action: action}
			if action == durango.QuarantineCallback {
				policy.Callback = func(_ context.Context, q durango.Quarantine) error {
					called <- q
					return errors.New("no")
				}
			}
			k.o = durango.Options{MaxTaskCrashes: 1, Quarantine: policy}
			prog := durango.DefineOrchestration("prog", func(ctx *durango.Context, _ durango.None) (string, error) {
				return kills.Call(ctx, durango.None{})
			})
			k.prog = prog
			run, err := prog.Start(ctx, durango.NewClient(k.store), "it", durango.None{})
			assert.NoError(t, err)
			done := k.status("it", want)
			if action == durango.QuarantineCallback {
				done = func() bool { return len(called) == 1 }
			}
			assert.Equal(t, k.until(done), 3)
			assert.True(t, k.status("it", want)(), "a callback that fails leaves it in quarantine")
			if action == durango.QuarantineCallback {
				assert.Equal(t, (<-called).Place, "kills")
				return
			}
			_, err = run.Wait(ctx)
			assert.ErrorIs(t, err, durango.ErrCanceled)
		})
	}
}
