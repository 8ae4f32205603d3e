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
	bytes := int64(x.machine.Size())
	e.mu.Lock()
	e.coolLocked(x)
	x.hotBytes = bytes
	e.hot.add(x)
	e.hotMem += x.hotBytes
	var victims []*execution
	for at := e.hot.coldest; at != nil && (e.hot.n > e.o.MaxHot || e.hotMem > e.o.MaxHotBytes); {
		v := at
		at = at.warmer
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
	if x.hot {
		e.hot.remove(x)
		e.hotMem -= x.hotBytes
	}
}

// hotList is a list of executions in the order of their last use. It is linked
// through them, because every step enters and leaves it.
type hotList struct {
	coldest, warmest *execution
	n                int
}

func (l *hotList) add(x *execution) {
	x.hot, x.colder, x.warmer = true, l.warmest, nil
	if l.warmest != nil {
		l.warmest.warmer = x
	} else {
		l.coldest = x
	}
	l.warmest = x
	l.n++
}

func (l *hotList) remove(x *execution) {
	if x.colder != nil {
		x.colder.warmer = x.warmer
	} else {
		l.coldest = x.warmer
	}
	if x.warmer != nil {
		x.warmer.colder = x.colder
	} else {
		l.warmest = x.colder
	}
	x.hot, x.colder, x.warmer = false, nil, nil
	l.n--
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
