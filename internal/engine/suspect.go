package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// A task may end the process of its worker, and whatever else that had in hand
// is lost with it. Nobody can say which it was, so a task that was lost twice in
// a row is a suspect: it runs while no other suspect of the node does, be it a
// task or an instance (trial.go), and its row says so before it begins. Only
// attempts that were lost then count, and after MaxTaskCrashes of them it is not
// tried again. Those that wait for their turn are noted too: an attempt that
// never began is not held against a task.

// What a row says an attempt was doing when nothing more was heard of it.
const (
	waited = "waited" // for its turn to run apart
	apart  = "apart"  // running, with no other suspect beside it
	beside = "beside" // running for so long that others were let run as well
)

// past is what is known of the attempts of a task before the one that holds it.
// It goes along with the last failure of the task's row.
type past struct {
	// Attempt is the last attempt that is accounted for; State, unless empty,
	// what it was doing.
	Attempt int64  `json:"attempt,omitempty"`
	State   string `json:"state,omitempty"`
	// Lost are the attempts in a row that were lost with their worker, Crashes
	// those among them that ran apart. Idle are all that never ran.
	Lost    int64 `json:"lost,omitempty"`
	Crashes int64 `json:"crashes,omitempty"`
	Idle    int64 `json:"idle,omitempty"`
}

// pastOf is the past of a task that has just been claimed, and its last failure.
func pastOf(row *provider.Task) (p past, last *history.Failure) {
	if e, err := history.DecodeMessage(row.Failure); err == nil {
		last = e.Failure
		if e.Text == "" || json.Unmarshal([]byte(e.Text), &p) != nil {
			p = past{Attempt: e.Attempt}
		}
	}
	before := row.Attempt - 1
	if p.Attempt <= before { // else it was given back
		p.Lost += before - p.Attempt
		switch p.State {
		case waited:
			p.Idle++
		case apart:
			p.Lost++
			p.Crashes++
		case beside:
			p.Lost++
		}
	}
	p.Attempt, p.State = before, ""
	return p, last
}

func (p *past) suspicious() bool { return p.Lost >= 2 || p.Crashes > 0 }

// note is the failure of a task's row with its past.
func (p past) note(command int64, last *history.Failure) []byte {
	if last == nil {
		last = &history.Failure{Code: CodeWorkerLost, Message: "its worker was lost"}
	}
	return history.AppendMessage(nil, &history.Event{Kind: history.ActivityFailed, Ref: command, Failure: last, Text: p.text()})
}

func (p past) text() string {
	b, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return string(b)
}

// in is the past of t as its row has it while this attempt is in a state; empty:
// nothing is known of it.
func (t *task) in(state string) past {
	var p past
	if t.held != nil {
		p = t.held.past
	}
	if state != "" {
		p.Attempt, p.State = t.attempt.Number, state
	}
	return p
}

func (t *task) noteOf(state string) []byte { return t.in(state).note(t.attempt.Command, t.held.last) }

// spent is the number of t's attempt without those that never ran.
func (t *task) spent() int64 {
	if t.held == nil {
		return t.attempt.Number
	}
	return t.attempt.Number - t.held.past.Idle
}

// arraign puts suspects that have just been claimed in line, which is bounded.
func (e *Engine) arraign(suspects []*task) {
	e.trials.mu.Lock()
	room := max(0, e.o.MaxPrefetch-len(e.trials.tasks))
	e.trials.mu.Unlock()
	for _, t := range suspects[min(room, len(suspects)):] {
		e.putBack(t)
		t.act.running.Add(-1)
	}
	if suspects = suspects[:min(room, len(suspects))]; len(suspects) == 0 {
		return
	}
	still := e.noteAll(suspects, waited)
	e.trials.mu.Lock()
	for i, t := range suspects {
		if still[i] {
			e.trials.tasks = append(e.trials.tasks, t)
		} else {
			t.act.running.Add(-1)
		}
	}
	e.trials.mu.Unlock()
	e.nextTrial()
}

// putBack returns a suspect that cannot be tried here to the queue for a while.
func (e *Engine) putBack(t *task) {
	if !t.settled.Swap(true) {
		e.finishHeld(t, provider.TaskFinish{TaskRef: t.held.Ref(), VisibleAt: after(e.clock.now(), e.o.Lease), GiveBack: true})
	}
}

// noteAll writes the state of tasks, and reports of each whether it is still
// held.
func (e *Engine) noteAll(tasks []*task, state string) (still []bool) {
	batch := make([]provider.TaskBeat, len(tasks))
	for i, t := range tasks {
		batch[i] = provider.TaskBeat{TaskRef: t.held.Ref(), Failure: t.noteOf(state)}
	}
	err := e.insist(e.ctx, func() (err error) {
		still, err = e.store.ExtendTasks(e.ctx, tasks[0].node, batch)
		return err
	})
	if err != nil {
		if e.ctx.Err() == nil {
			e.o.Logger.Error("suspicious tasks could not be noted; they go back to the queue", "error", err, "tasks", len(tasks))
			for _, t := range tasks {
				e.putBack(t)
			}
		}
		return make([]bool, len(tasks))
	}
	for i, t := range tasks {
		still[i] = still[i] && !t.settled.Load()
	}
	return still
}

