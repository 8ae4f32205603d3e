package engine

import (
	"fmt"
	"math/rand/v2"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// reset makes x.turn.commit an empty commit of what x already is.
func (e *Engine) reset(x *execution, read int64) *provider.Commit {
	s := x.turn
	c := &s.commit
	*c = provider.Commit{
		Key: x.key, CommitID: rand.Int64N(1<<62) + 1, Expect: x.nextTurn, ReadSeq: read,
		Status: x.status, Execution: x.generation, Name: x.name, Version: x.version, HistoryFrom: x.historyFrom,
		Tasks: c.Tasks[:0], Children: c.Children[:0], Messages: c.Messages[:0], CancelTasks: c.CancelTasks[:0],
		Values: c.Values[:0], Replies: append(c.Replies[:0], s.refusals...),
	}
	s.refusals = s.refusals[:0]
	s.started, s.stopped = s.started[:0], s.stopped[:0]
	s.final, s.carried, s.failing, s.notify, s.noted, s.packed = nil, nil, false, false, nil, false
	c.Tasks = append(c.Tasks, s.extra...)
	if len(c.Replies) > 0 {
		c.DropReplies = e.clock.now() - int64(replyWindow)
	}
	return c
}

// prepareBare prepares a commit without a turn: mail that changed nothing is
// consumed, tasks that were in memory only are queued.
func (e *Engine) prepareBare(x *execution, read int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := e.reset(x, read)
	c.OpenLocal = len(x.local) + len(x.extra) + x.unrecorded
	c.DueAt = e.dueAt(x, c.OpenLocal)
}

// dueAt says when x needs an owner without mail.
func (e *Engine) dueAt(x *execution, local int) int64 {
	switch {
	case local > 0 || x.nextTurn == 1:
		return 0
	case len(x.first) > 0: // since it continued as new, or about then
		return e.clock.now()
	case x.machine == nil:
		return x.nextTimer
	}
	return x.machine.Pending().NextTimer
}

// prepareTurn turns the commands of a turn into its commit. Nothing happens
// yet: tasks that begin here are only reserved.
func (e *Engine) prepareTurn(x *execution, now, read int64, commands []history.Event) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.turn
	c := e.reset(x, read)
	s.buf = history.AppendTurn(s.buf[:0], s.events, commands)
	if limit := provider.MaxTurnEvents * e.contract.Store.MaxEventSize; limit > 0 && len(s.buf) > limit {
		return &limitError{fmt.Sprintf("turn %d takes %d bytes, the store's limit is %d", x.nextTurn, len(s.buf), limit)}
	}
	last := len(commands) - 1
	if n := x.events + int64(len(s.events)+len(commands)); n > e.o.MaxHistory && (last < 0 || !commands[last].Kind.Terminal()) {
		return &limitError{fmt.Sprintf("the history of execution %d would have %d events, the limit is %d; continue as new before", x.generation, n, e.o.MaxHistory)}
	}
	e.measure(x, commands)
	s.record = provider.Turn{
		Number: x.nextTurn, Execution: x.generation, CommitID: c.CommitID, Time: now,
		Deliveries: len(s.events), Commands: len(commands), Events: s.buf,
	}
	c.Turn = &s.record
	c.Blobs = e.refer(x, commands)
	c.Status = provider.Running
	for i := range commands {
		e.command(x, now, commands, i)
	}
	if len(c.Replies) > 0 {
		c.DropReplies = now - int64(replyWindow)
	}
	local := len(x.local) + len(x.extra) - len(s.stopped) + len(s.started) + x.unrecorded
	if s.final != nil {
		e.prepareEnd(x, now)
		local = 0
	}
	c.OpenLocal = local
	switch {
	case s.carried != nil:
		c.DueAt = now // since when it waits, should nobody have its version
	case s.final != nil:
		c.DueAt = provider.Never
	case local > 0:
		c.DueAt = 0
	default:
		p := x.machine.Pending()
		c.DueAt = p.NextTimer
		// A sleep that is long gives up the instance by the same write.
		c.Release = p.Activities == 0 && p.Children == 0 &&
			p.NextTimer != provider.Never && p.NextTimer > after(now, e.o.IdleRelease)
	}
	return nil
}

