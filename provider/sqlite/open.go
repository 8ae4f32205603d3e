// Package sqlite keeps everything in one SQLite file. It is the store to
// start with, and enough for one machine: several processes may share the
// file.
//
// # How it writes
//
// One connection writes. Callers queue their requests; one of them, the
// leader, executes all that is queued in a single transaction and hands over
// to the next. The group forms while the one before is being written, so an
// idle store adds no latency and a busy one pays for one disk flush per group.
// The rows of instances that run are kept in memory by the writer, which turns
// a turn into one append to the history and one update by integer key.
//
// # Durability
//
// With [Full], the default, what was acknowledged, or read, survives a power
// failure: the write-ahead log is flushed before anybody is answered, while the
// next group is being written. With [Normal] it survives the death of the
// process, and a power failure may take back the last commits, without damage.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// Durability says when a write is acknowledged.
type Durability int

const (
	// Full flushes each group of commits to the device. It is the default.
	Full Durability = 0
	// Normal flushes at checkpoints only.
	Normal Durability = 1
)

// Migration says what Open does about the schema.
type Migration int

const (
	// Apply makes the file, or brings its schema to the newest version that this
	// program knows. Any number of processes may do so at once. It is the
	// default.
	Apply Migration = 0
	// Verify changes nothing: a file that is not there is an error, and so is a
	// schema that this program does not work with as it is.
	Verify Migration = 1
)

// Options are the settings of a store. The zero value is right for most.
type Options struct {
	// Synchronous is Full when zero.
	Synchronous Durability
	// Migrate is Apply when zero.
	Migrate Migration
	// BusyTimeout bounds the wait for another process that writes, after which
	// calls fail with provider.ErrTransient. Zero means 5 seconds.
	BusyTimeout time.Duration
	// ReadOnly opens the file, which must exist, for reading: the Inspector
	// works, everything that writes returns provider.ErrReadOnly.
	ReadOnly bool
	// Readers is the most connections that read at once. Zero means 4.
	Readers int
	// CheckpointPages is the size of the write-ahead log, in pages of 4 KiB,
	// from which it is copied back into the file. Larger is faster and recovers
	// more slowly. Zero means 8000; from 1000 to 32000 the difference measured is
	// below a tenth.
	CheckpointPages int
}

const (
	defaultBusyTimeout = 5 * time.Second
	defaultReaders     = 4
	defaultCheckpoint  = 8000
	cacheKiB           = 64 << 10
)

// maxEventSize is far below SQLite's own limit of 1 GB for a value, so
// that one value fits in a transaction of its own without exhausting memory.
var maxEventSize = 64 << 20

// maxTurnSize bounds the events of a turn, which are many payloads.
func maxTurnSize() int { return provider.MaxTurnEvents * maxEventSize }

func (o Options) withDefaults() (Options, error) {
	var errs []error
	if o.Synchronous != Full && o.Synchronous != Normal {
		errs = append(errs, fmt.Errorf("unknown Synchronous %d", o.Synchronous))
	}
	if o.Migrate != Apply && o.Migrate != Verify {
		errs = append(errs, fmt.Errorf("unknown Migrate %d", o.Migrate))
	}
	for name, v := range map[string]int64{
		"BusyTimeout": int64(o.BusyTimeout), "Readers": int64(o.Readers), "CheckpointPages": int64(o.CheckpointPages),
	} {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative", name))
		}
	}
	if o.BusyTimeout == 0 {
		o.BusyTimeout = defaultBusyTimeout
	}
	if o.Readers == 0 {
		o.Readers = defaultReaders
	}
	if o.CheckpointPages == 0 {
		o.CheckpointPages = defaultCheckpoint
	}
	return o, errors.Join(errs...)
}

