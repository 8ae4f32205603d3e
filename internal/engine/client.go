package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// Client starts instances, sends to them and waits for them. It needs only a
// store; one that belongs to a node hands over in memory what is the node's
// anyway.
type Client struct {
	store  provider.Provider
	e      *Engine // nil: no node
	packer *history.Packer
	starts *batcher[*startCall]
	sends  *batcher[*sendCall]
	wg     sync.WaitGroup

	contract atomic.Pointer[provider.Contract] // nil: none has been needed yet

	mu      sync.Mutex
	waiters map[provider.Key][]*waiter
	// unseen are those of them that may be out of sight.
	unseen   map[provider.Key]struct{}
	watching bool
	hint     chan struct{}
}

// NewClient returns a client of a store. Compression is as in Options.
func NewClient(store provider.Provider, compression int) *Client {
	return newClient(store, nil, compression)
}

func newClient(store provider.Provider, e *Engine, compression int) *Client {
	spawn := func(f func()) { go f() }
	if e != nil {
		spawn = e.pool.run
	}
	c := &Client{store: store, e: e, packer: newPacker(compression), waiters: map[provider.Key][]*waiter{}, unseen: map[provider.Key]struct{}{}, hint: make(chan struct{}, 1)}
	c.starts = newBatcher(spawn, 256, whole(c.startGroup))
	c.sends = newBatcher(spawn, 256, whole(c.sendGroup))
	if e != nil {
		c.contract.Store(&e.contract)
	}
	return c
}

// Store returns the client's store.
func (c *Client) Store() provider.Provider { return c.store }

// Contract returns what has been agreed upon with the store. The first call
// that needs the store agrees; the others have its answer.
func (c *Client) Contract(ctx context.Context) (*provider.Contract, error) {
	if known := c.contract.Load(); known != nil {
		return known, nil
	}
	contract, err := retryOne(ctx, func() ([]provider.Contract, error) {
		contract, err := provider.Agree(ctx, c.store, provider.Supported)
		return []provider.Contract{contract}, err
	})
	if err != nil {
		return nil, err
	}
	c.contract.Store(&contract)
	return &contract, nil
}

// need returns what the store has as an I, or the error of a feature that
// needs it.
func need[I any](ctx context.Context, c *Client, feature, capability string) (I, error) {
	contract, err := c.Contract(ctx)
	if err != nil {
		return *new(I), err
	}
	i, ok := c.store.(I)
	if !ok {
		return i, contract.Lacks(feature, capability)
	}
	return i, nil
}

// Inspector returns the store's view for people, or a
// *provider.NotSupportedError.
func (c *Client) Inspector(ctx context.Context) (provider.Inspector, error) {
	return need[provider.Inspector](ctx, c, "looking into the store", "Inspect")
}

// Holder returns the store as one that keeps why an instance is suspended, or a
// *provider.NotSupportedError.
func (c *Client) Holder(ctx context.Context) (provider.Holder, error) {
	return need[provider.Holder](ctx, c, "suspending with a reason", "Hold")
}

// Amender returns the store as one that lets go of what is quarantined, or a
// *provider.NotSupportedError.
func (c *Client) Amender(ctx context.Context) (provider.Amender, error) {
	return need[provider.Amender](ctx, c, "letting go of what is quarantined", "Amend")
}

// Operated is told that an operator has changed an instance in the store,
// whatever its owner was doing: what this process holds of it is out of date.
// Other processes find out when they compare what they own.
func (c *Client) Operated(k provider.Key) {
	if c.e != nil {
		if x := c.e.lookup(k); x != nil {
			x.mu.Lock()
			if x.state == idle {
				c.e.forget(x)
			}
			x.mu.Unlock()
		}
		poke(c.e.wake)
	}
	c.lostSight(k)
}

// Terminated is told that this client has terminated an instance. Those who wait
// for it here are told at once: it may be deleted before anybody looks.
func (c *Client) Terminated(k provider.Key, outcome []byte) {
	c.ended(provider.Outcome{Key: k, Status: provider.Terminated, Payload: outcome})
	c.Operated(k)
}

type startCall struct {
	ctx    context.Context
	n      provider.NewInstance
	x      *execution // of an instance that is born on this node
	handed bool       // on to be written; x.mu guards it
	result provider.CreateResult
	err    error
	done   chan struct{}
}

type sendCall struct {
	ctx    context.Context
	m      provider.Message
	result provider.SendResult
	err    error
	done   chan struct{}
}

// Start creates an instance. A key is made unless the caller gave one. The
// error is of the call; the fate of the instance is in the result.
func (c *Client) Start(ctx context.Context, n provider.NewInstance) (provider.CreateResult, error) {
	if _, err := c.Contract(ctx); err != nil {
		return provider.CreateResult{}, err
	}
	for {
		made := n.Key == 0
		if made {
			n.Key = provider.NewKey()
		}
		call := &startCall{ctx: ctx, n: n, done: make(chan struct{})}
		if c.e == nil || !c.e.conceive(call) {
			c.packStart(&call.n)
			c.starts.add(call)
		}
		select {
		case <-call.done:
		case <-ctx.Done():
			return provider.CreateResult{}, ctx.Err()
		}
		if made && call.err == nil && errors.Is(call.result.Err, provider.ErrAlreadyExists) && call.result.Key == 0 {
			n.Key = 0 // another process made the same key in the same millisecond
			continue
		}
		return call.result, call.err
	}
}

