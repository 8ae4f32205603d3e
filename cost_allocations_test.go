//go:build !race

package durango_test

// The race detector makes pools forget, so what is allocated is only counted
// without it.

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// allocationsOf counts what the whole process allocates for each of n steps of
// one orchestration after another of steps each.
func allocationsOf(tb testing.TB, store provider.Provider, orchestrations, steps int) float64 {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	client := quietNode(tb, store, costDefinitions()...)
	runToEnd(tb, ctx, client, costSeq, "warm", steps)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range orchestrations {
		runToEnd(tb, ctx, client, costSeq, fmt.Sprint(i), steps)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(orchestrations*steps)
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
	}{{"memory", memory.Open(), 21.7}, {"sqlite", file, 24.8}} {
		got := allocationsOf(t, s.store, 20, 100)
		if got > s.want+1 || got < s.want-1 {
			t.Errorf("%s: a step allocates %.2f times, not about %v", s.name, got, s.want)
		}
	}
}
