// Package quiet measures what a node costs while its instances wait. It is
// for a program that links nothing else: what other systems bring along is in
// memory too.
package quiet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/bench/internal/usage"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/postgres"
	"github.com/durango-go/durango/provider/sqlite"
)

// ServerVariable names the PostgreSQL server.
const ServerVariable = "DURANGO_BENCH_POSTGRES"

// Orders say what is measured.
type Orders struct {
	// Store is memory, sqlite, sqlite-normal or postgres; File is the database
	// of the second and the third, Schema that of the last.
	Store, File, Schema string
	Instances           int
	// MaxHot bounds those in memory; Release is after how long the node gives
	// the ownership of one up. Zero: the node's defaults.
	MaxHot  int
	Release time.Duration
	// Settle is how long the node is left alone before Window is measured.
	Settle, Window, Timeout time.Duration
}

// Report is what was measured.
type Report struct {
	Error string
	// MiB, as they are: when the node has joined, and after the window.
	RSSEmpty, RSS float64
	// MiB, after the memory that is not used has been collected and returned.
	RSSCollected, Heap float64
	CPU, Wall          time.Duration
	// Queries are statements sent to the store in the window, Writes its
	// transactions that wrote; negative for a store that does not count.
	Queries, Writes int64
	Warnings        int64
}

// store counts what it is asked for; read may be nil.
type store struct {
	provider.Provider
	read func() (queries, writes int64)
}

func open(ctx context.Context, o *Orders) (store, error) {
	switch o.Store {
	case "memory":
		return store{memory.Open(), nil}, nil
	case "sqlite", "sqlite-normal":
		options := sqlite.Options{}
		if o.Store == "sqlite-normal" {
			options.Synchronous = sqlite.Normal
		}
		s, err := sqlite.OpenWith(o.File, options)
		if err != nil {
			return store{}, err
		}
		return store{s, func() (int64, int64) {
			c := s.Counters()
			return c.Statements + c.ReadStatements, c.Transactions
		}}, nil
	case "postgres":
		s, err := postgres.Open(ctx, os.Getenv(ServerVariable), postgres.Options{Schema: o.Schema})
		if err != nil {
			return store{}, err
		}
		return store{s, func() (int64, int64) {
			c := s.Counters()
			return c.Statements, c.Transactions
		}}, nil
	}
	return store{}, fmt.Errorf("no store %q", o.Store)
}

var approved = durango.NewSignal[string]("approved")

// Measure does what the orders say.
func Measure(o *Orders) (*Report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	st, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &Report{Queries: -1, Writes: -1}
	err = measure(ctx, o, st, r)
	return r, errors.Join(err, st.Close())
}

func measure(ctx context.Context, o *Orders, st store, r *Report) (err error) {
	var warnings warnings
	rt, err := durango.New(st.Provider, durango.Options{Logger: slog.New(&warnings), MaxHot: o.MaxHot, IdleRelease: o.Release})
	if err != nil {
		return err
	}
	wait := durango.DefineOrchestration("wait", func(ctx *durango.Context, _ int) (string, error) {
		return approved.Next(ctx).Await(ctx)
	})
	ping := durango.DefineOrchestration("ping", func(*durango.Context, durango.None) (durango.None, error) { return durango.None{}, nil })
	rt.Register(wait, ping)
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- rt.Run(work) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	run, err := ping.Start(ctx, rt.Client(), "ping", durango.None{})
	if err == nil {
		_, err = run.Wait(ctx)
	}
	if err != nil {
		return err
	}
	r.RSSEmpty = usage.ResidentMiB()
	if err := park(ctx, rt.Client(), wait, o.Instances); err != nil {
		return err
	}
	if err := pause(ctx, o.Settle); err != nil {
		return err
	}
	if err := r.window(ctx, o.Window, st); err != nil {
		return err
	}
	r.RSS = usage.ResidentMiB()
	debug.FreeOSMemory()
	r.RSSCollected = usage.ResidentMiB()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	r.Heap = float64(mem.HeapAlloc) / (1 << 20)
	r.Warnings = warnings.n.Load()
	return nil
}

func (r *Report) window(ctx context.Context, length time.Duration, st store) error {
	var queries, writes int64
	if st.read != nil {
		queries, writes = st.read()
	}
	cpu, start := usage.CPU(), time.Now()
	if err := pause(ctx, length); err != nil {
		return err
	}
	r.CPU, r.Wall = usage.CPU()-cpu, time.Since(start)
	if st.read != nil {
		q, w := st.read()
		r.Queries, r.Writes = q-queries, w-writes
	}
	return nil
}

// park starts instances and returns once the store has each of them waiting.
func park(ctx context.Context, c *durango.Client, wait durango.BoundOrchestration[int, string], n int) error {
	const callers = 64
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make([]error, min(n, callers))
	for w := range failed {
		wg.Go(func() {
			for failed[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				failed[w] = parkOne(ctx, c, wait, i)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

func parkOne(ctx context.Context, c *durango.Client, wait durango.BoundOrchestration[int, string], i int) error {
	run, err := wait.Start(ctx, c, fmt.Sprintf("order-%06d", i), i)
	for err == nil {
		info, looked := run.Status(ctx)
		if looked == nil && info.Turns > 0 {
			return nil
		}
		err = errors.Join(looked, pause(ctx, time.Millisecond))
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// warnings is a log handler that counts them.
type warnings struct{ n atomic.Int64 }

func (*warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w *warnings) Handle(context.Context, slog.Record) error  { w.n.Add(1); return nil }
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler         { return w }
func (w *warnings) WithGroup(string) slog.Handler              { return w }
