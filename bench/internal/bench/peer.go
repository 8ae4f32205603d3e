package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Peer is another system that runs the workloads it can, in a process of its
// own for each measurement.
type Peer struct {
	Name   string
	Module string // whose version the report gives
	Stores []string
	// Settings says what is set and where that comes from; the rest is at its
	// defaults.
	Settings string
	// Cannot says why it does not run a workload on a store. Nil or empty: it
	// does.
	Cannot func(workload, store string) string
	Open   func(ctx context.Context, at Place) (Orchestrator, error)
}

// Orchestrator is a peer with its worker running. Calls come from many
// goroutines. It ends with its process.
type Orchestrator interface {
	// Chain runs an orchestration that calls the no-op activity so many times,
	// one after another, and returns how many results it had.
	Chain(ctx context.Context, id string, steps int) (int, error)
	// Fan runs one that calls it so many times at once and joins.
	Fan(ctx context.Context, id string, width int) (int, error)
}

// Place is the empty database that a peer is opened on.
type Place struct {
	Store    string
	File     string          // the SQLite database
	Server   *pgxpool.Config // the PostgreSQL database
	Did      func()          // every execution of the activity calls it
	Order    string          // what activities are given and return, beside a number
	Log      slog.Handler    // its warnings become notes of the row
	InFlight int
}

// peers are all that are asked, in the order of the table.
var peers = []*Peer{dbosPeer, goWorkflowsPeer, durableTaskPeer, riverPeer}

func peerNames() (names []string) {
	for _, p := range peers {
		names = append(names, p.Name)
	}
	return names
}

// DiskStores are the stores of a peer that has SQLite and PostgreSQL.
var DiskStores = []string{"sqlite", "sqlite-normal", "postgres"}

// peerConns is how many connections each peer has to PostgreSQL.
const peerConns = 20

// peerWorkloads are those that every peer is asked for.
var peerWorkloads = []string{"seq", "hello", "fanout", "payload", "wide", "long"}

// peerSteps bounds the activities of one orchestration of a peer: it takes some
// a second.
const peerSteps = 1000

// why says why the peer does not run a workload on a store.
func (p *Peer) why(workload, store string) string {
	if !slices.Contains(p.Stores, store) {
		return "no such store"
	}
	if p.Cannot == nil {
		return ""
	}
	return p.Cannot(workload, store)
}

