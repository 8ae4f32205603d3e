package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// A parked task is finished from outside. It is a row before its token is
// handed out, so that whoever comes with the token finds it, whatever has
// become of the node (DESIGN 6, rule 11).

// Park makes the attempt one that is finished from outside, and returns the
// token to do it with. The result of its function no longer counts, only an
// error does.
//
// Once the row is under way nobody but the store knows whose the attempt is, so
// Park waits for its answer, whatever becomes of ctx: who left before would
// leave a row behind that nobody has the token of.
func (a *Attempt) Park(ctx context.Context) (token string, err error) {
	t := a.task
	t.parking.Lock()
	defer t.parking.Unlock()
	if t.parked {
		return a.token(), nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	t.engine.parks.Add(1)
	defer t.engine.parks.Add(-1)
	t.leaving.Store(true)
	if t.settled.Swap(true) {
		return "", ErrTaskLost
	}
	t.holdBeats()
	stored := make(chan error, 1)
	if t.held != nil {
		t.engine.parkHeld(t, stored)
	} else if !t.engine.parkLocal(t, stored) {
		return "", ErrTaskLost
	}
	if err := <-stored; err != nil {
		return "", err
	}
	t.parked = true
	t.engine.onProbation(t)
	t.awaitBeats()
	return a.token(), nil
}

// wasParked reports whether somebody outside finishes the attempt. It waits for
// a Park that is under way on another goroutine of the activity.
func (t *task) wasParked() bool {
	t.parking.Lock()
	defer t.parking.Unlock()
	return t.parked
}

func (e *Engine) parkHeld(t *task, stored chan error) {
	e.mu.Lock()
	if e.parking == nil {
		e.parking = map[provider.TaskRef]chan error{}
	}
	e.parking[t.held.Ref()] = stored
	e.mu.Unlock()
	e.finishHeld(t, provider.TaskFinish{TaskRef: t.held.Ref(), Park: true, VisibleAt: e.probationEnd(t), Details: t.details(),
		Failure: probationNote(t)})
}

// heldParked tells an attempt whether its row is parked.
func (e *Engine) heldParked(ref provider.TaskRef, err error) {
	if errors.Is(err, provider.ErrStale) {
		err = ErrTaskLost
	}
	e.mu.Lock()
	stored := e.parking[ref]
	delete(e.parking, ref)
	e.mu.Unlock()
	if stored != nil {
		stored <- err
	}
}

// parkLocal has the next commit of the instance make a row of the task.
func (e *Engine) parkLocal(t *task, stored chan error) bool {
	x, command := t.x, t.attempt.Command
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.local[command] != t {
		return false
	}
	delete(x.local, command)
	row := t.row()
	row.Parked, row.VisibleAt, row.Failure = true, e.probationEnd(t), probationNote(t)
	x.extra = append(x.extra, row)
	if x.parking == nil {
		x.parking = map[int64]chan error{}
	}
	x.parking[command] = stored
	if e.draining.Load() {
		e.handOver(x)
	} else if e.poke(x) {
		e.turns.push(x)
	}
	return true
}

// unpark tells the attempts whose rows a commit has written.
func (x *execution) unpark(c *provider.Commit) {
	if len(x.parking) == 0 {
		return
	}
	for i := range c.Tasks {
		if stored := x.parking[c.Tasks[i].Command]; stored != nil && c.Tasks[i].Parked {
			delete(x.parking, c.Tasks[i].Command)
			stored <- nil
		}
	}
}

// abandonExtra drops the tasks that the next commit would have queued, and
// tells the attempts among them that wait to be parked.
func (x *execution) abandonExtra(cause error) {
	x.extra = x.extra[:0]
	for command, stored := range x.parking {
		delete(x.parking, command)
		stored <- cause
	}
}

// withdrawExtra drops the task of a command that was canceled after it had left
// the local tasks and before a commit has queued it.
func (x *execution) withdrawExtra(command int64) {
	x.extra = slices.DeleteFunc(x.extra, func(row provider.NewTask) bool { return row.Command == command })
	if stored := x.parking[command]; stored != nil {
		delete(x.parking, command)
		stored <- ErrTaskCanceled
	}
}

// overdue fails an attempt whose function has not returned in time, or has been
// silent, after its parking.
func (e *Engine) overdue(t *task, f *history.Failure) {
	e.vouching <- struct{}{}
	still := e.offProbation(t)
	<-e.vouching
	t.ctx.cancel(context.DeadlineExceeded, &TimeoutError{f})
	if !still {
		return
	}
	fate := verdict(t.attempt.ref(), t.policy, t.attempt.ScheduledAt, e.clock.now(), f)
	fate.Details = e.fitting(t.news())
	if _, err := e.client.finishParked(e.ctx, t.attempt.ref(), fate); err != nil && !errors.Is(err, provider.ErrStale) {
		e.o.Logger.Warn("an activity that is overdue could not be failed; others will notice", "instance", t.attempt.Instance,
			"activity", t.attempt.Name, "error", err)
	}
}

// leftParked is told that the function of a parked attempt has returned. An
// error fails the attempt, unless somebody has finished it already; otherwise
// the token has been passed on, and the attempt waits for as long as it may.
//
// One that is not on probation any more has been withdrawn, or given back by a
// node that shuts down.
func (e *Engine) leftParked(t *task, f *history.Failure) {
	e.vouching <- struct{}{} // what is under way would put it back on probation
	still := e.offProbation(t)
	<-e.vouching
	if !still {
		return
	}
	ref := t.attempt.ref()
	fate := provider.TaskFinish{TaskRef: ref, Park: true, VisibleAt: t.until, Failure: t.unsuspected()}
	if p := t.policy; p != nil && p.Heartbeat > 0 {
		fate.VisibleAt = min(t.until, after(e.clock.now(), p.Heartbeat))
		if t.until != provider.Never {
			fate.Failure = waitNote(fate.Failure, t.attempt.Command, t.until)
		}
	}
	if f != nil {
		fate = verdict(ref, t.policy, t.attempt.ScheduledAt, e.clock.now(), f)
	}
	fate.Details = e.fitting(t.news())
	_, err := e.client.finishParked(e.ctx, ref, fate)
	if err != nil && !errors.Is(err, provider.ErrStale) { // else finished already
		e.o.Logger.Warn("an activity that left its completion to others will be tried again", "instance", t.attempt.Instance,
			"activity", t.attempt.Name, "error", err)
	}
}

// unsuspected is what the row of an attempt has for a failure, not nil, when it
// is on probation no more: why it was tried again.
func (t *task) unsuspected() []byte {
	switch {
	case t.held == nil:
		return []byte{}
	case t.held.past.suspicious():
		return t.noteOf("")
	}
	e, err := history.DecodeMessage(t.held.Failure)
	if err != nil || e.Time == 0 {
		return nonNil(t.held.Failure)
	}
	e.Time = 0 // of a probation before this one
	return history.AppendMessage(nil, &e)
}

// An attempt is on probation from its parking until its function has returned:
// nobody else may have the token yet, so a node that dies then must not leave a
// task behind that waits for ever. Its row expires soon unless its node says
// that it is alive, and whoever finds it takes the attempt for lost.

// probationEnd is until when an attempt on probation is left alone.
func (e *Engine) probationEnd(t *task) int64 {
	return min(t.until, after(after(e.clock.now(), e.o.Lease), e.o.Lease))
}

// probationNote is what the row of an attempt on probation has for a failure:
// that it was lost, with the time until which it may wait otherwise.
func probationNote(t *task) []byte {
	return history.AppendMessage(nil, &history.Event{
		Kind: history.ActivityFailed, Ref: t.attempt.Command, Time: t.until, Text: t.in(t.onTrial()).text(),
		Failure: &history.Failure{Code: CodeWorkerLost, Message: "its worker died before it had passed its token on"},
	})
}

// waitNote is what the row of a parked attempt has for a failure that has to be
// heard of and may not wait for ever: why it was tried again, and in Seq until
// when it may wait at most, which its expiry does not say.
func waitNote(failure []byte, command, until int64) []byte {
	e, err := history.DecodeMessage(failure)
	if err != nil {
		e = history.Event{Kind: history.ActivityFailed, Ref: command}
	}
	e.Seq = until
	return history.AppendMessage(nil, &e)
}

// waitEnd is until when a parked task may wait that has to be heard of, or is on
// probation.
func waitEnd(row *provider.Task) int64 {
	if e, err := history.DecodeMessage(row.Failure); err == nil && e.Seq|e.Time != 0 {
		return cmp.Or(e.Seq, e.Time)
	}
	return provider.Never
}

// lostOnProbation reports whether a parked task has expired because its worker
// died, and not because its time is over.
func lostOnProbation(row *provider.Task, now int64) bool {
	until, ok := probationOf(row)
	return ok && now < until
}

// runsParked reports whether a parked task is on probation: its function runs,
// or its worker has died.
func runsParked(row *provider.Task) bool {
	_, ok := probationOf(row)
	return ok
}

// probationOf reads what probationNote has written.
func probationOf(row *provider.Task) (until int64, ok bool) {
	e, err := history.DecodeMessage(row.Failure)
	return e.Time, err == nil && e.Time != 0 && e.Failure != nil && e.Failure.Code == CodeWorkerLost
}

// onProbation adds an attempt to those on probation.
func (e *Engine) onProbation(t *task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.probationers == nil {
		e.probationers = map[*task]bool{}
	}
	e.probationers[t] = true
	poke(e.wakeRenewals)
}

// offProbation ends an attempt's probation, and reports whether it was on it.
// Whoever ends it says what becomes of the attempt.
func (e *Engine) offProbation(t *task) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.probationers[t]
	delete(e.probationers, t)
	return was
}

