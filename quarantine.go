package durango

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
)

// QuarantineAction is what becomes of an instance whose turns fail again and
// again. Zero leaves it to the runtime's policy, and there stands for
// QuarantineSuspend.
type QuarantineAction uint8

// The actions.
const (
	// QuarantineSuspend: the instance waits as Quarantined, takes messages, and
	// goes on when it is released or retried.
	QuarantineSuspend = QuarantineAction(engine.Suspend)
	// QuarantineCancel: the instance ends as Canceled, without running its code.
	// Its parent is told, its children are canceled.
	QuarantineCancel = QuarantineAction(engine.Cancel)
	// QuarantineDeadLetter: the instance ends as Failed, with an error that
	// matches ErrQuarantined, without running its code; its parent is told. It
	// keeps history and unread messages, and can be requeued.
	QuarantineDeadLetter = QuarantineAction(engine.DeadLetter)
	// QuarantineCallback: as QuarantineSuspend; then the policy's Callback is
	// called.
	QuarantineCallback = QuarantineAction(engine.CallBack)
)

// QuarantinePolicy says when the turns of an instance have failed too often,
// and what becomes of it then. A turn fails by a panic, by code that differs
// from the history, by what cannot be decoded, by a limit, if it does not end,
// and if its process does; an error that an orchestration returns is none of
// these. A turn that succeeds resets the count. The zero value of each field
// stands for the default, or, for an orchestration, for the runtime's.
type QuarantinePolicy struct {
	// MaxConsecutiveFailures is how many are too many. Default 5; negative: the
	// turn is tried for ever.
	MaxConsecutiveFailures int
	// Window: a failure that comes later than this after the end of the pause
	// behind the one before begins to count anew. Default 1 h.
	Window time.Duration
	// Action is what is done. Default QuarantineSuspend.
	Action QuarantineAction
	// FailActivity is about an activity that has ended the processes of its
	// workers ([Options.MaxTaskCrashes]). Unless it is set Action is done, with the
	// activity as Quarantine.Place; an instance that is let go tries the activity
	// again. If it is set, here or in the runtime's policy, the activity fails
	// with an error that matches ErrWorkerLost, and the orchestration decides.
	FailActivity bool
	// Callback is for QuarantineCallback. It is called on a node after the
	// instance has been quarantined, at least once, and may use a [Client] to
	// release, cancel or terminate it. If it fails or does not return within
	// CallbackTimeout, 30 s by default, that is logged and the instance stays
	// quarantined.
	Callback        func(ctx context.Context, q Quarantine) error
	CallbackTimeout time.Duration
}

// check returns what is wrong with a policy.
func (p *QuarantinePolicy) check() error {
	var problems []error
	if p.Window < 0 {
		problems = append(problems, fmt.Errorf("Quarantine.Window is %v", p.Window))
	}
	if p.CallbackTimeout < 0 {
		problems = append(problems, fmt.Errorf("Quarantine.CallbackTimeout is %v", p.CallbackTimeout))
	}
	if p.Action > QuarantineCallback {
		problems = append(problems, fmt.Errorf("Quarantine.Action is %d, not one of the actions", p.Action))
	}
	if (p.Action == QuarantineCallback) != (p.Callback != nil) {
		problems = append(problems, errors.New("Quarantine.Action is QuarantineCallback if, and only if, there is a Callback"))
	}
	return errors.Join(problems...)
}

func (p *QuarantinePolicy) engine() engine.Policy {
	e := engine.Policy{
		MaxFailures: p.MaxConsecutiveFailures, Window: p.Window, Action: engine.Action(p.Action), Timeout: p.CallbackTimeout,
		FailActivity: p.FailActivity,
	}
	if call := p.Callback; call != nil {
		e.Callback = func(ctx context.Context, row *provider.Instance) error { return call(ctx, quarantineOf(row)) }
	}
	return e
}

// WithQuarantine returns a copy of b whose non-zero fields of p go before the
// policy of the runtime ([Options.Quarantine]).
func (b BoundOrchestration[In, Out]) WithQuarantine(p QuarantinePolicy) BoundOrchestration[In, Out] {
	b.quarantine = p
	return b
}

