package replay

import "github.com/durango-go/durango/history"

// Pending counts what an execution waits for, or holds.
type Pending struct {
	Activities int
	Timers     int
	Children   int // those that answer
	Signals    int // unread
	Tasks      int // coroutines, the main one included
	// NextTimer is the earliest fire time, or math.MaxInt64.
	NextTimer int64
}

// Pending returns the counts, at no cost.
func (m *Machine) Pending() Pending {
	p := m.counts
	p.Signals, p.NextTimer = m.unread, m.timers.first()
	return p
}

// OpenActivities yields the ActivityScheduled commands that were neither
// answered nor canceled, in order. The events belong to the machine.
func (m *Machine) OpenActivities(yield func(*history.Event) bool) {
	m.openOps(history.ActivityScheduled, yield)
}

// OpenChildren yields the ChildStarted commands that await an answer, in
// order. The events belong to the machine.
func (m *Machine) OpenChildren(yield func(*history.Event) bool) {
	m.openOps(history.ChildStarted, yield)
}

func (m *Machine) openOps(k history.Kind, yield func(*history.Event) bool) {
	for _, e := range m.ops.entries {
		if o := e.op; o != nil && o.kind == k && pending(&o.ev) && !yield(&o.ev) {
			return
		}
	}
}

// Size returns roughly how many bytes the machine holds, without what the
// user's code holds.
func (m *Machine) Size() int { return machineSize + m.bytes + m.counts.Tasks*taskSize }
