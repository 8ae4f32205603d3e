package sqlite

import (
	"testing"

	"github.com/durango-go/durango/provider"
)

// join makes a node.
func join(tb testing.TB, s *Store) provider.NodeKey {
	tb.Helper()
	node, err := s.Join(tb.Context(), provider.NodeInfo{Name: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	return node
}

// create makes an instance that the node owns.
func create(tb testing.TB, s *Store, node provider.NodeKey, id string) provider.Key {
	tb.Helper()
	n := provider.NewInstance{Key: provider.NewKey(), ID: id, Name: "flow", Version: "1", Owned: node != 0, Start: []byte("start")}
	results, err := s.Create(tb.Context(), node, []provider.NewInstance{n})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		tb.Fatal(err)
	}
	return n.Key
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

// must stops the test at an error.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// raw opens a connection beside the store's, as another program would.
func raw(tb testing.TB, s *Store) *conn {
	tb.Helper()
	c, err := s.connect(true)
	must(tb, err)
	tb.Cleanup(func() { c.Close() })
	return c
}
