package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/durango-go/durango/provider"
)

//go:embed migrations/*.sql
var embedded embed.FS

var migrations fs.FS = embedded

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

// backwards is how many versions of the schema before the newest this program
// works with as they are. A migration that keeps the statements of this
// program valid before it has run may raise it.
const backwards = 0

// scripts are the migrations, in order: that of version n is number n-1.
func scripts() (all []provider.Migration) {
	names, _ := fs.Glob(migrations, "migrations/*.sql") // the pattern is fine
	for i, name := range names {
		all = append(all, provider.Migration{Version: i + 1, Name: path.Base(name)})
	}
	return all
}

// SchemaOf reads which version of the tables the schema has that the options
// name. It changes nothing. A database without the schema has version 0.
func SchemaOf(ctx context.Context, connString string, options Options) (schema provider.Schema, err error) {
	err = withStore(ctx, connString, options, "read the schema", func(s *Store) error {
		return s.migrator(ctx, func(m *migrator) error {
			schema, err = m.look(ctx)
			return err
		})
	})
	return schema, err
}

// Migrate brings the tables to a version, zero for the newest, and makes them
// if there are none, as the options say. It returns the migrations that it has
// applied: none if the tables have that version already, or if another process
// was faster. Any number of processes may call it at once. It returns a
// [provider.SchemaError] for a version that the program does not know, and for
// one that is older than the tables, which are left alone.
func Migrate(ctx context.Context, connString string, options Options, to int) (done []provider.Migration, err error) {
	err = withStore(ctx, connString, options, "migrate", func(s *Store) error {
		done, err = s.migrateTo(ctx, to)
		return err
	})
	return done, err
}

// withStore connects for as long as do takes.
func withStore(ctx context.Context, connString string, options Options, op string, do func(*Store) error) error {
	s, err := dial(ctx, connString, options)
	if err != nil {
		return err
	}
	defer s.closePools()
	if err = s.checkEncoding(ctx); err == nil {
		err = do(s)
	}
	return s.fail(ctx, op, err)
}

// migrate looks whether this program works with the schema, and brings it to
// the newest version unless the options forbid it.
func (s *Store) migrate(ctx context.Context) error {
	if s.options.Migrate == Apply {
		_, err := s.migrateTo(ctx, 0)
		return err
	}
	return s.migrator(ctx, func(m *migrator) error {
		schema, err := m.look(ctx)
		if err == nil {
			err = schema.Check()
		}
		return err
	})
}

// migrateTo looks first, without a lock: nearly always there is nothing to do.
func (s *Store) migrateTo(ctx context.Context, to int) (done []provider.Migration, err error) {
	err = s.migrator(ctx, func(m *migrator) error {
		schema, err := m.look(ctx)
		if err != nil {
			return err
		}
		steps, err := schema.Steps(to)
		if err != nil || len(steps) == 0 {
			return err
		}
		did, err := m.apply(ctx, to)
		done = did
		if err != nil {
			return m.orLater(err)
		}
		if schema, err = m.look(ctx); err == nil && schema.Version < steps[len(steps)-1].Version {
			err = fmt.Errorf("%w: the schema has version %d after its migration", provider.ErrCorrupt, schema.Version)
		}
		return err
	})
	return done, err
}

// migrator runs do on a connection, again while the server has passing trouble.
func (s *Store) migrator(ctx context.Context, do func(*migrator) error) error {
	return s.retry(ctx, func() error {
		c, err := s.writers.Acquire(ctx)
		if err != nil {
			return err
		}
		defer c.Release()
		return do(&migrator{s: s, c: c.Conn()})
	})
}

type migrator struct {
	s *Store
	c *pgx.Conn
}

// sql puts a statement into the schema.
func (m *migrator) sql(text string) string {
	return inSchema.ReplaceAllLiteralString(text, pgx.Identifier{m.s.options.Schema}.Sanitize()+".")
}

func (m *migrator) exec(ctx context.Context, text string, args ...any) error {
	_, err := m.c.Exec(ctx, m.sql(text), args...)
	return err
}

// look reads the version. Then the number of shards is known, too.
func (m *migrator) look(ctx context.Context) (provider.Schema, error) {
	schema := schemaAt(0)
	var tables int
	if err := m.c.QueryRow(ctx, hasMeta, m.s.options.Schema).Scan(&tables); err != nil || tables == 0 {
		return schema, err
	}
	rows, err := m.c.Query(ctx, m.sql(readMeta))
	if err != nil {
		return schema, err
	}
	var name string
	var value, shards int64
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		switch name {
		case "version":
			schema = schemaAt(int(value))
		case "shards":
			shards = value
		}
		return nil
	})
	if err != nil {
		return schema, err
	}
	if want := int64(m.s.options.Shards); shards != 0 && want != 0 && want != shards {
		return schema, fmt.Errorf("%w: the schema was made with %d shards, which cannot become %d",
			provider.ErrInvalid, shards, want)
	}
	m.s.shards, m.s.schemaVersion = shards, schema.Version
	return schema, nil
}

// schemaAt says what can be done about a version.
func schemaAt(version int) provider.Schema {
	all := scripts()
	schema := provider.Schema{Version: version, Min: len(all) - backwards, Max: len(all)}
	if version < schema.Max {
		schema.Migrations = all[version:]
	}
	return schema
}

// apply makes what is missing. Whoever comes first does it, and holds the row
// of the version meanwhile; the others wait and find it done.
func (m *migrator) apply(ctx context.Context, to int) ([]provider.Migration, error) {
	var schemas int
	if err := m.c.QueryRow(ctx, hasSchema, m.s.options.Schema).Scan(&schemas); err != nil {
		return nil, err
	}
	if schemas == 0 { // IF NOT EXISTS alone asks for the right to make schemas
		name := pgx.Identifier{m.s.options.Schema}.Sanitize()
		if _, err := m.c.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+name); err != nil {
			return nil, err
		}
	}
	if err := m.exec(ctx, makeMeta); err != nil {
		return nil, err
	}
	if err := m.exec(ctx, seedMeta); err != nil {
		return nil, err
	}
	tx, err := m.c.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := m.exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", migrationPatience)); err != nil {
		return nil, err
	}
	var version int64
	if err := tx.QueryRow(ctx, m.sql(lockMeta)).Scan(&version); err != nil {
		return nil, err
	}
	steps, err := schemaAt(int(version)).Steps(to)
	if err != nil || len(steps) == 0 { // somebody was faster
		return nil, err
	}
	for _, step := range steps {
		if err := m.script(ctx, step.Name); err != nil {
			return nil, fmt.Errorf("%s: %w", step.Name, err)
		}
	}
	if version == 0 {
		shards := m.s.options.Shards
		if shards == 0 {
			shards = defaultShards
		}
		if err := m.exec(ctx, setMeta, "shards", shards); err != nil {
			return nil, err
		}
	}
	if err := m.exec(ctx, setMeta, "version", steps[len(steps)-1].Version); err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	m.tune(ctx)
	return steps, nil
}

// script executes a migration within the transaction that is open.
func (m *migrator) script(ctx context.Context, name string) error {
	text, err := fs.ReadFile(migrations, "migrations/"+name)
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
