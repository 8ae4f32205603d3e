package durangotest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"
)

// Limit is how much virtual time a test has: what [Env.Context] allows.
const Limit = 10 * 365 * 24 * time.Hour

// Env is the world of one test: a store in memory, the nodes that run on it,
// and a clock that is moved by waiting. It is for use inside the function that
// it was handed to.
type Env struct {
	t      *testing.T
	ctx    context.Context
	cancel context.CancelCauseFunc
	world  *world
	fleet  *fleet
	client *durango.Client
	// stop ends the fleet and waits for it.
	stop func()

	mu       sync.Mutex
	lenient  bool            // turns may fail
	reported map[string]bool // turn failures
	ended    bool
	timers   []*time.Timer
	running  sync.WaitGroup // functions of After

	effects ledger
}

// Run runs f in a bubble of [testing/synctest], with a node that runs the
// definitions on a store in memory. Of two definitions of the same activity,
// or of the same version of an orchestration, the later one counts, so that
// those of the program can be followed by fakes.
//
// Inside f the time is virtual. It begins at midnight UTC of 2000-01-01 and
// moves, at once, to the next moment at which anything happens when all
// goroutines wait. f may use time.Sleep, timers and goroutines of its own; it
// gets a testing.T of its own, and what synctest forbids is forbidden: no
// network, no t.Run, no t.Parallel. When f returns, the node shuts down;
// goroutines begun in f must have ended by then.
//
// A turn that fails (a panic, a nondeterminism) fails the test at once, unless
// [Env.AllowTurnFailures] was called. Goroutines that a test which has failed
// leaves behind are reported, and otherwise end the process, as synctest has it.
func Run(t *testing.T, f func(t *testing.T, e *Env), definitions ...durango.Registrable) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		e := newEnv(t, nil, definitions)
		defer e.close()
		f(t, e)
	})
}

// bubble is synctest.Test, but what a test that has failed leaves behind does not
// end the process with all other tests: an orchestration that waits for ever, for
// something that is not durango's, cannot be ended by anyone.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer func() {
		t.Helper()
		r := recover()
		if err, ok := r.(error); ok && t.Failed() && strings.Contains(err.Error(), "main bubble goroutine has exited") {
			t.Errorf("goroutines of the test are left behind: %v", err)
			t.FailNow()
		} else if r != nil {
			panic(r)
		}
	}()
	synctest.Test(t, f)
}

func newEnv(t *testing.T, tap *tap, definitions []durango.Registrable) *Env {
	e := &Env{t: t, world: newWorld(), reported: map[string]bool{}}
	limited, stop := context.WithTimeout(t.Context(), Limit)
	ctx, cancel := context.WithCancelCause(limited)
	e.ctx, e.cancel = ctx, func(cause error) { cancel(cause); stop() }
	e.world.failed = e.turnFailed
	e.client = durango.NewClient(e.world)
	e.fleet = newFleet(e.world, tap, newLogger(t), definitions)
	e.fleet.stuck = func() {
		const text = "nothing has happened for 30 days of virtual time but that activities run: one of them may wait for something for ever"
		t.Error(text)
		e.cancel(errors.New(text))
	}
	background, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.fleet.run(background)
	}()
	e.stop = func() { end(); <-done }
	return e
}

// Client returns a client of the store. It is not of a node, and so works on
// when one is replaced or crashes.
func (e *Env) Client() *durango.Client { return e.client }

// Context returns the context for calls of the client. It ends, after [Limit]
// of virtual time, when the test waits for something that does not happen; and
// when a turn fails.
func (e *Env) Context() context.Context { return e.ctx }

// Replace puts definitions in the place of those that define the same, and
// adds the others. Called before anything has been started it swaps an
// activity for a fake; later on it is a deployment: the node shuts down, and
// the next one runs the new code. It must not be called by an activity.
func (e *Env) Replace(definitions ...durango.Registrable) { e.fleet.replace(definitions) }

