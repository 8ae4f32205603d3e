package providertest

import (
	"slices"

	"github.com/durango-go/durango/provider"
)

// publishCases are about the custom status and the values of instances.
var publishCases = []testCase{
	{"TheStatusHasTheTurnThatSetIt", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.turn(key))
		h.statusIs(key, 0, "")
		c := h.turn(key)
		c.CustomStatus = []byte("half way")
		h.apply(node, c)
		h.statusIs(key, 2, "half way")
		h.apply(node, h.turn(key)) // says nothing of it
		h.statusIs(key, 2, "half way")
		c = h.turn(key)
		c.CustomStatus = []byte("there")
		h.apply(node, c)
		h.statusIs(key, 4, "there")
	}},
	{"WithoutATurnItHasTheNext", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.apply(node, h.turn(key))
		c := h.beside(key)
		c.CustomStatus = []byte("waiting")
		h.apply(node, c)
		h.statusIs(key, 2, "waiting")
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"AnEmptyStatusIsAStatus", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		c.CustomStatus = []byte{}
		h.apply(node, c)
		h.statusIs(key, 1, "")
	}},
	{"ValuesAreSetReplacedAndRemoved", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.same("values at first", h.values(key), map[string]string{})
		h.publish(node, key, value("x", "1"), value("y", "1"), value("z", "1"))
		h.publish(node, key, value("x", "2"), provider.Value{Name: "y"}, provider.Value{Name: "unknown"})
		h.same("values", h.values(key), map[string]string{"x": "2", "z": "1"})
		h.publish(node, key, value("y", "again"))
		h.same("values", h.values(key), map[string]string{"x": "2", "y": "again", "z": "1"})
	}},
	{"AnEmptyValueIsAValue", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.publish(node, key, value("x", "1"))
		h.publish(node, key, value("x", ""))
		h.same("values", h.values(key), map[string]string{"x": ""})
	}},
	{"NamesAreComparedByteByByte", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		names := []string{"b", "B", "日本", "a b", "ä", "a\u0308", "10", "9", " b", "%", "\U0010FFFF", "\uE000"}
		for _, name := range names {
			h.publish(node, key, value(name, "value of "+name))
		}
		slices.Sort(names)
		values, err := h.Values(h.ctx, key)
		h.ok(err, "values")
		got := []string{}
		for _, v := range values {
			got = append(got, v.Name)
			h.same("payload", string(v.Payload), "value of "+v.Name)
		}
		h.same("names in order", got, names)
		h.same("another case", h.find(key, provider.LookupValue, "A B").Found, false)
	}},
	{"ACommitWithoutATurnPublishes", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.beside(key)
		c.Values, c.Replies = []provider.Value{value("x", "1")}, []provider.Reply{reply("r", "yes")}
		h.apply(node, c)
		h.same("values", h.values(key), map[string]string{"x": "1"})
		h.replyIs(key, "r", "yes")
		h.same("next turn", h.row(key).NextTurn, int64(1))
	}},
	{"ARefusedCommitPublishesNothing", func(h *harness) {
		node, thief := h.join(), h.join()
		key := h.owned(node, "a")
		h.publish(node, key, value("x", "1"))
		late := h.turn(key)
		late.CustomStatus = []byte("no")
		late.Values = []provider.Value{value("x", "no"), value("y", "no")}
		late.Replies, late.DropReplies = []provider.Reply{reply("r", "no")}, provider.Never
		h.is(h.commit(thief, late).Err, provider.ErrConflict, "commit of a stranger")
		late.ReadSeq = 99
		h.is(h.commit(node, late).Err, provider.ErrInvalid, "invalid commit")
		h.same("values", h.values(key), map[string]string{"x": "1"})
		h.same("reply", h.find(key, provider.LookupReply, "r").Found, false)
		h.statusIs(key, 0, "")
	}},
	{"AFirstTurnPublishes", func(h *harness) {
		node := h.join()
		n := h.born("a")
		n.First.Values, n.First.Replies = []provider.Value{value("x", "1")}, []provider.Reply{reply("r", "yes")}
		n.First.CustomStatus = []byte("begun")
		h.ok(only(h, "results", h.createAs(node, n)).First.Err, "first turn")
		h.same("values", h.values(n.Key), map[string]string{"x": "1"})
		h.replyIs(n.Key, "r", "yes")
		h.statusIs(n.Key, 1, "begun")
	}},
	{"WhatIsPublishedSurvivesContinueAsNew", func(h *harness) {
		node := h.join()
		key := h.everything(node, "a")
		c := h.turn(key)
		c.Execution, c.HistoryFrom = 2, c.Expect
		h.apply(node, c)
		h.everythingIs(key)
		h.publish(node, key, value("x", "2"))
		h.same("values", h.values(key), map[string]string{"x": "2", "y": ""})
	}},
	{"WhatIsPublishedSurvivesTheEnd", func(h *harness) {
		// Terminated by an operator, by a message, and completed.
		node := h.join()
		a, b, c := h.everything(node, "a"), h.everything(node, "b"), h.everything(node, "c")
		h.ok(h.Terminate(h.ctx, provider.Target{Key: a}, []byte("out"), nil), "terminate")
		h.ok(h.send(provider.Message{To: provider.Target{Key: b}, Terminate: true}).Err, "terminate by message")
		end := h.turn(c)
		end.Status = provider.Completed
		h.apply(node, end)
		for _, key := range []provider.Key{a, b, c} {
			h.same("open", h.row(key).Status.Open(), false)
			h.everythingIs(key)
		}
	}},
	{"TheLastCommitPublishes", func(h *harness) {
		node := h.join()
		key := h.everything(node, "a")
		end := h.turn(key)
		end.Status, end.CustomStatus = provider.Failed, []byte("given up")
		end.Values, end.Replies = []provider.Value{value("z", "last")}, []provider.Reply{reply("late", "no more")}
		h.apply(node, end)
		h.same("values", h.values(key), map[string]string{"x": "1", "y": "", "z": "last"})
		h.replyIs(key, "late", "no more")
		h.statusIs(key, end.Expect, "given up")
	}},
	{"WhatIsPublishedSurvivesTheNode", func(h *harness) {
		node := h.join()
		key := h.everything(node, "a")
		h.kill(node)
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		h.ok(h.Resume(h.ctx, provider.Target{Key: key}), "resume")
		h.everythingIs(key)
	}},
	{"InstancesDoNotMix", func(h *harness) {
		node := h.join()
		a, b := h.everything(node, "a"), h.owned(node, "b")
		h.publish(node, b, value("x", "of b"), provider.Value{Name: "y"})
		c := h.turn(b)
		c.Replies, c.DropReplies = []provider.Reply{reply("r", "of b")}, provider.Never
		h.apply(node, c)
		h.everythingIs(a)
		h.same("values", h.values(b), map[string]string{"x": "of b"})
		h.replyIs(b, "r", "of b")
	}},
	{"BuffersMayBeReused", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		buf := []byte("original")
		c := h.turn(key)
		c.CustomStatus = buf
		c.Values, c.Replies = []provider.Value{{Name: "x", Payload: buf}}, []provider.Reply{{ID: "r", Payload: buf}}
		h.apply(node, c)
		copy(buf, "CHANGED!")
		h.same("values", h.values(key), map[string]string{"x": "original"})
		h.replyIs(key, "r", "original")
		h.statusIs(key, 1, "original")
	}},
}

