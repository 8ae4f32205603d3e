package replay

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/durango-go/durango/history"
)

// Cause is the class of change that a difference is most likely of.
type Cause string

// The causes.
const (
	Inserted  Cause = "inserted"   // the code asks for something that is not recorded
	Removed   Cause = "removed"    // it no longer asks for something that is
	Reordered Cause = "reordered"  // it asks for the same in another order, or sooner, or later
	Renamed   Cause = "renamed"    // it asks for the same kind under another name
	Changed   Cause = "changed"    // it asks for another kind, or with another pool, session or target
	MapOrder  Cause = "map-order"  // the same line asks in an order that differs from run to run
	Unstable  Cause = "unstable"   // what it asks for differs from run to run
	Unhandled Cause = "no-handler" // it has no handler for an update that it handled
)

// Explanation says at length how the code and a history part.
type Explanation struct {
	Cause Cause
	// Patch is the id of the branch, Branch the branch itself, in Go. Both are
	// empty if no branch would help.
	Patch, Branch string
	// Text is all of it, for people: what the code did beside what is recorded,
	// and what to do. Its lines end with a newline.
	Text string
}

// Bounds of an explanation.
const (
	maxContext = 3            // commands shown before the difference
	maxShown   = 8            // rows shown from the difference on
	maxSteps   = 64           // commands followed beyond the difference
	maxAhead   = 32           // turns looked at behind the difference
	maxAgain   = 24           // times that the code runs again, to see whether it does the same, as a small map does every second time
	maxTried   = 2000         // turns up to which it does
	maxRetried = 6 * maxTried // turns replayed for that
	maxMadeUp  = 8            // answers made up for what the history has none for
)

// step is a command of the code, or of the history, in an explanation.
type step struct {
	ev   history.Event
	turn int64
	at   string // file and line of the user's code; empty for what is recorded
	key  string // what it is the same by, whatever its number
}

// trace makes a machine keep what its code does, with the lines that do it.
// Behind the first difference the machine is astray: it has nothing more to
// compare with, and goes on with the answers that the history has for what the
// code asks for, for as long as it has any. Nothing that happens then is of
// consequence but to the trace.
type trace struct {
	m      *Machine
	before []step // the last that agreed
	diff   *NondeterminismError

	steps    []step // of the code, from the difference on
	recorded []step // of the history, from the difference on
	deliver  []history.Event
	at       []int64 // the times of deliver

	asked  []string // the patches that the execution knows
	astray bool     // it goes on behind the turn of the difference
	guess  bool     // results may be made up
	madeUp int

	otherTimes, otherPayloads int // that agreed but for that
}

// Explain says how code and the turns of one execution, up to the last that are
// known, part. It runs the code again, several times. err is the difference
// that was found when it ran before. With guess it makes up empty results for
// what was never asked for, and so sees further; but code that computes with
// them may not end, which nobody can help.
func Explain(code Code, turns iter.Seq[*history.Turn], err *NondeterminismError, guess bool) *Explanation {
	var kept []*history.Turn
	var first *trace
	whole := true
	first = follow(code, guess, func(yield func(*history.Turn) bool) {
		for t := range turns {
			if whole = whole && len(kept) < maxTried; whole {
				kept = append(kept, t)
			} else {
				kept = nil
			}
			if !yield(t) {
				return
			}
		}
	})
	var other *trace // one that did something else
	for i := 0; i < maxAgain && i*len(kept) < maxRetried && whole && other == nil; i++ {
		if again := follow(code, guess, slices.Values(kept)); !again.alike(first) {
			other = again
		}
	}
	if first.diff == nil && other != nil && other.diff != nil {
		first, other = other, first
	}
	if first.diff == nil { // it did not come again
		first.diff = err
		first.recorded, first.steps = appendStep(nil, err.Turn, err.Recorded, ""), appendStep(nil, err.Turn, err.Emitted, err.At)
		other = first
	}
	return first.explain(other)
}

