package sqlite

import (
	"fmt"
	"sync"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// pair is two names that are stored as one number: the name and version of a
// definition, the name and pool of a kind of task.
type pair struct{ a, b string }

// dictionary remembers the numbers of pairs. A pair that has a number keeps
// it for ever, so what has been committed is true in every process.
type dictionary struct {
	get, name, insert statement

	mu   sync.RWMutex
	ids  map[pair]int64
	byID map[int64]pair
	// made are numbers given out by the writer's open transaction. Readers
	// cannot see them, and a rollback takes them back.
	made map[pair]int64
}

// maxNames bounds what is remembered, against programs that make up names.
const maxNames = 1 << 14

func newDictionary(get, name, insert statement) *dictionary {
	return &dictionary{get: get, name: name, insert: insert,
		ids: map[pair]int64{}, byID: map[int64]pair{}, made: map[pair]int64{}}
}

// find returns the number of a pair; zero if it has none.
func (d *dictionary) find(c *conn, p pair) (int64, error) {
	d.mu.RLock()
	id := d.ids[p]
	d.mu.RUnlock()
	if id != 0 {
		return id, nil
	}
	return d.lookup(c, p)
}

func (d *dictionary) lookup(c *conn, p pair) (id int64, err error) {
	st := c.query(d.get)
	st.BindText(1, p.a)
	st.BindText(2, p.b)
	_, err = row(st, func(st *sqlite.Stmt) { id = st.ColumnInt64(0) })
	if err == nil && id != 0 {
		d.remember(c, p, id)
	}
	return id, err
}

// remember keeps what a reader found. What the writer's connection sees may
// not have been committed.
func (d *dictionary) remember(c *conn, p pair, id int64) {
	if !c.reader {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(p, id)
}

func (d *dictionary) add(p pair, id int64) {
	if len(d.ids) > maxNames {
		clear(d.ids)
		clear(d.byID)
	}
	d.ids[p], d.byID[id] = id, p
}

// number returns the number of a pair, giving it one if needed. Only the
// writer may call it.
func (d *dictionary) number(c *conn, p pair) (int64, error) {
	d.mu.RLock()
	id := d.ids[p]
	d.mu.RUnlock()
	if id != 0 {
		return id, nil
	}
	if id := d.made[p]; id != 0 {
		return id, nil
	}
	id, err := d.lookup(c, p)
	if err != nil {
		return 0, err
	}
	if id == 0 {
		st := c.query(d.insert)
		st.BindText(1, p.a)
		st.BindText(2, p.b)
		if err := run(st); err != nil {
			return 0, err
		}
		id = c.LastInsertRowID()
	}
	d.made[p] = id
	return id, nil
}

// pair returns the names behind a number. made is consulted by nobody: the
// writer knows the names of what it makes.
func (d *dictionary) pair(c *conn, id int64) (pair, error) {
	d.mu.RLock()
	p, ok := d.byID[id]
	d.mu.RUnlock()
	if ok {
		return p, nil
	}
	ok, err := row(c.query(d.name, id), func(st *sqlite.Stmt) { p = pair{st.ColumnText(0), st.ColumnText(1)} })
	if err != nil {
		return p, err
	}
	if !ok {
		return p, fmt.Errorf("%w: %s: no row %d", provider.ErrCorrupt, names[d.name], id)
	}
	d.remember(c, p, id)
	return p, nil
}

// commit makes the numbers given out by the writer known to all.
func (d *dictionary) commit() {
	if len(d.made) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for p, id := range d.made {
		d.add(p, id)
	}
	clear(d.made)
}

func (d *dictionary) rollback() { clear(d.made) }
