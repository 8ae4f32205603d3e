package sqlite

import (
	"context"
	"fmt"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// publish stores what a commit shows to others: the custom status, values,
// replies.
func (w *writer) publish(e *entry, c *provider.Commit) error {
	if c.CustomStatus != nil {
		st := w.c.query(qNotesStatus, int64(e.Key), c.Expect)
		if err := runWith(st, 3, c.CustomStatus); err != nil {
			return err
		}
		w.mark(e, hasNotes)
	}
	for i := range c.Values {
		if err := w.setValue(e, &c.Values[i]); err != nil {
			return err
		}
	}
	if c.DropReplies != 0 && e.extras&hasReplies != 0 {
		if err := w.c.exec(qReplyDrop, int64(e.Key), c.DropReplies); err != nil {
			return err
		}
	}
	for i := range c.Replies {
		r := &c.Replies[i]
		st := w.c.query(qReplyInsert, int64(e.Key), w.now)
		st.BindText(4, r.ID)
		if err := runWith(st, 3, r.Payload); err != nil {
			return err
		}
		w.mark(e, hasReplies)
	}
	return nil
}

func (w *writer) setValue(e *entry, v *provider.Value) error {
	if v.Payload == nil {
		if e.extras&hasValues == 0 {
			return nil
		}
		st := w.c.query(qValueRemove, int64(e.Key))
		st.BindText(2, v.Name)
		return run(st)
	}
	st := w.c.query(qValueSet, int64(e.Key))
	st.BindText(3, v.Name)
	w.mark(e, hasValues)
	return runWith(st, 2, v.Payload)
}

// mark notes that e has, or may have, rows in another table.
func (w *writer) mark(e *entry, extra int64) {
	if e.extras&extra == 0 {
		e.extras |= extra
		w.touch(e, changedState)
	}
}

// runWith binds a payload and executes the statement.
func runWith(st *sqlite.Stmt, param int, payload []byte) error {
	bindBytes(st, param, payload)
	err := run(st)
	if len(payload) > largeValue {
		st.BindNull(param)
	}
	return err
}

// Lookup implements [provider.Provider].
func (s *Store) Lookup(ctx context.Context, batch []provider.Lookup) ([]provider.Finding, error) {
	found := make([]provider.Finding, len(batch))
	err := s.read(ctx, "lookup", func(c *conn) error {
		for i := range batch {
			var err error
			if found[i], err = lookup(c, &batch[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && slices.ContainsFunc(found, func(f provider.Finding) bool { return f.Found }) {
		err = s.settle("lookup")
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

func lookup(c *conn, l *provider.Lookup) (provider.Finding, error) {
	key, err := targetKey(c, l.To)
	if err != nil {
		return provider.Finding{}, err
	}
	f := provider.Finding{Err: provider.ErrNotFound}
	var extras int64
	_, err = row(c.query(qInstanceStatus, int64(key)), func(st *sqlite.Stmt) {
		if l.To.ID == "" || st.ColumnText(0) == l.To.ID {
			f, extras = provider.Finding{Key: key, Status: provider.Status(st.ColumnInt64(1))}, st.ColumnInt64(2)
		}
	})
	if err != nil || f.Err != nil {
		return f, err
	}
	switch l.Kind {
	case provider.LookupStatus:
		if extras&hasNotes == 0 {
			return f, nil
		}
		_, err = row(c.query(qNotesGet, int64(key)), func(st *sqlite.Stmt) {
			if f.Turn = st.ColumnInt64(2); f.Turn != 0 {
				f.Found, f.Payload = true, columnBytes(st, 0)
			}
		})
	case provider.LookupValue:
		if extras&hasValues != 0 {
			err = lookupNamed(c, qValueGet, l.Name, &f)
		}
	case provider.LookupReply:
		if extras&hasReplies != 0 {
			err = lookupNamed(c, qReplyGet, l.Name, &f)
		}
	default:
		f.Err = fmt.Errorf("%w: lookup of kind %d", provider.ErrInvalid, l.Kind)
	}
	return f, err
}

func lookupNamed(c *conn, q statement, name string, f *provider.Finding) (err error) {
	st := c.query(q, int64(f.Key))
	st.BindText(2, name)
	f.Found, err = row(st, func(st *sqlite.Stmt) { f.Payload = columnBytes(st, 0) })
	return err
}

// Values implements [provider.Inspector].
func (s *Store) Values(ctx context.Context, k provider.Key) ([]provider.Value, error) {
	var values []provider.Value
	err := s.readOut(ctx, "values", func(c *conn) error {
		values = nil
		return rows(c.query(qValueList, int64(k)), func(st *sqlite.Stmt) bool {
			values = append(values, provider.Value{Name: st.ColumnText(0), Payload: columnBytes(st, 1)})
			return true
		})
	})
	return values, err
}
