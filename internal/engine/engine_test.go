package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// node is an engine that runs for the length of a test.
type node struct {
	*Engine
	stop func() error
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func start(t *testing.T, store provider.Provider, o Options, codes map[string]replay.Code, acts map[string]func(context.Context, *Attempt) ([]byte, *history.Failure)) *node {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	e, err := New(store, o)
	assert.NoError(t, err)
	var os []Orchestration
	for name, code := range codes {
		os = append(os, Orchestration{Name: name, Version: "1.0.0", Code: code})
	}
	var as []Activity
	for name, run := range acts {
		as = append(as, Activity{Name: name, Run: run})
	}
	e.Register(os, as)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	var once sync.Once
	var result error
	n := &node{Engine: e}
	n.stop = func() error {
		once.Do(func() { cancel(); result = <-done })
		return result
	}
	t.Cleanup(func() { _ = n.stop() })
	return n
}

func begin(t *testing.T, c *Client, name, id string, input []byte) provider.Target {
	t.Helper()
	ev := history.Event{Kind: history.Started, Name: name, Payload: input}
	r, err := c.Start(t.Context(), provider.NewInstance{ID: id, Name: name, Start: history.AppendMessage(nil, &ev)})
	assert.NoError(t, err)
	assert.NoError(t, r.Err)
	return provider.Target{Key: r.Key, ID: id}
}

func signal(t *testing.T, c *Client, id, name, payload string) {
	t.Helper()
	ev := history.Event{Kind: history.SignalReceived, Name: name, Payload: []byte(payload)}
	r, err := c.Send(t.Context(), provider.Message{To: provider.Target{ID: id}, Payload: history.AppendMessage(nil, &ev)})
	assert.NoError(t, err)
	assert.NoError(t, r.Err)
}

func wait(t *testing.T, c *Client, target provider.Target) history.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	o, err := c.Wait(ctx, target)
	if err != nil {
		t.Fatalf("wait for %s: %v", target.ID, err)
	}
	ev, err := history.DecodeMessage(o.Payload)
	assert.NoError(t, err)
	return ev
}

func completed(out string) history.Event {
	return history.Event{Kind: history.Completed, Payload: []byte(out)}
}

func call(m *replay.Machine, name, input string) (string, *history.Failure) {
	op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: name, Payload: []byte(input)})
	_, answer := m.Wait(op)
	if answer == nil {
		return "", &history.Failure{Code: CodeCanceled}
	}
	return string(answer.Payload), answer.Failure
}

// sequence calls the activity echo n times.
func sequence(n int) replay.Code {
	return func(m *replay.Machine, started *history.Event) history.Event {
		out := ""
		for i := range n {
			s, f := call(m, "echo", fmt.Sprint(i))
			if f != nil {
				return history.Event{Kind: history.Failed, Failure: f}
			}
			out += s
		}
		return completed(out)
	}
}

func echo(_ context.Context, a *Attempt) ([]byte, *history.Failure) { return a.Input, nil }

type actMap = map[string]func(context.Context, *Attempt) ([]byte, *history.Failure)
type codeMap = map[string]replay.Code

// DESIGN 7: "N sequential activities cost N+1 commits": the one that creates
// the instance, with its first turn, and N more.
func TestSequenceCostsOneCommitPerStep(t *testing.T) {
	store := memory.Open()
	n := start(t, store, Options{}, codeMap{"seq": sequence(5)}, actMap{"echo": echo})
	n.waitMember(t)
	before := n.Metrics().Commits
	target := begin(t, n.Client(), "seq", "a", nil)
	got := wait(t, n.Client(), target)
	assert.Equal(t, string(got.Payload), "01234")
	assert.Equal(t, n.Metrics().Commits-before, int64(5))
	turns, err := store.Turns(t.Context(), target.Key, 1, 10)
	assert.NoError(t, err)
	assert.Equal(t, len(turns), 6)
	assert.Equal(t, n.Metrics().ActivitiesRow, int64(0))
}

func (n *node) waitMember(t *testing.T) {
	t.Helper()
	until(t, "member", n.member)
}

// until waits for something that other goroutines bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestManyAtOnce(t *testing.T) {
	store := memory.Open()
	n := start(t, store, Options{MaxHot: 10}, codeMap{"seq": sequence(5)}, actMap{"echo": echo})
	var targets []provider.Target
	for i := range 300 {
		targets = append(targets, begin(t, n.Client(), "seq", fmt.Sprint("i", i), nil))
	}
	for _, target := range targets {
		assert.Equal(t, string(wait(t, n.Client(), target).Payload), "01234")
	}
	assert.NoError(t, n.stop())
}

