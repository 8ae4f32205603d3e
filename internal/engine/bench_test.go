package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// BenchmarkSequence runs orchestrations of five activities one after another,
// a fixed number of them in flight; an operation is one activity.
func BenchmarkSequence(b *testing.B) {
	for _, inFlight := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			benchSequence(b, memory.Open(), inFlight)
		})
	}
}

func benchSequence(b *testing.B, store provider.Provider, inFlight int) {
	e, err := New(store, Options{Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	e.Register([]Orchestration{{Name: "seq", Version: "1.0.0", Code: sequence(5)}}, []Activity{{Name: "echo", Run: echo}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for !e.member() {
	}
	started := history.Event{Kind: history.Started, Name: "seq"}
	payload := history.AppendMessage(nil, &started)
	jobs := make(chan int, b.N)
	for i := range (b.N + 4) / 5 {
		jobs <- i
	}
	close(jobs)
	b.ReportAllocs()
	b.ResetTimer()
	before := e.Metrics()
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for i := range jobs {
				r, err := e.Client().Start(ctx, provider.NewInstance{ID: fmt.Sprint("i", i), Name: "seq", Start: payload})
				if err != nil || r.Err != nil {
					panic(fmt.Sprint(err, r.Err))
				}
				if _, err := e.Client().Wait(ctx, provider.Target{Key: r.Key}); err != nil {
					panic(err)
				}
			}
		})
	}
	workers.Wait()
	b.StopTimer()
	m := e.Metrics()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "activities/s")
	b.ReportMetric(float64(m.Commits-before.Commits)/float64(b.N), "commits/op")
	b.ReportMetric(float64(m.Commits-before.Commits)/float64(max(1, m.Groups-before.Groups)), "commits/group")
}
