package replay

import (
	"fmt"

	"github.com/durango-go/durango/history"
)

// deliver delivers events one by one, and lets the code run after each until
// all of it waits. Signals right behind the start are there when the code
// begins: they were sent before, to the execution that went on as this one or
// with the start, and whoever looks without waiting has to find them.
func (m *Machine) deliver(events []history.Event) {
	if cancel := m.unbegun(events); cancel != nil {
		m.started, m.start = true, events[0]
		m.cancelScope(&m.root, cancel.Text, false)
		m.final = &history.Event{Kind: history.Canceled, Text: cancel.Text}
	}
	starting := len(events) > 0 && events[0].Kind == history.Started
	for i := range events {
		if m.err != nil {
			return
		}
		e := &events[i]
		if e.Kind == history.UpdateRequested {
			m.request(i, e)
		} else {
			m.accept(e)
		}
		starting = starting && i+1 < len(events) && events[i+1].Kind == history.SignalReceived
		if !starting {
			m.run()
		}
	}
}

// unbegun returns the request to cancel that ends an instance before it has
// begun: it came before the first turn of all, so that there is nothing to clean
// up, and the code does not run. A recorded turn in which the code ran and did
// more than to end is none.
func (m *Machine) unbegun(events []history.Event) *history.Event {
	if m.started || events[0].Seq > 1 || m.replaying && (len(m.recorded) != 1 || m.recorded[0].Kind != history.Canceled) {
		return nil
	}
	var cancel *history.Event
	for i := range events {
		switch e := &events[i]; {
		case e.Kind == history.CancelRequested && cancel == nil:
			cancel = e
		case e.Kind == history.UpdateRequested && m.replaying:
			return nil // the code ran, and accepted it
		}
	}
	return cancel
}

// accept applies one event to the state. What is not accepted changes
// nothing, and did not when the turn was live.
func (m *Machine) accept(e *history.Event) {
	if m.final != nil {
		// Behind the end: what came for the instance, and not for this execution
		// of it, is carried to the next.
		switch e.Kind {
		case history.SignalReceived:
			m.queue(e.Name).push(e)
		case history.CancelRequested:
			m.late = append(m.late, *e)
		}
		return
	}
	switch e.Kind {
	case history.Undecodable, history.InstanceQuarantined: // for people
	case history.Started:
		if m.started {
			return
		}
		m.launch(e)
	case history.SignalReceived:
		m.queue(e.Name).push(e)
	case history.CancelRequested:
		if m.continuing {
			m.late = append(m.late, *e)
		}
		m.cancelScope(&m.root, e.Text, false)
	default:
		if o := m.answered(e); o != nil {
			scope, reason := o.scope, o.ev.Text
			m.resolve(o, e)
			if o.limit {
				m.cancelScope(scope, reason, true)
			}
		}
	}
}

// launch starts the main coroutine.
func (m *Machine) launch(e *history.Event) {
	m.started, m.start = true, *e
	m.bytes += len(e.Payload)
	m.inherit(e.Carried)
	m.main = m.spawn(func() {
		final := m.code(m, &m.start)
		if m.halted {
			return // it swallowed the unwinding
		}
		if !final.Kind.Terminal() {
			m.fail(fmt.Errorf("replay: the code returned %v, which is not a terminal command", final.Kind))
			return
		}
		m.final = &final
	})
}

// answered returns the open op that e answers, or nil.
func (m *Machine) answered(e *history.Event) *Op {
	if o := m.ops.find(e.Ref); o != nil && awaits(&o.ev, e.Kind) {
		return o
	}
	return nil
}

// Accepts reports whether a delivery would be taken now: an answer only for
// an open command of its kind, so no duplicate and none for what was
// canceled; signals, requests to cancel and updates until the execution has
// ended, though an update may then be rejected.
func (m *Machine) Accepts(e *history.Event) bool {
	if m.final != nil || m.err != nil || m.closed {
		return false
	}
	switch e.Kind {
	case history.Started:
		return !m.started
	case history.SignalReceived, history.CancelRequested, history.UpdateRequested, history.Undecodable, history.InstanceQuarantined:
		return true
	}
	return m.answered(e) != nil
}
