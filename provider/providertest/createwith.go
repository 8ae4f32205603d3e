package providertest

import "github.com/durango-go/durango/provider"

// withCases are about messages that come with a new instance: to whatever
// instance has the ID when the call is done, in the same transaction.
var withCases = []testCase{
	{"MessagesFollowTheStart", func(h *harness) {
		other := h.fresh("other")
		n := draft("a")
		first := to(other, "1") // To is ignored
		first.Execution, first.Command = 1, 7
		n.With = []provider.Message{first, {Payload: []byte("2")}}
		r := only(h, "results", h.createAs(0, n))
		h.ok(r.Err, "create")
		h.same("sent", r.Sent, []provider.SendResult{{Key: n.Key, Seq: 2}, {Key: n.Key, Seq: 3}})
		h.same("mail", h.mail(n.Key), []provider.Mail{
			{Seq: 1, Payload: []byte("start a")}, {Seq: 2, Execution: 1, Command: 7, Payload: []byte("1")}, {Seq: 3, Payload: []byte("2")},
		})
		h.same("mail of the other", h.letters(other), []string{"start other"})
		h.same("claimed", len(h.claim(h.join(), 5).Claimed), 2)
	}},
	{"MessagesFollowTheFirstTurn", func(h *harness) {
		node := h.join()
		n := h.born("a")
		n.First.DueAt = provider.Never
		n.With = []provider.Message{{Payload: []byte("1")}}
		r := only(h, "results", h.createAs(node, n))
		h.ok(r.Err, "create")
		h.ok(r.First.Err, "first turn")
		h.same("sent", r.Sent, []provider.SendResult{{Key: n.Key, Seq: 2, Owner: node}})
		h.same("mail", h.letters(n.Key), []string{"1"})
		h.same("reported to the owner", h.claim(node, 0).Mail, []provider.Key{n.Key})
	}},
	{"MessagesFollowAFirstTurnThatSleeps", func(h *harness) {
		node := h.join()
		n := h.born("a")
		n.First.Release, n.First.DueAt = true, provider.Never
		n.With = []provider.Message{{Payload: []byte("1")}}
		h.ok(only(h, "results", h.createAs(node, n)).Err, "create")
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{n.Key})
	}},
	{"AFirstTurnThatEndsLeavesNobodyToSendTo", func(h *harness) {
		node := h.join()
		n := h.born("a")
		n.First.Status = provider.Completed
		n.With = []provider.Message{{Payload: []byte("1")}}
		r := only(h, "results", h.createAs(node, n))
		h.ok(r.Err, "create")
		h.ok(r.First.Err, "first turn")
		h.is(only(h, "sent", r.Sent).Err, provider.ErrNotOpen, "message")
		h.same("mail", h.letters(n.Key), []string{})
	}},
	{"AFirstTurnThatIsRefusedKeepsNoMessageBack", func(h *harness) {
		node := h.join()
		n := h.born("a")
		n.First.Turn.Number = 7
		n.With = []provider.Message{{Payload: []byte("1")}}
		r := only(h, "results", h.createAs(node, n))
		h.is(r.First.Err, provider.ErrInvalid, "first turn")
		h.ok(only(h, "sent", r.Sent).Err, "message")
		h.same("mail", h.letters(n.Key), []string{"start a", "1"})
	}},
	{"AnInstanceThatWasThereGetsThem", func(h *harness) {
		node := h.join()
		key := h.asleep(node, "a")
		n := draft("a")
		n.With = []provider.Message{{Payload: []byte("1")}, {Payload: []byte("2")}}
		r := only(h, "results", h.createAs(0, n))
		h.is(r.Err, provider.ErrAlreadyExists, "create")
		h.same("key", r.Key, key)
		h.same("sent", r.Sent, []provider.SendResult{{Key: key, Seq: 2}, {Key: key, Seq: 3}})
		h.same("mail", h.letters(key), []string{"1", "2"})
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"AnEndedInstanceGetsNone", func(h *harness) {
		key := h.ended(h.join(), "a")
		n := draft("a")
		n.With = []provider.Message{{Payload: []byte("1")}}
		r := only(h, "results", h.createAs(0, n))
		h.is(r.Err, provider.ErrAlreadyExists, "create")
		h.same("key", r.Key, key)
		h.is(only(h, "sent", r.Sent).Err, provider.ErrNotOpen, "message")
		h.same("mail", h.letters(key), []string{})
	}},
	{"Rule03TheSameCallAgainSendsAgain", func(h *harness) {
		// Message IDs make the repetition harmless; without them nothing does.
		n := draft("a")
		n.With = []provider.Message{{ID: "req-1", Payload: []byte("once")}, {Payload: []byte("each time")}}
		h.ok(only(h, "results", h.createAs(0, n)).Err, "create")
		r := only(h, "results", h.createAs(0, n))
		h.ok(r.Err, "create again")
		h.same("sent", r.Sent, []provider.SendResult{{Key: n.Key}, {Key: n.Key, Seq: 4}})
		h.same("mail", h.letters(n.Key), []string{"start a", "once", "each time", "each time"})
	}},
	{"AMessageIDIsTheSameHoweverItComes", func(h *harness) {
		n := draft("a")
		n.With = []provider.Message{{ID: "req-1", Payload: []byte("once")}}
		h.create(0, n)
		m := to(n.Key, "again")
		m.ID = "req-1"
		h.same("number", h.send(m).Seq, int64(0))
		m.ID = "req-2"
		h.ok(h.send(m).Err, "send")
		late := draft("a")
		late.With = []provider.Message{{ID: "req-2", Payload: []byte("no")}}
		h.same("number", only(h, "sent", only(h, "results", h.createAs(0, late)).Sent).Seq, int64(0))
		h.same("mail", h.letters(n.Key), []string{"start a", "once", "again"})
	}},
	{"WhoHasOnlyTheKeyGetsNone", func(h *harness) {
		key := h.fresh("a")
		n := draft("b")
		n.Key, n.With = key, []provider.Message{{Payload: []byte("1")}}
		r := only(h, "results", h.createAs(0, n))
		h.is(r.Err, provider.ErrAlreadyExists, "create")
		h.same("key", r.Key, provider.Key(0))
		h.same("sent", len(r.Sent), 0)
		h.same("mail", h.letters(key), []string{"start a"})
	}},
	{"ARefusedInstanceSendsNothing", func(h *harness) {
		key := h.fresh("a")
		n := draft("a")
		n.Key, n.With = 0, []provider.Message{{Payload: []byte("1")}}
		r := only(h, "results", h.createAs(0, n))
		h.is(r.Err, provider.ErrInvalid, "create")
		h.same("sent", len(r.Sent), 0)
		h.same("mail", h.letters(key), []string{"start a"})
	}},
	{"ItemsOfABatchComeInOrder", func(h *harness) {
		a, again, b := draft("a"), draft("a"), draft("b")
		a.With = []provider.Message{{Payload: []byte("1")}}
		again.With = []provider.Message{{Payload: []byte("2")}}
		results := h.createAs(0, a, again, b)
		h.is(results[1].Err, provider.ErrAlreadyExists, "the second")
		h.same("sent by the third", len(results[2].Sent), 0)
		h.same("mail", h.letters(a.Key), []string{"start a", "1", "2"})
	}},
	{"TheyAreSentAsBySend", func(h *harness) {
		parent, stranger := h.fresh("parent"), h.fresh("stranger")
		n := h.child(parent, "a", 1)
		n.With = []provider.Message{{IfParent: stranger, Payload: []byte("no")}, {IfParent: parent, Payload: []byte("yes")}}
		h.create(0, n)
		h.same("mail", h.letters(n.Key), []string{"start a", "yes"})
		end := draft("a")
		end.With = []provider.Message{{Terminate: true, Payload: []byte("out"), Notify: []byte("told")}, {Payload: []byte("late")}}
		r := only(h, "results", h.createAs(0, end))
		if len(r.Sent) != 2 {
			h.Fatalf("sent: got %d, want 2", len(r.Sent))
		}
		h.ok(r.Sent[0].Err, "termination")
		h.is(r.Sent[1].Err, provider.ErrNotOpen, "the late")
		h.same("status", h.row(n.Key).Status, provider.Terminated)
		h.same("mail of the parent", h.letters(parent), []string{"start parent", "told"})
	}},
	{"AChildTakesNone", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		before := h.row(key)
		c := h.turn(key)
		child := draft("child")
		child.With = []provider.Message{{Payload: []byte("1")}}
		c.Children = []provider.NewInstance{child}
		h.is(h.commit(node, c).Err, provider.ErrInvalid, "commit")
		h.same("row", h.row(key), before)
		_, err := h.Get(h.ctx, provider.Target{ID: "child"})
		h.is(err, provider.ErrNotFound, "get the child")
	}},
	{"TooLargeAMessageFailsAlone", func(h *harness) {
		big, fits := h.sizes()
		n := draft("a")
		n.With = []provider.Message{{Payload: big}, {Payload: fits}}
		r := only(h, "results", h.createAs(0, n))
		h.ok(r.Err, "create")
		if len(r.Sent) != 2 {
			h.Fatalf("sent: got %d, want 2", len(r.Sent))
		}
		h.is(r.Sent[0].Err, provider.ErrTooLarge, "message")
		h.same("number of what fits", r.Sent[1].Seq, int64(2))
	}},
	{"BuffersMayBeReused", func(h *harness) {
		buf := []byte("original")
		n := draft("a")
		n.With = []provider.Message{{Payload: buf}}
		h.create(0, n)
		copy(buf, "CHANGED!")
		h.same("mail", h.letters(n.Key), []string{"start a", "original"})
	}},
}
