package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// turnQueue runs turns on a bounded number of goroutines, which exist only
// while there is work. A turn that never ends keeps its place.
type turnQueue struct {
	e      *Engine
	mu     sync.Mutex
	queue  ring[*execution]
	active int
	loop   func() // work, as a value made once
}

// push queues x, whose state is queued.
func (q *turnQueue) push(x *execution) {
	q.mu.Lock()
	q.queue.push(x)
	spawn := q.active < q.e.o.MaxTurns
	if spawn {
		q.active++
	}
	q.mu.Unlock()
	if spawn {
		q.e.pool.run(q.loop)
	}
}

// inline runs x's turn on the calling goroutine when there is room and nobody
// is ahead; a worker that has just finished a task saves a change of goroutine
// this way.
func (q *turnQueue) inline(x *execution) {
	q.mu.Lock()
	if q.active >= q.e.o.MaxTurns || q.queue.n > 0 {
		q.mu.Unlock()
		q.push(x)
		return
	}
	q.active++
	q.mu.Unlock()
	defer q.leave()
	q.e.runTurn(x)
}

func (q *turnQueue) leave() {
	q.mu.Lock()
	q.active--
	spawn := q.queue.n > 0 && q.active < q.e.o.MaxTurns
	if spawn {
		q.active++
	}
	q.mu.Unlock()
	if spawn {
		q.e.pool.run(q.loop)
	}
}

func (q *turnQueue) work() {
	defer q.leave() // also when user code ends the goroutine
	for {
		q.mu.Lock()
		x, ok := q.queue.pop()
		q.mu.Unlock()
		if !ok {
			return
		}
		q.e.runTurn(x)
	}
}

// poke finds out what an idle execution needs next. It reports whether the
// caller has to see to it that its turn runs; x.state is then queued. The
// caller holds x.mu.
func (e *Engine) poke(x *execution) bool {
	if x.state != idle || x.node == 0 || e.draining.Load() {
		return false
	}
	switch {
	case x.needMail && len(x.inbox) < e.o.InboxSize:
		e.leaveIdle(x, loading)
		e.loads.add(x)
	case !x.due(e.clock.now()):
		e.timers.set(x)
	case x.machine == nil && len(x.first) == 0 && x.nextTurn > 1:
		e.leaveIdle(x, loading)
		e.loads.add(x)
	default:
		e.leaveIdle(x, queued)
		return true
	}
	return false
}

// leaveIdle and enterIdle keep count of the executions that are busy, and the
// list of those that may be evicted. The caller holds x.mu.
func (e *Engine) leaveIdle(x *execution, s state) {
	x.state = s
	x.occupy()
	e.busy.Add(1)
	e.mu.Lock()
	e.coolLocked(x)
	e.mu.Unlock()
}

func (e *Engine) enterIdle(x *execution) {
	x.state = idle
	x.vacate()
	e.busy.Add(-1)
	x.idleSince = time.Now()
	e.heat(x)
}

// errUnversioned: this node lacks the code. The instance goes back for others.
var errUnversioned = errors.New("no such version here")

// runTurn runs one turn of x, whose state is queued, and submits what came
// out of it.
func (e *Engine) runTurn(x *execution) {
	x.mu.Lock()
	if x.state != queued {
		x.mu.Unlock()
		return
	}
	x.state = running
	s := x.turn
	s.began = time.Now()
	s.taken, x.inbox = x.inbox, s.taken[:0]
	s.extra, x.extra = append(s.extra, x.extra...), x.extra[:0]
	x.unrecorded = 0
	x.mu.Unlock()

	returned := false
	defer func() {
		if !returned { // runtime.Goexit in user code
			e.endTurn(x, errors.New("the orchestration ended its goroutine"))
		}
	}()
	err := e.takeTurn(x)
	returned = true
	e.endTurn(x, err)
}

// endTurn sends x on its way after a turn.
func (e *Engine) endTurn(x *execution, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.state == gone { // the watchdog gave it up meanwhile
		e.unstart(x)
		e.closeMachine(x)
		return
	}
	x.turn.began = time.Time{}
	// After its commit is on its way: the next suspect runs when a later one has
	// been written, and cannot take this one with it.
	defer e.trialOver(x)
	if x.birth != nil {
		e.delivered(x, err)
		return
	}
	switch {
	case errors.Is(err, errNothing):
		e.settleIdle(x)
	case errors.Is(err, errUnversioned):
		e.release(x)
	case err != nil:
		e.failTurn(x, err)
	default:
		e.submit(x)
	}
}

// settleIdle is for a turn that found nothing to take.
func (e *Engine) settleIdle(x *execution) {
	e.enterIdle(x)
	if e.poke(x) {
		e.turns.push(x)
		return
	}
	e.settle(x)
}

var errNothing = errors.New("nothing to do")

