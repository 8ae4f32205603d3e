package memory

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/provider"
)

// Commit implements [provider.Provider].
func (s *Store) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	now, err := s.begin(ctx, "commit")
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if err := s.alive(node, "commit"); err != nil {
		return nil, err
	}
	results := make([]provider.CommitResult, len(batch))
	for i := range batch {
		results[i] = s.commit(now, node, &batch[i])
	}
	return results, nil
}

// commit applies one item, or nothing of it.
func (s *Store) commit(now int64, node provider.NodeKey, c *provider.Commit) provider.CommitResult {
	in := s.instances[c.Key]
	if in == nil {
		return provider.CommitResult{Err: provider.ErrNotFound}
	}
	row := &in.row
	if c.CommitID != 0 && row.LastCommit == c.CommitID {
		return provider.CommitResult{MailboxSeq: row.MailboxSeq} // applied before
	}
	if row.Owner != node || row.NextTurn != c.Expect {
		return provider.CommitResult{Err: provider.ErrConflict}
	}
	if err := s.check(in, c); err != nil {
		return provider.CommitResult{Err: err}
	}

	// What the turn asked for belongs to the execution it was a turn of, even
	// if the turn began the next one.
	execution := row.Execution
	row.LastCommit, row.UpdatedAt = c.CommitID, now
	s.charge(in, now, c)
	if c.Turn != nil {
		t := *c.Turn
		t.Events = keep(t.Events)
		in.turns = append(in.turns, t)
		row.NextTurn++
	}
	in.read(c.ReadSeq)
	row.Status, row.Execution, row.Name, row.Version = c.Status, c.Execution, c.Name, c.Version
	row.HistoryFrom, row.DueAt = c.HistoryFrom, c.DueAt
	in.publish(now, c)
	in.refer(c.Blobs)
	if c.Release || !c.Status.Runnable() {
		row.Owner = 0
	}
	row.WakeAt = row.ComputeWakeAt(now)

	for i := range c.Tasks {
		s.addTask(in, execution, &c.Tasks[i])
	}
	for _, command := range c.CancelTasks {
		s.removeTask(row.Key, taskID{execution, command})
	}
	if row.Execution != execution {
		delete(s.tasks, row.Key)
	}
	if !c.Status.Open() {
		s.end(in, now, c.Status, c.Outcome, c.DeadLetter())
	}
	result := provider.CommitResult{Children: s.createChildren(now, node, in, execution, c)}
	result.Sent = s.sendMessages(now, in, execution, c)
	result.MailboxSeq = row.MailboxSeq
	return result
}

// check finds what makes a commit impossible to apply.
func (s *Store) check(in *instance, c *provider.Commit) error {
	if err := c.Check(&in.row); err != nil {
		return err
	}
	for i := range c.Children {
		child := &c.Children[i]
		if s.byID[child.ID] == nil && s.instances[child.Key] != nil {
			return fmt.Errorf("%w: key of the child %s", provider.ErrAlreadyExists, child.ID)
		}
	}
	large := s.MaxEventSize > 0 && c.Turn != nil && len(c.Turn.Events) > provider.MaxTurnEvents*s.MaxEventSize
	for payload := range c.Payloads {
		large = large || s.tooLarge(payload)
	}
	if large {
		return fmt.Errorf("%w: commit of %s", provider.ErrTooLarge, in.row.ID)
	}
	return nil
}

// charge settles the attempt that the claim counted: progress and a clean
// release clear it, a failure keeps it.
func (s *Store) charge(in *instance, now int64, c *provider.Commit) {
	row := &in.row
	switch {
	case c.Turn != nil:
		row.Attempts, row.NotBefore = 0, 0
		row.TurnFailure, row.FailedAt = "", 0
	case c.Failure != "":
		row.TurnFailure, row.FailedAt = c.Failure, now
		row.NotBefore = c.NotBefore
		if c.Charge {
			row.Attempts++
		}
	case c.Release:
		row.Attempts = 0
	}
}

func (s *Store) createChildren(
	now int64, node provider.NodeKey, in *instance, execution int64, c *provider.Commit,
) []provider.CreateResult {
	if len(c.Children) == 0 {
		return nil
	}
	results := make([]provider.CreateResult, len(c.Children))
	for i := range c.Children {
		child := &c.Children[i]
		results[i] = s.create(now, node, child)
		if errors.Is(results[i].Err, provider.ErrAlreadyExists) {
			s.refuse(now, in, provider.Mail{
				Execution: execution, Command: child.Command, Refused: provider.RefusedTaken, Payload: child.Refusal,
			})
		}
	}
	return results
}

func (s *Store) sendMessages(now int64, in *instance, execution int64, c *provider.Commit) []provider.SendResult {
	if len(c.Messages) == 0 {
		return nil
	}
	results := make([]provider.SendResult, len(c.Messages))
	for i := range c.Messages {
		m := &c.Messages[i]
		results[i] = s.send(now, m)
		answer := provider.Mail{Execution: execution, Command: m.FromCommand, Payload: m.Refusal}
		switch {
		case errors.Is(results[i].Err, provider.ErrNotFound):
			answer.Refused = provider.RefusedNotFound
		case errors.Is(results[i].Err, provider.ErrNotOpen):
			answer.Refused = provider.RefusedNotOpen
		}
		if answer.Refused != provider.NotRefused {
			s.refuse(now, in, answer)
		}
	}
	return results
}

// refuse tells a committing instance, in its receiver's place, that a command
// could not be carried out: in the same transaction, so that neither the
// command nor the answer can be lost alone. Who has ended is told nothing.
func (s *Store) refuse(now int64, in *instance, m provider.Mail) {
	if len(m.Payload) == 0 || !in.row.Status.Open() {
		return
	}
	in.put(now, m)
}
