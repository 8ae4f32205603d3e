// Package postgres keeps everything in a schema of a PostgreSQL database. It
// is the store for more than one machine: any number of processes may share
// the schema, and several schemas a database.
//
// # How it writes
//
// Callers queue what they want written. One of them, the leader, executes what
// is queued in one transaction of two round trips: the first locks and reads
// the rows concerned, in one order; then everything is decided here, as if one
// item came after the other; the second writes the outcome, each table with
// one statement over arrays, and commits. The group forms while those before
// it are being written. Nothing waits between the trips. Turns that only go on,
// or end, are written in one round trip: that the row is as the node left it is
// a condition of its update, and the few that meet another row go the long way.
//
// # What it asks of the server
//
// Only a part of PostgreSQL that what speaks its protocol has as well: no
// functions, triggers, sequences or advisory locks; keys are made by nodes; a
// shard column begins every key and index. LISTEN is used where it works, and
// nothing depends on it. Tested on PostgreSQL 15; designed for its relatives,
// where the conformance suite can be run with DURANGO_TEST_POSTGRES.
//
// # Poolers
//
// A pooler that lends connections by the transaction, such as PgBouncer, needs
// two things: Options.NoListen, and default_query_exec_mode=exec in the
// connection string, for prepared statements stay on a connection; cache_describe
// and simple_protocol work as well. Open refuses to work without them where it
// sees such a pooler. Each transaction then brings its own settings. A pooler
// that lends connections for as long as they are open needs nothing. When the
// pooler loses the server, more writes have an unknown outcome than without it:
// it cannot say how far the server came. Tested with PgBouncer 1.18.
//
// # Durability
//
// What was acknowledged survives as far as the server's synchronous_commit
// says, which Describe reports.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/durango-go/durango/provider"
)

// Migration says what Open does about the schema.
type Migration int

const (
	// Apply makes the schema, or brings it to the newest version that this
	// program knows. Any number of processes may do so at once. It is the
	// default.
	Apply Migration = 0
	// Verify changes nothing and fails with a [provider.SchemaError] if this
	// program does not work with the schema as it is: for programs whose role
	// must not make tables, and for rollouts that migrate by themselves.
	Verify Migration = 1
)

// Options are the settings of a store. The zero value is right for most.
type Options struct {
	// Schema is the schema that has the tables, any name. Empty means durango.
	Schema string
	// Migrate is Apply when zero.
	Migrate Migration
	// Shards is the number of shards of a schema that is made now. An existing
	// schema keeps its number; naming another is an error. Zero means 16, or
	// what the schema has.
	Shards int
	// MaxConns is the most connections that the store has open at once. Zero
	// means 10; fewer than 6 are not enough.
	MaxConns int
	// Writers is how many groups of writes may be under way at once. Zero means
	// 2; more than 4 were slower.
	Writers int
	// NoListen does without LISTEN and NOTIFY, which a pooler that lends
	// connections by the transaction does not pass on. What others change is
	// then noticed by polling. Such a pooler also needs
	// default_query_exec_mode=exec in the connection string; Open fails where
	// it sees one and either is missing.
	NoListen bool
	// NoSync acknowledges writes before they are on the server's disk: a crash
	// of the server may take back the last of them, without damage
	// (synchronous_commit=off).
	NoSync bool
	// LockTimeout bounds the wait for a row that another transaction has
	// locked. It must be well below the engine's lease. Zero means 3 seconds.
	LockTimeout time.Duration
}

const (
	defaultSchema      = "durango"
	defaultMaxConns    = 10
	minMaxConns        = 6
	defaultWriters     = 2
	defaultLockTimeout = 3 * time.Second
	// spareWriters are connections beside those of groups, for heartbeats and
	// claims, which never wait for a group to finish.
	spareWriters = 2
)

// maxEventSize is far below the server's own limit of 1 GB for a value, so
// that a group of large ones fits into its memory.
var maxEventSize = 16 << 20

// maxTurnSize bounds the events of a turn, which are many payloads.
func maxTurnSize() int { return provider.MaxTurnEvents * maxEventSize }

