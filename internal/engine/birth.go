package engine

import (
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// An instance that starts on its own node takes its first turn before it
// exists: the turn runs in memory and is written by the same transaction that
// creates the instance. Nothing that the turn asks for happens before, and if
// the ID turns out to be taken, nothing has. A first turn that fails, or does
// not end, does not keep the instance from being created; it fails again, and
// visibly, as a turn of an instance that exists.

// conceive begins the first turn of an instance that this node takes on. When
// it has ended the call goes on to be written.
func (e *Engine) conceive(call *startCall) bool {
	n := &call.n
	if n.NotBefore != 0 || !e.takesOn(n.Name, n.Version) {
		return false
	}
	started, err := history.DecodeMessage(n.Start)
	if err != nil {
		return false
	}
	x := newborn(n, e.nodeKey(), started)
	x.birth = call
	x.state = queued
	x.occupy()
	call.x = x
	e.busy.Add(1)
	e.mu.Lock()
	e.execs[x.key] = x
	e.mu.Unlock()
	e.turns.push(x)
	return true
}

// newborn is an execution that has its start as the only message.
func newborn(n *provider.NewInstance, node provider.NodeKey, started history.Event) *execution {
	x := &execution{
		key: n.Key, id: n.ID, node: node, charged: true, attempts: 1,
		name: n.Name, version: n.Version, status: provider.Pending, generation: 1, nextTurn: 1, historyFrom: 1,
		parent: n.Parent, nextTimer: provider.Never, mailSeen: 1, idleSince: time.Now(),
	}
	x.inbox = append(x.inbox, delivery{event: started, mail: 1})
	return x
}

// delivered sends an unborn execution, whose first turn has ended, to be
// written. The caller holds x.mu.
func (e *Engine) delivered(x *execution, err error) {
	call := x.birth
	call.handed = true
	if err != nil { // it will fail again once it exists
		e.unstart(x)
		e.closeMachine(x)
		x.turn.taken, x.inbox = x.inbox[:0], x.turn.taken
		x.state = queued
	} else {
		x.state = committing
		e.packCommit(x)
	}
	e.client.packStart(&call.n)
	e.client.starts.add(call)
}

// carry puts the first turn into what is about to be created. It reports
// false if the execution has to be given up.
func (e *Engine) carry(x *execution, n *provider.NewInstance, node provider.NodeKey) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.node != node || node == 0 || e.draining.Load() {
		e.discard(x)
		return false
	}
	n.Owned = true
	if x.state == committing {
		n.First = &x.turn.commit
	}
	return true
}

// born begins the life of an execution whose instance has been created.
func (e *Engine) born(x *execution, n *provider.NewInstance, r *provider.CreateResult) {
	x.mu.Lock()
	x.birth = nil
	if x.state == queued {
		e.turns.push(x)
	}
	x.mu.Unlock()
	if n.First != nil {
		var mail []handoff
		e.committed(x, &r.First, &mail)
		e.handMails(mail)
	}
}

// unborn lets go of an execution whose instance was not created here.
func (e *Engine) unborn(x *execution) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.discard(x)
}

// discard drops an unborn execution. The caller holds x.mu.
func (e *Engine) discard(x *execution) {
	x.birth = nil
	e.unstart(x)
	if x.state != gone {
		e.forget(x)
	}
}

// miscarry lets go of an execution that is not going to be born here, and has
// its instance created without a first turn. The caller holds x.mu.
func (e *Engine) miscarry(x *execution) {
	call := x.birth
	if !call.handed {
		x.birth, call.x = nil, nil
		e.client.starts.add(call)
	} // else it is being written, and is let go of when that is done
	e.forget(x)
}

// adoptChild takes on a child that was created with this node as its owner.
func (e *Engine) adoptChild(n *provider.NewInstance, node provider.NodeKey) {
	started, err := history.DecodeMessage(n.Start)
	if err != nil || node != e.nodeKey() {
		return // reconciliation finds it
	}
	x := newborn(n, node, started)
	e.mu.Lock()
	e.execs[x.key] = x
	e.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if e.draining.Load() {
		e.handOver(x)
	} else if e.poke(x) {
		e.turns.push(x)
	}
}
