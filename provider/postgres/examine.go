package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/durango-go/durango/provider"
)

var _ provider.Examiner = (*Store)(nil)

// SchemaVersion returns the version that the schema had when the store was
// opened, and migrated if it was.
func (s *Store) SchemaVersion() int { return s.schemaVersion }

// Examine implements [provider.Examiner]. It reads the server's catalog and
// statistics, never the tables. What its role may not read, or the server does
// not have, becomes a warning.
func (s *Store) Examine(ctx context.Context) ([]provider.Symptom, error) {
	x := examination{s: s, limits: usual}
	err := x.run(ctx)
	return x.found, err
}

// limits are up to where something is healthy.
type limits struct {
	open   time.Duration // a transaction
	dead   int64         // rows of a table, if they are more than half of the living
	filled int64         // connections, in percent of those there may be
	// aged is how many transactions the oldest row may be behind, exhausted how
	// many when the server is about to refuse writes: it does so three million
	// before two to the 31st. See
	// https://www.postgresql.org/docs/current/routine-vacuuming.html
	aged, exhausted int64
}

var usual = limits{open: 5 * time.Minute, dead: 100_000, filled: 80, aged: 1_000_000_000, exhausted: 2_000_000_000}

// examination is one call of Examine.
type examination struct {
	s      *Store
	limits limits
	found  []provider.Symptom
}

func (x *examination) add(severity provider.Severity, name, format string, args ...any) {
	x.found = append(x.found, provider.Symptom{Severity: severity, Name: name, Text: fmt.Sprintf(format, args...)})
}

// run looks at one thing after the other.
func (x *examination) run(ctx context.Context) error {
	for _, look := range []struct {
		name string
		at   func(context.Context) error
	}{
		{"schema", x.schema}, {"indexes", x.indexes}, {"server", x.server}, {"connections", x.connections},
		{"transactions", x.transactions}, {"dead rows", x.rows}, {"age", x.age},
	} {
		err := look.at(ctx)
		var pe *pgconn.PgError
		switch {
		case err == nil:
		case !errors.As(err, &pe) || fatal(err):
			return err
		case pe.Code == "42501": // insufficient privilege
			x.add(provider.Warning, look.name, "the role %q may not look: %s; grant it that (for statistics: pg_monitor)", x.s.config.User, pe.Message)
		default:
			x.add(provider.Warning, look.name, "the server does not say: %s", pe.Message)
		}
	}
	return nil
}

// collect returns the rows of a statement.
func collect[T any](ctx context.Context, s *Store, q statement, args ...any) ([]T, error) {
	var all []T
	err := s.read(ctx, "examine", func(run func(*trip) error) error {
		all = nil
		t := s.trip()
		t.each(q, func(rows pgx.Rows) error {
			row, err := pgx.RowToStructByPos[T](rows)
			all = append(all, row)
			return err
		}, args...)
		return run(t)
	})
	return all, err
}

func (x *examination) schema(ctx context.Context) error {
	rows, err := collect[struct {
		Name  string
		Value int64
	}](ctx, x.s, qExamineSchema)
	if err != nil {
		return err
	}
	meta := map[string]int64{}
	for _, r := range rows {
		meta[r.Name] = r.Value
	}
	if want := int64(x.s.SchemaVersion()); meta["version"] != want {
		x.add(provider.Sick, "schema", "version %d, since this program opened it with version %d; restart it, in its newest version",
			meta["version"], want)
	} else {
		x.add(provider.Healthy, "schema", "version %d, %d shards", meta["version"], meta["shards"])
	}
	return nil
}

var (
	creates = regexp.MustCompile(`(?s)^CREATE (TABLE|INDEX) (?:schema\.)?(\w+) .*`)
	drops   = regexp.MustCompile(`^DROP (?:TABLE|INDEX) schema\.(\w+)`)
	remarks = regexp.MustCompile(`--[^\n]*`)
)

