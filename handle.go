package durango

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/durango-go/durango/history"
)

// CallOptions change what a handle does; see the With methods. Non-zero fields
// override what the handle had. A field that means nothing for a kind of
// handle is refused by the first call, and by Register.
type CallOptions struct {
	// Pool is where an activity may run: on nodes that bind it with the same
	// pool. Zero: the default pool. Activities only.
	Pool string
	// StartToClose bounds one attempt, ScheduleToClose the activity with all
	// its attempts, ScheduleToStart the time until a worker takes it, and
	// Heartbeat the time between two signs of life ([Heartbeat], and of one that
	// is completed later [Client.Heartbeat]). Zero: no limit. Activities only.
	StartToClose, ScheduleToClose, ScheduleToStart, Heartbeat time.Duration
	// Retry says whether and how a failed activity is tried again. Nil: an
	// error goes to the orchestration at once. Activities only.
	Retry *RetryPolicy
	// MaxConcurrent bounds how many attempts of a bound activity run at once
	// on one node, MaxPerSecond how many begin there per second (with bursts of
	// as many as a second has, one at least). Zero: only the node's own bound.
	// Activities only.
	MaxConcurrent int
	MaxPerSecond  float64
	// Session is the name of a session: all activities with it run on one node,
	// until that dies or leaves, or the session has not been used for
	// [Options].SessionIdle; then another node takes it over, and what the first
	// one kept in memory or on its disk is not there. The name is one for the
	// whole store. Zero: none. Activities only.
	Session string

	// ID is the instance ID of a child, and of a Start that is given none. Zero:
	// a child is called parent/execution.seq. Orchestrations only.
	ID string
	// Version is the version to start, as in "2.0.0", or a range of which the
	// highest that the node running the first turn has is taken, as in "^2.1"
	// or ">=1.4 <3". Zero: any. For ContinueAsNew also [SameVersion].
	// Orchestrations only.
	Version string
	// StartAt delays the first turn, by the store's clock. Zero: at once; a
	// time after the year 2262: never. Orchestrations only.
	StartAt time.Time
	// IfExists says what Start does when the ID is taken. Of what an orchestration
	// starts it means something to [Orchestration.StartFrom] alone, and there only
	// Reuse. Orchestrations only.
	IfExists IfExists
	// OnParentClose says what happens to a child when its parent ends.
	// Orchestrations only.
	OnParentClose ParentClose
}

// IfExists says what Start does when the instance ID is taken.
type IfExists uint8

const (
	// Fail returns [ErrAlreadyExists], together with the run that has the ID.
	// It is the default.
	Fail IfExists = iota
	// Reuse returns the run that has the ID, whatever its input was; to Start one
	// of another orchestration is an [*AlreadyExistsError] all the same. For
	// [Orchestration.StartFrom] an ID that is taken is no refusal then.
	Reuse
	// Restart starts anew if the instance that has the ID has ended; one that is
	// open is as with Fail. The old instance is deleted with its history, its
	// result and what it has published, and so are the children to which it gave
	// no ID, with theirs; those that are still open are terminated before. Who
	// waits for one of them elsewhere and has not heard may get [ErrNotFound].
	//
	// Restart, RestartFailed and Replace are for the starts of clients, and need
	// a store that can be inspected.
	Restart
	// RestartFailed is Restart of an instance that has ended otherwise than as
	// completed; one that has completed is as with Fail.
	RestartFailed
	// Replace is Restart of an instance that has ended or not: one that is open
	// is terminated first. It is for Start only.
	Replace
)

// ParentClose says what happens to a child when its parent ends.
type ParentClose uint8

const (
	// CancelChild asks the child to cancel. It is the default.
	CancelChild ParentClose = iota
	// TerminateChild stops the child without running its code.
	TerminateChild
	// AbandonChild leaves the child alone.
	AbandonChild
)

// Backoff is how the pause between attempts grows.
type Backoff uint8

