package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/durango-go/durango/bench/internal/bench"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"
)

const settings = "server, worker and client in one process; the server as its config/development-*.yaml say: SQLite: WAL, 1 connection, " +
	"1 shard; PostgreSQL: 20 connections, 4 shards; its limits of requests a second taken away, 1 partition; the worker starts workflows eagerly"

var remote = &bench.Peer{
	Name: "temporal", Module: "go.temporal.io/server", Stores: bench.DiskStores,
	Settings: settings,
	Open:     func(ctx context.Context, at bench.Place) (bench.Orchestrator, error) { return open(ctx, at, false) },
}

// local is for steps that need not be dispatched: their results are
// recorded when the workflow task ends.
var local = &bench.Peer{
	Name: "temporal-local", Module: "go.temporal.io/sdk", Stores: bench.DiskStores,
	Settings: "the same with local activities: they run in the process of the workflow, and those that follow one another are recorded together, " +
		"so that one step is not durable before the next begins",
	Open: func(ctx context.Context, at bench.Place) (bench.Orchestrator, error) { return open(ctx, at, true) },
}

const (
	queue     = "bench"
	namespace = "bench"
)

type system struct {
	client client.Client
	order  string
	local  bool
}

func open(ctx context.Context, at bench.Place, local bool) (bench.Orchestrator, error) {
	frontend, err := startServer(at)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	options := client.Options{HostPort: frontend, Namespace: namespace, Logger: sdklog.NewStructuredLogger(slog.New(at.Log))}
	if err := makeNamespace(ctx, options); err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	s := &system{order: at.Order, local: local}
	if s.client, err = client.DialContext(ctx, options); err != nil {
		return nil, err
	}
	w := worker.New(s.client, queue, worker.Options{})
	w.RegisterWorkflowWithOptions(s.chainFlow, workflow.RegisterOptions{Name: "chain"})
	w.RegisterWorkflowWithOptions(s.fanFlow, workflow.RegisterOptions{Name: "fan"})
	w.RegisterActivityWithOptions(func(_ context.Context, in bench.Step) (bench.Step, error) {
		at.Did()
		return in, nil
	}, activity.RegisterOptions{Name: "no-op"})
	return s, w.Start()
}

// makeNamespace makes the namespace, and waits until the server knows it.
func makeNamespace(ctx context.Context, options client.Options) error {
	c, err := client.NewNamespaceClient(options)
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		return err
	}
	for {
		_, err := c.Describe(ctx, namespace)
		if _, missing := err.(*serviceerror.NamespaceNotFound); !missing {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *system) noop(ctx workflow.Context, in bench.Step) workflow.Future {
	if s.local {
		return workflow.ExecuteLocalActivity(workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
			StartToCloseTimeout: time.Minute,
		}), "no-op", in)
	}
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute}), "no-op", in)
}

func (s *system) chainFlow(ctx workflow.Context, in bench.Step) (int, error) {
	for i := range in.N {
		var out bench.Step
		if err := s.noop(ctx, bench.Step{Order: in.Order, N: i}).Get(ctx, &out); err != nil {
			return i, err
		}
	}
	return in.N, nil
}

func (s *system) fanFlow(ctx workflow.Context, in bench.Step) (int, error) {
	futures := make([]workflow.Future, in.N)
	for i := range futures {
		futures[i] = s.noop(ctx, bench.Step{Order: in.Order, N: i})
	}
	for i, f := range futures {
		var out bench.Step
		if err := f.Get(ctx, &out); err != nil {
			return i, err
		}
	}
	return in.N, nil
}

func (s *system) Chain(ctx context.Context, id string, steps int) (int, error) {
	return s.run(ctx, "chain", id, steps)
}

func (s *system) Fan(ctx context.Context, id string, width int) (int, error) {
	return s.run(ctx, "fan", id, width)
}

func (s *system) run(ctx context.Context, flow, id string, n int) (results int, err error) {
	run, err := s.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: queue, EnableEagerStart: true},
		flow, bench.Step{Order: s.order, N: n})
	if err != nil {
		return 0, err
	}
	err = run.Get(ctx, &results)
	return results, err
}
