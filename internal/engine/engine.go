// Package engine moves work between a store, the code of orchestrations and
// the workers that run activities.
//
//	store ─claim→ dispatcher ─inbox→ execution ─turn→ committer ─group→ store
//	  ↑              │ prefetch            ↑                 │
//	  └── wake ──────┘                     └── results ── local workers
//
// An execution is in one state at a time (see the type state), and whoever
// put it there moves it on: the dispatcher and the workers deliver into its
// inbox, poke finds out whether something is to be done, the loader reads
// what is missing, a turn runs, the committer writes it together with the
// turns of others, and its effects happen. Only then may the next turn begin.
//
// The locks, in the order in which they may be taken: execution.mu,
// Engine.mu, then those of the queues.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango/provider"
)

// Engine is a node.
type Engine struct {
	store    provider.Provider
	o        Options
	contract provider.Contract

	orchestrations map[string][]Orchestration // by name, highest version first
	activities     map[string]*activity
	// definitions are what claims ask for: what is registered, and ranges of
	// versions that it fits.
	definitions atomic.Pointer[[]provider.Definition]
	registered  []provider.Definition
	filters     []provider.TaskFilter

	clock   clock
	workers workers
	turns   turnQueue
	trials  trials
	timers  timers
	client  *Client
	metrics counters
	sizes   Sizes

	commits  *batcher[*execution]
	loads    *batcher[*execution]
	finishes *batcher[provider.TaskFinish]

	node     atomic.Int64 // provider.NodeKey; zero while not a member
	alone    atomic.Bool  // no other node is a member
	draining atomic.Bool
	hurry    atomic.Bool  // draining, and the grace of local tasks is over
	busy     atomic.Int64 // executions that are not idle
	parks    atomic.Int64 // calls of Park under way
	progress underway
	wake     chan struct{}
	wakeTask chan struct{}
	// wakeSurvey: instances have been created that are nobody's yet.
	wakeSurvey chan struct{}
	// wakeBeat: others write to the store. wakeRenewals: something is held.
	wakeBeat, wakeRenewals chan struct{}

	mu    sync.Mutex
	execs map[provider.Key]*execution
	held  map[provider.TaskRef]*task
	// probationers are parked attempts whose function has not returned.
	probationers map[*task]bool
	// vouching is full while their probation is prolonged. It is no mutex: time
	// in a simulation stands still while somebody waits for one.
	vouching chan struct{}
	// parking are held tasks whose attempt waits to be parked.
	parking map[provider.TaskRef]chan error
	// lacking are the kinds of tasks that this node has scheduled, cannot run, and
	// has said so.
	lacking map[provider.TaskFilter]bool
	hot     hotList // idle executions with a machine, coldest first
	hotMem  int64

	// What differed from the store at the last reconciliation.
	suspects     map[provider.Key]bool
	taskSuspects map[provider.TaskRef]bool

	pool    pool
	ctx     context.Context
	running atomic.Bool
}

// New describes the store and agrees with it upon the contract.
func New(store provider.Provider, o Options) (*Engine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if o.Contract == (provider.Range{}) {
		o.Contract = provider.Supported
	}
	contract, err := provider.Agree(ctx, store, o.Contract)
	if err != nil {
		return nil, err
	}
	d := &contract.Store
	if err := o.Policy.check(&contract); err != nil {
		return nil, err
	}
	if o.MaxPoll == 0 && d.Capabilities.Watch {
		o.MaxPoll = 10 * time.Second // the store says when to look
	}
	e := &Engine{
		store: store, o: o.withDefaults(), contract: contract,
		orchestrations: map[string][]Orchestration{},
		activities:     map[string]*activity{},
		wake:           make(chan struct{}, 1),
		wakeTask:       make(chan struct{}, 1),
		wakeSurvey:     make(chan struct{}, 1),
		wakeBeat:       make(chan struct{}, 1),
		wakeRenewals:   make(chan struct{}, 1),
		execs:          map[provider.Key]*execution{},
		held:           map[provider.TaskRef]*task{},
		vouching:       make(chan struct{}, 1),
	}
	if d.MaxEventSize > 0 {
		e.o.MaxTurnBytes = min(e.o.MaxTurnBytes, 3*d.MaxEventSize)
	}
	e.definitions.Store(new([]provider.Definition))
	e.clock.set(d.Now)
	e.workers.e, e.turns.e, e.timers.e = e, e, e
	e.workers.loop, e.turns.loop = e.workers.work, e.turns.work
	e.commits = newBatcher(e.pool.run, 512, e.commitGroup)
	e.loads = newBatcher(e.pool.run, 128, whole(e.loadGroup))
	e.finishes = newBatcher(e.pool.run, 256, whole(e.finishGroup))
	e.client = newClient(store, e, e.o.Compression)
	e.alone.Store(true)
	return e, nil
}

// MaxEventSize is the largest payload that the store takes, in bytes; zero: any.
func (e *Engine) MaxEventSize() int { return e.contract.Store.MaxEventSize }

