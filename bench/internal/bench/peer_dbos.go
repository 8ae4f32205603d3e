package bench

import (
	"context"
	"errors"
	"log/slog"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite"
	"github.com/jackc/pgx/v5/pgxpool"
)

var dbosPeer = &Peer{
	Name: "dbos", Module: "github.com/dbos-inc/dbos-transact-golang", Stores: DiskStores,
	Settings: "workflows run in the process that starts them, steps inline; PostgreSQL: 20 connections (its default); " +
		"SQLite: its pragmas and 8 connections, but the durability of the table (its default is NORMAL)",
	Open: openDBOS,
}

type dbosSystem struct {
	dbos.Context
	did   func()
	order string
}

func openDBOS(ctx context.Context, at Place) (Orchestrator, error) {
	c := dbos.Config{AppName: "bench", Logger: slog.New(at.Log)}
	if at.Server != nil {
		pool, err := pgxpool.NewWithConfig(ctx, at.Server)
		if err != nil {
			return nil, err
		}
		c.SystemDBPool = pool
	} else {
		// As its own pool, where NORMAL cannot be changed.
		db, err := at.openSQLite("foreign_keys(ON)")
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(4)
		c.SQLiteSystemDB = db
	}
	inner, err := dbos.NewContext(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &dbosSystem{inner, at.Did, at.Order}
	dbos.RegisterWorkflow(inner, s.chainFlow)
	dbos.RegisterWorkflow(inner, s.fanFlow)
	return s, dbos.Launch(inner)
}

func (s *dbosSystem) noop(in Step) dbos.Step[Step] {
	return func(context.Context) (Step, error) {
		s.did()
		return in, nil
	}
}

func (s *dbosSystem) chainFlow(ctx dbos.Context, in Step) (int, error) {
	for i := range in.N {
		if _, err := dbos.RunAsStep(ctx, s.noop(Step{in.Order, i})); err != nil {
			return i, err
		}
	}
	return in.N, nil
}

func (s *dbosSystem) fanFlow(ctx dbos.Context, in Step) (joined int, err error) {
	outcomes := make([]<-chan dbos.StepOutcome[Step], in.N)
	for i := range outcomes {
		if outcomes[i], err = dbos.Go(ctx, s.noop(Step{in.Order, i})); err != nil {
			return 0, err
		}
	}
	for _, c := range outcomes {
		o := <-c
		err = errors.Join(err, o.Err)
		joined++
	}
	return joined, err
}

func (s *dbosSystem) Chain(ctx context.Context, id string, steps int) (int, error) {
	return s.run(s.chainFlow, id, steps)
}

func (s *dbosSystem) Fan(ctx context.Context, id string, width int) (int, error) {
	return s.run(s.fanFlow, id, width)
}

func (s *dbosSystem) run(flow dbos.Workflow[Step, int], id string, n int) (int, error) {
	h, err := dbos.RunWorkflow(s.Context, flow, Step{s.order, n}, dbos.WithWorkflowID(id))
	if err != nil {
		return 0, err
	}
	return h.GetResult()
}
