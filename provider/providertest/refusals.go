package providertest

import (
	"errors"

	"github.com/durango-go/durango/provider"
)

// DESIGN 6: "What an orchestration sends to a closed or unknown target, and a
// child ID already taken, comes back as a message to the sender in the same
// transaction."
var refusalCases = []testCase{
	{"MessagesOfACommitArrive", func(h *harness) {
		node := h.join()
		key, friend := h.owned(node, "a"), h.asleep(node, "b")
		c := h.turn(key)
		m := to(friend, "1")
		m.Execution, m.Command, m.FromCommand, m.Refusal = 7, 8, 9, []byte("refused")
		c.Messages = []provider.Message{m, to(friend, "2")}
		r := h.apply(node, c)
		h.same("fates", r.Sent, []provider.SendResult{{Key: friend, Seq: 2}, {Key: friend, Seq: 3}})
		h.same("mail", h.mail(friend), []provider.Mail{
			{Seq: 2, Execution: 7, Command: 8, Payload: []byte("1")}, {Seq: 3, Payload: []byte("2")},
		})
		h.same("mail of the sender", h.letters(key), []string{})
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{friend})
	}},
	{"AnUnknownReceiverIsToldToTheSender", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Messages = []provider.Message{refusable(provider.Target{ID: "nobody"}, 5)}
		r := h.apply(node, c)
		h.is(r.Sent[0].Err, provider.ErrNotFound, "send")
		h.same("mailbox", r.MailboxSeq, int64(2))
		h.same("mail", h.mail(key), []provider.Mail{
			{Seq: 2, Execution: 1, Command: 5, Refused: provider.RefusedNotFound, Payload: []byte("refused 5")},
		})
	}},
	{"AnEndedReceiverIsToldToTheSender", func(h *harness) {
		node := h.join()
		over, key := h.ended(node, "over"), h.owned(node, "a")
		c := h.turn(key)
		c.Messages = []provider.Message{refusable(provider.Target{Key: over}, 5)}
		r := h.apply(node, c)
		h.is(r.Sent[0].Err, provider.ErrNotOpen, "send")
		h.same("mail", h.mail(key), []provider.Mail{
			{Seq: 2, Execution: 1, Command: 5, Refused: provider.RefusedNotOpen, Payload: []byte("refused 5")},
		})
	}},
	{"WhoDoesNotCareIsNotTold", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Messages = []provider.Message{{To: provider.Target{ID: "nobody"}, Payload: []byte("m"), FromCommand: 5}}
		r := h.apply(node, c)
		h.is(r.Sent[0].Err, provider.ErrNotFound, "send")
		h.same("mailbox", r.MailboxSeq, int64(1))
		h.same("mail", h.letters(key), []string{})
	}},
	{"OneRefusalDoesNotTouchTheOthers", func(h *harness) {
		node := h.join()
		key, friend := h.owned(node, "a"), h.fresh("b")
		c := h.turn(key)
		c.Messages = []provider.Message{
			to(friend, "1"), refusable(provider.Target{ID: "x"}, 2), to(friend, "3"), refusable(provider.Target{ID: "y"}, 4),
		}
		h.apply(node, c)
		h.same("mail of the friend", h.letters(friend), []string{"start b", "1", "3"})
		h.same("mail", h.letters(key), []string{"refused 2", "refused 4"})
	}},
	{"ARefusalWakesWhoWentToSleep", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Release, c.DueAt = true, provider.Never
		c.Messages = []provider.Message{refusable(provider.Target{ID: "nobody"}, 5)}
		h.apply(node, c)
		if row := h.row(key); row.WakeAt > h.now() {
			h.Errorf("wake at %d is in the future", row.WakeAt)
		}
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"ARefusalAnswersItsCommand", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Messages = []provider.Message{refusable(provider.Target{ID: "nobody"}, 5)}
		h.apply(node, c)
		h.same("answered", h.load(key).Answered, []int64{5})
		h.same("mail loaded", only(h, "loaded", h.load(key).Mail).Refused, provider.RefusedNotFound)
	}},
	{"WhoHasEndedIsToldNothing", func(h *harness) {
		node := h.join()
		h.fresh("taken")
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Status = provider.Completed
		child := h.child(key, "taken", 1)
		child.Refusal = []byte("taken")
		c.Children = []provider.NewInstance{child}
		c.Messages = []provider.Message{refusable(provider.Target{ID: "nobody"}, 2)}
		r := h.apply(node, c)
		h.is(r.Sent[0].Err, provider.ErrNotFound, "send")
		h.is(r.Children[0].Err, provider.ErrAlreadyExists, "child")
		h.same("mail", h.letters(key), []string{})
		h.same("status", h.row(key).Status, provider.Completed)
	}},
	{"ARefusalBelongsToTheExecutionThatAsked", func(h *harness) {
		// A command's number counts within its execution: an answer under the
		// next execution's number would be taken for that of another command.
		node := h.join()
		h.fresh("taken")
		key := h.owned(node, "a")
		c := h.next(key)
		child := h.child(key, "taken", 1)
		child.Refusal = []byte("taken")
		c.Children = []provider.NewInstance{child}
		c.Messages = []provider.Message{refusable(provider.Target{ID: "nobody"}, 2)}
		h.apply(node, c)
		for _, m := range h.mail(key) {
			h.same("execution", m.Execution, int64(1))
		}
		h.same("answered in the next execution", len(h.load(key).Answered), 0)
	}},
	{"AStrangerWithTheChildsIDIsNotReached", func(h *harness) {
		node := h.join()
		key, stranger := h.owned(node, "a"), h.fresh("stranger")
		c := h.turn(key)
		m := refusable(provider.Target{ID: "stranger"}, 2)
		m.IfParent = key
		c.Messages = []provider.Message{m}
		h.ok(h.apply(node, c).Sent[0].Err, "send")
		h.same("mail of the stranger", h.letters(stranger), []string{"start stranger"})
		h.same("mail", h.letters(key), []string{})
	}},
	{"AMessageToItselfIsLikeAnyOther", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Release, c.DueAt = true, provider.Never
		c.Messages = []provider.Message{to(key, "note to self")}
		r := h.apply(node, c)
		h.same("mailbox", r.MailboxSeq, int64(2))
		h.same("number", r.Sent[0].Seq, int64(2))
		h.same("mail", h.letters(key), []string{"note to self"})
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{key})
	}},
	{"ADuplicateWithinCommitsIsAcceptedOnce", func(h *harness) {
		node := h.join()
		key, friend := h.owned(node, "a"), h.fresh("b")
		for range 2 {
			c := h.turn(key)
			m := to(friend, "m")
			m.ID = "req-1"
			c.Messages = []provider.Message{m}
			h.ok(h.apply(node, c).Sent[0].Err, "send")
		}
		h.same("mail", h.letters(friend), []string{"start b", "m"})
	}},
	{"MessagesWithinABatchAreNotSleptOver", func(h *harness) {
		// One goes to sleep and the other writes to it in the same group, in
		// both orders.
		node := h.join()
		for i := range 2 {
			sleeper, writer := h.owned(node, "s"+itoa(i)), h.owned(node, "w"+itoa(i))
			cs, cw := h.turn(sleeper), h.turn(writer)
			cs.Release, cs.DueAt = true, provider.Never
			cw.Messages = []provider.Message{to(sleeper, "wake up")}
			batch := []provider.Commit{cs, cw}
			if i == 1 {
				batch = []provider.Commit{cw, cs}
			}
			results, err := h.Commit(h.ctx, node, batch)
			h.ok(err, "commit")
			h.ok(results[0].Err, "first")
			h.ok(results[1].Err, "second")
			h.same("mail", h.letters(sleeper), []string{"wake up"})
			h.same("claimed", keysOf(h.claim(node, 10).Claimed), []provider.Key{sleeper})
		}
	}},
	{"MessagesToWhoEndsInTheSameBatchAreNotLost", func(h *harness) {
		// Either order is right; in neither is there mail in a closed mailbox,
		// nor a message that was neither accepted nor refused.
		node := h.join()
		for i := range 2 {
			goer, writer := h.owned(node, "g"+itoa(i)), h.owned(node, "w"+itoa(i))
			cg, cw := h.turn(goer), h.turn(writer)
			cg.Status = provider.Completed
			cw.Messages = []provider.Message{refusable(provider.Target{Key: goer}, 3)}
			batch := []provider.Commit{cg, cw}
			sent := 1
			if i == 1 {
				batch, sent = []provider.Commit{cw, cg}, 0
			}
			results, err := h.Commit(h.ctx, node, batch)
			h.ok(err, "commit")
			h.ok(results[0].Err, "first")
			h.ok(results[1].Err, "second")
			refused := errors.Is(results[sent].Sent[0].Err, provider.ErrNotOpen)
			h.same("told", len(h.mail(writer)) == 1, refused)
			h.same("mail of the ended", h.letters(goer), []string{})
			h.same("unread of the ended", func() bool { row := h.row(goer); return row.Unread() }(), false)
		}
	}},
}

// refusable makes a message whose sender wants to know.
func refusable(t provider.Target, command int64) provider.Message {
	return provider.Message{
		To: t, Payload: []byte("m"), FromCommand: command, Refusal: []byte("refused " + itoa(int(command))),
	}
}
