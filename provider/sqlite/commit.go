package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/provider"
)

// Commit implements [provider.Provider].
func (s *Store) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	return s.CommitAhead(ctx, node, batch, nil)
}

// CommitAhead implements [provider.Pipeliner].
func (s *Store) CommitAhead(ctx context.Context, node provider.NodeKey, batch []provider.Commit, next func()) ([]provider.CommitResult, error) {
	results := make([]provider.CommitResult, len(batch))
	r := request{n: len(batch), written: next}
	for i := range batch {
		r.bytes += batch[i].Size()
	}
	var gone error
	r.run = func(w *writer, i int) (err error) {
		if gone, err = w.member(node, "commit"); err != nil || gone != nil {
			return err
		}
		results[i], err = w.commit(node, &batch[i])
		return err
	}
	r.fail = func(i int, err error) { results[i] = provider.CommitResult{Err: err} }
	if err := s.w.submit(ctx, "commit", &r); err != nil {
		return nil, err
	}
	if gone != nil {
		return nil, gone
	}
	return results, nil
}

// commit applies one item, or nothing of it.
func (w *writer) commit(node provider.NodeKey, c *provider.Commit) (result provider.CommitResult, err error) {
	e, err := w.entry(c.Key)
	switch {
	case err != nil:
		return result, err
	case e == nil:
		result.Err = provider.ErrNotFound
		return result, nil
	case c.CommitID != 0 && e.LastCommit == c.CommitID:
		result.MailboxSeq = e.MailboxSeq // applied before
		return result, nil
	case e.Owner != node || e.NextTurn != c.Expect:
		result.Err = provider.ErrConflict
		return result, nil
	}
	if result.Err, err = w.check(e, c); err != nil || result.Err != nil {
		return result, err
	}

	// What the turn asked for belongs to the execution it was a turn of, even
	// if the turn began the next one.
	execution := e.Execution
	if err := w.apply(e, c); err != nil {
		return result, err
	}
	if err := w.publish(e, c); err != nil {
		return result, err
	}
	if err := w.refer(e, c.Blobs); err != nil {
		return result, err
	}
	if err := w.changeTasks(e, execution, c); err != nil {
		return result, err
	}
	if !c.Status.Open() {
		if err := w.end(e, c.Status, c.Outcome, c.DeadLetter()); err != nil {
			return result, err
		}
	}
	if len(c.Children) > 0 {
		if result.Children, err = w.createChildren(node, e, execution, c.Children); err != nil {
			return result, err
		}
	}
	if len(c.Messages) > 0 {
		if result.Sent, err = w.sendMessages(e, execution, c.Messages); err != nil {
			return result, err
		}
	}
	if c.Turn != nil {
		w.commits++
	}
	result.MailboxSeq = e.MailboxSeq
	return result, nil
}

// check finds what makes a commit impossible to apply.
func (w *writer) check(e *entry, c *provider.Commit) (invalid, err error) {
	if err := c.Check(&e.Instance); err != nil {
		return err, nil
	}
	large := c.Turn != nil && len(c.Turn.Events) > maxTurnSize()
	for payload := range c.Payloads {
		large = large || tooLarge(payload)
	}
	if large {
		return fmt.Errorf("%w: commit of %s", provider.ErrTooLarge, e.ID), nil
	}
	return w.checkChildren(c)
}

// checkChildren finds children whose key was made by two processes at once:
// the commit has to be repeated with another.
func (w *writer) checkChildren(c *provider.Commit) (invalid, err error) {
	for i := range c.Children {
		child := &c.Children[i]
		holder, err := w.entry(child.Key)
		if err != nil {
			return nil, err
		}
		if holder == nil || holder.ID == child.ID {
			continue
		}
		taken, err := w.key(child.ID)
		if err != nil {
			return nil, err
		}
		if taken == 0 {
			return fmt.Errorf("%w: key of the child %s", provider.ErrAlreadyExists, child.ID), nil
		}
	}
	return nil, nil
}

