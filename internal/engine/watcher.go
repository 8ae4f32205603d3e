package engine

import (
	"context"
	"sync"
	"time"

	"github.com/durango-go/durango/provider"
)

// One watcher per client looks at the store for all who wait: when a change
// is announced, and slowly in between, because announcements are only hints.
// It exists while somebody waits for an instance that the node does not own.

// How often the watcher looks by itself: quickly at first, and the more
// seldom the more instances there are to look at.
const (
	watchMin     = 2 * time.Millisecond
	watchMax     = 500 * time.Millisecond
	watchMaxHint = 5 * time.Second // with a store that announces changes
	watchPerItem = time.Millisecond
)

func (c *Client) ensureWatching() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watching {
		return
	}
	c.watching = true
	c.wg.Go(c.watch)
}

func (c *Client) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var hints sync.WaitGroup
	defer hints.Wait()
	defer cancel()
	slowest := watchMax
	if known := c.contract.Load(); known != nil && known.Store.Capabilities.Watch {
		slowest = watchMaxHint
	}
	if c.e == nil { // a node watches already, and passes the hint on
		hints.Go(func() { _ = c.store.Watch(ctx, func() { poke(c.hint) }) })
	}
	rest := watchMin
	for {
		out, idle := c.outOfSight()
		if idle {
			return
		}
		if c.look(ctx, out) {
			rest = watchMin
		} else {
			rest = min(2*rest, slowest)
		}
		t := time.NewTimer(max(rest, time.Duration(len(out))*watchPerItem))
		select {
		case <-t.C:
			if rest == slowest {
				c.unsee() // whatever the reason
			}
		case <-c.hint:
			t.Stop()
			rest = watchMin
		}
	}
}

// outOfSight lists those who wait for an instance that the node does not own.
// It reports whether the watcher may end, and then has already marked it as
// ended.
func (c *Client) outOfSight() (out []*waiter, idle bool) {
	c.mu.Lock()
	if len(c.waiters) == 0 {
		c.watching = false
		clear(c.unseen)
		c.mu.Unlock()
		return nil, true
	}
	unseen := c.unseen
	c.unseen = make(map[provider.Key]struct{}, len(unseen)) // of those that are let go meanwhile
	c.mu.Unlock()
	for k := range unseen {
		if c.inSight(k) {
			delete(unseen, k)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range unseen {
		if list := c.waiters[k]; len(list) > 0 {
			c.unseen[k] = struct{}{}
			out = append(out, list...)
		}
	}
	return out, false
}

// look reports whether something that one of the waiters waits for has
// happened.
func (c *Client) look(ctx context.Context, out []*waiter) bool {
	var ends []provider.Target
	var lookups []provider.Lookup
	asked := map[provider.Key]bool{}
	var asking []*waiter
	for _, w := range out {
		to := provider.Target{Key: w.key}
		switch {
		case w.kind != 0:
			lookups = append(lookups, provider.Lookup{To: to, Kind: w.kind, Name: w.name})
			asking = append(asking, w)
		case !asked[w.key]:
			asked[w.key] = true
			ends = append(ends, to)
		}
	}
	found := false
	if len(ends) > 0 {
		outcomes, err := c.store.Outcomes(ctx, ends)
		for i := range outcomes {
			o := outcomes[i]
			o.Key = ends[i].Key
			switch {
			case err != nil:
			case !o.Status.Open(): // ended, or deleted: Status 0
				c.ended(o)
				found = true
			case o.Status == provider.Quarantined && c.ended(o):
				found = true
			}
		}
	}
	if len(lookups) > 0 {
		findings, err := c.store.Lookup(ctx, lookups)
		for i := range findings {
			if err == nil && asking[i].take(findings[i]) {
				found = true
			}
		}
	}
	return found
}

// watch passes the store's hints to everyone on this node who polls.
func (e *Engine) watch(ctx context.Context) {
	for {
		err := e.store.Watch(ctx, func() {
			poke(e.wake)
			poke(e.wakeTask)
			poke(e.wakeSurvey)
			poke(e.wakeBeat)
			poke(e.client.hint)
		})
		if ctx.Err() != nil {
			return
		}
		e.o.Logger.Warn("watch ended; it begins again", "error", err)
		if !e.await(ctx, nil, time.Second) {
			return
		}
	}
}
