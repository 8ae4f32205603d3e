package providertest

import "github.com/durango-go/durango/provider"

// firstCases are about instances that are created with their first turn.
var firstCases = []testCase{
	{"ATurnIsCommittedWithTheInstance", func(h *harness) {
		node := h.join()
		n := h.born("a")
		r := only(h, "results", h.createAs(node, n))
		h.ok(r.Err, "create")
		h.ok(r.First.Err, "first turn")
		row := h.row(n.Key)
		h.same("status", row.Status, provider.Running)
		h.same("next turn", row.NextTurn, int64(2))
		h.same("mailbox", []int64{row.MailboxSeq, row.ReadSeq}, []int64{1, 1})
		h.same("attempts", row.Attempts, int64(0))
		h.same("owner", row.Owner, node)
		h.same("last commit", row.LastCommit, n.First.CommitID)
		h.same("turns", len(h.turns(n.Key)), 1)
		h.same("mail", len(h.letters(n.Key)), 0)
	}},
	{"ATurnThatReadsNothingLeavesTheStart", func(h *harness) {
		node := h.join()
		n := h.born("a")
		n.First.ReadSeq = 0
		h.ok(only(h, "results", h.createAs(node, n)).First.Err, "first turn")
		h.same("mail", h.letters(n.Key), []string{"start a"})
		c := h.turn(n.Key)
		h.apply(node, c)
		h.same("mail", len(h.letters(n.Key)), 0)
	}},
	{"ATurnThatIsRefusedLeavesTheInstance", func(h *harness) {
		node := h.join()
		n := h.born("a")
		n.First.Turn.Number = 7
		r := only(h, "results", h.createAs(node, n))
		h.ok(r.Err, "create")
		h.is(r.First.Err, provider.ErrInvalid, "first turn")
		row := h.row(n.Key)
		h.same("status", row.Status, provider.Pending)
		h.same("next turn", row.NextTurn, int64(1))
		h.same("mail", h.letters(n.Key), []string{"start a"})
		h.same("attempts", row.Attempts, int64(1))
	}},
	{"ATakenIDTakesNoTurn", func(h *harness) {
		node := h.join()
		key := h.fresh("a")
		n := h.born("a")
		r := only(h, "results", h.createAs(node, n))
		h.is(r.Err, provider.ErrAlreadyExists, "create")
		h.same("key", r.Key, key)
		h.same("next turn", h.row(key).NextTurn, int64(1))
	}},
	{"AnInstanceThatIsNotOwnedTakesNoTurn", func(h *harness) {
		n := h.born("a")
		n.Owned = false
		h.is(only(h, "results", h.createAs(h.join(), n)).Err, provider.ErrInvalid, "create")
	}},
	{"Rule03TheSameCallAgainSucceeds", func(h *harness) {
		// DESIGN 6, rule 3: after an unknown outcome the node "may resubmit only
		// the identical turn".
		node := h.join()
		n := h.born("a")
		for range 2 {
			r := only(h, "results", h.createAs(node, n))
			h.ok(r.Err, "create")
			h.ok(r.First.Err, "first turn")
		}
		h.same("turns", len(h.turns(n.Key)), 1)
	}},
	{"AFirstTurnMayBeTheLast", func(h *harness) {
		node := h.join()
		n := h.born("a")
		n.First.Status, n.First.Outcome, n.First.DueAt = provider.Completed, []byte("done"), provider.Never
		h.ok(only(h, "results", h.createAs(node, n)).First.Err, "first turn")
		row := h.row(n.Key)
		h.same("status", row.Status, provider.Completed)
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.same("outcome", string(row.Outcome), "done")
	}},
	{"AFirstTurnHasChildrenAndTasks", func(h *harness) {
		node := h.join()
		n := h.born("a")
		child := draft("child")
		child.Parent = provider.ParentLink{Key: n.Key, ID: "a", Execution: 1, Command: 1}
		n.First.Children = []provider.NewInstance{child}
		n.First.Tasks = []provider.NewTask{job(2)}
		r := only(h, "results", h.createAs(node, n))
		h.ok(r.First.Err, "first turn")
		h.same("children", len(r.First.Children), 1)
		h.same("parent", h.row(child.Key).Parent.ID, "a")
		h.same("tasks", len(h.taskRows(n.Key)), 1)
	}},
}

// born is an instance that brings its first turn.
func (h *harness) born(id string) provider.NewInstance {
	n := draft(id)
	n.Owned = true
	row := provider.Instance{
		Key: n.Key, ID: id, Name: n.Name, Version: n.Version, Status: provider.Running,
		Execution: 1, NextTurn: 1, HistoryFrom: 1, MailboxSeq: 1,
	}
	c := beside(&row)
	c.Turn = &provider.Turn{Number: 1, Execution: 1, CommitID: c.CommitID, Deliveries: 1, Events: []byte("turn 1")}
	c.ReadSeq = 1
	n.First = &c
	return n
}

func (h *harness) createAs(node provider.NodeKey, batch ...provider.NewInstance) []provider.CreateResult {
	h.Helper()
	r, err := h.Create(h.ctx, node, batch)
	h.ok(err, "create")
	if len(r) != len(batch) {
		h.Fatalf("create: %d results for %d instances", len(r), len(batch))
	}
	return r
}
