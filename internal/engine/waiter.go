package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// waiter is somebody who waits for an instance: for its end, or for something
// that it publishes. Whoever learns of it first delivers it: the committer on
// the node that owns the instance, or the watcher, which asks the store.
type waiter struct {
	key provider.Key
	// What is waited for; a zero kind stands for the end.
	kind  provider.LookupKind
	name  string
	after int64 // the turn of the custom status that is known already
	// stopped: that the instance is Quarantined is as good as its end.
	stopped bool
	end     chan provider.Outcome
	found   chan provider.Finding
}

// take delivers a finding if it is what the waiter waits for, or if that can
// no longer come.
func (w *waiter) take(f provider.Finding) bool {
	news := f.Found && (w.kind != provider.LookupStatus || f.Turn > w.after)
	if !news && f.Err == nil && f.Status.Open() {
		return false
	}
	f.Found = news
	select {
	case w.found <- f:
	default: // it has one
	}
	return true
}

// over reports whether a status is what the waiter for an end waits for.
func (w *waiter) over(s provider.Status) bool {
	return !s.Open() || w.stopped && s == provider.Quarantined
}

func (c *Client) register(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiters[w.key] = append(c.waiters[w.key], w)
}

func (c *Client) unregister(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.waiters[w.key]
	for i := range list {
		if list[i] == w {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(c.waiters, w.key)
		if len(c.waiters) == 0 {
			poke(c.hint) // the watcher may end
		}
		return
	}
	c.waiters[w.key] = list
}

// Wait returns when the instance has ended, or ctx.
func (c *Client) Wait(ctx context.Context, t provider.Target) (provider.Outcome, error) {
	return c.wait(ctx, t, &waiter{})
}

// WaitOrStopped is Wait that returns as well when the instance is Quarantined.
func (c *Client) WaitOrStopped(ctx context.Context, t provider.Target) (provider.Outcome, error) {
	return c.wait(ctx, t, &waiter{stopped: true})
}

func (c *Client) wait(ctx context.Context, t provider.Target, w *waiter) (provider.Outcome, error) {
	if t.Key == 0 {
		o, err := c.outcome(ctx, t)
		if err != nil || w.over(o.Status) {
			return o, err
		}
		t.Key = o.Key
	}
	w.key, w.end = t.Key, make(chan provider.Outcome, 1)
	c.register(w)
	defer c.unregister(w)
	if !c.inSight(t.Key) {
		o, err := c.outcome(ctx, t)
		if err != nil || w.over(o.Status) {
			return o, err
		}
		c.lostSight(t.Key)
	}
	select {
	case o := <-w.end:
		if o.Status == 0 {
			return o, provider.ErrNotFound
		}
		return o, nil
	case <-ctx.Done():
		return provider.Outcome{}, ctx.Err()
	}
}

func (c *Client) outcome(ctx context.Context, t provider.Target) (provider.Outcome, error) {
	if _, err := c.Contract(ctx); err != nil {
		return provider.Outcome{}, err
	}
	o, err := retryOne(ctx, func() ([]provider.Outcome, error) { return c.store.Outcomes(ctx, []provider.Target{t}) })
	if err == nil && o.Status == 0 {
		err = provider.ErrNotFound
	}
	return o, err
}

// Look reads one thing that an instance has published.
func (c *Client) Look(ctx context.Context, l provider.Lookup) (provider.Finding, error) {
	f, _, err := c.LookWith(ctx, l)
	return f, err
}

// LookWith is Look, with the blobs that a value refers to.
func (c *Client) LookWith(ctx context.Context, l provider.Lookup) (f provider.Finding, blobs []history.BlobAddress, err error) {
	if _, err := c.Contract(ctx); err != nil {
		return provider.Finding{}, nil, err
	}
	f, err = retryOne(ctx, func() ([]provider.Finding, error) { return c.store.Lookup(ctx, []provider.Lookup{l}) })
	if err == nil {
		err = f.Err
	}
	if err == nil && l.Kind == provider.LookupValue {
		f.Payload, blobs, err = history.DecodeRaw(f.Payload)
	}
	return f, blobs, err
}

// Await waits until an instance has published something: a reply, or a custom
// status of a later turn than after. Found is false when the instance has ended
// without.
func (c *Client) Await(ctx context.Context, l provider.Lookup, after int64) (provider.Finding, error) {
	w := &waiter{key: l.To.Key, kind: l.Kind, name: l.Name, after: after, found: make(chan provider.Finding, 1)}
	if w.key != 0 {
		c.register(w)
	}
	f, err := c.Look(ctx, l)
	if w.key == 0 && err == nil {
		w.key = f.Key
		c.register(w)
		l.To.Key = f.Key
		f, err = c.Look(ctx, l)
	}
	if w.key != 0 {
		defer c.unregister(w)
	}
	if err != nil {
		return f, err
	}
	w.take(f)
	return c.awaitFinding(ctx, w)
}

func (c *Client) awaitFinding(ctx context.Context, w *waiter) (provider.Finding, error) {
	if len(w.found) == 0 && !c.inSight(w.key) {
		c.lostSight(w.key)
	}
	select {
	case f := <-w.found:
		return f, f.Err
	case <-ctx.Done():
		return provider.Finding{}, ctx.Err()
	}
}

// Request sends a message that asks for a reply, and waits for it. Found is
// false when the instance has ended without one.
func (c *Client) Request(ctx context.Context, m provider.Message, id string) (provider.Finding, error) {
	sent, err := c.Send(ctx, m)
	if err == nil {
		err = sent.Err
	}
	if err != nil && !errors.Is(err, provider.ErrNotOpen) {
		return provider.Finding{}, err
	}
	to := m.To
	if sent.Key != 0 {
		to.Key = sent.Key
	}
	// Also one that has ended may have answered, when it was asked before.
	return c.Await(ctx, provider.Lookup{To: to, Kind: provider.LookupReply, Name: id}, 0)
}

// retryOne makes an idempotent call for one item until the store answers.
func retryOne[R any](ctx context.Context, call func() ([]R, error)) (R, error) {
	r, err := retryCall([]context.Context{ctx}, func(ctx context.Context) context.Context { return ctx }, true,
		func(context.Context) ([]R, error) { return call() })
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return *new(R), err
	}
	return r[0], nil
}

