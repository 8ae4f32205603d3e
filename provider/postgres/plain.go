package postgres

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// A plain turn changes nothing but what every turn changes, or ends an instance
// that has nothing to clear away. Such turns are most of all writes. Nothing has to
// be read before one is written: that the row is as the turn expects it is a
// condition of the update, so a group of them is one trip. One that does not
// meet the row it expects changes nothing, and goes the way of all others.

// settled is what an instance was like after the last commit of this process,
// if the next turn may be a plain one. It saves attempts that would fail, and
// decides nothing: what others can change is a condition of the update.
type settled struct {
	readSeq, historyFrom, execution int64
	name, version                   string
}

// settledRows remembers them, for instances of the nodes of this process.
type settledRows struct {
	mu   sync.Mutex
	rows map[provider.Key]settled
}

// maxSettled bounds the rows remembered. They are some 100 bytes each.
const maxSettled = 1 << 16

// note remembers what a group has left behind.
func (r *settledRows) note(s *Store, touched []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range touched {
		if e.Owner == 0 || e.Status != provider.Running || e.Unread() || e.Attempts|e.NotBefore|e.FailedAt != 0 || !s.isLocal(e.Owner) {
			delete(r.rows, e.Key)
			continue
		}
		if r.rows == nil || len(r.rows) >= maxSettled {
			r.rows = map[provider.Key]settled{}
		}
		r.rows[e.Key] = settled{e.ReadSeq, e.HistoryFrom, e.Execution, e.Name, e.Version}
	}
}

// plain reports whether every commit of a batch may be of a plain turn.
func (r *settledRows) plain(batch []provider.Commit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range batch {
		c := &batch[i]
		row, known := r.rows[c.Key]
		if !known || row != (settled{c.ReadSeq, c.HistoryFrom, c.Execution, c.Name, c.Version}) || !mayBePlain(c) {
			return false
		}
	}
	return true
}

// mayBePlain reports whether a commit asks for nothing that a plain turn is not.
func mayBePlain(c *provider.Commit) bool {
	switch {
	case c.Turn == nil || c.Turn.Execution != c.Execution || c.Turn.CommitID != c.CommitID || len(c.Turn.Events) > maxTurnSize():
		return false
	case c.Status != provider.Running && c.Status.Open(), c.Status == provider.Running && c.Release, c.DeadLetter():
		return false
	case c.Failure != "" || c.Charge || c.NotBefore != 0 || c.CustomStatus != nil || c.DropReplies != 0 || tooLarge(c.Outcome):
		return false
	case len(c.Values)+len(c.Replies)+len(c.Blobs)+len(c.Tasks)+len(c.Children)+len(c.Messages)+len(c.CancelTasks) > 0:
		return false
	}
	return c.Check(&provider.Instance{MailboxSeq: c.ReadSeq}) == nil
}

// plainColumns are plain turns as arrays.
type plainColumns struct {
	shards, deliveries, commands                                           []int32
	keys, numbers, executions, commits, times, dueAts, readSeqs, nextOwner []int64
	statuses                                                               []int16
	events, outcomes                                                       [][]byte
}

func (p *plainColumns) add(s *Store, node provider.NodeKey, c *provider.Commit) {
	owner, outcome := node, []byte(nil)
	if !c.Status.Open() {
		owner, outcome = 0, c.Outcome
	}
	p.shards, p.keys, p.numbers = append(p.shards, s.keyShard(c.Key)), append(p.keys, int64(c.Key)), append(p.numbers, c.Expect)
	p.executions, p.commits = append(p.executions, c.Execution), append(p.commits, c.CommitID)
	p.times, p.deliveries = append(p.times, c.Turn.Time), append(p.deliveries, int32(c.Turn.Deliveries))
	p.commands, p.events = append(p.commands, int32(c.Turn.Commands)), append(p.events, c.Turn.Events)
	p.dueAts, p.readSeqs = append(p.dueAts, c.DueAt), append(p.readSeqs, c.ReadSeq)
	p.statuses, p.nextOwner = append(p.statuses, int16(c.Status)), append(p.nextOwner, int64(owner))
	p.outcomes = append(p.outcomes, outcome)
}

// plainly writes the plain turns of a node in one trip, and returns the items
// that met another row than they expected.
func (s *Store) plainly(ctx context.Context, node provider.NodeKey, items []item) (rest []item, err error) {
	turns := slices.Clone(items)
	slices.SortFunc(turns, func(a, b item) int { // the order of all locks
		x, y := a.commit().Key, b.commit().Key
		return cmp.Or(cmp.Compare(s.keyShard(x), s.keyShard(y)), cmp.Compare(x, y))
	})
	var columns plainColumns
	for _, it := range turns {
		columns.add(s, node, it.commit())
	}
	type done struct {
		key    provider.Key
		commit int64
	}
	var applied map[done]bool
	err = s.transact(ctx, func(ctx context.Context, x *tx) error {
		applied = make(map[done]bool, len(items))
		x.ofGroup, x.open = true, true
		t := s.trip()
		t.add(qBegin)
		t.set()
		t.add(qNodesLock, []int32{s.nodeShard(node)}, []int64{int64(node)})
		t.each(qTurnsPlain, func(rows pgx.Rows) error {
			var d done
			err := rows.Scan(&d.key, &d.commit)
			applied[d] = true
			return err
		}, columns.shards, columns.keys, columns.numbers, columns.executions, columns.commits, columns.times, columns.deliveries,
			columns.commands, columns.events, columns.dueAts, columns.readSeqs, columns.statuses, columns.nextOwner, columns.outcomes,
			s.nodeShard(node), int64(node))
		return x.commit(ctx, t)
	})
	if err != nil {
		return items, err
	}
	s.counts.transactions.Add(1)
	s.counts.items.Add(int64(len(applied)))
	loud := false
	s.settled.mu.Lock()
	for _, it := range items {
		c := it.commit()
		ok := applied[done{c.Key, c.CommitID}]
		if !ok || !c.Status.Open() {
			delete(s.settled.rows, c.Key)
		}
		if !ok {
			rest = append(rest, it)
			continue
		}
		it.r.applied(it.i)
		loud = loud || !c.Status.Open() // somebody may wait for it
	}
	s.settled.mu.Unlock()
	if loud {
		s.announce()
	}
	return rest, nil
}
