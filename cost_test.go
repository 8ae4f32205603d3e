package durango_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/pgtest"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/postgres"
	"github.com/durango-go/durango/provider/sqlite"
)

// costs is what a store's writer was asked for.
type costs struct{ Transactions, Trips, Statements int64 }

func (c costs) minus(d costs) costs {
	return costs{c.Transactions - d.Transactions, c.Trips - d.Trips, c.Statements - d.Statements}
}

func meteredSQLite(tb testing.TB) (provider.Provider, func() costs) {
	tb.Helper()
	s, err := sqlite.Open(filepath.Join(tb.TempDir(), "costs.db"))
	assert.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, s.Close()) })
	return s, func() costs {
		c := s.Counters()
		return costs{Transactions: c.Transactions, Statements: c.Statements}
	}
}

func meteredPostgres(t *testing.T) (provider.Provider, func() costs) {
	t.Helper()
	server, err := pgtest.Start()
	assert.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Stop()) })
	s, err := postgres.Open(t.Context(), server.SocketString(), postgres.Options{})
	assert.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s, func() costs {
		c := s.Counters()
		return costs{c.Transactions, c.GroupTrips, c.GroupStatements}
	}
}

// quietNode runs a node that asks the store for little on its own.
func quietNode(tb testing.TB, store provider.Provider, ds ...durango.Registrable) *durango.Client {
	tb.Helper()
	rt, err := durango.New(store, durango.Options{Logger: slog.New(slog.DiscardHandler), Lease: 24 * time.Hour, IdleRelease: 24 * time.Hour})
	assert.NoError(tb, err)
	rt.Register(ds...)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rt.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		assert.NoError(tb, <-done)
	})
	return rt.Client()
}

var (
	costStep   = durango.NewActivity[Order, Order]("step")
	costSignal = durango.NewSignal[Order]("signal")
	costSeq    = durango.DefineOrchestration("seq", func(ctx *durango.Context, n int) (o Order, err error) {
		for i := range n {
			if o, err = costStep.Call(ctx, Order{"tea", i}); err != nil {
				return o, err
			}
		}
		return o, nil
	})
	costSleep = durango.DefineOrchestration("sleep", func(ctx *durango.Context, n int) (durango.None, error) {
		for range n {
			if err := ctx.Sleep(10 * time.Millisecond); err != nil {
				return durango.None{}, err
			}
		}
		return durango.None{}, nil
	})
	costTake = durango.DefineOrchestration("take", func(ctx *durango.Context, n int) (durango.None, error) {
		for range n {
			if _, err := costSignal.Next(ctx).Await(ctx); err != nil {
				return durango.None{}, err
			}
		}
		return durango.None{}, nil
	})
)

func costDefinitions() []durango.Registrable {
	step := costStep.Bind(func(_ context.Context, o Order) (Order, error) { return o, nil })
	return []durango.Registrable{costSeq, costSleep, costTake, step}
}

// runToEnd runs one orchestration. Each has an ID of its own.
func runToEnd[R any](tb testing.TB, ctx context.Context, c *durango.Client, o durango.BoundOrchestration[int, R], id string, n int) {
	tb.Helper()
	run, err := o.Start(ctx, c, id, n)
	assert.NoError(tb, err)
	_, err = run.Wait(ctx)
	assert.NoError(tb, err)
}

// DESIGN 7: "N sequential activities cost N+1 commits". What one more step, one
// more sleep, one more signal or one more start asks of the store, with one in
// flight, so that nothing shares a transaction. A figure here changes with the
// reason in the commit.
func TestCostsOfTheStore(t *testing.T) {
	const begins = 1 + 1 + 1 // begin, the file's version, commit
	t.Run("sqlite", func(t *testing.T) {
		store, read := meteredSQLite(t)
		testCosts(t, store, read, map[string]costs{
			"step":  {Transactions: 1, Statements: begins + 2},
			"sleep": {Transactions: 1, Statements: begins + 2},
			// Each of the two changes the state of the instance: that it has mail.
			"signal": {Transactions: 2, Statements: 2*begins + 8},
			"start":  {Transactions: 1, Statements: begins + 5},
		})
	})
	t.Run("postgres", func(t *testing.T) {
		store, read := meteredPostgres(t)
		testCosts(t, store, read, map[string]costs{
			"step":   {1, 1, 4},
			"sleep":  {1, 1, 4},
			"signal": {2, 4, 14},
			"start":  {1, 2, 7},
		})
	})
}

func testCosts(t *testing.T, store provider.Provider, read func() costs, want map[string]costs) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const few, many, extra = 5, 25, 20 // below 64 turns, which have a mark in SQLite
	client := quietNode(t, store, costDefinitions()...)
	signals := func(id string, n int) {
		run, err := costTake.Start(ctx, client, id, n)
		assert.NoError(t, err)
		for i := range n {
			turns := int64(i + 1)
			for { // one sent while a turn is being written would share a transaction
				info, err := run.Status(ctx)
				assert.NoError(t, err)
				if info.Turns >= turns {
					break
				}
				runtime.Gosched()
			}
			assert.NoError(t, costSignal.Send(ctx, client, id, Order{"tea", i}))
		}
		_, err = run.Wait(ctx)
		assert.NoError(t, err)
	}
	outside := durango.NewClient(store)
	later := durango.NewOrchestration[int, int]("nobody-has-it")
	for name, f := range map[string]func(id string, n int){
		"step":   func(id string, n int) { runToEnd(t, ctx, client, costSeq, id, n) },
		"sleep":  func(id string, n int) { runToEnd(t, ctx, client, costSleep, id, n) },
		"signal": signals,
		"start": func(id string, n int) {
			for i := range n {
				_, err := later.Start(ctx, outside, fmt.Sprint(id, "-", i), 0)
				assert.NoError(t, err)
			}
		},
	} {
		f(name+" warm", few)
		least := func(n int) (c costs) { // a heartbeat between two of them only adds
			for i := range 3 {
				before := read()
				f(fmt.Sprint(name, " ", n, " ", i), n)
				if d := read().minus(before); i == 0 || d.Statements < c.Statements {
					c = d
				}
			}
			return c
		}
		got, w := least(many).minus(least(few)), want[name]
		if all := (costs{w.Transactions * extra, w.Trips * extra, w.Statements * extra}); got != all {
			t.Errorf("%d times one more %s: %+v, not %+v", extra, name, got, all)
		}
	}
}

// BenchmarkSteps runs orchestrations of 100 activities one after another, one
// of them in flight; an operation is one activity.
func BenchmarkSteps(b *testing.B) {
	file, _ := meteredSQLite(b)
	for name, store := range map[string]provider.Provider{"memory": memory.Open(), "sqlite": file} {
		b.Run(name, func(b *testing.B) {
			client := quietNode(b, store, costDefinitions()...)
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= 100 {
				runToEnd(b, b.Context(), client, costSeq, durango.NewID(), min(left, 100))
			}
			b.StopTimer()
		})
	}
}
