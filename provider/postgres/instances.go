package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/provider"
)

// Create implements [provider.Provider].
func (s *Store) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	results := make([]provider.CreateResult, len(batch))
	r := request{n: len(batch)}
	owned := false
	for i := range batch {
		n := &batch[i]
		owned = owned || n.Owned
		r.bytes += 200 + len(n.Start)
		if n.First != nil {
			r.bytes += n.First.Size()
		}
		for k := range n.With {
			r.bytes += len(n.With[k].Payload)
		}
	}
	if owned {
		if node == 0 {
			if err := s.ready(ctx, "create"); err != nil {
				return nil, err
			}
			return nil, s.nodeGone("create", node)
		}
		r.node = node
	}
	r.needs = func(n *needs, i int) { n.instance(&batch[i]) }
	r.run = func(t *txn, i int) { results[i] = t.createOne(node, &batch[i]) }
	r.fail = func(i int, err error) { results[i] = provider.CreateResult{Err: err} }
	if err := s.submit(ctx, "create", &r); err != nil {
		return nil, err
	}
	return results, nil
}

// createOne makes an instance, writes its first turn, if it brings one, and
// sends what comes with it.
func (t *txn) createOne(node provider.NodeKey, n *provider.NewInstance) provider.CreateResult {
	if n.First != nil && !n.Owned {
		return provider.CreateResult{Err: fmt.Errorf("%w: a first turn of %s, which the node does not own", provider.ErrInvalid, n.ID)}
	}
	result := t.create(node, n)
	if result.Err == nil && n.First != nil {
		result.First = t.commit(node, n.First)
	}
	there := errors.Is(result.Err, provider.ErrAlreadyExists) && result.Key != 0
	if len(n.With) == 0 || result.Err != nil && !there {
		return result
	}
	result.Sent = make([]provider.SendResult, len(n.With))
	for i := range n.With {
		m := n.With[i]
		m.To = provider.Target{Key: result.Key}
		result.Sent[i] = t.send(&m)
	}
	return result
}

func (t *txn) create(node provider.NodeKey, n *provider.NewInstance) provider.CreateResult {
	if n.Key == 0 || !valid(n.ID) || !validOrEmpty(n.Name) || !validOrEmpty(n.Version) || !validOrEmpty(n.Parent.ID) {
		return provider.CreateResult{Err: provider.ErrInvalid}
	}
	if e := t.byID[n.ID]; e != nil {
		if e.Key == n.Key {
			return provider.CreateResult{Key: n.Key} // an earlier attempt made it
		}
		return provider.CreateResult{Err: provider.ErrAlreadyExists, Key: e.Key}
	}
	if t.entries[n.Key] != nil {
		// Two processes made the same key. Nobody has the ID, hence no Key.
		return provider.CreateResult{Err: provider.ErrAlreadyExists}
	}
	if tooLarge(n.Start) {
		return provider.CreateResult{Err: provider.ErrTooLarge}
	}
	e := &entry{shard: t.s.keyShard(n.Key), Instance: provider.Instance{
		Key: n.Key, ID: n.ID, Name: n.Name, Version: n.Version,
		Status: provider.Pending, Execution: 1, NextTurn: 1, HistoryFrom: 1,
		NotBefore: n.NotBefore, Parent: n.Parent, CreatedAt: t.now, UpdatedAt: t.now, WakeAt: provider.Never,
	}}
	if n.Owned {
		e.Owner, e.Attempts = node, 1
	}
	t.entries[e.Key], t.byID[e.ID] = e, e
	e.blobs = append(e.blobs, n.Blobs...)
	t.define(e)
	t.touch(e, made)
	t.put(e, provider.Mail{Payload: n.Start})
	return provider.CreateResult{Key: n.Key}
}

// define notes the definition of an instance for Definitions.
func (t *txn) define(e *entry) {
	d := provider.Definition{Name: e.Name, Version: e.Version}
	if _, known := t.s.definitions.Load(d); known {
		return
	}
	if t.defs == nil {
		t.defs = map[provider.Definition]bool{}
	}
	t.defs[d] = true
}
