package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"
)

type idleOrders struct {
	Dir, Store              string
	Instances               int
	Release, Settle, Window time.Duration
	Timeout                 time.Duration
}

type idleReport struct {
	// MiB: after the node has joined, and after the window.
	RSSBefore, RSSAfter float64
	CPU, Wall           time.Duration
	Calls               int64 // of the store, by the engine
	Store               *Counts
	Notes               []string
}

func runIdle(e *env) (*Sample, error) {
	all := machineCPU()
	began := time.Now()
	report, used, err := e.spawn(childOrders{Idle: &idleOrders{Dir: e.dir, Store: e.store, Instances: e.Idle, Release: e.IdleRelease,
		Settle: e.IdleSettle, Window: e.IdleWindow, Timeout: e.Timeout}})
	if err != nil {
		return nil, err
	}
	whole := time.Since(began)
	r := report.Idle
	s := &Sample{Steps: int64(e.Idle), Wall: r.Wall, CPU: r.CPU, Store: r.Store, Other: -1, Notes: r.Notes}
	if all > 0 {
		s.Other = max(0, (machineCPU()-all-used).Seconds()/whole.Seconds())
	}
	seconds := r.Wall.Seconds()
	s.add("rss_mib", r.RSSAfter)
	s.add("rss_empty_mib", r.RSSBefore)
	s.add("cpu_percent", 100*r.CPU.Seconds()/seconds)
	s.add("store_calls_per_s", float64(r.Calls)/seconds)
	if r.Store != nil {
		s.add("writes_per_s", float64(r.Store.Transactions)/seconds)
		s.add("writer_statements_per_s", float64(r.Store.Statements)/seconds)
	}
	return s, nil
}

// idle is what its process does.
func idle(o *idleOrders, r *idleReport) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	e := &env{Context: ctx, dir: o.Dir, store: o.Store}
	st, err := e.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	counting := &countingStore{Provider: provider.Plain(st.Provider)}
	l := newLevels(o.Instances)
	var entries atomic.Int64
	n, err := startNode(ctx, counting, durango.Options{IdleRelease: o.Release}, bindWait(l, &entries))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	r.RSSBefore = residentMiB()
	// The counting store has no inspector, so park's last look goes around it.
	if _, err := park(e, durango.NewClient(st.Provider), l, o.Instances, 1); err != nil {
		return err
	}
	pause(ctx, o.Settle)
	m := begin(st, func() int64 { return 0 })
	calls := counting.calls.Load()
	pause(ctx, o.Window)
	s := m.end()
	r.Calls = counting.calls.Load() - calls
	r.CPU, r.Wall, r.Store = s.CPU, s.Wall, s.Store
	r.RSSAfter = residentMiB()
	r.Notes = n.log.note()
	return ctx.Err()
}

// countingStore counts what a node that has nothing to do asks of its store.
type countingStore struct {
	provider.Provider
	calls atomic.Int64
}

func (c *countingStore) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	c.calls.Add(1)
	return c.Provider.Heartbeat(ctx, node)
}

func (c *countingStore) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	c.calls.Add(1)
	return c.Provider.Claim(ctx, req)
}

func (c *countingStore) Load(ctx context.Context, batch []provider.LoadRequest) ([]provider.Loaded, error) {
	c.calls.Add(1)
	return c.Provider.Load(ctx, batch)
}

func (c *countingStore) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	c.calls.Add(1)
	return c.Provider.Commit(ctx, node, batch)
}

func (c *countingStore) Owned(ctx context.Context, node provider.NodeKey) (provider.Holdings, error) {
	c.calls.Add(1)
	return c.Provider.Owned(ctx, node)
}

func (c *countingStore) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	c.calls.Add(1)
	return c.Provider.ClaimTasks(ctx, req)
}

func (c *countingStore) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	c.calls.Add(1)
	return c.Provider.FinishTasks(ctx, node, batch)
}

func (c *countingStore) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	c.calls.Add(1)
	return c.Provider.ExtendTasks(ctx, node, batch)
}

func (c *countingStore) Outcomes(ctx context.Context, targets []provider.Target) ([]provider.Outcome, error) {
	c.calls.Add(1)
	return c.Provider.Outcomes(ctx, targets)
}
