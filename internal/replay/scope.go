package replay

import (
	"cmp"
	"slices"

	"github.com/durango-go/durango/history"
)

// Scope is a node in the tree of cancellation scopes. Canceling one cancels
// the open ops emitted in it and in the scopes below it, and refuses new ones.
// As a Source it is ready when it is canceled.
type Scope struct {
	m        *Machine
	parent   *Scope
	canceled bool
	reason   string
	subs     subList
	ops      *Op // open, newest first
	children *Scope
	prev     *Scope // among the parent's children, newest first
	next     *Scope
}

// Root returns the scope of the execution, which a CancelRequested cancels.
func (m *Machine) Root() *Scope { return &m.root }

// Child makes a scope that is canceled with s. It should be closed when it is
// no longer needed, or s keeps it.
func (s *Scope) Child() *Scope {
	s.m.enter()
	c := &Scope{m: s.m, canceled: s.canceled, reason: s.reason}
	if c.canceled {
		return c
	}
	c.parent = s
	if c.next = s.children; c.next != nil {
		c.next.prev = c
	}
	s.children = c
	return c
}

// Detached makes a scope that is canceled with no other.
func (m *Machine) Detached() *Scope {
	m.enter()
	return &Scope{m: m}
}

// Canceled reports whether the scope is canceled.
func (s *Scope) Canceled() bool { return s.canceled }

// Reason returns what was given to Cancel, or the Text of the CancelRequested.
func (s *Scope) Reason() string { return s.reason }

// Cancel cancels the scope, those below it and the open ops of all of them;
// the cancel commands are emitted in the order of the ops' numbers. Canceling
// again does nothing.
func (s *Scope) Cancel(reason string) {
	s.m.enter()
	if !s.m.cancelScope(s, reason) {
		s.m.stop()
	}
}

// Close detaches the scope from its parent without canceling it. Ops that are
// open in it go on, in the parent's care.
func (s *Scope) Close() {
	s.m.enter()
	p := s.parent
	if p == nil {
		return
	}
	for o := s.ops; o != nil; o = s.ops {
		s.remove(o)
		p.add(o)
	}
	s.unlink()
}

func (s *Scope) unlink() {
	p := s.parent
	if p == nil {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		p.children = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.parent, s.prev, s.next = nil, nil, nil
}

func (s *Scope) ready() bool    { return s.canceled }
func (s *Scope) list() *subList { return &s.subs }
func (s *Scope) absent() bool   { return s == nil }

func (s *Scope) add(o *Op) {
	o.scope = s
	if o.snext = s.ops; o.snext != nil {
		o.snext.sprev = o
	}
	s.ops = o
}

func (s *Scope) remove(o *Op) {
	if o.sprev != nil {
		o.sprev.snext = o.snext
	} else {
		s.ops = o.snext
	}
	if o.snext != nil {
		o.snext.sprev = o.sprev
	}
	o.scope, o.sprev, o.snext = nil, nil, nil
}

// cancelScope reports whether the history agrees. It also runs for a
// CancelRequested, when no coroutine runs.
func (m *Machine) cancelScope(s *Scope, reason string) bool {
	if s.canceled {
		return true
	}
	s.unlink()
	var scopes []*Scope
	var ops []*Op
	s.collect(reason, &scopes, &ops)
	slices.SortFunc(ops, func(a, b *Op) int { return cmp.Compare(a.seq, b.seq) })
	for _, o := range ops {
		if !m.cancel(o) {
			return false
		}
	}
	for _, c := range scopes {
		m.wakeAll(&c.subs)
	}
	return true
}

// collect marks a tree as canceled and lists it, parents before children and
// older children before younger, with its open ops in no particular order.
func (s *Scope) collect(reason string, scopes *[]*Scope, ops *[]*Op) {
	s.canceled, s.reason = true, reason
	*scopes = append(*scopes, s)
	for o := s.ops; o != nil; o = o.snext {
		*ops = append(*ops, o)
	}
	last := s.children
	for c := last; c != nil; c = c.next {
		last = c
	}
	for c := last; c != nil; {
		younger := c.prev
		c.collect(reason, scopes, ops)
		c.parent, c.prev, c.next = nil, nil, nil
		c = younger
	}
	s.children = nil
}

// Cancel withdraws an op that is still open: it emits ActivityCanceled,
// TimerCanceled or ChildCanceled, and the op is canceled at once; an answer
// that comes later is not accepted. Other ops are left alone.
func (m *Machine) Cancel(o *Op) {
	m.enter()
	if o != nil && o.state == opOpen && pending(&o.ev) && !m.cancel(o) {
		m.stop()
	}
}

// cancel reports whether the history agrees.
func (m *Machine) cancel(o *Op) bool {
	cmd := history.Event{Ref: o.seq}
	switch o.kind {
	case history.ActivityScheduled:
		cmd.Kind = history.ActivityCanceled
	case history.TimerSet:
		cmd.Kind = history.TimerCanceled
	case history.ChildStarted:
		cmd.Kind, cmd.Target = history.ChildCanceled, o.ev.Target
	}
	if m.record(&cmd) == nil {
		return false
	}
	m.resolve(o, nil)
	return true
}