// checkPolicies looks for what is registered and needs more than the store can
// do.
func (e *Engine) checkPolicies() error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(e.orchestrations)) {
		for i := range e.orchestrations[name] {
			o := &e.orchestrations[name][i]
			if err := o.Policy.check(&e.contract); err != nil {
				problems = append(problems, fmt.Errorf("orchestration %s %s: %w", o.Name, o.Version, err))
			}
		}
	}
	return errors.Join(problems...)
}

// Client returns a client with the short way to this node.
func (e *Engine) Client() *Client { return e.client }

// Run joins the store's nodes and works until ctx ends; then it hands
// everything over and leaves. It returns an error only when it could not
// begin or not hand over.
func (e *Engine) Run(ctx context.Context) error {
	if e.running.Swap(true) {
		return errors.New("run: the node is already running, or has stopped")
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	e.ctx = work
	if err := e.checkPolicies(); err != nil {
		return err
	}
	if err := e.join(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to end before it had begun
		}
		return err
	}
	e.pool.open()
	d := &e.contract.Store
	e.o.Logger.Info("node joined", "node", e.nodeKey(), "store", d.Name, "store_version", d.Version, "durability", d.Durability,
		"contract", e.contract.Version, "capabilities", d.Capabilities.String())
	if older := e.contract.Older(); older != "" {
		e.o.Logger.Warn("an older contract is spoken", "contract", e.contract.Version, "reason", older)
	}

	var loops sync.WaitGroup
	background, cancel := context.WithCancel(work)
	for _, loop := range []func(context.Context){e.heartbeats, e.renewals, e.dispatch, e.takeTasks, e.timers.run, e.housekeeping, e.callbacks, e.surveys, e.sweeps, e.watch} {
		loops.Go(func() { loop(background) })
	}
	<-ctx.Done()
	return e.drain(func() { cancel(); loops.Wait() }, stop)
}

func (e *Engine) nodeKey() provider.NodeKey { return provider.NodeKey(e.node.Load()) }

// member reports whether this node may take on work of its own accord.
func (e *Engine) member() bool { return e.node.Load() != 0 && !e.draining.Load() }

func (e *Engine) lookup(k provider.Key) *execution {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.execs[k]
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// all lists the executions in memory, so that each can be locked: nobody waits
// for an execution under e.mu. They are in the order of their keys, so that what
// becomes of them has an order that a simulation can repeat.
func (e *Engine) all() []*execution {
	e.mu.Lock()
	all := make([]*execution, 0, len(e.execs))
	for _, x := range e.execs {
		all = append(all, x)
	}
	e.mu.Unlock()
	slices.SortFunc(all, func(a, b *execution) int { return cmp.Compare(a.key, b.key) })
	return all
}

// counters are facts that tests and benchmarks read.
type counters struct {
	turns, commits, groups, released       atomic.Int64
	rebuilds, replayedTurns, evictions     atomic.Int64
	turnFailures, conflicts, dropped       atomic.Int64
	activitiesLocal, activitiesRow         atomic.Int64
	activitiesFailed, recovered            atomic.Int64
	claimed, buried, adopted, abandonments atomic.Int64
	quarantined, tasksQuarantined          atomic.Int64
	undecodable                            atomic.Int64
}

// Metrics is a reading of the node's counters.
type Metrics struct {
	Turns, Commits, Groups, Released       int64
	Rebuilds, ReplayedTurns, Evictions     int64
	TurnFailures, Conflicts, Dropped       int64
	ActivitiesLocal, ActivitiesRow         int64
	ActivitiesFailed, Recovered            int64
	Claimed, Buried, Adopted, Abandonments int64
	Owned, Hot                             int64
	Quarantined, TasksQuarantined          int64
	Undecodable                            int64
}

// Metrics reads the node's counters.
func (e *Engine) Metrics() Metrics {
	c := &e.metrics
	e.mu.Lock()
	owned, hot := int64(len(e.execs)), int64(e.hot.n)
	e.mu.Unlock()
	return Metrics{
		Turns: c.turns.Load(), Commits: c.commits.Load(), Groups: c.groups.Load(), Released: c.released.Load(),
		Rebuilds: c.rebuilds.Load(), ReplayedTurns: c.replayedTurns.Load(), Evictions: c.evictions.Load(),
		TurnFailures: c.turnFailures.Load(), Conflicts: c.conflicts.Load(), Dropped: c.dropped.Load(),
		ActivitiesLocal: c.activitiesLocal.Load(), ActivitiesRow: c.activitiesRow.Load(),
		ActivitiesFailed: c.activitiesFailed.Load(), Recovered: c.recovered.Load(),
		Claimed: c.claimed.Load(), Buried: c.buried.Load(), Adopted: c.adopted.Load(), Abandonments: c.abandonments.Load(),
		Owned: owned, Hot: hot, Quarantined: c.quarantined.Load(),
		TasksQuarantined: c.tasksQuarantined.Load(), Undecodable: c.undecodable.Load(),
	}
}
