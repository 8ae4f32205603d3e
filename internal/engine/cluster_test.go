package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/providertest"
)

var (
	clusterSeed  = flag.Uint64("cluster.seed", 0, "run only this seed")
	clusterSeeds = flag.Int("cluster.seeds", 40, "how many seeds")
)

// DESIGN 11: "Cluster simulation: several nodes over the memory provider in one
// synctest bubble: crashes, restarts, lost requests, lost replies, … long
// pauses." Every instance must complete with the right output, and no command
// of a history may have two answers. The seed decides the faults; the order in
// which goroutines run is not part of it.
func TestClusterSurvives(t *testing.T) {
	first, n := uint64(1), *clusterSeeds
	if *clusterSeed != 0 {
		first, n = *clusterSeed, 1
	}
	if testing.Short() {
		n = min(n, 5)
	}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
		})
	}
}

// member is a node of a simulated cluster, with the line that connects it to
// the store.
type clusterNode struct {
	e      *Engine
	cancel context.CancelFunc
	done   chan struct{}
	line   *line
}

// line lets calls through, holds them (a process that is stopped), or has
// lost the store for good (a process that is gone).
type line struct {
	mu   sync.Mutex
	dead bool
	held chan struct{}
}

var errGone = errors.New("this process is gone")

func (l *line) before(string) error {
	l.mu.Lock()
	dead, held := l.dead, l.held
	l.mu.Unlock()
	if held != nil {
		<-held
	}
	if dead {
		return errGone
	}
	return nil
}

func join(t *testing.T, store provider.Provider, seed uint64) *clusterNode {
	n := &clusterNode{line: &line{}, done: make(chan struct{})}
	odds := map[string]providertest.Odds{
		"":         {Transient: .02, LostRequest: .02, LostReply: .03},
		"Describe": {}, "Outcomes": {},
	}
	faulty := providertest.Faulty(store, providertest.Faults{Seed: seed, Methods: odds, Before: n.line.before})
	e, err := New(faulty, Options{
		Logger: quiet(), Lease: 5 * time.Second, MaxHot: 8, MaxActivities: 6, MinPrefetch: 2, MaxPrefetch: 8, InboxSize: 4,
		IdleRelease: 300 * time.Millisecond, MinBackoff: 100 * time.Millisecond, DrainTimeout: 2 * time.Second,
	})
	assert.NoError(t, err)
	n.e = e
	var os []Orchestration
	for name, code := range clusterPrograms {
		os = append(os, Orchestration{Name: name, Version: "1.0.0", Code: code})
	}
	e.Register(os, []Activity{{Name: "echo", Run: slowEcho}, {Name: "flaky", Run: flakyEcho}})
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { defer close(n.done); _ = e.Run(ctx) }()
	return n
}

func slowEcho(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
	select {
	case <-time.After(time.Duration(len(a.Input)) * 7 * time.Millisecond):
	case <-ctx.Done():
	}
	return a.Input, nil
}

func flakyEcho(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
	if a.Number%3 != 0 {
		return nil, &history.Failure{Message: "not this time"}
	}
	return a.Input, nil
}

var clusterPrograms = codeMap{
	"chain": sequence(6),
	"fan": func(m *replay.Machine, _ *history.Event) history.Event {
		var ops []*replay.Op
		for i := range 12 {
			ops = append(ops, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "echo", Payload: []byte(fmt.Sprint(i % 10))}))
		}
		out := ""
		for _, op := range ops {
			_, answer := m.Wait(op)
			out += string(answer.Payload)
		}
		return completed(out)
	},
	"signals": func(m *replay.Machine, _ *history.Event) history.Event {
		out := ""
		for range 4 {
			_, s := m.Wait(m.Signals("n"))
			out += string(s.Payload)
			m.Wait(m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(400*time.Millisecond)}))
		}
		return completed(out)
	},
	"parent": func(m *replay.Machine, started *history.Event) history.Event {
		out := ""
		for i := range 3 {
			_, answer := m.Wait(m.Emit(history.Event{Kind: history.ChildStarted, Name: "again", Target: fmt.Sprintf("%s/%d", started.Payload, i), Payload: []byte("ab")}))
			out += string(answer.Payload)
		}
		return completed(out)
	},
	"again": func(m *replay.Machine, started *history.Event) history.Event {
		s, _ := call(m, "echo", string(started.Payload))
		if len(s) < 4 {
			return history.Event{Kind: history.ContinuedAsNew, Payload: []byte(s + "x")}
		}
		return completed(s)
	},
	"retry": func(m *replay.Machine, _ *history.Event) history.Event {
		op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "flaky", Payload: []byte("r"),
			Policy: &history.Policy{MaxAttempts: 1000, Initial: int64(20 * time.Millisecond), Backoff: history.BackoffFixed}})
		_, answer := m.Wait(op)
		return completed(string(answer.Payload))
	},
}

