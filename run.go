package durango

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
)

// Run is a client's view of an instance whose output is a T.
type Run[T any] struct {
	c *Client
	t provider.Target
	o WaitOptions
}

// WaitOptions tune [Run.Wait]. The zero value waits for the end.
type WaitOptions struct {
	// UntilQuarantined returns [ErrQuarantined] if the instance is quarantined,
	// or becomes so. Otherwise Wait goes on: somebody may let it go.
	UntilQuarantined bool
}

// With returns a copy of r that waits as o says.
func (r *Run[T]) With(o WaitOptions) *Run[T] {
	other := *r
	other.o = o
	return &other
}

// ID returns the instance's ID.
func (r *Run[T]) ID() string { return r.t.ID }

// Wait waits until the instance has ended and returns its output, or the
// *[Error] that it failed with: errors.Is(err, ErrCanceled) and
// errors.Is(err, ErrTerminated) tell those ends. When ctx ends first the error
// wraps ctx's. Waiting costs no polling of its own, however many wait. One that
// is quarantined has not ended; see [WaitOptions].
func (r *Run[T]) Wait(ctx context.Context) (T, error) {
	o, err := r.c.wait(ctx, r.t, r.o)
	if err == nil && o.Status == provider.Quarantined {
		err = ErrQuarantined
	}
	if err != nil {
		return *new(T), fmt.Errorf("wait for instance %q: %w", r.t.ID, err)
	}
	out, err := readOutcome[T](r.c.codecOf(), r.t.ID, o.Payload)
	bind(r.c.blobs, &out)
	return out, err
}

// readOutcome reads the terminal command of an instance.
func readOutcome[T any](c Codec, id string, outcome []byte) (T, error) {
	var out T
	end, err := history.DecodeMessage(outcome)
	if err != nil {
		return out, fmt.Errorf("wait for instance %q: outcome: %w", id, err)
	}
	switch end.Kind {
	case history.Completed:
		if err := decode(c, end.Payload, &out); err != nil {
			return *new(T), decodeError[T](fmt.Sprintf("output of instance %q", id), err)
		}
		return out, nil
	case history.Failed:
		return out, fromFailure(c, end.Failure)
	case history.Canceled:
		return out, canceledError(end.Text)
	}
	return out, fmt.Errorf("wait for instance %q: outcome is %v", id, end.Kind)
}

// canceledError is what operations return after a cancellation for reason.
func canceledError(reason string) error {
	return &Error{Code: CodeCanceled, Message: engine.CanceledText(reason)}
}

