package postgres

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// The constants stand for the statements in their order.
func TestStatements(t *testing.T) {
	src, err := os.ReadFile("statements.go")
	must(t, err)
	names := parseScript(statementsSQL, "s").names
	var constants []string
	for _, m := range regexp.MustCompile(`(?m)^\tq(\w+)`).FindAllStringSubmatch(string(src), -1) {
		constants = append(constants, m[1])
	}
	assert.Equal(t, constants, names)
	assert.Equal(t, len(names), int(statements))
}

func TestParseScript(t *testing.T) {
	s := parseScript("-- word: a_b\nx,\n\ty\n-- word: c_d\na_b, z\n-- name: One\n-- why\nSELECT c_d FROM schema.t, information_schema.u;\n", `"my schema."`)
	assert.Equal(t, s.names, []string{"One"})
	assert.Equal(t, s.queries, []string{"SELECT x,\n\ty, z FROM \"my schema.\".t, information_schema.u"})
}

// A shard column leads every primary key and index.
func TestShardsLead(t *testing.T) {
	s := open(t, Options{})
	rows, err := raw(t).Query(t.Context(), `SELECT x.indexrelid::regclass::text, a.attname
		FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0] WHERE n.nspname = $1`, s.options.Schema)
	must(t, err)
	var index, column string
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&index, &column}, func() error {
		n++
		assert.Equal(t, column, "shard", index)
		return nil
	})
	must(t, err)
	assert.True(t, n >= 20, "only %d indexes", n)
}

// fill puts many rows that are due in the future, or belong to others, beside
// what a statement looks for.
func fill(t *testing.T, s *Store, c *pgx.Conn, n int) {
	t.Helper()
	future := provider.Never / 2
	execute(t, c, in(s, `INSERT INTO schema.instances SELECT (k % 16)::int, k, 1, 1, 0, 0, 0, 0, 0, $2 + k, 0, 1, 1, 0, 0, 0, 1, 0,
		0, 0, 0, 1, 0, 'i' || k, 'flow', '1', '', NULL, NULL, NULL FROM generate_series(1, $1::bigint) k`), n, future)
	execute(t, c, in(s, `INSERT INTO schema.ids SELECT (k % 16)::int, 'i' || k, (k % 16)::int, k FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.history SELECT (k % 16)::int, k, 1, 1, 1, 1, 1, 1, '\x01' FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.messages SELECT (k % 16)::int, k, 1, 0, 0, 0, '\x01' FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.message_ids SELECT (k % 16)::int, k, 'm' FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.published_values SELECT (k % 16)::int, k, 'v', '\x01' FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.replies SELECT (k % 16)::int, k, 'r', 1, '\x01' FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.tasks SELECT (k % 16)::int, k, 1, 1, 0, 0, 0, $2 + k, $2 + k, 0, 0, 0, 0, false,
		'charge', '', '', NULL, NULL, NULL FROM generate_series(1, $1::bigint) k`), n, future)
	// All waiting for one session that another node has.
	execute(t, c, in(s, `INSERT INTO schema.tasks SELECT (k % 16)::int, k, 1, 2, 0, 0, 0, 0, 9223372036854775807, 0, 0, 0, 0, false,
		'charge', '', 'taken', NULL, NULL, NULL FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.blobs SELECT (k % 16)::int, decode(md5(k::text), 'hex'), 1, 1, '\x01' FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.blob_refs SELECT (k % 16)::int, decode(md5(k::text), 'hex'), k FROM generate_series(1, $1::bigint) k`), n)
	execute(t, c, in(s, `INSERT INTO schema.sessions VALUES ($1, 'taken', 1, 1)`), s.textShard("taken"))
	execute(t, c, "ANALYZE")
}

// asStore makes a connection plan as those of the store do.
func asStore(t *testing.T, s *Store, c *pgx.Conn) {
	t.Helper()
	for _, set := range s.sessionSettings() {
		execute(t, c, "SET "+set.name+" = "+set.value)
	}
}

// Future rows never slow a claim, and query plans are under test: with generic
// plans, nothing but statistics reads a large table from end to end, neither
// where the planner knows that it is large nor where it has last seen it empty.
func TestPlans(t *testing.T) {
	for _, n := range []int{100_000, 0} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { testPlans(t, n) })
	}
}