const (
	// Exponential multiplies the pause by Factor each time. It is the default.
	Exponential Backoff = iota
	// Linear makes the nth pause n times Initial.
	Linear
	// Fixed keeps the pause at Initial.
	Fixed
)

// Unlimited, as [RetryPolicy.MaxAttempts], tries for as long as
// ScheduleToClose allows.
const Unlimited = -1

// RetryPolicy says how a failed activity is tried again.
type RetryPolicy struct {
	// MaxAttempts bounds the attempts, those lost with their worker included.
	// It is required: there is no good default for how often to repeat
	// something that may have had an effect.
	MaxAttempts int
	Backoff     Backoff
	// Initial is the first pause, Max the longest. Zero: one second, one
	// minute.
	Initial, Max time.Duration
	// Factor is the growth of Exponential. Zero: 2.
	Factor float64
	// Jitter is the share of each pause that is random, from 0 to 1.
	Jitter float64
	// NonRetryable names what is not tried again: declared error kinds, codes
	// of this package, or Go types as "*pq.Error".
	NonRetryable []string
}

// declaration is what a handle points to. It never changes, so handles are
// cheap to copy and safe to share.
type declaration struct {
	what string // "activity", "orchestration", "signal"
	name string
	opts CallOptions
	// policy is opts in the form of history; nil when they say nothing.
	policy *history.Policy
	// problem is what is wrong with the name or the options. Declaring cannot
	// fail, so it is returned by calls and reported by Register.
	problem error
	// limits, unless nil, go before the runtime's; limitProblem is theirs.
	limits       *Limits
	limitProblem error
}

func declare(what, name string) *declaration {
	return &declaration{what: what, name: name, problem: checkName(what+" name", name)}
}

// undeclared stands for the zero value of a handle.
var undeclared = &declaration{
	what: "handle", problem: invalid("handle", "", "it is the zero value; make one with New…"),
}

func (d *declaration) or() *declaration {
	if d == nil {
		return undeclared
	}
	return d
}

// with returns a declaration with non-zero fields of o put over d's.
func (d *declaration) with(o CallOptions) *declaration {
	n := *d.or()
	p := &n.opts
	set(&p.Pool, o.Pool)
	set(&p.StartToClose, o.StartToClose)
	set(&p.ScheduleToClose, o.ScheduleToClose)
	set(&p.ScheduleToStart, o.ScheduleToStart)
	set(&p.Heartbeat, o.Heartbeat)
	set(&p.MaxConcurrent, o.MaxConcurrent)
	set(&p.MaxPerSecond, o.MaxPerSecond)
	set(&p.Session, o.Session)
	set(&p.ID, o.ID)
	set(&p.Version, o.Version)
	set(&p.StartAt, o.StartAt)
	set(&p.IfExists, o.IfExists)
	set(&p.OnParentClose, o.OnParentClose)
	if o.Retry != nil {
		retry := *o.Retry
		p.Retry = &retry
	}
	if n.problem = checkName(n.what+" name", n.name); n.problem == nil {
		n.problem = errors.Join(p.check(n.what), n.limitProblem)
	}
	n.policy = p.policy()
	return &n
}

func set[T comparable](p *T, v T) {
	if v != *new(T) {
		*p = v
	}
}

// startable reports why an instance cannot be started with the handle.
func (d *declaration) startable() error {
	if d.problem == nil && d.opts.Version == SameVersion {
		return invalid("version", SameVersion, "it is for ContinueAsNew")
	}
	return d.problem
}

