// Package coro is a coroutine over [iter.Pull] that can be unwound, keeps what
// goes wrong in it to itself, and knows the goroutine it runs on.
package coro

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"runtime"
)

// ErrGoexit is the value of a [PanicError] for a body that called
// [runtime.Goexit].
var ErrGoexit = errors.New("runtime.Goexit called in a coroutine")

// maxStack bounds the stack kept in a PanicError, in bytes.
const maxStack = 64 << 10

// maxResistance is how often a body may swallow the unwinding panic and go on
// before Goexit, which cannot be recovered, takes its place.
const maxResistance = 16

// PanicError is a panic, or a Goexit, that ended a coroutine's body.
type PanicError struct {
	Value any // what was passed to panic, or ErrGoexit
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// unwinding is the type of the one private panic.
type unwinding struct{}

func (*unwinding) Error() string {
	return "durango: this execution is being removed from memory (not a failure; do not recover)"
}

// exiting is what replaces a Goexit between the coroutine and its driver.
type exiting struct{ _ byte }

var (
	unwind = &unwinding{}
	exit   = &exiting{}
)

// Coro is a function that runs in steps. It has no goroutine before the first
// Resume and none after it has ended or was stopped. All methods but Yield and
// Unwind belong to the driver; only one goroutine at a time may drive.
type Coro struct {
	fn    func()
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	guard *Guard

	self       uintptr
	done       bool
	stopping   bool
	returned   bool // run came back from the body, however the body ended
	resistance int
	err        error
}

// New makes a coroutine that will run fn. guard, which may be nil, is told the
// goroutine when it first runs.
func New(guard *Guard, fn func()) *Coro { return &Coro{fn: fn, guard: guard} }

// Resume runs the coroutine until it yields or ends, and reports whether it
// has ended. A panic or Goexit of the body ends it and is reported by Err; it
// does not reach the caller.
func (c *Coro) Resume() (done bool) {
	if c.done {
		return true
	}
	if c.next == nil {
		c.next, c.stop = iter.Pull(c.run)
	} else if c.guard != nil {
		c.guard.Enter(c.self)
	}
	c.step()
	return c.done
}

func (c *Coro) step() {
	defer c.survive()
	if _, ok := c.next(); !ok {
		c.end()
	}
}

// Yield suspends the coroutine until the next Resume. It must be called on the
// coroutine. When the coroutine is stopped it panics with a private value.
func (c *Coro) Yield() {
	if !c.yield(struct{}{}) {
		c.Unwind()
	}
}

// Unwind ends a coroutine that is being stopped, from inside: whatever would
// have suspended it must call Unwind instead.
func (c *Coro) Unwind() {
	c.resistance++
	if c.resistance > maxResistance {
		runtime.Goexit()
	}
	panic(unwind)
}

// Stop unwinds a suspended coroutine: its deferred functions run, and its
// goroutine is gone when Stop returns. It does nothing to one that has ended.
func (c *Coro) Stop() {
	if c.done {
		return
	}
	c.stopping = true
	if c.next == nil {
		c.end()
		return
	}
	if c.guard != nil {
		c.guard.Enter(c.self)
	}
	defer c.survive()
	c.stop()
	c.end()
}

// Stopping reports whether Stop has begun.
func (c *Coro) Stopping() bool { return c.stopping }

// Done reports whether the coroutine has ended.
func (c *Coro) Done() bool { return c.done }

// Err returns the *PanicError that ended the body, or nil.
func (c *Coro) Err() error { return c.err }

func (c *Coro) end() {
	c.done = true
	c.fn, c.next, c.stop, c.yield = nil, nil, nil, nil
	if c.guard != nil {
		c.guard.Leave()
	}
}

// survive keeps a body's Goexit from ending the driver. iter.Pull repeats a
// Goexit of its sequence in the caller of next, where nothing can stop it; but
// a panic raised by a function deferred in the sequence replaces it, and that
// can be recovered here.
func (c *Coro) survive() {
	if r := recover(); r != nil {
		c.end()
		if r != any(exit) {
			panic(r)
		}
	}
}

// run is the sequence given to iter.Pull.
func (c *Coro) run(yield func(struct{}) bool) {
	c.yield = yield
	c.self = Self()
	if c.guard != nil {
		c.guard.Enter(c.self)
	}
	// Under Goexit the body never returns to run, not even when it recovered a
	// panic on the way, so this is the place that cannot be deceived.
	defer func() {
		if !c.returned {
			panic(exit)
		}
	}()
	c.body()
	c.returned = true
}

func (c *Coro) body() {
	finished := false
	defer func() {
		switch r := recover(); {
		case finished || r == any(unwind):
		case r != nil:
			c.err = Capture(r)
		case !c.stopping:
			c.err = Capture(ErrGoexit)
		}
	}()
	c.fn()
	finished = true
}

// Capture makes a PanicError with the stack of the caller. In a deferred
// function that stack still has the frames that panicked.
func Capture(value any) *PanicError {
	buf := make([]byte, maxStack)
	return &PanicError{Value: value, Stack: bytes.Clone(buf[:runtime.Stack(buf, false)])}
}
