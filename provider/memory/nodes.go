package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/durango-go/durango/provider"
)

// Join implements [provider.Provider].
func (s *Store) Join(ctx context.Context, info provider.NodeInfo) (provider.NodeKey, error) {
	if _, err := s.begin(ctx, "join"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	key := provider.NewNodeKey()
	for s.nodes[key] != nil {
		key = provider.NewNodeKey()
	}
	s.nodes[key] = &provider.NodeView{Key: key, Info: info}
	return key, nil
}

// Heartbeat implements [provider.Provider].
func (s *Store) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	now, err := s.begin(ctx, "heartbeat")
	if err != nil {
		return provider.Pulse{}, err
	}
	defer s.mu.Unlock()
	if err := s.alive(node, "heartbeat"); err != nil {
		return provider.Pulse{}, err
	}
	s.nodes[node].Beat++
	return provider.Pulse{Now: now, Nodes: s.views()}, nil
}

// Bury implements [provider.Provider]. It returns everything in one call.
func (s *Store) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	now, err := s.begin(ctx, "bury")
	if err != nil {
		return provider.BuryResult{}, err
	}
	defer s.mu.Unlock()
	result := provider.BuryResult{Done: true}
	n := s.nodes[b.Node]
	if n == nil || (n.Beat != b.Beat && !b.Force) {
		return result, nil
	}
	delete(s.nodes, b.Node)
	for _, in := range s.open {
		if in.row.Owner == b.Node {
			in.row.Owner = 0
			in.row.WakeAt = in.row.ComputeWakeAt(now)
			result.Instances++
		}
	}
	for _, rows := range s.tasks {
		for _, t := range rows {
			if t.Holder == b.Node {
				t.Holder, t.HeldSince, t.VisibleAt = 0, 0, now
				result.Tasks++
			}
		}
	}
	s.closeSessions(b.Node, func(*session) bool { return true })
	return result, nil
}

// Owned implements [provider.Provider].
func (s *Store) Owned(ctx context.Context, node provider.NodeKey) (provider.Holdings, error) {
	if _, err := s.begin(ctx, "owned"); err != nil {
		return provider.Holdings{}, err
	}
	defer s.mu.Unlock()
	var h provider.Holdings
	if node == 0 {
		return h, nil
	}
	for key, in := range s.open {
		if in.row.Owner == node {
			h.Instances = append(h.Instances, provider.Holding{Key: key, NextTurn: in.row.NextTurn})
		}
	}
	for _, rows := range s.tasks {
		for _, t := range rows {
			if t.Holder == node {
				h.Tasks = append(h.Tasks, t.Ref())
			}
		}
	}
	slices.SortFunc(h.Instances, func(a, b provider.Holding) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(h.Tasks, func(a, b provider.TaskRef) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Command, b.Command))
	})
	return h, nil
}

// alive is asked before a node's key is written into any row. Without it a
// claim that arrives after its node's burial would own its rows for ever.
func (s *Store) alive(node provider.NodeKey, op string) error {
	if s.nodes[node] == nil {
		return fmt.Errorf("memory: %s: node %d: %w", op, node, provider.ErrNodeGone)
	}
	return nil
}

func (s *Store) views() []provider.NodeView {
	views := make([]provider.NodeView, 0, len(s.nodes))
	for _, n := range s.nodes {
		views = append(views, *n)
	}
	slices.SortFunc(views, func(a, b provider.NodeView) int { return cmp.Compare(a.Key, b.Key) })
	return views
}
