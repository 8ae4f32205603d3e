package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/durango-go/durango/provider"
)

const (
	defaultPage = 100
	// maxListed is the largest payload that a list carries, in bytes.
	maxListed = 4 << 10
)

// Get implements [provider.Inspector].
func (s *Store) Get(ctx context.Context, t provider.Target) (provider.Instance, error) {
	if _, err := s.begin(ctx, "get"); err != nil {
		return provider.Instance{}, err
	}
	defer s.mu.Unlock()
	in := s.find(t)
	if in == nil {
		return provider.Instance{}, notFound("get", t)
	}
	return in.row, nil
}

// List implements [provider.Inspector].
func (s *Store) List(ctx context.Context, q provider.Query) (provider.Page, error) {
	if _, err := s.begin(ctx, "list"); err != nil {
		return provider.Page{}, err
	}
	defer s.mu.Unlock()
	var page provider.Page
	for _, in := range s.instances {
		if (q.After == 0 || in.row.Key < q.After) && selects(&q, &in.row) {
			page.Instances = append(page.Instances, in.row)
		}
	}
	slices.SortFunc(page.Instances, func(a, b provider.Instance) int { return cmp.Compare(b.Key, a.Key) })
	limit := q.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	if len(page.Instances) > limit {
		page.Instances = page.Instances[:limit]
		page.Next = page.Instances[limit-1].Key
	}
	for i := range page.Instances {
		row := &page.Instances[i]
		if len(row.Outcome) > maxListed {
			row.Outcome = nil
		}
		if len(row.CustomStatus) > maxListed {
			row.CustomStatus = nil
		}
	}
	return page, nil
}

func selects(q *provider.Query, row *provider.Instance) bool {
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, row.Status)) &&
		(q.Name == "" || q.Name == row.Name) &&
		strings.HasPrefix(row.Name, q.NamePrefix) &&
		strings.HasPrefix(row.ID, q.IDPrefix) &&
		(q.Version == "" || q.Version == row.Version) &&
		(q.Parent == "" || q.Parent == row.Parent.ID) &&
		row.CreatedAt >= q.CreatedFrom &&
		(q.CreatedBefore == 0 || row.CreatedAt < q.CreatedBefore) &&
		(!q.TurnFailed || row.Status.Open() && row.TurnFailure != "") &&
		(!q.DeadLetters || row.DeadLetter()) &&
		(q.WaitingSince == 0 || waits(row, q.WaitingSince))
}

// waits reports whether the instance has been due since then, and nobody has
// taken it. What is due never waits for nobody.
func waits(row *provider.Instance, since int64) bool {
	return row.Status.Runnable() && row.Owner == 0 && row.WakeAt <= since && row.WakeAt != provider.Never
}

