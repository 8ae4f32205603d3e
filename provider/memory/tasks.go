package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/durango-go/durango/provider"
)

// taskID identifies a task within its instance.
type taskID struct{ execution, command int64 }

// addTask makes a task row. A row that is there already stays: it may be held.
func (s *Store) addTask(in *instance, execution int64, t *provider.NewTask) {
	rows := s.tasks[in.row.Key]
	if rows == nil {
		rows = map[taskID]*provider.Task{}
		s.tasks[in.row.Key] = rows
	}
	id := taskID{execution, t.Command}
	if rows[id] != nil {
		return
	}
	row := &provider.Task{Instance: in.row.Key, InstanceID: in.row.ID, Execution: execution, NewTask: *t}
	row.Payload, row.Failure, row.Details = keep(t.Payload), keep(t.Failure), keep(t.Details)
	rows[id] = row
}

func (s *Store) removeTask(key provider.Key, id taskID) {
	delete(s.tasks[key], id)
	if len(s.tasks[key]) == 0 {
		delete(s.tasks, key)
	}
}

// ClaimTasks implements [provider.Provider].
func (s *Store) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	now, err := s.begin(ctx, "claim tasks")
	if err != nil {
		return provider.TaskClaimReply{}, err
	}
	defer s.mu.Unlock()
	if err := s.alive(req.Node, "claim tasks"); err != nil {
		return provider.TaskClaimReply{}, err
	}
	s.closeIdle(now, req.Node, req.SessionIdle)
	reply := provider.TaskClaimReply{Now: now, NextDue: provider.Never}
	var expired, due []*provider.Task
	for _, rows := range s.tasks {
		for _, t := range rows {
			if t.Holder != 0 {
				continue
			}
			if t.ComputeExpiresAt() <= now {
				expired = append(expired, t)
				continue
			}
			reply.NextDue = min(reply.NextDue, t.ComputeExpiresAt())
			switch {
			case t.Parked || !slices.Contains(req.Filters, provider.TaskFilter{Name: t.Name, Pool: t.Pool}):
			case t.VisibleAt <= now:
				due = append(due, t)
			default:
				reply.NextDue = min(reply.NextDue, t.VisibleAt)
			}
		}
	}
	slices.SortFunc(expired, func(a, b *provider.Task) int {
		return cmp.Or(cmp.Compare(a.ComputeExpiresAt(), b.ComputeExpiresAt()), compareTasks(a, b))
	})
	slices.SortFunc(due, compareTasks)
	for _, t := range expired[:min(len(expired), max(req.Limit, 0))] {
		t.Holder, t.HeldSince = req.Node, now
		reply.Tasks = append(reply.Tasks, *t)
		reply.Tasks[len(reply.Tasks)-1].Expired = true
	}
	for _, t := range due {
		if len(reply.Tasks) >= req.Limit {
			break
		}
		if t.Session != "" && !s.useSession(now, req.Node, t.Session, req.MaxSessions) {
			continue
		}
		t.Holder, t.HeldSince = req.Node, now
		t.Attempt++
		reply.Tasks = append(reply.Tasks, *t)
	}
	return reply, nil
}

func compareTasks(a, b *provider.Task) int {
	return cmp.Or(cmp.Compare(a.VisibleAt, b.VisibleAt), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Command, b.Command))
}

// FinishTasks implements [provider.Provider].
func (s *Store) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	now, err := s.begin(ctx, "finish tasks")
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	errs := make([]error, len(batch))
	for i := range batch {
		errs[i] = s.finish(now, node, &batch[i])
	}
	return errs, nil
}

func (s *Store) finish(now int64, node provider.NodeKey, f *provider.TaskFinish) error {
	t := s.held(node, f.TaskRef)
	if t == nil {
		return provider.ErrStale
	}
	if s.tooLarge(f.Message, f.Failure, f.Details) {
		return provider.ErrTooLarge
	}
	if used := s.sessions[t.Session]; used != nil && used.node == node {
		used.usedAt = now
	}
	if f.Message != nil {
		s.removeTask(f.Instance, taskID{f.Execution, f.Command})
		// A task row exists only while its instance is open and in the same
		// execution, so somebody waits for the message.
		s.open[f.Instance].refer(f.Blobs)
		s.open[f.Instance].put(now, provider.Mail{Execution: f.Execution, Command: f.Command, Payload: f.Message})
		return nil
	}
	if f.GiveBack && t.Holder != 0 && t.ClaimedExpired() {
		t.Holder, t.HeldSince = 0, 0
		return nil
	}
	t.Holder, t.HeldSince, t.VisibleAt, t.Parked = 0, 0, f.VisibleAt, f.Park
	if f.Failure != nil {
		t.Failure = keep(f.Failure)
	}
	if f.Details != nil {
		t.Details = keep(f.Details)
	}
	if f.GiveBack {
		t.Attempt--
	}
	return nil
}

// ExtendTasks implements [provider.Provider].
func (s *Store) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	if _, err := s.begin(ctx, "extend tasks"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	held := make([]bool, len(batch))
	for i := range batch {
		if s.tooLarge(batch[i].Details, batch[i].Failure) {
			return nil, provider.ErrTooLarge
		}
	}
	for i := range batch {
		t := s.held(node, batch[i].TaskRef)
		held[i] = t != nil
		if t != nil && batch[i].Details != nil {
			t.Details = keep(batch[i].Details)
		}
		if t != nil && batch[i].Failure != nil {
			t.Failure = keep(batch[i].Failure)
		}
	}
	return held, nil
}

// held returns the task if the node holds it under that attempt, else nil.
// What is parked is held by those outside, who come as node zero.
func (s *Store) held(node provider.NodeKey, ref provider.TaskRef) *provider.Task {
	t := s.tasks[ref.Instance][taskID{ref.Execution, ref.Command}]
	switch {
	case t == nil || t.Holder != node || t.Attempt != ref.Attempt:
		return nil
	case node == 0 && !t.Parked:
		return nil
	}
	return t
}