// Store is an open file. It is safe for concurrent use.
type Store struct {
	name    string // as given, for errors
	file    string // path without URI parts; empty in memory
	options Options
	closed  atomic.Bool
	w       *writer
	readers *pool // nil in memory, where the writer's connection also reads
	defs    *dictionary
	kinds   *dictionary
	marks   marks
	// schemaVersion is that of the schema when it was opened.
	schemaVersion int
	locks         nodeLocks
	closing       chan struct{}
	flusher       *flusher // nil: SQLite flushes, or nobody does

	counts counts
}

var (
	_ provider.Provider  = (*Store)(nil)
	_ provider.Inspector = (*Store)(nil)
	_ provider.Pipeliner = (*Store)(nil)
)

// Open opens the file at path with the default options, and makes it when it
// does not exist. The path ":memory:" makes a private store that is gone when
// it is closed. A path that begins with "file:" is an SQLite URI.
func Open(path string) (*Store, error) { return OpenWith(path, Options{}) }

// OpenWith opens a store with options. It migrates an older schema, unless
// Options.Migrate says otherwise, and returns a [provider.SchemaError] for one
// that this program does not work with: newer, or older and not to be migrated.
// It returns provider.ErrCorrupt for what is not a store, provider.ErrReadOnly
// for what cannot be written, provider.ErrTransient when another process keeps
// the file locked.
func OpenWith(path string, options Options) (*Store, error) {
	s, c, err := dial(path, options)
	if err != nil {
		return nil, err
	}
	options = s.options
	if err := s.migrate(c); err != nil {
		return nil, errors.Join(s.fail("open", err), c.Close())
	}
	if err := c.prepare(); err != nil {
		return nil, errors.Join(s.fail("open", err), c.Close())
	}
	if !options.ReadOnly {
		// A write that changes nothing tells here, and not at the first commit,
		// that the file cannot be written. If somebody else is writing, it can.
		if err := c.exec(qNodeDelete, 0); err != nil && !errors.Is(classify(err), provider.ErrTransient) {
			return nil, errors.Join(s.fail("open", err), c.Close())
		}
	}
	if real, err := filepath.EvalSymlinks(s.file); err == nil && s.file != "" {
		s.file = real // so that lock files have one name, whatever path led here
	}
	if s.file != "" && !options.ReadOnly && options.Synchronous == Full {
		if s.flusher, err = newFlusher(s.file); err == nil {
			err = c.pragma("synchronous = normal") // see flusher
		}
		if err != nil {
			return nil, errors.Join(s.fail("open", err), c.Close())
		}
	}
	if s.w, err = newWriter(s, c); err != nil {
		return nil, errors.Join(s.fail("open", err), c.Close())
	}
	if s.file != "" {
		s.readers = newPool(options.Readers, func() (*conn, error) {
			r, err := s.connect(false)
			if err != nil {
				return nil, err
			}
			r.reader = true
			if err := r.prepare(); err != nil {
				return nil, errors.Join(err, r.Close())
			}
			return r, nil
		})
	}
	return s, nil
}

// dial makes a store with its first connection, and looks at nothing in it.
func dial(path string, options Options) (*Store, *conn, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, nil, fmt.Errorf("sqlite: open %s: %w: %w", path, provider.ErrInvalid, err)
	}
	if path == "" {
		return nil, nil, fmt.Errorf("sqlite: open: %w: no path", provider.ErrInvalid)
	}
	s := &Store{name: path, options: options, closing: make(chan struct{})}
	if path != ":memory:" {
		file, query, _ := strings.Cut(strings.TrimPrefix(path, "file:"), "?")
		if file == ":memory:" || strings.Contains(query, "mode=memory") {
			return nil, nil, fmt.Errorf("sqlite: open %s: %w: the path of a store in memory is :memory: alone", path, provider.ErrInvalid)
		}
		if s.file, err = filepath.Abs(file); err != nil {
			return nil, nil, fmt.Errorf("sqlite: open %s: %w", path, err)
		}
	}
	s.defs = newDictionary(qDefinitionGet, qDefinitionName, qDefinitionInsert)
	s.kinds = newDictionary(qKindGet, qKindName, qKindInsert)
	c, err := s.connect(!options.ReadOnly)
	if err != nil {
		return nil, nil, s.fail("open", err)
	}
	return s, c, nil
}

