package sqlite

import (
	"fmt"
	"slices"
	"sync"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// History has no index by instance: each turn leads to the one before it, and
// to the last one before it whose number is a multiple of markEvery. So a turn
// dirties no page but the last one of the table, which all instances share,
// and any turn is found in number/64 + 63 steps from the end. With an index
// on (instance, turn) instead, a turn of 10,000 instances in random order, 64 in
// a group, cost 48 µs of CPU and 9.2 KiB written against 22 µs and 4.2 KiB
// (BenchmarkSettings).
const markEvery = 64

// addTurn appends the turn of a commit.
func (w *writer) addTurn(e *entry, c *provider.Commit) error {
	t := c.Turn
	st := w.c.query(qHistoryInsert, int64(e.Key), t.Number, t.Execution, e.last, e.mark, t.CommitID, t.Time,
		int64(t.Deliveries), int64(t.Commands))
	bindBytes(st, 10, t.Events)
	if err := run(st); err != nil {
		return err
	}
	if len(t.Events) > largeValue {
		st.BindNull(10)
	}
	e.last = w.c.LastInsertRowID()
	if t.Number%markEvery == 0 {
		e.mark = e.last
	}
	e.NextTurn++
	return nil
}

// denseEnough is the largest part of the table that is read for the turns of a
// stretch, in rows. To step over the turns of other instances costs a twentieth
// of what it takes to find one.
const denseEnough = 16 * markEvery

// link is what leads from a turn to earlier ones.
type link struct{ turn, prev, mark int64 }

func readLink(c *conn, key provider.Key, pos int64) (l link, err error) {
	found, err := row(c.query(qHistoryLink, pos), func(st *sqlite.Stmt) {
		if provider.Key(st.ColumnInt64(0)) == key {
			l = link{st.ColumnInt64(1), st.ColumnInt64(2), st.ColumnInt64(3)}
		}
	})
	if err == nil && (!found || l.turn == 0) {
		err = brokenOff(key, pos)
	}
	return l, err
}

// marks knows where the marks are of histories that are being read page by
// page, so that not every page walks to them from the end. Positions stay right
// as long as there is an instance with the key.
type marks struct {
	mu sync.Mutex
	of map[provider.Key][]int64
}

// maxMarks bounds how many histories are known: those that nobody reads to the
// end any more make room for others.
const maxMarks = 64

// take returns the positions known, which are the caller's from then on.
func (m *marks) take(key provider.Key) []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	positions := m.of[key]
	delete(m.of, key)
	return positions
}

func (m *marks) keep(key provider.Key, positions []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.of) >= maxMarks {
		for other := range m.of {
			delete(m.of, other)
			break
		}
	}
	if m.of == nil {
		m.of = map[provider.Key][]int64{}
	}
	m.of[key] = positions
}

// findMarks returns the positions of the turns whose numbers are multiples of
// markEvery, in order. Those before the stretch numbered first, counted from
// zero, may be zero, except the one that it begins behind. known is what an
// earlier call returned for the same history, or nil.
func findMarks(c *conn, e *entry, first int, known []int64) ([]int64, error) {
	n, lowest := int((e.NextTurn-1)/markEvery), max(first-1, 0)
	positions := make([]int64, n, n+1) // and room for the last turn
	copy(positions, known)
	at := e.mark
	for i := n - 1; i >= lowest; i-- {
		if positions[i] == 0 {
			positions[i] = at
		}
		if i == lowest || positions[i-1] != 0 {
			continue
		}
		l, err := readLink(c, e.Key, positions[i])
		if err != nil {
			return nil, err
		}
		if l.turn != int64(i+1)*markEvery {
			return nil, brokenOff(e.Key, positions[i])
		}
		at = l.mark
	}
	return positions, nil
}

