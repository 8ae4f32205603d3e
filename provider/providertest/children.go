package providertest

import (
	"github.com/durango-go/durango/provider"
)

var childCases = []testCase{
	{"AChildStartsWithItsParentsCommit", func(h *harness) {
		node := h.join()
		key := h.owned(node, "parent")
		child := h.child(key, "child", 3)
		c := h.turn(key)
		c.Children = []provider.NewInstance{child}
		r := h.apply(node, c)
		h.same("fates", r.Children, []provider.CreateResult{{Key: child.Key}})
		row := h.row(child.Key)
		h.same("parent", row.Parent, provider.ParentLink{Key: key, ID: "parent", Execution: 1, Command: 3})
		h.same("status", row.Status, provider.Pending)
		h.same("owner", row.Owner, provider.NodeKey(0))
		h.same("mail", h.mail(child.Key), []provider.Mail{{Seq: 1, Payload: []byte("start child")}})
		h.same("claimed", keysOf(h.claim(h.join(), 10).Claimed), []provider.Key{child.Key})
	}},
	{"AChildMayBelongToTheNode", func(h *harness) {
		node := h.join()
		key := h.owned(node, "parent")
		child := h.child(key, "child", 3)
		child.Owned = true
		c := h.turn(key)
		c.Children = []provider.NewInstance{child}
		h.apply(node, c)
		row := h.row(child.Key)
		h.same("owner", row.Owner, node)
		h.same("attempts", row.Attempts, int64(1))
		h.apply(node, h.turn(child.Key))
	}},
	{"ManyChildrenInOneCommit", func(h *harness) {
		node := h.join()
		key := h.owned(node, "parent")
		c := h.turn(key)
		for i := range 100 {
			c.Children = append(c.Children, h.child(key, "child-"+itoa(i), int64(i+1)))
		}
		r := h.apply(node, c)
		for i, fate := range r.Children {
			h.ok(fate.Err, "child")
			h.same("key", fate.Key, c.Children[i].Key)
		}
		page, err := h.List(h.ctx, provider.Query{Parent: "parent", Limit: 200})
		h.ok(err, "list")
		h.same("children", len(page.Instances), 100)
	}},
	{"AChildOfTheLastTurnStarts", func(h *harness) {
		// DESIGN 9: "A child scheduled in the terminal turn is started, then
		// the close policy applies."
		node := h.join()
		key := h.owned(node, "parent")
		child := h.child(key, "child", 1)
		c := h.turn(key)
		c.Status = provider.Completed
		c.Children = []provider.NewInstance{child}
		cancel := to(child.Key, "cancel")
		cancel.IfParent = key
		c.Messages = []provider.Message{cancel}
		r := h.apply(node, c)
		h.ok(r.Children[0].Err, "child")
		h.ok(r.Sent[0].Err, "cancel")
		h.same("mail of the child", h.letters(child.Key), []string{"start child", "cancel"})
	}},
	{"ATakenIDIsToldToTheParent", func(h *harness) {
		// DESIGN 5: "A child ID already taken is an error to the parent's
		// await, not a hang."
		node := h.join()
		taken, key := h.fresh("child"), h.owned(node, "parent")
		before := h.row(taken)
		child := h.child(key, "child", 3)
		child.Refusal = []byte("taken")
		c := h.turn(key)
		c.Children = []provider.NewInstance{child}
		r := h.apply(node, c)
		h.is(r.Children[0].Err, provider.ErrAlreadyExists, "child")
		h.same("who has it", r.Children[0].Key, taken)
		h.same("mailbox", r.MailboxSeq, int64(2))
		h.same("mail", h.mail(key), []provider.Mail{
			{Seq: 2, Execution: 1, Command: 3, Refused: provider.RefusedTaken, Payload: []byte("taken")},
		})
		h.same("row of the other", h.row(taken), before)
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"ATakenIDDoesNotTouchTheSiblings", func(h *harness) {
		node := h.join()
		h.fresh("b")
		key := h.owned(node, "parent")
		c := h.turn(key)
		for i, id := range []string{"a", "b", "c"} {
			c.Children = append(c.Children, h.child(key, id, int64(i+1)))
		}
		r := h.apply(node, c)
		h.ok(r.Children[0].Err, "a")
		h.is(r.Children[1].Err, provider.ErrAlreadyExists, "b")
		h.ok(r.Children[2].Err, "c")
		h.same("mail without a refusal asked for", h.letters(key), []string{})
	}},
	{"OneIDTwiceInACommit", func(h *harness) {
		node := h.join()
		key := h.owned(node, "parent")
		first, second := h.child(key, "child", 1), h.child(key, "child", 2)
		first.Refusal, second.Refusal = []byte("no 1"), []byte("no 2")
		c := h.turn(key)
		c.Children = []provider.NewInstance{first, second}
		r := h.apply(node, c)
		h.ok(r.Children[0].Err, "first")
		h.is(r.Children[1].Err, provider.ErrAlreadyExists, "second")
		h.same("who has it", r.Children[1].Key, first.Key)
		h.same("mail", h.letters(key), []string{"no 2"})
		h.same("mail of the child", h.letters(first.Key), []string{"start child"})
	}},
	{"OneIDTwiceInABatch", func(h *harness) {
		node := h.join()
		a, b := h.owned(node, "a"), h.owned(node, "b")
		ca, cb := h.turn(a), h.turn(b)
		ca.Children, cb.Children = []provider.NewInstance{h.child(a, "child", 1)}, []provider.NewInstance{h.child(b, "child", 1)}
		ca.Children[0].Refusal, cb.Children[0].Refusal = []byte("taken"), []byte("taken")
		results, err := h.Commit(h.ctx, node, []provider.Commit{ca, cb})
		h.ok(err, "commit")
		winners := 0
		for i, key := range []provider.Key{a, b} {
			h.ok(results[i].Err, "commit")
			if results[i].Children[0].Err == nil {
				winners++
				h.same("mail of the winner", h.letters(key), []string{})
			} else {
				h.same("mail of the loser", h.letters(key), []string{"taken"})
			}
		}
		h.same("winners", winners, 1)
	}},
	{"ATakenKeyFailsTheCommit", func(h *harness) {
		// The ID is free, so telling the parent that it is taken would be
		// false; the engine tries again with another key.
		node := h.join()
		taken, key := h.fresh("other"), h.owned(node, "parent")
		child := h.child(key, "child", 1)
		child.Key, child.Refusal = taken, []byte("taken")
		c := h.turn(key)
		c.Children = []provider.NewInstance{child}
		sibling := h.turn(h.owned(node, "sibling"))
		results, err := h.Commit(h.ctx, node, []provider.Commit{c, sibling})
		h.ok(err, "commit")
		h.is(results[0].Err, provider.ErrAlreadyExists, "commit")
		h.ok(results[1].Err, "commit beside it")
		h.same("turns", len(h.turns(key)), 0)
		h.same("mail", h.letters(key), []string{"start parent"})
		h.same("ID", h.row(taken).ID, "other")
	}},
	{"AChildIsReachedByTheMessagesOfItsCommit", func(h *harness) {
		node := h.join()
		key := h.owned(node, "parent")
		child := h.child(key, "child", 1)
		c := h.turn(key)
		c.Children = []provider.NewInstance{child}
		c.Messages = []provider.Message{{To: provider.Target{ID: "child"}, Payload: []byte("hello")}}
		h.ok(h.apply(node, c).Sent[0].Err, "send")
		h.same("mail of the child", h.letters(child.Key), []string{"start child", "hello"})
	}},
	{"TheResultOfAChildReachesItsParent", func(h *harness) {
		node := h.join()
		parent := h.asleep(node, "parent")
		n := h.child(parent, "child", 6)
		n.Owned = true
		h.create(node, n)
		c := h.turn(n.Key)
		c.Status, c.Outcome = provider.Completed, []byte("42")
		m := to(parent, "child says 42")
		m.Execution, m.Command = n.Parent.Execution, n.Parent.Command
		c.Messages = []provider.Message{m}
		h.apply(node, c)
		h.same("mail", h.mail(parent), []provider.Mail{{Seq: 2, Execution: 1, Command: 6, Payload: []byte("child says 42")}})
		h.same("answered", h.load(parent).Answered, []int64{6})
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{parent})
	}},
	{"ADelayedChildWaits", func(h *harness) {
		node := h.join()
		key := h.owned(node, "parent")
		child := h.child(key, "child", 1)
		child.NotBefore = h.now() + hour
		c := h.turn(key)
		c.Children = []provider.NewInstance{child}
		h.apply(node, c)
		h.same("wake at", h.row(child.Key).WakeAt, child.NotBefore)
	}},
}

// child makes a new instance that command of the instance key starts.
func (h *harness) child(key provider.Key, id string, command int64) provider.NewInstance {
	h.Helper()
	row := h.row(key)
	n := draft(id)
	n.Command = command
	n.Parent = provider.ParentLink{Key: key, ID: row.ID, Execution: row.Execution, Command: command}
	return n
}