// replyCases are about the answers that instances give to requests.
var replyCases = []testCase{
	{"TheFirstAnswerStands", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.answer(node, key, 0, reply("r", "first"), reply("s", "other"))
		h.answer(node, key, 0, reply("r", "second"))
		h.replyIs(key, "r", "first")
		h.replyIs(key, "s", "other")
		h.answer(node, key, 0, reply("t", "1"), reply("t", "2"))
		h.replyIs(key, "t", "1")
	}},
	{"AnEmptyAnswerIsAnAnswer", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.answer(node, key, 0, reply("r", ""))
		h.answer(node, key, 0, reply("r", "second"))
		h.replyIs(key, "r", "")
	}},
	{"OldAnswersAreDropped", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.answer(node, key, 0, reply("old", "1"))
		stored := h.now()
		h.eventually("the clock", func() bool { return h.now() > stored })
		since := h.now()
		h.answer(node, key, 0, reply("new", "1"))
		h.answer(node, key, stored-24*hour)
		h.replyIs(key, "old", "1")
		h.answer(node, key, since)
		h.same("the old", h.find(key, provider.LookupReply, "old").Found, false)
		h.replyIs(key, "new", "1")
	}},
	{"TheyAreDroppedBeforeTheNewAreStored", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.answer(node, key, 0, reply("r", "first"), reply("s", "first"))
		h.answer(node, key, provider.Never, reply("r", "second"))
		h.replyIs(key, "r", "second")
		h.same("the other", h.find(key, provider.LookupReply, "s").Found, false)
	}},
	{"DroppingTouchesNothingElse", func(h *harness) {
		node := h.join()
		key, other := h.everything(node, "a"), h.everything(node, "b")
		h.answer(node, key, provider.Never)
		h.same("reply", h.find(key, provider.LookupReply, "r").Found, false)
		h.same("values", h.values(key), map[string]string{"x": "1", "y": ""})
		h.statusIs(key, 1, "status")
		h.everythingIs(other)
	}},
}