// connect opens a connection and sets it up.
func (s *Store) connect(write bool) (*conn, error) {
	flags := sqlite.OpenReadOnly
	if !s.options.ReadOnly {
		flags = sqlite.OpenReadWrite
		if s.options.Migrate == Apply {
			flags |= sqlite.OpenCreate
		}
	}
	if strings.HasPrefix(s.name, "file:") {
		flags |= sqlite.OpenURI
	}
	sc, err := sqlite.OpenConn(s.name, flags)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: sc}
	c.SetBusyTimeout(s.options.BusyTimeout)
	pragmas := []string{
		"temp_store = memory",
		fmt.Sprintf("cache_size = -%d", cacheKiB),
		"foreign_keys = off",
	}
	if write {
		synchronous := "full"
		if s.options.Synchronous == Normal {
			synchronous = "normal"
		}
		pragmas = append(pragmas, "synchronous = "+synchronous,
			fmt.Sprintf("wal_autocheckpoint = %d", s.options.CheckpointPages))
	} else {
		pragmas = append(pragmas, "query_only = on")
	}
	for _, p := range pragmas {
		if err := c.pragma(p); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// pragma executes a pragma and ignores what it returns.
func (c *conn) pragma(p string) error {
	_, err := c.pragmaInt(p)
	return err
}

// pragmaInt executes a pragma and returns the first value of its first row.
func (c *conn) pragmaInt(p string) (int64, error) {
	st, _, err := c.PrepareTransient("PRAGMA " + p)
	if err != nil {
		return 0, fmt.Errorf("pragma %s: %w", p, err)
	}
	var v int64
	_, err = row(st, func(st *sqlite.Stmt) { v = st.ColumnInt64(0) })
	if ferr := st.Finalize(); err == nil {
		err = ferr
	}
	if err != nil {
		return 0, fmt.Errorf("pragma %s: %w", p, err)
	}
	return v, nil
}

// Describe implements [provider.Provider].
func (s *Store) Describe(ctx context.Context) (provider.Description, error) {
	if err := s.ready(ctx, "describe"); err != nil {
		return provider.Description{}, err
	}
	d := provider.Description{
		Name: "sqlite", Version: sqlite.Version, Contract: provider.Supported,
		Capabilities: provider.Capabilities{Shared: true, Persistent: true, Watch: true, DetectsExit: true, Inspect: true, Hasten: true, Hold: true, Amend: true, Examine: true, Notes: true, Pipeline: true, Blobs: true},
		Durability:   "FULL", MaxEventSize: maxEventSize, Now: now(),
	}
	switch {
	case s.file == "":
		d.Capabilities = provider.Capabilities{Inspect: true, Hasten: true, Hold: true, Amend: true, Examine: true, Notes: true, Pipeline: true, Blobs: true}
		d.Durability = "memory"
	case s.options.Synchronous == Normal:
		d.Durability = "NORMAL"
	}
	return d, nil
}

// Close waits for what is being written, copies the write-ahead log back into
// the file and closes it. Later calls return provider.ErrClosed.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return fmt.Errorf("sqlite: close %s: %w", s.name, provider.ErrClosed)
	}
	close(s.closing)
	if s.readers != nil {
		s.readers.close()
	}
	err := s.w.close()
	s.locks.releaseAll()
	return s.fail("close", err)
}

// ready is what every method asks first.
func (s *Store) ready(ctx context.Context, op string) error {
	if s.closed.Load() {
		return s.closedError(op)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sqlite: %s: %w", op, err)
	}
	return nil
}

func (s *Store) closedError(op string) error {
	return fmt.Errorf("sqlite: %s: %s: %w", op, s.name, provider.ErrClosed)
}

// now is the store's clock: that of the machine, which all processes share.
func now() int64 { return time.Now().UnixNano() }
