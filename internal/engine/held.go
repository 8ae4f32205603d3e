package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// takeTasks claims tasks from the queue when workers are free.
func (e *Engine) takeTasks(ctx context.Context) {
	rest := e.o.MinPoll
	for ctx.Err() == nil {
		wait := rest
		reply, limit, err := e.claimTasks(ctx)
		switch {
		case err != nil:
			wait = min(e.o.MaxPoll, time.Second)
		case len(reply.Tasks) > 0:
			rest = e.o.MinPoll
			wait = rest
			if len(reply.Tasks) == limit {
				wait = 0
			}
		default:
			rest = min(2*rest, e.o.MaxPoll)
		}
		if err == nil && reply.NextDue != provider.Never {
			wait = min(wait, max(0, time.Duration(reply.NextDue-e.clock.now())))
		}
		if limit == 0 {
			wait = max(min(wait, fullPoll), e.o.MinPoll)
		}
		if !e.await(ctx, e.wakeTask, wait) {
			return
		}
	}
}

func (e *Engine) claimTasks(ctx context.Context) (provider.TaskClaimReply, int, error) {
	reply := provider.TaskClaimReply{NextDue: provider.Never}
	// However many local tasks wait, a share of the workers is for the queue:
	// retries and what other nodes lost come from there.
	e.mu.Lock()
	e.trials.mu.Lock()
	share := e.o.MaxActivities/8 + 1 - max(0, len(e.held)-len(e.trials.tasks))
	e.trials.mu.Unlock()
	e.mu.Unlock()
	limit := max(e.o.MaxActivities-int(e.workers.present.Load()), share)
	if !e.member() || limit <= 0 {
		return reply, 0, nil
	}
	limit = min(limit, e.o.MaxPrefetch)
	next := time.Duration(-1) // when there may be room again
	filters := make([]provider.TaskFilter, 0, len(e.filters))
	for _, f := range e.filters {
		act := e.activities[f.Name]
		if act.MaxConcurrent > 0 {
			free := act.MaxConcurrent - int(act.running.Load())
			if free <= 0 {
				if next < 0 || fullPoll < next {
					next = fullPoll
				}
				continue
			}
			limit = min(limit, free)
		}
		if act.rate != nil {
			tokens := act.rate.Tokens()
			if tokens < 1 {
				pause := time.Duration((1 - tokens) / act.Rate * float64(time.Second))
				if next < 0 || pause < next {
					next = pause
				}
				continue
			}
			limit = min(limit, int(tokens))
		}
		filters = append(filters, f)
	}
	// Also without a filter: somebody has to see what has expired.
	node := e.nodeKey()
	reply, err := e.store.ClaimTasks(ctx, provider.TaskClaim{
		Node: node, Filters: filters, Limit: limit, MaxSessions: max(0, e.o.MaxSessions), SessionIdle: int64(e.o.SessionIdle),
	})
	if err != nil {
		if errors.Is(err, provider.ErrNodeGone) {
			e.lostMembership(node)
		} else if ctx.Err() == nil {
			e.o.Logger.Warn("claim of tasks failed", "error", err)
		}
		return reply, limit, err
	}
	e.clock.set(reply.Now)
	if next >= 0 {
		reply.NextDue = min(reply.NextDue, after(e.clock.now(), next))
	}
	var suspects []*task
	for i := range reply.Tasks {
		if t := e.hold(&reply.Tasks[i], node); t != nil {
			suspects = append(suspects, t)
		}
	}
	if len(suspects) > 0 {
		e.pool.run(func() { e.arraign(suspects) })
	}
	return reply, limit, nil
}

