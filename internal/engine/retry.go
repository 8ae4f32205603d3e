package engine

import (
	"math"
	"slices"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// Defaults of a policy that asks for retries and leaves the pauses open.
const (
	defaultInitial = int64(time.Second)
	defaultMax     = int64(time.Minute)
	defaultFactor  = 2.0
)

// retryAt decides whether an activity is tried again after attempt failed,
// and when. random is in [0, 1). It owns the arithmetic of retries: nothing
// else computes a pause.
func retryAt(p *history.Policy, attempt int64, f *history.Failure, scheduled, now int64, random float64) (int64, bool) {
	if p == nil || f.Final || p.MaxAttempts <= attempt || nonRetryable(p, f) {
		return 0, false
	}
	at := after(now, f.RetryAfter)
	if f.RetryAfter <= 0 {
		at = after(now, pause(p, attempt, random))
	}
	if by := closeBy(p, scheduled); by < provider.Never && at >= by {
		return 0, false
	}
	return at, true
}

// nonRetryable reports whether p names f, or what that wraps, as something that
// is not tried again.
func nonRetryable(p *history.Policy, f *history.Failure) bool {
	for ; f != nil; f = f.Cause {
		if f.Code != "" && slices.Contains(p.NonRetryable, f.Code) ||
			f.Type != "" && slices.Contains(p.NonRetryable, f.Type) {
			return true
		}
	}
	return false
}

// NonRetryable reports whether the policy of the activity says so of f. It is
// for Run, which may be about to hide from the engine what it goes by.
func (a *Attempt) NonRetryable(f *history.Failure) bool {
	return a.task != nil && a.task.policy != nil && nonRetryable(a.task.policy, f)
}

// pause is the time between attempt and the next.
func pause(p *history.Policy, attempt int64, random float64) int64 {
	initial, limit, factor := p.Initial, p.MaxInterval, p.Factor
	if initial == 0 {
		initial = defaultInitial
	}
	if limit == 0 {
		limit = max(defaultMax, initial)
	}
	if factor == 0 {
		factor = defaultFactor
	}
	d := float64(initial)
	switch p.Backoff {
	case history.BackoffLinear:
		d *= float64(attempt)
	case history.BackoffFixed:
	default:
		d *= math.Pow(factor, float64(attempt-1))
	}
	d = min(d, float64(limit))
	// Jitter takes away from the pause, so that MaxInterval stays a bound.
	d -= d * min(max(p.Jitter, 0), 1) * random
	return nanos(d)
}

// lost reports whether an attempt that was lost with its worker was the last.
func lost(p *history.Policy, next int64) bool {
	return p != nil && p.MaxAttempts > 0 && next > p.MaxAttempts
}

// deadline is when an attempt that begins now must be over, or Never.
func deadline(p *history.Policy, scheduled, now int64) (int64, string) {
	at, which := provider.Never, ""
	if p == nil {
		return at, which
	}
	if p.StartToClose > 0 {
		at, which = after(now, p.StartToClose), "start-to-close"
	}
	if by := closeBy(p, scheduled); by < at {
		at, which = by, "schedule-to-close"
	}
	return at, which
}

// closeBy is when an activity must be over with all its attempts, or Never.
func closeBy(p *history.Policy, scheduled int64) int64 {
	if p == nil || p.ScheduleToClose <= 0 {
		return provider.Never
	}
	return after(scheduled, p.ScheduleToClose)
}

// turnBackoff is the pause after a turn failed for the nth time in a row.
func turnBackoff(o *Options, n int64) int64 {
	d := float64(o.MinBackoff) * math.Pow(2, float64(min(max(n, 1)-1, 40)))
	return nanos(min(d, float64(o.MaxBackoff)))
}
