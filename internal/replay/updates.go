package replay

import (
	"errors"
	"fmt"
	"slices"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/coro"
)

// handler is what the code does with the updates of one name.
type handler struct {
	validate func(*history.Event) *history.Failure // may be nil
	handle   func(*history.Event)
}

// Rejection is an update that is not part of the turn it was delivered to.
type Rejection struct {
	Index   int // among the deliveries given to Turn
	Failure *history.Failure
	// Late: it came behind the end of the instance, so nobody judged it and
	// Failure is nil. One behind a continue-as-new is carried instead.
	Late bool
}

// The codes of failures that are not the validator's.
const (
	codeNoHandler = "durango/no-handler"
	codePanic     = "durango/panic"
)

// Handle makes the code accept updates of a name from now on: those that
// validate, if there is one, returns nil for. Each runs handle on a coroutine
// of its own, which answers by emitting UpdateAnswered. Handle reports false,
// and changes nothing, if the name has a handler.
//
// validate runs when the update arrives, and never in a replay, so it may only
// read: it may call Now, Value, Replaying and Started, and whatever else it
// asks of the machine ends it with a *MisuseError. A panic of validate rejects
// the update.
func (m *Machine) Handle(name string, validate func(*history.Event) *history.Failure, handle func(*history.Event)) (ok bool) {
	m.enter()
	if m.handlers[name] != nil {
		return false
	}
	if m.handlers == nil {
		m.handlers = make(map[string]*handler)
	}
	m.handlers[name] = &handler{validate, handle}
	m.bytes += entrySize + len(name)
	return true
}

// request accepts or rejects an update, delivery i of the turn. What was
// recorded has been accepted, and must be again.
func (m *Machine) request(i int, e *history.Event) {
	h := m.handlers[e.Name]
	switch {
	case m.final != nil && m.final.Kind == history.ContinuedAsNew:
		m.late = append(m.late, *e) // the next execution judges it
		return
	case m.replaying && m.final != nil && m.soon:
		return // its handler has emitted nothing by the end
	case m.replaying:
		if h == nil || m.final != nil {
			if m.trace != nil {
				m.trace.refuse(e)
				return
			}
			recorded := *e
			m.fail(&NondeterminismError{Turn: m.turn, Index: m.next, Recorded: &recorded})
			return
		}
	case m.final != nil:
		m.rejected = append(m.rejected, Rejection{Index: i, Late: true})
		return
	default:
		if f := m.judge(h, e); f != nil {
			m.rejected = append(m.rejected, Rejection{Index: i, Failure: f})
			return
		}
		if m.err != nil {
			return
		}
	}
	requested := *e
	m.updates = append(m.updates, &requested)
	m.bytes += eventSize + len(e.Payload)
	m.spawn(func() { h.handle(&requested) })
}

// judge returns why an update is rejected, or nil. The validator runs on a
// coroutine, so that nothing but it can use the machine meanwhile, and that it
// can be left where it misused it.
func (m *Machine) judge(h *handler, e *history.Event) *history.Failure {
	if h == nil {
		return &history.Failure{Code: codeNoHandler, Message: fmt.Sprintf("no handler for update %q", e.Name), Final: true}
	}
	if h.validate == nil {
		return nil
	}
	var failure *history.Failure
	shown := *e // the handler sees what arrived, whatever the validator does to it
	t := m.newTask(func() { failure = h.validate(&shown) })
	m.judging, m.halted, m.current = true, true, t
	ended := t.co.Resume()
	m.judging, m.halted, m.current = false, m.err != nil, nil
	if !ended {
		return nil // a misuse; Close unwinds it
	}
	m.forget(t)
	if err := t.co.Err(); err != nil {
		var p *coro.PanicError
		errors.As(err, &p)
		return &history.Failure{Code: codePanic, Message: fmt.Sprintf("panic: %v", p.Value)}
	}
	return failure
}

// answer ends the updates of a request, which has been answered.
func (m *Machine) answer(request string) {
	m.updates = slices.DeleteFunc(m.updates, func(e *history.Event) bool {
		if e.Text != request {
			return false
		}
		m.bytes -= eventSize + len(e.Payload)
		return true
	})
	if len(m.updates) == 0 && cap(m.updates) > keepRoom {
		m.updates = nil
	}
}

// Rejected returns the updates that the last Turn rejected, in the order in
// which they were delivered.
func (m *Machine) Rejected() []Rejection { return m.rejected }

// OpenUpdates yields the updates that were accepted and not answered since, in
// the order of their arrival. The events belong to the machine.
func (m *Machine) OpenUpdates(f func(requested *history.Event) bool) {
	for _, e := range m.updates {
		if !f(e) {
			return
		}
	}
}
