package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// inspect examines a store with limits.
func inspect(t *testing.T, s *Store, l limits) []provider.Symptom {
	t.Helper()
	x := examination{s: s, limits: l}
	must(t, x.run(t.Context()))
	return x.found
}

// finds reports whether a symptom is among others, and has all parts.
func finds(all []provider.Symptom, severity provider.Severity, name string, parts ...string) bool {
	for _, y := range all {
		ok := y.Severity == severity && y.Name == name
		for _, p := range parts {
			ok = ok && strings.Contains(y.Text, p)
		}
		if ok {
			return true
		}
	}
	return false
}

// Names that the migrations make are those of the catalog, no more and no
// fewer.
func TestExpected(t *testing.T) {
	s := open(t, Options{})
	tables, indexes := expected()
	c := raw(t)
	const of = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = "
	assert.Equal(t, int64(len(tables)), value(t, c, of+"'r'", s.options.Schema))
	assert.Equal(t, int64(len(tables)+len(indexes)), value(t, c, of+"'i'", s.options.Schema))
	assert.Equal(t, s.SchemaVersion(), len(scripts()))
}

// A new schema is healthy in all respects that do not depend on who else uses
// the server.
func TestExamineHealthy(t *testing.T) {
	s := open(t, Options{Shards: 3})
	all, err := s.Examine(t.Context())
	must(t, err)
	seen := map[string]bool{}
	for _, y := range all {
		seen[y.Name] = true
		if ours != nil {
			assert.Equal(t, y.Severity, provider.Healthy, "%v", y)
		}
	}
	for _, name := range []string{"schema", "indexes", "server", "connections", "transactions", "dead rows", "age"} {
		assert.True(t, seen[name], "%s is not among %v", name, all)
	}
	assert.True(t, finds(all, provider.Healthy, "schema", "version 2, 3 shards"), "%v", all)
	assert.True(t, finds(all, provider.Healthy, "server", "a primary", "synchronous_commit=on"), "%v", all)

	must(t, s.Close())
	_, err = s.Examine(t.Context())
	assert.True(t, errors.Is(err, provider.ErrClosed), "%v", err)
}

