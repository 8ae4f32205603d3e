package providertest

import (
	"bytes"

	"github.com/durango-go/durango/provider"
)

var outcomeCases = []testCase{
	{"AnUnknownInstanceHasNoStatus", func(h *harness) {
		h.same("outcomes", h.outcomes(provider.Target{ID: "nobody"}, provider.Target{Key: provider.NewKey()}, provider.Target{}),
			[]provider.Outcome{{}, {}, {}})
	}},
	{"OpenInstancesAndEnded", func(h *harness) {
		node := h.join()
		waiting, running, over := h.fresh("w"), h.owned(node, "r"), h.ended(node, "o")
		c := h.turn(running)
		c.CustomStatus, c.Outcome = []byte("not an outcome"), nil
		h.apply(node, c)
		want := []provider.Outcome{
			{Key: over, Status: provider.Completed, Payload: []byte("outcome of o")},
			{Key: waiting, Status: provider.Pending},
			{},
			{Key: running, Status: provider.Running, Owner: node},
			{Key: over, Status: provider.Completed, Payload: []byte("outcome of o")},
		}
		got := h.outcomes(provider.Target{ID: "o"}, provider.Target{Key: waiting}, provider.Target{Key: waiting, ID: "r"},
			provider.Target{ID: "r"}, provider.Target{Key: over, ID: "o"})
		for i := range got {
			if len(got[i].Payload) == 0 {
				got[i].Payload = nil
			}
		}
		h.same("outcomes", got, want)
	}},
	{"OutcomesOfMany", func(h *harness) {
		var targets []provider.Target
		var batch []provider.NewInstance
		for i := range 300 {
			n := draft(itoa(i))
			batch = append(batch, n)
			targets = append(targets, provider.Target{Key: n.Key}, provider.Target{ID: n.ID})
		}
		h.create(0, batch...)
		for i, o := range h.outcomes(targets...) {
			h.same("key", o.Key, batch[i/2].Key)
		}
	}},
	{"TheDeletedAreUnknown", func(h *harness) {
		key := h.ended(h.join(), "a")
		h.ok(h.Delete(h.ctx, provider.Target{Key: key}, false), "delete")
		h.same("outcome", h.outcomes(provider.Target{Key: key})[0].Status, provider.Status(0))
	}},
}

func (h *harness) outcomes(targets ...provider.Target) []provider.Outcome {
	h.Helper()
	outcomes, err := h.Outcomes(h.ctx, targets)
	h.ok(err, "outcomes")
	if len(outcomes) != len(targets) {
		h.Fatalf("outcomes: %d results for %d targets", len(outcomes), len(targets))
	}
	return outcomes
}