// leastSuspected takes the task out of the line that is to run next. The caller
// holds e.trials.mu.
func (tr *trials) leastSuspected() *task {
	at := 0
	for i, t := range tr.tasks {
		if t.held.past.Crashes < tr.tasks[at].held.past.Crashes {
			at = i
		}
	}
	t := tr.tasks[at]
	tr.tasks = append(tr.tasks[:at], tr.tasks[at+1:]...)
	return t
}

// tryTask begins the trial of t, for which the place is free. It reports false
// if t is not held any more.
func (e *Engine) tryTask(t *task) bool {
	t.held.over = make(chan struct{})
	t.held.trial.Store(true)
	if t.settled.Load() || e.draining.Load() || !e.noteAll([]*task{t}, apart)[0] {
		t.held.trial.Store(false)
		t.act.running.Add(-1)
		return false
	}
	e.o.Logger.Warn("activity runs apart: its worker was lost again and again", "instance", t.attempt.Instance,
		"activity", t.attempt.Name, "attempt", t.attempt.Number, "lost", t.held.past.Lost, "crashes", t.held.past.Crashes)
	e.workers.present.Add(1)
	e.workers.start(t)
	e.pool.run(func() { e.endTrial(t) })
	return true
}

// endTrial lets others run beside a trial that takes long. The more often the
// task has been lost the longer they have to wait: what ends its process after
// an hour is found, too.
func (e *Engine) endTrial(t *task) {
	window := e.o.Lease << min(max(t.held.past.Lost-2, 0), 20)
	e.await(e.ctx, t.held.over, window+time.Duration(e.o.random(int64(time.Millisecond))))
	if t.held.trial.Load() && e.ctx.Err() == nil {
		e.noteAll([]*task{t}, beside)
	}
	e.taskTrialOver(t)
}

// halfOver is called when the function of a task has returned, and when this
// node does not hold its row any more: then its trial is over.
func (e *Engine) halfOver(t *task) {
	if t.held != nil && t.held.trial.Load() && t.held.halves.Add(1) == 2 {
		e.taskTrialOver(t)
	}
}

func (e *Engine) taskTrialOver(t *task) {
	if !t.held.trial.Swap(false) {
		return
	}
	close(t.held.over)
	e.trials.mu.Lock()
	e.trials.busy = false
	e.trials.mu.Unlock()
	e.pool.run(e.nextTrial)
}

// unhold forgets a held task.
func (e *Engine) unhold(ref provider.TaskRef) *task {
	e.mu.Lock()
	t := e.held[ref]
	delete(e.held, ref)
	e.mu.Unlock()
	if t != nil {
		e.halfOver(t)
	}
	return t
}

// condemned reports whether t has ended too many processes, and answers it then.
// The answer has the name of the activity, by which the owner of the instance
// knows that this is for its policy to decide.
func (e *Engine) condemned(t *task, row *provider.Task) (history.Event, bool) {
	limit := int64(e.o.MaxTaskCrashes)
	if limit <= 0 || t.held.past.Crashes < limit {
		return history.Event{}, false
	}
	e.metrics.tasksQuarantined.Add(1)
	f := &history.Failure{Code: CodeWorkerLost, Final: true, Message: fmt.Sprintf(
		"activity %s ended its process %d times in a row, running apart from others that had been lost", row.Name, t.held.past.Crashes)}
	e.o.Logger.Error("activity is not tried again: it ends the process of its worker", "instance", row.InstanceID,
		"activity", row.Name, "attempts", row.Attempt-1, "crashes", t.held.past.Crashes)
	return history.Event{
		Kind: history.ActivityFailed, Ref: row.Command, Attempt: row.Attempt - 1, Failure: f, Name: row.Name, Seq: t.held.past.Crashes,
	}, true
}

// killerError is an activity that has ended too many processes.
type killerError struct {
	activity string
	crashes  int64
	mail     int64 // what has been read until then
	text     string
}

func (e *killerError) Error() string { return e.text }

// judge decides about an answer that may be that of a condemned task: unless the
// policy leaves it to the code, the instance is quarantined and the answer stays
// in its mailbox. Once the instance has been let go, the task is tried again. It
// reports whether the answer is for the code.
func (e *Engine) judge(x *execution, d *delivery) (deliver bool, err error) {
	ev := &d.event
	if ev.Kind != history.ActivityFailed || ev.Name == "" || e.policyOf(x.name, x.version).FailActivity {
		return true, nil
	}
	if x.fault == nil || d.mail > x.fault.Pardoned {
		k := &killerError{activity: ev.Name, crashes: ev.Seq, text: ev.Failure.Message}
		for i := range x.turn.taken {
			k.mail = max(k.mail, x.turn.taken[i].mail)
		}
		return false, k
	}
	for i := range x.turn.taken {
		if later := &x.turn.taken[i]; later.mail > d.mail && later.event.Ref == ev.Ref {
			return false, nil // it has been tried again already
		}
	}
	now := e.clock.now()
	x.machine.OpenActivities(func(cmd *history.Event) bool {
		if cmd.Seq != ev.Ref {
			return true
		}
		row := newRow(cmd, cmp.Or(cmd.Time, now), x.taskPayload(cmd))
		row.VisibleAt = now
		row.Failure = past{Lost: 2, Crashes: max(0, min(x.fault.Count, ev.Seq)-1)}.note(cmd.Seq, ev.Failure)
		x.turn.extra = append(x.turn.extra, row)
		return false
	})
	return false, nil
}

// onTrial is the state of an attempt that is being parked.
func (t *task) onTrial() string {
	if t.held != nil && t.held.trial.Load() {
		return apart
	}
	return ""
}
