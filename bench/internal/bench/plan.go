package bench

import (
	"fmt"
	"slices"
	"time"
)

// planner collects the benchmarks of a run.
type planner struct {
	stores, systems []string
	s               sizes
	all             []*benchmark
}

// plan lists the benchmarks in the order in which a round runs them: what is
// compared runs side by side.
func plan(workloads, stores, systems []string, s sizes) []*benchmark {
	p := &planner{stores: stores, systems: systems, s: s}
	p.add(benchmark{workload: "bare", name: "fdatasync", unit: "flushes", run: runFlushes})
	p.closedLoops()
	for _, store := range stores {
		p.starts(store)
		if store == "sqlite-normal" {
			continue // the others say nothing about flushes
		}
		p.fixed(store)
		p.waiting(store)
		if store != "memory" { // no other process sees it
			p.clusters(store)
		}
	}
	p.add(benchmark{workload: "replay", name: "machine", unit: "history events", batch: true, run: runReplayMachine})
	return slices.DeleteFunc(p.all, func(b *benchmark) bool {
		return len(workloads) > 0 && !slices.Contains(workloads, b.workload)
	})
}

func (p *planner) add(b benchmark) { p.all = append(p.all, &b) }

// beside adds the same for each peer.
func (p *planner) beside(b benchmark, n int) {
	for _, peer := range peers {
		if slices.Contains(p.systems, peer.Name) && slices.Contains(peer.Stores, b.store) {
			b.peer, b.cannot = peer, peer.why(b.workload, b.store)
			b.run = func(e *env) (*Sample, error) { return runPeer(e, peer, b.workload, n) }
			p.add(b)
		}
	}
}

// bare names the bare loop with so many in flight, or with the most there are;
// empty if there is none.
func (p *planner) bare(n int, store string) string {
	if store == "memory" || len(p.s.InFlight) == 0 {
		return ""
	}
	if n > 0 && !slices.Contains(p.s.InFlight, n) {
		return ""
	}
	if n == 0 {
		n = slices.Max(p.s.InFlight)
	}
	return fmt.Sprint("bare/", n, "/", store)
}

// peerInFlight is from where on peers run once.
const peerInFlight = 100

// closedLoops are what runs for a time, with so many in flight.
func (p *planner) closedLoops() {
	for _, n := range p.s.InFlight {
		for _, store := range p.stores {
			name, bare := fmt.Sprint(n), p.bare(n, store)
			if bare != "" {
				p.add(benchmark{workload: "bare", name: name, store: store, unit: "activities",
					run: func(e *env) (*Sample, error) { return runBare(e, n, false) }})
			}
			b := benchmark{workload: "seq", name: name, store: store, unit: "activities", bare: bare,
				run: func(e *env) (*Sample, error) { return runSeq(e, n) }}
			if bare != "" && !onPostgres(store) {
				whole := benchmark{workload: "bare-seq", name: name, store: store, unit: "activities",
					run: func(e *env) (*Sample, error) { return runBare(e, n, true) }}
				p.add(whole)
				b.whole = whole.id()
			}
			p.add(b)
			if n > peerInFlight {
				b.rounds = 1 // many do not come to an end in the time there is
			}
			p.beside(b, n)
			if n == 1 {
				p.long(store)
			}
		}
	}
	for _, n := range p.s.Hello {
		for _, store := range p.stores {
			if store == "sqlite-normal" {
				continue
			}
			b := benchmark{workload: "hello", name: fmt.Sprint(n), store: store, unit: "orchestrations", bare: p.bare(n, store),
				run: func(e *env) (*Sample, error) { return runHello(e, n) }}
			p.add(b)
			p.beside(b, n)
		}
	}
	for _, store := range p.stores {
		for _, n := range p.s.FanOut {
			b := benchmark{workload: "fanout", name: fmt.Sprint(n), store: store, unit: "activities", bare: p.bare(0, store),
				run: func(e *env) (*Sample, error) { return runFanOut(e, n) }}
			p.add(b)
			p.beside(b, n)
		}
		for _, n := range p.s.Payload {
			if store == "sqlite-normal" {
				continue
			}
			b := benchmark{workload: "payload", name: fmt.Sprint(n), store: store, unit: "activities",
				run: func(e *env) (*Sample, error) { return runPayload(e, n) }}
			p.add(b)
			p.beside(b, n)
		}
	}
}

func (p *planner) long(store string) {
	for _, steps := range p.s.Long {
		b := benchmark{workload: "long", name: fmt.Sprint(steps), store: store, unit: "activities", batch: true,
			against: "seq/1/" + store, bare: p.bare(1, store), run: func(e *env) (*Sample, error) { return runLong(e, steps) }}
		p.add(b)
		if steps <= peerSteps {
			b.against, b.rounds = "", 1
			p.beside(b, steps)
		}
	}
}

func (p *planner) starts(store string) {
	p.add(benchmark{workload: "start", name: "no node", store: store, unit: "starts", batch: true,
		run: func(e *env) (*Sample, error) { return runStart(e, false) }})
	p.add(benchmark{workload: "start", name: "on a node", store: store, unit: "starts", batch: true,
		run: func(e *env) (*Sample, error) { return runStart(e, true) }})
}

