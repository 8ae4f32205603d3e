package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

var (
	workloadNames = []string{"bare", "seq", "hello", "fanout", "long", "timer", "event", "start", "idle", "replay", "evict", "backlog", "recover", "nodes"}
	storeNames    = []string{"sqlite", "sqlite-normal", "postgres", "memory"}

	// What -quick runs unless something else is asked for.
	quickWorkloads = []string{"bare", "seq", "hello", "fanout", "start"}
	quickStores    = []string{"sqlite", "postgres"}
)

// sizes are how much of everything is measured.
type sizes struct {
	// Warm and Window are of the workloads that run for a time, not a number.
	Warm, Window time.Duration
	WarmLimit    time.Duration // what Warm is extended by at most, see sustain
	InFlight     []int         // seq and bare
	Hello        []int         // orchestrations in flight
	FanOut       []int         // orchestrations in flight
	Width        int           // activities of each
	Long         []int
	Timers       int
	Sleep        time.Duration
	Events       int
	Starts       int
	Idle         int
	// IdleSettle must be longer than IdleRelease, after which a waiting
	// instance is given up by its node. Zero IdleRelease: the default, 10 s.
	IdleRelease, IdleSettle, IdleWindow time.Duration
	Replay                              int // activities in the history
	EvictInstances, EvictRounds         int
	EvictHot                            int
	Backlog                             []int         // sleeping instances; the first is what the others are compared with
	Recover                             int           // instances of two nodes
	IdleSleepers                        int           // instances that ten nodes have nothing to do with
	Timeout                             time.Duration // of one measurement
}

var fullSizes = sizes{
	Warm: 500 * time.Millisecond, WarmLimit: 10 * time.Second, Window: 2 * time.Second,
	InFlight: []int{1, 64, 512}, Hello: []int{1, 64}, FanOut: []int{8, 20}, Width: 100,
	Long: []int{1000, 10_000}, Timers: 1000, Sleep: time.Second, Events: 500, Starts: 5000,
	Idle: 2000, IdleSettle: 15 * time.Second, IdleWindow: 10 * time.Second,
	Replay: 50_000, EvictInstances: 1000, EvictRounds: 10, EvictHot: 10, Backlog: []int{0, 100_000}, Recover: 1000, IdleSleepers: 100_000, Timeout: 5 * time.Minute,
}

var quickSizes = sizes{
	Warm: 200 * time.Millisecond, WarmLimit: time.Second, Window: 500 * time.Millisecond,
	InFlight: []int{1, 64}, Hello: []int{1}, FanOut: []int{20}, Width: 100,
	Long: []int{1000, 10_000}, Timers: 1000, Sleep: time.Second, Events: 500, Starts: 5000,
	Idle: 2000, IdleRelease: time.Second, IdleSettle: 3 * time.Second, IdleWindow: 3 * time.Second,
	Replay: 10_000, EvictInstances: 1000, EvictRounds: 3, EvictHot: 10, Backlog: []int{0, 20_000}, Recover: 300, IdleSleepers: 5_000, Timeout: 60 * time.Second,
}

// benchmark is one row of the report.
type benchmark struct {
	workload, name string
	store          string // empty: none
	peer           *peer  // nil: durango, or no engine
	cannot         string // why it is not run; empty: it is
	unit           string // what is counted
	once           bool   // too long to be repeated in every round
	// batch is set when a fixed amount is measured, so that its wall time says
	// something.
	batch bool
	// against is the benchmark that this one is compared with, round by round.
	against string
	run     func(*env) (*Sample, error)
}

func (b *benchmark) id() string {
	id := b.workload
	for _, s := range []string{b.name, b.store, b.system()} {
		if s != "" {
			id += "/" + s
		}
	}
	return id
}

// system is the name of the peer; empty if it is none.
func (b *benchmark) system() string {
	if b.peer == nil {
		return ""
	}
	return b.peer.name
}

// env is what a measurement has to work with.
type env struct {
	context.Context
	sizes
	dir   string // its own, empty
	store string
	// abandon leaves the calls under way behind when a window is over: the
	// process ends.
	abandon bool
}

func (b *benchmark) measure(ctx context.Context, s sizes, parent string) (*Sample, error) {
	dir, err := os.MkdirTemp(parent, b.workload+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	runtime.GC()
	sample, err := b.run(&env{Context: ctx, sizes: s, dir: dir, store: b.store})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.id(), err)
	}
	if sample.Steps == 0 {
		return nil, fmt.Errorf("%s: nothing was done", b.id())
	}
	return sample, nil
}

