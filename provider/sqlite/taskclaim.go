package sqlite

import (
	"cmp"
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// ClaimTasks implements [provider.Provider]. Like Claim it looks before it
// takes the write lock.
func (s *Store) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	var reply provider.TaskClaimReply
	var gone error
	var any bool
	err := s.read(ctx, "claim tasks", func(c *conn) error {
		reply, gone, any = provider.TaskClaimReply{Now: now()}, nil, false
		alive, err := isMember(c, req.Node)
		if err != nil {
			return err
		}
		if !alive {
			gone = s.nodeGone("claim tasks", req.Node)
			return nil
		}
		any, reply.NextDue, err = s.lookForTasks(c, &req, reply.Now)
		return err
	})
	if err == nil {
		err = gone
	}
	if err != nil || !any {
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

// lookForTasks reports whether a claim has anything to write, and otherwise
// when it may have.
func (s *Store) lookForTasks(c *conn, req *provider.TaskClaim, now int64) (any bool, next int64, err error) {
	idle, err := idleSessions(c, req, now)
	if err != nil || len(idle) > 0 {
		return true, 0, err
	}
	expired, err := readExpired(c, now, min(req.Limit, 1))
	if err != nil || len(expired) > 0 {
		return true, 0, err
	}
	q, err := s.taskQueues(c, req)
	if err != nil {
		return false, 0, err
	}
	due, err := readDueTasks(c, &q, now, min(req.Limit, 1))
	if err != nil || len(due) > 0 {
		return true, 0, err
	}
	next, err = readNextTask(c, &q, now)
	return false, next, err
}

// taskQueues is what a claim may take tasks from.
type taskQueues struct {
	node          provider.NodeKey
	kinds, queues []int64
	open, room    int // sessions that the node has, and may still open
}

func (s *Store) taskQueues(c *conn, req *provider.TaskClaim) (q taskQueues, err error) {
	q.node = req.Node
	if q.kinds, err = s.taskKinds(c, req.Filters); err != nil || len(q.kinds) == 0 {
		return q, err
	}
	_, err = row(c.query(qSessionCount, int64(req.Node)), func(st *sqlite.Stmt) { q.open = st.ColumnInt(0) })
	q.room = max(req.MaxSessions-q.open, 0)
	q.choose()
	return q, err
}

func (q *taskQueues) choose() {
	q.queues = append(q.queues[:0], openQueue)
	if q.open > 0 {
		q.queues = append(q.queues, sessionQueue(q.node))
	}
	if q.room > 0 {
		q.queues = append(q.queues, closedQueue)
	}
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

// readExpired returns the limit tasks that have been expired longest.
func readExpired(c *conn, now int64, limit int) (expired []taskKey, err error) {
	if limit <= 0 {
		return nil, nil
	}
	err = rows(c.query(qTaskExpired, now, int64(limit)), func(st *sqlite.Stmt) bool {
		expired = append(expired, taskKey{provider.Key(st.ColumnInt64(0)), st.ColumnInt64(1)})
		return true
	})
	return expired, err
}

// dueTask is a candidate of a claim.
type dueTask struct {
	taskKey
	queue, visibleAt int64
}

// readDueTasks returns the limit longest due of all queues and kinds.
func readDueTasks(c *conn, q *taskQueues, now int64, limit int) ([]dueTask, error) {
	if limit <= 0 {
		return nil, nil
	}
	var due []dueTask
	for _, queue := range q.queues {
		for _, kind := range q.kinds {
			err := rows(c.query(qTaskDue, queue, kind, now, int64(limit)), func(st *sqlite.Stmt) bool {
				id := taskKey{provider.Key(st.ColumnInt64(0)), st.ColumnInt64(1)}
				due = append(due, dueTask{id, queue, st.ColumnInt64(2)})
				return true
			})
			if err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(due, func(a, b dueTask) int {
		return cmp.Or(cmp.Compare(a.visibleAt, b.visibleAt), compareTasks(a.taskKey, b.taskKey))
	})
	return due[:min(len(due), limit)], nil
}

// readNextTask returns when the next task becomes visible or expires.
func readNextTask(c *conn, q *taskQueues, now int64) (int64, error) {
	next := provider.Never
	earlier := func(st *sqlite.Stmt) { next = min(next, st.ColumnInt64(0)) }
	if _, err := row(c.query(qTaskNextExpiry, now), earlier); err != nil {
		return 0, err
	}
	for _, queue := range q.queues {
		for _, kind := range q.kinds {
			if _, err := row(c.query(qTaskNextDue, queue, kind, now), earlier); err != nil {
				return 0, err
			}
		}
	}
	return next, nil
}

func (w *writer) claimTasks(req *provider.TaskClaim) (provider.TaskClaimReply, error) {
	reply := provider.TaskClaimReply{Now: w.now}
	if err := w.flush(); err != nil { // for the IDs of instances made in this group
		return reply, err
	}
	idle, err := idleSessions(w.c, req, w.now)
	if err != nil {
		return reply, err
	}
	for _, session := range idle {
		if _, err := w.closeSession(session, req.Node); err != nil {
			return reply, err
		}
	}
	expired, err := readExpired(w.c, w.now, req.Limit)
	if err != nil {
		return reply, err
	}
	for _, id := range expired {
		t, err := readTask(w.c, w.s, id)
		if err != nil {
			return reply, err
		}
		t.Expired = true
		if err := w.hold(&reply, &t, req.Node); err != nil {
			return reply, err
		}
	}
	q, err := w.s.taskQueues(w.c, req)
	if err != nil {
		return reply, err
	}
	// What is skipped needs a session that the node has no room for any more:
	// the second time the queue of closed sessions is not looked at.
	for range 2 {
		skipped, err := w.claimDue(&reply, req.Limit, &q)
		if err != nil {
			return reply, err
		}
		if !skipped {
			break
		}
	}
	reply.NextDue, err = readNextTask(w.c, &q, w.now)
	return reply, err
}

// claimDue takes what is due, opening sessions as long as there is room, and
// reports whether it has left anything out.
func (w *writer) claimDue(reply *provider.TaskClaimReply, limit int, q *taskQueues) (skipped bool, err error) {
	due, err := readDueTasks(w.c, q, w.now, limit-len(reply.Tasks))
	if err != nil {
		return false, err
	}
	for _, d := range due {
		t, err := readTask(w.c, w.s, d.taskKey)
		if err != nil {
			return false, err
		}
		if d.queue == closedQueue {
			has, err := w.enter(t.Session, q)
			if err != nil {
				return false, err
			}
			if !has {
				skipped = true
				continue
			}
		}
		if err := w.useSession(t.Session, q.node); err != nil {
			return false, err
		}
		t.Attempt++
		if err := w.hold(reply, &t, q.node); err != nil {
			return false, err
		}
	}
	return skipped, nil
}

// enter opens a session that was closed when the claim looked, and reports
// whether the node has it: there may be no room, or the same claim has opened
// it for a task before.
func (w *writer) enter(session string, q *taskQueues) (has bool, err error) {
	node, err := w.sessionNode(session)
	if err != nil || node != 0 {
		return node == q.node, err
	}
	if q.room == 0 {
		return false, nil
	}
	q.open++
	q.room--
	q.choose()
	return true, w.openSession(session, q.node)
}

// hold gives a task to a node.
func (w *writer) hold(reply *provider.TaskClaimReply, t *provider.Task, node provider.NodeKey) error {
	t.Holder, t.HeldSince = node, w.now
	e, err := w.entry(t.Instance)
	if err != nil {
		return err
	}
	t.InstanceID = e.ID
	reply.Tasks = append(reply.Tasks, *t)
	return w.c.exec(qTaskHold, int64(t.Instance), t.Command, int64(node), w.now, t.Attempt)
}