// openSQLite opens the file as the documentation of most peers says: one
// connection, a write-ahead log; and with the durability asked for.
func (at Place) openSQLite(pragmas ...string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", at.sqliteName(pragmas...)+"&_txlock=immediate")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// sqliteName is the name of the file for the driver, with what holds for each
// connection.
func (at Place) sqliteName(pragmas ...string) string {
	name := "file:" + at.File + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + at.Durability() + ")"
	for _, p := range pragmas {
		name += "&_pragma=" + p
	}
	return name
}

// Durability is what the SQLite database has to be opened with.
func (at Place) Durability() string { return durability(at.Store) }

// runPeer measures a workload on a peer in a process of its own, so that no
// goroutine or memory of one is there for the next, and one that hangs can be
// ended.
func runPeer(e *env, p *Peer, workload string, inFlight int) (_ *Sample, err error) {
	orders := peerOrders{Peer: p.Name, Workload: workload, Store: e.store, Dir: e.dir, InFlight: inFlight, Sizes: e.sizes}
	if onPostgres(e.store) {
		orders.Database = filepath.Base(e.dir)
		drop, err := e.createDatabase(orders.Database)
		if err != nil {
			return nil, err
		}
		defer func() {
			if dropped := drop(); err == nil {
				err = dropped
			}
		}()
	}
	r, err := e.spawn(childOrders{Peer: &orders})
	if err != nil {
		return nil, err
	}
	return r.Sample, nil
}

// createDatabase makes a database of the measurement's own; drop removes it,
// whoever is still connected.
func (e *env) createDatabase(name string) (drop func() error, err error) {
	conn, err := connString()
	if err != nil {
		return nil, err
	}
	ctx := context.WithoutCancel(e)
	execute := func(statement string) error {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		c, err := pgx.Connect(ctx, conn)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		_, err = c.Exec(ctx, statement)
		return err
	}
	quoted := pgx.Identifier{name}.Sanitize()
	if err := execute("CREATE DATABASE " + quoted); err != nil {
		return nil, fmt.Errorf("create a database: %w", err)
	}
	return func() error { return execute("DROP DATABASE " + quoted + " WITH (FORCE)") }, nil
}

// peerOrders are those of the process that measures a peer.
type peerOrders struct {
	Peer, Workload, Store, Dir, Database string
	InFlight                             int
	Sizes                                sizes
}

// measurePeer is what that process does.
func measurePeer(o *peerOrders) (*Sample, error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.Sizes.Timeout)
	defer cancel()
	i := slices.IndexFunc(peers, func(p *Peer) bool { return p.Name == o.Peer })
	if i < 0 {
		return nil, fmt.Errorf("no peer %q", o.Peer)
	}
	var done atomic.Int64
	log := &warnings{}
	at := Place{
		Store: o.Store, File: filepath.Join(o.Dir, "peer.db"), Did: func() { done.Add(1) },
		Order: "4711", Log: log, InFlight: o.InFlight,
	}
	times := newStamps(o.InFlight)
	switch o.Workload {
	case "payload":
		at.Order = text(o.Sizes.PayloadBytes)
	case "long":
		at.Did = func() { times.stamp(); done.Add(1) }
	}
	if o.Database != "" {
		conn, err := connString()
		if err != nil {
			return nil, err
		}
		if at.Server, err = pgxpool.ParseConfig(conn); err != nil {
			return nil, err
		}
		at.Server.ConnConfig.Database = o.Database
		at.Server.MaxConns = peerConns
	}
	system, err := peers[i].Open(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	e := &env{Context: ctx, sizes: o.Sizes, dir: o.Dir, store: o.Store, abandon: true}
	steps, call, n := done.Load, system.Chain, 5
	switch o.Workload {
	case "seq", "payload":
	case "hello":
		steps, n = nil, 1
	case "fanout":
		call, n = system.Fan, o.Sizes.Width
	case "wide", "long":
		return measureOne(ctx, system, o, &done, times)
	default:
		return nil, fmt.Errorf("no workload %q", o.Workload)
	}
	// The first orchestration pays for what is made on first use.
	if err := checked(call(ctx, "first", n))(n); err != nil {
		return nil, err
	}
	s, err := e.sustain(&store{}, o.InFlight, steps, func(i int64) error {
		return checked(call(ctx, fmt.Sprintf("order-%08d", i), n))(n)
	})
	if s != nil {
		s.Notes = log.note()
		if o.Workload == "payload" {
			s.addVolume(o.Sizes.PayloadBytes)
		}
	}
	return s, err
}

// measureOne measures one orchestration of many activities.
func measureOne(ctx context.Context, system Orchestrator, o *peerOrders, done *atomic.Int64, times *stamps) (*Sample, error) {
	if err := checked(system.Chain(ctx, "first", 1))(1); err != nil {
		return nil, err
	}
	call := system.Chain
	if o.Workload == "wide" {
		call = system.Fan
	}
	times.n.Store(0)
	m := begin(&store{}, done.Load)
	if err := checked(call(ctx, "one", o.InFlight))(o.InFlight); err != nil {
		return nil, err
	}
	s := m.end()
	if o.Workload == "long" {
		times.describe(s)
	}
	return s, nil
}

// checked compares the number of results with the one wanted.
func checked(got int, err error) func(want int) error {
	return func(want int) error {
		if err == nil && got != want {
			err = fmt.Errorf("%d results of %d", got, want)
		}
		return err
	}
}

// decode reads an orchestration's result.
func decode(text string) (n int, err error) {
	return n, json.NewDecoder(strings.NewReader(text)).Decode(&n)
}