// onProbationNow lists the attempts on probation, in an order that a simulation
// can repeat.
func (e *Engine) onProbationNow() []*task {
	e.mu.Lock()
	tasks := make([]*task, 0, len(e.probationers))
	for t := range e.probationers {
		tasks = append(tasks, t)
	}
	e.mu.Unlock()
	slices.SortFunc(tasks, func(a, b *task) int {
		return cmp.Or(cmp.Compare(a.attempt.Key, b.attempt.Key), cmp.Compare(a.attempt.Command, b.attempt.Command))
	})
	return tasks
}

// vouch prolongs the probation of this node's attempts. One whose task is not
// there any more has been finished or canceled.
func (e *Engine) vouch(ctx context.Context) error {
	e.vouching <- struct{}{}
	defer func() { <-e.vouching }()
	tasks := e.onProbationNow()
	if len(tasks) == 0 {
		return nil
	}
	batch := make([]provider.TaskFinish, len(tasks))
	for i, t := range tasks {
		batch[i] = provider.TaskFinish{
			TaskRef: t.attempt.ref(), Park: true, VisibleAt: e.probationEnd(t), Details: e.fitting(t.news()),
		}
	}
	fates, err := e.store.FinishTasks(ctx, 0, batch)
	for i := range batch {
		if err != nil && batch[i].Details != nil {
			tasks[i].again()
		}
	}
	for i, fate := range fates {
		if errors.Is(fate, provider.ErrStale) {
			e.offProbation(tasks[i])
			tasks[i].ctx.cancel(errCanceled, ErrTaskCanceled)
		}
	}
	return err
}

