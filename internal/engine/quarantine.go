package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// Action is what becomes of an instance whose turns fail again and again.
type Action uint8

// The actions. Zero leaves it to the node's policy.
const (
	Suspend    Action = 1 // it waits, Quarantined, for somebody to let it go
	Cancel     Action = 2 // it ends as Canceled; its code does not run
	DeadLetter Action = 3 // it ends as Failed, and keeps what it needs to go on
	CallBack   Action = 4 // as Suspend, and a function is called
)

// Policy says when an instance has failed too often, and what becomes of it.
// Zero fields leave it to the node's policy.
type Policy struct {
	// MaxFailures turns in a row, with no more than Window between one and the
	// end of the backoff of the one before, are too many. A negative number:
	// none are.
	MaxFailures int
	Window      time.Duration
	Action      Action
	// Callback is called after an instance has been quarantined by CallBack, at
	// least once, with Timeout to answer. The row is as it was then.
	Callback func(context.Context, *provider.Instance) error
	Timeout  time.Duration
	// FailActivity: an activity that has ended too many processes has failed,
	// instead of Action.
	FailActivity bool
}

// check returns a *provider.NotSupportedError if the policy needs more than the
// store can do.
func (p *Policy) check(c *provider.Contract) error {
	const feature = "the callback of a quarantine"
	switch can := c.Store.Capabilities; {
	case p.Callback == nil:
	case !can.Amend:
		return c.Lacks(feature, "Amend")
	case !can.Inspect:
		return c.Lacks(feature, "Inspect")
	}
	return nil
}

// over puts p over base.
func (p Policy) over(base Policy) Policy {
	if p.MaxFailures != 0 {
		base.MaxFailures = p.MaxFailures
	}
	if p.Window != 0 {
		base.Window = p.Window
	}
	if p.Action != 0 {
		base.Action = p.Action
	}
	if p.Callback != nil {
		base.Callback = p.Callback
	}
	if p.Timeout != 0 {
		base.Timeout = p.Timeout
	}
	base.FailActivity = base.FailActivity || p.FailActivity
	return base
}

var defaultPolicy = Policy{MaxFailures: 5, Window: time.Hour, Action: Suspend, Timeout: 30 * time.Second}

// policyOf returns the policy for an orchestration.
func (e *Engine) policyOf(name, version string) Policy {
	if o := e.resolve(name, version); o != nil {
		return o.Policy.over(e.o.Policy)
	}
	return e.o.Policy
}

// The kinds of failures of turns. They are stored.
const (
	kindPanic          = "panic"
	kindNondeterminism = "nondeterminism"
	kindMisuse         = "misuse"
	kindUndecodable    = "undecodable"
	kindStuck          = "stuck"
	kindCrash          = "crash"
	kindLimit          = "limit"
	kindWorkerLost     = "worker-lost"
	kindOther          = "failure"
)

// stuckError is a turn that does not end.
type stuckError struct {
	after  time.Duration
	stacks string
}

func (e *stuckError) Error() string {
	return fmt.Sprintf("the turn did not end within %s; the code that hangs:\n%s", e.after, e.stacks)
}

// limitError is a limit of the engine or of the store.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

// errCrashed is a turn whose process ended.
var errCrashed = errors.New("the process ended while this instance ran alone on it")

// classify finds out what kind of failure err is, and the place in the user's
// code.
func classify(err error) (kind, at string) {
	var difference *replay.NondeterminismError
	var panicked *replay.PanicError
	var misuse *replay.MisuseError
	var stuck *stuckError
	var limit *limitError
	var code *replay.LimitError
	var killer *killerError
	switch {
	case errors.As(err, &killer):
		return kindWorkerLost, killer.activity
	case errors.As(err, &difference):
		return kindNondeterminism, place(difference.At)
	case errors.As(err, &misuse):
		return kindMisuse, place(misuse.At)
	case errors.As(err, &panicked):
		kind = kindPanic
		if _, ok := panicked.Value.(*replay.UndecodableError); ok {
			kind = kindUndecodable
		}
		return kind, place(panicked.At())
	case errors.Is(err, history.ErrCorrupt), errors.Is(err, history.ErrUnknownFormat):
		return kindUndecodable, ""
	case errors.As(err, &stuck):
		return kindStuck, place(replay.UserFrame([]byte(stuck.stacks)))
	case errors.As(err, &code):
		return kindLimit, place(code.At)
	case errors.As(err, &limit), errors.Is(err, provider.ErrTooLarge):
		return kindLimit, ""
	case errors.Is(err, errCrashed):
		return kindCrash, ""
	}
	return kindOther, ""
}

// place is file and line with the directory, so that it is the same wherever
// the program was built.
func place(at string) string {
	dir, file := path.Split(filepath.ToSlash(at))
	return path.Join(path.Base(dir), file)
}

