package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/provider"
)

// Commit implements [provider.Provider].
func (s *Store) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	if node == 0 {
		if err := s.ready(ctx, "commit"); err != nil {
			return nil, err
		}
		return nil, s.nodeGone("commit", node)
	}
	results := make([]provider.CommitResult, len(batch))
	r := request{n: len(batch), node: node}
	for i := range batch {
		r.bytes += batch[i].Size()
	}
	r.needs = func(n *needs, i int) { n.commit(&batch[i]) }
	r.run = func(t *txn, i int) { results[i] = t.commit(node, &batch[i]) }
	r.fail = func(i int, err error) { results[i] = provider.CommitResult{Err: err} }
	if s.isLocal(node) && s.settled.plain(batch) {
		r.plain = batch
		r.applied = func(i int) { results[i] = provider.CommitResult{MailboxSeq: batch[i].ReadSeq} }
	}
	if err := s.submit(ctx, "commit", &r); err != nil {
		return nil, err
	}
	return results, nil
}

// commit applies one item, or nothing of it.
func (t *txn) commit(node provider.NodeKey, c *provider.Commit) provider.CommitResult {
	e := t.entries[c.Key]
	if e == nil {
		return provider.CommitResult{Err: provider.ErrNotFound}
	}
	if c.CommitID != 0 && e.LastCommit == c.CommitID {
		return provider.CommitResult{MailboxSeq: e.MailboxSeq} // applied before
	}
	if e.Owner != node || e.NextTurn != c.Expect {
		return provider.CommitResult{Err: provider.ErrConflict}
	}
	if err := t.check(e, c); err != nil {
		return provider.CommitResult{Err: err}
	}

	// What the turn asked for belongs to the execution it was a turn of, even
	// if the turn began the next one.
	execution := e.Execution
	t.apply(e, c)
	if e.Execution != execution {
		// What the turn that ended the execution asked for never starts.
		t.dropTasks(e)
	} else {
		t.changeTasks(e, c)
	}
	if !c.Status.Open() {
		t.end(e, c.Status, c.Outcome, c.DeadLetter())
	}
	result := provider.CommitResult{Children: t.createChildren(node, e, execution, c)}
	result.Sent = t.sendMessages(e, execution, c)
	result.MailboxSeq = e.MailboxSeq
	return result
}

// check finds what makes a commit impossible to apply.
func (t *txn) check(e *entry, c *provider.Commit) error {
	invalid := func(what string) error {
		return fmt.Errorf("%w: commit of %s: %s", provider.ErrInvalid, e.ID, what)
	}
	if err := c.Check(&e.Instance); err != nil {
		return err
	}
	if !validOrEmpty(c.Name) || !validOrEmpty(c.Version) {
		return invalid("a name that cannot be stored")
	}
	for i := range c.Tasks {
		if k := &c.Tasks[i]; !validOrEmpty(k.Name) || !validOrEmpty(k.Pool) || !validOrEmpty(k.Session) {
			return invalid("the name of a task that cannot be stored")
		}
	}
	for i := range c.Values {
		if !validOrEmpty(c.Values[i].Name) {
			return invalid("the name of a value that cannot be stored")
		}
	}
	for i := range c.Replies {
		if !validOrEmpty(c.Replies[i].ID) {
			return invalid("the ID of a reply that cannot be stored")
		}
	}
	for i := range c.Children {
		child := &c.Children[i]
		if t.byID[child.ID] == nil && t.entries[child.Key] != nil {
			return fmt.Errorf("%w: key of the child %s", provider.ErrAlreadyExists, child.ID)
		}
	}
	large := c.Turn != nil && len(c.Turn.Events) > maxTurnSize()
	for payload := range c.Payloads {
		large = large || tooLarge(payload)
	}
	if large {
		return fmt.Errorf("%w: commit of %s", provider.ErrTooLarge, e.ID)
	}
	return nil
}

