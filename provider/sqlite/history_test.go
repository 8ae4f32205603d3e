package sqlite

import (
	"errors"
	"fmt"
	"math/rand/v2"
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

// The pages of a history may be read in any order while it grows, and one
// after another without walking to each from the end.
func TestPagesOfAHistoryThatGrows(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "history.db"))
	must(t, err)
	defer s.Close()
	node := join(t, s)
	key := create(t, s, node, "looked at")
	turns := int64(0)
	grow := func(n int64) {
		for ; n > 0; n-- {
			turns++
			results, err := s.Commit(t.Context(), node, []provider.Commit{turn(key, turns)})
			must(t, err)
			must(t, results[0].Err)
		}
	}
	page := func(from int64) (statements int64) {
		before := s.Counters().ReadStatements
		l, err := s.Load(t.Context(), []provider.LoadRequest{{Key: key, FromTurn: from, MaxTurns: 10}})
		must(t, err)
		must(t, l[0].Err)
		if n, want := len(l[0].Turns), min(10, int(turns-from+1)); n != want || l[0].MoreTurns != (from+10 <= turns) {
			t.Fatalf("from %d of %d: %d turns, more: %t", from, turns, n, l[0].MoreTurns)
		}
		for i, got := range l[0].Turns {
			if got.Number != from+int64(i) {
				t.Fatalf("from %d of %d: turn %d at %d", from, turns, got.Number, i)
			}
		}
		return s.Counters().ReadStatements - before
	}
	grow(10*markEvery + 1)
	page(1)
	for from := int64(markEvery + 1); from <= turns; from += 10 { // the first stretch is read turn by turn
		if n := page(from); n > 5 {
			t.Errorf("%d statements for the page from %d", n, from)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		grow(random.Int64N(3))
		page(1 + random.Int64N(turns))
	}
}
