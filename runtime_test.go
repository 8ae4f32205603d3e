package durango_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// node runs a runtime for the length of a test and returns its client.
func node(t *testing.T, store provider.Provider, ds ...durango.Registrable) *durango.Client {
	t.Helper()
	rt, err := durango.New(store, durango.Options{Logger: slog.New(slog.DiscardHandler)})
	assert.NoError(t, err)
	rt.Register(ds...)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rt.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return rt.Client()
}

// deadline bounds what a test waits for.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestRuntimeEndToEnd(t *testing.T) {
	ctx := deadline(t)
	type Decline struct{ Reason string }
	declined := durango.NewError[Decline]("card-declined")
	keys := make(chan durango.ActivityInfo, 10)
	charge := durango.DefineActivity("charge", func(ctx context.Context, o Order) (string, error) {
		info := durango.Info(ctx)
		keys <- info
		if durango.ClientFrom(ctx) == nil {
			return "", errors.New("no client")
		}
		if o.Cents == 0 {
			return "", declined.New(Decline{"free"})
		}
		if info.Attempt < 3 {
			return "", errors.New("try again")
		}
		return "receipt for " + o.Item, nil
	})
	retrying := charge.With(durango.CallOptions{Retry: &durango.RetryPolicy{
		MaxAttempts: 5, Backoff: durango.Fixed, Initial: time.Millisecond, NonRetryable: []string{"card-declined"},
	}})
	fulfil := durango.DefineOrchestration("fulfil", func(ctx *durango.Context, o Order) (string, error) {
		if err := ctx.SetStatus("waiting"); err != nil {
			return "", err
		}
		by, err := approved.Next(ctx).Await(ctx)
		if err != nil {
			return "", err
		}
		receipt, err := retrying.Call(ctx, o)
		return receipt + " by " + by, err
	})
	client := node(t, memory.Open(), charge, fulfil)

	run, err := fulfil.Start(ctx, client, "order-1", Order{"tea", 300})
	assert.NoError(t, err)
	assert.NoError(t, approved.Send(ctx, client, "order-1", "ann"))
	got, err := run.Wait(ctx)
	assert.NoError(t, err)
	assert.Equal(t, got, "receipt for tea by ann")
	for attempt := 1; attempt <= 3; attempt++ {
		info := <-keys
		assert.Equal(t, info.Attempt, attempt)
		assert.Equal(t, info.Instance, "order-1")
		assert.True(t, info.IdempotencyKey != "" && info.Execution == 1 && info.Name == "charge" && !info.ScheduledAt.IsZero())
	}
	info, err := run.Status(ctx)
	assert.NoError(t, err)
	assert.True(t, info.Status == durango.StatusCompleted && !info.Status.Open() && info.Version == "1.0.0" &&
		string(info.CustomStatus) == `"waiting"` && !info.ClosedAt.IsZero(), info)

	// Typed failure, through a run attached to by ID.
	_, err = fulfil.Start(ctx, client, "order-2", Order{"air", 0})
	assert.NoError(t, err)
	assert.NoError(t, approved.Send(ctx, client, "order-2", "bob"))
	_, err = fulfil.Run(client, "order-2").Wait(ctx)
	d, ok := declined.From(err)
	assert.True(t, ok && d.Reason == "free", err)

	// Taken IDs.
	again, err := fulfil.Start(ctx, client, "order-1", Order{})
	var exists *durango.AlreadyExistsError
	assert.True(t, errors.Is(err, durango.ErrAlreadyExists) && errors.As(err, &exists) && exists.ID == "order-1")
	got, err = again.Wait(ctx)
	assert.True(t, err == nil && got == "receipt for tea by ann")
	again, err = fulfil.With(durango.CallOptions{IfExists: durango.Reuse}).Start(ctx, client, "order-1", Order{})
	assert.NoError(t, err)
	assert.Equal(t, again.ID(), "order-1")

	// A signal that is sent again under its ID arrives once.
	twice := durango.DefineOrchestration("twice", func(ctx *durango.Context, _ durango.None) (string, error) {
		a, err := approved.Next(ctx).Await(ctx)
		if err != nil {
			return "", err
		}
		b, err := approved.Next(ctx).Await(ctx)
		return a + b, err
	})
	client2 := node(t, memory.Open(), twice)
	run, err = twice.Start(ctx, client2, "id", durango.None{})
	assert.NoError(t, err)
	once := approved.With(durango.SendOptions{ID: "1"})
	assert.NoError(t, once.Send(ctx, client2, "id", "a"))
	assert.NoError(t, once.Send(ctx, client2, "id", "a"))
	assert.NoError(t, approved.Send(ctx, client2, "id", "b"))
	got, err = run.Wait(ctx)
	assert.True(t, err == nil && got == "ab", got, err)

	// Nobody there, and nobody there any more.
	assert.ErrorIs(t, approved.Send(ctx, client, "nobody", "x"), durango.ErrNotFound)
	assert.ErrorIs(t, approved.Send(ctx, client, "order-1", "x"), durango.ErrNotRunning)
	assert.ErrorIs(t, again.Cancel(ctx, ""), durango.ErrNotRunning)
	_, err = fulfil.Run(client, "nobody").Wait(ctx)
	assert.ErrorIs(t, err, durango.ErrNotFound)
	_, err = fulfil.Run(client, "nobody").Status(ctx)
	assert.ErrorIs(t, err, durango.ErrNotFound)
}

