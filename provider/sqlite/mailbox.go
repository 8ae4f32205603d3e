package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// Send implements [provider.Provider].
func (s *Store) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	results := make([]provider.SendResult, len(batch))
	r := request{n: len(batch)}
	for i := range batch {
		r.bytes += len(batch[i].Payload) + len(batch[i].Notify)
	}
	r.run = func(w *writer, i int) (err error) {
		results[i], err = w.send(&batch[i])
		return err
	}
	r.fail = func(i int, err error) { results[i] = provider.SendResult{Err: err} }
	if err := s.w.submit(ctx, "send", &r); err != nil {
		return nil, err
	}
	return results, nil
}

func (w *writer) send(m *provider.Message) (provider.SendResult, error) {
	e, err := w.find(m.To)
	switch {
	case err != nil:
		return provider.SendResult{}, err
	case e == nil:
		return provider.SendResult{Err: provider.ErrNotFound}, nil
	case !e.Status.Open():
		return provider.SendResult{Err: provider.ErrNotOpen, Key: e.Key}, nil
	case m.IfParent != 0 && e.Parent.Key != m.IfParent:
		return provider.SendResult{Key: e.Key}, nil
	case tooLarge(m.Payload, m.Notify):
		return provider.SendResult{Err: provider.ErrTooLarge, Key: e.Key}, nil
	case m.Terminate:
		return provider.SendResult{Key: e.Key}, w.terminate(e, m.Payload, m.Notify)
	}
	if m.ID != "" {
		if known, err := w.accept(e, m.ID); err != nil || known {
			return provider.SendResult{Key: e.Key, Owner: e.Owner}, err
		}
	}
	if m.Hasten && e.Hasten() { // put computes WakeAt
		w.touch(e, changedState)
	}
	if err := w.refer(e, m.Blobs); err != nil {
		return provider.SendResult{}, err
	}
	seq, err := w.put(e, &provider.Mail{Execution: m.Execution, Command: m.Command, Payload: m.Payload})
	return provider.SendResult{Key: e.Key, Seq: seq, Owner: e.Owner}, err
}

// accept notes the ID of a message, and reports whether the instance has
// accepted it before.
func (w *writer) accept(e *entry, id string) (known bool, err error) {
	if e.extras&hasMessageIDs != 0 {
		st := w.c.query(qMessageIdGet, int64(e.Key))
		st.BindText(2, id)
		if known, err = row(st, func(*sqlite.Stmt) {}); err != nil || known {
			return known, err
		}
	}
	st := w.c.query(qMessageIdInsert, int64(e.Key))
	st.BindText(2, id)
	if e.extras&hasMessageIDs == 0 {
		e.extras |= hasMessageIDs
		w.touch(e, changedState)
	}
	return false, run(st)
}

// put appends to the mailbox of an open instance: the next number, the
// message under it and the wake-up belong together.
func (w *writer) put(e *entry, m *provider.Mail) (int64, error) {
	e.MailboxSeq++
	w.touch(e, changedTurn)
	// Mail lowers WakeAt and never raises it: what has waited longest is
	// claimed first, however much arrives meanwhile.
	if at := e.ComputeWakeAt(w.now); at < e.WakeAt {
		e.WakeAt = at
		w.touch(e, changedState)
	}
	return e.MailboxSeq, w.writeMail(e, e.MailboxSeq, m)
}

func (w *writer) writeMail(e *entry, seq int64, m *provider.Mail) error {
	st := w.c.query(qMessageInsert, int64(e.Key), seq, m.Execution, m.Command, int64(m.Refused))
	return runWith(st, 6, m.Payload)
}

// terminate ends an open instance from outside and tells its parent.
func (w *writer) terminate(e *entry, outcome, notify []byte) error {
	if err := w.end(e, provider.Terminated, outcome, false); err != nil {
		return err
	}
	if e.Parent.Key == 0 || len(notify) == 0 {
		return nil
	}
	parent, err := w.entry(e.Parent.Key)
	if err != nil || parent == nil || !parent.Status.Open() {
		return err
	}
	_, err = w.put(parent, &provider.Mail{Execution: e.Parent.Execution, Command: e.Parent.Command, Payload: notify})
	return err
}
