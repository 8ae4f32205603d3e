package durango_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/providertest"
	"github.com/durango-go/durango/provider/sqlite"
)

// DESIGN 5: cancel reaches the instance, whichever execution it is at. Here the
// request is delivered in the turn that continues as new.
func TestCancelIsNotLostAtContinueAsNew(t *testing.T) {
	type round struct{ N int }
	tick := durango.NewSignal[int]("tick")
	eternal := durango.NewOrchestration[round, int]("eternal")
	store := memory.Open()
	client := durango.NewClient(store)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	began := make(chan struct{}, 10)
	code := eternal.Bind(func(ctx *durango.Context, r round) (int, error) {
		select {
		case began <- struct{}{}:
		default:
		}
		if _, err := tick.Next(ctx).Await(ctx); err != nil {
			return 0, err
		}
		return eternal.ContinueAsNew(ctx, round{r.N + 1})
	})
	_, shut := brief(t, store, durango.Options{}, code)
	run, err := eternal.Start(ctx, client, "e", round{})
	assert.NoError(t, err)
	<-began
	shut() // the first turn has been taken
	for range 3 {
		assert.NoError(t, tick.Send(ctx, client, "e", 1))
	}
	assert.NoError(t, run.Cancel(ctx, "enough"))
	info, err := run.Status(ctx)
	assert.NoError(t, err)
	assert.Equal(t, info.Turns, int64(1))

	brief(t, store, durango.Options{}, code)
	_, err = run.Wait(ctx)
	assert.ErrorIs(t, err, durango.ErrCanceled)
}

// Canceling what waits for its delayed start ends it at once: its code does not
// run, and who waits for it is told.
// However much was sent before the request to cancel, the code does not run.
func TestCancelBehindMuchMailBeforeADelayedStart(t *testing.T) {
	var ran atomic.Bool
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ []byte) (int, error) {
		ran.Store(true)
		return 1, ctx.Sleep(time.Hour)
	})
	noise := make([]byte, 45_000) // of which four are a page
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	data := durango.NewSignal[[]byte]("data")
	for name, messages := range map[string]int{"large": 8, "many": 3000} {
		durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
			run := durangotest.Start(e, o.With(durango.CallOptions{StartAt: time.Now().Add(1000 * time.Hour)}), name, noise)
			for range messages {
				assert.NoError(t, data.Send(e.Context(), e.Client(), name, noise[:min(len(noise), 8*len(noise)/messages)]))
			}
			assert.NoError(t, run.Cancel(e.Context(), "not needed"))
			_, err := run.Wait(e.Context())
			assert.ErrorIs(t, err, durango.ErrCanceled)
			assert.False(t, ran.Load(), "%s: the code ran", name)
		}, o)
	}
}

func TestCancelBeforeADelayedStart(t *testing.T) {
	month := 30 * 24 * time.Hour
	var ran atomic.Bool
	kid := durango.DefineOrchestration("kid", func(*durango.Context, int) (int, error) {
		ran.Store(true)
		return 1, nil
	})
	// It waits for a child that begins later, and says how that ended.
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		_, err := kid.With(durango.CallOptions{ID: ctx.InstanceID() + "-kid", StartAt: ctx.Now().Add(month)}).Call(ctx, 1)
		if ctx.Err() != nil {
			return "", err
		}
		return fmt.Sprint("the child: ", err), nil
	})
	ends := func(t *testing.T, ctx context.Context, client *durango.Client, later time.Duration) {
		t.Helper()
		run, err := kid.With(durango.CallOptions{StartAt: time.Now().Add(later)}).Start(ctx, client, "alone", 1)
		assert.NoError(t, err)
		assert.NoError(t, run.Cancel(ctx, "not needed"))
		_, err = run.Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrCanceled)
		assert.Contains(t, err.Error(), "not needed")
	}
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, client, begun := e.Context(), e.Client(), time.Now()
		ends(t, ctx, client, month)
		there := func(id string) {
			t.Helper()
			for range 1000 {
				if _, err := kid.Run(client, id).Status(ctx); err == nil {
					return
				}
				time.Sleep(time.Second)
			}
			t.Fatalf("%s is not started", id)
		}

		// A child that is canceled itself: the parent is told.
		first := durangotest.Start(e, o.Orchestration, "a", durango.None{})
		there("a-kid")
		assert.NoError(t, kid.Run(client, "a-kid").Cancel(ctx, "not needed"))
		assert.Equal(t, durangotest.Wait(e, first), "the child: canceled: not needed")

		// A child whose parent is canceled.
		second := durangotest.Start(e, o.Orchestration, "b", durango.None{})
		there("b-kid")
		assert.NoError(t, second.Cancel(ctx, "enough"))
		_, err := second.Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrCanceled)
		_, err = kid.Run(client, "b-kid").Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrCanceled)
		assert.True(t, time.Since(begun) < 24*time.Hour, "it took %s", time.Since(begun))
		assert.False(t, ran.Load(), "the code ran")
		e.CheckReplay()
	}, o, kid)

	t.Run("sqlite", func(t *testing.T) {
		store, err := sqlite.Open(filepath.Join(t.TempDir(), "cancel.db"))
		assert.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, store.Close()) })
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		brief(t, store, durango.Options{}, kid)
		ends(t, ctx, durango.NewClient(store), month)
		assert.False(t, ran.Load(), "the code ran")
	})

	// A store that cannot hasten it: it ends when it would have begun.
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		client, _ := brief(t, providertest.Version1(memory.Open()), durango.Options{}, kid)
		ends(t, context.Background(), client, time.Hour)
		assert.True(t, time.Since(begun) >= time.Hour, "it took %s", time.Since(begun))
		assert.False(t, ran.Load(), "the code ran")
	})
}

// Terminate stops an instance without running its code: whoever waits learns of
// it at once, and a running activity is told.
func TestTerminateIsSeenAtOnce(t *testing.T) {
	began, told := make(chan struct{}), make(chan struct{})
	hang := durango.DefineActivity("hang", func(ctx context.Context, _ durango.None) (durango.None, error) {
		close(began)
		<-ctx.Done()
		close(told)
		return durango.None{}, ctx.Err()
	})
	stuck := durango.DefineOrchestration("stuck", func(ctx *durango.Context, _ durango.None) (durango.None, error) {
		return hang.Call(ctx, durango.None{})
	})
	ctx, stop := context.WithTimeout(t.Context(), 8*time.Second)
	defer stop()
	rt, err := durango.New(memory.Open(), durango.Options{})
	assert.NoError(t, err)
	rt.Register(hang, stuck)
	node, shut := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- rt.Run(node) }()
	run, err := stuck.Start(ctx, rt.Client(), "s", durango.None{})
	assert.NoError(t, err)
	<-began
	assert.NoError(t, run.Terminate(ctx, "no more"))
	_, err = run.Wait(ctx)
	assert.ErrorIs(t, err, durango.ErrTerminated)
	<-told
	shut()
	assert.NoError(t, <-done)
}