// account makes the record of one more failure of x. The caller holds x.mu.
func (e *Engine) account(x *execution, p Policy, err error) provider.TurnFailure {
	now := e.clock.now()
	f := provider.TurnFailure{Message: failureText(err), Count: 1, First: time.Unix(0, now).UTC(), Attempts: x.attempts}
	f.Kind, f.Place = classify(err)
	if f.Place == "" || f.Place == "." {
		f.Place = x.name
	}
	if last := x.fault; last != nil && last.Count > 0 && (last.Limit > 0 || now-x.quietFrom <= int64(p.Window)) {
		f.Count, f.First = last.Count+1, last.First
	}
	if x.fault != nil {
		f.Requeued, f.Pardoned = x.fault.Requeued, x.fault.Pardoned
		f.Stopped, f.StoppedFirst = x.fault.Stopped, x.fault.StoppedFirst
	}
	return f
}

// noteFault takes over what the row says of failed turns.
func (x *execution) noteFault(row *provider.Instance) {
	x.fault, x.notBefore, x.quietFrom = nil, row.NotBefore, 0
	if row.FailedAt != 0 {
		x.fault = new(provider.ParseTurnFailure(row.TurnFailure))
		x.quietFrom = max(row.FailedAt, row.NotBefore)
	}
}

// failTurn records that a turn failed: the instance is released, and nobody
// runs it before its backoff is over, or ever, if that is what the policy says
// after so many. The caller holds x.mu.
func (e *Engine) failTurn(x *execution, err error) {
	e.metrics.turnFailures.Add(1)
	if !x.charged {
		x.attempts++
	}
	policy := e.policyOf(x.name, x.version)
	f := e.account(x, policy, err)
	wait := turnBackoff(&e.o, f.Count)
	limit, over := int64(policy.MaxFailures), policy.MaxFailures > 0 && f.Count >= int64(policy.MaxFailures)
	var killer *killerError
	if errors.As(err, &killer) {
		f.Count, f.Pardoned = killer.crashes, killer.mail
		limit, over = killer.crashes, true
	}
	var follow []provider.Message
	if over && policy.Action == Cancel {
		follow = e.closeChildren(x)
	}
	e.closeMachine(x)
	c := e.prepareRelease(x)
	c.Charge = !x.charged
	c.NotBefore = after(e.clock.now(), wait)
	c.DueAt = 0
	x.turn.failing = true
	log := e.o.Logger.With("instance", x.id, "orchestration", x.name, "version", x.version, "turn", x.nextTurn,
		"failures", f.Count, "fingerprint", f.Fingerprint())
	if over {
		f.Limit = limit
		e.condemn(x, policy.Action, &f, follow)
		log.Error("instance quarantined", "status", c.Status.String(), "first_failure", f.First, "error", err)
	} else {
		log.Error("turn failed", "retry_in", time.Duration(wait), "error", err)
	}
	c.Failure = f.String()
	e.submit(x)
	e.trialOver(x)
}

// condemn makes the commit of a failure that of the policy's action. The
// caller holds x.mu.
func (e *Engine) condemn(x *execution, action Action, f *provider.TurnFailure, follow []provider.Message) {
	e.metrics.quarantined.Add(1)
	s, c := x.turn, &x.turn.commit
	c.NotBefore = 0
	reason := fmt.Sprintf("Quarantined: exceeded %d consecutive failures", f.Limit)
	var final history.Event
	switch action {
	case Cancel:
		c.Status = provider.Canceled
		final = history.Event{Kind: history.Canceled, Text: reason}
	case DeadLetter:
		c.Status = provider.Failed
		cause := &history.Failure{Code: f.Kind, Message: f.Message, Final: true}
		final = history.Event{Kind: history.Failed, Failure: &history.Failure{Code: CodeQuarantined, Message: reason, Final: true, Cause: cause}}
	default:
		c.Status = provider.Quarantined
		if action == CallBack {
			f.Notify = x.node
			s.notify = true
		}
		return
	}
	c.DueAt = provider.Never
	c.Tasks, c.Messages = c.Tasks[:0], append(c.Messages[:0], follow...)
	s.final = &final
	e.prepareOutcome(x)
}

// failureText is what people see of a turn's failure: its error in the first
// line, and an explanation below if there is one; at most 16 KiB.
func failureText(err error) string {
	const limit = 16 << 10
	text := err.Error()
	var differs *replay.NondeterminismError
	if errors.As(err, &differs) && differs.Explanation != nil {
		text += "\n\n" + differs.Explanation.Text
	}
	const mark = " … (cut)"
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit-len(mark)], "") + mark
	}
	if text == "" {
		text = "the turn failed without a message"
	}
	return text
}