// hold begins an attempt of a task that this node has taken from the queue. A
// suspect, which may not begin yet, is returned.
func (e *Engine) hold(row *provider.Task, node provider.NodeKey) (suspect *task) {
	held := &holding{Task: row}
	held.past, held.last = pastOf(row)
	t := &task{held: held, node: node, engine: e}
	answer := func(f *history.Failure) {
		event := history.Event{Kind: history.ActivityFailed, Ref: row.Command, Attempt: row.Attempt, Failure: f}
		e.finishHeld(t, provider.TaskFinish{TaskRef: row.Ref(), Message: history.AppendMessage(nil, &event)})
	}
	command, err := history.DecodeMessage(row.Payload)
	if err != nil {
		e.o.Logger.Error("task cannot be decoded", "instance", row.InstanceID, "activity", row.Name, "error", err)
		answer(&history.Failure{Code: CodeUndecodable, Message: err.Error(), Final: true})
		return nil
	}
	t.policy = command.Policy
	if row.Expired {
		e.expired(t, row, &command)
		return nil
	}
	if n := row.Attempt - held.past.Idle; lost(command.Policy, n) {
		answer(workerLost(row.Name, n-1, command.Policy))
		return nil
	}
	if e.clock.now() >= closeBy(command.Policy, row.ScheduledAt) {
		answer(timeout(row.Name, "schedule-to-close", time.Duration(command.Policy.ScheduleToClose)))
		return nil
	}
	if event, ok := e.condemned(t, row); ok {
		e.finishHeld(t, provider.TaskFinish{TaskRef: row.Ref(), Message: history.AppendMessage(nil, &event)})
		return nil
	}
	t.act = e.activities[row.Name]
	t.attempt = Attempt{
		Key: row.Instance, Instance: row.InstanceID, Execution: row.Execution, Command: row.Command, Number: row.Attempt,
		Name: row.Name, Input: command.Payload, Header: command.Header, ScheduledAt: row.ScheduledAt, Client: e.client, ctx: &t.ctx,
	}
	t.attempt.Details = row.Details
	t.ctx.attempt, t.attempt.task = &t.attempt, t
	if t.act.rate != nil {
		t.act.rate.Allow() // counted; the claim has seen to it that there is room
	}
	e.mu.Lock()
	e.held[row.Ref()] = t
	e.mu.Unlock()
	poke(e.wakeRenewals)
	t.act.running.Add(1)
	if e.contract.Store.Capabilities.Notes && held.past.suspicious() {
		return t
	}
	e.workers.present.Add(1)
	e.workers.start(t)
	return nil
}

func workerLost(name string, attempts int64, p *history.Policy) *history.Failure {
	return &history.Failure{Code: CodeWorkerLost, Final: true,
		Message: fmt.Sprintf("activity %s: %d of %d attempts were lost with their worker or failed", name, attempts, p.MaxAttempts)}
}

// expired answers a task that nobody took, or finished, in time.
func (e *Engine) expired(t *task, row *provider.Task, cmd *history.Event) {
	f := noWorker(row.Name, &history.Policy{ScheduleToStart: row.StartWithin})
	switch {
	case row.CloseBy > 0 && e.clock.now() >= row.CloseBy:
		f = timeout(row.Name, "schedule-to-close", time.Duration(row.CloseBy-row.ScheduledAt))
	case row.Parked && lostOnProbation(row, e.clock.now()):
		if !lost(cmd.Policy, row.Attempt+1) {
			e.metrics.recovered.Add(1)
			e.finishHeld(t, provider.TaskFinish{TaskRef: row.Ref(), VisibleAt: e.clock.now()})
			return
		}
		f = workerLost(row.Name, row.Attempt, cmd.Policy)
	case row.Parked && cmd.Policy.Heartbeat > 0 && e.clock.now() < waitEnd(row):
		f = timeout(row.Name, "heartbeat", time.Duration(cmd.Policy.Heartbeat))
	case row.Parked:
		f = timeout(row.Name, "start-to-close", time.Duration(cmd.Policy.StartToClose))
	}
	fate := verdict(row.Ref(), cmd.Policy, row.ScheduledAt, e.clock.now(), f)
	if fate.Message != nil {
		e.metrics.activitiesFailed.Add(1)
	}
	e.finishHeld(t, fate)
}

// finishHeld ends this node's hold of a task.
func (e *Engine) finishHeld(t *task, f provider.TaskFinish) {
	if t.node != e.nodeKey() {
		e.metrics.dropped.Add(1)
		e.unfinished([]provider.TaskFinish{f})
		return
	}
	e.finishes.add(e.client.packFinish(f))
}

