package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	riverWorkers = 100
	// "Throughput is limited by this value", says the documentation of
	// FetchCooldown, whose default is 100 ms.
	riverCooldown = 10 * time.Millisecond
	// riverEvents is above the number of jobs that are under way at once: an
	// event that finds the channel full is dropped.
	riverEvents = 1 << 16
)

// riverPeer is a queue, not an engine: there is no orchestration, no history
// and no result, so what it does is less.
var riverPeer = &Peer{
	Name: "river", Module: "github.com/riverqueue/river", Stores: DiskStores,
	Settings: "a bare queue: a chain is a job that inserts the next one in the transaction that completes it, a fan-out one InsertMany, " +
		"joined in memory by its events; MaxWorkers 100 (as in its examples), FetchCooldown 10 ms (its default of 100 ms limits throughput); " +
		"PostgreSQL: 20 connections; SQLite: WAL, 1 connection (as its documentation says)",
	Cannot: func(workload, _ string) string {
		if workload == "long" {
			return "a queue has no orchestration that could become long"
		}
		return ""
	},
	Open: openRiver,
}

// riverStep is one job. Left are those that come after it in its chain.
type riverStep struct {
	Flow string `json:"flow"`
	Step Step   `json:"step"`
	Left int    `json:"left"`
	Fan  bool   `json:"fan"`
}

func (riverStep) Kind() string { return "no-op" }

// riverSystem is for the driver's type of transactions.
type riverSystem[Tx any] struct {
	river.WorkerDefaults[riverStep]
	client *river.Client[Tx]
	// inTx runs f in a transaction, complete completes a job in it.
	inTx     func(ctx context.Context, f func(Tx) error) error
	complete func(context.Context, Tx, *river.Job[riverStep]) error
	did      func()
	order    string

	mu      sync.Mutex
	waiting map[string]*riverFlow
}

// riverFlow is a chain or a fan-out that somebody waits for.
type riverFlow struct {
	ended int
	left  int
	done  chan struct{}
}

func openRiver(ctx context.Context, at Place) (Orchestrator, error) {
	if at.Server != nil {
		pool, err := pgxpool.NewWithConfig(ctx, at.Server)
		if err != nil {
			return nil, err
		}
		inTx := func(ctx context.Context, f func(pgx.Tx) error) error { return pgx.BeginFunc(ctx, pool, f) }
		return startRiver(ctx, at, riverpgxv5.New(pool), inTx, func(ctx context.Context, tx pgx.Tx, job *river.Job[riverStep]) error {
			_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
			return err
		})
	}
	db, err := at.openSQLite()
	if err != nil {
		return nil, err
	}
	inTx := func(ctx context.Context, f func(*sql.Tx) error) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := f(tx); err != nil {
			return err
		}
		return tx.Commit()
	}
	return startRiver(ctx, at, riversqlite.New(db), inTx, func(ctx context.Context, tx *sql.Tx, job *river.Job[riverStep]) error {
		_, err := river.JobCompleteTx[*riversqlite.Driver](ctx, tx, job)
		return err
	})
}

func startRiver[Tx any](ctx context.Context, at Place, driver riverdriver.Driver[Tx],
	inTx func(context.Context, func(Tx) error) error, complete func(context.Context, Tx, *river.Job[riverStep]) error,
) (Orchestrator, error) {
	logger := slog.New(at.Log)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: logger})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	s := &riverSystem[Tx]{inTx: inTx, complete: complete, did: at.Did, order: at.Order, waiting: map[string]*riverFlow{}}
	workers := river.NewWorkers()
	river.AddWorker(workers, s)
	s.client, err = river.NewClient(driver, &river.Config{
		Logger: logger, Workers: workers, FetchCooldown: riverCooldown,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}},
	})
	if err != nil {
		return nil, err
	}
	events, _ := s.client.SubscribeConfig(&river.SubscribeConfig{ChanSize: riverEvents, Kinds: []river.EventKind{river.EventKindJobCompleted}})
	go s.join(events)
	return s, s.client.Start(ctx)
}

func (s *riverSystem[Tx]) Work(ctx context.Context, job *river.Job[riverStep]) error {
	s.did()
	if job.Args.Fan {
		return nil // completed by the client, in batches; join hears of it
	}
	err := s.inTx(ctx, func(tx Tx) error {
		if err := s.complete(ctx, tx, job); err != nil || job.Args.Left == 0 {
			return err
		}
		next := job.Args
		next.Left, next.Step.N = next.Left-1, next.Step.N+1
		_, err := s.client.InsertTx(ctx, tx, next, nil)
		return err
	})
	if err == nil {
		s.ended(job.Args.Flow)
	}
	return err
}

// join counts the jobs of fan-outs whose completion is in the store.
func (s *riverSystem[Tx]) join(events <-chan *river.Event) {
	for e := range events {
		var args riverStep
		if err := json.Unmarshal(e.Job.EncodedArgs, &args); err == nil && args.Fan {
			s.ended(args.Flow)
		}
	}
}

// ended counts a job, and tells who waits for its flow when it was the last.
func (s *riverSystem[Tx]) ended(flow string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting[flow]
	if w == nil {
		return
	}
	w.ended++
	if w.left--; w.left == 0 {
		close(w.done)
		delete(s.waiting, flow)
	}
}

func (s *riverSystem[Tx]) Chain(ctx context.Context, id string, steps int) (int, error) {
	return s.await(ctx, id, steps, func() error {
		_, err := s.client.Insert(ctx, riverStep{Flow: id, Step: Step{Order: s.order}, Left: steps - 1}, nil)
		return err
	})
}

func (s *riverSystem[Tx]) Fan(ctx context.Context, id string, width int) (int, error) {
	return s.await(ctx, id, width, func() error {
		jobs := make([]river.InsertManyParams, width)
		for i := range jobs {
			jobs[i].Args = riverStep{Flow: id, Step: Step{s.order, i}, Fan: true}
		}
		_, err := s.client.InsertManyFast(ctx, jobs)
		return err
	})
}

// await starts a flow of so many jobs and waits for the last.
func (s *riverSystem[Tx]) await(ctx context.Context, id string, jobs int, start func() error) (int, error) {
	w := &riverFlow{left: jobs, done: make(chan struct{})}
	s.mu.Lock()
	s.waiting[id] = w
	s.mu.Unlock()
	if err := start(); err != nil {
		return 0, err
	}
	select {
	case <-w.done:
		return w.ended, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("flow %s: %w", id, ctx.Err())
	}
}
