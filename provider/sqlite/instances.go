package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// Create implements [provider.Provider].
func (s *Store) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	results := make([]provider.CreateResult, len(batch))
	owned := false
	r := request{n: len(batch)}
	for i := range batch {
		r.bytes += len(batch[i].Start) + len(batch[i].ID)
		for k := range batch[i].With {
			r.bytes += 200 + len(batch[i].With[k].Payload)
		}
		owned = owned || batch[i].Owned
	}
	var gone error
	r.run = func(w *writer, i int) (err error) {
		if owned {
			if gone, err = w.member(node, "create"); err != nil || gone != nil {
				return err
			}
		}
		if results[i], err = w.createOne(node, &batch[i]); err == nil {
			err = w.sendWith(&results[i], batch[i].With)
		}
		return err
	}
	r.fail = func(i int, err error) { results[i] = provider.CreateResult{Err: err} }
	if err := s.w.submit(ctx, "create", &r); err != nil {
		return nil, err
	}
	if gone != nil {
		return nil, gone
	}
	return results, nil
}

// createOne makes an instance and writes its first turn, if it brings one.
func (w *writer) createOne(node provider.NodeKey, n *provider.NewInstance) (provider.CreateResult, error) {
	if n.First == nil {
		return w.create(node, n)
	}
	if !n.Owned {
		return provider.CreateResult{Err: fmt.Errorf("%w: a first turn of %s, which the node does not own", provider.ErrInvalid, n.ID)}, nil
	}
	result, err := w.create(node, n)
	if err != nil || result.Err != nil {
		return result, err
	}
	if result.First, err = w.commit(node, n.First); err != nil {
		return result, err
	}
	// A start that its own turn has read was never worth a row.
	if e := w.cache[n.Key]; e != nil && e.start != nil {
		start := e.start
		e.start = nil
		if e.ReadSeq == 0 {
			err = w.writeMail(e, 1, &provider.Mail{Payload: start})
		}
	}
	return result, err
}

// sendWith sends messages to whatever instance has the ID that was to be
// created.
func (w *writer) sendWith(result *provider.CreateResult, with []provider.Message) error {
	taken := errors.Is(result.Err, provider.ErrAlreadyExists) && result.Key != 0
	if len(with) == 0 || result.Err != nil && !taken {
		return nil
	}
	result.Sent = make([]provider.SendResult, len(with))
	for i := range with {
		m := with[i]
		m.To = provider.Target{Key: result.Key}
		var err error
		if result.Sent[i], err = w.send(&m); err != nil {
			return err
		}
	}
	return nil
}

// create makes an instance with its first message.
func (w *writer) create(node provider.NodeKey, n *provider.NewInstance) (provider.CreateResult, error) {
	if n.Key == 0 || n.ID == "" {
		return provider.CreateResult{Err: fmt.Errorf("%w: an instance needs a key and an ID", provider.ErrInvalid)}, nil
	}
	taken, err := w.key(n.ID)
	switch {
	case err != nil:
		return provider.CreateResult{}, err
	case taken == n.Key:
		return provider.CreateResult{Key: n.Key}, nil // an earlier attempt made it
	case taken != 0:
		return provider.CreateResult{Err: provider.ErrAlreadyExists, Key: taken}, nil
	case tooLarge(n.Start):
		return provider.CreateResult{Err: provider.ErrTooLarge}, nil
	}
	if e, err := w.entry(n.Key); err != nil || e != nil {
		// Two processes made the same key. Nobody has the ID, hence no Key.
		return provider.CreateResult{Err: provider.ErrAlreadyExists}, err
	}
	def, err := w.s.defs.number(w.c, pair{n.Name, n.Version})
	if err != nil {
		return provider.CreateResult{}, err
	}
	e := w.blank()
	*e = entry{def: def, Instance: provider.Instance{
		Key: n.Key, ID: n.ID, Name: n.Name, Version: n.Version,
		Status: provider.Pending, Execution: 1, NextTurn: 1, HistoryFrom: 1,
		NotBefore: n.NotBefore, WakeAt: provider.Never, Parent: n.Parent,
		CreatedAt: w.now, UpdatedAt: w.now,
	}}
	if n.Owned {
		e.Owner, e.Attempts = node, 1
	}
	w.cache[e.Key] = e
	w.byID[e.ID] = e.Key
	w.touch(e, made)
	if err := w.refer(e, n.Blobs); err != nil {
		return provider.CreateResult{}, err
	}
	if n.First != nil {
		e.MailboxSeq, e.start = 1, n.Start
		w.wake(e)
		return provider.CreateResult{Key: e.Key}, nil
	}
	_, err = w.put(e, &provider.Mail{Payload: n.Start})
	return provider.CreateResult{Key: e.Key}, err
}

// Outcomes implements [provider.Provider].
func (s *Store) Outcomes(ctx context.Context, targets []provider.Target) ([]provider.Outcome, error) {
	outcomes := make([]provider.Outcome, len(targets))
	var closed int64 // when the last of them was
	err := s.read(ctx, "outcomes", func(c *conn) error {
		for i, t := range targets {
			key, err := targetKey(c, t)
			if err != nil {
				return err
			}
			o := provider.Outcome{}
			_, err = row(c.query(qInstanceOutcome, int64(key)), func(st *sqlite.Stmt) {
				if t.Key != 0 && t.ID != "" && st.ColumnText(0) != t.ID {
					return
				}
				closed = max(closed, st.ColumnInt64(4))
				o = provider.Outcome{Key: key, Status: provider.Status(st.ColumnInt64(1)),
					Owner: provider.NodeKey(st.ColumnInt64(2)), Payload: columnBytes(st, 3)}
			})
			if err != nil {
				return err
			}
			outcomes[i] = o
		}
		return nil
	})
	if err == nil && s.flusher != nil && closed > 0 && !s.flusher.covers(closed) {
		err = s.settle("outcomes")
	}
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

// targetKey returns the key that a target stands for, zero if there is none.
// That the instance has both key and ID is left to the caller.
func targetKey(c *conn, t provider.Target) (provider.Key, error) {
	if t.Key != 0 {
		return t.Key, nil
	}
	return keyOf(c, t.ID)
}

// end closes an instance. Its history, outcome and custom status stay; what
// nobody is going to read goes. A dead letter keeps its mail.
func (w *writer) end(e *entry, status provider.Status, outcome []byte, deadLetter bool) error {
	if !deadLetter {
		if err := w.dropMail(e); err != nil {
			return err
		}
	}
	if err := w.clearTasks(e); err != nil {
		return err
	}
	e.Status, e.outcome, e.ClosedAt, e.UpdatedAt = status, outcome, w.now, w.now
	e.Owner = 0
	w.touch(e, changedEnd)
	w.wake(e)
	return nil
}

func (w *writer) dropMail(e *entry) error {
	if e.MailboxSeq > e.ReadSeq {
		if err := w.c.exec(qMessageConsume, int64(e.Key), e.MailboxSeq); err != nil {
			return err
		}
	}
	if e.extras&hasMessageIDs != 0 {
		if err := w.c.exec(qMessageIdDelete, int64(e.Key)); err != nil {
			return err
		}
		e.extras &^= hasMessageIDs
	}
	e.ReadSeq = e.MailboxSeq
	return nil
}

func tooLarge(payloads ...[]byte) bool {
	for _, p := range payloads {
		if len(p) > maxEventSize {
			return true
		}
	}
	return false
}
