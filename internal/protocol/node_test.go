package protocol

import "slices"

// process is one node's memory: it is lost in a crash.
type process struct {
	key   int
	owned map[string]*execution
	cache map[string][]turn
	holds []task
}

// execution is an instance that the process believes to own.
type execution struct {
	turns     []turn
	inbox     []note // results of local activities
	running   []int
	recovered bool
	cleared   bool // a commit under this claim has cleared its charge
	unknown   *outcome
}

// outcome is a commit whose reply was lost, or came.
type outcome struct {
	turns    []turn
	local    []int
	released bool
}

// world is two processes on one store.
type world struct {
	*store
	procs  [2]*process
	window int
	claims []claimInFlight
	sent   int
	// severity is how much goes wrong, in percent of the most. In calm walks the
	// orchestrations come far enough for what only concerns a second execution.
	severity int
}

type claimInFlight struct {
	proc, node int
	in         *instance
}

func (w *world) chance(percent int) bool { return w.rand.IntN(100) < percent }

func (w *world) fault(percent int) bool { return w.rand.IntN(10000) < percent*w.severity }

func (w *world) boot(i int) {
	w.procs[i] = &process{key: w.join(), owned: map[string]*execution{}, cache: map[string][]turn{}}
}

// each visits what p owns in a fixed order.
func (w *world) each(p *process, visit func(in *instance, x *execution) bool) bool {
	for _, in := range w.instances {
		if x := p.owned[in.name]; x != nil && visit(in, x) {
			return true
		}
	}
	return false
}

func (w *world) beginClaim(i int) bool {
	for _, in := range w.instances {
		if w.due(in) && w.nodes[w.procs[i].key] && !slices.Contains(w.claims, claimInFlight{i, w.procs[i].key, in}) {
			w.claims = append(w.claims, claimInFlight{i, w.procs[i].key, in})
			w.say("node %d begins to claim %s", w.procs[i].key, in.name)
			return true
		}
	}
	return false
}

func (w *world) endClaim(i int) bool {
	at := slices.IndexFunc(w.claims, func(c claimInFlight) bool { return c.proc == i })
	if at < 0 {
		return false
	}
	c := w.claims[at]
	w.claims = slices.Delete(w.claims, at, at+1)
	if !w.claim(c.node, c.in) {
		return true
	}
	switch p := w.procs[i]; {
	case p.key != c.node:
		w.say("claim of %s by %d commits, its process is gone", c.in.name, c.node)
	case w.fault(15):
		w.say("claim of %s by %d commits, the reply is lost", c.in.name, c.node)
	default:
		w.say("node %d claims %s", c.node, c.in.name)
		w.adopt(p, c.in)
	}
	return true
}

func (w *world) adopt(p *process, in *instance) {
	turns, cached := p.cache[in.name]
	if cached {
		execution, _ := replay(in.name, turns, true)
		cached = w.nextTurn(in.name, turns) == in.nextTurn && (execution == in.execution || !w.on(turnsNeverReset))
	}
	if !cached {
		turns = in.turns
	}
	p.owned[in.name] = &execution{turns: slices.Clone(turns), cleared: in.attempts == 0}
}

func (w *world) reconcile(i int) bool {
	if !w.on(reconcile) {
		return false
	}
	p := w.procs[i]
	for _, in := range w.instances {
		if in.owner == p.key && in.open && p.owned[in.name] == nil {
			w.say("node %d finds that it owns %s", p.key, in.name)
			w.adopt(p, in)
			return true
		}
	}
	return false
}

// recover puts activities that are open, have no task and no completion on
// their way back into the queue: they were local to an owner that is gone.
func (w *world) recover(i int) bool {
	p := w.procs[i]
	return w.each(p, func(in *instance, x *execution) bool {
		if x.recovered || x.unknown != nil || in.owner != p.key {
			return false
		}
		execution, _ := replay(in.name, x.turns, true)
		for _, a := range openActivities(in.name, x.turns) {
			st := step{in.name, execution, a}
			if w.findTask(st) != nil || slices.Contains(x.running, a) {
				continue
			}
			unread := w.unread(in)
			if !w.on(wholeMailbox) {
				unread = unread[:min(len(unread), w.window)]
			}
			if !slices.ContainsFunc(unread, func(m mail) bool { return m.execution == execution && m.note == note{"result", a} }) {
				w.say("node %d dispatches %v again", p.key, st)
				w.addTask(st)
			}
		}
		in.openLocal = 0
		x.recovered = true
		return true
	})
}

