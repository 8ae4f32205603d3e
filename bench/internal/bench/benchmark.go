package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

var (
	workloadNames = []string{"bare", "bare-seq", "seq", "hello", "fanout", "payload", "wide", "long", "timer", "event",
		"start", "idle", "memory", "replay", "evict", "backlog", "recover", "nodes"}
	storeNames = []string{"sqlite", "sqlite-normal", "postgres", "memory"}

	// What -quick runs unless something else is asked for.
	quickWorkloads = []string{"bare", "bare-seq", "seq", "fanout", "start", "event", "timer", "replay"}
	quickStores    = []string{"sqlite", "postgres"}
)

// sizes are how much of everything is measured.
type sizes struct {
	// Warm and Window are of the workloads that run for a time, not a number.
	Warm, Window time.Duration
	WarmLimit    time.Duration // what each of them is extended by at most, see sustain
	InFlight     []int         // seq and the bare loops
	Hello        []int         // orchestrations in flight
	FanOut       []int         // orchestrations in flight
	Width        int           // activities of each
	Payload      []int         // orchestrations in flight
	PayloadBytes int           // of each input and output
	Wide         []int         // activities of one orchestration
	Long         []int
	Timers       int
	Sleep        time.Duration
	Events       int
	Starts       int
	Idle         int
	Memory       []int // waiting instances
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
	Warm: 500 * time.Millisecond, WarmLimit: 8 * time.Second, Window: 2 * time.Second,
	InFlight: []int{1, 64, 512}, Hello: []int{1, 64}, FanOut: []int{8, 20}, Width: 100,
	Payload: []int{8}, PayloadBytes: 100 << 10, Wide: []int{1000, 10_000},
	Long: []int{1000, 10_000}, Timers: 1000, Sleep: time.Second, Events: 500, Starts: 5000,
	Idle: 2000, IdleSettle: 200 * time.Second, IdleWindow: 20 * time.Second,
	Memory: []int{1000, 10_000},
	Replay: 25_000, EvictInstances: 1000, EvictRounds: 10, EvictHot: 10, Backlog: []int{0, 100_000}, Recover: 1000, IdleSleepers: 100_000, Timeout: 5 * time.Minute,
}

var quickSizes = sizes{
	Warm: 100 * time.Millisecond, WarmLimit: time.Second, Window: 300 * time.Millisecond,
	InFlight: []int{1, 64}, Hello: []int{1}, FanOut: []int{20}, Width: 100,
	Payload: []int{8}, PayloadBytes: 100 << 10, Wide: []int{1000},
	Long: []int{1000}, Timers: 200, Sleep: time.Second, Events: 500, Starts: 1000,
	Idle: 2000, IdleRelease: time.Second, IdleSettle: 3 * time.Second, IdleWindow: 3 * time.Second,
	Memory: []int{500},
	Replay: 1_000, EvictInstances: 1000, EvictRounds: 3, EvictHot: 10, Backlog: []int{0, 20_000}, Recover: 300, IdleSleepers: 5_000, Timeout: 60 * time.Second,
}

// benchmark is one row of the report.
type benchmark struct {
	workload, name string
	store          string // empty: none
	peer           *Peer  // nil: durango, or no engine
	cannot         string // why it is not run; empty: it is
	unit           string // what is counted
	rounds         int    // in how many it runs at most; zero: in all
	// batch is set when a fixed amount is measured, so that its wall time says
	// something.
	batch bool
	// against is the benchmark that this one is compared with, round by round.
	against string
	// bare is the loop without an engine that limits it.
	bare string
	// whole is the one that writes the same rows.
	whole string
	run   func(*env) (*Sample, error)
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
	return b.peer.Name
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