// A signal sent before anyone waits is kept; an evicted execution is rebuilt.
func TestSignalsAndEviction(t *testing.T) {
	store := memory.Open()
	code := func(m *replay.Machine, _ *history.Event) history.Event {
		call(m, "echo", "x")
		_, s := m.Wait(m.Signals("go"))
		first := string(s.Payload)
		_, s = m.Wait(m.Signals("go"))
		return completed(first + string(s.Payload))
	}
	n := start(t, store, Options{MaxHot: 3}, codeMap{"sig": code}, actMap{"echo": echo})
	var targets []provider.Target
	for i := range 40 {
		id := fmt.Sprint("s", i)
		targets = append(targets, begin(t, n.Client(), "sig", id, nil))
		signal(t, n.Client(), id, "go", "a")
	}
	for i := range 40 {
		signal(t, n.Client(), fmt.Sprint("s", i), "go", "b")
	}
	for _, target := range targets {
		assert.Equal(t, string(wait(t, n.Client(), target).Payload), "ab")
	}
	if n.Metrics().Evictions == 0 {
		t.Error("nothing was evicted")
	}
}

func TestTimersFireAndNeverEarly(t *testing.T) {
	store := memory.Open()
	code := func(m *replay.Machine, _ *history.Event) history.Event {
		at := m.Now() + int64(50*time.Millisecond)
		op := m.Emit(history.Event{Kind: history.TimerSet, Time: at})
		m.Wait(op)
		if m.Now() < at {
			return completed("early")
		}
		return completed("on time")
	}
	n := start(t, store, Options{IdleRelease: 10 * time.Millisecond}, codeMap{"sleep": code}, nil)
	long := start(t, store, Options{IdleRelease: 10 * time.Second}, codeMap{"sleep": code}, nil)
	for i := range 20 {
		a := begin(t, n.Client(), "sleep", fmt.Sprint("a", i), nil)
		b := begin(t, long.Client(), "sleep", fmt.Sprint("b", i), nil)
		defer func() {
			assert.Equal(t, string(wait(t, n.Client(), a).Payload), "on time")
			assert.Equal(t, string(wait(t, long.Client(), b).Payload), "on time")
		}()
	}
}

func TestChildrenAndContinueAsNew(t *testing.T) {
	store := memory.Open()
	child := func(m *replay.Machine, started *history.Event) history.Event {
		if len(started.Payload) < 3 {
			return history.Event{Kind: history.ContinuedAsNew, Payload: append(started.Payload, 'x')}
		}
		return completed(string(started.Payload))
	}
	parent := func(m *replay.Machine, _ *history.Event) history.Event {
		out := ""
		for i := range 3 {
			op := m.Emit(history.Event{Kind: history.ChildStarted, Name: "child", Target: fmt.Sprint("c", i), Payload: []byte("a")})
			_, answer := m.Wait(op)
			out += string(answer.Payload)
		}
		taken := m.Emit(history.Event{Kind: history.ChildStarted, Name: "child", Target: "c0"})
		_, answer := m.Wait(taken)
		return completed(out + " " + answer.Failure.Code)
	}
	n := start(t, store, Options{}, codeMap{"child": child, "parent": parent}, nil)
	got := wait(t, n.Client(), begin(t, n.Client(), "parent", "p", nil))
	assert.Equal(t, string(got.Payload), "axxaxxaxx "+CodeAlreadyExists)
}

// DESIGN 5: "Policy: … retry". Retries are the engine's and go through tasks.
func TestRetries(t *testing.T) {
	store := memory.Open()
	var tries atomic.Int64
	flaky := func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
		if tries.Add(1) < 3 {
			return nil, &history.Failure{Message: "no"}
		}
		return []byte(fmt.Sprint(a.Number)), nil
	}
	code := func(m *replay.Machine, _ *history.Event) history.Event {
		op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "flaky",
			Policy: &history.Policy{MaxAttempts: 5, Initial: int64(time.Millisecond)}})
		_, answer := m.Wait(op)
		return completed(string(answer.Payload))
	}
	n := start(t, store, Options{}, codeMap{"r": code}, actMap{"flaky": flaky})
	assert.Equal(t, string(wait(t, n.Client(), begin(t, n.Client(), "r", "r", nil)).Payload), "3")
}