// command adds the effects of one command to the commit.
func (e *Engine) command(x *execution, now int64, all []history.Event, i int) {
	s, c, cmd := x.turn, &x.turn.commit, &all[i]
	switch cmd.Kind {
	case history.ActivityScheduled:
		if !withdrawn(all[i+1:], cmd.Seq, history.ActivityCanceled) {
			e.schedule(x, now, cmd)
		}
	case history.ActivityCanceled:
		if cmd.Ref >= all[0].Seq { // scheduled in this turn, never started
			return
		}
		if _, ok := x.local[cmd.Ref]; ok {
			s.stopped = append(s.stopped, cmd.Ref)
			return
		}
		c.CancelTasks = append(c.CancelTasks, cmd.Ref)
		x.withdrawExtra(cmd.Ref)
	case history.ChildStarted:
		if !withdrawn(all[i+1:], cmd.Seq, history.ChildCanceled) {
			e.child(x, cmd)
		}
	case history.ChildCanceled:
		if cmd.Ref < all[0].Seq {
			c.Messages = append(c.Messages, cancelOf(x, cmd.Target, "canceled by its parent"))
		}
	case history.SignalSent:
		signal := history.Event{Kind: history.SignalReceived, Name: cmd.Name, Payload: cmd.Payload, Blobs: cmd.Blobs}
		refused := history.Event{Kind: history.SignalRefused, Ref: cmd.Seq, Failure: &history.Failure{Message: cmd.Target}}
		c.Messages = append(c.Messages, provider.Message{
			To: provider.Target{ID: cmd.Target}, Payload: history.AppendMessage(nil, &signal), Blobs: cmd.Blobs,
			FromCommand: cmd.Seq, Refusal: history.AppendMessage(nil, &refused),
		})
	case history.StatusSet:
		c.CustomStatus = nonNil(cmd.Payload)
	case history.ValueSet:
		c.Values = setValue(c.Values, provider.Value{Name: cmd.Name, Payload: nonNil(history.EncodeRaw(cmd.Payload, cmd.Blobs))})
	case history.ValueCleared:
		c.Values = setValue(c.Values, provider.Value{Name: cmd.Name})
	case history.UpdateAnswered:
		c.Replies = append(c.Replies, provider.Reply{ID: cmd.Text, Payload: history.AppendMessage(nil, cmd)})
	default:
		if cmd.Kind.Terminal() {
			s.final = cmd // there is no turn after it that could change it
		}
	}
}

// withdrawn reports whether one of the commands takes back command seq.
// Withdrawals in the turn that schedules are rare, so most turns pay for a
// look at a few bytes.
func withdrawn(later []history.Event, seq int64, kind history.Kind) bool {
	for i := range later {
		if later[i].Kind == kind && later[i].Ref == seq {
			return true
		}
	}
	return false
}

// schedule takes an activity to a local worker if one is free and can run it,
// else to the queue.
func (e *Engine) schedule(x *execution, now int64, cmd *history.Event) {
	act := e.activities[cmd.Name]
	if act != nil && act.Pool == cmd.Pool && !queuedOnly(cmd) && e.workers.reserve(act, e.localLimit()) {
		e.metrics.activitiesLocal.Add(1)
		x.turn.started = append(x.turn.started, e.newTask(x, act, cmd, now))
		return
	}
	if act == nil || act.Pool != cmd.Pool {
		e.lacks(x, provider.TaskFilter{Name: cmd.Name, Pool: cmd.Pool})
	}
	e.metrics.activitiesRow.Add(1)
	row := newRow(cmd, now, x.taskPayload(cmd))
	row.VisibleAt = now
	x.turn.commit.Tasks = append(x.turn.commit.Tasks, row)
}

// maxLacking bounds the kinds of tasks that a node speaks of: names and pools may
// be made from data.
const maxLacking = 1000