func TestRuntimeChildren(t *testing.T) {
	ctx := deadline(t)
	tree := durango.NewOrchestration[int, string]("tree")
	bound := tree.Bind(func(ctx *durango.Context, depth int) (string, error) {
		if depth == 0 {
			return ctx.InstanceID() + "<" + ctx.Info().Parent, nil
		}
		return tree.Call(ctx, depth-1)
	})
	client := node(t, memory.Open(), bound)
	run, err := tree.Start(ctx, client, "root", 2)
	assert.NoError(t, err)
	got, err := run.Wait(ctx)
	assert.NoError(t, err)
	assert.Equal(t, got, "root/1.1/1.1<root/1.1")
}

func TestRuntimeContinueAsNewKeepsIdentity(t *testing.T) {
	ctx := deadline(t)
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (string, error) {
		if n > 0 {
			return durango.ContinueAsNew[string](ctx, n-1)
		}
		return fmt.Sprint(ctx.InstanceID(), " ", ctx.Execution()), nil
	})
	run, err := o.Start(ctx, node(t, memory.Open(), o), "me", 3)
	assert.NoError(t, err)
	got, err := run.Wait(ctx)
	assert.NoError(t, err)
	assert.Equal(t, got, "me 4")
}

func TestRuntimeCancelAndTerminate(t *testing.T) {
	ctx := deadline(t)
	var stopped atomic.Int32
	begun := make(chan bool, 1)
	slow := durango.DefineActivity("slow", func(ctx context.Context, _ durango.None) (durango.None, error) {
		begun <- true
		<-ctx.Done()
		stopped.Add(1)
		return durango.None{}, ctx.Err()
	})
	inner := durango.DefineOrchestration("inner", func(ctx *durango.Context, _ durango.None) (durango.None, error) {
		return slow.Call(ctx, durango.None{})
	})
	outer := durango.DefineOrchestration("outer", func(ctx *durango.Context, id string) (durango.None, error) {
		return inner.With(durango.CallOptions{ID: id}).Call(ctx, durango.None{})
	})
	client := node(t, memory.Open(), slow, inner, outer)

	run, err := outer.Start(ctx, client, "a", "a-inner")
	assert.NoError(t, err)
	<-begun
	assert.NoError(t, run.Cancel(ctx, "enough"))
	_, err = run.Wait(ctx)
	assert.ErrorIs(t, err, durango.ErrCanceled)
	assert.ErrorContains(t, err, "enough")
	_, err = inner.Run(client, "a-inner").Wait(ctx)
	assert.ErrorIs(t, err, durango.ErrCanceled)

	// The parent of what was terminated is told.
	run, err = outer.Start(ctx, client, "b", "b-inner")
	assert.NoError(t, err)
	<-begun
	assert.NoError(t, inner.Run(client, "b-inner").Terminate(ctx, "by hand"))
	_, err = run.Wait(ctx)
	assert.ErrorIs(t, err, durango.ErrTerminated)
	assert.ErrorContains(t, err, "by hand")
	info, err := inner.Run(client, "b-inner").Status(ctx)
	assert.NoError(t, err)
	assert.True(t, info.Status == durango.StatusTerminated && info.Parent == "b", info)

	// Errors name the instance once, and say nothing of the store.
	err = inner.Run(client, "b-inner").Terminate(ctx, "again")
	assert.ErrorIs(t, err, durango.ErrNotRunning)
	assert.Equal(t, err.Error(), `terminate instance "b-inner": instance has ended`)
	_, err = inner.Run(client, "nobody").Status(ctx)
	assert.ErrorIs(t, err, durango.ErrNotFound)
	assert.Equal(t, err.Error(), `status of instance "nobody": instance not found`)
}

// A client without a node starts, and a node that comes later runs.
func TestStartBeforeAnyNode(t *testing.T) {
	ctx := deadline(t)
	store := memory.Open()
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) { return double.Call(ctx, n) })
	run, err := o.Start(ctx, durango.NewClient(store), "early", 21)
	assert.NoError(t, err)
	later, err := o.With(durango.CallOptions{StartAt: time.Now().Add(50 * time.Millisecond)}).
		Start(ctx, durango.NewClient(store), "later", 1)
	assert.NoError(t, err)
	node(t, store, o, double)
	got, err := run.Wait(ctx)
	assert.True(t, err == nil && got == 42, got, err)
	got, err = later.Wait(ctx)
	assert.True(t, err == nil && got == 2, got, err)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(deadline(t))
	o := durango.NewOrchestration[int, int]("nobody-has-this")
	run, err := o.Start(ctx, durango.NewClient(memory.Open()), "id", 1)
	assert.NoError(t, err)
	cancel()
	_, err = run.Wait(ctx)
	assert.ErrorIs(t, err, context.Canceled)
}

// A panic fails the turn and not the instance; people see why.
func TestTurnFailureShowsInStatus(t *testing.T) {
	ctx := deadline(t)
	failing := make(chan bool, 100)
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		failing <- true
		panic("a bug")
	})
	run, err := o.Start(ctx, node(t, memory.Open(), o), "id", durango.None{})
	assert.NoError(t, err)
	<-failing
	for {
		info, err := run.Status(ctx)
		assert.NoError(t, err)
		assert.True(t, info.Status.Open())
		if info.TurnFailure != "" {
			assert.Contains(t, info.TurnFailure, "a bug")
			return
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
}
