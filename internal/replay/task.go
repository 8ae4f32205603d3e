package replay

import (
	"errors"
	"runtime"

	"github.com/durango-go/durango/internal/coro"
)

// Task is a cooperative coroutine. As a Source it is ready when it has ended.
type Task struct {
	m      *Machine
	co     *coro.Coro
	subs   subList
	wait   Waiter  // of Machine.Wait
	asleep *Waiter // what it is suspended in; nil: runnable, running or ended
	asking bool    // it was woken to ask a condition, and has done no more
	ended  bool

	older, newer *Task // among those that have not ended
}

// Done reports whether the task's function has returned.
func (t *Task) Done() bool { return t.ended }

func (t *Task) ready() bool    { return t.ended }
func (t *Task) list() *subList { return &t.subs }
func (t *Task) absent() bool   { return t == nil }

// Spawn makes a coroutine that runs fn. It starts when those that are
// runnable now have had their turn.
func (m *Machine) Spawn(fn func()) *Task {
	m.enter()
	return m.spawn(fn)
}

func (m *Machine) spawn(fn func()) *Task {
	t := m.newTask(fn)
	m.runnable.push(t)
	return t
}

func (m *Machine) newTask(fn func()) *Task {
	t := &Task{m: m, co: coro.New(&m.guard, fn)}
	t.wait.m = m
	if t.older = m.newest; t.older != nil {
		t.older.newer = t
	}
	m.newest = t
	m.counts.Tasks++
	return t
}

// run runs runnable coroutines in the order in which they became so, until
// all wait or the main one has ended. When all wait, those that wait for a
// condition ask it once more, until none of them goes on.
func (m *Machine) run() {
	changed := true // by what was delivered
	for m.err == nil && m.final == nil {
		t := m.runnable.pop()
		if t == nil {
			if !changed || m.askers.head == nil {
				break
			}
			changed = false
			m.wakeAll(&m.askers)
			continue
		}
		m.current = t
		if t.co.Resume() {
			m.end(t)
		}
		changed = changed || !t.asking
	}
	m.current = nil
}

func (m *Machine) end(t *Task) {
	m.forget(t)
	if err := t.co.Err(); err != nil {
		var p *coro.PanicError
		errors.As(err, &p)
		panicked := &PanicError{Value: p.Value, Stack: p.Stack}
		if l, ok := p.Value.(*LimitError); ok {
			m.fail(&LimitError{Err: l.Err, At: panicked.At()})
		} else {
			m.fail(panicked)
		}
		return
	}
	m.wakeAll(&t.subs)
}

func (m *Machine) forget(t *Task) {
	t.ended = true
	m.counts.Tasks--
	if t.older != nil {
		t.older.newer = t.newer
	}
	if t.newer != nil {
		t.newer.older = t.older
	} else {
		m.newest = t.older
	}
	t.older, t.newer = nil, nil
}

// enter begins every method that the code calls. It returns the running
// coroutine, or does not return.
func (m *Machine) enter() *Task {
	m.hold()
	if m.halted {
		m.stop()
	}
	return m.current
}

// look begins those that only read, and that a validator may call too.
func (m *Machine) look() {
	m.hold()
	if m.halted && !m.judging {
		m.stop()
	}
}

// hold does not return to a goroutine that is not the running coroutine.
func (m *Machine) hold() {
	if !m.guard.Held() {
		m.guard.Accuse(userLine())
		runtime.Goexit()
	}
}

// stop does not return to the running coroutine.
func (m *Machine) stop() {
	t := m.current
	if m.err == nil && !m.closed {
		switch {
		case m.recording:
			m.fail(&MisuseError{What: "used inside the function of a Record", At: userLine()})
		case m.judging:
			what := "the validator of an update"
			if t.asking {
				what = "a condition"
			}
			m.fail(&MisuseError{What: "used for more than reading inside " + what, At: userLine()})
		}
	}
	for !m.closed {
		t.co.Yield() // for ever: a failed machine resumes nobody
	}
	t.co.Unwind()
}

// taskQueue is a FIFO queue in a ring.
type taskQueue struct {
	ring    []*Task // length zero or a power of two
	head, n int
}

func (q *taskQueue) push(t *Task) {
	if q.n == len(q.ring) {
		ring := make([]*Task, max(4, 2*len(q.ring)))
		for i := range q.n {
			ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
		}
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = t
	q.n++
}

func (q *taskQueue) pop() *Task {
	if q.n == 0 {
		return nil
	}
	t := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) & (len(q.ring) - 1)
	if q.n--; q.n == 0 && len(q.ring) > keepRoom {
		q.ring, q.head = nil, 0
	}
	return t
}
