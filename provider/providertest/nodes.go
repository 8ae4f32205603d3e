package providertest

import (
	"github.com/durango-go/durango/provider"
)

var nodeCases = []testCase{
	{"JoinGivesANewKeyEachTime", func(h *harness) {
		seen := map[provider.NodeKey]bool{0: true}
		for range 50 {
			node := h.join()
			if seen[node] {
				h.Fatalf("key %d was given before, or is zero", node)
			}
			seen[node] = true
		}
	}},
	{"HeartbeatCounts", func(h *harness) {
		node := h.join()
		last := h.beat(node, node)
		for range 3 {
			beat := h.beat(node, node)
			h.same("beat", beat, last+1)
			last = beat
		}
	}},
	{"HeartbeatShowsEveryNode", func(h *harness) {
		a := h.join()
		b, err := h.Join(h.ctx, provider.NodeInfo{Name: "other", PID: 42, Version: "v2"})
		h.ok(err, "join")
		pulse, err := h.Heartbeat(h.ctx, a)
		h.ok(err, "heartbeat")
		h.same("nodes", len(pulse.Nodes), 2)
		for _, n := range pulse.Nodes {
			want := provider.NodeInfo{Name: "host", PID: 7, Version: "v1"}
			if n.Key == b {
				want = provider.NodeInfo{Name: "other", PID: 42, Version: "v2"}
			}
			h.same("info", n.Info, want)
			h.same("dead", n.Dead, false)
		}
	}},
	{"HeartbeatMovesOnlyTheCaller", func(h *harness) {
		a, b := h.join(), h.join()
		before := h.beat(a, b)
		h.beat(a, a)
		h.same("beat of the other", h.beat(a, b), before)
	}},
	{"HeartbeatOfAStrangerIsRefused", func(h *harness) {
		_, err := h.Heartbeat(h.ctx, provider.NewNodeKey())
		h.is(err, provider.ErrNodeGone, "heartbeat")
		_, err = h.Heartbeat(h.ctx, 0)
		h.is(err, provider.ErrNodeGone, "heartbeat of no node")
	}},
	{"ANodeThatLeftIsNotListed", func(h *harness) {
		a, b := h.join(), h.join()
		h.kill(a)
		nodes, err := h.Nodes(h.ctx)
		h.ok(err, "nodes")
		h.same("nodes", len(nodes), 1)
		h.same("node", nodes[0].Key, b)
		h.same("counted", h.stats().Nodes, 1)
	}},
	{"OwnedListsWhatCarriesTheKey", func(h *harness) {
		a, b := h.join(), h.join()
		first, second := h.owned(a, "a1"), h.owned(a, "a2")
		h.owned(b, "b")
		h.apply(a, h.turn(second))
		_, task := h.working(a, "c", 9)
		holdings, err := h.Owned(h.ctx, a)
		h.ok(err, "owned")
		got := map[provider.Key]int64{}
		for _, o := range holdings.Instances {
			got[o.Key] = o.NextTurn
		}
		h.same("instances", got, map[provider.Key]int64{first: 1, second: 2})
		h.same("tasks", holdings.Tasks, []provider.TaskRef{task.Ref()})
	}},
	{"OwnedShowsAClaimWhoseReplyWasLost", func(h *harness) {
		// DESIGN 6, rule 3: "Periodically it also compares the rows that carry
		// its key with what it holds, and adopts or releases the difference (a
		// claim whose reply was lost is otherwise held for ever; terminate and
		// delete show up the same way)."
		node := h.join()
		lost, stopped, deleted := h.fresh("a"), h.fresh("b"), h.fresh("c")
		h.claim(node, 10)
		h.ok(h.Terminate(h.ctx, provider.Target{Key: stopped}, nil, nil), "terminate")
		h.ok(h.Delete(h.ctx, provider.Target{Key: deleted}, true), "delete")
		holdings, err := h.Owned(h.ctx, node)
		h.ok(err, "owned")
		h.same("instances", holdings.Instances, []provider.Holding{{Key: lost, NextTurn: 1}})
	}},
	{"OwnedOfAnIdleNodeIsEmpty", func(h *harness) {
		node := h.join()
		h.asleep(node, "a")
		h.ended(node, "b")
		h.fresh("c")
		holdings, err := h.Owned(h.ctx, node)
		h.ok(err, "owned")
		h.same("holdings", len(holdings.Instances)+len(holdings.Tasks), 0)
	}},
}

// beat sends a heartbeat of node and returns the beat of the node seen.
func (h *harness) beat(node, seen provider.NodeKey) int64 {
	h.Helper()
	pulse, err := h.Heartbeat(h.ctx, node)
	h.ok(err, "heartbeat")
	for _, n := range pulse.Nodes {
		if n.Key == seen {
			return n.Beat
		}
	}
	h.Fatalf("heartbeat: node %d is missing", seen)
	return 0
}
