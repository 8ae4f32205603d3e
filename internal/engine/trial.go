package engine

import (
	"fmt"
	"sync"
	"time"

	"github.com/durango-go/durango/provider"
)

// A process that ends in the middle of a turn takes with it everything that it
// had claimed, and nobody can say which of these ended it. So what has been
// claimed twice without a commit is a suspect. A node tries its suspects one
// after the other: it writes into the row that it is about to run a turn, and
// runs it while no other suspect runs. If the turn commits, all is forgotten; if
// the next claim finds the note, this instance was the only suspect that ran,
// and that counts as a failed turn. What else was claimed is not blamed.

// trials are the suspects of a node, of which one runs at a time. Its lock is
// taken last.
type trials struct {
	mu      sync.Mutex
	busy    bool
	waiting []*execution
	tasks   []*task // suspect.go
}

// suspicious reports whether the process of an earlier owner may have ended
// because of x, which has just been claimed: claims count attempts, and one
// that led to nothing is not accounted for by a failure.
func (x *execution) suspicious() bool {
	if !x.charged {
		return false
	}
	known := int64(0)
	if f := x.fault; f != nil {
		if f.Kind == kindCrash || x.crashed() {
			return true
		}
		if f.Attempts < x.attempts {
			known = f.Attempts
		}
	}
	return x.attempts-known >= 2
}

// crashed reports whether the claim before ended in a trial of which nothing
// was heard.
func (x *execution) crashed() bool {
	return x.fault != nil && x.fault.Trial && x.charged && x.attempts == x.fault.Attempts+1
}

// detain puts a suspect, whose state is loading, in line for its trial, or
// counts the failure of one that did not survive the last. It reports whether
// x is one. The caller holds x.mu.
func (e *Engine) detain(x *execution) bool {
	switch {
	case x.loaded == nil || !x.suspicious():
		return false
	case x.crashed():
		x.state = running
		e.failTurn(x, errCrashed)
		return true
	}
	x.state, x.suspect = queued, true
	e.trials.mu.Lock()
	first := !e.trials.busy
	if first {
		e.trials.busy = true
	} else {
		e.trials.waiting = append(e.trials.waiting, x)
	}
	e.trials.mu.Unlock()
	if first {
		e.try(x)
	}
	return true
}

// try notes in x's row that its turn is about to run; when that is written it
// does. The caller holds x.mu.
func (e *Engine) try(x *execution) {
	x.suspect, x.trial = false, true
	f := provider.TurnFailure{
		Message: "a node ended while it had claimed this instance; its next turn runs apart from others that were claimed",
	}
	if x.fault != nil {
		f = *x.fault
	}
	f.Trial, f.Attempts = true, x.attempts
	if f.Count == 0 {
		f.First = time.Unix(0, e.clock.now()).UTC()
	}
	c := e.reset(x, x.readSeq)
	c.Failure, c.NotBefore, c.DueAt = f.String(), x.notBefore, e.dueAt(x, 0)
	x.turn.noted = &f
	e.o.Logger.Warn("instance runs apart: a node ended that had claimed it", "instance", x.id, "orchestration", x.name,
		"attempts", x.attempts, "failures", fmt.Sprint(f.Count))
	e.submit(x)
}

// noted runs the turn that has been announced. The caller holds x.mu.
func (e *Engine) noted(x *execution) {
	x.fault, x.turn.noted = x.turn.noted, nil
	if e.draining.Load() {
		e.enterIdle(x)
		e.handOver(x)
		return
	}
	x.state = queued
	e.turns.push(x)
}

// trialOver is called when the turn of x has ended, however, or when x is let
// go of. The caller holds x.mu.
func (e *Engine) trialOver(x *execution) {
	x.suspect = false
	if !x.trial {
		return
	}
	x.trial = false
	e.trials.mu.Lock()
	e.trials.busy = false
	more := len(e.trials.waiting)+len(e.trials.tasks) > 0
	e.trials.mu.Unlock()
	if more {
		e.pool.run(e.nextTrial)
	}
}

// nextTrial begins the trial of the first suspect that still waits.
func (e *Engine) nextTrial() {
	for {
		e.trials.mu.Lock()
		var x *execution
		var t *task
		switch {
		case e.trials.busy:
		case len(e.trials.waiting) > 0:
			x = e.trials.waiting[0]
			e.trials.waiting = e.trials.waiting[1:]
		case len(e.trials.tasks) > 0:
			t = e.trials.leastSuspected()
		}
		begun := x == nil && t == nil
		e.trials.busy = e.trials.busy || !begun
		e.trials.mu.Unlock()
		switch {
		case begun:
			return
		case t != nil:
			begun = e.tryTask(t)
		default:
			x.mu.Lock()
			if begun = x.suspect && x.state == queued && x.node != 0; begun {
				e.try(x)
			}
			x.mu.Unlock()
		}
		if begun {
			return
		}
		e.trials.mu.Lock()
		e.trials.busy = false
		e.trials.mu.Unlock()
	}
}
