package engine

// The cache holds the machines of idle executions, least recently used first,
// within bounds of number and memory. Evicting is not releasing: an owned
// execution without a machine is rebuilt when something arrives for it.

// heat puts an idle execution at the warm end and evicts what no longer fits.
// The caller holds x.mu.
func (e *Engine) heat(x *execution) {
	if x.machine == nil {
		return
	}
	x.hotBytes = int64(x.machine.Size())
	e.mu.Lock()
	e.coolLocked(x)
	x.hot = e.hot.PushBack(x)
	e.hotMem += x.hotBytes
	var victims []*execution
	for at := e.hot.Front(); at != nil && (e.hot.Len() > e.o.MaxHot || e.hotMem > e.o.MaxHotBytes); {
		v := at.Value.(*execution)
		at = at.Next()
		if v == x {
			continue
		}
		// Two executions are never locked in a fixed order; one that is in use
		// is not cold.
		if v.mu.TryLock() {
			e.coolLocked(v)
			victims = append(victims, v)
		}
	}
	e.mu.Unlock()
	for _, v := range victims {
		e.evict(v)
		v.mu.Unlock()
	}
}

// evict closes the machine of an idle execution, and forgets one that is not
// owned. The caller holds x.mu.
func (e *Engine) evict(x *execution) {
	if x.state != idle || x.machine == nil {
		return
	}
	e.metrics.evictions.Add(1)
	e.remember(x)
	e.closeMachine(x)
	if x.node == 0 {
		e.forget(x)
	}
}

// coolLocked takes x out of the cache. The caller holds e.mu.
func (e *Engine) coolLocked(x *execution) {
	if x.hot != nil {
		e.hot.Remove(x.hot)
		e.hotMem -= x.hotBytes
		x.hot = nil
	}
}

// closeMachine unwinds the code of an execution. The caller holds x.mu or is
// the one who runs its turn.
func (e *Engine) closeMachine(x *execution) {
	if x.machine != nil {
		x.machine.Close()
		x.machine = nil
	}
}

// forget removes x from the node's memory. The caller holds x.mu.
func (e *Engine) forget(x *execution) {
	e.trialOver(x)
	e.mu.Lock()
	if e.execs[x.key] == x {
		delete(e.execs, x.key)
	}
	e.coolLocked(x)
	e.mu.Unlock()
	was := x.state
	if was != idle && was != gone {
		e.busy.Add(-1)
	}
	for command := range x.local {
		e.stop(x, command, ErrTaskLost)
	}
	x.state = gone
	x.node = 0
	x.abandonExtra(ErrTaskLost)
	x.inbox, x.extra = nil, nil
	if was != running { // else they are with whoever runs its turn, who closes it
		x.first, x.loaded = nil, nil
		e.closeMachine(x)
	}
}
