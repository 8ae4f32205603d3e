package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/sqlite"
)

// store is an open store with what the benchmarks want to know of it.
type store struct {
	provider.Provider
	counters func() Counts // nil: it does not count
}

// durability says what an acknowledged commit survives.
func durability(kind string) string {
	switch kind {
	case "sqlite":
		return "FULL"
	case "sqlite-normal":
		return "NORMAL"
	case "postgres":
		return "fsync, synchronous_commit=on"
	case "postgres-nosync":
		return "synchronous_commit=off"
	}
	return "none"
}

func onPostgres(kind string) bool { return strings.HasPrefix(kind, "postgres") }

func synchronous(kind string) sqlite.Durability {
	if kind == "sqlite-normal" {
		return sqlite.Normal
	}
	return sqlite.Full
}

// open opens the store of the measurement; a second call opens the same again.
func (e *env) open() (*store, error) {
	if e.store == "memory" {
		return &store{Provider: memory.Open()}, nil
	}
	if onPostgres(e.store) {
		s, err := e.openPostgres()
		if err != nil {
			return nil, err
		}
		return &store{s, postgresCounts(s)}, nil
	}
	s, err := sqlite.OpenWith(filepath.Join(e.dir, "bench.db"), sqlite.Options{Synchronous: synchronous(e.store)})
	if err != nil {
		return nil, err
	}
	return &store{s, sqliteCounts(s)}, nil
}

// node is a running runtime.
type node struct {
	*durango.Runtime
	cancel context.CancelFunc
	ended  chan error
	log    *warnings
}

var ping = durango.DefineOrchestration("ping", func(*durango.Context, durango.None) (durango.None, error) {
	return durango.None{}, nil
})

// startNode runs a node, as an application would, and returns when it works.
func startNode(ctx context.Context, st provider.Provider, o durango.Options, definitions ...durango.Registrable) (*node, error) {
	n := &node{ended: make(chan error, 1), log: &warnings{}}
	o.Logger = slog.New(n.log)
	var err error
	if n.Runtime, err = durango.New(st, o); err != nil {
		return nil, err
	}
	n.Register(append(definitions, ping)...)
	// Its own context: a measurement that fails still drains.
	var work context.Context
	work, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() { n.ended <- n.Run(work) }()
	run, err := ping.Start(ctx, n.Client(), durango.NewID(), durango.None{})
	if err == nil {
		_, err = run.Wait(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// stop drains the node.
func (n *node) stop() error {
	n.cancel()
	return <-n.ended
}

// withNode opens the store, runs f on a node and closes everything.
func (e *env) withNode(o durango.Options, definitions []durango.Registrable, f func(*store, *node) (*Sample, error)) (s *Sample, err error) {
	st, err := e.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	n, err := startNode(e, st.Provider, o, definitions...)
	if err != nil {
		return nil, err
	}
	s, err = f(st, n)
	err = errors.Join(err, n.stop())
	if err == nil {
		s.Notes = append(s.Notes, n.log.note()...)
	}
	return s, err
}

// warnings is a log handler that keeps the first warning and counts the rest:
// a figure got while something went wrong must say so.
type warnings struct {
	mu    sync.Mutex
	count int
	first string
}

func (w *warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count++; w.count == 1 {
		w.first = r.Message
		r.Attrs(func(a slog.Attr) bool {
			w.first += " " + a.String()
			return true
		})
	}
	return nil
}

func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w *warnings) WithGroup(string) slog.Handler      { return w }

func (w *warnings) note() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d warnings logged, the first: %s", w.count, w.first)}
}
