//go:build !race

package durango_test

// The race detector makes pools forget, so what is allocated is only counted
// without it.

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// allocationsOf counts what the whole process allocates for a step, in the best
// run of ten orchestrations with 100 steps each, of three, or of more until one is
// good enough: what a node does meanwhile only adds, the more the slower the
// machine is.
func allocationsOf(t *testing.T, store provider.Provider, enough float64) float64 {
	t.Helper()
	const orchestrations, steps = 10, 100
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := quietNode(t, store, costDefinitions()...)
	runToEnd(t, ctx, client, costSeq, "warm", steps)
	least := math.Inf(1)
	for run := 0; run < 3 || least > enough && run < 20; run++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range orchestrations {
			runToEnd(t, ctx, client, costSeq, fmt.Sprint(run, "-", i), steps)
		}
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.Mallocs-before.Mallocs)/(orchestrations*steps))
	}
	return least
}

// What a step allocates, in the whole process: the JSON of input and output,
// the events, the rows, and its way from the activity through the committer and
// back. Somebody who adds to it says why; who saves lowers the figure.
func TestAllocationsOfAStep(t *testing.T) {
	file, _ := meteredSQLite(t)
	for _, s := range []struct {
		name  string
		store provider.Provider
		want  float64
	}{{"memory", memory.Open(), 11.6}, {"sqlite", file, 14.6}} {
		got := allocationsOf(t, s.store, s.want+1)
		if got > s.want+1 || got < s.want-1 {
			t.Errorf("%s: a step allocates %.2f times, not about %v", s.name, got, s.want)
		}
	}
}

// Without interceptors, an attempt costs no allocation beyond its function and
// the encoding of what goes in and out.
func TestAttemptAllocations(t *testing.T) {
	work := durango.DefineActivity("work", func(_ context.Context, in int) (int, error) { return in + 1, nil })
	_, as, _ := durango.DefinitionsWith(durango.Options{}, work)
	attempt := &engine.Attempt{Name: "work", Input: []byte("41")}
	ctx := t.Context()
	// JSON keeps buffers in a sync.Pool, which the collector empties: of many rounds
	// the best one counts.
	encoding, got := math.Inf(1), math.Inf(1)
	for range 20 {
		encoding = min(encoding, testing.AllocsPerRun(100, func() {
			in := new(int)
			assert.NoError(t, durango.JSON.Decode(attempt.Input, in))
			out := *in + 1
			_, err := durango.JSON.Encode(&out)
			assert.NoError(t, err)
		}))
		got = min(got, testing.AllocsPerRun(100, func() {
			if _, failure := as[0].Run(ctx, attempt); failure != nil {
				t.Error(failure)
			}
		}))
	}
	assert.True(t, got <= encoding, "%v allocations, of which %v are for JSON", got, encoding)
}