// plan lists the benchmarks in the order in which a round runs them: what is
// compared runs side by side.
func plan(workloads, stores, systems []string, s sizes) []*benchmark {
	var all []*benchmark
	add := func(b benchmark) { all = append(all, &b) }
	others := func(workload string, n int, store, unit, against string) {
		for _, p := range peers {
			if slices.Contains(systems, p.name) && slices.Contains(p.stores, store) {
				add(benchmark{workload: workload, name: fmt.Sprint(n), store: store, peer: p, unit: unit, against: against,
					cannot: p.why(workload, store), run: func(e *env) (*Sample, error) { return runPeer(e, p, workload, n) }})
			}
		}
	}
	add(benchmark{workload: "bare", name: "fdatasync", unit: "activities", run: runFlushes})
	for _, n := range s.InFlight {
		for _, store := range stores {
			name, bare := fmt.Sprint(n), ""
			if store != "memory" {
				bare = "bare/" + name + "/" + store
				add(benchmark{workload: "bare", name: name, store: store, unit: "activities",
					run: func(e *env) (*Sample, error) { return runBare(e, n) }})
			}
			add(benchmark{workload: "seq", name: name, store: store, unit: "activities", against: bare,
				run: func(e *env) (*Sample, error) { return runSeq(e, n) }})
			others("seq", n, store, "activities", bare)
			if n == 1 {
				for _, steps := range s.Long {
					add(benchmark{workload: "long", name: fmt.Sprint(steps), store: store, unit: "activities", batch: true,
						against: "seq/1/" + store, run: func(e *env) (*Sample, error) { return runLong(e, steps) }})
				}
			}
		}
	}
	for _, n := range s.Hello {
		for _, store := range stores {
			add(benchmark{workload: "hello", name: fmt.Sprint(n), store: store, unit: "orchestrations",
				run: func(e *env) (*Sample, error) { return runHello(e, n) }})
			others("hello", n, store, "orchestrations", "")
		}
	}
	for _, store := range stores {
		for _, n := range s.FanOut {
			add(benchmark{workload: "fanout", name: fmt.Sprint(n), store: store, unit: "activities",
				run: func(e *env) (*Sample, error) { return runFanOut(e, n) }})
			others("fanout", n, store, "activities", "")
		}
		add(benchmark{workload: "start", name: "no node", store: store, unit: "starts", batch: true,
			run: func(e *env) (*Sample, error) { return runStart(e, false) }})
		add(benchmark{workload: "start", name: "on a node", store: store, unit: "starts", batch: true,
			run: func(e *env) (*Sample, error) { return runStart(e, true) }})
		add(benchmark{workload: "event", store: store, unit: "events", batch: true, run: runEvent})
		add(benchmark{workload: "timer", store: store, unit: "timers", batch: true, run: runTimer})
		add(benchmark{workload: "evict", name: "hot", store: store, unit: "signals", batch: true,
			run: func(e *env) (*Sample, error) { return runEvict(e, 0) }})
		add(benchmark{workload: "evict", name: "cold", store: store, unit: "signals", batch: true, against: "evict/hot/" + store,
			run: func(e *env) (*Sample, error) { return runEvict(e, e.EvictHot) }})
		add(benchmark{workload: "replay", name: "engine", store: store, unit: "history events", batch: true, run: runReplayEngine})
		for _, n := range s.Backlog {
			add(benchmark{workload: "backlog", name: fmt.Sprint(n), store: store, unit: "claims and commits", batch: true, once: n > 0,
				run: func(e *env) (*Sample, error) { return runBacklog(e, n) }})
		}
		add(benchmark{workload: "idle", store: store, unit: "instances", once: true, run: runIdle})
		if store == "memory" {
			continue // no other process sees it
		}
		add(benchmark{workload: "recover", name: "undisturbed", store: store, unit: "instances", batch: true,
			run: func(e *env) (*Sample, error) { return runRecover(e, false) }})
		add(benchmark{workload: "recover", name: "one of two killed", store: store, unit: "instances", batch: true,
			run: func(e *env) (*Sample, error) { return runRecover(e, true) }})
		if !onPostgres(store) {
			continue
		}
		for _, n := range []int{1, 2, 4} {
			add(benchmark{workload: "nodes", name: fmt.Sprint(n), store: store, unit: "activities", against: "nodes/1/" + store,
				run: func(e *env) (*Sample, error) { return runNodes(e, n, 64) }})
		}
		add(benchmark{workload: "idle", name: "10 nodes", store: store, unit: "instances", once: true,
			run: func(e *env) (*Sample, error) { return runIdleNodes(e, 10) }})
	}
	add(benchmark{workload: "replay", name: "machine", unit: "history events", batch: true, run: runReplayMachine})
	return slices.DeleteFunc(all, func(b *benchmark) bool {
		return len(workloads) > 0 && !slices.Contains(workloads, b.workload)
	})
}