func testPlans(t *testing.T, n int) {
	s := open(t, Options{NoSync: true})
	c := raw(t)
	fill(t, s, c, n)
	asStore(t, s, c)
	scan := regexp.MustCompile(`Seq Scan on (instances|ids|history|messages|message_ids|published_values|replies|tasks|blobs|blob_refs)\b`)
	parameter := regexp.MustCompile(`\$(\d+)`)
	explained := 0
	for q, text := range s.queries {
		name := s.names[q]
		switch statement(q) {
		case qBegin, qBeginRead, qCommit, qRollback, qStatsInstances, qStatsRest:
			continue
		}
		most := 0
		for _, m := range parameter.FindAllStringSubmatch(text, -1) {
			var n int
			_, err := fmt.Sscan(m[1], &n)
			must(t, err)
			most = max(most, n)
		}
		execute(t, c, fmt.Sprintf("PREPARE p%d AS %s", q, text))
		args := ""
		if most > 0 {
			args = "(" + strings.Join(slices.Repeat([]string{"NULL"}, most), ", ") + ")"
		}
		rows, err := c.Query(t.Context(), fmt.Sprintf("EXPLAIN EXECUTE p%d%s", q, args), pgx.QueryExecModeSimpleProtocol)
		must(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		if found := scan.FindString(strings.Join(plan, "\n")); found != "" {
			t.Errorf("%s: %s in\n%s", name, found, strings.Join(plan, "\n"))
		}
		explained++
	}
	assert.True(t, explained > 80, "only %d statements explained", explained)
}

// A claim in front of 200,000 rows that it must not take touches few pages, and
// so does a page of a list of 100,000.
func TestClaimsAndListsTouchFewPages(t *testing.T) {
	s := open(t, Options{NoSync: true})
	c := raw(t)
	fill(t, s, c, 100_000)
	execute(t, c, "VACUUM")
	asStore(t, s, c)
	names, pools := []string{"charge"}, []string{""}
	for _, tt := range []selection{
		{qInstancesDue, []any{[]string{"flow"}, []string{"1"}, s.allShards, 80}},
		{qInstancesNextDue, []any{[]string{"flow"}, []string{"1"}, s.allShards, nil}},
		{qInstancesMail, []any{s.allShards, int64(7)}},
		{qTasksExpired, []any{s.allShards, 80}},
		{qTasksNextExpiry, []any{s.allShards, nil}},
		{qTasksDue, []any{names, pools, s.allShards, 80}},
		{qTasksNextDue, []any{names, pools, s.allShards, nil}},
		{qSessionsWaiting, []any{s.allShards}},
		{qSessionsOf, []any{s.allShards, int64(7), int64(1)}},
		{qTasksNextOfSessions, []any{names, pools, s.allShards, slices.Repeat([]string{"taken"}, 16), nil}},
		selected(s, provider.Query{}),
		selected(s, provider.Query{Statuses: []provider.Status{provider.Pending}, NamePrefix: "f"}),
		selected(s, provider.Query{Statuses: []provider.Status{provider.Failed}}),
		selected(s, provider.Query{TurnFailed: true}),
		selected(s, provider.Query{Parent: "p"}),
		selected(s, provider.Query{IDPrefix: "i9999"}),
	} {
		tx, err := c.Begin(t.Context())
		must(t, err)
		if strings.HasPrefix(s.names[tt.q], "List") {
			execute(t, c, s.queries[qWalkIndexes])
		}
		rows, err := c.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, TIMING off) "+s.queries[tt.q], tt.args...)
		must(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		must(t, tx.Rollback(t.Context()))
		text := strings.Join(plan, "\n")
		pages := 0
		for _, m := range regexp.MustCompile(`(?:hit|read)=(\d+)`).FindAllStringSubmatch(regexp.MustCompile(`Buffers: .*`).FindString(text), -1) {
			var n int
			_, err := fmt.Sscan(m[1], &n)
			must(t, err)
			pages += n
		}
		if pages == 0 || pages > 300 {
			t.Errorf("%s: %d pages in\n%s", s.names[tt.q], pages, text)
		}
	}
}

type selection struct {
	q    statement
	args []any
}

// selected is the statement for a page of ten.
func selected(s *Store, q provider.Query) selection {
	statement, args := s.selection(&q, 11)
	return selection{statement, args}
}

// Row updates on the hot path touch no indexed column: the turns of a running
// instance stay on their page.
func TestTurnsAreHot(t *testing.T) {
	s := open(t, Options{NoSync: true})
	c := raw(t)
	node := join(t, s)
	const instances, turns = 20, 20
	var keys []provider.Key
	for i := range instances {
		keys = append(keys, create(t, s, node, fmt.Sprint(i)))
	}
	for n := range int64(turns) {
		batch := make([]provider.Commit, instances)
		for i, key := range keys {
			batch[i] = turn(key, n+1)
		}
		_, err := s.Commit(t.Context(), node, batch)
		must(t, err)
	}
	table := pgx.Identifier{s.options.Schema, "instances"}.Sanitize()
	all := func() int64 {
		return value(t, c, "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = $1::text::regclass", table)
	}
	eventually(t, "statistics", func() bool { return all() >= instances*turns })
	hot := value(t, c, "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = $1::text::regclass", table)
	// The first turn reads the mail that a claim sees; the others are hot.
	assert.True(t, hot >= instances*(turns-1)*95/100, "%d of %d updates are hot", hot, all())
}