func appendStep(steps []step, turn int64, e *history.Event, at string) []step {
	if e == nil {
		return steps
	}
	return append(steps, step{*e, turn, at, identity(e)})
}

// follow replays the turns, and goes on beyond the difference.
func follow(code Code, guess bool, turns iter.Seq[*history.Turn]) *trace {
	m := New(code)
	tr := &trace{m: m, guess: guess}
	defer func() {
		tr.asked = slices.Sorted(maps.Keys(m.patches))
		m.Close()
	}()
	m.trace = tr
	ahead := 0
	for t := range turns {
		if tr.diff != nil {
			if ahead++; ahead > maxAhead || len(t.Deliveries) > 0 && t.Deliveries[0].Kind == history.Started {
				break
			}
			tr.learn(t)
			continue
		}
		if m.Replay(t) != nil {
			return tr // it failed in another way
		}
	}
	if tr.diff != nil {
		tr.wander()
	}
	return tr
}

// agree keeps a command that is as recorded.
func (tr *trace) agree(rec, cmd *history.Event) {
	if len(tr.before) == maxContext {
		tr.before = append(tr.before[:0], tr.before[1:]...)
	}
	tr.before = append(tr.before, step{*rec, tr.m.turn, tr.line(), identity(rec)})
	switch {
	case rec.Time != cmd.Time:
		tr.otherTimes++
	case cmd.Kind != history.ValueRecorded && !tr.m.alike(rec, cmd):
		tr.otherPayloads++
	}
}

func (tr *trace) line() string {
	if tr.m.current == nil {
		return ""
	}
	return userLine()
}

// part notes the first difference, and takes down what is recorded from there
// on in its turn.
func (tr *trace) part(cmd *history.Event) {
	m := tr.m
	if tr.diff != nil {
		return
	}
	tr.diff = &NondeterminismError{Turn: m.turn, Index: m.next}
	if m.next < len(m.recorded) {
		tr.diff.Recorded = &m.recorded[m.next]
	}
	if cmd != nil {
		c := *cmd // cmd must not escape: Emit makes one for every command
		tr.diff.Emitted = &c
	}
	tr.commands(m.turn, m.recorded[m.next:])
	m.recorded, m.next = nil, 0
}

// refuse takes an update that the code has no handler for.
func (tr *trace) refuse(e *history.Event) {
	if tr.diff != nil {
		return
	}
	tr.part(nil)
	tr.diff.Recorded = e
}

func (tr *trace) commands(turn int64, commands []history.Event) {
	for i := range commands {
		if e := &commands[i]; e.Kind == history.PatchMarked {
			tr.m.patch(e.Name, true)
		} else {
			tr.recorded = appendStep(tr.recorded, turn, e, "")
		}
	}
}

// learn takes down a turn behind the difference.
func (tr *trace) learn(t *history.Turn) {
	for i := range t.Deliveries {
		tr.deliver, tr.at = append(tr.deliver, t.Deliveries[i]), append(tr.at, t.Time)
	}
	tr.commands(t.Number, t.Commands)
}

// stray takes a command of the code that is astray. It returns nil if the code
// cannot go on.
func (tr *trace) stray(cmd *history.Event) *history.Event {
	if len(tr.steps) >= maxSteps {
		return nil
	}
	if cmd.Kind == history.ValueRecorded {
		known := tr.unmatched(identity(cmd))
		if known < 0 {
			tr.steps = appendStep(tr.steps, tr.turn(), cmd, tr.line())
			return nil // nobody knows what it would have been
		}
		cmd.Payload = tr.recorded[known].ev.Payload
	}
	tr.steps = appendStep(tr.steps, tr.turn(), cmd, tr.line())
	return &tr.steps[len(tr.steps)-1].ev
}

// turn is the number of the turn, or zero when nobody knows which it would be.
func (tr *trace) turn() int64 {
	if tr.astray {
		return 0
	}
	return tr.m.turn
}