// giveBackParked returns the attempts on probation to the queue, uncounted,
// when the node shuts down and no Park is under way. Whoever got the token has it for nothing until the
// next attempt, which has the same number and so the same token. A function that
// returns from now on has no say.
func (e *Engine) giveBackParked(ctx context.Context) {
	e.vouching <- struct{}{}
	tasks := e.onProbationNow()
	tasks = slices.DeleteFunc(tasks, func(t *task) bool { return !e.offProbation(t) })
	<-e.vouching
	if len(tasks) == 0 {
		return
	}
	back := make([]provider.TaskFinish, len(tasks))
	for i, t := range tasks {
		t.ctx.cancel(errCanceled, ErrDraining)
		back[i] = e.client.packFinish(provider.TaskFinish{
			TaskRef: t.attempt.ref(), VisibleAt: e.clock.now(), GiveBack: true, Failure: t.unsuspected(), Details: e.fitting(t.news()),
		})
	}
	err := e.insist(ctx, func() error {
		_, err := e.store.FinishTasks(ctx, 0, back)
		return err
	})
	if err != nil {
		e.o.Logger.Warn("activities whose completion is left to others could not be given back; others will notice", "error", err,
			"tasks", len(back))
	}
}

// verdict says what becomes of an attempt whose row has failed.
func verdict(ref provider.TaskRef, p *history.Policy, scheduled, now int64, f *history.Failure) provider.TaskFinish {
	if at, again := retryAt(p, ref.Attempt, f, scheduled, now, rand.Float64()); again {
		return provider.TaskFinish{TaskRef: ref, VisibleAt: at, Failure: failed(ref.Command, ref.Attempt, f)}
	}
	answer := history.Event{Kind: history.ActivityFailed, Ref: ref.Command, Attempt: number(ref.Attempt), Failure: f}
	return provider.TaskFinish{TaskRef: ref, Message: history.AppendMessage(nil, &answer)}
}