// lacks says, once, that x schedules tasks of a kind that this node never claims.
// That is as it should be where others have it, and a mistake where nobody does;
// only whoever runs the nodes can tell.
func (e *Engine) lacks(x *execution, kind provider.TaskFilter) {
	e.mu.Lock()
	again := e.lacking[kind] || len(e.lacking) >= maxLacking
	if !again {
		if e.lacking == nil {
			e.lacking = map[provider.TaskFilter]bool{}
		}
		e.lacking[kind] = true
	}
	e.mu.Unlock()
	if !again {
		e.o.Logger.Info("an activity is not registered with this node in this pool; its tasks wait for a node that has it",
			"node", int64(e.nodeKey()), "activity", kind.Name, "pool", kind.Pool, "instance", x.id)
	}
}

// queuedOnly reports whether a task must be a row from the beginning: a
// session's, because the store knows where the session is, and one that beats,
// because what it says must survive the node.
func queuedOnly(cmd *history.Event) bool {
	return cmd.Session != "" || cmd.Policy != nil && cmd.Policy.Heartbeat > 0
}

// taskPayload is the command of a task as its row keeps it: with the header of
// the execution, which its history has only once.
func (x *execution) taskPayload(cmd *history.Event) []byte {
	row := *cmd
	row.Header = x.header
	return history.AppendMessage(nil, &row)
}

// localLimit is how many tasks may wait and run in this node's memory. What is
// beyond goes where other nodes find it; a node that is alone keeps more,
// because nobody would.
func (e *Engine) localLimit() int {
	if e.alone.Load() {
		return 16 * e.o.MaxActivities
	}
	return e.o.MaxActivities
}

func (e *Engine) child(x *execution, cmd *history.Event) {
	c := &x.turn.commit
	started := history.Event{Kind: history.Started, Name: cmd.Name, Version: cmd.Version, Payload: cmd.Payload, Header: x.header, Blobs: cmd.Blobs}
	n := provider.NewInstance{
		Key: provider.NewKey(), ID: cmd.Target, Name: cmd.Name, Version: cmd.Version, Command: cmd.Seq,
		NotBefore: cmd.Time, Blobs: cmd.Blobs,
	}
	if !cmd.Detached {
		n.Parent = provider.ParentLink{Key: x.key, ID: x.id, Execution: x.generation, Command: cmd.Seq}
		started.Parent = &history.Parent{Key: int64(x.key), ID: x.id, Execution: x.generation, Seq: cmd.Seq}
	}
	n.Start = history.AppendMessage(nil, &started)
	refused := history.Event{Kind: history.ChildFailed, Ref: cmd.Seq, Failure: &history.Failure{Message: cmd.Target}}
	n.Refusal = history.AppendMessage(nil, &refused)
	n.Owned = n.NotBefore == 0 && e.takesOn(n.Name, n.Version)
	c.Children = append(c.Children, n)
}

// takesOn reports whether an instance may be born on this node.
func (e *Engine) takesOn(name, version string) bool {
	return e.member() && e.resolve(name, version) != nil && e.busy.Load() < int64(e.o.MaxHot)
}

// cancelOf is the request to a child of x to cancel.
func cancelOf(x *execution, id, reason string) provider.Message {
	cancel := history.Event{Kind: history.CancelRequested, Text: reason}
	return provider.Message{To: provider.Target{ID: id}, IfParent: x.key, Payload: history.AppendMessage(nil, &cancel), Hasten: true}
}

