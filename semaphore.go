package durango

import (
	"errors"
	"slices"

	"github.com/durango-go/durango/internal/replay"
)

// Semaphore bounds how many coroutines of one execution do something at once.
// It is made by [NewSemaphore] inside the orchestration, and is no use between
// instances. It emits nothing: a replay brings it to where it was.
type Semaphore struct {
	x          *execution
	size, free int
	waiting    []*replay.Gate // the longest first
}

// NewSemaphore makes a semaphore that n coroutines can hold at once. An n below
// 1 fails the turn.
func NewSemaphore(ctx *Context, n int) *Semaphore {
	if n < 1 {
		ctx.x.fail(errors.New("a semaphore that nobody can hold"))
	}
	return &Semaphore{x: ctx.x, size: n, free: n}
}

// Acquire waits until it holds the semaphore, in the order of the calls. When
// ctx ends before that it returns the error of [Context.Err] and holds nothing.
func (s *Semaphore) Acquire(ctx *Context) error {
	if s.x != ctx.x {
		ctx.x.fail(errors.New("a semaphore or mutex of another execution; make one inside the orchestration"))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.free > 0 {
		s.free--
		return nil
	}
	turn := s.x.m.NewGate()
	s.waiting = append(s.waiting, turn)
	// The scope comes first: when it is canceled nothing else wins.
	if i, _ := s.x.m.Wait(ctx.scope, turn); i != 0 {
		return nil
	}
	if at := slices.Index(s.waiting, turn); at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
	} else { // its turn came in the moment of the end: on to the next
		s.Release()
	}
	return ctx.Err()
}

// Release lets go of what Acquire got, also from another coroutine, and hands it
// to the one that waits longest. Releasing what nobody holds fails the turn.
func (s *Semaphore) Release() {
	switch {
	case len(s.waiting) > 0:
		turn := s.waiting[0]
		s.waiting = s.waiting[1:]
		turn.Open()
	case s.free == s.size:
		s.x.fail(errors.New("release of a semaphore or mutex that nobody holds"))
	default:
		s.free++
	}
}

// Mutex lets one coroutine of an execution at a time do what takes several
// waits. The zero value is unlocked. It belongs to one execution, as a
// [Semaphore] does: a package-level Mutex fails the turn.
type Mutex struct{ s Semaphore }

// Lock waits until it holds the mutex, in the order of the calls. When ctx ends
// before that it returns the error of [Context.Err] and holds nothing.
func (m *Mutex) Lock(ctx *Context) error {
	if m.s.x == nil {
		m.s = Semaphore{x: ctx.x, size: 1, free: 1}
	}
	return m.s.Acquire(ctx)
}

// Unlock lets go of the mutex, also from another coroutine. Unlocking what is
// not locked fails the turn.
func (m *Mutex) Unlock() {
	if m.s.x == nil {
		panic(errors.New("unlock of a mutex that was never locked"))
	}
	m.s.Release()
}