// check reports everything that is wrong with the options of a handle.
func (o *CallOptions) check(what string) error {
	var problems []error
	bad := func(is bool, field, reason string) {
		if is {
			problems = append(problems, invalid(what+" option", field, reason))
		}
	}
	bad(o.StartToClose < 0, "StartToClose", "it is negative")
	bad(o.ScheduleToClose < 0, "ScheduleToClose", "it is negative")
	bad(o.ScheduleToStart < 0, "ScheduleToStart", "it is negative")
	bad(o.Heartbeat < 0, "Heartbeat", "it is negative")
	bad(o.MaxConcurrent < 0, "MaxConcurrent", "it is negative")
	bad(o.MaxPerSecond != 0 && !(o.MaxPerSecond > 0 && o.MaxPerSecond <= math.MaxInt32), "MaxPerSecond", "it is not a positive number")
	bad(o.IfExists > Replace, "IfExists", "there is no such choice")
	bad(o.OnParentClose > AbandonChild, "OnParentClose", "there is no such choice")
	if r := o.Retry; r != nil {
		bad(r.MaxAttempts == 0 || r.MaxAttempts < Unlimited, "Retry.MaxAttempts", "it must be positive, or Unlimited")
		bad(r.Backoff > Fixed, "Retry.Backoff", "there is no such choice")
		bad(r.Initial < 0, "Retry.Initial", "it is negative")
		bad(r.Max < 0, "Retry.Max", "it is negative")
		bad(r.Max > 0 && r.Initial > r.Max, "Retry.Initial", "it is above Retry.Max")
		bad(r.Factor != 0 && !(r.Factor >= 1 && r.Factor <= math.MaxFloat32), "Retry.Factor", "it is not a number from 1")
		bad(!(r.Jitter >= 0 && r.Jitter <= 1), "Retry.Jitter", "it is not a number from 0 to 1")
	}
	if o.Pool != "" {
		problems = append(problems, checkName("pool", o.Pool))
	}
	if o.Retry != nil {
		bad(len(o.Retry.NonRetryable) > MaxNonRetryable, "Retry.NonRetryable",
			fmt.Sprintf("it has %d names, the limit is %d", len(o.Retry.NonRetryable), MaxNonRetryable))
		for _, name := range o.Retry.NonRetryable {
			problems = append(problems, checkText("name of what is not retryable", name, MaxNameLength))
		}
	}
	if o.Session != "" {
		problems = append(problems, checkText("session", o.Session, MaxNameLength))
	}
	if o.ID != "" {
		problems = append(problems, checkID(o.ID))
	}
	if o.Version != "" && o.Version != SameVersion {
		problems = append(problems, checkRange(o.Version))
	}
	const foreign = "it means nothing here"
	if what == "activity" {
		bad(o.ID != "", "ID", foreign)
		bad(o.Version != "", "Version", foreign)
		bad(!o.StartAt.IsZero(), "StartAt", foreign)
		bad(o.IfExists != 0, "IfExists", foreign)
		bad(o.OnParentClose != 0, "OnParentClose", foreign)
	} else {
		bad(o.Pool != "", "Pool", foreign)
		bad(o.Retry != nil, "Retry", foreign)
		bad(o.MaxConcurrent != 0, "MaxConcurrent", foreign)
		bad(o.MaxPerSecond != 0, "MaxPerSecond", foreign)
		bad(o.Session != "", "Session", foreign)
		bad(o.StartToClose|o.ScheduleToClose|o.ScheduleToStart|o.Heartbeat != 0, "timeouts", foreign)
	}
	return errors.Join(problems...)
}

// policy returns the options as history keeps them, nil when they are all zero.
func (o *CallOptions) policy() *history.Policy {
	if o.Retry == nil && o.StartToClose|o.ScheduleToClose|o.ScheduleToStart|o.Heartbeat == 0 {
		return nil
	}
	p := &history.Policy{
		StartToClose:    int64(o.StartToClose),
		ScheduleToClose: int64(o.ScheduleToClose),
		ScheduleToStart: int64(o.ScheduleToStart),
		Heartbeat:       int64(o.Heartbeat),
	}
	if r := o.Retry; r != nil {
		p.MaxAttempts = int64(r.MaxAttempts)
		if r.MaxAttempts == Unlimited {
			p.MaxAttempts = math.MaxInt64
		}
		p.Backoff = history.BackoffKind(r.Backoff)
		p.Initial, p.MaxInterval = int64(r.Initial), int64(r.Max)
		p.Factor, p.Jitter = r.Factor, r.Jitter
		p.NonRetryable = append([]string(nil), r.NonRetryable...)
	}
	return p
}
