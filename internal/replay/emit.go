package replay

import (
	"bytes"
	"fmt"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/coro"
)

const maxWarnings = 20

// Emit emits a command in the root scope; see Scope.Emit.
func (m *Machine) Emit(cmd history.Event) *Op { return m.root.Emit(cmd) }

// Emit emits a command, numbering it, and returns its op if it can be
// answered: activities, timers, children and sent signals. In a canceled scope
// those are refused: nothing is emitted and the op is canceled. What a status,
// a value and the answer to an update say is said there too. Terminal commands
// are what Code returns and cannot be emitted.
//
// When replaying, the recorded command takes the place of cmd; a coroutine
// that emits another one does not return from Emit.
func (s *Scope) Emit(cmd history.Event) *Op {
	m := s.m
	m.enter()
	m.bound(len(cmd.Payload))
	s = s.live()
	switch cmd.Kind {
	case history.ActivityScheduled, history.TimerSet, history.ChildStarted, history.SignalSent:
	case history.StatusSet:
		m.mustRecord(&cmd)
		return nil
	case history.ValueSet, history.ValueCleared:
		m.setValue(m.mustRecord(&cmd))
		return nil
	case history.UpdateAnswered:
		m.mustRecord(&cmd)
		m.answer(cmd.Text)
		return nil
	default:
		m.fail(fmt.Errorf("replay: %v cannot be emitted", cmd.Kind))
		m.stop()
	}
	if s.canceled {
		return &Op{m: m, kind: cmd.Kind, state: opCanceled, ev: s.cause()}
	}
	return m.open(m.mustRecord(&cmd), s)
}

// Record emits a ValueRecorded with what fn returns. When replaying it
// returns the recorded payload without calling fn. fn must not use the
// machine. A panic of fn fails the turn even where the code would recover it:
// nothing could be recorded for replay to return.
func (m *Machine) Record(name string, fn func() []byte) []byte {
	m.enter()
	cmd := history.Event{Kind: history.ValueRecorded, Name: name}
	if !m.replaying {
		cmd.Payload = m.compute(fn)
	}
	m.bound(len(cmd.Payload))
	return m.mustRecord(&cmd).Payload
}

func (m *Machine) compute(fn func() []byte) []byte {
	m.recording, m.halted = true, true
	finished := false
	defer func() {
		m.recording = false
		if finished {
			m.halted = m.err != nil
			return
		}
		var value any = coro.ErrGoexit
		if r := recover(); r != nil {
			value = r
		}
		p := coro.Capture(value)
		if l, ok := p.Value.(*LimitError); ok {
			m.fail(&LimitError{Err: l.Err, At: userLine()})
		} else {
			m.fail(&PanicError{Value: p.Value, Stack: p.Stack})
		}
		m.stop()
	}()
	b := fn()
	finished = true
	return b
}

// mustRecord records a command of the running coroutine. If the history
// disagrees it does not return.
func (m *Machine) mustRecord(cmd *history.Event) *history.Event {
	rec := m.record(cmd)
	if rec == nil {
		m.stop()
	}
	return rec
}

// record numbers a command and appends it to the turn or, when replaying,
// compares it with the one recorded in its place, which it returns. It returns
// nil if they differ.
func (m *Machine) record(cmd *history.Event) *history.Event {
	m.seq++
	cmd.Seq = m.seq
	if !m.replaying {
		m.commands = append(m.commands, *cmd)
		return &m.commands[len(m.commands)-1]
	}
	m.skipPatches()
	if m.next == len(m.recorded) || !same(&m.recorded[m.next], cmd) {
		return m.differ(cmd)
	}
	rec := &m.recorded[m.next]
	m.next++
	if m.trace != nil {
		m.trace.agree(rec, cmd)
	}
	if cmd.Kind != history.ValueRecorded && !m.alike(rec, cmd) {
		m.warn(rec)
	}
	return rec
}

// same reports whether an emitted command is the recorded one: its number,
// kind and name, and what identifies it.
func same(rec, cmd *history.Event) bool {
	return rec.Kind == cmd.Kind && rec.Seq == cmd.Seq && rec.Name == cmd.Name && rec.Ref == cmd.Ref &&
		rec.Target == cmd.Target && rec.Pool == cmd.Pool && rec.Session == cmd.Session &&
		rec.Detached == cmd.Detached && (!identifying(rec.Kind) || rec.Text == cmd.Text)
}

// identifying reports whether the text of a command says which one it is.
func identifying(k history.Kind) bool { return k == history.UpdateAnswered || k == history.CallRefused }

// alike reports whether the rest is equal too, as far as people may want to
// know of it.
func (m *Machine) alike(rec, cmd *history.Event) bool {
	payload := bytes.Equal(rec.Payload, cmd.Payload) || m.Same != nil && m.Same(rec.Payload, cmd.Payload)
	return payload && rec.Time == cmd.Time && rec.Version == cmd.Version &&
		(rec.Failure == nil) == (cmd.Failure == nil)
}

func (m *Machine) warn(rec *history.Event) {
	if len(m.warnings) < maxWarnings {
		m.warnings = append(m.warnings, fmt.Sprintf(
			"turn %d: the code now emits command %d, %s, with another payload, time or version; the recorded one stands",
			m.turn, rec.Seq, describe(rec)))
	}
}

// differ ends the machine with the difference at the next recorded command.
// cmd is nil if the code emitted nothing more. While the difference is being
// explained the code goes on with what differ returns.
func (m *Machine) differ(cmd *history.Event) *history.Event {
	if m.trace != nil {
		m.trace.part(cmd)
		if cmd == nil {
			return nil
		}
		return m.trace.stray(cmd)
	}
	err := &NondeterminismError{Turn: m.turn, Index: m.next}
	if m.next < len(m.recorded) {
		rec := m.recorded[m.next]
		err.Recorded = &rec
	}
	if cmd != nil {
		c := *cmd
		err.Emitted = &c
		if m.current != nil {
			err.At = userLine()
		}
	}
	m.fail(err)
	return nil
}
