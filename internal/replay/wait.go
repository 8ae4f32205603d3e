package replay

import "github.com/durango-go/durango/history"

// Source is what can be waited for: an *Op (answered or canceled), a *Task
// (ended), a *Queue (has a signal for the waiter), a *Scope (canceled), a
// *Gate (open), or what Until waits for.
type Source interface {
	// ready reports whether a wait that begins now would end at once.
	ready() bool
	// list is where waits subscribe.
	list() *subList
	// absent reports a nil pointer.
	absent() bool
}

// sub is the interest of one waiter in one source. It is in the source's
// list until the source fires, then in its waiter's list of the fired.
type sub struct {
	w          *Waiter
	tag        int
	op         *Op
	queue      *Queue
	on         *subList // nil once fired
	prev, next *sub     // in the source's list, then in the waiter's fired
	wprev      *sub     // in the waiter's list of all
	wnext      *sub
}

// subList holds subscriptions in the order in which they were made.
type subList struct{ head, tail *sub }

func (l *subList) push(s *sub) {
	s.on = l
	if s.prev = l.tail; s.prev != nil {
		s.prev.next = s
	} else {
		l.head = s
	}
	l.tail = s
}

func (l *subList) remove(s *sub) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.tail = s.prev
	}
	s.on, s.prev, s.next = nil, nil, nil
}

// Wait suspends the coroutine until one of the sources is ready, and returns
// its index and, of an op its answer (nil if it was canceled), of a queue the
// signal, which is thereby consumed; the event is valid until the next Wait of
// any coroutine. The earliest source wins a tie. Nil sources are never ready;
// if there is no other, Wait returns -1 at once.
func (m *Machine) Wait(sources ...Source) (int, *history.Event) {
	t := m.enter()
	first := -1
	for i, s := range sources {
		if s == nil || s.absent() {
			continue
		}
		if s.ready() {
			return i, m.collect(s)
		}
		if first < 0 {
			first = i
		}
	}
	if first < 0 {
		return -1, nil
	}
	w := &t.wait
	for i, s := range sources[first:] {
		if s != nil && !s.absent() {
			w.subscribe(first+i, s)
		}
	}
	w.sleep()
	win := w.fired.head
	for s := win.next; s != nil; s = s.next {
		if s.tag < win.tag {
			win = s
		}
	}
	tag, e := w.take(win)
	w.clear()
	return tag, e
}

// Until suspends the coroutine until condition is true, which is asked at once
// and then whenever all coroutines wait and something has happened since; or
// until the scope is canceled, which it reports by returning false. A canceled
// scope comes first. condition may only read, as the validator of an update.
func (m *Machine) Until(s *Scope, condition func() bool) bool {
	t := m.enter()
	for !s.Canceled() {
		if t.ask(condition) {
			t.asking = false
			return true
		}
		m.Wait(s, (*asker)(m))
		t.asking = true
	}
	t.asking = false
	return false
}

// ask asks a condition, which changes nothing.
func (t *Task) ask(condition func() bool) bool {
	m, asking := t.m, t.asking
	m.judging, m.halted, t.asking = true, true, true
	defer func() {
		m.judging, m.halted, t.asking = false, m.err != nil || m.closed, asking
	}()
	return condition()
}

// asker is what those wait for who wait for a condition.
type asker Machine

func (a *asker) ready() bool    { return false }
func (a *asker) list() *subList { return &a.askers }
func (a *asker) absent() bool   { return a == nil }

// collect returns the event of a source that is ready.
func (m *Machine) collect(s Source) *history.Event {
	switch s := s.(type) {
	case *Op:
		return s.Answer()
	case *Queue:
		return s.pop()
	}
	return nil
}

// Waiter waits for any number of sources, one after another as they become
// ready, at a cost that does not depend on how many are left. It must be
// closed, or the signals offered to it stay reserved.
type Waiter struct {
	m     *Machine
	t     *Task // suspended in Next
	all   *sub
	fired subList
}

// NewWaiter makes a waiter without sources.
func (m *Machine) NewWaiter() *Waiter {
	m.enter()
	return &Waiter{m: m}
}

