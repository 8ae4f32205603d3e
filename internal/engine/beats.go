package engine

import (
	"bytes"
	"time"
)

// beats is what an attempt has said of its progress. taskContext.mu guards it,
// and task.beats.
type beats struct {
	timer *time.Timer   // fires when the next sign of life is overdue
	every time.Duration // zero: nobody waits for one
	// parked: its function runs on after its parking.
	parked bool
	said   []byte // nil: nothing
	fresh  bool   // said is not in the store yet
}

// expectBeats fails the attempt when it is silent for longer than every. The
// worker watches its own attempts: should it die, the node's lease tells.
func (w *workers) expectBeats(t *task, every time.Duration) {
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	t.beats = &beats{every: every}
	t.beats.timer = time.AfterFunc(every, func() {
		w.expire(t, timeout(t.attempt.Name, "heartbeat", every))
	})
}

// Beat is a sign of life. What it says, unless it is nil, is handed to the
// next attempt if there is one: a node stores it with its own heartbeat.
func (a *Attempt) Beat(said []byte) {
	t := a.task
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	if said != nil {
		if t.beats == nil {
			t.beats = new(beats)
		}
		t.beats.said, t.beats.fresh = bytes.Clone(said), true
	}
	if t.beats != nil && t.beats.timer != nil && t.ctx.err == nil && (!t.settled.Load() || t.beats.parked) {
		t.beats.timer.Reset(t.beats.every)
	}
}

// holdBeats expects no sign of life while the attempt is being parked, which
// takes as long as it takes.
func (t *task) holdBeats() {
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	if t.beats != nil && t.beats.timer != nil {
		t.beats.timer.Stop()
	}
}

// awaitBeats expects them again, of a parked attempt whose function runs on.
func (t *task) awaitBeats() {
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	if t.beats != nil && t.beats.timer != nil {
		t.beats.parked = true
		t.beats.timer.Reset(t.beats.every)
	}
}

// details returns what the attempt said last, or what it was handed.
func (t *task) details() []byte {
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	if t.beats == nil || t.beats.said == nil {
		return t.attempt.Details
	}
	return t.beats.said
}

// news returns what the attempt has said since the last time it was asked.
func (t *task) news() []byte {
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	if t.beats == nil || !t.beats.fresh {
		return nil
	}
	t.beats.fresh = false
	return t.beats.said
}

// again has news return once more what could not be stored.
func (t *task) again() {
	t.ctx.mu.Lock()
	defer t.ctx.mu.Unlock()
	if t.beats != nil {
		t.beats.fresh = true
	}
}
