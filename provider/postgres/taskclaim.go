package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// ClaimTasks implements [provider.Provider]. Like Claim it looks first.
func (s *Store) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	for n := 1; ; n++ {
		l, err := s.lookForTasks(ctx, &req)
		if err != nil || len(l.due) == 0 && !l.idle {
			return l.reply, err
		}
		if err := s.takeTasks(ctx, &req, l); err != nil {
			return provider.TaskClaimReply{}, s.fail(ctx, "claim tasks", err)
		}
		if len(l.due) == 0 || len(l.reply.Tasks) > 0 || n == looks {
			return l.reply, nil
		}
	}
}

// dueTask is a candidate of a claim.
type dueTask struct {
	taskID
	at      int64 // since when it has expired, or been visible
	session string
	expired bool
}

func compareDueTasks(a, b dueTask) int {
	expired := 0
	switch {
	case a.expired && !b.expired:
		expired = -1
	case b.expired && !a.expired:
		expired = 1
	}
	return cmp.Or(expired, cmp.Compare(a.at, b.at), compareTaskIDs(a.taskID, b.taskID))
}

// taskLook is what a claim of tasks saw.
type taskLook struct {
	reply provider.TaskClaimReply
	due   []dueTask
	// idle: there are sessions of the node to be closed.
	idle bool

	names, pools []string // of the filters
	own          int      // sessions that the node has, the idle ones left out
	waiting      []waitingSession
}

// waitingSession is a session with unheld tasks in a shard of tasks.
type waitingSession struct {
	shard int32
	name  string
	node  provider.NodeKey // that has it; 0: nobody
}

func (s *Store) lookForTasks(ctx context.Context, req *provider.TaskClaim) (*taskLook, error) {
	var l *taskLook
	var alive bool
	err := s.read(ctx, "claim tasks", func(run func(*trip) error) error {
		l, alive = &taskLook{reply: provider.TaskClaimReply{NextDue: provider.Never}}, false
		for _, f := range req.Filters {
			if validOrEmpty(f.Name) && validOrEmpty(f.Pool) {
				l.names, l.pools = append(l.names, f.Name), append(l.pools, f.Pool)
			}
		}
		t := s.trip()
		t.lookAtNode(req.Node, &alive, &l.reply.Now)
		l.lookAtQueues(t, req)
		if err := run(t); err != nil || len(l.waiting) == 0 {
			return err
		}
		t = s.trip()
		l.lookAtSessions(t, req)
		return run(t)
	})
	if err == nil && !alive {
		err = s.nodeGone("claim tasks", req.Node)
	}
	if err != nil {
		return &taskLook{}, err
	}
	slices.SortFunc(l.due, compareDueTasks)
	return l, nil
}

// lookAtQueues asks for what everybody may take, and for the sessions.
func (l *taskLook) lookAtQueues(t *trip, req *provider.TaskClaim) {
	s, most := t.s, candidates(req.Limit)
	if req.Limit > 0 {
		t.each(qTasksExpired, l.candidate(true), s.allShards, most)
	}
	t.each(qTasksNextExpiry, earliest(&l.reply.NextDue), s.allShards, nil)
	t.each(qSessionsOf, func(rows pgx.Rows) error {
		var name string
		var idle bool
		err := rows.Scan(&name, &idle)
		if idle && req.SessionIdle > 0 {
			l.idle = true
		} else {
			l.own++
		}
		return err
	}, s.allShards, int64(req.Node), req.SessionIdle)
	if len(l.names) == 0 {
		return
	}
	if req.Limit > 0 {
		t.each(qTasksDue, l.candidate(false), l.names, l.pools, s.allShards, most)
	}
	t.each(qTasksNextDue, earliest(&l.reply.NextDue), l.names, l.pools, s.allShards, nil)
	t.each(qSessionsWaiting, func(rows pgx.Rows) error {
		var w waitingSession
		err := rows.Scan(&w.shard, &w.name, &w.node)
		l.waiting = append(l.waiting, w)
		return err
	}, s.allShards)
}

// lookAtSessions asks for the tasks of sessions that the node has or could
// open, and for when any comes up.
func (l *taskLook) lookAtSessions(t *trip, req *provider.TaskClaim) {
	var shards, allShards []int32
	var names, allNames []string
	for _, w := range l.waiting {
		allShards, allNames = append(allShards, w.shard), append(allNames, w.name)
		if w.node == req.Node || w.node == 0 && (l.own < req.MaxSessions || l.idle) {
			shards, names = append(shards, w.shard), append(names, w.name)
		}
	}
	if req.Limit > 0 && len(names) > 0 {
		t.each(qTasksOfSessions, l.candidate(false), l.names, l.pools, shards, names, candidates(req.Limit))
	}
	t.each(qTasksNextOfSessions, earliest(&l.reply.NextDue), l.names, l.pools, allShards, allNames, nil)
}