// takeTurn runs the code and prepares the commit. It owns x.turn and
// x.machine; it reads the rest of x, which only it and the committer change
// while a turn runs.
func (e *Engine) takeTurn(x *execution) error {
	s := x.turn
	if x.loaded != nil {
		loaded := x.loaded
		x.loaded = nil
		if err := e.rebuild(x, loaded); err != nil {
			return err
		}
	}
	now := max(e.clock.now(), x.lastTime)
	read, err := e.deliveries(x)
	if err != nil {
		return err
	}
	if x.machine != nil && x.machine.Final() == nil {
		s.events = x.machine.DueTimers(now, s.events)
	}
	if len(s.events) == 0 {
		if read == x.readSeq && len(s.extra) == 0 {
			return errNothing
		}
		e.prepareBare(x, read)
		return nil
	}
	if f := x.fault; f != nil && f.Stopped > 0 {
		s.events = append(s.events, history.Event{Kind: history.InstanceQuarantined, Name: f.Fingerprint(), Attempt: number(f.Stopped),
			Time: f.StoppedFirst.UnixNano(), Text: f.Message})
	}
	commands, err := x.machine.Turn(now, s.events)
	if err != nil {
		return err
	}
	if kept := x.machine.TakeKept(); len(kept) > 0 {
		if err := e.keep(x, kept); err != nil {
			return err
		}
	}
	if rejected := x.machine.Rejected(); len(rejected) > 0 {
		e.refuse(x, rejected)
		if len(s.events) == 0 {
			e.prepareBare(x, read)
			return nil
		}
	}
	return e.prepareTurn(x, now, read, commands)
}

// deliveries puts into x.turn.events what of the inbox the execution accepts,
// and returns the number of the last message consumed.
func (e *Engine) deliveries(x *execution) (read int64, err error) {
	s := x.turn
	s.events, s.aside = s.events[:0], false
	read = x.readSeq
	if len(x.first) > 0 {
		if err := e.begin(x, &x.first[0]); err != nil {
			return 0, err
		}
		s.events = append(s.events, x.first...)
	}
	var seen map[int64]bool // commands answered twice in one turn
	if len(s.taken) > 1 {
		seen = make(map[int64]bool, len(s.taken))
	}
	bytes := 0
	for i := range s.taken {
		d := &s.taken[i]
		if bytes >= e.o.MaxTurnBytes {
			x.putBack(i)
			break
		}
		bytes += len(d.event.Payload)
		if d.mail > 0 {
			read = d.mail
		}
		ev := &d.event
		switch {
		case ev.Kind == history.Started:
			if x.machine != nil || len(s.events) > 0 {
				e.metrics.dropped.Add(1)
				continue
			}
			if err := e.begin(x, ev); err != nil {
				return 0, err
			}
		case x.machine == nil:
			return 0, fmt.Errorf("%s before the start", ev.Kind)
		case ev.Kind == history.Undecodable:
			s.aside = true
			s.events = append(s.events, *ev)
			answer, open := inPlaceOf(x, d)
			if !open || seen[answer.Ref] {
				continue
			}
			ev = &answer
		case d.execution != 0 && d.execution != x.generation || ev.Ref != 0 && seen[ev.Ref] || !x.machine.Accepts(ev):
			e.metrics.dropped.Add(1)
			continue
		}
		deliver, err := e.judge(x, d)
		if err != nil {
			return 0, err
		}
		if !deliver {
			continue
		}
		if seen != nil && ev.Ref != 0 {
			seen[ev.Ref] = true
		}
		s.events = append(s.events, *ev)
	}
	return read, nil
}

// putBack leaves what was taken, from the i-th on, to the next turn.
func (x *execution) putBack(i int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.turn
	for j := range s.taken[i:] {
		if s.taken[i+j].mail == 0 {
			x.unrecorded++
		}
	}
	x.inbox = slices.Concat(s.taken[i:], x.inbox)
	clear(s.taken[i:])
	s.taken = s.taken[:i]
}

// begin chooses the version of a new execution and makes its machine.
func (e *Engine) begin(x *execution, started *history.Event) error {
	o := e.resolve(started.Name, started.Version)
	if o == nil {
		return errUnversioned
	}
	started.Version = o.Version
	started.Target, started.Seq = x.id, x.generation
	x.mu.Lock() // the watchdog reads them while the turn runs
	defer x.mu.Unlock()
	x.name, x.version, x.header = o.Name, o.Version, started.Header
	if p := started.Parent; p != nil {
		x.parent = provider.ParentLink{Key: provider.Key(p.Key), ID: p.ID, Execution: p.Execution, Command: p.Seq}
	}
	x.machine = replay.New(o.Code)
	x.machine.Limits = replay.Limits{Commands: e.o.MaxTurnCommands, Bytes: e.o.MaxTurnBytes}
	return nil
}
