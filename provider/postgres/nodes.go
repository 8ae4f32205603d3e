package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// buryLimit is how many rows of a kind one transaction of a burial returns.
const buryLimit = 500

// Join implements [provider.Provider].
func (s *Store) Join(ctx context.Context, info provider.NodeInfo) (provider.NodeKey, error) {
	key := provider.NewNodeKey()
	err := s.write(ctx, "join", func(t *trip) {
		t.add(qNodeInsert, s.nodeShard(key), int64(key), clean(info.Name), int64(info.PID), clean(info.Version))
	})
	if err != nil {
		return 0, err
	}
	s.local.Store(key, true)
	return key, nil
}

// isLocal reports whether a node joined through this Store.
func (s *Store) isLocal(node provider.NodeKey) bool {
	_, ok := s.local.Load(node)
	return ok
}

// Heartbeat implements [provider.Provider].
func (s *Store) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	var pulse provider.Pulse
	err := s.write(ctx, "heartbeat", func(t *trip) {
		pulse = provider.Pulse{}
		t.add(qNodeBeat, s.nodeShard(node), int64(node))
		t.listNodes(&pulse.Nodes)
		t.each(qClock, one(&pulse.Now))
	})
	if err != nil {
		return provider.Pulse{}, err
	}
	for i := range pulse.Nodes {
		if n := &pulse.Nodes[i]; n.Key == node && !n.Dead {
			return pulse, nil
		}
	}
	s.local.Delete(node)
	return provider.Pulse{}, s.nodeGone("heartbeat", node)
}

// listNodes reads all nodes.
func (t *trip) listNodes(into *[]provider.NodeView) {
	*into = []provider.NodeView{}
	t.each(qNodeList, func(rows pgx.Rows) error {
		var n provider.NodeView
		err := rows.Scan(&n.Key, &n.Beat, &n.Dead, &n.Info.Name, &n.Info.PID, &n.Info.Version)
		*into = append(*into, n)
		return err
	})
}

func (s *Store) nodeGone(op string, node provider.NodeKey) error {
	return fmt.Errorf("postgres: %s: %s: node %x: %w", op, s.name, int64(node), provider.ErrNodeGone)
}

// Bury implements [provider.Provider]. A buried node keeps its row, marked
// dead, until all it held has been returned. Rows that others have locked are
// passed over and found again.
func (s *Store) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	result := provider.BuryResult{Done: true}
	if err := s.ready(ctx, "bury"); err != nil {
		return provider.BuryResult{}, err
	}
	dead := false
	err := s.transact(ctx, func(ctx context.Context, x *tx) (err error) {
		dead, err = s.declareDead(ctx, x, b)
		return err
	})
	if err == nil && dead {
		s.local.Delete(b.Node)
		err = s.transact(ctx, func(ctx context.Context, x *tx) (err error) {
			result, err = s.returnHoldings(ctx, x, b.Node)
			return err
		})
	}
	if err != nil {
		return provider.BuryResult{}, s.fail(ctx, "bury", err)
	}
	if result.Instances+result.Tasks > 0 {
		s.announce()
	}
	return result, nil
}

// declareDead marks the node, unless its beat moved. Its row is locked against
// everybody who writes its key, so from here on nobody does.
func (s *Store) declareDead(ctx context.Context, x *tx, b provider.Burial) (dead bool, err error) {
	var beat int64
	found := false
	err = x.begin(ctx, func(t *trip) {
		t.each(qNodeBury, func(rows pgx.Rows) error {
			found = true
			return rows.Scan(&beat, &dead)
		}, s.nodeShard(b.Node), int64(b.Node))
	})
	if err != nil || !found || !dead && beat != b.Beat && !b.Force {
		return false, err // once rolls back
	}
	t := s.trip()
	if !dead {
		t.add(qNodeDead, s.nodeShard(b.Node), int64(b.Node))
	}
	return true, x.commit(ctx, t)
}

