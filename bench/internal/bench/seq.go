package bench

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
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

// seqSteps is how many activities seq calls one after another.
const seqSteps = 5

// seqFlow calls them.
var seqFlow = durango.DefineOrchestration("seq", func(ctx *durango.Context, s Step) (Step, error) {
	for i := range seqSteps {
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

// runPayload is seq with inputs and outputs of a size.
func runPayload(e *env, inFlight int) (*Sample, error) {
	var done atomic.Int64
	order := text(e.PayloadBytes)
	defs := []durango.Registrable{seqFlow, countedNoop(&done)}
	return e.withNode(durango.Options{}, defs, func(st *store, n *node) (*Sample, error) {
		s, err := e.sustain(st, inFlight, done.Load, func(i int64) error {
			run, err := seqFlow.Start(e, n.Client(), fmt.Sprintf("order-%08d", i), Step{Order: order})
			if err != nil {
				return err
			}
			got, err := run.Wait(e)
			if err == nil && got.Order != order {
				err = errors.New("another payload came back")
			}
			return err
		})
		if s != nil {
			s.addVolume(e.PayloadBytes)
		}
		return s, err
	})
}

// text is so many bytes that a store cannot make much smaller.
func text(bytes int) string {
	b := make([]byte, (bytes+1)/2)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return hex.EncodeToString(b)[:bytes]
}

// sustain keeps inFlight calls of one going and measures a window of that: no
// start, no end. It begins when as many calls have ended as are in flight, after
// Warm at the earliest, and ends when as many have ended in it, after Window at
// the earliest: less than that may be a part of what a call does again and again
// in step with the others. Neither takes longer than WarmLimit more. The calls
// that end in it are timed, whenever they began. steps reads what is counted;
// nil counts the calls.
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
	slowest := e.window(m, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(times) >= inFlight && steps() > m.base || failed != nil
	})
	measuring.Store(false)
	s := m.end()
	if slowest >= 0 {
		s.add("slowest_100ms", slowest)
	}
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

// firstStep is how long a window in which nothing was done goes on.
const firstStep = 10 * time.Second

// slice is the part of a window in which a stall shows.
const slice = 100 * time.Millisecond

// window lets a measurement go on for Window, and then until there is enough,
// for WarmLimit at most; a window in which nothing was done, to the first step.
// It returns the steps of the slowest slice of Window as a share of what the
// slices had on average; negative if there were too few to tell.
func (e *env) window(m *meter, enough func() bool) (slowest float64) {
	least, slices, before := int64(-1), 0, m.base
	for rest := e.Window; rest > 0 && e.Err() == nil; rest = e.Window - time.Since(m.start) {
		pause(e, min(slice, rest))
		n := m.steps()
		if rest >= slice {
			if slices++; least < 0 || n-before < least {
				least = n - before
			}
		}
		before = n
	}
	limit := e.Window + e.WarmLimit
	for !enough() && e.Err() == nil {
		if over := time.Since(m.start) - limit; over > 0 && (m.steps() > m.base || over > firstStep) {
			break
		}
		pause(e, time.Millisecond)
	}
	if all := before - m.base; slices > 5 && all > 20*int64(slices) {
		return float64(least) / (float64(all) / float64(slices))
	}
	return -1
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