// Complete finishes a parked attempt with a result.
func (c *Client) Complete(ctx context.Context, token string, result []byte, blobs []history.BlobAddress) error {
	ref, err := ParseToken(token)
	if err != nil {
		return err
	}
	answer := history.Event{Kind: history.ActivityCompleted, Ref: ref.Command, Attempt: number(ref.Attempt), Payload: result, Blobs: blobs}
	_, err = c.finishParked(ctx, ref, provider.TaskFinish{TaskRef: ref, Message: history.AppendMessage(nil, &answer), Blobs: blobs})
	return err
}

// Fail finishes a parked attempt with a failure, which is retried as the
// policy of the activity says.
func (c *Client) Fail(ctx context.Context, token string, f *history.Failure) error {
	ref, err := ParseToken(token)
	if err != nil {
		return err
	}
	row, policy, now, err := c.parkedTask(ctx, ref)
	if err != nil {
		return err
	}
	_, err = c.finishParked(ctx, ref, verdict(ref, policy, row.ScheduledAt, now, f))
	return err
}

// Beat is a sign of life of a parked attempt. What it says, unless it is nil,
// is handed to the next attempt if there is one. While the function of the
// attempt runs, that has to be heard of, and a Beat only says something.
func (c *Client) Beat(ctx context.Context, token string, said []byte) error {
	ref, err := ParseToken(token)
	if err != nil {
		return err
	}
	row, policy, now, err := c.parkedTask(ctx, ref)
	if err != nil {
		return err
	}
	if policy == nil || policy.Heartbeat <= 0 || runsParked(&row) {
		still, err := retryOne(ctx, func() ([]bool, error) {
			return c.store.ExtendTasks(ctx, 0, []provider.TaskBeat{{TaskRef: ref, Details: said}})
		})
		if err == nil && !still {
			err = provider.ErrStale
		}
		return err
	}
	f := provider.TaskFinish{TaskRef: ref, Park: true, VisibleAt: min(waitEnd(&row), closeBy(policy, row.ScheduledAt), after(now, policy.Heartbeat)), Details: said}
	fate, err := retryOne(ctx, func() ([]error, error) { return c.store.FinishTasks(ctx, 0, []provider.TaskFinish{f}) })
	return cmp.Or(err, fate)
}

