package bench

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
	"github.com/durango-go/durango/provider"
	durable "github.com/durango-go/durango/provider/sqlite"
)

// The bare loop is what is left of a step when the engine, the contract and
// the encoding are taken away: a coroutine, two goroutine hops, and the rows
// of a plain turn written in groups. Nothing that keeps the promises can be
// faster with this store; the engine's rate is given as a share of it.
//
// One loop makes steps alone, of instances that never end: what a step of a long
// orchestration is compared with. The other, whole, writes what seq does: each
// five steps are an instance with its birth and its end.

// These are the statements of provider/sqlite, which a test compares, and its
// pragmas.
const (
	bareUpdate = `UPDATE cursors SET next_turn = ?2, mailbox_seq = ?3, read_seq = ?4, due_at = ?5, last_commit = ?6,
	last_pos = ?7, mark_pos = ?8, updated_at = ?9
WHERE key = ?1`
	bareInsert = `INSERT INTO history (instance, turn, execution, prev, mark, commit_id, time, deliveries, commands, events)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	bareCursor = `INSERT INTO cursors (key, next_turn, mailbox_seq, read_seq, due_at, last_commit, last_pos, mark_pos, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)`
	bareInstance = `INSERT INTO instances (key, owner, def, wake_at, status, execution, history_from, not_before, attempts, tasks, extras,
	failed_at, closed_at, created_at, parent_key, parent_execution, parent_command, id, parent_id, outcome)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	bareClose = `UPDATE instances SET wake_at = ?2, status = ?3, execution = ?4, history_from = ?5, not_before = ?6, attempts = ?7,
	tasks = ?8, extras = ?9, failed_at = ?10, owner = ?11, closed_at = ?12, outcome = ?13
WHERE key = ?1`
	bareGroup = 512
	// bareTurns is the length of a whole orchestration: its birth, four steps more,
	// its end.
	bareTurns = seqSteps + 1
)

var barePragmas = []string{"temp_store = memory", "cache_size = -65536", "foreign_keys = off", "wal_autocheckpoint = 8000"}

// bareFlow is one orchestration of the loop.
type bareFlow struct {
	co               *coro.Coro
	key              int64
	turn, prev, mark int64
	whole            bool
}

// born and over report whether the turn begins or ends an instance.
func (f *bareFlow) born() bool { return f.whole && f.turn == 1 }
func (f *bareFlow) over() bool { return f.whole && f.turn == bareTurns }

// next makes f the next whole orchestration, of which nothing is written yet.
func (f *bareFlow) next() {
	f.co.Stop()
	*f = bareFlow{key: int64(provider.NewKey()), whole: true}
	f.renew()
}

// id is one that nobody else has.
func (f *bareFlow) id() string { return fmt.Sprintf("order-%d", f.key) }

// The events of turns: of a step, a birth and an end. The outcome is that of the
// end.
type bareEvents struct{ step, birth, end, outcome []byte }

func newBareEvents() (b bareEvents) {
	payload := []byte(`{"order":"4711","n":3}`)
	started := []history.Event{{Kind: history.Started, Name: "seq", Version: "1.0.0", Target: "order-00000000", Seq: 1, Payload: payload}}
	completed := []history.Event{{Kind: history.ActivityCompleted, Ref: 3, Payload: payload}}
	scheduled := []history.Event{{Kind: history.ActivityScheduled, Seq: 4, Name: "no-op", Payload: payload}}
	end := []history.Event{{Kind: history.Completed, Seq: 6, Payload: payload}}
	b.step, b.birth = history.AppendTurn(nil, completed, scheduled), history.AppendTurn(nil, started, scheduled)
	b.end, b.outcome = history.AppendTurn(nil, completed, end), history.AppendMessage(nil, &end[0])
	return b
}

func (b *bareEvents) of(f *bareFlow) []byte {
	switch {
	case f.born():
		return b.birth
	case f.over():
		return b.end
	}
	return b.step
}

type bareLoop struct {
	conn                           *sqlite.Conn
	begin, commit, update, insert  *sqlite.Stmt
	cursor, instance, close        *sqlite.Stmt
	node                           int64
	events                         bareEvents
	tasks, turns, commits          chan *bareFlow
	done, transactions, statements atomic.Int64
	// writeGroup writes a group in one transaction, end closes what it needs.
	writeGroup func([]*bareFlow) (statements int, err error)
	end        func() error
}

func runBare(e *env, inFlight int, whole bool) (_ *Sample, err error) {
	l := &bareLoop{
		tasks: make(chan *bareFlow, inFlight), turns: make(chan *bareFlow, inFlight), commits: make(chan *bareFlow, inFlight),
		events: newBareEvents(),
	}
	prepare := l.prepare
	if onPostgres(e.store) {
		prepare = l.preparePostgres
	}
	flows, err := prepare(e, inFlight)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if whole {
		for _, f := range flows {
			f.next()
		}
	}

	// A stage ends when the one before it has: tasks, turns, commits.
	var workers, turners sync.WaitGroup
	var stop atomic.Bool
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for f := range l.tasks {
				switch {
				case f.over():
					f.next() // the caller
				case f.turn > 0:
					l.done.Add(1) // the activity
				}
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
	flows, node, err := populate(e, st, inFlight)
	if err = errors.Join(err, st.Close()); err != nil {
		return nil, err
	}
	l.node = int64(node)
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
		bareCursor: &l.cursor, bareInstance: &l.instance, bareClose: &l.close,
	} {
		if *st, err = l.conn.Prepare(query); err != nil {
			return nil, errors.Join(err, l.conn.Close())
		}
	}
	l.writeGroup, l.end = l.write, l.conn.Close
	return flows, nil
}

// newFlow is an orchestration that has begun, and never ends.
func newFlow(key int64) *bareFlow {
	f := &bareFlow{key: key, turn: 1}
	f.renew()
	return f
}

// renew gives the orchestration a coroutine.
func (f *bareFlow) renew() {
	f.co = coro.New(nil, func() {
		for f.turn++; !f.over(); f.turn++ {
			f.co.Yield()
		}
	})
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
		l.insert.BindBytes(10, l.events.of(f))
		if err := execute(l.insert, f.key, f.turn, 1, f.prev, f.mark, id, now, 1, 1); err != nil {
			return 0, err
		}
		f.prev = l.conn.LastInsertRowID()
		if f.turn%64 == 0 {
			f.mark = f.prev
		}
		cursor := l.update
		statements += 2
		if f.born() {
			cursor = l.cursor
		}
		if err := execute(cursor, f.key, f.turn+1, 1, 1, 0, id, f.prev, f.mark, now); err != nil {
			return 0, err
		}
		switch {
		case f.born():
			l.instance.BindText(18, f.id())
			l.instance.BindNull(19)
			l.instance.BindNull(20)
			err = execute(l.instance, f.key, l.node, 1, int64(provider.Never), int64(provider.Running), 1, 1, 0, 0, 0, 0, 0, 0, now, 0, 0, 0)
			statements++
		case f.over():
			l.close.BindBytes(13, l.events.outcome)
			err = execute(l.close, f.key, int64(provider.Never), int64(provider.Completed), 1, 1, 0, 0, 0, 0, 0, 0, now)
			statements++
		}
		if err != nil {
			return 0, err
		}
	}
	return 2 + statements, execute(l.commit)
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
