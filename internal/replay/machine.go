package replay

import (
	"errors"
	"fmt"
	"slices"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/coro"
)

// Code is the code of an orchestration. It runs on the main coroutine and
// returns the terminal command: Completed, Failed, Canceled or ContinuedAsNew.
type Code func(m *Machine, started *history.Event) history.Event

// Machine is one execution in memory.
//
// Its methods are of two sorts. The driver (Replay, Turn, Close, and what
// asks: Accepts, Pending, Final …) is one goroutine at a time. The code
// (Emit, Wait, Spawn, Now …) is the coroutine that is running; used from any
// other goroutine these mark the machine with a MisuseError and end that
// goroutine.
//
// A machine that has started holds goroutines until Close.
type Machine struct {
	// Same, unless nil, says whether payloads of different bytes are of one value,
	// as those of an encoding that is never the same twice. The code may set it
	// before it emits.
	Same func(a, b []byte) bool
	// Limits of a turn.
	Limits Limits

	code  Code
	guard coro.Guard

	turn int64 // number of the current turn
	now  int64
	seq  int64 // of the last command
	// length counts the events of the turns before this one, grown also its own,
	// once it is over.
	length, grown int64
	emitted       int // bytes of payloads, by the live turn

	replaying bool
	recorded  []history.Event // commands of the turn being replayed
	next      int             // index of the next one expected
	commands  []history.Event // emitted by the live turn
	warnings  []string
	trace     *trace // unless nil: a difference is being explained

	started   bool
	start     history.Event
	final     *history.Event
	err       error // what ended the machine; it never runs again
	closed    bool
	recording bool // inside the function of a Record
	judging   bool // inside the validator of an update, or a condition
	halted    bool // err != nil || closed || recording || judging: one test on the fast path

	main     *Task
	current  *Task // the running coroutine
	newest   *Task // of the coroutines that have not ended
	runnable taskQueue
	askers   subList // those that wait for a condition

	ops     opTable
	timers  timerHeap
	root    Scope
	queues  map[string]*Queue
	unread  int
	arrived int64           // signals so far
	taken   *history.Event  // the signal returned last
	late    []history.Event // requests to cancel, and updates, that came behind the end

	continuing bool // the code is going to end with ContinuedAsNew
	soon       bool // the code has asked EndsWith and need not wait for the end

	values   map[string][]byte
	patches  map[string]bool // the answers given
	handlers map[string]*handler
	updates  []*history.Event // accepted and not answered, in order of arrival
	rejected []Rejection      // of the current turn

	kept []Content // of the current turn

	counts   Pending
	bytes    int
	slab     []Op
	freeOps  *Op
	freeSubs *sub
	subsUsed int
	subsMade int // since freeSubs was last dropped
}

// New makes a machine that has taken no turn. It runs nothing.
func New(code Code) *Machine {
	m := &Machine{code: code}
	m.root.m = m
	return m
}

// Replay takes a recorded turn and checks that the code emits the commands
// recorded in it. The events are aliased, not copied. Its error, a
// *NondeterminismError, *PanicError or *MisuseError, ends the machine: every
// later turn fails with the same one.
func (m *Machine) Replay(t *history.Turn) error {
	if err := m.ready(t.Deliveries); err != nil {
		return err
	}
	m.begin(t.Number, t.Time)
	m.replaying, m.recorded, m.next = true, t.Commands, 0
	m.deliver(t.Deliveries)
	m.finish()
	m.skipPatches()
	if m.err == nil && m.next < len(m.recorded) {
		m.differ(nil)
	}
	m.recorded = nil
	m.grown += int64(len(t.Deliveries) + len(t.Commands))
	return m.err
}

// Turn takes new deliveries at time now, and returns the commands that the
// code emitted, which are valid until the next turn. Deliveries that would
// not be accepted are ignored, and updates may be rejected; if all deliveries
// were, there was no turn, and the next has its number. The deliveries are
// copied, their payloads aliased. Errors are as those of Replay.
func (m *Machine) Turn(now int64, deliveries []history.Event) ([]history.Event, error) {
	if err := m.ready(deliveries); err != nil {
		return nil, err
	}
	turn, at := m.turn, m.now
	m.begin(turn+1, now)
	m.replaying = false
	m.deliver(deliveries)
	m.finish()
	if m.err != nil {
		return nil, m.err
	}
	if n := len(m.rejected); n > 0 && n == len(deliveries) {
		m.turn, m.now = turn, at
	}
	m.grown += int64(len(deliveries) - len(m.rejected) + len(m.commands))
	return m.commands, nil
}