func value(name, payload string) provider.Value {
	return provider.Value{Name: name, Payload: []byte(payload)}
}

func reply(id, payload string) provider.Reply {
	return provider.Reply{ID: id, Payload: []byte(payload)}
}

// beside makes a commit of the instance without a turn.
func (h *harness) beside(key provider.Key) provider.Commit {
	h.Helper()
	row := h.row(key)
	return beside(&row)
}

// publish commits a turn with values.
func (h *harness) publish(node provider.NodeKey, key provider.Key, values ...provider.Value) {
	h.Helper()
	c := h.turn(key)
	c.Values = values
	h.apply(node, c)
}

// answer commits a turn with replies.
func (h *harness) answer(node provider.NodeKey, key provider.Key, drop int64, replies ...provider.Reply) {
	h.Helper()
	c := h.turn(key)
	c.Replies, c.DropReplies = replies, drop
	h.apply(node, c)
}

// everything makes an owned instance that has published one thing of each kind.
func (h *harness) everything(node provider.NodeKey, id string) provider.Key {
	h.Helper()
	key := h.owned(node, id)
	c := h.turn(key)
	c.CustomStatus = []byte("status")
	c.Values, c.Replies = []provider.Value{value("x", "1"), value("y", "")}, []provider.Reply{reply("r", "yes")}
	h.apply(node, c)
	return key
}

// everythingIs checks what everything has published.
func (h *harness) everythingIs(key provider.Key) {
	h.Helper()
	h.same("values", h.values(key), map[string]string{"x": "1", "y": ""})
	h.replyIs(key, "r", "yes")
	h.statusIs(key, 1, "status")
}

func (h *harness) values(key provider.Key) map[string]string {
	h.Helper()
	values, err := h.Values(h.ctx, key)
	h.ok(err, "values")
	byName := map[string]string{}
	for _, v := range values {
		byName[v.Name] = string(v.Payload)
	}
	h.same("values, each once", len(values), len(byName))
	for name, payload := range byName {
		f := h.find(key, provider.LookupValue, name)
		h.same("value "+name+" by lookup", string(f.Payload), payload)
		h.same("value "+name+" found", f.Found, true)
	}
	return byName
}

func (h *harness) replyIs(key provider.Key, id, want string) {
	h.Helper()
	f := h.find(key, provider.LookupReply, id)
	h.same("reply "+id+" found", f.Found, true)
	h.same("reply "+id, string(f.Payload), want)
}

// statusIs checks the custom status and its turn wherever they are shown.
func (h *harness) statusIs(key provider.Key, turn int64, want string) {
	h.Helper()
	page, err := h.List(h.ctx, provider.Query{After: key + 1, Limit: 1})
	h.ok(err, "list")
	for what, row := range map[string]provider.Instance{
		"get": h.row(key), "load": h.load(key).Instance, "list": only(h, "instances listed", page.Instances),
	} {
		h.same("turn of the status by "+what, row.CustomStatusTurn, turn)
		h.same("status by "+what, string(row.CustomStatus), want)
	}
	f := h.find(key, provider.LookupStatus, "")
	h.same("turn of the status by lookup", f.Turn, turn)
	h.same("status found by lookup", f.Found, turn != 0)
	h.same("status by lookup", string(f.Payload), want)
}