// Quarantine is what is known of an instance that a policy has stopped.
type Quarantine struct {
	ID, Name, Version string
	Status            Status // StatusQuarantined, or StatusFailed for a dead letter
	Execution         int64
	// Kind is what failed ("panic", "nondeterminism", "undecodable", "stuck",
	// "crash", "limit", "worker-lost" …), Place where in the code, or the name of
	// the orchestration, or of the activity that ends its workers. Fingerprint is both: the same for instances with the same
	// trouble.
	Kind, Place, Fingerprint string
	// Cause is the message of the last failure.
	Cause string
	// Failures counts the failures in a row.
	Failures     int64
	FirstFailure time.Time
	LastFailure  time.Time
	// Unread counts the messages that wait.
	Unread int64

	key      provider.Key
	failedAt int64
	pardoned int64
}

func quarantineOf(row *provider.Instance) Quarantine {
	f := provider.ParseTurnFailure(row.TurnFailure)
	return Quarantine{
		ID: row.ID, Name: row.Name, Version: row.Version, Status: Status(row.Status), Execution: row.Execution,
		Kind: f.Kind, Place: f.Place, Fingerprint: f.Fingerprint(), Cause: f.Message, Failures: f.Count,
		FirstFailure: f.First, LastFailure: fromNano(row.FailedAt), Unread: row.MailboxSeq - row.ReadSeq,
		key: row.Key, failedAt: row.FailedAt, pardoned: f.Pardoned,
	}
}

// QuarantineStats counts what a [Runtime] has met and stopped since it was made.
type QuarantineStats struct {
	TurnFailures int64 // turns that failed
	Instances    int64 // that the policy has acted upon, whatever its action
	Activities   int64 // that are not tried again because they end their process
	Messages     int64 // that were put aside because they cannot be decoded
}

// QuarantineStats reads the counts of this node. They are zero again after a
// restart; what is quarantined in the store is listed by [Client.Quarantines].
func (r *Runtime) QuarantineStats() QuarantineStats {
	m := r.engine.Metrics()
	return QuarantineStats{m.TurnFailures, m.Quarantined, m.TasksQuarantined, m.Undecodable}
}

// QuarantineFilter selects what a policy has stopped. Zero fields select
// everything.
type QuarantineFilter struct {
	Name        string // of the orchestration
	Version     string
	IDPrefix    string
	Fingerprint string
	// DeadLetters selects dead letters instead of what is Quarantined.
	DeadLetters bool
}

// Quarantines ranges over what the filter selects, newest first. An error is
// the last item. It needs a store that can be inspected.
func (c *Client) Quarantines(ctx context.Context, f QuarantineFilter) iter.Seq2[Quarantine, error] {
	return func(yield func(Quarantine, error) bool) {
		store, err := c.inspector(ctx)
		if err != nil {
			yield(Quarantine{}, fmt.Errorf("quarantines: %w", err))
			return
		}
		q := provider.Query{Name: f.Name, Version: f.Version, IDPrefix: f.IDPrefix, DeadLetters: f.DeadLetters}
		if !f.DeadLetters {
			q.Statuses = []provider.Status{provider.Quarantined}
		}
		for {
			page, err := store.List(ctx, q)
			if err != nil {
				yield(Quarantine{}, fmt.Errorf("quarantines: %w", fromStore(err)))
				return
			}
			for i := range page.Instances {
				one := quarantineOf(&page.Instances[i])
				if (f.Fingerprint == "" || f.Fingerprint == one.Fingerprint) && !yield(one, nil) {
					return
				}
			}
			if q.After = page.Next; q.After == 0 {
				return
			}
		}
	}
}

// Quarantine returns what is known of one instance that a policy has stopped.
// The error matches [ErrNotQuarantined] if none has.
func (c *Client) Quarantine(ctx context.Context, id string) (Quarantine, error) {
	store, err := c.inspector(ctx)
	var row provider.Instance
	if err == nil {
		row, err = store.Get(ctx, provider.Target{ID: id})
		err = fromStore(err)
	}
	if err == nil && row.Status != provider.Quarantined && !row.DeadLetter() {
		err = ErrNotQuarantined
	}
	if err != nil {
		return Quarantine{}, fmt.Errorf("quarantine of instance %q: %w", id, err)
	}
	return quarantineOf(&row), nil
}

// Release lets a quarantined instance go on. Its failures still count: if its
// next turn fails, it is quarantined again at once. The error matches
// [ErrNotQuarantined] if it is not quarantined, or has failed again since.
func (c *Client) Release(ctx context.Context, id string) error {
	return c.amendOne(ctx, CallRelease, id, false)
}

// Retry is Release with the count of failures reset.
func (c *Client) Retry(ctx context.Context, id string) error {
	return c.amendOne(ctx, CallRetry, id, false)
}