var inspectorCases = []testCase{
	{"GetByIDOrKey", func(h *harness) {
		a := h.fresh("a")
		h.fresh("b")
		for _, t := range []provider.Target{{Key: a}, {ID: "a"}, {Key: a, ID: "a"}} {
			row, err := h.Get(h.ctx, t)
			h.ok(err, "get")
			h.same("ID", row.ID, "a")
		}
		for _, t := range []provider.Target{{}, {ID: "A"}, {Key: a, ID: "b"}, {Key: provider.NewKey()}} {
			_, err := h.Get(h.ctx, t)
			h.is(err, provider.ErrNotFound, "get")
		}
	}},
	{"ListIsNewestFirst", func(h *harness) {
		keys := []provider.Key{h.fresh("a"), h.fresh("b"), h.fresh("c")}
		h.same("list", h.list(provider.Query{}), []provider.Key{keys[2], keys[1], keys[0]})
	}},
	{"PagesJoinWithoutGaps", func(h *harness) {
		var want []provider.Key
		for i := range 25 {
			want = append([]provider.Key{h.fresh(itoa(i))}, want...)
		}
		var got []provider.Key
		q := provider.Query{Limit: 10}
		for pages := 1; ; pages++ {
			page, err := h.List(h.ctx, q)
			h.ok(err, "list")
			got = append(got, keysOf(page.Instances)...)
			if len(page.Instances) > 10 {
				h.Errorf("%d instances on a page of 10", len(page.Instances))
			}
			h.fresh("meanwhile " + itoa(pages)) // is newer and not on later pages
			if page.Next == 0 {
				break
			}
			q.After = page.Next
		}
		h.same("all pages", got, want)
	}},
	{"ALastPageThatIsFullHasNoNext", func(h *harness) {
		h.fresh("a")
		h.fresh("b")
		page, err := h.List(h.ctx, provider.Query{Limit: 2})
		h.ok(err, "list")
		h.same("instances", len(page.Instances), 2)
		h.same("next", page.Next, provider.Key(0))
	}},
	{"APageHasAHundredUnlessAsked", func(h *harness) {
		var batch []provider.NewInstance
		for i := range 120 {
			batch = append(batch, draft(itoa(i)))
		}
		h.create(0, batch...)
		page, err := h.List(h.ctx, provider.Query{})
		h.ok(err, "list")
		h.same("instances", len(page.Instances), 100)
		h.same("with a limit", len(h.list(provider.Query{Limit: 500})), 120)
	}},
	{"FiltersSelect", func(h *harness) {
		node := h.join()
		a, b, c, d := draft("order-1"), draft("order-2"), draft("invoice-1"), draft("Order-3")
		a.Name, b.Name, c.Name, d.Name = "fulfil", "fulfil-fast", "bill", "Fulfil"
		b.Version = "2.0.0"
		c.Parent = provider.ParentLink{Key: a.Key, ID: a.ID, Execution: 1, Command: 1}
		for i, n := range []provider.NewInstance{a, b, c, d} {
			n.Owned = i == 0
			h.create(node, n)
		}
		end := h.turn(a.Key)
		end.Status = provider.Failed
		h.apply(node, end)
		h.ok(h.Suspend(h.ctx, provider.Target{Key: d.Key}), "suspend")
		created := h.row(b.Key).CreatedAt
		for name, tc := range map[string]struct {
			q    provider.Query
			want []provider.Key
		}{
			"status":        {provider.Query{Statuses: []provider.Status{provider.Failed}}, []provider.Key{a.Key}},
			"statuses":      {provider.Query{Statuses: []provider.Status{provider.Failed, provider.Suspended}}, []provider.Key{d.Key, a.Key}},
			"name":          {provider.Query{Name: "fulfil"}, []provider.Key{a.Key}},
			"name prefix":   {provider.Query{NamePrefix: "fulfil"}, []provider.Key{b.Key, a.Key}},
			"ID prefix":     {provider.Query{IDPrefix: "order-"}, []provider.Key{b.Key, a.Key}},
			"version":       {provider.Query{Version: "2.0.0"}, []provider.Key{b.Key}},
			"parent":        {provider.Query{Parent: "order-1"}, []provider.Key{c.Key}},
			"two at once":   {provider.Query{IDPrefix: "order-", Statuses: []provider.Status{provider.Pending}}, []provider.Key{b.Key}},
			"none":          {provider.Query{Name: "nothing"}, []provider.Key{}},
			"after":         {provider.Query{After: c.Key}, []provider.Key{b.Key, a.Key}},
			"long ago":      {provider.Query{CreatedBefore: created - 24*hour}, []provider.Key{}},
			"long from now": {provider.Query{CreatedFrom: created + 24*hour}, []provider.Key{}},
			"around now":    {provider.Query{CreatedFrom: created - hour, CreatedBefore: created + hour, Name: "bill"}, []provider.Key{c.Key}},
		} {
			h.same(name, h.list(tc.q), tc.want)
		}
	}},
	{"CreatedFromIsInclusiveBeforeExclusive", func(h *harness) {
		key := h.fresh("a")
		at := h.row(key).CreatedAt
		h.same("from", h.list(provider.Query{CreatedFrom: at}), []provider.Key{key})
		h.same("from later", h.list(provider.Query{CreatedFrom: at + 1}), []provider.Key{})
		h.same("before", h.list(provider.Query{CreatedBefore: at}), []provider.Key{})
		h.same("before later", h.list(provider.Query{CreatedBefore: at + 1}), []provider.Key{key})
	}},
	{"PrefixesAreLiteral", func(h *harness) {
		// In SQL, % and _ match anything, and LIKE may ignore case.
		percent, under := h.fresh("100%-a"), h.fresh("x_y")
		h.fresh("100x-a")
		h.fresh("xzy")
		h.fresh("X_Y")
		backslash := h.fresh(`c:\d`)
		h.same("percent", h.list(provider.Query{IDPrefix: "100%"}), []provider.Key{percent})
		h.same("underscore", h.list(provider.Query{IDPrefix: "x_"}), []provider.Key{under})
		h.same("backslash", h.list(provider.Query{IDPrefix: `c:\`}), []provider.Key{backslash})
		h.same("star", h.list(provider.Query{IDPrefix: "*"}), []provider.Key{})
		h.same("question mark", h.list(provider.Query{IDPrefix: "?"}), []provider.Key{})
	}},
	{"PrefixesInAnyLanguage", func(h *harness) {
		key := h.fresh("日本語-1")
		last := h.fresh("\U0010FFFF\U0010FFFFz")
		h.same("prefix", h.list(provider.Query{IDPrefix: "日本"}), []provider.Key{key})
		h.same("prefix of the last character", h.list(provider.Query{IDPrefix: "\U0010FFFF"}), []provider.Key{last})
	}},
	{"TurnFailedSelectsTheOpen", func(h *harness) {
		node := h.join()
		failing, over, fine := h.owned(node, "f"), h.owned(node, "o"), h.owned(node, "x")
		h.apply(node, h.failure(failing, "no", 0))
		c := h.failure(over, "no", 0)
		c.Status = provider.Failed
		h.apply(node, c)
		h.apply(node, h.turn(fine))
		h.same("list", h.list(provider.Query{TurnFailed: true}), []provider.Key{failing})
	}},
	{"WaitingSinceSelectsWhatNobodyTakes", func(h *harness) {
		node := h.join()
		now := h.now()
		late, later := draft("late"), draft("later")
		late.NotBefore, later.NotBefore = now+hour, now+2*hour
		h.create(0, late, later)
		due, owned := h.fresh("due"), h.owned(node, "owned")
		suspended, quarantined := h.fresh("suspended"), h.owned(node, "quarantined")
		h.ok(h.Suspend(h.ctx, provider.Target{Key: suspended}), "suspend")
		c := h.failure(quarantined, "no", 0)
		c.Status = provider.Quarantined
		h.apply(node, c)
		asleep, over := h.asleep(node, "asleep"), h.ended(node, "over")
		long := h.owned(node, "long")
		c = h.turn(long)
		c.DueAt, c.Release = 1000, true
		h.apply(node, c)
		all := []provider.Key{long, over, asleep, quarantined, suspended, owned, due, later.Key, late.Key}
		for name, tc := range map[string]struct {
			since int64
			want  []provider.Key
		}{
			"zero is all":             {0, all},
			"just before":             {999, []provider.Key{}},
			"the time itself":         {1000, []provider.Key{long}},
			"an hour ago":             {now - hour, []provider.Key{long}},
			"before the late":         {now + hour - 1, []provider.Key{long, due}},
			"when the late is due":    {now + hour, []provider.Key{long, due, late.Key}},
			"what never wakes is out": {provider.Never, []provider.Key{long, due, later.Key, late.Key}},
		} {
			h.same(name, h.list(provider.Query{WaitingSince: tc.since}), tc.want)
		}
		h.same("with another filter", h.list(provider.Query{WaitingSince: provider.Never, IDPrefix: "late"}), []provider.Key{later.Key, late.Key})
		h.claim(node, 10)
		h.same("when taken", h.list(provider.Query{WaitingSince: now + hour}), []provider.Key{late.Key})
	}},
	{"ValuesAreInTheOrderOfTheirNames", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		h.publish(node, key, value("b", "2"), value("a/1", "3"), value("a", "4"), value("c", "5"))
		h.publish(node, key, value("aa", "1"), provider.Value{Name: "c"}, value("b", ""))
		values, err := h.Values(h.ctx, key)
		h.ok(err, "values")
		got := []string{}
		for _, v := range values {
			got = append(got, v.Name+"="+string(v.Payload))
		}
		h.same("values", got, []string{"a=4", "a/1=3", "aa=1", "b="})
	}},
	{"AListLeavesLargePayloadsOut", func(h *harness) {
		node := h.join()
		small, large := h.owned(node, "small"), h.owned(node, "large")
		for key, size := range map[provider.Key]int{small: 4 << 10, large: 4<<10 + 1} {
			c := h.turn(key)
			c.Status, c.Outcome, c.CustomStatus = provider.Completed, make([]byte, size), bytes.Repeat([]byte("x"), size)
			h.apply(node, c)
		}
		page, err := h.List(h.ctx, provider.Query{})
		h.ok(err, "list")
		h.same("outcome and custom status, large", len(page.Instances[0].Outcome)+len(page.Instances[0].CustomStatus), 0)
		h.same("outcome and custom status, small", len(page.Instances[1].Outcome)+len(page.Instances[1].CustomStatus), 8<<10)
		h.same("custom status by get", len(h.row(large).CustomStatus), 4<<10+1)
	}},
	{"AListShowsWholeRows", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		c := h.failure(key, "no", 5)
		c.CustomStatus = []byte("status")
		h.apply(node, c)
		page, err := h.List(h.ctx, provider.Query{})
		h.ok(err, "list")
		h.same("row", page.Instances[0], h.row(key))
	}},
	{"StatsCount", func(h *harness) {
		node := h.join()
		h.fresh("p1")
		h.fresh("p2")
		h.withTurns(node, "r", 3)
		h.ended(node, "c")
		key := h.fresh("s")
		h.post(key, "m")
		h.ok(h.Suspend(h.ctx, provider.Target{Key: key}), "suspend")
		s := h.stats()
		for status, want := range map[provider.Status]int64{
			provider.Pending: 2, provider.Running: 1, provider.Completed: 1, provider.Suspended: 1, provider.Failed: 0,
		} {
			h.same(status.String(), s.Instances[status], want)
		}
		h.same("turns", s.Turns, int64(4))
		h.same("unread mail", s.UnreadMail, int64(4))
		h.same("nodes", s.Nodes, 1)
	}},
	{"TheUnknownHaveNothing", func(h *harness) {
		key := provider.NewKey()
		h.same("turns, mail and tasks", len(h.turns(key))+len(h.mail(key))+len(h.taskRows(key)), 0)
		values, err := h.Values(h.ctx, key)
		h.ok(err, "values")
		h.same("values", len(values), 0)
	}},
}

func (h *harness) list(q provider.Query) []provider.Key {
	h.Helper()
	page, err := h.List(h.ctx, q)
	h.ok(err, "list")
	return keysOf(page.Instances)
}

var limitCases = []testCase{
	{"TooLargeAStartFailsAlone", func(h *harness) {
		big, fits := h.sizes()
		a, b := draft("a"), draft("b")
		a.Start, b.Start = big, fits
		results, err := h.Create(h.ctx, 0, []provider.NewInstance{a, b})
		h.ok(err, "create")
		h.is(results[0].Err, provider.ErrTooLarge, "create")
		h.ok(results[1].Err, "create what fits")
		_, err = h.Get(h.ctx, provider.Target{ID: "a"})
		h.is(err, provider.ErrNotFound, "get")
	}},
	{"TooLargeAMessageFailsAlone", func(h *harness) {
		big, fits := h.sizes()
		key := h.fresh("a")
		results, err := h.Send(h.ctx, []provider.Message{
			{To: provider.Target{Key: key}, Payload: big}, {To: provider.Target{Key: key}, Payload: fits},
		})
		h.ok(err, "send")
		h.is(results[0].Err, provider.ErrTooLarge, "send")
		h.same("number of what fits", results[1].Seq, int64(2))
		h.same("last number", h.row(key).MailboxSeq, int64(2))
	}},
	{"TooLargeACommitFailsAlone", func(h *harness) {
		big, fits := h.sizes()
		node := h.join()
		friend := h.fresh("friend")
		for name, spoil := range map[string]func(c *provider.Commit, payload []byte){
			"custom status": func(c *provider.Commit, p []byte) { c.CustomStatus = p },
			"value": func(c *provider.Commit, p []byte) {
				c.Values = []provider.Value{value("x", "1"), {Name: "y", Payload: p}}
			},
			"reply":   func(c *provider.Commit, p []byte) { c.Replies = []provider.Reply{{ID: "r", Payload: p}} },
			"outcome": func(c *provider.Commit, p []byte) { c.Status, c.Outcome = provider.Completed, p },
			"task":    func(c *provider.Commit, p []byte) { c.Tasks = []provider.NewTask{{Command: 1, Name: "n", Payload: p}} },
			"failure of a task": func(c *provider.Commit, p []byte) {
				c.Tasks = []provider.NewTask{{Command: 1, Name: "n", Failure: p}}
			},
			"details of a task": func(c *provider.Commit, p []byte) {
				c.Tasks = []provider.NewTask{{Command: 1, Name: "n"}, {Command: 2, Name: "n", Details: p}}
			},
			"message": func(c *provider.Commit, p []byte) { c.Messages = []provider.Message{to(friend, string(p))} },
			"refusal of a message": func(c *provider.Commit, p []byte) {
				m := to(friend, "hello")
				m.Refusal = p
				c.Messages = []provider.Message{m}
			},
			"notice of a termination": func(c *provider.Commit, p []byte) {
				m := to(h.fresh("ended by "+itoa(int(c.Key))), "out")
				m.Terminate, m.Notify = true, p
				c.Messages = []provider.Message{m}
			},
			"refusal of a child": func(c *provider.Commit, p []byte) {
				child := draft("refused child of " + itoa(int(c.Key)))
				child.Refusal = p
				c.Children = []provider.NewInstance{child}
			},
			"child": func(c *provider.Commit, p []byte) {
				child := draft("child of " + itoa(int(c.Key)))
				child.Start = p
				c.Children = []provider.NewInstance{child}
			},
		} {
			bad, good := h.turn(h.owned(node, name)), h.turn(h.owned(node, name+" that fits"))
			spoil(&bad, big)
			spoil(&good, fits)
			results, err := h.Commit(h.ctx, node, []provider.Commit{bad, good})
			h.ok(err, "commit")
			h.is(results[0].Err, provider.ErrTooLarge, name)
			h.ok(results[1].Err, name+" that fits")
			h.same("turns", len(h.turns(bad.Key)), 0)
			h.same("next turn", h.row(bad.Key).NextTurn, int64(1))
			h.same("values", h.values(bad.Key), map[string]string{})
		}
	}},
	{"TooLargeAResultFailsAlone", func(h *harness) {
		big, fits := h.sizes()
		node := h.join()
		key, task := h.working(node, "a", 4)
		for name, f := range map[string]provider.TaskFinish{
			"finish": {Message: big}, "failure": {Failure: big, VisibleAt: 5}, "details": {Details: big, VisibleAt: 5},
		} {
			f.TaskRef = task.Ref()
			h.is(h.finish(node, f), provider.ErrTooLarge, name)
			h.same("still held", h.extend(node, provider.TaskBeat{TaskRef: task.Ref()}), true)
		}
		h.ok(h.finish(node, provider.TaskFinish{TaskRef: task.Ref(), Message: fits}), "finish with what fits")
		h.same("mail", len(h.mail(key)), 1)
	}},
	{"TooLargeDetailsOfABeatChangeNothing", func(h *harness) {
		big, fits := h.sizes()
		node := h.join()
		_, a := h.working(node, "a", 1)
		_, b := h.working(node, "b", 1)
		_, err := h.ExtendTasks(h.ctx, node, []provider.TaskBeat{{TaskRef: a.Ref(), Details: []byte("lost")}, {TaskRef: b.Ref(), Details: big}})
		h.is(err, provider.ErrTooLarge, "extend")
		for _, task := range []provider.Task{a, b} {
			kept := only(h, "tasks", h.taskRows(task.Instance))
			h.same("details", len(kept.Details), 0)
			h.same("holder", kept.Holder, node)
		}
		h.same("held", h.extend(node, provider.TaskBeat{TaskRef: b.Ref(), Details: fits}), true)
		h.same("details that fit", len(only(h, "tasks", h.taskRows(b.Instance)).Details), len(fits))
	}},
	{"TooLargeATurnFailsAlone", func(h *harness) {
		h.need(h.max > 0 && h.max <= 1<<20, "MaxEventSize to 1 MiB")
		node := h.join()
		bad, good := h.turn(h.owned(node, "a")), h.turn(h.owned(node, "b"))
		bad.Turn.Events = make([]byte, provider.MaxTurnEvents*h.max+1)
		good.Turn.Events = make([]byte, provider.MaxTurnEvents*h.max)
		results, err := h.Commit(h.ctx, node, []provider.Commit{bad, good})
		h.ok(err, "commit")
		h.is(results[0].Err, provider.ErrTooLarge, "turn")
		h.ok(results[1].Err, "turn that fits")
		h.same("turns", len(h.turns(bad.Key)), 0)
	}},
	{"TooLargeAFirstTurnIsNotTaken", func(h *harness) {
		big, fits := h.sizes()
		node := h.join()
		for _, payload := range [][]byte{big, fits} {
			n := h.born("a" + itoa(len(payload)))
			n.First.CustomStatus = payload
			r := only(h, "results", h.createAs(node, n))
			h.ok(r.Err, "create")
			if len(payload) == len(big) {
				h.is(r.First.Err, provider.ErrTooLarge, "first turn")
				h.same("turns", len(h.turns(n.Key)), 0)
			} else {
				h.ok(r.First.Err, "first turn that fits")
			}
		}
	}},
}

// sizes returns a payload just over the store's limit, and one just under.
func (h *harness) sizes() (big, fits []byte) {
	h.Helper()
	const testable = 64 << 20
	h.need(h.max > 0 && h.max <= testable, "MaxEventSize")
	return make([]byte, h.max+1), make([]byte, h.max)
}
