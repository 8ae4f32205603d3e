package bench

import (
	"context"
	"log/slog"
	"time"

	"github.com/cschleiden/go-workflows/backend"
	"github.com/cschleiden/go-workflows/backend/monoprocess"
	"github.com/cschleiden/go-workflows/backend/postgres"
	"github.com/cschleiden/go-workflows/backend/sqlite"
	"github.com/cschleiden/go-workflows/client"
	"github.com/cschleiden/go-workflows/registry"
	"github.com/cschleiden/go-workflows/worker"
	"github.com/cschleiden/go-workflows/workflow"
	"github.com/jackc/pgx/v5/stdlib"
)

// Its documentation of backends asks who opens the database for a write-ahead
// log, a busy timeout and one connection; that of the monoprocess backend says
// that it is more responsive where backend and worker share a process. Nothing
// else is said about throughput. Its client waits by polling, with pauses of up
// to a second, on the same connection as the workers.
var goWorkflowsPeer = &Peer{
	Name: "go-workflows", Module: "github.com/cschleiden/go-workflows", Stores: DiskStores,
	Settings: "the monoprocess backend, as in its own benchmark; 2 pollers each (its default); its cache has room for all that are in flight; " +
		"SQLite: WAL, 1 connection (its default); PostgreSQL: 20 connections",
	Open: openGoWorkflows,
}

type goWorkflowsSystem struct {
	client *client.Client
	limit  time.Duration
	order  string
}

func openGoWorkflows(ctx context.Context, at Place) (Orchestrator, error) {
	logger := backend.WithLogger(slog.New(at.Log))
	var b backend.Backend
	if at.Server != nil {
		db := stdlib.OpenDB(*at.Server.ConnConfig)
		db.SetMaxOpenConns(peerConns)
		db.SetMaxIdleConns(peerConns)
		b = monoprocess.NewMonoprocessBackend(postgres.NewPostgresBackendWithDB(db,
			postgres.WithApplyMigrations(true), postgres.WithBackendOptions(logger)))
	} else {
		db, err := at.openSQLite()
		if err != nil {
			return nil, err
		}
		b = monoprocess.NewMonoprocessBackend(sqlite.NewSqliteBackendWithDB(db,
			sqlite.WithApplyMigrations(true), sqlite.WithBackendOptions(logger)))
	}
	o := worker.DefaultOptions
	o.WorkflowExecutorCacheSize = max(o.WorkflowExecutorCacheSize, 2*at.InFlight)
	w := worker.New(b, &o)
	noop := func(_ context.Context, s Step) (Step, error) {
		at.Did()
		return s, nil
	}
	for name, flow := range map[string]workflow.Workflow{"chain": goWorkflowsChain, "fan": goWorkflowsFan} {
		if err := w.RegisterWorkflow(flow, registry.WithName(name)); err != nil {
			return nil, err
		}
	}
	if err := w.RegisterActivity(noop, registry.WithName("no-op")); err != nil {
		return nil, err
	}
	if err := w.Start(ctx); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return &goWorkflowsSystem{client.New(b), time.Until(deadline), at.Order}, nil
}

func goWorkflowsChain(ctx workflow.Context, in Step) (int, error) {
	for i := range in.N {
		if _, err := workflow.ExecuteActivity[Step](ctx, workflow.DefaultActivityOptions, "no-op", Step{in.Order, i}).Get(ctx); err != nil {
			return i, err
		}
	}
	return in.N, nil
}

func goWorkflowsFan(ctx workflow.Context, in Step) (int, error) {
	futures := make([]workflow.Future[Step], in.N)
	for i := range futures {
		futures[i] = workflow.ExecuteActivity[Step](ctx, workflow.DefaultActivityOptions, "no-op", Step{in.Order, i})
	}
	for i, f := range futures {
		if _, err := f.Get(ctx); err != nil {
			return i, err
		}
	}
	return in.N, nil
}

func (s *goWorkflowsSystem) Chain(ctx context.Context, id string, steps int) (int, error) {
	return s.run(ctx, "chain", id, steps)
}

func (s *goWorkflowsSystem) Fan(ctx context.Context, id string, width int) (int, error) {
	return s.run(ctx, "fan", id, width)
}

func (s *goWorkflowsSystem) run(ctx context.Context, flow, id string, n int) (int, error) {
	instance, err := s.client.CreateWorkflowInstance(ctx, client.WorkflowInstanceOptions{InstanceID: id}, flow, Step{s.order, n})
	if err != nil {
		return 0, err
	}
	return client.GetWorkflowResult[int](ctx, s.client, instance, s.limit)
}
