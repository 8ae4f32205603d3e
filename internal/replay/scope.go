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
	heir     *Scope // of a closed one: who stands in for it
	canceled bool
	expired  bool // canceled by its own time limit or one above
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
	s = s.live()
	c := &Scope{m: s.m, canceled: s.canceled, expired: s.expired, reason: s.reason}
	if c.canceled {
		return c
	}
	c.link(s)
	return c
}

// Detached makes a scope that is canceled with no other.
func (m *Machine) Detached() *Scope {
	m.enter()
	return &Scope{m: m}
}

// ExpireAt sets a timer that cancels the scope when it fires. The timer is
// withdrawn when the scope is canceled before.
func (s *Scope) ExpireAt(at int64, reason string) {
	o := s.Emit(history.Event{Kind: history.TimerSet, Time: at})
	if o.state == opOpen {
		o.limit = true
		o.ev.Text = reason
	}
}

// Expire cancels the scope as its timer would.
func (s *Scope) Expire(reason string) {
	s.m.enter()
	if s.heir == nil && !s.m.cancelScope(s, reason, true) {
		s.m.stop()
	}
}

// Canceled reports whether the scope is canceled.
func (s *Scope) Canceled() bool { return s.live().canceled }

// Expired reports whether a time limit canceled the scope.
func (s *Scope) Expired() bool { return s.live().expired }

// Reason returns what was given to Cancel or to ExpireAt, or the Text of the
// CancelRequested.
func (s *Scope) Reason() string { return s.live().reason }

// live returns the scope, or who stands in for it once it has been closed.
func (s *Scope) live() *Scope {
	for s.heir != nil {
		s = s.heir
	}
	return s
}

// cause is what a canceled op keeps of why, in the form of the delivery that
// would have done it.
func (s *Scope) cause() history.Event {
	switch {
	case !s.canceled:
		return history.Event{}
	case s.expired:
		return history.Event{Kind: history.TimerFired, Text: s.reason}
	}
	return history.Event{Kind: history.CancelRequested, Text: s.reason}
}

// Cancel cancels the scope, those below it and the open ops of all of them;
// the cancel commands are emitted in the order of the ops' numbers. Canceling
// again does nothing, and neither does canceling a closed scope.
func (s *Scope) Cancel(reason string) {
	s.m.enter()
	if s.heir == nil && !s.m.cancelScope(s, reason, false) {
		s.m.stop()
	}
}

// Withdraw cancels the scope, or who stands in for it, unless it is detached:
// what the code wanted out of reach is not reached by an end either.
func (s *Scope) Withdraw(reason string) {
	s.m.enter()
	s = s.live()
	top := s
	for top.parent != nil {
		top = top.parent
	}
	if top == &s.m.root {
		s.Cancel(reason)
	}
}

// Close gives the scope up to its parent: what is open in it, the scopes below
// it and those who wait for it go on in the parent's care, and from then on the
// parent stands in for it.
func (s *Scope) Close() {
	s.m.enter()
	p := s.parent
	if p == nil {
		return
	}
	s.unlink()
	s.heir = p
	for o := s.ops; o != nil; o = s.ops {
		if o.limit { // it is the closed scope's, and must not end the parent
			s.m.Cancel(o)
			continue
		}
		s.remove(o)
		p.add(o)
	}
	for c := s.oldest(); c != nil; {
		younger := c.prev
		c.unlink()
		c.link(p)
		c = younger
	}
	for b := s.subs.head; b != nil; b = s.subs.head {
		s.subs.remove(b)
		p.subs.push(b)
	}
}

// link puts a scope that has no parent below p.
func (s *Scope) link(p *Scope) {
	s.parent = p
	if s.next = p.children; s.next != nil {
		s.next.prev = s
	}
	p.children = s
}

// oldest returns the child that was made first, or nil.
func (s *Scope) oldest() *Scope {
	c := s.children
	for c != nil && c.next != nil {
		c = c.next
	}
	return c
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

func (s *Scope) ready() bool    { return s.Canceled() }
func (s *Scope) list() *subList { return &s.live().subs }
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
// CancelRequested and for a timer, when no coroutine runs.
func (m *Machine) cancelScope(s *Scope, reason string, expired bool) bool {
	if s.canceled {
		return true
	}
	s.unlink()
	var scopes []*Scope
	var ops []*Op
	s.collect(reason, expired, &scopes, &ops)
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
func (s *Scope) collect(reason string, expired bool, scopes *[]*Scope, ops *[]*Op) {
	s.canceled, s.expired, s.reason = true, expired, reason
	*scopes = append(*scopes, s)
	for o := s.ops; o != nil; o = o.snext {
		*ops = append(*ops, o)
	}
	for c := s.oldest(); c != nil; {
		younger := c.prev
		c.collect(reason, expired, scopes, ops)
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