// Requeue opens a dead letter again: it goes on from its last turn, with the
// messages that it had not read, and its failures are forgotten. What it awaits
// of activities is begun again; children that have ended meanwhile answer. Its
// parent, if any, has been told that it failed, and hears no more of it. The
// error matches [ErrNotQuarantined] if it is no dead letter.
func (c *Client) Requeue(ctx context.Context, id string) error {
	return c.amendOne(ctx, CallRequeue, id, true)
}

// Purge deletes a dead letter with everything that belongs to it, also the
// children to which it gave no ID, with theirs: its ID can be used again. The
// error matches [ErrNotQuarantined] if it is none, and [ErrNotEnded], with
// nothing deleted, if one of those children has not ended.
func (c *Client) Purge(ctx context.Context, id string) error {
	return c.amendOne(ctx, CallPurge, id, true)
}

// ReleaseAll releases everything quarantined that the filter selects, and
// returns how many that were. It may be called again after an error.
func (c *Client) ReleaseAll(ctx context.Context, f QuarantineFilter) (int, error) {
	return c.amendAll(ctx, CallRelease, f, false)
}

// RetryAll is ReleaseAll with the counts of failures reset.
func (c *Client) RetryAll(ctx context.Context, f QuarantineFilter) (int, error) {
	return c.amendAll(ctx, CallRetry, f, false)
}

// RequeueAll requeues all dead letters that the filter selects.
func (c *Client) RequeueAll(ctx context.Context, f QuarantineFilter) (int, error) {
	return c.amendAll(ctx, CallRequeue, f, true)
}

// PurgeAll deletes all dead letters that the filter selects. Those of which a
// child has not ended stay, and are in the error.
func (c *Client) PurgeAll(ctx context.Context, f QuarantineFilter) (int, error) {
	return c.amendAll(ctx, CallPurge, f, true)
}

func (c *Client) amendOne(ctx context.Context, kind CallKind, id string, dead bool) error {
	err := c.intercept(ctx, &ClientCall{Kind: kind, Instance: id}, func(ctx context.Context) error {
		q, err := c.Quarantine(ctx, id)
		if err == nil && (q.Status == StatusFailed) != dead {
			err = ErrNotQuarantined
		}
		if err != nil {
			return err
		}
		return c.amend(ctx, kind, &q)
	})
	if err != nil {
		return fmt.Errorf("%s instance %q: %w", kind, id, err)
	}
	return nil
}

func (c *Client) amendAll(ctx context.Context, kind CallKind, f QuarantineFilter, dead bool) (n int, err error) {
	f.DeadLetters = dead
	var left []error
	for q, err := range c.Quarantines(ctx, f) {
		if err == nil {
			err = c.intercept(ctx, &ClientCall{Kind: kind, Instance: q.ID}, func(ctx context.Context) error {
				return c.amend(ctx, kind, &q)
			})
		}
		switch {
		case err == nil:
			n++
		case errors.Is(err, ErrNotQuarantined), errors.Is(err, ErrNotFound): // somebody was quicker
		case errors.Is(err, ErrNotEnded):
			left = append(left, fmt.Errorf("%s instance %q: %w", kind, q.ID, err))
		default:
			return n, fmt.Errorf("%s: %w", kind, err)
		}
	}
	return n, errors.Join(left...)
}

// amend lets go of what q describes, unless it has failed again since.
func (c *Client) amend(ctx context.Context, kind CallKind, q *Quarantine) error {
	if kind == CallPurge {
		store, err := c.inspector(ctx)
		if err == nil {
			err = c.remove(ctx, store, &provider.Instance{Key: q.key, ID: q.ID}, false)
		}
		if errors.Is(err, provider.ErrInvalid) { // it has been requeued
			err = ErrNotQuarantined
		}
		return err
	}
	store, err := c.c.Amender(ctx)
	if err != nil {
		return fromStore(err)
	}
	// The text that is written is of attempts and of a callback no more: both
	// begin anew.
	f := provider.TurnFailure{Message: q.Cause, Kind: q.Kind, Place: q.Place, Requeued: kind == CallRequeue, Pardoned: q.pardoned,
		Stopped: q.Failures, StoppedFirst: q.FirstFailure}
	if kind == CallRelease {
		f.Count, f.First, f.Limit = q.Failures, q.FirstFailure, q.Failures
	}
	err = store.Amend(ctx, provider.Amendment{To: provider.Target{Key: q.key, ID: q.ID}, FailedAt: q.failedAt, Failure: f.String(), Resume: true})
	if errors.Is(err, provider.ErrConflict) {
		return ErrNotQuarantined
	}
	if err == nil {
		c.c.Operated(q.key)
	}
	return fromStore(err)
}
