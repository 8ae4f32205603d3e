package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// bindSessions begins the transaction of a claim that has to do with sessions:
// it closes what is idle, opens what the first candidates need and the node
// has room for, and drops the candidates whose sessions the node has not. The
// node's row keeps other claims of the same node out meanwhile, so that they
// count the same sessions.
func (c *taskTake) bindSessions(ctx context.Context, x *tx) error {
	alive := false
	own := map[string]bool{}
	var idle []string
	err := x.begin(ctx, func(t *trip) {
		t.each(qNodeLockAlone, func(pgx.Rows) error {
			alive = true
			return nil
		}, c.s.nodeShard(c.req.Node), int64(c.req.Node))
		if c.req.SessionIdle > 0 {
			t.each(qSessionsIdle, func(rows pgx.Rows) error {
				var name string
				err := rows.Scan(&name)
				idle = append(idle, name)
				return err
			}, c.s.allShards, int64(c.req.Node), c.req.SessionIdle)
		}
		t.each(qSessionsOf, func(rows pgx.Rows) error {
			var name string
			var unused bool
			err := rows.Scan(&name, &unused)
			own[name] = true
			return err
		}, c.s.allShards, int64(c.req.Node), c.req.SessionIdle)
	})
	switch {
	case err != nil:
		return err
	case !alive:
		return provider.ErrNodeGone
	}
	for _, name := range idle {
		delete(own, name)
	}
	wanted := c.wanted(own)
	c.opened = map[string]bool{}
	t := c.s.trip()
	if len(idle) > 0 {
		t.add(qSessionsClose, c.s.textShards(idle), idle, int64(c.req.Node))
	}
	if len(wanted) > 0 {
		slices.Sort(wanted) // two nodes that open the same ones do so in one order
		t.each(qSessionsOpen, func(rows pgx.Rows) error {
			var name string
			err := rows.Scan(&name)
			c.opened[name], own[name] = true, true
			return err
		}, c.s.textShards(wanted), wanted, int64(c.req.Node), c.look.reply.Now)
	}
	if len(idle)+len(wanted) > 0 {
		if err := x.run(ctx, t); err != nil {
			return err
		}
	}
	c.due = slices.DeleteFunc(slices.Clone(c.due), func(d dueTask) bool { return d.session != "" && !own[d.session] })
	return nil
}

// wanted returns the sessions to open: those that the tasks the claim would
// take need, as many as the node has room for.
func (c *taskTake) wanted(own map[string]bool) (names []string) {
	room := c.req.MaxSessions - len(own)
	taken := 0
	for _, d := range c.due {
		if taken == c.req.Limit {
			break
		}
		if d.session != "" && !own[d.session] && !slices.Contains(names, d.session) {
			if len(names) >= room {
				continue
			}
			names = append(names, d.session)
		}
		taken++
	}
	return names
}

// useSessions notes that sessions were used, and closes again those that were
// opened for tasks which somebody else took.
func (c *taskTake) useSessions(t *trip, used map[string]bool) {
	if len(used) > 0 {
		names := slices.Sorted(maps.Keys(used))
		nodes := slices.Repeat([]int64{int64(c.req.Node)}, len(names))
		t.add(qSessionsUse, c.s.textShards(names), names, nodes, c.look.reply.Now)
	}
	var unused []string
	for name := range c.opened {
		if !used[name] {
			unused = append(unused, name)
		}
	}
	if len(unused) > 0 {
		t.add(qSessionsClose, c.s.textShards(unused), unused, int64(c.req.Node))
	}
}