// parkedTask reads a parked task, with its policy and the store's time.
func (c *Client) parkedTask(ctx context.Context, ref provider.TaskRef) (row provider.Task, p *history.Policy, now int64, err error) {
	store, err := c.Inspector(ctx)
	if err != nil {
		return row, nil, 0, err
	}
	tasks, err := retryOne(ctx, func() ([][]provider.Task, error) {
		tasks, err := store.Tasks(ctx, ref.Instance)
		return [][]provider.Task{tasks}, err
	})
	if err != nil {
		return row, nil, 0, err
	}
	d, err := retryOne(ctx, func() ([]provider.Description, error) {
		d, err := c.store.Describe(ctx)
		return []provider.Description{d}, err
	})
	if err != nil {
		return row, nil, 0, err
	}
	for i := range tasks {
		if tasks[i].Ref() == ref && tasks[i].Parked {
			cmd, err := history.DecodeMessage(tasks[i].Payload)
			return tasks[i], cmd.Policy, d.Now, err
		}
	}
	return row, nil, 0, provider.ErrStale
}

// finishParked ends a parked attempt. Repeated after an unknown outcome, it
// takes a task that is not there for one that it has ended.
func (c *Client) finishParked(ctx context.Context, ref provider.TaskRef, f provider.TaskFinish) (bool, error) {
	if _, err := c.Contract(ctx); err != nil {
		return false, err
	}
	unknown := false
	f = c.packFinish(f)
	fate, err := retryOne(ctx, func() ([]error, error) {
		fates, err := c.store.FinishTasks(ctx, 0, []provider.TaskFinish{f})
		unknown = unknown || errors.Is(err, provider.ErrUnknownOutcome)
		return fates, err
	})
	if err == nil && !(unknown && errors.Is(fate, provider.ErrStale)) {
		err = fate
	}
	if err != nil {
		return false, err
	}
	if c.e != nil {
		c.e.mailCame(ref.Instance, true)
		poke(c.e.wake)
		poke(c.e.wakeTask)
	}
	return true, nil
}

// errToken says that a token is none.
var errToken = errors.New("it is not a completion token")

func (a *Attempt) token() string { return Token(a.ref(), a.Name) }

func (a *Attempt) ref() provider.TaskRef {
	return provider.TaskRef{Instance: a.Key, Execution: a.Execution, Command: a.Command, Attempt: a.Number}
}

// tokenMark begins a token, which could begin with a dash otherwise, as options
// of commands do.
const tokenMark = "t"

// Token is a parked attempt of the named activity for whoever finishes it:
// opaque, and not secret.
func Token(ref provider.TaskRef, name string) string {
	var b []byte
	for _, v := range []int64{int64(ref.Instance), ref.Execution, ref.Command, ref.Attempt} {
		b = binary.AppendVarint(b, v)
	}
	b = append(b, tag(name)...)
	return tokenMark + base64.RawURLEncoding.EncodeToString(b)
}

// tag lets a token of one activity be told from that of another, mostly.
func tag(name string) []byte {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum(nil)[:tagSize]
}

const tagSize = 2

// ParseToken reads a completion token.
func ParseToken(token string) (provider.TaskRef, error) {
	ref, _, err := parseToken(token)
	return ref, err
}

// TokenOf reports whether a token may be one of the named activity. Those of
// before tokens had a tag may be any's.
func TokenOf(token, name string) bool {
	_, t, err := parseToken(token)
	return err == nil && (len(t) == 0 || bytes.Equal(t, tag(name)))
}

func parseToken(token string) (ref provider.TaskRef, tag []byte, err error) {
	token, marked := strings.CutPrefix(token, tokenMark)
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || !marked {
		return ref, nil, errToken
	}
	var v [4]int64
	for i := range v {
		n := 0
		if v[i], n = binary.Varint(b); n <= 0 || v[i] <= 0 {
			return ref, nil, errToken
		}
		b = b[n:]
	}
	if len(b) != 0 && len(b) != tagSize {
		return ref, nil, errToken
	}
	return provider.TaskRef{Instance: provider.Key(v[0]), Execution: v[1], Command: v[2], Attempt: v[3]}, b, nil
}