func (o Options) withDefaults() (Options, error) {
	var errs []error
	if o.Migrate != Apply && o.Migrate != Verify {
		errs = append(errs, fmt.Errorf("unknown Migrate %d", o.Migrate))
	}
	if o.Shards < 0 || o.Shards > 1<<15 {
		errs = append(errs, fmt.Errorf("option Shards is %d, not between 0 and %d", o.Shards, 1<<15))
	}
	if o.MaxConns == 0 {
		o.MaxConns = defaultMaxConns
	}
	if o.MaxConns < minMaxConns {
		errs = append(errs, fmt.Errorf("option MaxConns is %d, fewer than %d", o.MaxConns, minMaxConns))
	}
	if o.Writers == 0 {
		o.Writers = defaultWriters
	}
	if o.Writers < 0 || o.Writers > o.MaxConns-minMaxConns+defaultWriters {
		errs = append(errs, fmt.Errorf("option Writers is %d, with MaxConns %d", o.Writers, o.MaxConns))
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = defaultLockTimeout
	}
	if o.LockTimeout < time.Millisecond {
		errs = append(errs, fmt.Errorf("option LockTimeout is %v", o.LockTimeout))
	}
	if o.Schema == "" {
		o.Schema = defaultSchema
	}
	if clean(o.Schema) != o.Schema || len(o.Schema) > 63 {
		errs = append(errs, fmt.Errorf("option Schema: %q is no name", o.Schema))
	}
	return o, errors.Join(errs...)
}

// Store is an open schema. It is safe for concurrent use.
type Store struct {
	name    string // where it is, for errors
	options Options
	config  *pgx.ConnConfig
	// pooled is set when connections change between transactions, so that
	// nothing may be left on them.
	pooled bool
	// settings is a statement for the start of each transaction when pooled.
	settings  string
	names     []string
	queries   []string
	shards    int64
	allShards []int32
	// schemaVersion is that of the schema when it was opened.
	schemaVersion int
	version       string // of the server
	synced        string // the server's synchronous_commit

	writers, readers *pgxpool.Pool
	groups           groups
	listener         listener
	news             chan struct{} // has something that others want to know
	background       sync.WaitGroup
	definitions      sync.Map // provider.Definition that the store knows
	settled          settledRows
	local            sync.Map // provider.NodeKey that joined through this Store

	closed  atomic.Bool
	closing chan struct{}
	stop    context.CancelFunc // ends what runs in the background

	counts counts
}

var (
	_ provider.Provider  = (*Store)(nil)
	_ provider.Inspector = (*Store)(nil)
)

// Open connects to the database that connString names, in any form that
// libpq knows (several hosts, TLS, the PG… variables), and opens the schema.
// It returns a [provider.SchemaError] for a schema that this program does not
// work with: newer, or older and not to be migrated. It returns
// provider.ErrInvalid for options that make no sense, provider.ErrTransient for
// a server out of reach.
func Open(ctx context.Context, connString string, options Options) (*Store, error) {
	s, err := dial(ctx, connString, options)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.closePools()
		return nil, s.fail(ctx, "open", err)
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	if !s.options.NoListen {
		s.background.Go(func() { s.tell(background) })
	}
	return s, nil
}

// dial makes a store with its pools, and looks at nothing in it.
func dial(ctx context.Context, connString string, options Options) (*Store, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("postgres: open: %w: %w", provider.ErrInvalid, err)
	}
	config, err := pgxpool.ParseConfig(connString)
	if err != nil {
		return nil, fmt.Errorf("postgres: open: %w: %w", provider.ErrInvalid, err)
	}
	cc := config.ConnConfig
	s := &Store{
		name:    fmt.Sprintf("%s/%s schema %s", cc.Host, cc.Database, options.Schema),
		options: options, config: cc,
		pooled:  cc.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement,
		closing: make(chan struct{}), news: make(chan struct{}, 1),
	}
	script := parseScript(statementsSQL, pgx.Identifier{options.Schema}.Sanitize())
	s.names, s.queries = script.names, script.queries
	s.groups.init(s)
	s.listener.self = newSelf()
	if cc.RuntimeParams["application_name"] == "" {
		cc.RuntimeParams["application_name"] = "durango"
	}
	cc.RuntimeParams["client_encoding"] = "UTF8" // else the database's own, or what PGCLIENTENCODING says
	if err := s.checkPooler(ctx); err != nil {   // before anything is set
		return nil, s.fail(ctx, "open", err)
	}
	if err := s.connect(ctx, config); err != nil {
		return nil, s.fail(ctx, "open", err)
	}
	return s, nil
}

