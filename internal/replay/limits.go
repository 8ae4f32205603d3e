package replay

import (
	"fmt"

	"github.com/durango-go/durango/history"
)

// Limits bound what the code may emit in one live turn. Zero: no limit. A
// recorded turn was within those of its time.
type Limits struct {
	Commands int
	// Bytes is reached by the payloads of a turn; the one that reaches it may be
	// of any size, and is the last.
	Bytes int
}

// bound fails the machine if the live turn may not emit one more command, with
// a payload of size bytes.
func (m *Machine) bound(size int) {
	if m.replaying {
		return
	}
	switch l := &m.Limits; {
	case l.Commands > 0 && len(m.commands) >= l.Commands:
		m.fail(&LimitError{Err: fmt.Errorf("turn %d asks for more than %d commands, the limit of a turn; "+
			"wait for some before asking for more, or raise Options.MaxTurnCommands", m.turn, l.Commands), At: userLine()})
		m.stop()
	case l.Bytes > 0 && m.emitted >= l.Bytes:
		m.fail(&LimitError{Err: fmt.Errorf("turn %d asks for more after payloads of %d bytes, the limit of a turn is %d; "+
			"wait for some before asking for more, or raise Options.MaxTurnBytes", m.turn, m.emitted, l.Bytes), At: userLine()})
		m.stop()
	}
	m.emitted += size
}

// Refuse asks whether the call that is about to emit something is refused.
// Live, that is what f says, unless it is nil; a CallRefused keeps it. In a
// replay only the history says so: what was refused stays so, and what was
// emitted is emitted. It returns the failure that the call has.
func (s *Scope) Refuse(what, name string, f *history.Failure) *history.Failure {
	m := s.m
	m.enter()
	if m.replaying {
		f = m.refused(what, name)
	}
	if f == nil {
		return nil
	}
	m.bound(0)
	return m.mustRecord(&history.Event{Kind: history.CallRefused, Name: name, Text: what, Failure: f}).Failure
}

// refused returns the failure of a CallRefused that comes next.
func (m *Machine) refused(what, name string) *history.Failure {
	i := m.next
	for i < len(m.recorded) && m.recorded[i].Kind == history.PatchMarked {
		i++
	}
	if i == len(m.recorded) {
		return nil
	}
	if e := &m.recorded[i]; e.Kind == history.CallRefused && e.Name == name && e.Text == what {
		return e.Failure
	}
	return nil
}

// Live reports whether the turn being run is not a recorded one. Unlike
// Replaying it is for the code.
func (m *Machine) Live() bool {
	m.look()
	return !m.replaying
}

// Length returns how many events the execution had before this turn.
func (m *Machine) Length() int64 {
	m.look()
	return m.length
}
