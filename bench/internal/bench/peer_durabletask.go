package bench

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/backend"
	"github.com/microsoft/durabletask-go/backend/postgres"
	"github.com/microsoft/durabletask-go/backend/sqlite"
	"github.com/microsoft/durabletask-go/task"
)

// durableTaskParallel is how many work items of each kind run at once.
const durableTaskParallel = 32

// durableTaskLock is the default of its own constructor of options.
const durableTaskLock = 2 * time.Minute

var durableTaskPeer = &Peer{
	Name: "durabletask", Module: "github.com/microsoft/durabletask-go", Stores: DiskStores,
	Settings: "WithMaxParallelism(32) for both workers (its default is 1); SQLite: WAL by the name of the file (its default is a " +
		"rollback journal, which is slower), 1 connection (fixed); PostgreSQL: 20 connections (its default is 1)",
	Cannot: func(workload, store string) string {
		if workload == "long" {
			return "each step waits for its polls, of 50 ms: it would take minutes"
		}
		if (workload == "fanout" || workload == "wide") && onPostgres(store) {
			return "an orchestration that calls two activities at once never goes on: the statement numbers its parameters wrongly (SQLSTATE 42P18)"
		}
		return ""
	},
	Open: openDurableTask,
}

type durableTaskSystem struct {
	client backend.TaskHubClient
	order  string
}

func openDurableTask(ctx context.Context, at Place) (Orchestrator, error) {
	log := durableTaskLogger{slog.New(at.Log)}
	var b backend.Backend
	if at.Server != nil {
		b = postgres.NewPostgresBackend(&postgres.PostgresOptions{PgOptions: at.Server,
			OrchestrationLockTimeout: durableTaskLock, ActivityLockTimeout: durableTaskLock}, log)
	} else {
		b = sqlite.NewSqliteBackend(sqlite.NewSqliteOptions(at.sqliteName()), log)
	}
	r := task.NewTaskRegistry()
	if err := r.AddOrchestratorN("chain", durableTaskChain); err != nil {
		return nil, err
	}
	if err := r.AddOrchestratorN("fan", durableTaskFan); err != nil {
		return nil, err
	}
	err := r.AddActivityN("no-op", func(ctx task.ActivityContext) (any, error) {
		var s Step
		err := ctx.GetInput(&s)
		at.Did()
		return s, err
	})
	if err != nil {
		return nil, err
	}
	parallel := backend.WithMaxParallelism(durableTaskParallel)
	executor := task.NewTaskExecutor(r)
	hub := backend.NewTaskHubWorker(b, backend.NewOrchestrationWorker(b, executor, log, parallel),
		backend.NewActivityTaskWorker(b, executor, log, parallel), log)
	if err := hub.Start(ctx); err != nil {
		return nil, err
	}
	return &durableTaskSystem{backend.NewTaskHubClient(b), at.Order}, nil
}

func durableTaskChain(ctx *task.OrchestrationContext) (any, error) {
	var in Step
	if err := ctx.GetInput(&in); err != nil {
		return nil, err
	}
	for i := range in.N {
		var out Step
		if err := ctx.CallActivity("no-op", task.WithActivityInput(Step{in.Order, i})).Await(&out); err != nil {
			return i, err
		}
	}
	return in.N, nil
}

func durableTaskFan(ctx *task.OrchestrationContext) (any, error) {
	var in Step
	if err := ctx.GetInput(&in); err != nil {
		return nil, err
	}
	tasks := make([]task.Task, in.N)
	for i := range tasks {
		tasks[i] = ctx.CallActivity("no-op", task.WithActivityInput(Step{in.Order, i}))
	}
	for i, t := range tasks {
		var out Step
		if err := t.Await(&out); err != nil {
			return i, err
		}
	}
	return in.N, nil
}

func (s *durableTaskSystem) Chain(ctx context.Context, id string, steps int) (int, error) {
	return s.run(ctx, "chain", id, steps)
}

func (s *durableTaskSystem) Fan(ctx context.Context, id string, width int) (int, error) {
	return s.run(ctx, "fan", id, width)
}

func (s *durableTaskSystem) run(ctx context.Context, flow, id string, n int) (int, error) {
	instance, err := s.client.ScheduleNewOrchestration(ctx, flow, api.WithInstanceID(api.InstanceID(id)), api.WithInput(Step{s.order, n}))
	if err != nil {
		return 0, err
	}
	m, err := s.client.WaitForOrchestrationCompletion(ctx, instance)
	if err != nil {
		return 0, err
	}
	if m.FailureDetails != nil {
		return 0, fmt.Errorf("orchestration failed: %s", m.FailureDetails.ErrorMessage)
	}
	return decode(m.SerializedOutput)
}

// durableTaskLogger keeps its warnings as those of the others are kept.
type durableTaskLogger struct{ log *slog.Logger }

func (durableTaskLogger) Debug(...any)                {}
func (durableTaskLogger) Debugf(string, ...any)       {}
func (durableTaskLogger) Info(...any)                 {}
func (durableTaskLogger) Infof(string, ...any)        {}
func (l durableTaskLogger) Warn(v ...any)             { l.log.Warn(fmt.Sprint(v...)) }
func (l durableTaskLogger) Warnf(f string, v ...any)  { l.log.Warn(fmt.Sprintf(f, v...)) }
func (l durableTaskLogger) Error(v ...any)            { l.log.Error(fmt.Sprint(v...)) }
func (l durableTaskLogger) Errorf(f string, v ...any) { l.log.Error(fmt.Sprintf(f, v...)) }
