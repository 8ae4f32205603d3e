package postgres

import (
	"context"
	"slices"

	"github.com/durango-go/durango/provider"
)

// changeTasks adds and removes the task rows that a commit names.
func (t *txn) changeTasks(e *entry, c *provider.Commit) {
	for i := range c.Tasks {
		e.addTasks = append(e.addTasks, newTask{e.Execution, &c.Tasks[i]})
		t.loud = t.loud || !c.Tasks[i].Parked
	}
	if len(c.Tasks) > 0 && e.extras&hasTasks == 0 {
		e.extras |= hasTasks
		t.touch(e, changedState)
	}
	if e.extras&hasTasks == 0 {
		return
	}
	for _, command := range c.CancelTasks {
		t.removeTask(e, taskID{e.Key, e.Execution, command})
	}
}

// removeTask removes a task row, stored or not.
func (t *txn) removeTask(e *entry, id taskID) {
	e.addTasks = slices.DeleteFunc(e.addTasks, func(k newTask) bool {
		return k.execution == id.execution && k.Command == id.command
	})
	e.removeTasks = append(e.removeTasks, id)
	delete(t.tasks, id)
}

// dropTasks removes all task rows of an instance.
func (t *txn) dropTasks(e *entry) {
	if e.extras&hasTasks == 0 {
		return
	}
	e.clearTasks = true
	e.addTasks, e.removeTasks = nil, nil
	e.extras &^= hasTasks
	t.touch(e, changedState)
	for id := range t.tasks {
		if id.key == e.Key {
			delete(t.tasks, id)
		}
	}
}

// FinishTasks implements [provider.Provider].
func (s *Store) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	errs := make([]error, len(batch))
	r := request{n: len(batch)}
	for i := range batch {
		r.bytes += 200 + len(batch[i].Message) + len(batch[i].Failure) + len(batch[i].Details)
	}
	r.needs = func(n *needs, i int) { n.task(batch[i].TaskRef) }
	r.run = func(t *txn, i int) { errs[i] = t.finish(node, &batch[i]) }
	r.fail = func(i int, err error) { errs[i] = err }
	if err := s.submit(ctx, "finish tasks", &r); err != nil {
		return nil, err
	}
	return errs, nil
}

func (t *txn) finish(node provider.NodeKey, f *provider.TaskFinish) error {
	k := t.held(node, f.TaskRef)
	if k == nil {
		return provider.ErrStale
	}
	if tooLarge(f.Message, f.Failure, f.Details) {
		return provider.ErrTooLarge
	}
	if k.Session != "" && node != 0 {
		if t.sessions == nil {
			t.sessions = map[session]bool{}
		}
		t.sessions[session{k.Session, node}] = true
	}
	// A task row exists only while its instance is open and in the same
	// execution, so somebody waits for the message.
	e := t.entries[f.Instance]
	if f.Message != nil {
		t.touch(e, changedTurn)
		t.removeTask(e, k.id)
		e.blobs = append(e.blobs, f.Blobs...)
		t.put(e, provider.Mail{Execution: f.Execution, Command: f.Command, Payload: f.Message})
		return nil
	}
	if f.GiveBack && k.Holder != 0 && k.ClaimedExpired() {
		k.Holder = 0
		t.change(e, k, nil, nil)
		t.loud = true
		return nil
	}
	k.Holder, k.Parked, k.VisibleAt, k.rescheduled = 0, f.Park, f.VisibleAt, true
	if f.GiveBack {
		k.Attempt--
	}
	t.change(e, k, f.Failure, f.Details)
	t.loud = t.loud || !f.Park
	return nil
}

// change has a task row written.
func (t *txn) change(e *entry, k *task, failure, details []byte) {
	if failure != nil {
		k.Failure = failure
	}
	if details != nil {
		k.Details = details
	}
	if !k.changed {
		k.changed = true
		e.updateTasks = append(e.updateTasks, k)
	}
	t.touch(e, changedTasks)
}

// held returns the task if the node holds it under that attempt, else nil.
// What is parked is held by those outside, who come as node zero.
func (t *txn) held(node provider.NodeKey, ref provider.TaskRef) *task {
	k := t.tasks[taskID{ref.Instance, ref.Execution, ref.Command}]
	switch {
	case k == nil || k.Holder != node || k.Attempt != ref.Attempt:
		return nil
	case node == 0 && !k.Parked:
		return nil
	case t.entries[ref.Instance] == nil:
		return nil
	}
	return k
}

// ExtendTasks implements [provider.Provider]. It writes only what says
// something.
func (s *Store) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	held := make([]bool, len(batch))
	if !slices.ContainsFunc(batch, func(b provider.TaskBeat) bool { return b.Details != nil || b.Failure != nil }) {
		return held, s.checkTasks(ctx, node, batch, held)
	}
	for i := range batch {
		if tooLarge(batch[i].Details) || tooLarge(batch[i].Failure) {
			if err := s.ready(ctx, "extend tasks"); err != nil {
				return nil, err
			}
			return nil, provider.ErrTooLarge
		}
	}
	r := request{n: len(batch)}
	r.needs = func(n *needs, i int) { n.task(batch[i].TaskRef) }
	r.run = func(t *txn, i int) {
		b := &batch[i]
		k := t.held(node, b.TaskRef)
		held[i] = k != nil
		if k != nil && (b.Details != nil || b.Failure != nil) {
			t.change(t.entries[b.Instance], k, b.Failure, b.Details)
		}
	}
	if err := s.submit(ctx, "extend tasks", &r); err != nil {
		return nil, err
	}
	return held, nil
}
