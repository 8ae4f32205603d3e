package replay

import (
	"maps"
	"slices"

	"github.com/durango-go/durango/history"
)

// Value returns a value of the instance as the code sees it now: what the
// execution began with, changed by what it emitted. A validator may call it.
func (m *Machine) Value(name string) (payload []byte, ok bool) {
	m.look()
	payload, ok = m.values[name]
	return payload, ok
}

// setValue applies a ValueSet, ValueCleared or ValueCarried.
func (m *Machine) setValue(e *history.Event) {
	if old, ok := m.values[e.Name]; ok {
		m.bytes -= entrySize + len(e.Name) + len(old)
	}
	if e.Kind == history.ValueCleared {
		delete(m.values, e.Name)
		return
	}
	if m.values == nil {
		m.values = make(map[string][]byte)
	}
	m.values[e.Name] = e.Payload
	m.bytes += entrySize + len(e.Name) + len(e.Payload)
}

// inherit takes the values that the execution before left. The Started keeps
// them too, whatever becomes of them.
func (m *Machine) inherit(carried []history.Event) {
	for i := range carried {
		e := &carried[i]
		m.bytes += eventSize + len(e.Payload)
		if e.Kind == history.ValueCarried {
			m.setValue(e)
		}
	}
}

// bequeath returns the values that the next execution begins with, in the
// order of their names.
func (m *Machine) bequeath() []history.Event {
	if len(m.values) == 0 {
		return nil
	}
	events := make([]history.Event, 0, len(m.values))
	for _, name := range slices.Sorted(maps.Keys(m.values)) {
		events = append(events, history.Event{Kind: history.ValueCarried, Name: name, Payload: m.values[name]})
	}
	return events
}