// After calls f when d has passed, on a goroutine of its own, as
// [time.AfterFunc] does. When the test ends first, f is not called; an f that
// runs by then is waited for. It may fail the test with t.Error but not with
// t.Fatal.
func (e *Env) After(d time.Duration, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timers = append(e.timers, time.AfterFunc(d, func() {
		e.mu.Lock()
		if e.ended {
			e.mu.Unlock()
			return
		}
		e.running.Add(1)
		e.mu.Unlock()
		defer e.running.Done()
		f()
	}))
}

// Settle returns when nothing more can happen at this moment: all instances
// wait, for time to pass or for something from outside. No time passes.
func (e *Env) Settle() { synctest.Wait() }

// Wait waits until the instances with these IDs have ended, however they did,
// and fails the test when one of them is not going to.
func (e *Env) Wait(ids ...string) {
	e.t.Helper()
	for _, id := range ids {
		run := durango.NewOrchestration[json.RawMessage, json.RawMessage]("any").Run(e.client, id)
		_, err := run.Wait(e.ctx)
		if e.ctx.Err() != nil || errors.Is(err, durango.ErrNotFound) {
			e.t.Fatalf("%v\n%s", e.because(err), e.describe(id))
		}
	}
}

// because adds to an error why the context of the test has ended, unless it says
// so.
func (e *Env) because(err error) error {
	if cause := context.Cause(e.ctx); !errors.Is(err, cause) {
		return errors.Join(err, cause)
	}
	return err
}

// Wait waits until an instance has completed and returns its output. It fails
// the test when the instance ends otherwise, or is not going to end.
func Wait[Out any](e *Env, run *durango.Run[Out]) Out {
	e.t.Helper()
	e.Wait(run.ID())
	out, err := run.Wait(e.ctx)
	if err != nil {
		e.t.Fatalf("%v\n%s", err, e.describe(run.ID()))
	}
	return out
}

// Start starts an instance and fails the test if that fails.
func Start[In, Out any](e *Env, o durango.Startable[In, Out], id string, in In) *durango.Run[Out] {
	e.t.Helper()
	run, err := o.Start(e.ctx, e.client, id, in)
	if e.ctx.Err() != nil { // its first turn failed before it was known to have been started
		e.t.Fatalf("start instance %q: %v\n%s", id, e.because(err), e.describe(id))
	} else if err != nil {
		e.t.Fatal(err)
	}
	return run
}

// AllowTurnFailures keeps turns that fail from failing the test: it is about
// a bug, and what becomes of the instance when the bug has been fixed.
func (e *Env) AllowTurnFailures() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lenient = true
}

// turnFailed is told of each failed turn.
func (e *Env) turnFailed(id, text string) {
	e.mu.Lock()
	known := e.lenient || e.ended || e.reported[id+text]
	e.reported[id+text] = true
	e.mu.Unlock()
	if known {
		return
	}
	e.t.Errorf("a turn of instance %q failed: %s", id, text)
	e.cancel(fmt.Errorf("a turn of instance %q failed", id))
}

// describe says where an instance stands, for people who wonder why it does
// not end.
func (e *Env) describe(id string) string {
	row, err := e.world.Get(context.Background(), provider.Target{ID: id})
	if err != nil {
		return fmt.Sprintf("there is no instance %q", id)
	}
	text := fmt.Sprintf("instance %q (%s %s) is %s after %d turns", id, row.Name, row.Version, row.Status, row.NextTurn-1)
	if f := provider.ParseTurnFailure(row.TurnFailure); f.Failed() {
		text += "; its last turn failed: " + f.Message
	}
	turns, err := e.world.history(row.Key)
	if err != nil {
		return text + "; " + err.Error()
	}
	for i := range turns {
		text += "\n" + formatTurn(&turns[i])
	}
	return text + e.pending(&row, turns)
}

func (e *Env) close() {
	e.mu.Lock()
	e.ended = true
	for _, t := range e.timers {
		t.Stop()
	}
	e.mu.Unlock()
	e.running.Wait() // a callback whose signal ended the last instance is not cut off
	e.cancel(errors.New("the test has ended"))
	e.stop()
	_ = e.world.Close()
}
