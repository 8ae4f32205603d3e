package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/durango-go/durango/provider"
)

// A group is bounded so that the first in it does not wait long for the last,
// and so that its arrays fit into the server's memory.
const (
	maxGroupItems = 512
	maxGroupBytes = 4 << 20
)

// errApart is returned for a group with items that do not go together.
var errApart = errors.New("the items of the group must be executed one by one")

// request is what a caller wants written: n items, executed in order. It must
// bear being executed again after a rollback.
type request struct {
	op string
	n  int
	// bytes is roughly how much will be written.
	bytes int
	// alone keeps others out of its group.
	alone bool
	// node, unless zero, must be a member for the request to be executed.
	node provider.NodeKey
	// needs says what item i has to know of the store.
	needs func(n *needs, i int)
	// run executes item i against what was read. What is wrong with the item
	// belongs in its result.
	run func(t *txn, i int)
	// fail stores what went wrong with item i when it was executed alone. Nil
	// for requests that are not a batch.
	fail func(i int, err error)
	// plain are the commits of a request that may be executed without a look at
	// the rows before; applied tells of item i that it was.
	plain   []provider.Commit
	applied func(i int)

	ctx   context.Context // of the caller, while the request lasts
	err   error
	wake  chan bool  // receives true when the request's owner has to lead
	group []*request // what it has to lead
}

// groups queues requests and lets their owners execute them, a few groups at
// a time.
type groups struct {
	s       *Store
	mu      sync.Mutex
	queue   []*request
	leaders int
	closed  bool
	idle    *sync.Cond // leaders became zero
}

func (g *groups) init(s *Store) {
	g.s = s
	g.idle = sync.NewCond(&g.mu)
}

// submit has a request executed. A context that ends before the request's
// group has begun takes the request back; after that the call waits, because
// the group reads the caller's buffers, and is cut short when everybody whose
// request is in the group has given up.
func (s *Store) submit(ctx context.Context, op string, r *request) error {
	if err := s.ready(ctx, op); err != nil || r.n == 0 {
		return err
	}
	r.op, r.ctx, r.wake = op, ctx, make(chan bool, 1)
	g := &s.groups
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return s.closedError(op)
	}
	g.queue = append(g.queue, r)
	lead := g.leaders < s.options.Writers
	if lead {
		g.leaders++
		g.appoint()
	}
	g.mu.Unlock()

	select {
	case lead = <-r.wake:
	case <-ctx.Done():
		if g.remove(r) {
			return fmt.Errorf("postgres: %s: %w", op, ctx.Err())
		}
		lead = <-r.wake
	}
	if lead {
		s.execute(r.group)
		for _, other := range r.group {
			if other != r {
				other.wake <- false
			}
		}
		r.group = nil
		g.mu.Lock()
		g.appoint()
		g.mu.Unlock()
	}
	return r.err
}

// appoint makes the owner of the oldest request lead what is queued. If there
// is nothing, there is one leader less.
func (g *groups) appoint() {
	if len(g.queue) == 0 {
		g.leaders--
		if g.leaders == 0 {
			g.idle.Broadcast()
		}
		return
	}
	n, items, bytes := 0, 0, 0
	for _, r := range g.queue {
		if n > 0 && (r.alone || r.apart(g.queue[0]) || g.queue[0].alone || items+r.n > maxGroupItems || bytes+r.bytes > maxGroupBytes) {
			break
		}
		n, items, bytes = n+1, items+r.n, bytes+r.bytes
	}
	leader := g.queue[0]
	leader.group = append([]*request(nil), g.queue[:n]...)
	rest := copy(g.queue, g.queue[n:])
	clear(g.queue[rest:])
	g.queue = g.queue[:rest]
	leader.wake <- true
}

// apart reports whether two requests have to be executed apart: of two kinds, or
// plain ones of two nodes.
func (r *request) apart(other *request) bool {
	return (r.plain == nil) != (other.plain == nil) || r.plain != nil && r.node != other.node
}

// remove takes a request out of the queue, if it is still there.
func (g *groups) remove(r *request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, q := range g.queue {
		if q == r {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			return true
		}
	}
	return false
}

// close waits for what is under way. What is queued behind it is executed
// too: it was accepted.
func (g *groups) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for g.leaders > 0 {
		g.idle.Wait()
	}
}

// execute executes a group, and item by item what does not work as a group.
func (s *Store) execute(group []*request) {
	ctx, done := groupContext(group)
	defer done()
	items := make([]item, 0, len(group))
	for _, r := range group {
		for i := range r.n {
			items = append(items, item{r, i})
		}
	}
	var err error
	if group[0].plain != nil {
		items, err = s.plainly(ctx, group[0].node, items)
	}
	if err == nil && len(items) > 0 {
		err = s.attempt(ctx, items)
	}
	if err == nil {
		return
	}
	s.distrust(context.Background(), ctx)
	if wholesale(err) || len(items) == 1 && items[0].r.fail == nil {
		for _, r := range group {
			r.err = s.fail(r.ctx, r.op, err)
		}
		return
	}
	for _, it := range items {
		if len(items) > 1 { // else it has just been tried
			err = s.attempt(ctx, []item{it})
		}
		switch {
		case err == nil:
		case it.r.fail != nil:
			it.r.fail(it.i, s.fail(it.r.ctx, it.r.op, err))
		default:
			it.r.err = s.fail(it.r.ctx, it.r.op, err)
		}
	}
}

// groupContext ends when all who wait for the group have given up.
func groupContext(group []*request) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	var waiting atomic.Int64
	waiting.Store(int64(len(group)))
	stops := make([]func() bool, 0, len(group))
	for _, r := range group {
		if r.ctx.Done() == nil {
			continue
		}
		stops = append(stops, context.AfterFunc(r.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// item is one item of a request.
type item struct {
	r *request
	i int
}

// commit is that of an item of a plain request.
func (it item) commit() *provider.Commit { return &it.r.plain[it.i] }

// attempt executes items in one transaction.
func (s *Store) attempt(ctx context.Context, items []item) error {
	var t *txn
	err := s.transact(ctx, func(ctx context.Context, x *tx) error {
		t, x.ofGroup = newTxn(s), true
		n := &needs{}
		for _, it := range items {
			if it.r.node != 0 {
				n.nodes = append(n.nodes, it.r.node)
			}
			it.r.needs(n, it.i)
		}
		if err := t.read(ctx, x, n); err != nil {
			return err
		}
		for _, it := range items {
			it.r.err = nil
			if it.r.node != 0 && !t.members[it.r.node] {
				it.r.err = s.nodeGone(it.r.op, it.r.node)
				continue
			}
			it.r.run(t, it.i)
		}
		if t.apart {
			return errApart
		}
		return t.write(ctx, x)
	})
	if err == nil {
		s.counts.transactions.Add(1)
		s.counts.items.Add(int64(len(items)))
		t.after()
	}
	return err
}