func (c *Client) startGroup(group []*startCall) {
	batch := make([]provider.NewInstance, len(group))
	var node provider.NodeKey
	if c.e != nil {
		node = c.e.nodeKey()
	}
	for i, call := range group {
		batch[i] = call.n
		if call.x != nil && !c.e.carry(call.x, &batch[i], node) {
			call.x = nil
		}
	}
	// What may have been born here is not given up by who wanted it: its first
	// turn stands, or not, and only the store knows.
	unknown := false
	patience := func(s *startCall) context.Context {
		if unknown && s.x != nil {
			return c.e.ctx
		}
		return s.ctx
	}
	results, err := retryCall(group, patience, true, func(ctx context.Context) ([]provider.CreateResult, error) {
		r, err := c.store.Create(ctx, node, batch)
		unknown = unknown || errors.Is(err, provider.ErrUnknownOutcome)
		if errors.Is(err, provider.ErrNodeGone) {
			for i := range batch {
				batch[i].Owned, batch[i].First = false, nil
			}
			r, err = c.store.Create(ctx, 0, batch)
		}
		return r, err
	})
	if err != nil && len(group) > 1 && !retryable(err) {
		// One of them spoils the group: find it.
		for i := range group {
			c.startGroup(group[i : i+1])
		}
		return
	}
	for i, call := range group {
		if call.err = err; err == nil {
			call.result = results[i]
		}
		ok := err == nil && results[i].Err == nil
		switch {
		case call.x != nil && ok && batch[i].Owned:
			c.e.born(call.x, &batch[i], &results[i])
		case call.x != nil:
			c.e.unborn(call.x)
		}
		if ok && !batch[i].Owned && c.e != nil {
			poke(c.e.wake)
			poke(c.e.wakeSurvey)
		}
		for j := range call.result.Sent {
			c.sent(&batch[i].With[j], &call.result.Sent[j])
		}
		close(call.done)
	}
}

// retryCall repeats a call while the store has passing trouble and somebody
// still waits for the answer. A call that is not idempotent is not repeated
// when it may have been applied.
func retryCall[C any, R any](group []C, ctxOf func(C) context.Context, idempotent bool, call func(context.Context) ([]R, error)) ([]R, error) {
	for delay := 2 * time.Millisecond; ; delay = min(2*delay, maxPause) {
		r, err := call(context.Background())
		if err == nil || !errors.Is(err, provider.ErrTransient) && !(idempotent && errors.Is(err, provider.ErrUnknownOutcome)) {
			return r, err
		}
		waiting := false
		for _, g := range group {
			waiting = waiting || ctxOf(g).Err() == nil
		}
		if !waiting {
			return r, err
		}
		var gone <-chan struct{} // of a call that nobody shares
		if len(group) == 1 {
			gone = ctxOf(group[0]).Done()
		}
		t := time.NewTimer(delay)
		select {
		case <-gone:
			t.Stop()
			return r, err
		case <-t.C:
		}
	}
}

// Send puts a message into a mailbox. The error is of the call; the fate of
// the message is in the result.
func (c *Client) Send(ctx context.Context, m provider.Message) (provider.SendResult, error) {
	if _, err := c.Contract(ctx); err != nil {
		return provider.SendResult{}, err
	}
	m.Payload = c.packer.Pack(m.Payload)
	call := &sendCall{ctx: ctx, m: m, done: make(chan struct{})}
	c.sends.add(call)
	select {
	case <-call.done:
		return call.result, call.err
	case <-ctx.Done():
		return provider.SendResult{}, ctx.Err()
	}
}

func (c *Client) sendGroup(group []*sendCall) {
	batch := make([]provider.Message, len(group))
	safe := true
	for i, call := range group {
		batch[i] = call.m
		safe = safe && call.m.ID != ""
	}
	results, err := retryCall(group, func(s *sendCall) context.Context { return s.ctx }, safe, func(ctx context.Context) ([]provider.SendResult, error) {
		return c.store.Send(ctx, batch)
	})
	if err != nil && len(group) > 1 && !retryable(err) {
		for i := range group {
			c.sendGroup(group[i : i+1])
		}
		return
	}
	if errors.Is(err, provider.ErrUnknownOutcome) && len(group) > 1 {
		// Those with an ID may be sent again; the others would not be safe.
		for i, call := range group {
			if call.m.ID != "" {
				c.sendGroup(group[i : i+1])
				continue
			}
			call.err = err
			close(call.done)
		}
		return
	}
	for i, call := range group {
		if call.err = err; err == nil {
			call.result = results[i]
			c.sent(&batch[i], &results[i])
		}
		close(call.done)
	}
}

func (c *Client) sent(m *provider.Message, r *provider.SendResult) {
	if c.e == nil || r.Err != nil {
		return
	}
	if node := c.e.nodeKey(); r.Seq != 0 && node != 0 && r.Owner == node {
		c.e.handMail(r.Key, r.Seq, m.Execution, m.Payload)
		return
	}
	poke(c.e.wake)
}