// fixed are what has an amount.
func (p *planner) fixed(store string) {
	for _, n := range p.s.Wide {
		b := benchmark{workload: "wide", name: fmt.Sprint(n), store: store, unit: "activities", batch: true, bare: p.bare(0, store),
			run: func(e *env) (*Sample, error) { return runWide(e, n) }}
		p.add(b)
		if n <= peerSteps {
			b.rounds = 1
			p.beside(b, n)
		}
	}
	p.add(benchmark{workload: "event", store: store, unit: "events", batch: true, run: runEvent})
	p.add(benchmark{workload: "timer", store: store, unit: "timers", batch: true, run: runTimer})
	p.add(benchmark{workload: "evict", name: "hot", store: store, unit: "signals", batch: true,
		run: func(e *env) (*Sample, error) { return runEvict(e, 0) }})
	p.add(benchmark{workload: "evict", name: "cold", store: store, unit: "signals", batch: true, against: "evict/hot/" + store,
		run: func(e *env) (*Sample, error) { return runEvict(e, e.EvictHot) }})
	p.add(benchmark{workload: "replay", name: "engine", store: store, unit: "history events", batch: true, rounds: 2, run: runReplayEngine})
}

// waiting are instances that do nothing.
func (p *planner) waiting(store string) {
	for _, n := range p.s.Backlog {
		rounds := 0
		if n > 0 {
			rounds = 1
		}
		p.add(benchmark{workload: "backlog", name: fmt.Sprint(n), store: store, unit: "claims and commits", batch: true, rounds: rounds,
			run: func(e *env) (*Sample, error) { return runBacklog(e, n) }})
	}
	p.add(benchmark{workload: "idle", store: store, unit: "instances", rounds: 1, run: runIdle})
	if store == "memory" {
		return // nothing is ever out of memory
	}
	memory := func(name string, n int, hot bool) {
		p.add(benchmark{workload: "memory", name: name, store: store, unit: "instances", rounds: 1,
			run: func(e *env) (*Sample, error) { return runMemory(e, n, hot) }})
	}
	for i, n := range p.s.Memory {
		if i == 0 {
			memory("none", 0, true)
		}
		memory(fmt.Sprint("hot ", n), n, true)
		memory(fmt.Sprint("cold ", n), n, false)
	}
}

// clusters are several processes on one store.
func (p *planner) clusters(store string) {
	p.add(benchmark{workload: "recover", name: "undisturbed", store: store, unit: "instances", batch: true, rounds: 1,
		run: func(e *env) (*Sample, error) { return runRecover(e, false) }})
	p.add(benchmark{workload: "recover", name: "one of two killed", store: store, unit: "instances", batch: true, rounds: 1,
		run: func(e *env) (*Sample, error) { return runRecover(e, true) }})
	if !onPostgres(store) {
		return
	}
	for _, n := range []int{1, 2, 4} {
		p.add(benchmark{workload: "nodes", name: fmt.Sprint(n), store: store, unit: "activities", against: "nodes/1/" + store,
			run: func(e *env) (*Sample, error) { return runNodes(e, n, 64) }})
	}
	p.add(benchmark{workload: "idle", name: "10 nodes", store: store, unit: "instances", rounds: 1,
		run: func(e *env) (*Sample, error) { return runIdleNodes(e, 10) }})
}

// roundsOf is in how many of the rounds it runs.
func (b *benchmark) roundsOf(rounds int) int {
	switch {
	case b.cannot != "":
		return 0
	case b.rounds > 0:
		return min(b.rounds, rounds)
	}
	return rounds
}

// estimate is about how long a run takes on two cores with a disk that takes
// some thousand flushes a second.
func estimate(plan []*benchmark, s sizes, rounds int) (all time.Duration) {
	for _, b := range plan {
		all += time.Duration(b.roundsOf(rounds)) * b.estimate(s)
	}
	return all
}

// estimate is that of one measurement.
func (b *benchmark) estimate(s sizes) time.Duration {
	const opening, ofPeer = 300 * time.Millisecond, 2 * time.Second
	seconds := func(n int, perSecond float64) time.Duration {
		return time.Duration(float64(n) / perSecond * float64(time.Second))
	}
	n := 0
	_, _ = fmt.Sscan(b.name, &n)
	length := opening
	if b.peer != nil {
		length += ofPeer
	}
	switch b.workload {
	case "bare", "bare-seq", "seq", "hello", "fanout", "payload", "nodes":
		length += s.Warm + s.Window
		if b.peer != nil && n > 1 { // some do not get through what is in flight
			length += s.WarmLimit / 2
		}
		if b.peer != nil && n > peerInFlight {
			length += s.WarmLimit
		}
	case "long", "wide":
		rate := 1500.0
		if b.peer != nil {
			rate = 150
		}
		length += seconds(n, rate)
	case "timer":
		length += s.Sleep
	case "idle":
		length += s.IdleSettle + s.IdleWindow
	case "memory":
		length += 8 * time.Second
	case "replay":
		length += seconds(s.Replay, 1500)
	case "evict":
		length += seconds(s.EvictInstances*s.EvictRounds, 5000)
	case "backlog":
		length += time.Second + seconds(n, 20_000)
	case "recover":
		length += 10 * time.Second
	}
	return length
}
