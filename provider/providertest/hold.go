package providertest

import "github.com/durango-go/durango/provider"

// CONTRACT, operators: "Hold is Suspend with a reason, stored as TurnFailure
// with its time as FailedAt".
var holdCases = []testCase{
	{"KeepsTheReason", func(h *harness) {
		store := h.holder()
		node := h.join()
		key := h.owned(node, "a")
		late := h.turn(key)
		h.ok(store.Hold(h.ctx, provider.Target{ID: "a"}, "it differs\nin turn 1"), "hold")
		h.is(h.commit(node, late).Err, provider.ErrConflict, "commit in flight")
		row := h.row(key)
		h.same("status", row.Status, provider.Suspended)
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.same("wake at", row.WakeAt, provider.Never)
		h.same("reason", row.TurnFailure, "it differs\nin turn 1")
		h.same("has a time", row.FailedAt > 0, true)
		h.same("claimed", len(h.claim(node, 1).Claimed), 0)
		page, err := h.List(h.ctx, provider.Query{Statuses: []provider.Status{provider.Suspended}})
		h.ok(err, "list")
		h.same("listed with its reason", page.Instances[0].TurnFailure, row.TurnFailure)
	}},
	{"AnEmptyReasonLiftsIt", func(h *harness) {
		store := h.holder()
		node := h.join()
		pending, running := h.fresh("p"), h.owned(node, "r")
		h.apply(node, h.turn(running))
		for key, want := range map[provider.Key]provider.Status{pending: provider.Pending, running: provider.Running} {
			h.ok(store.Hold(h.ctx, provider.Target{Key: key}, "no"), "hold")
			h.ok(store.Hold(h.ctx, provider.Target{Key: key}, ""), "lift")
			row := h.row(key)
			h.same("status", row.Status, want)
			h.same("reason", row.TurnFailure, "")
			h.same("time", row.FailedAt, int64(0))
			h.same("attempts", row.Attempts, int64(0))
		}
		h.same("claimed", len(h.claim(node, 2).Claimed), 2)
	}},
	{"ResumeLiftsItToo", func(h *harness) {
		store := h.holder()
		node := h.join()
		key := h.fresh("a")
		h.ok(store.Hold(h.ctx, provider.Target{Key: key}, "no"), "hold")
		h.ok(h.Resume(h.ctx, provider.Target{Key: key}), "resume")
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"OthersAreLeftAlone", func(h *harness) {
		store := h.holder()
		node := h.join()
		key := h.owned(node, "a")
		before := h.row(key)
		h.ok(store.Hold(h.ctx, provider.Target{Key: key}, ""), "lift of one that runs")
		h.same("row", h.row(key), before)
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		h.ok(store.Hold(h.ctx, provider.Target{Key: key}, "no"), "hold of one that is suspended")
		h.same("reason", h.row(key).TurnFailure, "")
		h.ok(h.Terminate(h.ctx, provider.Target{Key: key}, []byte("stopped"), nil), "terminate")
		h.is(store.Hold(h.ctx, provider.Target{Key: key}, "no"), provider.ErrNotOpen, "hold of one that has ended")
		h.is(store.Hold(h.ctx, provider.Target{ID: "nobody"}, "no"), provider.ErrNotFound, "hold of nobody")
	}},
}

// holder is the store as a Holder.
func (h *harness) holder() provider.Holder {
	h.need(h.caps.Hold, "Hold")
	return h.store.(provider.Holder)
}