// apply changes the instance's row, adds the turn and consumes mail.
func (w *writer) apply(e *entry, c *provider.Commit) error {
	changed := changedTurn
	if c.Turn != nil {
		if err := w.addTurn(e, c); err != nil {
			return err
		}
	}
	if c.ReadSeq > e.ReadSeq {
		if e.start == nil { // else no row has been written yet
			if err := w.c.exec(qMessageConsume, int64(e.Key), c.ReadSeq); err != nil {
				return err
			}
		}
		e.ReadSeq = c.ReadSeq
	}
	if charge(e, w.now, c) {
		changed |= changedState
	}
	if c.Failure != "" && c.Turn == nil {
		if err := w.noteFailure(e, c.Failure); err != nil {
			return err
		}
	}
	if c.Name != e.Name || c.Version != e.Version {
		def, err := w.s.defs.number(w.c, pair{c.Name, c.Version})
		if err != nil {
			return err
		}
		e.def, e.Name, e.Version = def, c.Name, c.Version
		changed |= changedDefinition
	}
	if c.Status != e.Status || c.Execution != e.Execution || c.HistoryFrom != e.HistoryFrom {
		e.Status, e.Execution, e.HistoryFrom = c.Status, c.Execution, c.HistoryFrom
		changed |= changedState
	}
	if c.Release || !c.Status.Runnable() {
		e.Owner = 0
		changed |= changedOwner
	}
	e.DueAt, e.LastCommit, e.UpdatedAt = c.DueAt, c.CommitID, w.now
	w.touch(e, changed)
	w.wake(e)
	return nil
}

// noteFailure stores the text of a failure, whose time is in the row.
func (w *writer) noteFailure(e *entry, text string) error {
	st := w.c.query(qNotesFailure, int64(e.Key))
	st.BindText(2, text)
	if err := run(st); err != nil {
		return err
	}
	e.extras |= hasNotes
	return nil
}

// charge settles the attempt that the claim counted, and reports whether it
// changed anything: progress and a clean release clear it, a failure keeps it.
func charge(e *entry, now int64, c *provider.Commit) bool {
	switch {
	case c.Turn != nil:
		if e.Attempts|e.NotBefore|e.FailedAt == 0 {
			return false
		}
		e.Attempts, e.NotBefore, e.FailedAt = 0, 0, 0
	case c.Failure != "":
		e.FailedAt, e.NotBefore = now, c.NotBefore
		if c.Charge {
			e.Attempts++
		}
	case c.Release:
		e.Attempts = 0
	default:
		return false
	}
	return true
}

func (w *writer) createChildren(node provider.NodeKey, e *entry, execution int64, children []provider.NewInstance) ([]provider.CreateResult, error) {
	results := make([]provider.CreateResult, len(children))
	for i := range children {
		child := &children[i]
		var err error
		if results[i], err = w.create(node, child); err != nil {
			return nil, err
		}
		if results[i].Err != nil && errors.Is(results[i].Err, provider.ErrAlreadyExists) {
			err = w.refuse(e, &provider.Mail{
				Execution: execution, Command: child.Command, Refused: provider.RefusedTaken, Payload: child.Refusal,
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

func (w *writer) sendMessages(e *entry, execution int64, messages []provider.Message) ([]provider.SendResult, error) {
	results := make([]provider.SendResult, len(messages))
	for i := range messages {
		m := &messages[i]
		var err error
		if results[i], err = w.send(m); err != nil {
			return nil, err
		}
		answer := provider.Mail{Execution: execution, Command: m.FromCommand, Payload: m.Refusal}
		switch results[i].Err {
		case nil:
			continue
		case provider.ErrNotFound:
			answer.Refused = provider.RefusedNotFound
		case provider.ErrNotOpen:
			answer.Refused = provider.RefusedNotOpen
		default:
			continue
		}
		if err := w.refuse(e, &answer); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// refuse tells a committing instance, in its receiver's place, that a command
// could not be carried out: in the same transaction, so that neither the
// command nor the answer can be lost alone. Who has ended is told nothing.
func (w *writer) refuse(e *entry, m *provider.Mail) error {
	if len(m.Payload) == 0 || !e.Status.Open() {
		return nil
	}
	_, err := w.put(e, m)
	return err
}
