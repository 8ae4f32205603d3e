package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/durango-go/durango/provider"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the file as ours: "drng". https://www.sqlite.org/pragma.html#pragma_application_id
const applicationID = 'd'<<24 | 'r'<<16 | 'n'<<8 | 'g'

// migrate brings the schema to the version of this program. Whoever comes
// first does it, under the write lock; the others wait and find it done.
func (s *Store) migrate(c *conn) error {
	scripts, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	newest := int64(len(scripts))
	version, err := s.schemaVersion(c, newest)
	if err != nil {
		return err
	}
	if s.options.ReadOnly {
		if version != newest {
			return fmt.Errorf("%w: the schema has version %d, this program needs %d; open it for writing once",
				provider.ErrReadOnly, version, newest)
		}
		return nil
	}
	if s.file != "" {
		if err := s.useWAL(c); err != nil {
			return err
		}
	}
	if version == newest {
		return nil
	}
	if err := sqlitex.ExecuteTransient(c.Conn, "BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	err = s.apply(c, scripts)
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	if c.AutocommitEnabled() {
		return err // rolled back by the failure itself
	}
	return errors.Join(err, sqlitex.ExecuteTransient(c.Conn, end, nil))
}

func (s *Store) apply(c *conn, scripts []string) error {
	version, err := s.schemaVersion(c, int64(len(scripts))) // somebody may have been faster
	if err != nil || version == int64(len(scripts)) {
		return err
	}
	for _, name := range scripts[version:] {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			return err
		}
		if err := executeAll(c.Conn, string(text)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := c.pragma(fmt.Sprintf("application_id = %d", applicationID)); err != nil {
		return err
	}
	return c.pragma(fmt.Sprintf("user_version = %d", len(scripts)))
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

// schemaVersion returns the schema's version; zero for an empty file.
func (s *Store) schemaVersion(c *conn, newest int64) (int64, error) {
	version, err := c.pragmaInt("user_version")
	if err != nil {
		return 0, err
	}
	app, err := c.pragmaInt("application_id")
	if err != nil {
		return 0, err
	}
	if app != applicationID {
		schema, err := c.pragmaInt("schema_version")
		if err != nil {
			return 0, err
		}
		if app != 0 || version != 0 || schema != 0 {
			return 0, fmt.Errorf("%w: an SQLite database of another application (ID %#x); give the store a file of its own",
				provider.ErrCorrupt, app)
		}
	}
	if version > newest {
		return 0, fmt.Errorf("%w: it has version %d, this program knows up to %d; upgrade the program",
			provider.ErrSchemaNewer, version, newest)
	}
	return version, nil
}

// useWAL switches the file to the write-ahead log, which it then stays in.
func (s *Store) useWAL(c *conn) error {
	var mode string
	err := sqlitex.ExecuteTransient(c.Conn, "PRAGMA journal_mode = wal", &sqlitex.ExecOptions{
		ResultFunc: func(st *sqlite.Stmt) error {
			mode = st.ColumnText(0)
			return nil
		},
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
