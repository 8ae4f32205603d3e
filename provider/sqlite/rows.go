package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// entry is a row of instances as the writer knows it. Requests change the
// entry; flush writes each changed entry once, however often it changed.
type entry struct {
	// CustomStatus, TurnFailure and Outcome are not kept here.
	provider.Instance
	def        int64 // number of Name and Version
	last, mark int64 // positions in history; see the schema
	tasks      int64
	extras     int64
	changed    change
	outcome    []byte // to be written with changedEnd
	start      []byte // the first message, while the first turn may still read it unwritten
}

// What is kept beside the row, see the schema.
const (
	hasNotes      = 1
	hasMessageIDs = 2
	hasValues     = 4
	hasReplies    = 8
	hasSessions   = 16 // rows in session_tasks
	hasBlobs      = 32
)

// change says which columns differ from the file, so that what is indexed is
// only written when it has to be.
type change uint8

const (
	changedTurn  change = 1 << iota // what every turn changes
	changedState                    // what decides claims, and what changes rarely
	changedOwner
	changedEnd
	changedDefinition
	made // the row does not exist yet
)

// touch notes that e has to be written.
func (w *writer) touch(e *entry, c change) {
	if e.changed == 0 {
		w.dirty = append(w.dirty, e)
	}
	e.changed |= c
}

// find returns the row that a target names, or nil.
func (w *writer) find(t provider.Target) (*entry, error) {
	key := t.Key
	if key == 0 {
		var err error
		if key, err = w.key(t.ID); err != nil || key == 0 {
			return nil, err
		}
	}
	e, err := w.entry(key)
	if err != nil || e == nil || t.ID != "" && e.ID != t.ID {
		return nil, err
	}
	return e, nil
}

// key returns the key of the instance that has the ID, or zero.
func (w *writer) key(id string) (provider.Key, error) {
	if key := w.byID[id]; key != 0 {
		return key, nil
	}
	return keyOf(w.c, id)
}

func keyOf(c *conn, id string) (key provider.Key, err error) {
	st := c.query(qInstanceKey)
	st.BindText(1, id)
	_, err = row(st, func(st *sqlite.Stmt) { key = provider.Key(st.ColumnInt64(0)) })
	return key, err
}

// blank returns an entry to be filled.
func (w *writer) blank() *entry {
	n := len(w.spare) - 1
	if n < 0 {
		return new(entry)
	}
	e := w.spare[n]
	w.spare = w.spare[:n]
	return e
}

// entry returns a row by its key, or nil.
func (w *writer) entry(key provider.Key) (*entry, error) {
	if e := w.cache[key]; e != nil {
		return e, nil
	}
	e, err := readEntry(w.c, w.s, key)
	if err == nil && e != nil {
		w.cache[key] = e
	}
	return e, err
}

// readEntry reads a row; nil if there is none.
func readEntry(c *conn, s *Store, key provider.Key) (*entry, error) {
	var e *entry
	_, err := row(c.query(qInstanceGet, int64(key)), func(st *sqlite.Stmt) {
		e = &entry{def: st.ColumnInt64(1), last: st.ColumnInt64(13), mark: st.ColumnInt64(14),
			tasks: st.ColumnInt64(15), extras: st.ColumnInt64(16)}
		e.Instance = provider.Instance{
			Key: key, Owner: provider.NodeKey(st.ColumnInt64(0)), WakeAt: st.ColumnInt64(2),
			Status: provider.Status(st.ColumnInt64(3)), Execution: st.ColumnInt64(4), NextTurn: st.ColumnInt64(5),
			HistoryFrom: st.ColumnInt64(6), MailboxSeq: st.ColumnInt64(7), ReadSeq: st.ColumnInt64(8),
			DueAt: st.ColumnInt64(9), NotBefore: st.ColumnInt64(10), Attempts: st.ColumnInt64(11),
			LastCommit: st.ColumnInt64(12), UpdatedAt: st.ColumnInt64(17), FailedAt: st.ColumnInt64(18),
			ClosedAt: st.ColumnInt64(19), CreatedAt: st.ColumnInt64(20), ID: st.ColumnText(24),
			Parent: provider.ParentLink{Key: provider.Key(st.ColumnInt64(21)), Execution: st.ColumnInt64(22),
				Command: st.ColumnInt64(23), ID: st.ColumnText(25)},
		}
	})
	if err != nil || e == nil {
		return nil, err
	}
	p, err := s.defs.pair(c, e.def)
	e.Name, e.Version = p.a, p.b
	return e, err
}

