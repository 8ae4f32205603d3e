package durango_test

import (
	"context"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
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
	run, err := eternal.Start(ctx, client, "e", round{})
	assert.NoError(t, err)
	for range 3 {
		assert.NoError(t, tick.Send(ctx, client, "e", 1))
	}
	assert.NoError(t, run.Cancel(ctx, "enough"))

	rt, err := durango.New(store, durango.Options{})
	assert.NoError(t, err)
	rt.Register(eternal.Bind(func(ctx *durango.Context, r round) (int, error) {
		if _, err := tick.Next(ctx).Await(ctx); err != nil {
			return 0, err
		}
		return eternal.ContinueAsNew(ctx, round{r.N + 1})
	}))
	node, shut := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- rt.Run(node) }()
	_, err = run.Wait(ctx)
	assert.ErrorIs(t, err, durango.ErrCanceled)
	shut()
	assert.NoError(t, <-done)
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