// Add subscribes to s until it has been returned by Next once. tag is what
// Next returns. A nil source is ignored.
func (w *Waiter) Add(tag int, s Source) {
	w.m.enter()
	if s != nil && !s.absent() {
		w.subscribe(tag, s)
	}
}

// Next suspends the coroutine until one of the sources is ready, and returns
// its tag and its event as Wait does, in the order in which they became ready
// and, for those that already were, in the order of Add. It returns -1 when
// no source is left.
func (w *Waiter) Next() (tag int, e *history.Event) {
	w.m.enter()
	if w.all == nil {
		return -1, nil
	}
	if w.fired.head == nil {
		w.sleep()
	}
	return w.take(w.fired.head)
}

// Close unsubscribes from all sources that are left. Signals that were offered
// but not returned go to those who wait next.
func (w *Waiter) Close() {
	w.m.enter()
	w.clear()
}

func (w *Waiter) subscribe(tag int, src Source) {
	s := w.m.newSub()
	s.w, s.tag = w, tag
	if s.wnext = w.all; s.wnext != nil {
		s.wnext.wprev = s
	}
	w.all = s
	switch src := src.(type) {
	case *Op:
		s.op = src
	case *Queue:
		s.queue = src
		if src.ready() {
			src.granted++
			w.fire(s)
			return
		}
		src.list().push(s)
		return
	}
	if src.ready() {
		w.fire(s)
	} else {
		src.list().push(s)
	}
}

// sleep suspends the running coroutine until a source has fired.
func (w *Waiter) sleep() {
	t := w.m.current
	w.t, t.asleep = t, w
	t.co.Yield()
	w.t = nil
}

// fire moves a subscription that is in no list to the fired ones, and makes
// the coroutine that sleeps on it runnable.
func (w *Waiter) fire(s *sub) {
	w.fired.push(s)
	s.on = nil
	if t := w.t; t != nil && t.asleep == w {
		t.asleep = nil
		w.m.runnable.push(t)
	}
}

// take ends a subscription that has fired.
func (w *Waiter) take(s *sub) (tag int, e *history.Event) {
	tag = s.tag
	switch {
	case s.op != nil:
		e = s.op.Answer()
	case s.queue != nil:
		s.queue.granted--
		e = s.queue.pop()
		s.queue = nil
	}
	w.drop(s)
	return tag, e
}

// drop ends a subscription.
func (w *Waiter) drop(s *sub) {
	q := s.queue
	if s.on != nil {
		s.on.remove(s)
		q = nil
	} else {
		w.fired.remove(s)
	}
	if s.wprev != nil {
		s.wprev.wnext = s.wnext
	} else {
		w.all = s.wnext
	}
	if s.wnext != nil {
		s.wnext.wprev = s.wprev
	}
	w.m.freeSub(s)
	if q != nil { // it was offered a signal and leaves without
		q.granted--
		q.offer()
	}
}

func (w *Waiter) clear() {
	for w.all != nil {
		w.drop(w.all)
	}
}

// wakeAll fires all subscriptions of a list, in order.
func (m *Machine) wakeAll(l *subList) {
	for s := l.head; s != nil; s = l.head {
		l.remove(s)
		s.w.fire(s)
	}
}

func (m *Machine) newSub() *sub {
	if m.freeSubs == nil {
		chunk := make([]sub, min(max(m.subsMade, 2), 64))
		m.subsMade += len(chunk)
		for i := range chunk {
			chunk[i].next, m.freeSubs = m.freeSubs, &chunk[i]
		}
	}
	s := m.freeSubs
	m.freeSubs, s.next = s.next, nil
	m.subsUsed++
	return s
}

// freeSub keeps s for reuse. When the last one is returned after there were
// many, they are left to the garbage collector.
func (m *Machine) freeSub(s *sub) {
	*s = sub{next: m.freeSubs}
	m.freeSubs = s
	if m.subsUsed--; m.subsUsed == 0 && m.subsMade > keepRoom {
		m.freeSubs, m.subsMade = nil, 0
	}
}