// readInstance reads everything known of an instance; found is false if there
// is none.
func readInstance(c *conn, s *Store, key provider.Key) (in provider.Instance, e *entry, err error) {
	if e, err = readEntry(c, s, key); err != nil || e == nil {
		return in, nil, err
	}
	in = e.Instance
	err = readNotes(c, e, &in)
	if err == nil && in.ClosedAt != 0 {
		_, err = row(c.query(qInstanceOutcome, int64(key)), func(st *sqlite.Stmt) { in.Outcome = columnBytes(st, 3) })
	}
	return in, e, err
}

// readNotes completes an instance with what is kept beside its row.
func readNotes(c *conn, e *entry, in *provider.Instance) error {
	if e.extras&hasNotes == 0 {
		return nil
	}
	_, err := row(c.query(qNotesGet, int64(e.Key)), func(st *sqlite.Stmt) {
		in.CustomStatus, in.CustomStatusTurn = columnBytes(st, 0), st.ColumnInt64(2)
		if in.FailedAt != 0 { // the text of a failure outlives it in the table
			in.TurnFailure = st.ColumnText(1)
		}
	})
	return err
}

// flush writes the rows that have changed. Queries that look for rows by
// anything but their key must come after it.
func (w *writer) flush() error {
	for _, e := range w.dirty {
		if err := w.write(e); err != nil {
			return err
		}
		e.changed = 0
		if (!e.Status.Open() || e.Owner == 0) && w.cache[e.Key] == e {
			delete(w.cache, e.Key) // nobody is working with it
			w.left = append(w.left, e)
		}
	}
	clear(w.dirty)
	w.dirty = w.dirty[:0]
	return nil
}

func (w *writer) write(e *entry) error {
	if e.changed&made != 0 {
		return w.insert(e)
	}
	if err := w.writeCursor(qCursorUpdate, e); err != nil {
		return err
	}
	if e.changed&changedDefinition != 0 {
		if err := w.c.exec(qInstanceDefinition, int64(e.Key), e.def); err != nil {
			return err
		}
	}
	var q statement
	args := 0
	switch {
	case e.changed&changedEnd != 0:
		q, args = qInstanceClose, 12
	case e.changed&changedOwner != 0:
		q, args = qInstanceOwner, 11
	case e.changed&changedState != 0:
		q, args = qInstanceState, 10
	default:
		return nil
	}
	st := w.c.query(q)
	columns := [...]int64{int64(e.Key), e.WakeAt, int64(e.Status), e.Execution, e.HistoryFrom, e.NotBefore,
		e.Attempts, e.tasks, e.extras, e.FailedAt, int64(e.Owner), e.ClosedAt}
	for i, v := range columns[:args] {
		st.BindInt64(i+1, v)
	}
	if q == qInstanceClose {
		bindBytes(st, 13, e.outcome)
	}
	return run(st)
}

// writeCursor writes what changes with every turn.
func (w *writer) writeCursor(q statement, e *entry) error {
	return run(w.c.query(q, int64(e.Key), e.NextTurn, e.MailboxSeq, e.ReadSeq, e.DueAt, e.LastCommit, e.last, e.mark, e.UpdatedAt))
}

func (w *writer) insert(e *entry) error {
	if err := w.writeCursor(qCursorInsert, e); err != nil {
		return err
	}
	st := w.c.query(qInstanceInsert, int64(e.Key), int64(e.Owner), e.def, e.WakeAt, int64(e.Status), e.Execution,
		e.HistoryFrom, e.NotBefore, e.Attempts, e.tasks, e.extras, e.FailedAt, e.ClosedAt, e.CreatedAt,
		int64(e.Parent.Key), e.Parent.Execution, e.Parent.Command)
	st.BindText(18, e.ID)
	bindText(st, 19, e.Parent.ID)
	bindBytes(st, 20, e.outcome)
	return run(st)
}

// wake recomputes WakeAt after a change of what decides it.
func (w *writer) wake(e *entry) {
	at := e.ComputeWakeAt(w.now)
	if e.Owner != 0 && at < provider.Never && e.WakeAt <= w.now {
		return // seen by its owner already: leave the index alone
	}
	if at != e.WakeAt {
		e.WakeAt = at
		w.touch(e, changedState)
	}
}