func (w *world) unread(in *instance) (out []mail) {
	for _, m := range in.mail {
		if m.seq > in.read {
			out = append(out, m)
		}
	}
	return out
}

func (w *world) turn(i int) bool {
	p := w.procs[i]
	return w.each(p, func(in *instance, x *execution) bool {
		if x.unknown != nil || !x.recovered {
			return false
		}
		c, ok := w.compute(in, x)
		if !ok {
			return false
		}
		if w.fault(10) && len(x.running)+len(x.inbox) == 0 {
			w.say("node %d fails a turn of %s", p.key, in.name)
			w.fail(p.key, in, x.cleared || !w.on(chargeOnce))
			delete(p.owned, in.name)
			return true
		}
		applied, released := w.commit(p.key, c)
		t := c.history[len(c.history)-1]
		w.say("node %d commits turn %d of %s (%v → %v): %v", p.key, len(c.history), in.name, t.deliveries, t.commands,
			map[bool]string{true: "applied", false: "conflict"}[applied])
		o := outcome{c.history, c.local, released}
		if w.fault(30) {
			w.say("the reply is lost")
			x.unknown = &o
			return true
		}
		w.committed(p, in, x, o, applied)
		return true
	})
}

// compute runs the orchestration on what has arrived.
func (w *world) compute(in *instance, x *execution) (commit, bool) {
	execution, had := replay(in.name, x.turns, w.on(carrySignals))
	unread := w.unread(in)
	unread = unread[:min(len(unread), w.window)]
	var ds []note
	if len(x.turns) > 0 && x.turns[len(x.turns)-1].continues() {
		ds = append(ds, note{"start", 0})
	}
	accept := func(n note) {
		if !slices.Contains(had, n) && !slices.Contains(ds, n) { // a completion is accepted once
			ds = append(ds, n)
		}
	}
	c := commit{in: in, read: in.read, running: x.running, expect: w.nextTurn(in.name, x.turns)}
	for _, m := range unread {
		c.read = m.seq
		if m.execution == 0 || m.execution == execution {
			accept(m.note)
		}
	}
	for _, n := range x.inbox {
		accept(n)
	}
	if w.now >= pendingTimer(in.name, x.turns) {
		accept(note{"timer", 0})
	}
	if len(ds) == 0 && len(unread) == 0 {
		return commit{}, false
	}
	var before []note
	if started(x.turns, execution) {
		before = emitted(in.name, execution, had)
	}
	commands := emitted(in.name, execution, append(slices.Clone(had), ds...))[len(before):]
	for _, cmd := range commands {
		if cmd.what == "activity" && w.chance(60) {
			c.local = append(c.local, cmd.n)
		}
	}
	w.commits++
	c.history = append(slices.Clone(x.turns), turn{len(x.turns) + 1, execution, w.commits, ds, commands})
	c.release = w.chance(40)
	return c, true
}

// committed is what a node does when it knows how its commit went.
func (w *world) committed(p *process, in *instance, x *execution, o outcome, applied bool) {
	if !applied {
		delete(p.owned, in.name)
		delete(p.cache, in.name)
		return
	}
	t := o.turns[len(o.turns)-1]
	x.turns, x.cleared = o.turns, true
	x.inbox = slices.DeleteFunc(x.inbox, func(n note) bool { return slices.Contains(t.deliveries, n) })
	if t.continues() {
		x.inbox, x.running = nil, nil
	} else {
		for _, a := range o.local {
			x.running = append(x.running, a)
			w.start(step{in.name, t.execution, a}, p.key)
		}
	}
	if !w.on(refuseInCommit) && slices.Contains(t.commands, note{"activity", 2}) {
		w.send(in.name, t.execution, note{"refused", 0})
	}
	p.cache[in.name] = slices.Clone(o.turns)
	if o.released || slices.Contains(t.commands, note{"done", 0}) {
		delete(p.owned, in.name)
	}
}

