package engine

import (
	"context"
	"errors"
	"time"

	"github.com/durango-go/durango/provider"
)

// dispatch claims instances ahead of need. The depth adapts: a claim that
// comes back full doubles the next, one that does not halves it, and a node
// whose executions are all busy claims nothing until some are done.
func (e *Engine) dispatch(ctx context.Context) {
	depth, rest := e.o.MinPrefetch, e.o.MinPoll
	for ctx.Err() == nil {
		limit := min(depth, e.room())
		reply, err := e.claim(ctx, limit)
		wait := rest
		switch {
		case err != nil:
			wait = min(e.o.MaxPoll, time.Second)
		case limit > 0 && len(reply.Claimed) == limit:
			depth = min(2*depth, e.o.MaxPrefetch)
			wait = 0
		case len(reply.Claimed)+len(reply.Mail) > 0:
			depth = max(depth/2, e.o.MinPrefetch)
			rest = e.o.MinPoll
			wait = rest
		default:
			rest = min(2*rest, e.o.MaxPoll)
		}
		if err == nil && reply.NextDue != provider.Never {
			wait = min(wait, max(0, time.Duration(reply.NextDue-e.clock.now())))
		}
		if limit == 0 {
			wait = max(min(wait, fullPoll), e.o.MinPoll)
		}
		if !e.await(ctx, e.wake, wait) {
			return
		}
	}
}

// fullPoll is the longest pause of a node that takes nothing because it has no
// room: nothing is announced when it has some again.
const fullPoll = 500 * time.Millisecond

// await waits for a wake-up or for d. It reports whether ctx still runs.
func (e *Engine) await(ctx context.Context, wake <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		select {
		case <-wake:
		default:
		}
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-wake:
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// room is how many more executions this node may take on: as many as it can
// keep busy, and not more than it can hold.
func (e *Engine) room() int {
	if !e.member() {
		return 0
	}
	e.mu.Lock()
	held := len(e.execs)
	e.mu.Unlock()
	return max(0, min(2*e.o.MaxPrefetch-int(e.busy.Load()), e.capacity()-held))
}

// capacity is how many executions a node holds, hot ones that it does not own
// included. Beyond it, those that wait are released at once.
func (e *Engine) capacity() int { return 2*e.o.MaxHot + e.o.MaxPrefetch }

func (e *Engine) claim(ctx context.Context, limit int) (provider.ClaimReply, error) {
	node := e.nodeKey()
	if node == 0 {
		return provider.ClaimReply{}, provider.ErrNodeGone
	}
	reply, err := e.store.Claim(ctx, provider.ClaimRequest{Node: node, Definitions: *e.definitions.Load(), Limit: limit})
	if err != nil {
		if errors.Is(err, provider.ErrNodeGone) {
			e.lostMembership(node)
		} else if ctx.Err() == nil {
			e.o.Logger.Warn("claim failed", "error", err)
		}
		return reply, err
	}
	e.clock.set(reply.Now)
	e.metrics.claimed.Add(int64(len(reply.Claimed)))
	for i := range reply.Claimed {
		e.adopt(&reply.Claimed[i], node)
	}
	for _, k := range reply.Mail {
		e.mailCame(k, false)
	}
	return reply, nil
}

// adopt takes on an instance that this node has come to own. A machine that
// is still hot is used again if it is of the same moment.
func (e *Engine) adopt(row *provider.Instance, node provider.NodeKey) {
	e.mu.Lock()
	x := e.execs[row.Key]
	if x == nil {
		x = &execution{key: row.Key}
		e.execs[row.Key] = x
	}
	e.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.state == gone { // forgotten since; the next round finds it by reconciliation
		poke(e.wake)
		e.readopt(row, node)
		return
	}
	if x.state == committing && x.turn.commit.Release {
		// Released in the store already, and claimed again, before the commit
		// that released it has returned.
		again := *row
		x.reclaimed = &again
		return
	}
	if x.state != idle || x.node != 0 {
		return // owned before: the claim was of an earlier incarnation
	}
	x.node, x.charged, x.attempts = node, true, row.Attempts
	x.noteFault(row)
	if x.machine != nil && (x.nextTurn != row.NextTurn || x.generation != row.Execution || x.suspicious()) {
		e.closeMachine(x)
	}
	x.inbox, x.mailSeen, x.needMail = x.inbox[:0], row.ReadSeq, row.Unread()
	if x.machine == nil {
		e.adoptRow(x, row)
		e.leaveIdle(x, loading)
		e.loads.add(x)
		return
	}
	x.status = row.Status
	if e.poke(x) {
		e.turns.push(x)
	}
	// Otherwise it was claimed for a timer that the store's clock sees a little
	// earlier than this node does; the timer is set.
}

// readopt adopts with a fresh execution in place of one that is gone.
func (e *Engine) readopt(row *provider.Instance, node provider.NodeKey) {
	x := &execution{key: row.Key, node: node, charged: true}
	x.occupy()
	e.adoptRow(x, row)
	x.needMail = row.Unread()
	x.state = loading
	e.busy.Add(1)
	e.mu.Lock()
	e.execs[row.Key] = x
	e.mu.Unlock()
	e.loads.add(x)
}

// mailCame is told that an owned instance has mail from outside. One that is
// busy with a commit may have missed it, so the hint is kept if certain; an
// uncertain one, from a claim, comes again.
func (e *Engine) mailCame(k provider.Key, certain bool) {
	x := e.lookup(k)
	if x == nil {
		return // not here; or reconciliation adopts it
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.node == 0 || x.state == gone:
	case x.state != idle:
		x.mailHint = x.mailHint || certain
	case certain || len(x.inbox) == 0:
		x.needMail = true
		if e.poke(x) {
			e.turns.push(x)
		}
	}
}
