package sqlite

import (
	"cmp"
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// taskKey identifies a task row. The execution is not part of it: an instance
// has tasks of one execution only.
type taskKey struct {
	instance  provider.Key
	command   int64
	visibleAt int64 // when it matters
}

// changeTasks adds and removes the task rows that a commit names.
func (w *writer) changeTasks(e *entry, execution int64, c *provider.Commit) error {
	before := e.tasks
	if e.Execution != execution {
		// What the turn that ended the execution asked for never starts.
		if err := w.clearTasks(e); err != nil {
			return err
		}
	} else {
		for i := range c.Tasks {
			if err := w.addTask(e, execution, &c.Tasks[i]); err != nil {
				return err
			}
		}
		for _, command := range c.CancelTasks {
			if e.tasks == 0 {
				break
			}
			if err := w.removeTask(e, command); err != nil {
				return err
			}
		}
	}
	if e.tasks != before {
		w.touch(e, changedState)
	}
	return nil
}

// addTask makes a task row. A row that is there already stays: it may be held.
func (w *writer) addTask(e *entry, execution int64, t *provider.NewTask) error {
	if e.tasks > 0 {
		found, err := row(w.c.query(qTaskState, int64(e.Key), t.Command), func(*sqlite.Stmt) {})
		if err != nil || found {
			return err
		}
	}
	kind, err := w.s.kinds.number(w.c, pair{t.Name, t.Pool})
	if err != nil {
		return err
	}
	st := w.c.query(qTaskInsert, int64(e.Key), t.Command, execution, kind, t.VisibleAt, t.Attempt, t.ScheduledAt)
	st.BindText(8, t.Session)
	bindBytes(st, 9, t.Payload)
	bindBytes(st, 10, t.Failure)
	bindBytes(st, 11, t.Details)
	e.tasks++
	return run(st)
}

func (w *writer) removeTask(e *entry, command int64) error {
	if err := w.c.exec(qTaskDelete, int64(e.Key), command); err != nil {
		return err
	}
	e.tasks -= int64(w.c.Changes())
	return nil
}

// clearTasks removes all task rows of an instance.
func (w *writer) clearTasks(e *entry) error {
	if e.tasks == 0 {
		return nil
	}
	e.tasks = 0
	w.touch(e, changedState)
	return w.c.exec(qTaskClear, int64(e.Key))
}

// ClaimTasks implements [provider.Provider]. Like Claim it looks before it
// takes the write lock.
func (s *Store) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	var reply provider.TaskClaimReply
	var gone error
	var due []taskKey
	err := s.read(ctx, "claim tasks", func(c *conn) error {
		reply, gone, due = provider.TaskClaimReply{Now: now()}, nil, nil
		alive, err := isMember(c, req.Node)
		if err != nil {
			return err
		}
		if !alive {
			gone = s.nodeGone("claim tasks", req.Node)
			return nil
		}
		kinds, err := s.taskKinds(c, req.Filters)
		if err != nil {
			return err
		}
		if due, err = readDueTasks(c, kinds, reply.Now, min(req.Limit, 1)); err != nil || len(due) > 0 {
			return err
		}
		reply.NextDue, err = readNextTask(c, kinds, reply.Now)
		return err
	})
	if err == nil {
		err = gone
	}
	if err != nil || len(due) == 0 {
		return reply, err
	}

	err = s.w.submit(ctx, "claim tasks", &request{n: 1, run: func(w *writer, _ int) (err error) {
		if gone, err = w.member(req.Node, "claim tasks"); err != nil || gone != nil {
			return err
		}
		reply, err = w.claimTasks(&req)
		return err
	}})
	if err == nil {
		err = gone
	}
	if err != nil {
		return provider.TaskClaimReply{}, err
	}
	return reply, nil
}