// returnHoldings returns a part of what a dead node holds to the pool, and
// removes the node when that was all.
func (s *Store) returnHoldings(ctx context.Context, x *tx, node provider.NodeKey) (result provider.BuryResult, err error) {
	var now int64
	var orphans []*entry
	var tasks taskColumns
	var attempts, visibleAts, expires, holders []int64
	var parked []bool
	err = x.begin(ctx, func(t *trip) {
		t.each(qClock, one(&now))
		t.each(qInstancesOrphaned, func(rows pgx.Rows) error {
			e := &entry{}
			orphans = append(orphans, e)
			return rows.Scan(e.columns()...)
		}, s.allShards, int64(node), buryLimit)
		t.each(qTasksOrphaned, func(rows pgx.Rows) error {
			var id taskID
			var k provider.NewTask
			if err := rows.Scan(&id.key, &id.execution, &id.command, &k.Attempt, &k.Parked, &k.StartWithin, &k.CloseBy); err != nil {
				return err
			}
			k.VisibleAt = now
			tasks.add(s.keyShard(id.key), id)
			attempts, holders, parked = append(attempts, k.Attempt), append(holders, 0), append(parked, k.Parked)
			visibleAts, expires = append(visibleAts, now), append(expires, k.ComputeExpiresAt())
			return nil
		}, s.allShards, int64(node), buryLimit)
	})
	if err != nil {
		return result, err
	}
	t := s.trip()
	if len(orphans) > 0 {
		var owners ownerColumns
		for _, e := range orphans {
			e.Owner = 0
			e.WakeAt = e.ComputeWakeAt(now)
			owners.add(s.keyShard(e.Key), &e.Instance)
		}
		t.add(qInstancesOwner, owners.args()...)
	}
	if len(attempts) > 0 {
		none := make([][]byte, len(attempts))
		t.add(qTasksUpdate, tasks.shards, tasks.keys, tasks.executions, tasks.commands, holders, attempts,
			visibleAts, expires, parked, none, none)
	}
	result = provider.BuryResult{Instances: len(orphans), Tasks: len(attempts)}
	if len(orphans) < buryLimit && len(attempts) < buryLimit {
		t.add(qSessionsCloseAll, s.allShards, int64(node))
		t.add(qNodeDelete, s.nodeShard(node), int64(node), s.allShards)
		left := false
		t.each(qNodeLook, func(rows pgx.Rows) error {
			var alive, known bool
			err := rows.Scan(&alive, &known, &now)
			left = known
			return err
		}, s.nodeShard(node), int64(node))
		err = x.commit(ctx, t)
		result.Done = !left
		return result, err
	}
	return result, x.commit(ctx, t)
}

// ownerColumns are changes of ownership as arrays.
type ownerColumns struct {
	shards                          []int32
	keys, owners, attempts, wakeAts []int64
}

func (c *ownerColumns) add(shard int32, in *provider.Instance) {
	c.shards, c.keys = append(c.shards, shard), append(c.keys, int64(in.Key))
	c.owners, c.attempts = append(c.owners, int64(in.Owner)), append(c.attempts, in.Attempts)
	c.wakeAts = append(c.wakeAts, in.WakeAt)
}

func (c *ownerColumns) args() []any { return []any{c.shards, c.keys, c.owners, c.attempts, c.wakeAts} }

// Owned implements [provider.Provider].
func (s *Store) Owned(ctx context.Context, node provider.NodeKey) (provider.Holdings, error) {
	var h provider.Holdings
	err := s.read(ctx, "owned", func(run func(*trip) error) error {
		h = provider.Holdings{}
		t := s.trip()
		t.each(qInstancesOwned, func(rows pgx.Rows) error {
			var held provider.Holding
			err := rows.Scan(&held.Key, &held.NextTurn)
			h.Instances = append(h.Instances, held)
			return err
		}, s.allShards, int64(node))
		t.each(qTasksHeld, func(rows pgx.Rows) error {
			var ref provider.TaskRef
			err := rows.Scan(&ref.Instance, &ref.Execution, &ref.Command, &ref.Attempt)
			h.Tasks = append(h.Tasks, ref)
			return err
		}, s.allShards, int64(node))
		return run(t)
	})
	return h, err
}
