package sqlite

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/durango-go/durango/provider"
)

var _ provider.Examiner = (*Store)(nil)

// SchemaVersion returns the version of the schema, which is the newest that
// this program knows: opening a store has seen to that.
func (s *Store) SchemaVersion() int {
	scripts, _ := fs.Glob(migrations, "migrations/*.sql") // the pattern is fine
	return len(scripts)
}

// Examine implements [provider.Examiner]. It reads the whole file. A missing
// table or index need not be looked for: without it a store does not open.
func (s *Store) Examine(ctx context.Context) ([]provider.Symptom, error) {
	all := []provider.Symptom{{Name: "schema", Text: fmt.Sprintf("version %d", s.SchemaVersion())}}
	add := func(severity provider.Severity, name, format string, args ...any) {
		all = append(all, provider.Symptom{Severity: severity, Name: name, Text: fmt.Sprintf(format, args...)})
	}
	err := s.read(ctx, "examine", func(c *conn) error {
		return interruptible(ctx, c, func(c *conn) error {
			damage, err := texts(c.Conn, "PRAGMA quick_check(3)")
			if err != nil {
				return err
			}
			if len(damage) == 1 && damage[0] == "ok" {
				add(provider.Healthy, "file", "undamaged")
			} else {
				add(provider.Sick, "file", "damaged: %s; see sqlite.org/recovery.html", strings.Join(damage, "; "))
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if log, err := os.Stat(s.file + "-wal"); s.file != "" && err == nil {
		const usual = 4
		limit := int64(usual*s.options.CheckpointPages) * 4096
		if log.Size() > limit {
			add(provider.Warning, "log", "the write-ahead log has %d MiB: something reads for long, and keeps it from being copied back", log.Size()>>20)
		} else {
			add(provider.Healthy, "log", "%d KiB", log.Size()>>10)
		}
	}
	return all, nil
}

// texts returns the first column of what a statement yields.
func texts(c *sqlite.Conn, query string) (all []string, err error) {
	err = sqlitex.ExecuteTransient(c, query, &sqlitex.ExecOptions{ResultFunc: func(st *sqlite.Stmt) error {
		all = append(all, st.ColumnText(0))
		return nil
	}})
	return all, err
}
