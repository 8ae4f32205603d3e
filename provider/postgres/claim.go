package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// looks is how often a claim looks again when everything it saw was taken by
// others before it could lock any.
const looks = 3

// candidates is how many rows a claim of limit looks at in each place, so that
// what others have locked at this moment does not hide what is behind it.
func candidates(limit int) int { return 2*limit + 16 }

// Claim implements [provider.Provider]. It looks first, without a lock, and
// writes only if there is something to claim.
func (s *Store) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	for n := 1; ; n++ {
		l, err := s.lookForInstances(ctx, &req)
		if err != nil || len(l.due) == 0 {
			return l.reply, err
		}
		if err := s.takeInstances(ctx, &req, l); err != nil {
			return provider.ClaimReply{}, s.fail(ctx, "claim", err)
		}
		if len(l.reply.Claimed) > 0 || n == looks {
			return l.reply, nil
		}
	}
}

// dueInstance is a candidate of a claim.
type dueInstance struct {
	key    provider.Key
	wakeAt int64
}

// instanceLook is what a claim saw.
type instanceLook struct {
	reply provider.ClaimReply
	due   []dueInstance
}

func (s *Store) lookForInstances(ctx context.Context, req *provider.ClaimRequest) (*instanceLook, error) {
	var names, versions []string
	for _, d := range req.Definitions {
		if validOrEmpty(d.Name) && validOrEmpty(d.Version) {
			names, versions = append(names, d.Name), append(versions, d.Version)
		}
	}
	var l *instanceLook
	var alive bool
	err := s.read(ctx, "claim", func(run func(*trip) error) error {
		l, alive = &instanceLook{reply: provider.ClaimReply{NextDue: provider.Never}}, false
		t := s.trip()
		t.lookAtNode(req.Node, &alive, &l.reply.Now)
		t.each(qInstancesMail, func(rows pgx.Rows) error {
			var k provider.Key
			err := rows.Scan(&k)
			l.reply.Mail = append(l.reply.Mail, k)
			return err
		}, s.allShards, int64(req.Node))
		if len(names) > 0 {
			if req.Limit > 0 {
				t.each(qInstancesDue, func(rows pgx.Rows) error {
					var d dueInstance
					err := rows.Scan(&d.key, &d.wakeAt)
					l.due = append(l.due, d)
					return err
				}, names, versions, s.allShards, candidates(req.Limit))
			}
			t.each(qInstancesNextDue, earliest(&l.reply.NextDue), names, versions, s.allShards, nil)
		}
		return run(t)
	})
	if err == nil && !alive {
		err = s.nodeGone("claim", req.Node)
	}
	if err != nil {
		return &instanceLook{}, err
	}
	slices.SortFunc(l.due, func(a, b dueInstance) int {
		return cmp.Or(cmp.Compare(a.wakeAt, b.wakeAt), cmp.Compare(a.key, b.key))
	})
	l.due = l.due[:min(len(l.due), candidates(req.Limit))]
	return l, nil
}

// lookAtNode asks whether the node is a member, and what time it is.
func (t *trip) lookAtNode(node provider.NodeKey, alive *bool, now *int64) {
	t.each(qNodeLook, func(rows pgx.Rows) error {
		var known bool
		return rows.Scan(alive, &known, now)
	}, t.s.nodeShard(node), int64(node))
}

// earliest scans a time that may be NULL, and keeps the smaller.
func earliest(into *int64) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var at *int64
		if err := rows.Scan(&at); err != nil || at == nil {
			return err
		}
		*into = min(*into, *at)
		return nil
	}
}

// takeInstances locks what was seen and is still to be had.
func (s *Store) takeInstances(ctx context.Context, req *provider.ClaimRequest, l *instanceLook) error {
	keys, shards, places := make([]int64, len(l.due)), make([]int32, len(l.due)), make([]int32, len(l.due))
	for i, d := range l.due {
		keys[i], shards[i], places[i] = int64(d.key), s.keyShard(d.key), int32(i)
	}
	return s.transact(ctx, func(ctx context.Context, x *tx) error {
		l.reply.Claimed = nil
		alive := false
		err := x.begin(ctx, func(t *trip) {
			t.lockNode(req.Node, &alive)
			t.each(qInstancesTake, func(rows pgx.Rows) error {
				in, err := scanInstance(rows)
				l.reply.Claimed = append(l.reply.Claimed, in)
				return err
			}, shards, keys, places, l.reply.Now, req.Limit)
		})
		switch {
		case err != nil:
			return err
		case !alive:
			return provider.ErrNodeGone
		case len(l.reply.Claimed) == 0:
			return nil
		}
		var owners ownerColumns
		for i := range l.reply.Claimed {
			in := &l.reply.Claimed[i]
			in.Owner = req.Node
			in.Attempts++
			in.WakeAt = in.ComputeWakeAt(l.reply.Now)
			owners.add(s.keyShard(in.Key), in)
		}
		t := s.trip()
		t.add(qInstancesOwner, owners.args()...)
		return x.commit(ctx, t)
	})
}

// lockNode holds the node's row against Bury, if it is there.
func (t *trip) lockNode(node provider.NodeKey, alive *bool) {
	t.each(qNodesLock, func(pgx.Rows) error {
		*alive = true
		return nil
	}, []int32{t.s.nodeShard(node)}, []int64{int64(node)})
}

// scanInstance scans instance_columns.
func scanInstance(rows pgx.Rows, more ...any) (provider.Instance, error) {
	e := entry{}
	var failure []byte
	dest := append(e.columns(), &failure, &e.CustomStatus, &e.Outcome)
	err := rows.Scan(append(dest, more...)...)
	if e.FailedAt != 0 { // the text of a failure outlives it in the row
		e.TurnFailure = string(failure)
	}
	return e.Instance, err
}
