package engine

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
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
	if t.settled.Swap(true) {
		return "", ErrTaskLost
	}
	t.disarm()
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
	t.engine.probation(t, true)
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
		Failure: onProbation(t)})
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
	row.Parked, row.VisibleAt, row.Failure = true, e.probationEnd(t), onProbation(t)
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

// leftParked is told that the function of a parked attempt has returned. An
// error fails the attempt, unless somebody has finished it already; otherwise
// the token has been passed on, and the attempt waits for as long as it may.
func (e *Engine) leftParked(t *task, f *history.Failure) {
	e.vouching <- struct{}{} // what is under way would put it back on probation
	e.probation(t, false)
	<-e.vouching
	ref := t.attempt.ref()
	fate := provider.TaskFinish{TaskRef: ref, Park: true, VisibleAt: t.until, Failure: []byte{}}
	if t.held != nil {
		fate.Failure = nonNil(t.held.Failure) // why it was tried again
		if t.held.past.suspicious() {
			fate.Failure = t.noteOf("")
		}
	}
	if f != nil {
		fate = verdict(ref, t.policy, t.attempt.ScheduledAt, e.clock.now(), f)
	}
	_, err := e.client.finishParked(e.ctx, ref, fate)
	if err != nil && !errors.Is(err, provider.ErrStale) { // else finished already
		e.o.Logger.Warn("an activity that left its completion to others will be tried again", "instance", t.attempt.Instance,
			"activity", t.attempt.Name, "error", err)
	}
}

// An attempt is on probation from its parking until its function has returned:
// nobody else may have the token yet, so a node that dies then must not leave a
// task behind that waits for ever. Its row expires soon unless its node says
// that it is alive, and whoever finds it takes the attempt for lost.

// probationEnd is until when an attempt on probation is left alone.
func (e *Engine) probationEnd(t *task) int64 {
	return min(t.until, e.clock.now()+2*int64(e.o.Lease))
}

// onProbation is what the row of an attempt on probation has for a failure: that
// it was lost, with the time until which it may wait otherwise.
func onProbation(t *task) []byte {
	return history.AppendMessage(nil, &history.Event{
		Kind: history.ActivityFailed, Ref: t.attempt.Command, Time: t.until, Text: t.in(t.onTrial()).text(),
		Failure: &history.Failure{Code: CodeWorkerLost, Message: "its worker died before it had passed its token on"},
	})
}

// lostOnProbation reports whether a parked task has expired because its worker
// died, and not because its time is over.
func lostOnProbation(row *provider.Task, now int64) bool {
	e, err := history.DecodeMessage(row.Failure)
	return err == nil && e.Time != 0 && now < e.Time && e.Failure != nil && e.Failure.Code == CodeWorkerLost
}

// probation keeps the list of attempts on probation.
func (e *Engine) probation(t *task, on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !on {
		delete(e.probationers, t)
		return
	}
	if e.probationers == nil {
		e.probationers = map[*task]bool{}
	}
	e.probationers[t] = true
	poke(e.wakeRenewals)
}

// vouch prolongs the probation of this node's attempts. One whose task is not
// there any more has been finished or canceled.
func (e *Engine) vouch(ctx context.Context) error {
	e.vouching <- struct{}{}
	defer func() { <-e.vouching }()
	e.mu.Lock()
	tasks := make([]*task, 0, len(e.probationers))
	for t := range e.probationers {
		tasks = append(tasks, t)
	}
	e.mu.Unlock()
	if len(tasks) == 0 {
		return nil
	}
	slices.SortFunc(tasks, func(a, b *task) int {
		return cmp.Or(cmp.Compare(a.attempt.Key, b.attempt.Key), cmp.Compare(a.attempt.Command, b.attempt.Command))
	})
	batch := make([]provider.TaskFinish, len(tasks))
	for i, t := range tasks {
		batch[i] = provider.TaskFinish{TaskRef: t.attempt.ref(), Park: true, VisibleAt: e.probationEnd(t)}
	}
	fates, err := e.store.FinishTasks(ctx, 0, batch)
	for i, fate := range fates {
		if errors.Is(fate, provider.ErrStale) {
			e.probation(tasks[i], false)
			tasks[i].ctx.cancel(errCanceled, ErrTaskCanceled)
		}
	}
	return err
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
	policy, scheduled, now, err := c.policyOf(ctx, ref)
	if err != nil {
		return err
	}
	_, err = c.finishParked(ctx, ref, verdict(ref, policy, scheduled, now, f))
	return err
}

// Beat stores what is said of a parked attempt.
func (c *Client) Beat(ctx context.Context, token string, said []byte) error {
	ref, err := ParseToken(token)
	if err != nil {
		return err
	}
	if _, err := c.Contract(ctx); err != nil {
		return err
	}
	still, err := retryOne(ctx, func() ([]bool, error) {
		return c.store.ExtendTasks(ctx, 0, []provider.TaskBeat{{TaskRef: ref, Details: said}})
	})
	if err == nil && !still {
		err = provider.ErrStale
	}
	return err
}

// policyOf reads the policy of a task that waits in the store.
func (c *Client) policyOf(ctx context.Context, ref provider.TaskRef) (p *history.Policy, scheduled, now int64, err error) {
	store, err := c.Inspector(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	tasks, err := store.Tasks(ctx, ref.Instance)
	if err != nil {
		return nil, 0, 0, err
	}
	d, err := c.store.Describe(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	for i := range tasks {
		if tasks[i].Ref() == ref {
			cmd, err := history.DecodeMessage(tasks[i].Payload)
			return cmd.Policy, tasks[i].ScheduledAt, d.Now, err
		}
	}
	return nil, 0, 0, provider.ErrStale
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

func (a *Attempt) token() string { return Token(a.ref()) }

func (a *Attempt) ref() provider.TaskRef {
	return provider.TaskRef{Instance: a.Key, Execution: a.Execution, Command: a.Command, Attempt: a.Number}
}

// tokenMark begins a token, which could begin with a dash otherwise, as options
// of commands do.
const tokenMark = "t"

// Token is a parked attempt for whoever finishes it: opaque, and not secret.
func Token(ref provider.TaskRef) string {
	var b []byte
	for _, v := range []int64{int64(ref.Instance), ref.Execution, ref.Command, ref.Attempt} {
		b = binary.AppendVarint(b, v)
	}
	return tokenMark + base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads a completion token.
func ParseToken(token string) (provider.TaskRef, error) {
	token, marked := strings.CutPrefix(token, tokenMark)
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || !marked {
		return provider.TaskRef{}, errToken
	}
	var v [4]int64
	for i := range v {
		n := 0
		if v[i], n = binary.Varint(b); n <= 0 || v[i] <= 0 {
			return provider.TaskRef{}, errToken
		}
		b = b[n:]
	}
	if len(b) > 0 {
		return provider.TaskRef{}, errToken
	}
	return provider.TaskRef{Instance: provider.Key(v[0]), Execution: v[1], Command: v[2], Attempt: v[3]}, nil
}