func (s *Store) taskKinds(c *conn, filters []provider.TaskFilter) ([]int64, error) {
	ids := make([]int64, 0, len(filters))
	for _, f := range filters {
		id, err := s.kinds.find(c, pair{f.Name, f.Pool})
		if err != nil {
			return nil, err
		}
		if id != 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// readDueTasks returns the limit longest due of all kinds.
func readDueTasks(c *conn, kinds []int64, now int64, limit int) ([]taskKey, error) {
	if limit <= 0 {
		return nil, nil
	}
	var due []taskKey
	for _, kind := range kinds {
		err := rows(c.query(qTaskDue, kind, now, int64(limit)), func(st *sqlite.Stmt) bool {
			due = append(due, taskKey{provider.Key(st.ColumnInt64(0)), st.ColumnInt64(1), st.ColumnInt64(2)})
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(due, func(a, b taskKey) int {
		return cmp.Or(cmp.Compare(a.visibleAt, b.visibleAt), cmp.Compare(a.instance, b.instance), cmp.Compare(a.command, b.command))
	})
	return due[:min(len(due), limit)], nil
}

func readNextTask(c *conn, kinds []int64, now int64) (int64, error) {
	next := provider.Never
	for _, kind := range kinds {
		_, err := row(c.query(qTaskNextDue, kind, now), func(st *sqlite.Stmt) { next = min(next, st.ColumnInt64(0)) })
		if err != nil {
			return 0, err
		}
	}
	return next, nil
}

func (w *writer) claimTasks(req *provider.TaskClaim) (provider.TaskClaimReply, error) {
	reply := provider.TaskClaimReply{Now: w.now}
	kinds, err := w.s.taskKinds(w.c, req.Filters)
	if err != nil {
		return reply, err
	}
	due, err := readDueTasks(w.c, kinds, w.now, req.Limit)
	if err != nil {
		return reply, err
	}
	if err := w.flush(); err != nil { // for the IDs of instances made in this group
		return reply, err
	}
	for _, d := range due {
		if err := w.c.exec(qTaskClaim, int64(d.instance), d.command, int64(req.Node), w.now); err != nil {
			return reply, err
		}
		t, err := readTask(w.c, w.s, d)
		if err != nil {
			return reply, err
		}
		e, err := w.entry(d.instance)
		if err != nil {
			return reply, err
		}
		t.InstanceID = e.ID
		reply.Tasks = append(reply.Tasks, t)
	}
	reply.NextDue, err = readNextTask(w.c, kinds, w.now)
	return reply, err
}

// FinishTasks implements [provider.Provider].
func (s *Store) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	errs := make([]error, len(batch))
	r := request{n: len(batch)}
	for i := range batch {
		r.bytes += 200 + len(batch[i].Message) + len(batch[i].Failure) + len(batch[i].Details)
	}
	r.run = func(w *writer, i int) (err error) {
		errs[i], err = w.finish(node, &batch[i])
		return err
	}
	r.fail = func(i int, err error) { errs[i] = err }
	if err := s.w.submit(ctx, "finish tasks", &r); err != nil {
		return nil, err
	}
	return errs, nil
}

func (w *writer) finish(node provider.NodeKey, f *provider.TaskFinish) (refused, err error) {
	held, err := isHeld(w.c, node, f.TaskRef)
	switch {
	case err != nil:
		return nil, err
	case !held:
		return provider.ErrStale, nil
	case tooLarge(f.Message, f.Failure, f.Details):
		return provider.ErrTooLarge, nil
	case f.Message == nil:
		attempt := f.Attempt
		if f.GiveBack {
			attempt--
		}
		st := w.c.query(qTaskRetry, int64(f.Instance), f.Command, f.VisibleAt, attempt)
		bindBytes(st, 5, f.Failure)
		bindBytes(st, 6, f.Details)
		return nil, run(st)
	}
	// A task row exists only while its instance is open and in the same
	// execution, so somebody waits for the message.
	e, err := w.entry(f.Instance)
	if err != nil {
		return nil, err
	}
	w.touch(e, changedState)
	if err := w.removeTask(e, f.Command); err != nil {
		return nil, err
	}
	_, err = w.put(e, &provider.Mail{Execution: f.Execution, Command: f.Command, Payload: f.Message})
	return nil, err
}

// isHeld reports whether the node holds the task under that attempt.
func isHeld(c *conn, node provider.NodeKey, ref provider.TaskRef) (held bool, err error) {
	if node == 0 {
		return false, nil
	}
	_, err = row(c.query(qTaskState, int64(ref.Instance), ref.Command), func(st *sqlite.Stmt) {
		held = st.ColumnInt64(0) == ref.Execution && st.ColumnInt64(1) == ref.Attempt &&
			provider.NodeKey(st.ColumnInt64(2)) == node
	})
	return held, err
}

// ExtendTasks implements [provider.Provider]. It writes only what has details.
func (s *Store) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	held := make([]bool, len(batch))
	details := slices.ContainsFunc(batch, func(b provider.TaskBeat) bool { return b.Details != nil })
	if !details {
		err := s.read(ctx, "extend tasks", func(c *conn) (err error) {
			for i := range batch {
				if held[i], err = isHeld(c, node, batch[i].TaskRef); err != nil {
					return err
				}
			}
			return nil
		})
		return held, err
	}
	r := request{n: len(batch)}
	r.run = func(w *writer, i int) (err error) {
		b := &batch[i]
		if held[i], err = isHeld(w.c, node, b.TaskRef); err != nil || !held[i] || b.Details == nil {
			return err
		}
		st := w.c.query(qTaskDetails, int64(b.Instance), b.Command)
		st.BindBytes(3, b.Details)
		return run(st)
	}
	if err := s.w.submit(ctx, "extend tasks", &r); err != nil {
		return nil, err
	}
	return held, nil
}

// heldTasks returns tasks that a node holds, at most limit, all if negative.
func heldTasks(c *conn, node provider.NodeKey, limit int64) (held []taskKey, err error) {
	err = rows(c.query(qTaskHeld, int64(node), limit), func(st *sqlite.Stmt) bool {
		held = append(held, taskKey{instance: provider.Key(st.ColumnInt64(0)), command: st.ColumnInt64(1)})
		return true
	})
	slices.SortFunc(held, func(a, b taskKey) int {
		return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.command, b.command))
	})
	return held, err
}

// readTask reads a task row that exists.
func readTask(c *conn, s *Store, id taskKey) (t provider.Task, err error) {
	var kind int64
	_, err = row(c.query(qTaskGet, int64(id.instance), id.command), func(st *sqlite.Stmt) { t, kind = scanTask(st) })
	if err != nil {
		return t, err
	}
	p, err := s.kinds.pair(c, kind)
	t.Instance, t.Name, t.Pool = id.instance, p.a, p.b
	return t, err
}

func scanTask(st *sqlite.Stmt) (t provider.Task, kind int64) {
	t = provider.Task{Execution: st.ColumnInt64(0), Holder: provider.NodeKey(st.ColumnInt64(2)), HeldSince: st.ColumnInt64(5)}
	t.VisibleAt, t.Attempt, t.ScheduledAt = st.ColumnInt64(3), st.ColumnInt64(4), st.ColumnInt64(6)
	t.Session, t.Payload, t.Failure, t.Details = st.ColumnText(7), columnBytes(st, 8), columnBytes(st, 9), columnBytes(st, 10)
	t.Command = st.ColumnInt64(11)
	return t, st.ColumnInt64(1)
}