// inSight reports whether this process will notice what becomes of an instance
// by itself, because its node owns it.
func (c *Client) inSight(k provider.Key) bool {
	if c.e == nil {
		return false
	}
	x := c.e.lookup(k)
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.node != 0 && x.state != gone
}

// ended tells those who wait for the end of an instance how it ended, or that
// it is stopped. Those who wait for something else are told by the watcher,
// which finds what the end may have published.
func (c *Client) ended(o provider.Outcome) (told bool) {
	c.mu.Lock()
	list := c.waiters[o.Key]
	others := false
	for _, w := range list {
		switch {
		case w.kind != 0:
			others = others || !o.Status.Open()
		case w.over(o.Status):
			told = true
			select {
			case w.end <- o:
			default:
			}
		}
	}
	c.mu.Unlock()
	if others {
		c.lostSight(o.Key)
	}
	return told
}

// published tells those who wait for what a commit has published.
func (c *Client) published(commit *provider.Commit) {
	if len(commit.Replies) == 0 && commit.CustomStatus == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.waiters[commit.Key] {
		f := provider.Finding{Key: commit.Key, Status: commit.Status, Found: true}
		switch w.kind {
		case provider.LookupStatus:
			if commit.CustomStatus == nil {
				continue
			}
			f.Turn, f.Payload = commit.Expect, commit.CustomStatus
			w.take(f)
		case provider.LookupReply:
			for i := range commit.Replies {
				if commit.Replies[i].ID == w.name {
					f.Payload = commit.Replies[i].Payload
					w.take(f)
				}
			}
		}
	}
}

// lostSight is told that the node let go of an instance for which somebody may
// wait. Most are in sight, and there may be many: only this one is looked for.
func (c *Client) lostSight(k provider.Key) {
	c.mu.Lock()
	waiting := len(c.waiters[k]) > 0
	if waiting {
		c.unseen[k] = struct{}{}
	}
	c.mu.Unlock()
	if waiting {
		c.ensureWatching()
		poke(c.hint)
	}
}

// lostSightOfAll is lostSight of any number.
func (c *Client) lostSightOfAll() {
	if c.unsee() {
		c.ensureWatching()
		poke(c.hint)
	}
}

// unsee has every instance looked for, and reports whether somebody waits.
func (c *Client) unsee() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.waiters {
		c.unseen[k] = struct{}{}
	}
	return len(c.waiters) > 0
}