// unmatched returns the index of the first recorded command with a key that no
// step of the code before stands for, or -1.
func (tr *trace) unmatched(key string) int {
	skip := 0
	for i := range tr.steps {
		if tr.steps[i].key == key {
			skip++
		}
	}
	for i := range tr.recorded {
		if tr.recorded[i].key == key {
			if skip == 0 {
				return i
			}
			skip--
		}
	}
	return -1
}

// number returns the number that a recorded command has in the code that is
// astray, or zero if the code has not asked for it.
func (tr *trace) number(seq int64) int64 {
	if len(tr.recorded) == 0 || seq < tr.recorded[0].ev.Seq {
		return seq
	}
	which, key := 0, ""
	for i := len(tr.recorded) - 1; i >= 0; i-- {
		if e := &tr.recorded[i]; e.ev.Seq == seq && key == "" {
			key = e.key
		} else if key != "" && e.key == key {
			which++
		}
	}
	for i := range tr.steps {
		if tr.steps[i].key == key && key != "" {
			if which == 0 {
				return tr.steps[i].ev.Seq
			}
			which--
		}
	}
	return 0
}

// wander lets the code go on beyond the difference, with what the history has
// for it. Where it waits for something that the history does not know, it gets
// an answer that says nothing: what it asks for next tells whether that was
// put before something, or in its place.
func (tr *trace) wander() {
	tr.astray = true
	for m := tr.m; m.err == nil && m.final == nil; {
		if !tr.next(1) && !tr.makeUp() && !tr.next(len(tr.deliver)) {
			return
		}
	}
}

// next delivers the first of the next n deliveries that the code can take.
func (tr *trace) next(n int) bool {
	for i := range min(n, len(tr.deliver)) {
		e := tr.deliver[i]
		if e.Ref != 0 {
			e.Ref = tr.number(e.Ref)
			if e.Ref == 0 || tr.m.answered(&e) == nil {
				continue
			}
		}
		tr.take(e, tr.at[i])
		tr.deliver, tr.at = slices.Delete(tr.deliver, i, i+1), slices.Delete(tr.at, i, i+1)
		return true
	}
	return false
}

// makeUp answers the first command that only the code knows.
func (tr *trace) makeUp() bool {
	if tr.madeUp++; tr.madeUp > maxMadeUp {
		return false
	}
	for i := range tr.steps {
		e := history.Event{Ref: tr.steps[i].ev.Seq, Payload: []byte("null")}
		switch tr.steps[i].ev.Kind {
		case history.ActivityScheduled:
			e.Kind = history.ActivityCompleted
		case history.ChildStarted:
			e.Kind = history.ChildCompleted
		case history.TimerSet:
			e.Kind, e.Payload = history.TimerFired, nil
		}
		if e.Payload != nil && !tr.guess {
			continue
		}
		if e.Kind != 0 && tr.m.answered(&e) != nil && !tr.expected(&tr.steps[i]) {
			tr.take(e, tr.m.now)
			return true
		}
	}
	return false
}

// expected reports whether a step of the code is recorded too.
func (tr *trace) expected(s *step) bool {
	return slices.ContainsFunc(tr.recorded, func(r step) bool { return r.key == s.key })
}

func (tr *trace) take(e history.Event, now int64) {
	m := tr.m
	m.now = max(m.now, now)
	m.deliver([]history.Event{e})
	m.finish()
}

// alike reports whether another run did the same.
func (tr *trace) alike(other *trace) bool {
	if (tr.diff == nil) != (other.diff == nil) {
		return false
	}
	if tr.diff != nil && (tr.diff.Turn != other.diff.Turn || tr.diff.Index != other.diff.Index) {
		return false
	}
	return slices.EqualFunc(tr.steps, other.steps, func(a, b step) bool { return a.key == b.key })
}

// identity is what a command is known by apart from its number. Another's
// number stands for itself only before the difference, so it is left out.
func identity(e *history.Event) string {
	k := fmt.Sprintf("%d %q %q %q %q %v", e.Kind, e.Name, e.Target, e.Pool, e.Session, e.Detached)
	if identifying(e.Kind) {
		k += e.Text
	}
	return k
}
