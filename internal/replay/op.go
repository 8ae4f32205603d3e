package replay

import (
	"cmp"
	"slices"

	"github.com/durango-go/durango/history"
)

// Op is a command that awaits an answer. As a Source it is ready when it has
// been answered or canceled.
type Op struct {
	m     *Machine
	state opState
	kind  history.Kind
	limit bool // it is the timer of its scope's ExpireAt
	heap  int  // index in the timer heap
	seq   int64
	ev    history.Event // open: the command; answered: the answer; canceled: why
	subs  subList

	scope        *Scope
	sprev, snext *Op // in the scope's list of open ops; snext also chains free ones
}

type opState uint8

const (
	opOpen opState = iota
	opAnswered
	opCanceled
)

// Seq returns the number of the command, or zero if it was refused because
// its scope was already canceled.
func (o *Op) Seq() int64 { return o.seq }

// Done reports whether the op has been answered or canceled.
func (o *Op) Done() bool { return o.state != opOpen }

// Canceled reports whether the op was canceled, or refused, before an answer.
func (o *Op) Canceled() bool { return o.state == opCanceled }

// Expired reports whether the op was canceled because a time limit passed.
func (o *Op) Expired() bool { return o.Canceled() && o.ev.Kind == history.TimerFired }

// Reason returns why the scope was canceled with which the op was. It is empty
// for an op that was canceled by itself.
func (o *Op) Reason() string {
	if !o.Canceled() {
		return ""
	}
	return o.ev.Text
}

// Answer returns the delivery that answered the op, or nil.
func (o *Op) Answer() *history.Event {
	if o.state != opAnswered {
		return nil
	}
	return &o.ev
}

func (o *Op) ready() bool    { return o.state != opOpen }
func (o *Op) list() *subList { return &o.subs }
func (o *Op) absent() bool   { return o == nil }

// awaits reports whether a command of kind k is answered by deliveries of
// kind d.
func awaits(cmd *history.Event, d history.Kind) bool {
	switch cmd.Kind {
	case history.ActivityScheduled:
		return d == history.ActivityCompleted || d == history.ActivityFailed
	case history.TimerSet:
		return d == history.TimerFired
	case history.ChildStarted:
		return d == history.ChildFailed || d == history.ChildCompleted && !cmd.Detached
	case history.SignalSent:
		return d == history.SignalRefused
	}
	return false
}

// pending reports whether something will answer the command for certain.
func pending(cmd *history.Event) bool {
	switch cmd.Kind {
	case history.ActivityScheduled, history.TimerSet:
		return true
	case history.ChildStarted:
		return !cmd.Detached
	}
	return false
}

// Sizes used by Size, in bytes. They are rough.
const (
	eventSize   = 216
	opSize      = eventSize + 128
	taskSize    = 4096
	machineSize = 1024
	entrySize   = 64 // of a map, beside what it refers to
)

// open makes the op of a command that was just recorded.
func (m *Machine) open(cmd *history.Event, scope *Scope) *Op {
	o := m.newOp()
	o.kind, o.seq, o.ev = cmd.Kind, cmd.Seq, *cmd
	m.ops.add(o)
	if pending(cmd) {
		m.count(cmd.Kind, 1)
		scope.add(o)
	} else { // it may stay open for ever
		o.ev = history.Event{Kind: cmd.Kind, Detached: cmd.Detached}
	}
	m.bytes += opSize + len(o.ev.Payload)
	if cmd.Kind == history.TimerSet {
		m.timers.push(o)
	}
	return o
}

// resolve ends an op and wakes those who wait for it. answer is nil for a
// canceled one.
func (m *Machine) resolve(o *Op, answer *history.Event) {
	m.ops.remove(o)
	m.bytes -= opSize + len(o.ev.Payload)
	scope := o.scope
	if pending(&o.ev) {
		m.count(o.kind, -1)
		scope.remove(o)
	}
	if o.kind == history.TimerSet {
		m.timers.remove(o)
	}
	if answer != nil {
		o.state, o.ev = opAnswered, *answer
	} else {
		o.state, o.ev = opCanceled, scope.cause()
	}
	m.wakeAll(&o.subs)
}

func (m *Machine) count(k history.Kind, d int) {
	switch k {
	case history.ActivityScheduled:
		m.counts.Activities += d
	case history.TimerSet:
		m.counts.Timers += d
	case history.ChildStarted:
		m.counts.Children += d
	}
}

// newOp takes an op from the free ones or a slab. Slabs are small while little
// is open, because one op that is kept holds its whole slab; most code has one
// open at a time.
func (m *Machine) newOp() *Op {
	if o := m.freeOps; o != nil {
		m.freeOps, o.snext = o.snext, nil
		return o
	}
	if len(m.slab) == 0 {
		n := 1
		if open := len(m.ops.entries); open > 0 {
			n = min(max(open/8, 2), 64)
		}
		m.slab = make([]Op, n)
	}
	o := &m.slab[0]
	m.slab = m.slab[1:]
	o.m = m
	return o
}

// Release gives back an op that is done, and that nobody will look at again,
// for reuse. It is never needed.
func (m *Machine) Release(o *Op) {
	m.enter()
	if o == nil || o.state == opOpen || o.m != m {
		return
	}
	*o = Op{m: m, snext: m.freeOps}
	m.freeOps = o
}

// opTable holds open ops in the order of their numbers.
type opTable struct {
	entries []opEntry // op is nil where one was removed
	removed int
}

type opEntry struct {
	seq int64
	op  *Op
}

func (t *opTable) add(o *Op) { t.entries = append(t.entries, opEntry{o.seq, o}) }

// find returns an open op, or nil. Numbers without gaps are found at once.
func (t *opTable) find(seq int64) *Op {
	if i := t.index(seq); i >= 0 {
		return t.entries[i].op
	}
	return nil
}

func (t *opTable) index(seq int64) int {
	n := len(t.entries)
	if n == 0 {
		return -1
	}
	if i := seq - t.entries[0].seq; i >= 0 && i < int64(n) && t.entries[i].seq == seq {
		return int(i)
	}
	i, ok := slices.BinarySearchFunc(t.entries, seq, func(e opEntry, seq int64) int {
		return cmp.Compare(e.seq, seq)
	})
	if !ok {
		return -1
	}
	return i
}

// remove forgets an op. Room is taken back when half of it is unused, so that
// the table is as large as what is open and not as what once was.
func (t *opTable) remove(o *Op) {
	t.entries[t.index(o.seq)].op = nil
	t.removed++
	n := len(t.entries)
	if t.removed < n && (n < 32 || t.removed*2 < n) {
		return
	}
	live := t.entries[:0]
	if left := n - t.removed; cap(t.entries) > 64 && left*4 < cap(t.entries) {
		live = make([]opEntry, 0, left*2)
	}
	for _, e := range t.entries {
		if e.op != nil {
			live = append(live, e)
		}
	}
	if cap(live) == cap(t.entries) {
		clear(t.entries[len(live):])
	}
	t.entries, t.removed = live, 0
}