// unfinished tells the attempts that wait to be parked that they will not be.
func (e *Engine) unfinished(group []provider.TaskFinish) {
	for i := range group {
		if group[i].Park {
			e.heldParked(group[i].TaskRef, ErrTaskLost)
		}
	}
}

// finishGroup writes the ends of held tasks, for as long as it takes.
func (e *Engine) finishGroup(group []provider.TaskFinish) {
	node := e.nodeKey()
	if node == 0 { // buried since: the store would take us for those outside
		e.unfinished(group)
		return
	}
	unknown := false // whether an earlier call may have been applied
	for delay := time.Millisecond; ; delay = min(2*delay, maxPause) {
		errs, err := e.store.FinishTasks(e.ctx, node, group)
		switch {
		case err == nil:
			e.finished(group, errs, unknown)
			return
		case errors.Is(err, provider.ErrNodeGone):
			e.lostMembership(node)
			e.unfinished(group)
			return
		case e.ctx.Err() != nil:
			e.unfinished(group)
			return
		case retryable(err) || len(group) == 1:
			unknown = unknown || errors.Is(err, provider.ErrUnknownOutcome)
			e.o.Logger.Warn("end of a task will be repeated", "error", err, "tasks", len(group))
			e.pause(delay)
			if !retryable(err) && delay > 100*time.Millisecond {
				e.o.Logger.Error("a task's result cannot be stored", "error", err)
				e.unfinished(group)
				return // heartbeats still hold it; the next node's attempt decides
			}
		default:
			for i := range group {
				e.finishGroup(group[i : i+1])
			}
			return
		}
	}
}

// finished is told the fates of ends. After an unknown outcome a task that is
// held no more is taken for one that was parked: were it not, its token would be
// good for nothing, while one that is parked waits for its token.
func (e *Engine) finished(group []provider.TaskFinish, errs []error, unknown bool) {
	again := false
	for i := range group {
		switch {
		case errors.Is(errs[i], provider.ErrTooLarge):
		case group[i].Park && errs[i] == nil:
			e.mu.Lock()
			delete(e.held, group[i].TaskRef)
			e.mu.Unlock()
		default:
			e.unhold(group[i].TaskRef)
		}
	}
	for i := range group {
		if errors.Is(errs[i], provider.ErrTooLarge) && !group[i].Park {
			e.endTooLarge(&group[i])
			continue
		}
		if group[i].Park {
			if unknown && errors.Is(errs[i], provider.ErrStale) {
				errs[i] = nil
			}
			e.heldParked(group[i].TaskRef, errs[i])
		}
		switch {
		case errors.Is(errs[i], provider.ErrStale):
			e.metrics.dropped.Add(1)
		case errs[i] != nil:
			e.o.Logger.Error("end of a task refused", "instance", int64(group[i].Instance), "error", errs[i])
		case group[i].Message != nil:
			e.mailCame(group[i].Instance, true)
			again = true
		default:
			poke(e.wakeTask)
		}
	}
	if again {
		poke(e.wake)
	}
}

// endTooLarge has a task fail whose end the store does not take. Left alone it
// would be tried again, and end the same way, for ever. It does not get here as
// long as results are measured where they are made.
func (e *Engine) endTooLarge(f *provider.TaskFinish) {
	size := len(f.Message) + len(f.Failure) + len(f.Details)
	e.o.Logger.Error("the end of a task is too large for the store", "instance", int64(f.Instance), "bytes", size)
	if f.Failure == nil && f.Details == nil && size <= maxEnd {
		e.unhold(f.TaskRef) // not even that
		return
	}
	answer := history.Event{Kind: history.ActivityFailed, Ref: f.Command, Attempt: number(f.Attempt), Failure: &history.Failure{
		Code: CodeTooLarge, Final: true, Message: fmt.Sprintf("its end takes %d bytes, more than the store does", size),
	}}
	e.finishes.add(provider.TaskFinish{TaskRef: f.TaskRef, Message: history.AppendMessage(nil, &answer)})
}

// maxEnd is what the end of a task takes that failed for being too large.
const maxEnd = 200
