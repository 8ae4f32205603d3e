package replay

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/durango-go/durango/history"
)

var (
	seed     = flag.Uint64("seed", 0, "repeat the generated program of this seed only")
	programN = flag.Int("programs", 300, "how many programs to generate")
)

// "Replay runs the same algorithm over the recorded turns and compares each
// emitted command with the recorded one. All recorded commands must be
// consumed."
//
// A seed gives a program, and deliveries that answer it, repeat and make up
// answers, signal, update and cancel. Its replay must print, emit and leave the
// same, the replay of every prefix must continue live as the whole did without
// what was rejected, and a history with one command changed must be refused.
// Marks of patches that nobody asks for must not be noticed.
func TestGeneratedPrograms(t *testing.T) {
	checkGoroutines(t)
	if *seed != 0 {
		checkGenerated(t, *seed)
		return
	}
	first := rand.Uint64()
	for i := range uint64(*programN) {
		checkGenerated(t, first+i)
		if t.Failed() {
			t.Fatalf("repeat with: go test -run TestGeneratedPrograms -seed %d", first+i)
		}
	}
}

func checkGenerated(t *testing.T, seed uint64) {
	name := fmt.Sprintf("generated/%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	body := generate(r, 3)
	programs[name] = func(p prog) history.Event {
		g := &generated{prog: p, scopes: []*Scope{p.Root()}, pipe: p.NewQueue()}
		for i := range g.gates {
			g.gates[i] = p.NewGate()
		}
		g.run(body)
		if r := seed % 3; r == 0 {
			return history.Event{Kind: history.ContinuedAsNew}
		}
		return completed(fmt.Sprint(len(g.ops)))
	}
	defer delete(programs, name)

	x := start(t, name)
	defer x.m.Close()
	now := int64(1)
	x.mustTurn(now, []history.Event{{Kind: history.Started, Name: "g", Carried: []history.Event{
		{Kind: history.ValueCarried, Name: "v0", Payload: []byte("carried")},
	}}})
	for n := 0; n < 60 && x.m.Final() == nil && !t.Failed(); n++ {
		now += r.Int64N(20)
		x.mustTurn(now, x.randomDeliveries(r, now))
	}
	x.checkPrefixes()
	x.checkTampered(r)
	x.checkUnaskedMarks(r)
}

func (x *execution) mustTurn(now int64, deliveries []history.Event) {
	if _, err := x.turn(now, deliveries); err != nil {
		x.t.Errorf("%s: turn %d: %v", x.name, len(x.turns)+1, err)
	}
	x.take()
}

func (x *execution) randomDeliveries(r *rand.Rand, now int64) []history.Event {
	m := x.m
	var pool []history.Event
	for e := range m.OpenActivities {
		pool = append(pool, history.Event{Kind: history.ActivityCompleted, Ref: e.Seq, Payload: []byte("ok")},
			history.Event{Kind: history.ActivityFailed, Ref: e.Seq, Failure: &history.Failure{Message: "no"}})
	}
	for e := range m.OpenChildren {
		pool = append(pool, history.Event{Kind: history.ChildCompleted, Ref: e.Seq, Payload: []byte("kid")})
	}
	events := m.DueTimers(now, nil)
	for range r.IntN(4) {
		switch k := r.IntN(20); {
		case k < 12 && len(pool) > 0:
			events = append(events, pool[r.IntN(len(pool))])
		case k < 14:
			events = append(events, history.Event{
				Kind: history.UpdateRequested, Name: fmt.Sprint("u", r.IntN(3)), Text: fmt.Sprint("r", len(x.turns), r.IntN(9)),
				Payload: fmt.Append(nil, r.IntN(100)),
			})
		case k < 17:
			events = append(events, history.Event{
				Kind: history.SignalReceived, Name: signalNames[r.IntN(2)], Payload: fmt.Append(nil, r.IntN(100)),
			})
		case k < 19: // made up
			events = append(events, history.Event{Kind: history.Kind(1 + r.IntN(6)), Ref: r.Int64N(20), Payload: []byte("?")})
		case r.IntN(4) == 0:
			events = append(events, history.Event{Kind: history.CancelRequested, Text: "stop"})
		}
	}
	r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	return events
}

// checkTampered verifies that a history in which one command is missing, new
// or another one is refused.
func (x *execution) checkTampered(r *rand.Rand) {
	var with []int
	for i := range x.turns {
		if len(x.turns[i].Commands) > 0 {
			with = append(with, i)
		}
	}
	if len(with) == 0 {
		return
	}
	at := with[r.IntN(len(with))]
	cmds := slices.Clone(x.turns[at].Commands)
	i := r.IntN(len(cmds))
	switch r.IntN(3) {
	case 0:
		cmds = slices.Delete(cmds, i, i+1)
	case 1:
		cmds = slices.Insert(cmds, i, history.Event{Kind: history.StatusSet, Seq: cmds[i].Seq})
	case 2:
		cmds[i].Name += "x"
	}
	y := start(x.t, x.name)
	defer y.m.Close()
	for j := range x.turns {
		turn := x.turns[j]
		if j == at {
			turn.Commands = cmds
		}
		err := y.m.Replay(&turn)
		if j < at && err != nil {
			x.t.Errorf("%s: turn %d: %v", x.name, turn.Number, err)
		}
		if j == at {
			// A status put before a status is noticed at the second.
			var nd *NondeterminismError
			if !errors.As(err, &nd) || nd.Turn != turn.Number || nd.Index > i+1 {
				x.t.Errorf("%s: turn %d, tampered at %d: %v", x.name, turn.Number, i, err)
			}
			return
		}
	}
}

// checkUnaskedMarks verifies that marks of patches that the code does not ask
// for change nothing, wherever they stand.
func (x *execution) checkUnaskedMarks(r *rand.Rand) {
	y := start(x.t, x.name)
	defer y.m.Close()
	for i, turn := range x.turns {
		turn.Commands = slices.Clone(turn.Commands)
		for range 3 {
			at := r.IntN(len(turn.Commands) + 1)
			turn.Commands = slices.Insert(turn.Commands, at, history.Event{Kind: history.PatchMarked, Name: "unasked"})
		}
		err := y.m.Replay(&turn)
		if log := y.take(); err != nil || !slices.Equal(log, x.logs[i]) || !slices.Equal(y.state(), x.states[i][:len(x.states[i])-1]) {
			x.t.Errorf("%s: turn %d with marks that nobody asks for: %v, printed %q and not %q", x.name, i+1, err, log, x.logs[i])
			return
		}
	}
}

var signalNames = []string{"s", "t"}

// stmt is a statement of a generated program.
type stmt struct {
	verb  int
	a, b  int // choose among what the program has, modulo how much that is
	block []stmt
}

const (
	doAct = iota
	doTimer
	doChild
	doAwait
	doSelect
	doSignal
	doTake
	doSpawn
	doJoin
	doScope
	doCancelScope
	doCancelOp
	doRecord
	doStatus
	doCollect
	doSend
	doExpire
	doGate
	doPush
	doSet
	doShow
	doHandle
	doPatch
	verbs
)

func generate(r *rand.Rand, depth int) []stmt {
	block := make([]stmt, 2+r.IntN(8))
	for i := range block {
		s := stmt{verb: r.IntN(verbs), a: r.IntN(1000), b: r.IntN(1000)}
		if s.verb == doSpawn || s.verb == doScope || s.verb == doExpire || s.verb == doHandle {
			if depth == 0 {
				s.verb = doAct
			} else {
				s.block = generate(r, depth-1)
			}
		}
		block[i] = s
	}
	return block
}

// generated is the state of a running program, shared by its coroutines.
type generated struct {
	prog
	ops    []*Op
	tasks  []*Task
	scopes []*Scope
	gates  [3]*Gate
	pipe   *Queue
}

func (g *generated) run(block []stmt) {
	for _, s := range block {
		g.step(s)
	}
}

func (g *generated) step(s stmt) {
	scope := g.scopes[s.a%len(g.scopes)]
	emit := func(e history.Event) { g.ops = append(g.ops, scope.Emit(e)) }
	op := func(n int) *Op {
		if len(g.ops) == 0 {
			return nil
		}
		return g.ops[n%len(g.ops)]
	}
	switch s.verb {
	case doAct:
		emit(history.Event{Kind: history.ActivityScheduled, Name: fmt.Sprint("a", s.b%5)})
	case doTimer:
		emit(history.Event{Kind: history.TimerSet, Time: g.Now() + int64(s.b%50)})
	case doChild:
		emit(history.Event{Kind: history.ChildStarted, Name: "c", Target: fmt.Sprint("k", len(g.ops)), Detached: s.b%5 == 0})
	case doSend:
		scope.Emit(history.Event{Kind: history.SignalSent, Name: "x", Target: "other"})
	case doAwait:
		if o := op(s.b); o != nil && (o.Done() || pending(&o.ev)) {
			i, e := g.Wait(o, scope)
			g.printf("await %d: %d %v", o.Seq(), i, e != nil)
		}
	case doSelect:
		i, e := g.Wait(op(s.a), g.Signals(signalNames[s.b%2]), op(s.b), g.Root())
		g.printf("select %d %v, now %d", i, e != nil, g.Now())
	case doSignal:
		i, e := g.Wait(g.Root(), g.Signals(signalNames[s.b%2]))
		if e != nil {
			g.printf("signal %s", e.Payload)
		} else {
			g.printf("no signal: %d", i)
		}
	case doTake:
		if e, ok := g.Signals(signalNames[s.b%2]).Take(); ok {
			g.printf("took %s", e.Payload)
		}
	case doSpawn:
		g.tasks = append(g.tasks, g.Spawn(func() { g.run(s.block) }))
	case doJoin:
		if len(g.tasks) > 0 {
			// A task may wait for itself here, so the execution's end counts too.
			i, _ := g.Wait(g.tasks[s.b%len(g.tasks)], g.Root())
			g.printf("join %d", i)
		}
	case doScope:
		c := scope.Child()
		g.scopes = append(g.scopes, c)
		g.run(s.block)
		if s.b%2 == 0 {
			c.Close()
		}
	case doExpire:
		c := scope.Child()
		g.scopes = append(g.scopes, c)
		c.ExpireAt(g.Now()+int64(s.b%30), fmt.Sprint("limit ", s.b%30))
		g.run(s.block)
		switch s.b % 3 {
		case 0:
			c.Close()
		case 1:
			c.Cancel("in time")
		}
		g.printf("expired %v: %s", c.Expired(), c.Reason())
	case doGate:
		if gate := g.gates[s.a%3]; s.b%2 == 0 {
			gate.Open()
		} else {
			i, _ := g.Wait(scope, g.Root(), gate)
			g.printf("gate %d", i)
		}
	case doPush:
		if s.b%2 == 0 {
			g.pipe.Push()
		} else {
			i, _ := g.Wait(scope, g.Root(), g.pipe, op(s.a))
			g.printf("pipe %d", i)
		}
	case doCancelScope:
		if scope != g.Root() {
			scope.Cancel("")
		}
	case doCancelOp:
		g.Cancel(op(s.b))
	case doRecord:
		v := g.Record("r", func() []byte { return fmt.Append(nil, g.arrived) })
		g.printf("recorded %s", v)
	case doStatus:
		g.Emit(history.Event{Kind: history.StatusSet, Payload: []byte("st")})
	case doCollect:
		g.collect(s)
	case doSet:
		e := history.Event{Kind: history.ValueSet, Name: fmt.Sprint("v", s.a%3), Payload: fmt.Append(nil, len(g.ops))}
		if s.b%4 == 0 {
			e.Kind = history.ValueCleared
		}
		scope.Emit(e)
	case doShow:
		g.printf("value %s", g.text(fmt.Sprint("v", s.b%3)))
	case doHandle:
		g.handle(s)
	case doPatch:
		// Each answer emits something, so that another one is noticed.
		name := "older"
		if g.Patched(fmt.Sprint("p", s.b%4)) {
			name = "newer"
		}
		g.printf("%s of p%d", name, s.b%4)
		g.Emit(history.Event{Kind: history.StatusSet, Name: name})
	}
}

// handle registers a handler that runs a block, and answers all but some.
func (g *generated) handle(s stmt) {
	validate := func(e *history.Event) *history.Failure {
		switch n := e.Payload[len(e.Payload)-1] - '0'; {
		case n == 0:
			panic("zero")
		case n%2 == 0 || g.text("v0") == "none":
			return &history.Failure{Message: fmt.Sprint(g.Now())}
		}
		return nil
	}
	if s.a%3 == 0 {
		validate = nil
	}
	ok := g.Handle(fmt.Sprint("u", s.b%3), validate, func(e *history.Event) {
		g.printf("handles %s %s: %s", e.Name, e.Text, e.Payload)
		g.run(s.block)
		if s.a%5 != 0 {
			g.reply(e, g.text("v1"))
		}
	})
	g.printf("registered %v", ok)
}

func (g *generated) collect(s stmt) {
	w := g.NewWaiter()
	defer w.Close()
	w.Add(0, g.Root())
	w.Add(1, g.Signals(signalNames[s.a%2]))
	for i, o := range g.ops {
		if o.Done() || pending(&o.ev) {
			w.Add(2+i, o)
		}
	}
	for range 1 + s.b%3 {
		tag, e := w.Next()
		g.printf("collected %d %v", tag, e != nil)
		if tag <= 0 {
			return
		}
	}
}
