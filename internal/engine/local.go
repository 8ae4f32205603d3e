package engine

import (
	"cmp"
	"slices"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// newTask makes a local task for a command that is about to be committed.
func (e *Engine) newTask(x *execution, act *activity, cmd *history.Event, now int64) *task {
	t := &task{act: act, x: x, node: x.node, engine: e, policy: cmd.Policy}
	t.attempt = Attempt{
		Key: x.key, Instance: x.id, Execution: x.generation, Command: cmd.Seq, Number: 1,
		Name: cmd.Name, Input: cmd.Payload, Header: x.header, ScheduledAt: cmp.Or(cmd.Time, now), Client: e.client, ctx: &t.ctx,
	}
	t.ctx.attempt, t.attempt.task = &t.attempt, t
	return t
}

// localDone delivers the result of a local task to its execution.
func (e *Engine) localDone(t *task, answer history.Event) {
	x := t.x
	x.mu.Lock()
	if x.local[t.attempt.Command] != t {
		x.mu.Unlock()
		e.metrics.dropped.Add(1)
		return
	}
	delete(x.local, t.attempt.Command)
	x.inbox = append(x.inbox, delivery{event: answer, execution: t.attempt.Execution})
	x.unrecorded++
	run := e.poke(x)
	if e.draining.Load() {
		e.handOver(x)
	}
	x.mu.Unlock()
	if run {
		e.turns.inline(x)
	}
}

// requeue makes a row of a local task that has to be tried again: the next
// commit of its execution carries it.
func (e *Engine) requeue(t *task, row provider.NewTask) {
	x := t.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.local[t.attempt.Command] != t {
		return
	}
	delete(x.local, t.attempt.Command)
	x.extra = append(x.extra, row)
	if e.draining.Load() {
		e.handOver(x)
	} else if e.poke(x) {
		e.turns.push(x)
	}
}

// evacuate empties x of what exists in memory only: results become mail of
// the instance to itself, tasks become rows that anyone may take. It is how
// an instance is released while it has local work. The caller holds x.mu.
func (e *Engine) evacuate(x *execution, c *provider.Commit, unrecorded []delivery, now int64) {
	for _, d := range slices.Concat(unrecorded, x.inbox) {
		if d.mail != 0 {
			continue
		}
		c.Messages = append(c.Messages, provider.Message{
			To: provider.Target{Key: x.key}, Execution: d.execution, Command: d.event.Ref,
			Payload: history.AppendMessage(nil, &d.event), Blobs: d.event.Blobs,
		})
	}
	for _, t := range x.local {
		t.settled.Store(true) // a result that comes now is too late
		row := t.row()
		row.Attempt-- // given back: the attempt ended through no fault of the task
		row.VisibleAt = now
		c.Tasks = append(c.Tasks, row)
	}
}
