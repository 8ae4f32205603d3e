package providertest

import (
	"github.com/durango-go/durango/provider"
)

var loadCases = []testCase{
	{"AnInstanceIsReadWhole", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Tasks = []provider.NewTask{job(4), job(2)}
		h.apply(node, c)
		h.post(key, "m1")
		h.post(key, "m2")
		l := h.load(key)
		h.same("row", l.Instance, h.row(key))
		h.same("turns", l.Turns, []provider.Turn{*c.Turn})
		h.same("mail", l.Mail, []provider.Mail{{Seq: 2, Payload: []byte("m1")}, {Seq: 3, Payload: []byte("m2")}})
		h.same("tasks", l.Tasks, []int64{2, 4})
		h.same("answered", len(l.Answered), 0)
		h.same("more", l.MoreTurns || l.MoreMail, false)
	}},
	{"AnUnknownInstanceFailsAlone", func(h *harness) {
		a, b := h.fresh("a"), h.fresh("b")
		loaded, err := h.Load(h.ctx, []provider.LoadRequest{{Key: b}, {Key: provider.NewKey()}, {Key: a}})
		h.ok(err, "load")
		h.same("first", loaded[0].Instance.ID, "b")
		h.is(loaded[1].Err, provider.ErrNotFound, "load of the unknown")
		h.same("third", loaded[2].Instance.ID, "a")
	}},
	{"FromTurn", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 5)
		l := h.loadPart(provider.LoadRequest{Key: key, FromTurn: 4})
		h.same("turns", numbers(l.Turns), []int64{4, 5})
		l = h.loadPart(provider.LoadRequest{Key: key, FromTurn: 6})
		h.same("turns behind the end", len(l.Turns), 0)
		h.same("more", l.MoreTurns, false)
	}},
	{"WithoutFromTurnTheCurrentExecution", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 3)
		c := h.turn(key)
		c.Execution, c.HistoryFrom = 2, 4
		h.apply(node, c)
		h.same("turns", numbers(h.load(key).Turns), []int64{4})
		h.same("all turns", numbers(h.turns(key)), []int64{1, 2, 3, 4})
		l := h.loadPart(provider.LoadRequest{Key: key, FromTurn: 2})
		h.same("turns of before, when asked for", numbers(l.Turns), []int64{2, 3, 4})
	}},
	{"AfterMail", func(h *harness) {
		key := h.fresh("a")
		h.post(key, "2")
		h.post(key, "3")
		l := h.loadPart(provider.LoadRequest{Key: key, AfterMail: 2})
		h.same("mail", l.Mail, []provider.Mail{{Seq: 3, Payload: []byte("3")}})
		l = h.loadPart(provider.LoadRequest{Key: key, AfterMail: 3})
		h.same("mail behind the end", len(l.Mail), 0)
	}},
	{"PagesOfTurnsJoin", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 7)
		var got []int64
		from, pages := int64(0), 0
		for more := true; more && pages < 10; pages++ {
			l := h.loadPart(provider.LoadRequest{Key: key, FromTurn: from, MaxTurns: 3})
			if len(l.Turns) == 0 {
				h.Fatalf("page %d is empty", pages+1)
			}
			got = append(got, numbers(l.Turns)...)
			from, more = got[len(got)-1]+1, l.MoreTurns
		}
		h.same("turns", got, []int64{1, 2, 3, 4, 5, 6, 7})
		h.same("pages", pages, 3)
	}},
	{"PagesOfMailJoin", func(h *harness) {
		key := h.fresh("a")
		for i := range 6 {
			h.post(key, itoa(i))
		}
		var got []int64
		after, pages := int64(0), 0
		for more := true; more && pages < 10; pages++ {
			l := h.loadPart(provider.LoadRequest{Key: key, AfterMail: after, MaxMail: 3})
			if len(l.Mail) == 0 {
				h.Fatalf("page %d is empty", pages+1)
			}
			for _, m := range l.Mail {
				got = append(got, m.Seq)
			}
			after, more = got[len(got)-1], l.MoreMail
		}
		h.same("mail", got, []int64{1, 2, 3, 4, 5, 6, 7})
		h.same("pages", pages, 3)
	}},
	{"ExactPagesHaveNoMore", func(h *harness) {
		node := h.join()
		key := h.withTurns(node, "a", 3)
		h.post(key, "x")
		l := h.loadPart(provider.LoadRequest{Key: key, MaxTurns: 3, MaxMail: 1})
		h.same("turns", len(l.Turns), 3)
		h.same("mail", len(l.Mail), 1)
		h.same("more", l.MoreTurns || l.MoreMail, false)
	}},
	{"BytesBoundAReplyButAtLeastOneComes", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		for range 3 {
			c := h.turn(key)
			c.Turn.Events = make([]byte, 10_000)
			h.apply(node, c)
		}
		for range 3 {
			h.post(key, string(make([]byte, 10_000)))
		}
		l := h.loadPart(provider.LoadRequest{Key: key, MaxBytes: 5_000})
		h.same("turns", numbers(l.Turns), []int64{1})
		h.same("mail", len(l.Mail), 1)
		h.same("more turns", l.MoreTurns, true)
		h.same("more mail", l.MoreMail, true)
		l = h.loadPart(provider.LoadRequest{Key: key, MaxBytes: 1 << 20})
		h.same("turns and mail", len(l.Turns)+len(l.Mail), 6)
		h.same("more", l.MoreTurns || l.MoreMail, false)
	}},
	{"Rule05AnsweredLooksBeyondTheWindow", func(h *harness) {
		// DESIGN 6, rule 5: "Recovery reads open tasks before messages, and
		// looks for a completion in the whole unread mailbox by (execution,
		// command), not only in the window it will deliver".
		key := h.fresh("a")
		h.post(key, "chatter")
		for _, command := range []int64{9, 5, 5} {
			m := to(key, "result")
			m.Execution, m.Command = 1, command
			h.ok(h.send(m).Err, "send")
		}
		l := h.loadPart(provider.LoadRequest{Key: key, MaxMail: 1})
		h.same("mail", len(l.Mail), 1)
		h.same("answered", l.Answered, []int64{5, 9})
		l = h.loadPart(provider.LoadRequest{Key: key, AfterMail: 5})
		h.same("answered, with all mail known", l.Answered, []int64{5, 9})
	}},
	{"AnsweredForgetsWhatWasRead", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		for command := int64(1); command <= 3; command++ {
			m := to(key, "result")
			m.Execution, m.Command = 1, command
			h.ok(h.send(m).Err, "send")
		}
		c := h.turn(key)
		c.ReadSeq = 3 // the start and commands 1 and 2
		h.apply(node, c)
		h.same("answered", h.load(key).Answered, []int64{3})
	}},
	{"AnsweredIsOfTheCurrentExecution", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.Execution, c.HistoryFrom = 2, 1
		h.apply(node, c)
		for execution := int64(1); execution <= 2; execution++ {
			m := to(key, "result")
			m.Execution, m.Command = execution, 10+execution
			h.ok(h.send(m).Err, "send")
		}
		h.same("answered", h.load(key).Answered, []int64{12})
	}},
	{"Rule05ACompletedTaskIsAnsweredNotOpen", func(h *harness) {
		// DESIGN 6, rule 5: "nothing that has a recorded result is dispatched
		// again": between row and message a task is never missing.
		node := h.join()
		key, task := h.working(node, "a", 6)
		l := h.load(key)
		h.same("tasks", l.Tasks, []int64{6})
		h.same("answered", len(l.Answered), 0)
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: []byte("done")}), "finish")
		l = h.load(key)
		h.same("tasks", len(l.Tasks), 0)
		h.same("answered", l.Answered, []int64{6})
	}},
	{"AnEndedInstanceCanBeRead", func(h *harness) {
		key := h.ended(h.join(), "a")
		l := h.load(key)
		h.same("status", l.Instance.Status, provider.Completed)
		h.same("turns", len(l.Turns), 1)
		h.same("mail", len(l.Mail), 0)
	}},
	{"LoadChangesNothing", func(h *harness) {
		key := h.fresh("a")
		before := h.row(key)
		h.load(key)
		h.load(key)
		h.same("row", h.row(key), before)
	}},
}

// withTurns makes an owned instance with n turns.
func (h *harness) withTurns(node provider.NodeKey, id string, n int) provider.Key {
	h.Helper()
	key := h.owned(node, id)
	for range n {
		h.apply(node, h.turn(key))
	}
	return key
}

func numbers(turns []provider.Turn) []int64 {
	ns := []int64{}
	for _, t := range turns {
		ns = append(ns, t.Number)
	}
	return ns
}