// apply changes the instance's row, adds the turn and consumes mail.
func (t *txn) apply(e *entry, c *provider.Commit) {
	changed := changedTurn
	if t.charge(e, c) {
		changed = changedState
	}
	if c.Turn != nil {
		e.turns = append(e.turns, *c.Turn)
		e.NextTurn++
	}
	e.readMail(c.ReadSeq)
	e.blobs = append(e.blobs, c.Blobs...)
	if c.Name != e.Name || c.Version != e.Version {
		e.Name, e.Version = c.Name, c.Version
		t.define(e)
		changed = changedState
	}
	if c.Status != e.Status || c.Execution != e.Execution || c.HistoryFrom != e.HistoryFrom {
		e.Status, e.Execution, e.HistoryFrom = c.Status, c.Execution, c.HistoryFrom
		changed = changedState
	}
	if t.publish(e, c) {
		changed = changedState
	}
	if c.Release || !c.Status.Runnable() {
		e.Owner = 0
		changed = changedState
	}
	e.DueAt, e.LastCommit, e.UpdatedAt = c.DueAt, c.CommitID, t.now
	t.touch(e, changed)
	t.wake(e)
	if e.Owner == 0 && e.WakeAt < provider.Never {
		t.loud = true
	}
}

// charge settles the attempt that the claim counted, and reports whether it
// changed anything: progress and a clean release clear it, a failure keeps it.
func (t *txn) charge(e *entry, c *provider.Commit) bool {
	switch {
	case c.Turn != nil:
		if e.Attempts|e.NotBefore|e.FailedAt == 0 {
			return false
		}
		e.Attempts, e.NotBefore, e.FailedAt = 0, 0, 0
	case c.Failure != "":
		e.failure, e.FailedAt = []byte(c.Failure), t.now
		e.NotBefore = c.NotBefore
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

// publish stores what a commit shows to others, and reports whether the row
// changed.
func (t *txn) publish(e *entry, c *provider.Commit) bool {
	e.values = append(e.values, c.Values...)
	if c.DropReplies > t.now {
		e.replies = nil
	}
	e.dropReplies = max(e.dropReplies, c.DropReplies)
	e.replies = append(e.replies, c.Replies...)
	if len(c.Replies)+len(c.Values) > 0 || c.CustomStatus != nil {
		t.loud = true
	}
	if c.CustomStatus == nil {
		return false
	}
	e.CustomStatus, e.CustomStatusTurn = c.CustomStatus, c.Expect
	return true
}

func (t *txn) createChildren(node provider.NodeKey, e *entry, execution int64, c *provider.Commit) []provider.CreateResult {
	if len(c.Children) == 0 {
		return nil
	}
	results := make([]provider.CreateResult, len(c.Children))
	for i := range c.Children {
		child := &c.Children[i]
		results[i] = t.create(node, child)
		if errors.Is(results[i].Err, provider.ErrAlreadyExists) {
			t.refuse(e, provider.Mail{
				Execution: execution, Command: child.Command, Refused: provider.RefusedTaken, Payload: child.Refusal,
			})
		}
	}
	return results
}

func (t *txn) sendMessages(e *entry, execution int64, c *provider.Commit) []provider.SendResult {
	if len(c.Messages) == 0 {
		return nil
	}
	results := make([]provider.SendResult, len(c.Messages))
	for i := range c.Messages {
		m := &c.Messages[i]
		results[i] = t.send(m)
		answer := provider.Mail{Execution: execution, Command: m.FromCommand, Payload: m.Refusal}
		switch {
		case errors.Is(results[i].Err, provider.ErrNotFound):
			answer.Refused = provider.RefusedNotFound
		case errors.Is(results[i].Err, provider.ErrNotOpen):
			answer.Refused = provider.RefusedNotOpen
		}
		if answer.Refused != provider.NotRefused {
			t.refuse(e, answer)
		}
	}
	return results
}

// refuse tells a committing instance, in its receiver's place, that a command
// could not be carried out: in the same transaction, so that neither the
// command nor the answer can be lost alone. Who has ended is told nothing.
func (t *txn) refuse(e *entry, m provider.Mail) {
	if len(m.Payload) == 0 || !e.Status.Open() {
		return
	}
	t.put(e, m)
}
