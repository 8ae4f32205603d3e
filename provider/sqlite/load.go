package sqlite

import (
	"cmp"
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// defaultLoadBytes bounds a reply that asks for no bound.
const defaultLoadBytes = 16 << 20

// Load implements [provider.Provider]. Each instance is read from one
// snapshot, so the order in which tasks and mail are read does not matter.
func (s *Store) Load(ctx context.Context, batch []provider.LoadRequest) ([]provider.Loaded, error) {
	loaded := make([]provider.Loaded, len(batch))
	err := s.read(ctx, "load", func(c *conn) error {
		for i := range batch {
			var err error
			if loaded[i], err = s.load(c, &batch[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return loaded, nil
}

// bounds counts what a reply carries. The first of each kind always fits.
type bounds struct{ bytes, maxBytes int }

func (b *bounds) admit(have, limit, next int) bool {
	if have > 0 && (limit > 0 && have >= limit || b.bytes+next > b.maxBytes) {
		return false
	}
	b.bytes += next
	return true
}

func (s *Store) load(c *conn, req *provider.LoadRequest) (l provider.Loaded, err error) {
	in, e, err := readInstance(c, s, req.Key)
	if err != nil {
		return l, err
	}
	if e == nil {
		l.Err = provider.ErrNotFound
		return l, nil
	}
	l.Instance = in
	b := bounds{maxBytes: cmp.Or(req.MaxBytes, defaultLoadBytes)}
	if err := s.loadTurns(c, e, req, &b, &l); err != nil {
		return l, err
	}
	if e.tasks > 0 {
		err := rows(c.query(qTaskCommands, int64(e.Key), e.Execution), func(st *sqlite.Stmt) bool {
			l.Tasks = append(l.Tasks, st.ColumnInt64(0))
			return true
		})
		if err != nil {
			return l, err
		}
	}
	if e.Unread() {
		err = loadMail(c, e, req, &b, &l)
	}
	return l, err
}

func (s *Store) loadTurns(c *conn, e *entry, req *provider.LoadRequest, b *bounds, l *provider.Loaded) error {
	return s.readTurns(c, e, cmp.Or(req.FromTurn, e.HistoryFrom), func(t provider.Turn) bool {
		if !b.admit(len(l.Turns), req.MaxTurns, len(t.Events)) {
			l.MoreTurns = true
			return false
		}
		l.Turns = append(l.Turns, t)
		return true
	})
}

func loadMail(c *conn, e *entry, req *provider.LoadRequest, b *bounds, l *provider.Loaded) error {
	err := rows(c.query(qMessageList, int64(e.Key), max(req.AfterMail, e.ReadSeq)), func(st *sqlite.Stmt) bool {
		if !b.admit(len(l.Mail), req.MaxMail, st.ColumnLen(4)) {
			l.MoreMail = true
			return false
		}
		l.Mail = append(l.Mail, scanMail(st))
		return true
	})
	if err != nil {
		return err
	}
	// Over the whole mailbox, not only what this reply carries: a completion
	// beyond the window must keep its task from being dispatched again.
	return rows(c.query(qMessageAnswers, int64(e.Key), e.ReadSeq, e.Execution), func(st *sqlite.Stmt) bool {
		l.Answered = append(l.Answered, st.ColumnInt64(0))
		return true
	})
}

func scanMail(st *sqlite.Stmt) provider.Mail {
	return provider.Mail{Seq: st.ColumnInt64(0), Execution: st.ColumnInt64(1), Command: st.ColumnInt64(2),
		Refused: provider.Refusal(st.ColumnInt64(3)), Payload: columnBytes(st, 4)}
}
