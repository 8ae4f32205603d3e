package durango_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/sqlite"
)

// BenchmarkRebuild sends a signal to an instance that no node has in memory: a
// node reads its history of 25,000 activities, replays it and goes on.
func BenchmarkRebuild(b *testing.B) {
	const steps = 25_000
	store, err := sqlite.OpenWith(filepath.Join(b.TempDir(), "rebuild.db"), sqlite.Options{Synchronous: sqlite.Normal})
	assert.NoError(b, err)
	b.Cleanup(func() { assert.NoError(b, store.Close()) })

	reached := make(chan int, 1) // the last signal of a turn
	goOn := durango.NewSignal[int]("go on")
	step := durango.DefineActivity("step", func(_ context.Context, o Order) (Order, error) { return o, nil })
	flow := durango.DefineOrchestration("long", func(ctx *durango.Context, o Order) (durango.None, error) {
		for o.Cents = range steps {
			if _, err := step.Call(ctx, o); err != nil {
				return durango.None{}, err
			}
		}
		for {
			n, err := goOn.Next(ctx).Await(ctx)
			if err != nil {
				return durango.None{}, err
			}
			select {
			case <-reached:
			default:
			}
			reached <- n
		}
	})
	round := 0
	visit := func() {
		rt, err := durango.New(store, durango.Options{Logger: slog.New(slog.DiscardHandler)})
		assert.NoError(b, err)
		rt.Register(flow, step)
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- rt.Run(ctx) }()
		if round == 0 {
			_, err = flow.Start(ctx, rt.Client(), "long", Order{Item: "tea"})
			assert.NoError(b, err)
		}
		b.StartTimer()
		assert.NoError(b, goOn.Send(ctx, rt.Client(), "long", round))
		for <-reached != round {
		}
		b.StopTimer()
		round++
		stop()
		assert.NoError(b, <-done)
	}
	visit()
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	for range b.N {
		visit()
	}
	b.ReportMetric(float64(2*steps*b.N)/b.Elapsed().Seconds(), "events/s")
}
