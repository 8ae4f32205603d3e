package sqlite

import (
	"cmp"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// taskKey identifies a task row. The execution is not part of it: an instance
// has tasks of one execution only.
type taskKey struct {
	instance provider.Key
	command  int64
}

func compareTasks(a, b taskKey) int {
	return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.command, b.command))
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
	queue, err := w.queueOf(t)
	if err != nil {
		return err
	}
	st := w.c.query(qTaskInsert, int64(e.Key), t.Command, execution, kind, queue, t.VisibleAt, t.Attempt, t.ScheduledAt,
		t.StartWithin, t.CloseBy, t.ComputeExpiresAt())
	st.BindBool(12, t.Parked)
	st.BindText(13, t.Session)
	bindBytes(st, 14, t.Payload)
	bindBytes(st, 15, t.Failure)
	bindBytes(st, 16, t.Details)
	if err := run(st); err != nil {
		return err
	}
	e.tasks++
	if t.Session == "" {
		return nil
	}
	w.mark(e, hasSessions)
	st = w.c.query(qSessionTaskInsert, int64(e.Key), t.Command)
	st.BindText(3, t.Session)
	return run(st)
}

func (w *writer) removeTask(e *entry, command int64) error {
	if e.extras&hasSessions != 0 {
		if err := w.c.exec(qSessionTaskDelete, int64(e.Key), command); err != nil {
			return err
		}
	}
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
	if err := w.deleteTasks(e); err != nil {
		return err
	}
	e.tasks = 0
	e.extras &^= hasSessions
	w.touch(e, changedState)
	return nil
}

func (w *writer) deleteTasks(e *entry) error {
	if e.extras&hasSessions != 0 {
		if err := w.c.exec(qSessionTaskClear, int64(e.Key)); err != nil {
			return err
		}
	}
	return w.c.exec(qTaskClear, int64(e.Key))
}

// releaseTask returns a task to where it waits. A nil Failure or nil Details
// leave those that are stored.
func (w *writer) releaseTask(t *provider.Task) error {
	queue, err := w.queueOf(&t.NewTask)
	if err != nil {
		return err
	}
	st := w.c.query(qTaskRelease, int64(t.Instance), t.Command, queue, t.VisibleAt, t.Attempt, t.ComputeExpiresAt())
	st.BindBool(7, t.Parked)
	bindBytes(st, 8, t.Failure)
	bindBytes(st, 9, t.Details)
	return run(st)
}

// taskState reads what decides about a task; nil if there is none.
func taskState(c *conn, id taskKey) (t *provider.Task, err error) {
	_, err = row(c.query(qTaskState, int64(id.instance), id.command), func(st *sqlite.Stmt) {
		t = &provider.Task{Instance: id.instance, Execution: st.ColumnInt64(0), Holder: holder(st.ColumnInt64(2))}
		t.Command, t.Attempt, t.Parked = id.command, st.ColumnInt64(1), st.ColumnBool(3)
		t.StartWithin, t.CloseBy, t.Session = st.ColumnInt64(4), st.ColumnInt64(5), st.ColumnText(6)
	})
	return t, err
}

// holder returns the node in a column that otherwise has the queue.
func holder(column int64) provider.NodeKey { return provider.NodeKey(max(column, 0)) }

// heldTasks returns tasks that a node holds, at most limit, all if negative.
func heldTasks(c *conn, node provider.NodeKey, limit int64) (held []taskKey, err error) {
	err = rows(c.query(qTaskHeld, int64(node), limit), func(st *sqlite.Stmt) bool {
		held = append(held, taskKey{provider.Key(st.ColumnInt64(0)), st.ColumnInt64(1)})
		return true
	})
	slices.SortFunc(held, compareTasks)
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
	t = provider.Task{Execution: st.ColumnInt64(0), Holder: holder(st.ColumnInt64(2)), HeldSince: st.ColumnInt64(5)}
	t.VisibleAt, t.Attempt, t.ScheduledAt = st.ColumnInt64(3), st.ColumnInt64(4), st.ColumnInt64(6)
	t.StartWithin, t.CloseBy, t.Parked = st.ColumnInt64(7), st.ColumnInt64(8), st.ColumnBool(9)
	t.Session, t.Payload, t.Failure, t.Details = st.ColumnText(10), columnBytes(st, 11), columnBytes(st, 12), columnBytes(st, 13)
	t.Command = st.ColumnInt64(14)
	return t, st.ColumnInt64(1)
}
