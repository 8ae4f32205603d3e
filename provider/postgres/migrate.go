package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/durango-go/durango/provider"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed tuning.sql
var tuningSQL string

// The table that says what else there is. It is made before all others, and
// its row "version" is what a migration locks.
const (
	makeMeta = `CREATE TABLE IF NOT EXISTS schema.meta (
	shard integer NOT NULL,
	name  text NOT NULL,
	value bigint NOT NULL,
	PRIMARY KEY (shard, name)
)`
	seedMeta = `INSERT INTO schema.meta (shard, name, value) VALUES (0, 'version', 0) ON CONFLICT (shard, name) DO NOTHING`
	lockMeta = `SELECT value FROM schema.meta WHERE shard = 0 AND name = 'version' FOR UPDATE`
	readMeta = `SELECT name, value FROM schema.meta WHERE shard = 0`
	setMeta  = `INSERT INTO schema.meta (shard, name, value) VALUES (0, $1, $2)
ON CONFLICT (shard, name) DO UPDATE SET value = excluded.value`
	hasMeta   = `SELECT count(*) FROM information_schema.tables WHERE table_schema = $1 AND table_name = 'meta'`
	hasSchema = `SELECT count(*) FROM information_schema.schemata WHERE schema_name = $1`
)

// migrationPatience bounds, in milliseconds, how long a process waits for
// another that migrates.
const migrationPatience = 60_000

// migrate brings the schema to the version of this program. It looks first,
// without a lock: nearly always there is nothing to do.
func (s *Store) migrate(ctx context.Context) error {
	scripts, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	return s.retry(ctx, func() error {
		c, err := s.writers.Acquire(ctx)
		if err != nil {
			return err
		}
		defer c.Release()
		m := migrator{s: s, c: c.Conn(), scripts: scripts}
		done, err := m.look(ctx)
		switch {
		case err != nil || done:
			return err
		case s.options.Migrate == Verify:
			return fmt.Errorf("%w: the schema has version %d, this program needs %d; migrate it first",
				provider.ErrInvalid, m.version, len(scripts))
		}
		if err := m.apply(ctx); err != nil {
			return m.orLater(err)
		}
		if done, err = m.look(ctx); err == nil && !done {
			err = fmt.Errorf("%w: the schema has version %d after its migration", provider.ErrCorrupt, m.version)
		}
		return err
	})
}

type migrator struct {
	s       *Store
	c       *pgx.Conn
	scripts []string
	version int64
}

// sql puts a statement into the schema.
func (m *migrator) sql(text string) string {
	return inSchema.ReplaceAllLiteralString(text, pgx.Identifier{m.s.options.Schema}.Sanitize()+".")
}

func (m *migrator) exec(ctx context.Context, text string, args ...any) error {
	_, err := m.c.Exec(ctx, m.sql(text), args...)
	return err
}

// look reads the version, and reports whether it is the newest. Then the
// number of shards is known, too.
func (m *migrator) look(ctx context.Context) (done bool, err error) {
	var tables int
	if err := m.c.QueryRow(ctx, hasMeta, m.s.options.Schema).Scan(&tables); err != nil || tables == 0 {
		return false, err
	}
	rows, err := m.c.Query(ctx, m.sql(readMeta))
	if err != nil {
		return false, err
	}
	var name string
	var value, shards int64
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		switch name {
		case "version":
			m.version = value
		case "shards":
			shards = value
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	newest := int64(len(m.scripts))
	if m.version > newest {
		return false, fmt.Errorf("%w: it has version %d, this program knows up to %d; upgrade the program",
			provider.ErrSchemaNewer, m.version, newest)
	}
	if want := int64(m.s.options.Shards); shards != 0 && want != 0 && want != shards {
		return false, fmt.Errorf("%w: the schema was made with %d shards, which cannot become %d",
			provider.ErrInvalid, shards, want)
	}
	m.s.shards = shards
	return m.version == newest, nil
}

// apply makes what is missing. Whoever comes first does it, and holds the row
// of the version meanwhile; the others wait and find it done.
func (m *migrator) apply(ctx context.Context) error {
	var schemas int
	if err := m.c.QueryRow(ctx, hasSchema, m.s.options.Schema).Scan(&schemas); err != nil {
		return err
	}
	if schemas == 0 { // IF NOT EXISTS alone asks for the right to make schemas
		name := pgx.Identifier{m.s.options.Schema}.Sanitize()
		if _, err := m.c.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+name); err != nil {
			return err
		}
	}
	if err := m.exec(ctx, makeMeta); err != nil {
		return err
	}
	if err := m.exec(ctx, seedMeta); err != nil {
		return err
	}
	tx, err := m.c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := m.exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", migrationPatience)); err != nil {
		return err
	}
	var version int64
	if err := tx.QueryRow(ctx, m.sql(lockMeta)).Scan(&version); err != nil {
		return err
	}
	if version >= int64(len(m.scripts)) { // somebody was faster
		return nil
	}
	for _, name := range m.scripts[version:] {
		if err := m.script(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if version == 0 {
		shards := m.s.options.Shards
		if shards == 0 {
			shards = defaultShards
		}
		if err := m.exec(ctx, setMeta, "shards", shards); err != nil {
			return err
		}
	}
	if err := m.exec(ctx, setMeta, "version", len(m.scripts)); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	m.tune(ctx)
	return nil
}

// script executes a migration within the transaction that is open.
func (m *migrator) script(ctx context.Context, name string) error {
	text, err := fs.ReadFile(migrations, name)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if err := m.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// tune applies what makes the tables faster. A store without it is right.
func (m *migrator) tune(ctx context.Context) {
	for _, statement := range parseScript(tuningSQL, pgx.Identifier{m.s.options.Schema}.Sanitize()).queries {
		_, _ = m.c.Exec(ctx, statement)
	}
}

// orLater turns the errors of two processes that make the same thing at once
// into one that is tried again: IF NOT EXISTS does not exclude them.
func (m *migrator) orLater(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code {
		case "23505", "42P06", "42P07", "42710", "XX000": // XX000: tuple concurrently updated
			return fmt.Errorf("%w: %w", errRace, err)
		}
	}
	return err
}