// What is missing is named, with a statement that makes it again.
func TestExamineSchema(t *testing.T) {
	s, c := open(t, Options{}), raw(t)
	execute(t, c, in(s, "DROP INDEX schema.tasks_held"))
	all := inspect(t, s, usual)
	assert.True(t, finds(all, provider.Sick, "index tasks_held", "missing"), "%v", all)
	assert.False(t, finds(all, provider.Healthy, "indexes"), "%v", all)
	for _, y := range all {
		if _, again, ok := strings.Cut(y.Text, "; "); ok && y.Name == "index tasks_held" {
			execute(t, c, again)
		}
	}
	assert.True(t, finds(inspect(t, s, usual), provider.Healthy, "indexes"), "made again")

	execute(t, c, in(s, "INSERT INTO schema.definitions VALUES (0, 'a', '1'), (0, 'a', '2')"))
	name := pgx.Identifier{s.options.Schema}.Sanitize()
	_, err := c.Exec(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY twice ON "+name+".definitions (shard, name)")
	assert.True(t, err != nil, "a unique index of what is there twice")
	execute(t, c, in(s, "ALTER TABLE schema.replies DROP CONSTRAINT replies_pkey"))
	execute(t, c, in(s, "DROP TABLE schema.message_ids"))
	execute(t, c, in(s, "UPDATE schema.meta SET value = 3 WHERE name = 'version'"))
	all = inspect(t, s, usual)
	assert.True(t, finds(all, provider.Sick, "index twice", "invalid", "REINDEX INDEX CONCURRENTLY "+name+`."twice"`), "%v", all)
	assert.True(t, finds(all, provider.Sick, "table replies", "primary key"), "%v", all)
	assert.True(t, finds(all, provider.Sick, "table message_ids", "missing"), "%v", all)
	assert.True(t, finds(all, provider.Sick, "schema", "version 3", "version 2"), "%v", all)
}

// A transaction open for long is named, with its process.
func TestExamineTransactions(t *testing.T) {
	s, c := open(t, Options{}), raw(t)
	execute(t, c, "SET application_name = 'left open'")
	execute(t, c, "BEGIN")
	pid := value(t, c, "SELECT pg_backend_pid()")
	low := usual
	low.open = -1
	mine := func() bool {
		return finds(inspect(t, s, low), provider.Warning, "transactions", "left open", "idle in transaction", "pg_terminate_backend")
	}
	assert.True(t, mine(), "process %d", pid)
	assert.True(t, finds(inspect(t, s, usual), provider.Healthy, "transactions", " open, the longest for "), "not for long")
	execute(t, c, "ROLLBACK")
	assert.False(t, mine(), "process %d", pid)
}

// A table that is not cleaned is named.
func TestExamineDeadRows(t *testing.T) {
	s := open(t, Options{})
	c, err := pgx.Connect(t.Context(), server)
	must(t, err)
	execute(t, c, in(s, "ALTER TABLE schema.definitions SET (autovacuum_enabled = false)"))
	execute(t, c, in(s, "INSERT INTO schema.definitions SELECT 0, k::text, '' FROM generate_series(1, 100) k"))
	execute(t, c, in(s, "DELETE FROM schema.definitions WHERE name > '3'"))
	must(t, c.Close(t.Context())) // which reports what it has done
	low := usual
	low.dead = 50
	eventually(t, "dead rows", func() bool {
		return finds(inspect(t, s, low), provider.Warning, "dead rows", "definitions", "never vacuumed", "VACUUM")
	})
	assert.True(t, finds(inspect(t, s, usual), provider.Healthy, "dead rows", "in table definitions"), "few are no matter")
}

// What the server says of itself, and how full and old it is.
func TestExamineServer(t *testing.T) {
	s := open(t, Options{})
	low := usual
	low.filled, low.aged = 0, -1
	all := inspect(t, s, low)
	assert.True(t, finds(all, provider.Warning, "connections", "max_connections"), "%v", all)
	assert.True(t, finds(all, provider.Warning, "age", "vacuumdb --freeze"), "%v", all)
	low.exhausted = -1
	all = inspect(t, s, low)
	assert.True(t, finds(all, provider.Sick, "age", "takes no writes"), "%v", all)

	x := examination{s: s}
	x.judgeServer(serverState{Standby: true, ReadOnly: true})
	assert.True(t, finds(x.found, provider.Sick, "server", "a standby", "target_session_attrs"), "%v", x.found)
	assert.True(t, finds(x.found, provider.Warning, "server", "fsync"), "%v", x.found)
	assert.True(t, finds(x.found, provider.Warning, "server", "autovacuum"), "%v", x.found)

	if ours != nil {
		readOnly := openAt(t, server+" default_transaction_read_only=on", Options{Schema: s.options.Schema, Migrate: Verify})
		all = inspect(t, readOnly, usual)
		assert.True(t, finds(all, provider.Sick, "server", "takes no writes"), "%v", all)
	}
}

// A role that may not read something hears so, and of all else.
func TestExamineWithoutRights(t *testing.T) {
	if ours == nil {
		t.Skip("makes a role")
	}
	s, c := open(t, Options{}), raw(t)
	execute(t, c, "CREATE ROLE stranger LOGIN")
	execute(t, c, "GRANT USAGE ON SCHEMA "+pgx.Identifier{s.options.Schema}.Sanitize()+" TO stranger")
	execute(t, c, in(s, "GRANT SELECT ON schema.meta TO stranger"))
	t.Cleanup(func() {
		_, err := c.Exec(context.Background(), "DROP OWNED BY stranger; DROP ROLE stranger")
		must(t, err)
	})
	theirs := openAt(t, strings.Replace(server, "user=durango", "user=stranger", 1), Options{Schema: s.options.Schema, Migrate: Verify})
	execute(t, c, in(s, "REVOKE SELECT ON schema.meta FROM stranger"))
	all := inspect(t, theirs, usual)
	assert.True(t, finds(all, provider.Warning, "schema", `the role "stranger" may not look`, "pg_monitor"), "%v", all)
	assert.True(t, finds(all, provider.Warning, "transactions", "does not see", "GRANT pg_read_all_stats"), "%v", all)
	assert.True(t, finds(all, provider.Healthy, "indexes"), "%v", all)
	assert.True(t, finds(all, provider.Healthy, "age"), "%v", all)
}