// ready reports why no turn can be taken.
func (m *Machine) ready(deliveries []history.Event) error {
	m.noticeMisuse()
	switch {
	case m.err != nil:
		return m.err
	case m.closed:
		return errors.New("replay: turn of a closed machine")
	case m.final != nil:
		return fmt.Errorf("replay: turn after the end of the execution (%v)", m.final.Kind)
	case !m.started && (len(deliveries) == 0 || deliveries[0].Kind != history.Started):
		return errors.New("replay: the first delivery of an execution must be Started")
	}
	return nil
}

// keepRoom is how many unused elements a buffer may keep for later.
const keepRoom = 256

func (m *Machine) begin(turn, now int64) {
	m.kept = nil
	m.turn, m.now, m.rejected = turn, now, nil
	m.length, m.emitted = m.grown, 0
	clear(m.commands)
	m.commands = m.commands[:0]
	if cap(m.commands) > keepRoom {
		m.commands = nil
	}
}

// finish ends a turn. The terminal command comes last, after everything the
// turn delivered, so that it can carry signals that came behind its cause.
func (m *Machine) finish() {
	m.guard.Leave()
	m.noticeMisuse()
	if m.err != nil || m.final == nil {
		return
	}
	if m.final.Kind == history.ContinuedAsNew {
		m.final.Carried = slices.Concat(m.bequeath(), m.Unread(), m.late)
	}
	if rec := m.record(m.final); rec != nil {
		*m.final = *rec
	}
}

// Continue says that the code is going to end with ContinuedAsNew: a request to
// cancel that comes before it does is one for the next execution too.
func (m *Machine) Continue() {
	m.enter()
	m.continuing = true
}

// EndsWith reports whether the history being replayed ends the execution here,
// with a command of kind k. If so the code may end at once, though it was
// recorded to end behind other deliveries of the turn.
func (m *Machine) EndsWith(k history.Kind) bool {
	m.look()
	if !m.replaying {
		return false
	}
	i := m.next
	for i < len(m.recorded) && m.recorded[i].Kind == history.PatchMarked {
		i++
	}
	m.soon = i < len(m.recorded) && m.recorded[i].Kind == k
	return m.soon
}

// Final returns the terminal command, or nil while the execution goes on.
func (m *Machine) Final() *history.Event {
	if m.err != nil {
		return nil
	}
	return m.final
}

// Now returns the time of the turn, in nanoseconds since the Unix epoch.
func (m *Machine) Now() int64 {
	m.look()
	return m.now
}

// Replaying reports whether the turn being run is a recorded one.
func (m *Machine) Replaying() bool { return m.replaying }

// Started returns the delivery that started the execution.
func (m *Machine) Started() *history.Event { return &m.start }

// Warnings returns what differed from the history without being an error, at
// most maxWarnings of them.
func (m *Machine) Warnings() []string { return m.warnings }

// Err returns the error that ended the machine, or nil.
func (m *Machine) Err() error { return m.err }

// Close unwinds all coroutines, the newest first: their deferred functions
// run, and what they ask of the machine unwinds them further. The machine
// takes no further turns. Closing again does nothing.
func (m *Machine) Close() {
	if m.closed {
		return
	}
	m.closed, m.halted = true, true
	for t := m.newest; t != nil; t = t.older {
		m.current = t
		t.co.Stop()
		t.ended = true
	}
	m.guard.Leave()
	m.newest, m.current, m.main = nil, nil, nil
	m.values, m.patches, m.handlers = nil, nil, nil
	m.runnable, m.queues, m.slab, m.freeOps, m.freeSubs = taskQueue{}, nil, nil, nil, nil
}

// fail ends the machine.
func (m *Machine) fail(err error) {
	if m.err == nil {
		m.err, m.halted = err, true
	}
}

func (m *Machine) noticeMisuse() {
	if err := m.Misused(); err != nil {
		m.fail(err)
	}
}

// Misused returns a *MisuseError if a goroutine that is not the running coroutine
// has used the machine, or nil. Unlike all else it may be called at any time, by
// anyone: a turn that waits for such a goroutine never comes to the end at which
// it would fail.
func (m *Machine) Misused() error {
	if where, ok := m.guard.Offense(); ok {
		return &MisuseError{What: "used from a goroutine that is not its coroutine", At: where}
	}
	return nil
}