// Turns implements [provider.Inspector].
func (s *Store) Turns(ctx context.Context, k provider.Key, from int64, limit int) ([]provider.Turn, error) {
	if _, err := s.begin(ctx, "turns"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	in := s.instances[k]
	if in == nil {
		return nil, nil
	}
	return slices.Clone(first(in.turnsFrom(from), limit)), nil
}

// Mailbox implements [provider.Inspector].
func (s *Store) Mailbox(ctx context.Context, k provider.Key, limit int) ([]provider.Mail, error) {
	if _, err := s.begin(ctx, "mailbox"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	in := s.instances[k]
	if in == nil {
		return nil, nil
	}
	return slices.Clone(first(in.mail, limit)), nil
}

// first returns the first limit items; a limit of zero means all.
func first[T any](items []T, limit int) []T {
	if limit <= 0 {
		return items
	}
	return items[:min(limit, len(items))]
}

// Tasks implements [provider.Inspector].
func (s *Store) Tasks(ctx context.Context, k provider.Key) ([]provider.Task, error) {
	if _, err := s.begin(ctx, "tasks"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var tasks []provider.Task
	for _, t := range s.tasks[k] {
		tasks = append(tasks, *t)
	}
	slices.SortFunc(tasks, func(a, b provider.Task) int { return cmp.Compare(a.Command, b.Command) })
	return tasks, nil
}

// Nodes implements [provider.Inspector].
func (s *Store) Nodes(ctx context.Context) ([]provider.NodeView, error) {
	if _, err := s.begin(ctx, "nodes"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return s.views(), nil
}

// Stats implements [provider.Inspector].
func (s *Store) Stats(ctx context.Context) (provider.Stats, error) {
	now, err := s.begin(ctx, "stats")
	if err != nil {
		return provider.Stats{}, err
	}
	defer s.mu.Unlock()
	stats := provider.Stats{Instances: map[provider.Status]int64{}, Nodes: len(s.nodes), Now: now}
	for _, in := range s.instances {
		stats.Instances[in.row.Status]++
		stats.Turns += int64(len(in.turns))
		stats.UnreadMail += int64(len(in.mail))
	}
	for _, rows := range s.tasks {
		for _, t := range rows {
			if t.Holder != 0 {
				stats.TaskHeld++
			} else {
				stats.TaskWaiting++
			}
		}
	}
	return stats, nil
}

// Terminate implements [provider.Inspector].
func (s *Store) Terminate(ctx context.Context, t provider.Target, outcome, notify []byte) error {
	return s.operate(ctx, "terminate", t, func(now int64, in *instance) error {
		if s.tooLarge(outcome, notify) {
			return provider.ErrTooLarge
		}
		s.terminate(now, in, outcome, notify)
		return nil
	})
}

// Suspend implements [provider.Inspector].
func (s *Store) Suspend(ctx context.Context, t provider.Target) error {
	return s.operate(ctx, "suspend", t, func(now int64, in *instance) error {
		in.row.Status, in.row.Owner, in.row.UpdatedAt = provider.Suspended, 0, now
		in.row.WakeAt = in.row.ComputeWakeAt(now)
		return nil
	})
}

// Resume implements [provider.Inspector].
func (s *Store) Resume(ctx context.Context, t provider.Target) error {
	return s.operate(ctx, "resume", t, func(now int64, in *instance) error {
		in.resume(now)
		return nil
	})
}

// Hold implements [provider.Holder].
func (s *Store) Hold(ctx context.Context, t provider.Target, reason string) error {
	return s.operate(ctx, "hold", t, func(now int64, in *instance) error {
		row := &in.row
		switch {
		case reason != "" && row.Status.Runnable():
			row.Status, row.Owner, row.TurnFailure, row.FailedAt = provider.Suspended, 0, reason, now
			row.UpdatedAt, row.WakeAt = now, row.ComputeWakeAt(now)
		case reason == "" && row.Status == provider.Suspended:
			in.resume(now)
			row.TurnFailure, row.FailedAt = "", 0
		}
		return nil
	})
}

func (in *instance) resume(now int64) {
	row := &in.row
	row.Resume(now)
	row.WakeAt = row.ComputeWakeAt(now)
}

// Amend implements [provider.Amender].
func (s *Store) Amend(ctx context.Context, a provider.Amendment) error {
	now, err := s.begin(ctx, "amend")
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	in := s.find(a.To)
	if in == nil {
		return notFound("amend", a.To)
	}
	row := &in.row
	dead := row.DeadLetter()
	if !a.Fits(row) {
		return fmt.Errorf("memory: amend %s: %w", row.ID, provider.ErrConflict)
	}
	if a.Failure != "" {
		row.TurnFailure = a.Failure
	}
	row.UpdatedAt = now
	if !a.Resume {
		return nil
	}
	if dead {
		row.DueAt, row.ClosedAt, row.Outcome = 0, 0, nil
		s.open[row.Key] = in
	}
	in.resume(now)
	return nil
}

// operate runs f on an open instance.
func (s *Store) operate(ctx context.Context, op string, t provider.Target, f func(now int64, in *instance) error) error {
	now, err := s.begin(ctx, op)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	in := s.find(t)
	switch {
	case in == nil:
		return notFound(op, t)
	case !in.row.Status.Open():
		return fmt.Errorf("memory: %s %s: %w", op, in.row.ID, provider.ErrNotOpen)
	}
	if err := f(now, in); err != nil {
		return fmt.Errorf("memory: %s %s: %w", op, in.row.ID, err)
	}
	return nil
}

// Delete implements [provider.Inspector].
func (s *Store) Delete(ctx context.Context, t provider.Target, force bool) error {
	now, err := s.begin(ctx, "delete")
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	in := s.find(t)
	switch {
	case in == nil:
		return notFound("delete", t)
	case in.row.Status.Open() && !force:
		return fmt.Errorf("memory: delete %s: %w: it is open", in.row.ID, provider.ErrInvalid)
	}
	s.unrefer(now, in)
	delete(s.tasks, in.row.Key)
	delete(s.open, in.row.Key)
	delete(s.byID, in.row.ID)
	delete(s.instances, in.row.Key)
	return nil
}

func notFound(op string, t provider.Target) error {
	return fmt.Errorf("memory: %s %s (key %d): %w", op, t.ID, t.Key, provider.ErrNotFound)
}