// connect makes the pools.
func (s *Store) connect(ctx context.Context, config *pgxpool.Config) (err error) {
	settings := s.sessionSettings()
	if s.pooled {
		local := make([]string, len(settings))
		for i, set := range settings {
			local[i] = fmt.Sprintf("set_config('%s', '%s', true)", set.name, set.value)
		}
		s.settings, settings = "SELECT "+strings.Join(local, ", "), nil
	}
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		registerArrays(c)
		// Set one by one, and not by the connection itself: a server that does
		// not know one does without.
		for _, set := range settings {
			if _, err := c.Exec(ctx, "SET "+set.name+" = "+set.value); err != nil && !answered(err) {
				return err
			}
		}
		return nil
	}
	config.MinConns, config.MinIdleConns = 0, 0
	writers := config.Copy()
	writers.MaxConns = int32(s.options.Writers + spareWriters)
	if s.writers, err = pgxpool.NewWithConfig(ctx, writers); err != nil {
		return err
	}
	config.MaxConns = int32(s.options.MaxConns-1) - writers.MaxConns // one listens
	s.readers, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		s.writers.Close()
	}
	return err
}

type setting struct{ name, value string }

// sessionSettings are what each connection, or transaction, sets.
func (s *Store) sessionSettings() []setting {
	ms := s.options.LockTimeout.Milliseconds()
	set := []setting{
		// A node that stops between two trips must not keep rows locked.
		{"idle_in_transaction_session_timeout", fmt.Sprint(2 * ms)},
		{"lock_timeout", fmt.Sprint(ms)},
		// Planning anew for each array took as long as executing.
		{"plan_cache_mode", "force_generic_plan"},
		{"jit", "off"}, // took longer than what it was to make faster
		// Every statement finds its rows by an index, one by one. To a planner
		// that has seen the table empty, or small, reading all of it seems cheaper,
		// and its plan stays until the table is analyzed.
		{"enable_seqscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
	}
	if s.options.NoSync {
		set = append(set, setting{"synchronous_commit", "off"})
	}
	return set
}

// start migrates, and learns what must be known of the server.
func (s *Store) start(ctx context.Context) error {
	if err := s.checkEncoding(ctx); err != nil {
		return err
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	s.allShards = make([]int32, s.shards)
	for i := range s.allShards {
		s.allShards[i] = int32(i)
	}
	c, err := s.readers.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	if err := c.QueryRow(ctx, "SELECT current_setting('server_version')").Scan(&s.version); err != nil {
		return err
	}
	s.synced = "on"
	if err := c.QueryRow(ctx, "SELECT current_setting('synchronous_commit')").Scan(&s.synced); err != nil && !answered(err) {
		return err
	}
	if s.options.NoSync {
		s.synced = "off"
	}
	return nil
}

// checkEncoding fails on a database that cannot hold every ID and name. One
// without an encoding holds any.
func (s *Store) checkEncoding(ctx context.Context) error {
	c, err := s.readers.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	switch encoding := c.Conn().PgConn().ParameterStatus("server_encoding"); encoding {
	case "", "UTF8", "SQL_ASCII": // a pooler may keep it to itself
		return nil
	default:
		return fmt.Errorf("%w: the encoding of the database is %s; it must be UTF8", provider.ErrInvalid, encoding)
	}
}

// Describe implements [provider.Provider].
func (s *Store) Describe(ctx context.Context) (provider.Description, error) {
	d := provider.Description{
		Name: "postgres", Version: s.version, Contract: provider.Supported,
		Capabilities: provider.Capabilities{Shared: true, Persistent: true, Watch: !s.options.NoListen, Inspect: true, Hasten: true, Hold: true, Amend: true, Examine: true, Notes: true, Blobs: true},
		Durability:   "synchronous_commit=" + s.synced, MaxEventSize: maxEventSize,
	}
	err := s.read(ctx, "describe", func(run func(*trip) error) error {
		t := s.trip()
		t.each(qClock, one(&d.Now))
		return run(t)
	})
	return d, err
}

// one scans a row of one column.
func one[T any](into *T) func(pgx.Rows) error {
	return func(rows pgx.Rows) error { return rows.Scan(into) }
}

// Close waits for what is under way and closes the connections. Later calls
// return provider.ErrClosed.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return s.closedError("close")
	}
	close(s.closing)
	s.groups.close()
	s.stop()
	s.background.Wait()
	s.listener.wait()
	s.closePools()
	return nil
}

func (s *Store) closePools() {
	s.writers.Close()
	s.readers.Close()
}

// ready is what every method asks first.
func (s *Store) ready(ctx context.Context, op string) error {
	if s.closed.Load() {
		return s.closedError(op)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("postgres: %s: %w", op, err)
	}
	return nil
}

func (s *Store) closedError(op string) error {
	return fmt.Errorf("postgres: %s: %s: %w", op, s.name, provider.ErrClosed)
}
