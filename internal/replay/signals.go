package replay

import (
	"cmp"
	"slices"

	"github.com/durango-go/durango/history"
)

// Queue holds the signals of one name that nobody has consumed, in the order
// of their arrival. A signal that arrives is offered to whoever has waited
// longest, and to the next one if that wait ends otherwise; it leaves the
// queue when a wait returns it or Take does.
type Queue struct {
	m       *Machine
	waiting subList // those who were offered nothing
	granted int     // signals offered and not yet consumed
	items   []arrival
	head    int
	own     bool // the code pushes; what is left is no signal to carry
}

type arrival struct {
	n int64 // among all signals of the execution
	e history.Event
}

// Signals returns the queue of signals with a name.
func (m *Machine) Signals(name string) *Queue {
	m.enter()
	return m.queue(name)
}

// NewQueue makes a queue of the code's own, which Push fills.
func (m *Machine) NewQueue() *Queue {
	m.enter()
	return &Queue{m: m, own: true}
}

// Push puts an item, an empty event, into a queue of the code's own.
func (q *Queue) Push() {
	q.m.enter()
	q.push(&history.Event{})
}

func (m *Machine) queue(name string) *Queue {
	q := m.queues[name]
	if q == nil {
		if m.queues == nil {
			m.queues = make(map[string]*Queue)
		}
		q = &Queue{m: m}
		m.queues[name] = q
	}
	return q
}

// Len returns how many signals a new wait could have.
func (q *Queue) Len() int { return len(q.items) - q.head - q.granted }

// Peek returns the next signal without consuming it, or nil if there is none
// that is not offered to somebody.
func (q *Queue) Peek() *history.Event {
	q.m.enter()
	if q.Len() <= 0 {
		return nil
	}
	return &q.items[q.head].e
}

// Take consumes the next signal, if there is one that is not offered to
// somebody.
func (q *Queue) Take() (e history.Event, ok bool) {
	q.m.enter()
	if q.Len() <= 0 {
		return history.Event{}, false
	}
	return *q.pop(), true
}

func (q *Queue) ready() bool    { return q.Len() > 0 }
func (q *Queue) list() *subList { return &q.waiting }
func (q *Queue) absent() bool   { return q == nil }

func (q *Queue) push(e *history.Event) {
	m := q.m
	m.arrived++
	q.items = append(q.items, arrival{m.arrived, *e})
	q.account(e, 1)
	q.offer()
}

func (q *Queue) account(e *history.Event, n int) {
	q.m.bytes += n * (eventSize + len(e.Payload))
	if !q.own {
		q.m.unread += n
	}
}

// pop removes the first signal. What it returns is valid until the next pop.
func (q *Queue) pop() *history.Event {
	m := q.m
	if m.taken == nil {
		m.taken = new(history.Event)
	}
	*m.taken = q.items[q.head].e
	q.account(m.taken, -1)
	q.items[q.head] = arrival{}
	q.head++
	switch {
	case q.head == len(q.items):
		q.head = 0
		if q.items = q.items[:0]; cap(q.items) > keepRoom {
			q.items = nil
		}
	case q.head > 32 && q.head > len(q.items)/2:
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return m.taken
}

// offer gives free signals to those who have waited longest.
func (q *Queue) offer() {
	for q.Len() > 0 && q.waiting.head != nil {
		s := q.waiting.head
		q.waiting.remove(s)
		q.granted++
		s.w.fire(s)
	}
}

// Unread returns copies of the signals that nobody has consumed, in the order
// of their arrival.
func (m *Machine) Unread() []history.Event {
	if m.unread == 0 {
		return nil
	}
	all := make([]arrival, 0, m.unread)
	for _, q := range m.queues {
		all = append(all, q.items[q.head:]...)
	}
	slices.SortFunc(all, func(a, b arrival) int { return cmp.Compare(a.n, b.n) })
	events := make([]history.Event, len(all))
	for i := range all {
		events[i] = all[i].e
	}
	return events
}
