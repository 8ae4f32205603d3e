package coro

import "sync/atomic"

// Guard tells whether the calling goroutine is the one that may use what the
// guard protects: the coroutine that is running. It is the one part of a
// coroutine's state that other goroutines may look at.
type Guard struct {
	running atomic.Uintptr
	offense atomic.Pointer[string]
}

// Enter names the goroutine that runs from now on.
func (g *Guard) Enter(self uintptr) { g.running.Store(self) }

// Leave says that no coroutine runs.
func (g *Guard) Leave() { g.running.Store(0) }

// Held reports whether the caller is on the goroutine that was named last.
func (g *Guard) Held() bool { return g.running.Load() == Self() }

// Accuse remembers where something was used from a wrong goroutine. The first
// accusation stays.
func (g *Guard) Accuse(where string) { g.offense.CompareAndSwap(nil, &where) }

// Offense returns what Accuse was told, and whether there was anything.
func (g *Guard) Offense() (where string, ok bool) {
	if p := g.offense.Load(); p != nil {
		return *p, true
	}
	return "", false
}
