package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango"
)

// Step is what the orchestrations and activities hand around, as JSON.
type Step struct {
	Order string `json:"order"`
	N     int    `json:"n"`
}

var noop = durango.NewActivity[Step, Step]("no-op")

// countedNoop binds the no-op activity so that it counts itself.
func countedNoop(done *atomic.Int64) durango.Registrable {
	return noop.Bind(func(_ context.Context, s Step) (Step, error) {
		done.Add(1)
		return s, nil
	})
}

// seqFlow calls five activities one after another.
var seqFlow = durango.DefineOrchestration("seq", func(ctx *durango.Context, s Step) (Step, error) {
	for i := range 5 {
		var err error
		s.N = i
		if s, err = noop.Call(ctx, s); err != nil {
			return s, err
		}
	}
	return s, nil
})

func runSeq(e *env, inFlight int) (*Sample, error) {
	var done atomic.Int64
	defs := []durango.Registrable{seqFlow, countedNoop(&done)}
	return e.withNode(durango.Options{}, defs, func(st *store, n *node) (*Sample, error) {
		client := n.Client()
		return e.sustain(st, inFlight, done.Load, func(i int64) error {
			run, err := seqFlow.Start(e, client, fmt.Sprintf("order-%08d", i), Step{Order: "4711"})
			if err == nil {
				_, err = run.Wait(e)
			}
			return err
		})
	})
}

// sustain keeps inFlight calls of one going and measures a window of that: no
// start, no end. The window begins when as many calls have ended as are in
// flight, after Warm at the earliest and WarmLimit at the latest; the calls that
// end in it are timed, whenever they began. steps reads what is counted; nil
// counts the calls.
func (e *env) sustain(st *store, inFlight int, steps func() int64, one func(i int64) error) (*Sample, error) {
	var (
		next, ended     atomic.Int64
		stop, measuring atomic.Bool
		callers         sync.WaitGroup
		mu              sync.Mutex
		times           []time.Duration
		failed          error
		once            sync.Once
		steady          = make(chan struct{})
	)
	if steps == nil {
		steps = ended.Load
	}
	for range inFlight {
		callers.Go(func() {
			for !stop.Load() {
				began := time.Now()
				err := one(next.Add(1))
				took := time.Since(began)
				if err != nil {
					stop.Store(true)
				} else if ended.Add(1) < int64(inFlight) && !measuring.Load() {
					continue
				}
				once.Do(func() { close(steady) })
				mu.Lock()
				if failed = errors.Join(failed, err); err == nil && measuring.Load() {
					times = append(times, took)
				}
				mu.Unlock()
			}
		})
	}
	pause(e, e.Warm)
	limit := time.NewTimer(e.WarmLimit)
	defer limit.Stop()
	select {
	case <-steady:
	case <-limit.C:
	case <-e.Done():
	}
	m := begin(st, steps)
	measuring.Store(true)
	e.window(m)
	measuring.Store(false)
	s := m.end()
	mu.Lock()
	err := failed
	s.addLatencies(times)
	mu.Unlock()
	stop.Store(true)
	if e.abandon {
		return s, err
	}
	callers.Wait()
	return s, failed
}

// window lets a measurement go on for Window; if nothing was done in it, to the
// first step, for WarmLimit at most.
func (e *env) window(m *meter) {
	pause(e, e.Window)
	for m.steps() == m.base && time.Since(m.start) < e.Window+e.WarmLimit && e.Err() == nil {
		pause(e, time.Millisecond)
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// fanFlow starts as many activities at once as its input says and joins them.
var fanFlow = durango.DefineOrchestration("fan-out", func(ctx *durango.Context, s Step) (int, error) {
	futures := make([]*durango.Future[Step], s.N)
	for i := range futures {
		futures[i] = noop.Go(ctx, Step{Order: s.Order, N: i})
	}
	results, err := durango.All(ctx, futures...)
	return len(results), err
})

// helloFlow calls one activity: the shortest way from a start to a result.
var helloFlow = durango.DefineOrchestration("hello", func(ctx *durango.Context, s Step) (Step, error) {
	return noop.Call(ctx, s)
})

func runHello(e *env, inFlight int) (*Sample, error) {
	var done atomic.Int64
	defs := []durango.Registrable{helloFlow, countedNoop(&done)}
	return e.withNode(durango.Options{}, defs, func(st *store, n *node) (*Sample, error) {
		client := n.Client()
		return e.sustain(st, inFlight, nil, func(i int64) error {
			run, err := helloFlow.Start(e, client, fmt.Sprintf("order-%08d", i), Step{Order: "4711"})
			if err == nil {
				_, err = run.Wait(e)
			}
			return err
		})
	})
}

func runFanOut(e *env, inFlight int) (*Sample, error) {
	var done atomic.Int64
	defs := []durango.Registrable{fanFlow, countedNoop(&done)}
	return e.withNode(durango.Options{}, defs, func(st *store, n *node) (*Sample, error) {
		client := n.Client()
		return e.sustain(st, inFlight, done.Load, func(i int64) error {
			run, err := fanFlow.Start(e, client, fmt.Sprintf("order-%08d", i), Step{Order: "4711", N: e.Width})
			if err != nil {
				return err
			}
			joined, err := run.Wait(e)
			if err == nil && joined != e.Width {
				err = fmt.Errorf("joined %d of %d", joined, e.Width)
			}
			return err
		})
	})
}

var longFlow = durango.DefineOrchestration("long", func(ctx *durango.Context, s Step) (Step, error) {
	for i := range s.N {
		if _, err := noop.Call(ctx, Step{Order: s.Order, N: i}); err != nil {
			return s, err
		}
	}
	return s, nil
})

// runLong compares the first tenth of one long orchestration with the last,
// by the times at which its activities run.
func runLong(e *env, steps int) (*Sample, error) {
	at := make([]time.Time, steps)
	var done atomic.Int64
	stamp := noop.Bind(func(_ context.Context, s Step) (Step, error) {
		if s.N < len(at) {
			at[s.N] = time.Now()
		}
		done.Add(1)
		return s, nil
	})
	return e.withNode(durango.Options{}, []durango.Registrable{longFlow, stamp}, func(st *store, n *node) (*Sample, error) {
		m := begin(st, done.Load)
		run, err := longFlow.Start(e, n.Client(), "long", Step{Order: "4711", N: steps})
		if err == nil {
			_, err = run.Wait(e)
		}
		if err != nil {
			return nil, err
		}
		s := m.end()
		tenth := max(1, steps/10)
		first := at[tenth].Sub(at[0]).Seconds() / float64(tenth)
		last := at[steps-1].Sub(at[steps-1-tenth]).Seconds() / float64(tenth)
		s.add("first_tenth_us", first*1e6)
		s.add("last_tenth_us", last*1e6)
		s.add("last_to_first", last/first)
		return s, nil
	})
}
