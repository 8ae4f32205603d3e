package providertest

import (
	"slices"

	"github.com/durango-go/durango/provider"
)

var mailboxCases = []testCase{
	{"NumbersAreDenseAndInOrder", func(h *harness) {
		key := h.fresh("a")
		want := []string{"start a"}
		for i := range 20 {
			text := "m" + itoa(i)
			h.same("number of "+text, h.post(key, text).Seq, int64(i+2))
			want = append(want, text)
		}
		h.same("mail", h.letters(key), want)
		h.same("last number", h.row(key).MailboxSeq, int64(21))
	}},
	{"OneBatchMayHoldManyForOne", func(h *harness) {
		a, b := h.fresh("a"), h.fresh("b")
		batch := []provider.Message{to(a, "1"), to(b, "2"), to(a, "3"), to(a, "4"), to(b, "5")}
		results, err := h.Send(h.ctx, batch)
		h.ok(err, "send")
		seqs := []int64{}
		for _, r := range results {
			h.ok(r.Err, "send")
			seqs = append(seqs, r.Seq)
		}
		h.same("numbers", seqs, []int64{2, 2, 3, 4, 3})
		h.same("mail of a", h.letters(a), []string{"start a", "1", "3", "4"})
		h.same("mail of b", h.letters(b), []string{"start b", "2", "5"})
	}},
	{"AddressedByIDOrKey", func(h *harness) {
		key := h.fresh("a")
		for _, t := range []provider.Target{{Key: key}, {ID: "a"}, {Key: key, ID: "a"}} {
			r := h.send(provider.Message{To: t, Payload: []byte("m")})
			h.ok(r.Err, "send")
			h.same("key", r.Key, key)
		}
		h.same("last number", h.row(key).MailboxSeq, int64(4))
	}},
	{"KeyAndIDMustBelongTogether", func(h *harness) {
		a, b := h.fresh("a"), h.fresh("b")
		r := h.send(provider.Message{To: provider.Target{Key: a, ID: "b"}})
		h.is(r.Err, provider.ErrNotFound, "send")
		r = h.send(provider.Message{To: provider.Target{Key: 12345, ID: "b"}})
		h.is(r.Err, provider.ErrNotFound, "send")
		h.same("mail", append(h.letters(a), h.letters(b)...), []string{"start a", "start b"})
	}},
	{"AnUnknownReceiverIsAnErrorToTheSender", func(h *harness) {
		// DESIGN 5: "Sending to an unknown or finished instance is an error to
		// the sender, never a message lost or a queue blocked."
		key := h.fresh("a")
		results, err := h.Send(h.ctx, []provider.Message{
			to(key, "1"), to(provider.NewKey(), "2"), {To: provider.Target{ID: "nobody"}}, {}, to(key, "3"),
		})
		h.ok(err, "send")
		h.ok(results[0].Err, "send 1")
		for _, r := range results[1:4] {
			h.is(r.Err, provider.ErrNotFound, "send to nobody")
		}
		h.ok(results[4].Err, "send 3")
		h.same("mail", h.letters(key), []string{"start a", "1", "3"})
	}},
	{"AnEndedReceiverIsAnErrorToTheSender", func(h *harness) {
		key := h.ended(h.join(), "a")
		before := h.row(key)
		r := h.send(to(key, "late"))
		h.is(r.Err, provider.ErrNotOpen, "send")
		h.same("row", h.row(key), before)
		h.same("mail", h.letters(key), []string{})
	}},
	{"TheOwnerIsReported", func(h *harness) {
		node := h.join()
		h.same("owner", h.post(h.owned(node, "a"), "m").Owner, node)
		h.same("owner", h.post(h.fresh("b"), "m").Owner, provider.NodeKey(0))
	}},
	{"WhatAMessageAnswersIsKept", func(h *harness) {
		key := h.fresh("a")
		m := to(key, "done")
		m.Execution, m.Command = 4, 17
		h.ok(h.send(m).Err, "send")
		h.same("mail", h.mail(key)[1], provider.Mail{Seq: 2, Execution: 4, Command: 17, Payload: []byte("done")})
	}},
	{"AnIDIsAcceptedOnce", func(h *harness) {
		key := h.fresh("a")
		m := to(key, "m")
		m.ID = "req-1"
		h.same("number", h.send(m).Seq, int64(2))
		again := h.send(m)
		h.ok(again.Err, "send again")
		h.same("number of the duplicate", again.Seq, int64(0))
		h.same("key", again.Key, key)
		h.same("mail", h.letters(key), []string{"start a", "m"})
		h.same("last number", h.row(key).MailboxSeq, int64(2))
	}},
	{"AnIDIsAcceptedOnceWithinABatch", func(h *harness) {
		key := h.fresh("a")
		m, other := to(key, "m"), to(key, "n")
		m.ID, other.ID = "req-1", "req-2"
		results, err := h.Send(h.ctx, []provider.Message{m, other, m})
		h.ok(err, "send")
		seqs := []int64{}
		for _, r := range results {
			h.ok(r.Err, "send")
			seqs = append(seqs, r.Seq)
		}
		h.same("numbers", seqs, []int64{2, 3, 0})
		h.same("mail", h.letters(key), []string{"start a", "m", "n"})
	}},
	{"AnIDIsAcceptedOncePerInstance", func(h *harness) {
		a, b := h.fresh("a"), h.fresh("b")
		for _, key := range []provider.Key{a, b} {
			m := to(key, "m")
			m.ID = "req-1"
			h.same("number", h.send(m).Seq, int64(2))
		}
	}},
	{"AnIDIsRememberedAfterItsMessageWasRead", func(h *harness) {
		// DESIGN 5: "accept an ID that is accepted once per instance or topic
		// (for as long as the receiver lives, or a stated window)".
		node := h.join()
		key := h.owned(node, "a")
		m := to(key, "m")
		m.ID = "req-1"
		h.ok(h.send(m).Err, "send")
		c := h.turn(key)
		c.Execution, c.HistoryFrom, c.DueAt = 2, 1, 0 // over a continue-as-new, too
		h.apply(node, c)
		h.same("number of the duplicate", h.send(m).Seq, int64(0))
		h.same("mail", h.letters(key), []string{})
	}},
	{"MessagesWithoutIDAreAllAccepted", func(h *harness) {
		key := h.fresh("a")
		h.post(key, "m")
		h.post(key, "m")
		h.same("mail", h.letters(key), []string{"start a", "m", "m"})
	}},
	{"IfParentLetsOnlyTheChildReceive", func(h *harness) {
		child, stranger := draft("child"), draft("stranger")
		child.Parent = provider.ParentLink{Key: 77, ID: "p", Execution: 1, Command: 1}
		h.create(0, child, stranger)
		for _, key := range []provider.Key{child.Key, stranger.Key} {
			m := to(key, "cancel")
			m.IfParent = 77
			h.ok(h.send(m).Err, "send")
		}
		h.same("mail of the child", h.letters(child.Key), []string{"start child", "cancel"})
		h.same("mail of the stranger", h.letters(stranger.Key), []string{"start stranger"})
		h.same("last number of the stranger", h.row(stranger.Key).MailboxSeq, int64(1))
	}},
	{"MailWakesASleeper", func(h *harness) {
		node := h.join()
		key := h.asleep(node, "a")
		h.same("wake at", h.row(key).WakeAt, provider.Never)
		h.same("claimed", len(h.claim(node, 10).Claimed), 0)
		h.post(key, "m")
		if row := h.row(key); row.WakeAt > h.now() {
			h.Errorf("wake at %d is in the future", row.WakeAt)
		}
		h.same("claimed", keysOf(h.claim(node, 10).Claimed), []provider.Key{key})
	}},
	{"BackoffFloorsMail", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.release(key)
		c.Failure, c.NotBefore = "panic: no", h.now()+hour
		h.apply(node, c)
		h.post(key, "m")
		h.same("wake at", h.row(key).WakeAt, c.NotBefore)
		h.same("claimed", len(h.claim(node, 10).Claimed), 0)
	}},
	{"MoreMailDoesNotMoveAnInstanceBack", func(h *harness) {
		// DESIGN 6: "Sending a message increments `mailbox_seq` and lowers
		// `wake_at`": an instance that is written to all the time must not
		// wait behind those that are not.
		node := h.join()
		busy, quiet := h.asleep(node, "busy"), h.asleep(node, "quiet")
		h.post(busy, "1")
		before := h.row(busy).WakeAt
		h.eventually("the clock", func() bool { return h.now() > before })
		h.post(quiet, "1")
		h.post(busy, "2")
		h.same("wake at", h.row(busy).WakeAt, before)
		h.same("claimed", keysOf(h.claim(node, 1).Claimed), []provider.Key{busy})
	}},
	{"MailOfAnOwnedInstanceIsReported", func(h *harness) {
		node, other := h.join(), h.join()
		key := h.owned(node, "a")
		h.apply(node, h.turn(key))
		h.same("wake at", h.row(key).WakeAt, provider.Never)
		h.same("mail before", len(h.claim(node, 10).Mail), 0)
		h.post(key, "m")
		if row := h.row(key); row.WakeAt > h.now() {
			h.Errorf("wake at %d of an owned instance with mail is in the future", row.WakeAt)
		}
		for range 2 { // until it is read
			h.same("mail", h.claim(node, 10).Mail, []provider.Key{key})
		}
		reply := h.claim(other, 10)
		h.same("claimed by another", len(reply.Claimed)+len(reply.Mail), 0)
		h.apply(node, h.turn(key))
		h.same("mail after", len(h.claim(node, 10).Mail), 0)
	}},
	{"MailReachesASuspendedInstance", func(h *harness) {
		node := h.join()
		key := h.fresh("a")
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		h.post(key, "m")
		h.same("wake at", h.row(key).WakeAt, provider.Never)
		h.same("claimed", len(h.claim(node, 10).Claimed), 0)
		h.same("mail", h.letters(key), []string{"start a", "m"})
	}},
	{"TheMailboxIsShownInParts", func(h *harness) {
		key := h.fresh("a")
		for i := range 5 {
			h.post(key, itoa(i))
		}
		mail, err := h.Mailbox(h.ctx, key, 3)
		h.ok(err, "mailbox")
		h.same("shown", len(mail), 3)
		h.same("last", mail[2].Seq, int64(3))
	}},
	{"BuffersMayBeReused", func(h *harness) {
		key := h.fresh("a")
		buf := []byte("original")
		h.ok(h.send(provider.Message{To: provider.Target{Key: key}, Payload: buf}).Err, "send")
		copy(buf, "CHANGED!")
		h.same("mail", h.letters(key), []string{"start a", "original"})
	}},
	{"AnyBytesAreAPayload", func(h *harness) {
		key := h.fresh("a")
		payload := make([]byte, 256)
		for i := range payload {
			payload[i] = byte(i)
		}
		h.ok(h.send(provider.Message{To: provider.Target{Key: key}, Payload: payload}).Err, "send")
		if got := h.mail(key)[1].Payload; !slices.Equal(got, payload) {
			h.Errorf("payload: got %x", got)
		}
	}},
	{"ManyMessagesInOneBatch", func(h *harness) {
		a, b := h.fresh("a"), h.fresh("b")
		var batch []provider.Message
		for i := range 600 {
			batch = append(batch, to([]provider.Key{a, b}[i%2], itoa(i)))
		}
		results, err := h.Send(h.ctx, batch)
		h.ok(err, "send")
		for i, r := range results {
			h.ok(r.Err, "send")
			h.same("number", r.Seq, int64(i/2+2))
		}
		h.same("mail", len(h.mail(a)), 301)
	}},
}
