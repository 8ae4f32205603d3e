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
	if c.e == nil { // a node watches already, and passes the hint on
		hints.Go(func() { _ = c.store.Watch(ctx, func() { poke(c.hint) }) })
		if d, err := c.store.Describe(ctx); err == nil && d.Capabilities.Watch {
			slowest = watchMaxHint
		}
	} else if c.e.desc.Capabilities.Watch {
		slowest = watchMaxHint
	}
	rest := watchMin
	for {
		targets, idle := c.targets()
		if idle {
			return
		}
		if c.look(ctx, targets) {
			rest = watchMin
		} else {
			rest = min(2*rest, slowest)
		}
		t := time.NewTimer(max(rest, time.Duration(len(targets))*watchPerItem))
		select {
		case <-t.C:
		case <-c.hint:
			t.Stop()
			rest = watchMin
		}
	}
}

// targets lists what somebody waits for and the node does not own. It reports
// whether the watcher may end, and then has already marked it as ended.
func (c *Client) targets() (targets []provider.Target, idle bool) {
	c.mu.Lock()
	if len(c.waiters) == 0 {
		c.watching = false
		c.mu.Unlock()
		return nil, true
	}
	keys := make([]provider.Key, 0, len(c.waiters))
	for k := range c.waiters {
		keys = append(keys, k)
	}
	c.mu.Unlock()
	for _, k := range keys {
		if !c.inSight(k) {
			targets = append(targets, provider.Target{Key: k})
		}
	}
	return targets, false
}

// look reports whether one of the targets has ended.
func (c *Client) look(ctx context.Context, targets []provider.Target) bool {
	if len(targets) == 0 {
		return false
	}
	outcomes, err := c.store.Outcomes(ctx, targets)
	if err != nil {
		return false
	}
	found := false
	for i, o := range outcomes {
		if !o.Status.Open() { // ended, or deleted: Status 0
			o.Key = targets[i].Key
			c.ended(o)
			found = true
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