var clusterWant = map[string]string{
	"chain": "012345", "fan": "012345678901", "signals": "0123", "parent": "abxxabxxabxx", "again": "abxx", "retry": "r",
}

func simulate(t *testing.T, seed uint64) {
	t.Logf("repeat with: go test ./internal/engine -run TestClusterSurvives -cluster.seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	store := memory.Open()
	nodes := make([]*clusterNode, 3)
	for i := range nodes {
		nodes[i] = join(t, store, seed+uint64(i)*1000)
	}
	var gone []*clusterNode
	defer func() {
		for _, n := range append(nodes, gone...) {
			n.cancel()
			<-n.done
		}
	}()
	client := NewClient(store)
	kinds := []string{"chain", "fan", "signals", "parent", "retry"}
	targets := map[provider.Target]string{}
	var senders sync.WaitGroup
	for i := range 30 {
		kind := kinds[i%len(kinds)]
		id := fmt.Sprint(kind, i)
		c := client
		if i%2 == 0 {
			c = nodes[i%3].e.Client()
		}
		ev := history.Event{Kind: history.Started, Name: kind, Payload: []byte(id)}
		r, err := c.Start(t.Context(), provider.NewInstance{ID: id, Name: kind, Start: history.AppendMessage(nil, &ev)})
		assert.NoError(t, err)
		assert.NoError(t, r.Err)
		targets[provider.Target{Key: r.Key, ID: id}] = kind
		if kind == "signals" {
			senders.Go(func() {
				for n := range 4 {
					time.Sleep(time.Duration(100+i) * time.Millisecond)
					signal(t, client, id, "n", fmt.Sprint(n))
				}
			})
		}
	}
	for range 12 {
		time.Sleep(time.Duration(random.Int64N(int64(3 * time.Second))))
		i := random.IntN(len(nodes))
		n := nodes[i]
		switch random.IntN(4) {
		case 0: // killed
			n.line.mu.Lock()
			n.line.dead = true
			n.line.mu.Unlock()
			gone = append(gone, n)
			nodes[i] = join(t, store, random.Uint64())
		case 1: // stopped for longer than a lease
			held := make(chan struct{})
			n.line.mu.Lock()
			n.line.held = held
			n.line.mu.Unlock()
			time.Sleep(time.Duration(3+random.IntN(10)) * time.Second)
			n.line.mu.Lock()
			n.line.held = nil
			n.line.mu.Unlock()
			close(held)
		case 2: // shut down
			n.cancel()
			<-n.done
			nodes[i] = join(t, store, random.Uint64())
		case 3: // nothing
		}
	}
	senders.Wait()
	for target, kind := range targets {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		o, err := client.Wait(ctx, target)
		cancel()
		if err != nil {
			row, _ := store.Get(t.Context(), target)
			all, _ := store.Nodes(t.Context())
			t.Fatalf("%s did not complete: %v\n%+v\nnodes %+v\n%s", target.ID, err, row, all, describe(nodes, target.Key))
		}
		ev, err := history.DecodeMessage(o.Payload)
		assert.NoError(t, err)
		assert.Equal(t, string(ev.Payload), clusterWant[kind], "%s: %v", target.ID, ev)
		checkHistory(t, store, target)
	}
}

// describe tells what the nodes believe of an instance.
func describe(nodes []*clusterNode, k provider.Key) string {
	out := ""
	for i, n := range nodes {
		x := n.e.lookup(k)
		if x == nil {
			out += fmt.Sprintf("node %d (%d): unknown\n", i, n.e.nodeKey())
			continue
		}
		x.mu.Lock()
		out += fmt.Sprintf("node %d (%d): state %d node %d turn %d inbox %d local %d mail %d/%d need %v timer %d\n", i, n.e.nodeKey(), x.state, x.node, x.nextTurn, len(x.inbox), len(x.local), x.readSeq, x.mailSeen, x.needMail, x.nextTimer)
		x.mu.Unlock()
	}
	return out
}

// checkHistory checks that turns are dense and that every command has at most
// one answer.
func checkHistory(t *testing.T, store *memory.Store, target provider.Target) {
	t.Helper()
	turns, err := store.Turns(t.Context(), target.Key, 1, 1<<20)
	assert.NoError(t, err)
	answered := map[[2]int64]bool{}
	for i, turn := range turns {
		assert.Equal(t, turn.Number, int64(i+1), "%s", target.ID)
		deliveries, _, err := history.DecodeTurn(turn.Events)
		assert.NoError(t, err)
		for _, d := range deliveries {
			at := [2]int64{turn.Execution, d.Ref}
			if d.Ref != 0 && answered[at] {
				t.Errorf("%s: command %d has two answers", target.ID, d.Ref)
			}
			answered[at] = true
		}
	}
}
