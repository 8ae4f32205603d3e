package sqlite

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/durango-go/durango/provider"
)

// A history is read whole, and from any turn on, whether its turns lie close
// together or are found one by one; and a turn that is not there is noticed.
func TestHistoriesCloseTogetherAndFarApart(t *testing.T) {
	const turns = 3*markEvery + 7
	for _, others := range []int{0, 3, 40} {
		t.Run(fmt.Sprint(others, " others"), func(t *testing.T) {
			s, err := Open(filepath.Join(t.TempDir(), "history.db"))
			must(t, err)
			defer s.Close()
			node := join(t, s)
			keys := []provider.Key{create(t, s, node, "looked at")}
			for i := range others {
				keys = append(keys, create(t, s, node, fmt.Sprint("other ", i)))
			}
			for n := int64(1); n <= turns; n++ {
				group := make([]provider.Commit, len(keys))
				for i, key := range keys {
					group[i] = turn(key, n)
				}
				results, err := s.Commit(t.Context(), node, group)
				must(t, err)
				for i := range results {
					must(t, results[i].Err)
				}
			}
			load := func(from int64) provider.Loaded {
				l, err := s.Load(t.Context(), []provider.LoadRequest{{Key: keys[0], FromTurn: from}})
				must(t, err)
				return l[0]
			}
			for from := int64(1); from <= turns+1; from++ {
				l := load(from)
				must(t, l.Err)
				if len(l.Turns) != int(turns+1-from) {
					t.Fatalf("from %d: %d turns", from, len(l.Turns))
				}
				for i, got := range l.Turns {
					if want := from + int64(i); got.Number != want || got.CommitID != want || got.Events[0] != byte(want) {
						t.Fatalf("from %d: turn %d is %+v", from, want, got)
					}
				}
			}
			c := raw(t, s)
			for _, missing := range []string{"turn = 1", "turn = 70", "turn = 127", "turn = 128", fmt.Sprint("turn = ", turns), fmt.Sprint("turn > ", turns-5)} {
				one := fmt.Sprintf("history WHERE instance = %d AND %s", keys[0], missing)
				must(t, sqlitex.ExecuteScript(c.Conn, "CREATE TEMP TABLE kept AS SELECT * FROM "+one+"; DELETE FROM "+one, nil))
				_, err := s.Load(t.Context(), []provider.LoadRequest{{Key: keys[0], FromTurn: 1}})
				if !errors.Is(err, provider.ErrCorrupt) {
					t.Errorf("without %s: %v", missing, err)
				}
				must(t, sqlitex.ExecuteScript(c.Conn, "INSERT INTO history SELECT * FROM kept; DROP TABLE kept", nil))
				must(t, load(1).Err)
			}
		})
	}
}
