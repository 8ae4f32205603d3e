package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango"
)

// runWide is one orchestration that starts so many activities at once and
// joins them: from its start until the client has the result.
func runWide(e *env, width int) (*Sample, error) {
	var done atomic.Int64
	defs := []durango.Registrable{fanFlow, countedNoop(&done)}
	return e.withNode(durango.Options{}, defs, func(st *store, n *node) (*Sample, error) {
		m := begin(st, done.Load)
		run, err := fanFlow.Start(e, n.Client(), "wide", Step{Order: "4711", N: width})
		if err != nil {
			return nil, err
		}
		joined, err := run.Wait(e)
		if err == nil && joined != width {
			err = fmt.Errorf("joined %d of %d", joined, width)
		}
		if err != nil {
			return nil, err
		}
		return m.end(), nil
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

// stamps are the times at which the activities of one orchestration ran.
type stamps struct {
	at []time.Time
	n  atomic.Int64
}

func newStamps(steps int) *stamps { return &stamps{at: make([]time.Time, steps)} }

func (st *stamps) stamp() {
	if n := st.n.Add(1); n <= int64(len(st.at)) {
		st.at[n-1] = time.Now()
	}
}

// curvePoints is how many points the cost by the length of a history has.
const curvePoints = 20

// describe adds what a step cost at the beginning, in the end, and on the way.
func (st *stamps) describe(s *Sample) {
	steps := len(st.at)
	cost := func(from, to int) float64 { // µs
		return st.at[to].Sub(st.at[from]).Seconds() / float64(to-from) * 1e6
	}
	tenth := max(1, steps/10)
	first, last := cost(0, tenth), cost(steps-1-tenth, steps-1)
	s.add("first_tenth_us", first)
	s.add("last_tenth_us", last)
	s.add("last_to_first", last/first)
	for i := range curvePoints {
		from, to := i*(steps-1)/curvePoints, (i+1)*(steps-1)/curvePoints
		if to > from {
			s.Curve = append(s.Curve, Point{X: float64(from+to) / 2, Y: cost(from, to)})
		}
	}
}

// runLong compares the first tenth of one long orchestration with the last,
// by the times at which its activities run.
func runLong(e *env, steps int) (*Sample, error) {
	times := newStamps(steps)
	stamp := noop.Bind(func(_ context.Context, s Step) (Step, error) {
		times.stamp()
		return s, nil
	})
	return e.withNode(durango.Options{}, []durango.Registrable{longFlow, stamp}, func(st *store, n *node) (*Sample, error) {
		m := begin(st, times.n.Load)
		run, err := longFlow.Start(e, n.Client(), "long", Step{Order: "4711", N: steps})
		if err == nil {
			_, err = run.Wait(e)
		}
		if err != nil {
			return nil, err
		}
		s := m.end()
		times.describe(s)
		return s, nil
	})
}
