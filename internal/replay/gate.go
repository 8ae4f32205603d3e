package replay

// Gate is a Source that the code itself makes ready, once. What coroutines of
// one execution wait for among themselves is made of gates: opening one emits
// nothing, because a replay opens it again.
type Gate struct {
	m    *Machine
	open bool
	subs subList
}

// NewGate makes a closed gate.
func (m *Machine) NewGate() *Gate {
	m.enter()
	return &Gate{m: m}
}

// NewOpenGate makes a gate that is open from the start, for a waiter that is to
// return something that needs no waiting in its turn.
func (m *Machine) NewOpenGate() *Gate {
	m.enter()
	return &Gate{m: m, open: true}
}

// Open makes the gate ready, and those who wait for it runnable in the order
// in which they came. Opening again does nothing.
func (g *Gate) Open() {
	g.m.enter()
	g.open = true
	g.m.wakeAll(&g.subs)
}

func (g *Gate) ready() bool    { return g.open }
func (g *Gate) list() *subList { return &g.subs }
func (g *Gate) absent() bool   { return g == nil }