// DESIGN 4: a panic "is not an outcome: it is a turn failure. The code can be
// changed and the instance goes on."
func TestTurnFailureBacksOffAndGoesOn(t *testing.T) {
	store := memory.Open()
	var fixed atomic.Bool
	code := func(m *replay.Machine, _ *history.Event) history.Event {
		s, _ := call(m, "echo", "x")
		if !fixed.Load() {
			panic("a bug")
		}
		return completed(s)
	}
	n := start(t, store, Options{MinBackoff: 5 * time.Millisecond, MaxBackoff: 5 * time.Millisecond}, codeMap{"buggy": code}, actMap{"echo": echo})
	target := begin(t, n.Client(), "buggy", "b", nil)
	var row provider.Instance
	until(t, "three failures", func() bool {
		row, _ = store.Get(t.Context(), target)
		return row.Attempts >= 3 && row.TurnFailure != ""
	})
	assert.Equal(t, row.Status, provider.Running)
	fixed.Store(true)
	assert.Equal(t, string(wait(t, n.Client(), target).Payload), "x")
}

// Two nodes on one store: one dies without a word, the other finishes.
func TestDeadNodesWorkIsFinished(t *testing.T) {
	store := memory.Open()
	release := make(chan struct{})
	slow := func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
		select {
		case <-release:
			return []byte(fmt.Sprint(a.Number)), nil
		case <-ctx.Done():
			return nil, &history.Failure{Message: "canceled"}
		}
	}
	code := func(m *replay.Machine, _ *history.Event) history.Event {
		s, _ := call(m, "slow", "x")
		return completed(s)
	}
	o := Options{Lease: 300 * time.Millisecond, DrainTimeout: 100 * time.Millisecond}
	dying := &severed{Provider: provider.Plain(store)}
	a := start(t, dying, o, codeMap{"s": code}, actMap{"slow": slow})
	a.waitMember(t)
	target := begin(t, a.Client(), "s", "s", nil)
	until(t, "first turn", func() bool { row, _ := store.Get(t.Context(), target); return row.NextTurn == 2 })
	dying.cut.Store(true)
	b := start(t, store, o, codeMap{"s": code}, actMap{"slow": slow})
	until(t, "burial", func() bool { return b.Metrics().Buried > 0 })
	close(release)
	assert.Equal(t, string(wait(t, b.Client(), target).Payload), "2")
}

// severed is a store that a node can no longer reach.
type severed struct {
	provider.Provider
	cut atomic.Bool
}

var errCut = errors.New("cut off")

func (s *severed) Heartbeat(ctx context.Context, n provider.NodeKey) (provider.Pulse, error) {
	if s.cut.Load() {
		return provider.Pulse{}, errCut
	}
	return s.Provider.Heartbeat(ctx, n)
}

func (s *severed) Commit(ctx context.Context, n provider.NodeKey, b []provider.Commit) ([]provider.CommitResult, error) {
	if s.cut.Load() {
		return nil, provider.ErrTransient
	}
	return s.Provider.Commit(ctx, n, b)
}

// DESIGN 7: graceful drain, "nothing left owned".
func TestDrainLeavesNothingOwned(t *testing.T) {
	store := memory.Open()
	hang := func(ctx context.Context, _ *Attempt) ([]byte, *history.Failure) {
		<-ctx.Done()
		return nil, &history.Failure{Message: "stopped"}
	}
	code := func(m *replay.Machine, started *history.Event) history.Event {
		if string(started.Payload) == "wait" {
			m.Wait(m.Signals("never"))
		}
		s, _ := call(m, "hang", "x")
		return completed(s)
	}
	n := start(t, store, Options{}, codeMap{"h": code}, actMap{"hang": hang})
	n.waitMember(t)
	var targets []provider.Target
	for i := range 20 {
		input := "hang"
		if i%2 == 0 {
			input = "wait"
		}
		targets = append(targets, begin(t, n.Client(), "h", fmt.Sprint(i), []byte(input)))
	}
	for _, target := range targets {
		until(t, "first turn", func() bool { row, _ := store.Get(t.Context(), target); return row.NextTurn == 2 })
	}
	began := time.Now()
	assert.NoError(t, n.stop())
	t.Logf("drained in %s", time.Since(began))
	for i, target := range targets {
		row, err := store.Get(t.Context(), target)
		assert.NoError(t, err)
		assert.Equal(t, row.Owner, provider.NodeKey(0))
		tasks, err := store.Tasks(t.Context(), target.Key)
		assert.NoError(t, err)
		assert.Equal(t, len(tasks), i%2)
	}
	nodes, err := store.Nodes(t.Context())
	assert.NoError(t, err)
	assert.Equal(t, len(nodes), 0)
}
