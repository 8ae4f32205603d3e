package sqlite

import (
	"context"
	"fmt"
	"os"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/durango-go/durango/provider"
)

var _ provider.Examiner = (*Store)(nil)

// SchemaVersion returns the version that the schema had when the store was
// opened, and migrated if it was.
func (s *Store) SchemaVersion() int { return s.schemaVersion }

// Examine implements [provider.Examiner]. It reads the whole file. A missing
// table or index need not be looked for: without it a store does not open.
func (s *Store) Examine(ctx context.Context) ([]provider.Symptom, error) {
	var all []provider.Symptom
	add := func(severity provider.Severity, name, format string, args ...any) {
		all = append(all, provider.Symptom{Severity: severity, Name: name, Text: fmt.Sprintf(format, args...)})
	}
	err := s.read(ctx, "examine", func(c *conn) error {
		return interruptible(ctx, c, func(c *conn) error {
			if version, err := c.pragmaInt("user_version"); err != nil {
				return err
			} else if int(version) != s.schemaVersion {
				add(provider.Sick, "schema", "version %d, since this program opened it with version %d; restart it, in its newest version", version, s.schemaVersion)
			} else {
				add(provider.Healthy, "schema", "version %d", version)
			}
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