// expected returns the tables that the migrations make, and the statements of
// the indexes beside primary keys, by their names.
func expected() (tables map[string]bool, indexes map[string]string) {
	tables, indexes = map[string]bool{"meta": true}, map[string]string{}
	scripts, _ := fs.Glob(migrations, "migrations/*.sql") // the pattern is fine
	for _, name := range scripts {
		text, _ := fs.ReadFile(migrations, name) // it is there
		for statement := range strings.SplitSeq(string(text), ";\n") {
			statement = strings.TrimSuffix(strings.Join(strings.Fields(remarks.ReplaceAllString(statement, "")), " "), ";")
			if m := drops.FindStringSubmatch(statement); m != nil {
				delete(tables, m[1])
				delete(indexes, m[1])
			}
			switch m := creates.FindStringSubmatch(statement); {
			case m == nil:
			case m[1] == "TABLE":
				tables[m[2]] = true
			default:
				indexes[m[2]] = statement
			}
		}
	}
	return tables, indexes
}

// indexes compares the catalog with what the migrations made.
func (x *examination) indexes(ctx context.Context) error {
	rows, err := collect[struct {
		Table, Index   string // no index: ""
		Primary, Valid bool
	}](ctx, x.s, qExamineIndexes, x.s.options.Schema)
	if err != nil {
		return err
	}
	schema := pgx.Identifier{x.s.options.Schema}.Sanitize() + "."
	tables, indexes := expected()
	count, before := len(indexes)+len(tables), len(x.found)
	missing, keyless := maps.Clone(tables), maps.Clone(tables)
	for _, r := range rows {
		delete(missing, r.Table)
		delete(indexes, r.Index)
		if r.Primary {
			delete(keyless, r.Table)
		}
		if !r.Valid {
			x.add(provider.Sick, "index "+r.Index, "invalid, not used for reading; REINDEX INDEX CONCURRENTLY %s", schema+pgx.Identifier{r.Index}.Sanitize())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		delete(keyless, name)
		x.add(provider.Sick, "table "+name, "missing, with all that was in it; restore a backup")
	}
	for _, name := range slices.Sorted(maps.Keys(keyless)) {
		x.add(provider.Sick, "table "+name, "without its primary key, so that rows may be there twice; restore a backup, or the key as a new schema has it")
	}
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		again := strings.Replace(indexes[name], "CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
		x.add(provider.Sick, "index "+name, "missing, so that whole tables are read; %s", inSchema.ReplaceAllLiteralString(again, schema))
	}
	if len(x.found) == before {
		x.add(provider.Healthy, "indexes", "all %d are there and valid, of %d tables", count, len(tables))
	}
	return nil
}

// serverState is what the server says of itself and of the connection.
type serverState struct {
	Standby, ReadOnly, Autovacuum, Fsync bool
	Standbys                             string // synchronous_standby_names
}

func (x *examination) server(ctx context.Context) error {
	rows, err := collect[serverState](ctx, x.s, qExamineServer)
	if err != nil || len(rows) == 0 {
		return err
	}
	x.judgeServer(rows[0])
	return nil
}

func (x *examination) judgeServer(state serverState) {
	standbys := "no synchronous standby"
	if state.Standbys != "" {
		standbys = "synchronous_standby_names=" + state.Standbys
	}
	switch {
	case state.Standby:
		x.add(provider.Sick, "server", "a standby, which takes no writes; %s", advice[provider.ErrReadOnly])
	case state.ReadOnly:
		x.add(provider.Sick, "server", "takes no writes: default_transaction_read_only is on; look who has set it, and why")
	default:
		x.add(provider.Healthy, "server", "a primary, synchronous_commit=%s, %s", x.s.synced, standbys)
	}
	if !state.Fsync {
		x.add(provider.Warning, "server", "fsync is off: a crash of its machine may destroy the database; set it to on")
	}
	if !state.Autovacuum {
		x.add(provider.Warning, "server", "autovacuum is off: finding work becomes slower and slower; set it to on")
	}
}

func (x *examination) connections(ctx context.Context) error {
	rows, err := collect[struct{ Used, Max int64 }](ctx, x.s, qExamineConnections)
	if err != nil || len(rows) == 0 {
		return err
	}
	used, most := rows[0].Used, rows[0].Max
	if used*100 > most*x.limits.filled {
		x.add(provider.Warning, "connections", "%d of %d are used, and none is left soon; raise max_connections, lower MaxConns of the stores, or put a pooler before the server", used, most)
	} else {
		x.add(provider.Healthy, "connections", "%d of %d are used", used, most)
	}
	return nil
}

// transactions looks for those that are open for long: what has died since
// they began may still be seen by them, and stays.
func (x *examination) transactions(ctx context.Context) error {
	rows, err := collect[struct {
		PID               int64
		User, Name, State string // Name is that of the application, or of what was prepared
		Prepared          bool
		Seconds           int64
		Hidden            bool
	}](ctx, x.s, qExamineTransactions)
	if err != nil {
		return err
	}
	hidden, long, oldest := 0, 0, time.Duration(0)
	for _, r := range rows {
		open := time.Duration(r.Seconds) * time.Second
		switch {
		case r.Hidden:
			hidden++
			continue
		case open <= x.limits.open:
		case r.Prepared:
			long++
			x.add(provider.Warning, "transactions", "%q of %s is prepared for %s, and keeps dead rows from being cleaned; COMMIT PREPARED or ROLLBACK PREPARED it",
				r.Name, r.User, open)
		default:
			long++
			x.add(provider.Warning, "transactions", "process %d (%s of %s, %s) has one open for %s, which keeps dead rows from being cleaned; SELECT pg_terminate_backend(%d) ends it",
				r.PID, or(r.Name, "an unnamed program"), r.User, r.State, open, r.PID)
		}
		oldest = max(oldest, open)
	}
	if hidden > 0 {
		x.add(provider.Warning, "transactions", "the role %q does not see those of %d sessions of others; GRANT pg_read_all_stats TO it", x.s.config.User, hidden)
	}
	switch open := len(rows) - hidden; {
	case long > 0:
	case open == 0:
		x.add(provider.Healthy, "transactions", "none is open")
	default:
		x.add(provider.Healthy, "transactions", "%d open, the longest for %s", open, oldest)
	}
	return nil
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}

// rows looks for tables that are not cleaned as fast as their rows die.
func (x *examination) rows(ctx context.Context) error {
	rows, err := collect[struct {
		Table      string
		Live, Dead int64
		Cleaned    int64 // seconds ago, or negative: never
	}](ctx, x.s, qExamineRows, x.s.options.Schema)
	if err != nil {
		return err
	}
	bloated := false
	for _, r := range rows {
		if r.Dead < x.limits.dead || r.Dead <= r.Live/2 {
			continue
		}
		bloated = true
		cleaned := "never vacuumed"
		if r.Cleaned >= 0 {
			cleaned = fmt.Sprintf("vacuumed %s ago", time.Duration(r.Cleaned)*time.Second)
		}
		x.add(provider.Warning, "dead rows", "table %s has %d beside %d living, %s; end transactions that are open for long, then VACUUM %s",
			r.Table, r.Dead, r.Live, cleaned, pgx.Identifier{x.s.options.Schema, r.Table}.Sanitize())
	}
	if !bloated && len(rows) > 0 {
		x.add(provider.Healthy, "dead rows", "at most %d, in table %s", rows[0].Dead, rows[0].Table)
	}
	return nil
}

// age looks how far the database is from running out of the numbers of
// transactions, and of those that stand for several holders of a lock.
func (x *examination) age(ctx context.Context) error {
	rows, err := collect[struct{ Transactions, Multi int64 }](ctx, x.s, qExamineAge)
	if err != nil || len(rows) == 0 {
		return err
	}
	age := max(rows[0].Transactions, rows[0].Multi)
	const todo = "vacuumdb --freeze the database, after ending old transactions and dropping replication slots that nobody uses"
	switch {
	case age > x.limits.exhausted:
		x.add(provider.Sick, "age", "%d million transactions since the oldest row was frozen, and the server takes no writes after about 2144; %s", age/1e6, todo)
	case age > x.limits.aged:
		x.add(provider.Warning, "age", "%d million transactions since the oldest row was frozen, about 2144 are possible; %s", age/1e6, todo)
	default:
		x.add(provider.Healthy, "age", "%d million of 2144 million transactions", age/1e6)
	}
	return nil
}