// readTurns passes the turns from number from on, in order, to yield, until it
// returns false. e must be of the same snapshot. Every turn is read once: the
// marks lead to the ends of stretches of markEvery turns. A stretch whose turns
// lie close together is read as a part of the table, any other from its end to
// its beginning.
func (s *Store) readTurns(c *conn, e *entry, from int64, yield func(provider.Turn) bool) error {
	from = max(from, 1)
	if from >= e.NextTurn {
		return nil
	}
	first := int((from - 1) / markEvery) // the stretch that from is in
	ends, err := findMarks(c, e, first, s.marks.take(e.Key))
	if err != nil {
		return err
	}
	n := len(ends)
	if e.last != e.mark {
		ends = append(ends, e.last)
	}
	var stretch []provider.Turn
	for i := first; i < len(ends); i++ {
		before := int64(0)
		if i > 0 {
			before = ends[i-1]
		}
		if stretch, err = readStretch(c, e.Key, from, before, ends[i], stretch[:0]); err != nil {
			return err
		}
		for k := range stretch {
			if !yield(stretch[k]) {
				s.marks.keep(e.Key, ends[:n])
				return nil
			}
		}
	}
	return nil
}

// readStretch appends the turns of a stretch from number from on. end is the
// position of its last turn, before that of the stretch before it, or zero.
func readStretch(c *conn, key provider.Key, from, before, end int64, turns []provider.Turn) ([]provider.Turn, error) {
	if before != 0 && end-before <= denseEnough {
		last := int64(0)
		err := rows(c.query(qHistoryStretch, before, end, int64(key)), func(st *sqlite.Stmt) bool {
			last = st.ColumnInt64(8)
			if st.ColumnInt64(1) >= from {
				turns = append(turns, scanTurn(st))
			}
			return true
		})
		if err != nil {
			return turns, err
		}
		for i := range turns {
			if n := turns[i].Number; n != turns[0].Number+int64(i) || i == 0 && n != from && (n-1)%markEvery != 0 {
				return turns, brokenOff(key, end)
			}
		}
		if last != end {
			return turns, brokenOff(key, end)
		}
		return turns, nil
	}
	for pos := end; pos != 0; {
		t, prev, err := readTurn(c, key, pos)
		if err != nil {
			return turns, err
		}
		turns = append(turns, t)
		if t.Number == from || (t.Number-1)%markEvery == 0 {
			break
		}
		pos = prev
	}
	slices.Reverse(turns)
	return turns, nil
}

// scanTurn takes a turn from a row of history.
func scanTurn(st *sqlite.Stmt) provider.Turn {
	return provider.Turn{Number: st.ColumnInt64(1), Execution: st.ColumnInt64(2), CommitID: st.ColumnInt64(3),
		Time: st.ColumnInt64(4), Deliveries: int(st.ColumnInt64(5)), Commands: int(st.ColumnInt64(6)),
		Events: columnBytes(st, 7)}
}

func brokenOff(key provider.Key, pos int64) error {
	return fmt.Errorf("%w: the history of instance %d breaks off at position %d", provider.ErrCorrupt, key, pos)
}

// readTurn reads the turn at a position, and the position of the one before.
func readTurn(c *conn, key provider.Key, pos int64) (t provider.Turn, prev int64, err error) {
	found, err := row(c.query(qHistoryGet, pos), func(st *sqlite.Stmt) {
		if provider.Key(st.ColumnInt64(0)) == key {
			t = scanTurn(st)
			prev = st.ColumnInt64(8)
		}
	})
	if err == nil && (!found || t.Number == 0) {
		err = brokenOff(key, pos)
	}
	return t, prev, err
}

// deleteHistory deletes all turns of an instance.
func (w *writer) deleteHistory(e *entry) error {
	for pos := e.last; pos != 0; {
		l, err := readLink(w.c, e.Key, pos)
		if err != nil {
			return err
		}
		if err := w.c.exec(qHistoryDelete, pos); err != nil {
			return err
		}
		pos = l.prev
	}
	return nil
}
