package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/coro"
	durable "github.com/durango-go/durango/provider/sqlite"
)

// The bare loop is what is left of a step when the engine, the contract and
// the encoding are taken away: a coroutine, two goroutine hops, and the rows
// of a plain turn written in groups. Nothing that keeps the promises can be
// faster with this store; the engine's rate is given as a share of it.

// These are the statements of provider/sqlite for a plain turn, which a test
// compares, and its pragmas.
const (
	bareUpdate = `UPDATE cursors SET next_turn = ?2, mailbox_seq = ?3, read_seq = ?4, due_at = ?5, last_commit = ?6,
	last_pos = ?7, mark_pos = ?8, updated_at = ?9
WHERE key = ?1`
	bareInsert = `INSERT INTO history (instance, turn, execution, prev, mark, commit_id, time, deliveries, commands, events)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	bareGroup = 512
)

var barePragmas = []string{"temp_store = memory", "cache_size = -65536", "foreign_keys = off", "wal_autocheckpoint = 8000"}

// bareFlow is one orchestration of the loop.
type bareFlow struct {
	co               *coro.Coro
	key              int64
	turn, prev, mark int64
}

type bareLoop struct {
	conn                           *sqlite.Conn
	begin, commit, update, insert  *sqlite.Stmt
	events                         []byte
	tasks, turns, commits          chan *bareFlow
	done, transactions, statements atomic.Int64
	// writeGroup writes a group in one transaction, end closes what it needs.
	writeGroup func([]*bareFlow) (statements int, err error)
	end        func() error
}

func runBare(e *env, inFlight int) (_ *Sample, err error) {
	l := &bareLoop{
		tasks: make(chan *bareFlow, inFlight), turns: make(chan *bareFlow, inFlight), commits: make(chan *bareFlow, inFlight),
	}
	payload := []byte(`{"order":"4711","n":3}`)
	l.events = history.AppendTurn(nil,
		[]history.Event{{Kind: history.ActivityCompleted, Ref: 3, Payload: payload}},
		[]history.Event{{Kind: history.ActivityScheduled, Seq: 4, Name: "no-op", Payload: payload}})
	prepare := l.prepare
	if onPostgres(e.store) {
		prepare = l.preparePostgres
	}
	flows, err := prepare(e, inFlight)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.end()) }()

	// A stage ends when the one before it has: tasks, turns, commits.
	var workers, turners sync.WaitGroup
	var stop atomic.Bool
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for f := range l.tasks {
				l.done.Add(1) // the activity
				l.turns <- f
			}
		})
		turners.Go(func() {
			for f := range l.turns {
				f.co.Resume()
				l.commits <- f
			}
		})
	}
	failed := make(chan error, 1)
	go func() { failed <- l.committer(inFlight, &stop) }()
	for _, f := range flows {
		l.tasks <- f
	}
	counted := &store{counters: func() Counts {
		return Counts{Commits: l.done.Load(), Transactions: l.transactions.Load(), Statements: l.statements.Load()}
	}}
	pause(e, e.Warm)
	m := begin(counted, l.done.Load)
	slowest := e.window(m, func() bool { return l.done.Load() > m.base })
	s := m.end()
	if slowest >= 0 {
		s.add("slowest_100ms", slowest)
	}
	stop.Store(true)
	err = <-failed
	close(l.tasks)
	workers.Wait()
	close(l.turns)
	turners.Wait()
	for _, f := range flows {
		f.co.Stop()
	}
	if err == nil {
		err = e.Err()
	}
	return s, err
}

// runFlushes is the least that one step at a time can cost: a page is appended
// to a file and flushed.
func runFlushes(e *env) (_ *Sample, err error) {
	f, err := os.Create(filepath.Join(e.dir, "flushes"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	page := make([]byte, 4096)
	return e.sustain(&store{}, 1, nil, func(int64) error {
		if _, err := f.Write(page); err != nil {
			return err
		}
		return dataSync(f)
	})
}

// prepare makes a store with as many owned instances as are in flight, and
// opens it beside the provider.
func (l *bareLoop) prepare(e *env, inFlight int) ([]*bareFlow, error) {
	path := filepath.Join(e.dir, "bench.db")
	st, err := durable.OpenWith(path, durable.Options{Synchronous: synchronous(e.store)})
	if err != nil {
		return nil, err
	}
	flows, _, err := populate(e, st, inFlight)
	if err = errors.Join(err, st.Close()); err != nil {
		return nil, err
	}
	if l.conn, err = sqlite.OpenConn(path, sqlite.OpenReadWrite); err != nil {
		return nil, err
	}
	for _, p := range append(barePragmas, "synchronous = "+durability(e.store)) {
		if err = sqlitex.ExecuteTransient(l.conn, "PRAGMA "+p, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("pragma %s: %w", p, err), l.conn.Close())
		}
	}
	for query, st := range map[string]**sqlite.Stmt{
		"BEGIN IMMEDIATE": &l.begin, "COMMIT": &l.commit, bareUpdate: &l.update, bareInsert: &l.insert,
	} {
		if *st, err = l.conn.Prepare(query); err != nil {
			return nil, errors.Join(err, l.conn.Close())
		}
	}
	l.writeGroup, l.end = l.write, l.conn.Close
	return flows, nil
}

func newFlow(key int64) *bareFlow {
	f := &bareFlow{key: key, turn: 1}
	f.co = coro.New(nil, func() {
		for {
			f.turn++
			f.co.Yield()
		}
	})
	return f
}

// committer writes what is waiting, in groups. Once stop is set it keeps what
// it gets, and ends when it has everything.
func (l *bareLoop) committer(inFlight int, stop *atomic.Bool) error {
	group := make([]*bareFlow, 0, bareGroup)
	var failed error
	for kept := 0; kept < inFlight; {
		group = append(group[:0], <-l.commits)
		for len(group) < bareGroup && len(l.commits) > 0 {
			group = append(group, <-l.commits)
		}
		if failed == nil {
			var statements int
			if statements, failed = l.writeGroup(group); failed == nil {
				l.transactions.Add(1)
				l.statements.Add(int64(statements))
			}
		}
		for _, f := range group {
			if stop.Load() || failed != nil {
				kept++
			} else {
				l.tasks <- f
			}
		}
	}
	return failed
}

func (l *bareLoop) write(group []*bareFlow) (statements int, err error) {
	if err := execute(l.begin); err != nil {
		return 0, err
	}
	now := time.Now().UnixNano()
	for _, f := range group {
		id := now + f.turn // any number of that size
		l.insert.BindBytes(10, l.events)
		if err := execute(l.insert, f.key, f.turn, 1, f.prev, f.mark, id, now, 1, 1); err != nil {
			return 0, err
		}
		f.prev = l.conn.LastInsertRowID()
		if f.turn%64 == 0 {
			f.mark = f.prev
		}
		if err := execute(l.update, f.key, f.turn+1, 1, 1, 0, id, f.prev, f.mark, now); err != nil {
			return 0, err
		}
	}
	return 2 + 2*len(group), execute(l.commit)
}

// execute binds integers and runs a statement that returns no rows.
func execute(st *sqlite.Stmt, args ...int64) error {
	for i, a := range args {
		st.BindInt64(i+1, a)
	}
	if _, err := st.Step(); err != nil {
		return err
	}
	return st.Reset()
}
