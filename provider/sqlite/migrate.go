package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/durango-go/durango/provider"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the file as ours: "drng". https://www.sqlite.org/pragma.html#pragma_application_id
const applicationID = 'd'<<24 | 'r'<<16 | 'n'<<8 | 'g'

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

// SchemaOf reads which version of the schema the file at path has. It changes
// nothing; a file that is not there is an error.
func SchemaOf(path string) (provider.Schema, error) {
	s, c, err := dial(path, Options{ReadOnly: true})
	if err != nil {
		return provider.Schema{}, err
	}
	schema, err := s.schema(c)
	return schema, s.fail("read the schema of", errors.Join(err, c.Close()))
}

// Migrate brings the schema of the file at path to a version, zero for the
// newest, and makes the file if there is none. It returns the migrations that
// it has applied: none if the schema has that version already, or if another
// process was faster. Any number of processes may call it at once. It returns a
// [provider.SchemaError] for a version that the program does not know, and for
// one that is older than the schema, which is left alone.
func Migrate(path string, to int) ([]provider.Migration, error) {
	s, c, err := dial(path, Options{})
	if err != nil {
		return nil, err
	}
	schema, err := s.schema(c)
	if err == nil {
		_, err = schema.Steps(to)
	}
	var done []provider.Migration
	if err == nil {
		done, err = s.migrateTo(c, to)
	}
	return done, s.fail("migrate", errors.Join(err, c.Close()))
}

// migrate looks whether this program works with the schema, and brings it to
// the newest version unless the options forbid it.
func (s *Store) migrate(c *conn) error {
	schema, err := s.schema(c)
	if err != nil {
		return err
	}
	if s.options.ReadOnly || s.options.Migrate == Verify {
		s.schemaVersion = schema.Version
		return schema.Check()
	}
	if schema.Version > schema.Max {
		return schema.Check()
	}
	s.schemaVersion = schema.Max
	_, err = s.migrateTo(c, schema.Max)
	return err
}

// migrateTo makes what is missing. Whoever comes first does it, under the write
// lock; the others wait and find it done.
func (s *Store) migrateTo(c *conn, to int) (done []provider.Migration, err error) {
	if s.file != "" {
		if err := s.useWAL(c); err != nil {
			return nil, err
		}
	}
	schema, err := s.schema(c)
	if err != nil {
		return nil, err
	}
	if steps, err := schema.Steps(to); err != nil || len(steps) == 0 {
		return nil, err
	}
	if err := sqlitex.ExecuteTransient(c.Conn, "BEGIN IMMEDIATE", nil); err != nil {
		return nil, err
	}
	done, err = s.apply(c, to)
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	if c.AutocommitEnabled() {
		return nil, err // rolled back by the failure itself
	}
	if err := errors.Join(err, sqlitex.ExecuteTransient(c.Conn, end, nil)); err != nil {
		return nil, err
	}
	return done, nil
}

func (s *Store) apply(c *conn, to int) ([]provider.Migration, error) {
	schema, err := s.schema(c) // somebody may have been faster
	if err != nil {
		return nil, err
	}
	steps, err := schema.Steps(to)
	if err != nil || len(steps) == 0 {
		return nil, err
	}
	for _, m := range steps {
		text, err := fs.ReadFile(migrations, "migrations/"+m.Name)
		if err != nil {
			return nil, err
		}
		if err := executeAll(c.Conn, string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	if err := c.pragma(fmt.Sprintf("application_id = %d", applicationID)); err != nil {
		return nil, err
	}
	return steps, c.pragma(fmt.Sprintf("user_version = %d", steps[len(steps)-1].Version))
}

// executeAll executes the statements of a script, within the transaction that
// is open.
func executeAll(c *sqlite.Conn, script string) error {
	for {
		st, trailing, err := c.PrepareTransient(script)
		if err != nil {
			return err
		}
		if st.BindParamCount() == 0 && trailing == 0 && st.ColumnCount() == 0 && isBlank(script) {
			return st.Finalize()
		}
		if _, err := st.Step(); err != nil {
			return errors.Join(err, st.Finalize())
		}
		if err := st.Finalize(); err != nil {
			return err
		}
		if trailing == 0 {
			return nil
		}
		script = script[len(script)-trailing:]
		if isBlank(script) {
			return nil
		}
	}
}

func isBlank(s string) bool {
	for _, r := range s {
		if r != ' ' && r != '\t' && r != '\n' && r != '\r' {
			return false
		}
	}
	return true
}

// schema reads the schema's version; zero for an empty file.
func (s *Store) schema(c *conn) (provider.Schema, error) {
	// The first is read first: all three change together, so a file that had
	// tables then has the ID by now if it is ours.
	changes, err := c.pragmaInt("schema_version")
	if err != nil {
		return provider.Schema{}, err
	}
	version, err := c.pragmaInt("user_version")
	if err != nil {
		return provider.Schema{}, err
	}
	app, err := c.pragmaInt("application_id")
	if err != nil {
		return provider.Schema{}, err
	}
	if app != applicationID && (app != 0 || version != 0 || changes != 0) {
		return provider.Schema{}, fmt.Errorf("%w: an SQLite database of another application (ID %#x); give the store a file of its own",
			provider.ErrCorrupt, app)
	}
	all := scripts()
	schema := provider.Schema{Version: int(version), Min: len(all) - backwards, Max: len(all)}
	if schema.Version < schema.Max {
		schema.Migrations = all[schema.Version:]
	}
	return schema, nil
}

// useWAL switches the file to the write-ahead log, which it then stays in.
func (s *Store) useWAL(c *conn) error {
	var mode string
	err := s.patiently(func() error { // SQLite does not wait for those who do the same
		return sqlitex.ExecuteTransient(c.Conn, "PRAGMA journal_mode = wal", &sqlitex.ExecOptions{
			ResultFunc: func(st *sqlite.Stmt) error {
				mode = st.ColumnText(0)
				return nil
			},
		})
	})
	if err != nil {
		return fmt.Errorf("write-ahead log: %w", err)
	}
	if mode != "wal" {
		return fmt.Errorf("%w: the write-ahead log is not available here (journal_mode is %s); "+
			"use a local file system", provider.ErrReadOnly, mode)
	}
	return nil
}