// Cancel asks the instance to end: its operations return [ErrCanceled] from
// then on, and so do those of its children. One that has taken no turn yet ends
// as Canceled at once, also before its [CallOptions.StartAt], and its code does
// not run. Cancel returns when the request is stored; [Run.Wait] tells how the
// instance ended.
func (r *Run[T]) Cancel(ctx context.Context, reason string) error {
	call := &ClientCall{Kind: CallCancel, Instance: r.t.ID}
	err := r.c.intercept(ctx, call, func(ctx context.Context) error {
		if err := checkReason(reason); err != nil {
			return err
		}
		e := history.Event{Kind: history.CancelRequested, Text: reason}
		res, err := r.c.send(ctx, provider.Message{To: r.t, Payload: history.AppendMessage(nil, &e), Hasten: true})
		if err == nil {
			err = fromStore(res.Err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cancel instance %q: %w", r.t.ID, err)
	}
	return nil
}

// Terminate ends the instance at once, without running its code. Its parent,
// if any, is told. It needs a store that can be inspected.
func (r *Run[T]) Terminate(ctx context.Context, reason string) error {
	call := &ClientCall{Kind: CallTerminate, Instance: r.t.ID}
	err := r.c.intercept(ctx, call, func(ctx context.Context) error { return r.terminate(ctx, reason) })
	if err != nil {
		return fmt.Errorf("terminate instance %q: %w", r.t.ID, err)
	}
	return nil
}

func (r *Run[T]) terminate(ctx context.Context, reason string) error {
	if err := checkReason(reason); err != nil {
		return err
	}
	store, err := r.c.inspector(ctx)
	if err != nil {
		return err
	}
	i, err := store.Get(ctx, r.t)
	if err != nil {
		return ofInstance(err)
	}
	return r.c.terminate(ctx, store, &i, reason)
}

// Status is where an instance stands.
type Status uint8

// The statuses of an instance.
const (
	StatusPending     = Status(provider.Pending) // no turn committed yet
	StatusRunning     = Status(provider.Running)
	StatusCompleted   = Status(provider.Completed)
	StatusFailed      = Status(provider.Failed)
	StatusCanceled    = Status(provider.Canceled)
	StatusTerminated  = Status(provider.Terminated)
	StatusSuspended   = Status(provider.Suspended)   // by an operator, or by Options.SuspendIncompatible
	StatusQuarantined = Status(provider.Quarantined) // by policy
)

// String returns the status's name.
func (s Status) String() string { return provider.Status(s).String() }

// Open reports whether the instance has not ended.
func (s Status) Open() bool { return provider.Status(s).Open() }

// RunInfo describes an instance as of its last committed turn.
type RunInfo struct {
	ID   string
	Name string
	// Version is empty until the first turn has chosen one.
	Version string
	Status  Status
	// Execution counts generations from 1: it grows with continue-as-new.
	Execution int64
	// Turns counts the committed turns of all executions.
	Turns int64
	// Parent is the ID of the instance that started this one, or empty.
	Parent string
	// CustomStatus is what [Context.SetStatus] published last, as JSON; nil if
	// the client's [Codec] cannot give it as JSON. See [RunInfo.DecodeStatus].
	CustomStatus json.RawMessage
	status       storedStatus
	// TurnFailure is why the last turn could not be committed, empty when it
	// was. The instance is not lost: the turn is tried again, and goes on once
	// the code is fixed; see [QuarantinePolicy]. Of an instance that
	// Options.SuspendIncompatible has suspended it says why.
	TurnFailure   string
	TurnFailureAt time.Time
	// WaitingSince is since when the instance could run and no node has taken
	// it. Zero: it does not wait for a node. If it stays set, no node that runs
	// has the orchestration in the version that is asked for.
	WaitingSince time.Time

	CreatedAt, UpdatedAt time.Time
	ClosedAt             time.Time // zero while open
}

// Status describes the instance. It needs a store that can be inspected.
func (r *Run[T]) Status(ctx context.Context) (RunInfo, error) {
	store, err := r.c.inspector(ctx)
	if err != nil {
		return RunInfo{}, fmt.Errorf("status of instance %q: %w", r.t.ID, err)
	}
	i, err := store.Get(ctx, r.t)
	if err != nil {
		return RunInfo{}, fmt.Errorf("status of instance %q: %w", r.t.ID, ofInstance(err))
	}
	f := provider.ParseTurnFailure(i.TurnFailure)
	info := RunInfo{
		ID: i.ID, Name: i.Name, Version: i.Version, Status: Status(i.Status),
		Execution: i.Execution, Turns: i.NextTurn - 1, Parent: i.Parent.ID,
		status:    storedStatus{r.c.codecOf(), i.CustomStatus},
		CreatedAt: fromNano(i.CreatedAt), UpdatedAt: fromNano(i.UpdatedAt), ClosedAt: fromNano(i.ClosedAt),
	}
	if f.Failed() {
		info.TurnFailure, info.TurnFailureAt = f.Message, fromNano(i.FailedAt)
	}
	if i.Owner == 0 && i.Status.Runnable() && i.WakeAt != provider.Never {
		d, err := r.c.Store().Describe(ctx)
		if err != nil {
			return RunInfo{}, fmt.Errorf("status of instance %q: %w", r.t.ID, fromStore(err))
		}
		if i.WakeAt <= d.Now {
			info.WaitingSince = fromNano(max(i.WakeAt, i.CreatedAt))
		}
	}
	if info.status.codec == nil {
		info.CustomStatus = i.CustomStatus
	} else if err := info.DecodeStatus(&info.CustomStatus); err != nil {
		info.CustomStatus = nil // not every codec knows JSON
	}
	return info, nil
}

// storedStatus is a custom status as it is stored, and what reads it.
type storedStatus struct {
	codec   Codec
	payload []byte
}

// DecodeStatus reads the custom status into what v points to, and leaves it
// alone if there is none. Its error is a [*DecodeError].
func (i RunInfo) DecodeStatus(v any) error {
	if len(i.status.payload) == 0 {
		return nil
	}
	codec := i.status.codec
	if codec == nil {
		codec = JSON
	}
	if err := codec.Decode(i.status.payload, v); err != nil {
		return &DecodeError{What: fmt.Sprintf("status of instance %q", i.ID), Type: fmt.Sprintf("%T", v), Err: err}
	}
	return nil
}

// fromNano converts a time of the store; zero stays zero.
func fromNano(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// toNano is the inverse of fromNano. What lies beyond the range of a time of the
// store, some 292 years around 1970, is in the distant past or never comes.
func toNano(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.After(time.Unix(0, provider.Never)):
		return provider.Never
	case t.Before(time.Unix(0, math.MinInt64)):
		return 1
	}
	return t.UnixNano()
}