// resolve finds out how a commit went whose reply was lost.
func (w *world) resolve(i int) bool {
	p := w.procs[i]
	return w.each(p, func(in *instance, x *execution) bool {
		if x.unknown == nil {
			return false
		}
		o := *x.unknown
		x.unknown = nil
		mine := len(in.turns) >= len(o.turns)
		same := mine && in.turns[len(o.turns)-1].commitID == o.turns[len(o.turns)-1].commitID
		if w.on(commitIdentity) {
			mine = same
		}
		w.say("node %d reads turn %d of %s back: its own is %v", p.key, len(o.turns), in.name, mine)
		switch {
		case mine && !same:
			broken("%s: a node took another's turn for its own", in.name)
		case in.owner != p.key:
			delete(p.owned, in.name)
		case mine:
			w.committed(p, in, x, o, true)
		}
		return true
	})
}

func (w *world) finishLocal(i int) bool {
	return w.each(w.procs[i], func(in *instance, x *execution) bool {
		if x.unknown != nil || len(x.running) == 0 {
			return false
		}
		at := w.rand.IntN(len(x.running))
		w.say("local activity %d of %s is done", x.running[at], in.name)
		x.inbox = append(x.inbox, note{"result", x.running[at]})
		x.running = slices.Delete(slices.Clone(x.running), at, at+1)
		return true
	})
}

func (w *world) evict(i int) bool {
	p := w.procs[i]
	return w.each(p, func(in *instance, x *execution) bool {
		if x.unknown != nil || !x.recovered {
			return false
		}
		if in.owner == p.key && w.on(keepLocal) && in.openLocal+len(x.running)+len(x.inbox) > 0 {
			return false
		}
		delete(p.owned, in.name)
		if w.release(p.key, in) {
			w.say("node %d releases %s", p.key, in.name)
		}
		return true
	})
}

func (w *world) takeTask(i int) bool {
	p := w.procs[i]
	for _, t := range w.tasks {
		if t.holder == 0 && w.nodes[p.key] && w.chance(70) {
			t.holder, t.attempt = p.key, t.attempt+1
			w.say("node %d takes task %v", p.key, t.step)
			w.start(t.step, p.key)
			p.holds = append(p.holds, *t)
			return true
		}
	}
	return false
}

func (w *world) finishTask(i int) bool {
	p := w.procs[i]
	if len(p.holds) == 0 {
		return false
	}
	t := p.holds[0]
	p.holds = p.holds[1:]
	w.finish(t)
	return true
}

// beat is a heartbeat: a node that was buried drops everything and joins anew.
func (w *world) beat(i int) bool {
	if w.nodes[w.procs[i].key] {
		return false
	}
	w.say("node %d finds itself buried", w.procs[i].key)
	w.boot(i)
	return true
}

func (w *world) crash(i int) bool {
	w.say("node %d crashes", w.procs[i].key)
	w.boot(i)
	return true
}

// buryOne buries a node without a process, or, while there are faults,
// sometimes one that lives.
func (w *world) buryOne(int) bool {
	for key := range w.lastNode + 1 {
		if w.nodes[key] && key != w.procs[0].key && key != w.procs[1].key {
			w.bury(key)
			return true
		}
	}
	if w.fault(40) {
		if key := w.procs[w.rand.IntN(2)].key; w.nodes[key] {
			w.bury(key)
			return true
		}
	}
	return false
}

func (w *world) tick(int) bool {
	w.now++
	return true
}

func (w *world) signal(int) bool {
	if w.sent == 2 {
		return false
	}
	w.sent++
	w.say("a client sends signal %d", w.sent)
	w.send("parent", 0, note{"signal", w.sent})
	return true
}
