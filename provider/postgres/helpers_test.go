package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// raw opens a connection beside the store's.
func raw(tb testing.TB) *pgx.Conn {
	tb.Helper()
	c, err := pgx.Connect(context.Background(), server)
	must(tb, err)
	tb.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// in puts a statement into the store's schema.
func in(s *Store, text string) string {
	return inSchema.ReplaceAllLiteralString(text, pgx.Identifier{s.options.Schema}.Sanitize()+".")
}

func execute(tb testing.TB, c *pgx.Conn, text string, args ...any) {
	tb.Helper()
	_, err := c.Exec(context.Background(), text, args...)
	must(tb, err)
}

// value reads one number.
func value(tb testing.TB, c *pgx.Conn, text string, args ...any) (n int64) {
	tb.Helper()
	must(tb, c.QueryRow(context.Background(), text, args...).Scan(&n))
	return n
}

// eventually polls until f is true.
func eventually(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func join(tb testing.TB, s *Store) provider.NodeKey {
	tb.Helper()
	node, err := s.Join(tb.Context(), provider.NodeInfo{Name: "test"})
	must(tb, err)
	return node
}

// create makes an instance that the node owns.
func create(tb testing.TB, s *Store, node provider.NodeKey, id string) provider.Key {
	tb.Helper()
	n := draft(id)
	n.Owned = node != 0
	results, err := s.Create(tb.Context(), node, []provider.NewInstance{n})
	must(tb, err)
	must(tb, results[0].Err)
	return n.Key
}

func draft(id string) provider.NewInstance {
	return provider.NewInstance{Key: provider.NewKey(), ID: id, Name: "flow", Version: "1", Start: []byte("start")}
}

// turn is the commit of a plain turn.
func turn(key provider.Key, number int64) provider.Commit {
	return provider.Commit{Key: key, CommitID: number, Expect: number, ReadSeq: 1, Status: provider.Running, Execution: 1,
		Name: "flow", Version: "1", HistoryFrom: 1, DueAt: provider.Never,
		Turn: &provider.Turn{Number: number, Execution: 1, CommitID: number, Deliveries: 1, Commands: 1, Events: []byte{byte(number)}}}
}

// commit commits one item and returns its error or the batch's.
func commit(tb testing.TB, s *Store, node provider.NodeKey, c provider.Commit) error {
	tb.Helper()
	results, err := s.Commit(tb.Context(), node, []provider.Commit{c})
	if err != nil {
		return err
	}
	return results[0].Err
}
