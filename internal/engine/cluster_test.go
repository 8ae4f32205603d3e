package engine

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

var (
	clusterSeed  = flag.Uint64("cluster.seed", 0, "run only this seed")
	clusterSeeds = flag.Int("cluster.seeds", defaultSeeds, "how many seeds")
	clusterTrace = flag.Bool("cluster.trace", false, "print all calls of the store")
)

// DESIGN 11: "Cluster simulation: several nodes over the memory provider in one
// synctest bubble: crashes, restarts, lost requests, lost replies, … long
// pauses. Reproducible from a seed": the faults, what clients do, and, but for
// the race detector, the order in which goroutines run.
func TestClusterSurvives(t *testing.T) {
	// With one processor and no collector at work it is the events, which never
	// share an instant, that say who runs.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	first, n := uint64(1), *clusterSeeds
	if *clusterSeed != 0 {
		first, n = *clusterSeed, 1
	}
	if testing.Short() {
		n = min(n, 5)
	}
	began := time.Now()
	var simulated time.Duration
	calls, traces := 0, map[uint64]bool{}
	for seed := first; seed < first+uint64(n); seed++ {
		w := &world{seed: seed}
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { synctest.Test(t, w.simulate) })
		calls += w.calls
		simulated += w.lasted
		traces[w.trace] = true
		if seed%8 == 0 {
			runtime.GC()
		}
	}
	t.Logf("%d seeds, %d schedules, %.1f simulated hours, %d calls of the store, in %v",
		n, len(traces), simulated.Hours(), calls, time.Since(began).Round(time.Millisecond))
}