// prepareEnd adds what follows from the end of an execution: the next one, or
// the outcome and the notice to the parent; and in both cases the close policy
// of the children.
func (e *Engine) prepareEnd(x *execution, now int64) {
	s, c := x.turn, &x.turn.commit
	final := s.final
	c.Messages = append(c.Messages, e.closeChildren(x)...)
	x.machine.OpenUpdates(func(u *history.Event) bool {
		c.Replies = append(c.Replies, unanswered(u, &history.Failure{
			Code: CodeNotRunning, Message: "the execution ended before it answered", Final: true,
		}))
		return true
	})
	for _, t := range s.started { // never begun: their execution is over
		e.workers.unreserve(t.act)
	}
	s.started = s.started[:0]
	s.stopped = s.stopped[:0]
	c.Tasks = c.Tasks[:0]
	c.CancelTasks = c.CancelTasks[:0]

	if final.Kind == history.ContinuedAsNew {
		c.Execution = x.generation + 1
		c.HistoryFrom = x.nextTurn
		c.Version = final.Version
		s.carried = e.successor(x, final)
		return
	}
	c.Status = statusOf(final.Kind)
	e.prepareOutcome(x)
}

// closeChildren applies the close policy of the children that x is known to
// have.
func (e *Engine) closeChildren(x *execution) (messages []provider.Message) {
	if x.machine == nil {
		return nil
	}
	x.machine.OpenChildren(func(child *history.Event) bool {
		switch {
		case child.Detached || child.Close == history.CloseAbandon:
		case child.Close == history.CloseTerminate:
			end := Terminated("its parent " + x.id + " ended")
			messages = append(messages, provider.Message{
				To: provider.Target{ID: child.Target}, IfParent: x.key, Terminate: true, Payload: history.AppendMessage(nil, &end),
			})
		default:
			messages = append(messages, cancelOf(x, child.Target, "its parent ended"))
		}
		return true
	})
	return messages
}

// prepareOutcome adds the outcome, and the notice to the parent.
func (e *Engine) prepareOutcome(x *execution) {
	c, final := &x.turn.commit, x.turn.final
	c.Outcome = history.AppendMessage(nil, final)
	if x.parent.Key != 0 {
		notice := Notice(final, x.parent.Command)
		c.Messages = append(c.Messages, provider.Message{
			To: provider.Target{Key: x.parent.Key}, Execution: x.parent.Execution, Command: x.parent.Command,
			Payload: history.AppendMessage(nil, &notice), Blobs: notice.Blobs,
		})
	}
}

// successor is what begins the execution after one that continued as new:
// everything comes from that command, nothing from the store's row.
func (e *Engine) successor(x *execution, final *history.Event) []history.Event {
	started := history.Event{Kind: history.Started, Name: x.name, Version: final.Version, Payload: final.Payload, Header: final.Header, Blobs: final.Blobs}
	if final.Name != "" {
		started.Name = final.Name
	}
	if x.parent.Key != 0 {
		started.Parent = &history.Parent{Key: int64(x.parent.Key), ID: x.parent.ID, Execution: x.parent.Execution, Seq: x.parent.Command}
	}
	// Values come first, and the code must find them when it begins.
	rest := final.Carried
	for len(rest) > 0 && rest[0].Kind == history.ValueCarried {
		rest = rest[1:]
	}
	started.Carried = final.Carried[:len(final.Carried)-len(rest)]
	return append([]history.Event{started}, rest...)
}

// statusOf owns the transition from a terminal command to a status.
func statusOf(k history.Kind) provider.Status {
	switch k {
	case history.Completed:
		return provider.Completed
	case history.Canceled:
		return provider.Canceled
	default:
		return provider.Failed
	}
}

// Notice is what a parent is told of its child's end.
func Notice(final *history.Event, command int64) history.Event {
	switch final.Kind {
	case history.Completed:
		return history.Event{Kind: history.ChildCompleted, Ref: command, Payload: final.Payload, Blobs: final.Blobs}
	case history.Canceled:
		return history.Event{Kind: history.ChildFailed, Ref: command,
			Failure: &history.Failure{Code: CodeCanceled, Message: CanceledText(final.Text), Final: true}}
	default:
		return history.Event{Kind: history.ChildFailed, Ref: command, Failure: final.Failure}
	}
}

// Terminated is the terminal command of an instance that was stopped without
// running its code.
func Terminated(reason string) history.Event {
	return history.Event{Kind: history.Failed, Failure: &history.Failure{Code: CodeTerminated, Message: reason, Final: true}}
}