func (l *taskLook) candidate(expired bool) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		d := dueTask{expired: expired}
		dest := []any{&d.key, &d.execution, &d.command, &d.at, &d.session}
		err := rows.Scan(dest[:len(rows.FieldDescriptions())]...)
		l.due = append(l.due, d)
		return err
	}
}

// takeTasks locks what was seen and is still to be had.
func (s *Store) takeTasks(ctx context.Context, req *provider.TaskClaim, l *taskLook) error {
	sessions := l.idle || slices.ContainsFunc(l.due, func(d dueTask) bool { return d.session != "" })
	return s.transact(ctx, func(ctx context.Context, x *tx) error {
		l.reply.Tasks = nil
		c := &taskTake{s: s, req: req, look: l, due: l.due}
		if sessions {
			if err := c.bindSessions(ctx, x); err != nil {
				return err
			}
			if err := x.run(ctx, c.take()); err != nil {
				return err
			}
		} else {
			alive := false
			err := x.begin(ctx, func(t *trip) {
				t.lockNode(req.Node, &alive)
				c.takeIn(t)
			})
			switch {
			case err != nil:
				return err
			case !alive:
				return provider.ErrNodeGone
			case len(l.reply.Tasks) == 0:
				return nil
			}
		}
		t := s.trip()
		c.hold(t)
		return x.commit(ctx, t)
	})
}

// taskTake is one attempt to take tasks.
type taskTake struct {
	s    *Store
	req  *provider.TaskClaim
	look *taskLook
	due  []dueTask
	// opened are sessions that the node opens now.
	opened map[string]bool
}

// take makes a trip that locks the candidates.
func (c *taskTake) take() *trip {
	t := c.s.trip()
	c.takeIn(t)
	return t
}

func (c *taskTake) takeIn(t *trip) {
	var ids taskColumns
	var expired []bool
	var places []int32
	for i, d := range c.due {
		ids.add(c.s.keyShard(d.key), d.taskID)
		expired, places = append(expired, d.expired), append(places, int32(i))
	}
	t.each(qTasksTake, func(rows pgx.Rows) error {
		k, err := scanTask(rows)
		c.look.reply.Tasks = append(c.look.reply.Tasks, k)
		return err
	}, ids.shards, ids.keys, ids.executions, ids.commands, expired, places, c.look.reply.Now, c.req.Limit)
}

// scanTask scans task_columns, whether it has expired, and the instance's ID.
func scanTask(rows pgx.Rows) (k provider.Task, err error) {
	var id *string
	err = rows.Scan(&k.Instance, &k.Execution, &k.Command, &k.Holder, &k.HeldSince, &k.Attempt, &k.VisibleAt, &k.ScheduledAt,
		&k.StartWithin, &k.CloseBy, &k.Parked, &k.Name, &k.Pool, &k.Session, &k.Payload, &k.Failure, &k.Details, &k.Expired, &id)
	if id != nil {
		k.InstanceID = *id
	}
	return k, err
}

// hold writes who holds the tasks that were taken.
func (c *taskTake) hold(t *trip) {
	var ids taskColumns
	var attempts []int64
	used := map[string]bool{}
	for i := range c.look.reply.Tasks {
		k := &c.look.reply.Tasks[i]
		k.Holder, k.HeldSince = c.req.Node, c.look.reply.Now
		if !k.Expired {
			k.Attempt++
			if k.Session != "" {
				used[k.Session] = true
			}
		}
		ids.add(c.s.keyShard(k.Instance), taskID{k.Instance, k.Execution, k.Command})
		attempts = append(attempts, k.Attempt)
	}
	if len(attempts) > 0 {
		t.add(qTasksHold, ids.shards, ids.keys, ids.executions, ids.commands, int64(c.req.Node), c.look.reply.Now, attempts)
	}
	c.useSessions(t, used)
}

// checkTasks reports which tasks are held, without writing anything.
func (s *Store) checkTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat, held []bool) error {
	ids := make([]taskID, len(batch))
	attempts, places := make([]int64, len(batch)), make([]int32, len(batch))
	for i := range batch {
		ids[i] = taskID{batch[i].Instance, batch[i].Execution, batch[i].Command}
		attempts[i], places[i] = batch[i].Attempt, int32(i)
	}
	columns := newTaskColumns(s, ids)
	return s.read(ctx, "extend tasks", func(run func(*trip) error) error {
		clear(held)
		t := s.trip()
		t.each(qTasksCheck, func(rows pgx.Rows) error {
			var place int
			err := rows.Scan(&place)
			held[place] = true
			return err
		}, columns.shards, columns.keys, columns.executions, columns.commands, attempts, int64(node), places)
		return run(t)
	})
}
