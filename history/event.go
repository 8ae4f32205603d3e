// Package history defines what is remembered of an orchestration: events,
// grouped in turns, and the compact binary form in which a provider stores
// them.
//
// An event is either a delivery (something arrived) or a command (the code
// asked for something). A turn is the deliveries an execution took at one
// moment and the commands its code emitted in answer; the history of an
// execution is the list of its turns. Replaying the deliveries must produce
// the commands again: that is all that durable execution rests on.
//
// The form is append-only. Kinds and fields are added, never changed or
// reused, and a reader that meets one it does not know returns
// [ErrUnknownFormat] instead of skipping it, because a skipped event would
// show up later as a difference that is not there.
package history

import (
	"encoding/hex"
	"fmt"
)

// Kind says what an [Event] records. Values below 100 are deliveries, the
// others commands. The zero Kind is invalid.
type Kind uint8

// The deliveries.
const (
	// Started is the first delivery of every execution. Name and Version
	// identify the orchestration, Payload is its input, Parent the instance
	// that awaits it, Carried the values that the execution before left. Once
	// recorded, Target is the instance's own ID and Seq the number of the
	// execution, so that a history says whose it is.
	Started Kind = 1
	// ActivityCompleted answers ActivityScheduled: Ref, Payload (the result).
	ActivityCompleted Kind = 2
	// ActivityFailed answers ActivityScheduled: Ref, Failure.
	ActivityFailed Kind = 3
	// TimerFired answers TimerSet: Ref.
	TimerFired Kind = 4
	// SignalReceived is a message from outside: Name, Payload.
	SignalReceived Kind = 5
	// ChildCompleted answers ChildStarted: Ref, Payload (the output).
	ChildCompleted Kind = 6
	// ChildFailed answers ChildStarted: Ref, Failure. It also reports that the
	// child could not be started.
	ChildFailed Kind = 7
	// CancelRequested asks the execution to end: Text is the reason.
	CancelRequested Kind = 8
	// SignalRefused answers SignalSent when nobody could receive it: Ref,
	// Failure.
	SignalRefused Kind = 9
	// ValueCarried is a value that the execution before had: Name, Payload. It
	// stands in ContinuedAsNew and in the Started of the next execution.
	ValueCarried Kind = 10
	// UpdateRequested is a request that the code has accepted: Name, Text (the
	// ID of the request), Payload. One that was rejected is in no turn.
	UpdateRequested Kind = 11
	// Undecodable is a message that was put aside because it could not be
	// decoded: Payload is its bytes, Text why, Ref the command that it answered
	// or zero. The code does not see it.
	Undecodable Kind = 12
	// InstanceQuarantined says that the instance was stopped after too many failed
	// turns and let go again: Name is the fingerprint, Attempt the number of
	// failures, Time the first, Text the last. It stands in the first turn after it,
	// and the code does not see it.
	InstanceQuarantined Kind = 13
)

// The commands. Every command but PatchMarked carries Seq, its number within
// the execution, counted from 1.
const (
	// ActivityScheduled asks for an activity: Name, Payload, Pool, Session,
	// Policy.
	ActivityScheduled Kind = 100
	// TimerSet asks to be woken at Time.
	TimerSet Kind = 101
	// ChildStarted starts another instance, Target: Name, Version, Payload,
	// Close. A child with Detached set has no parent link and is never
	// answered, except when its ID is taken.
	ChildStarted Kind = 102
	// SignalSent sends a signal to the instance Target: Name, Payload.
	SignalSent Kind = 103
	// ValueRecorded keeps a value that replay must not compute again: Name
	// (where it came from), Payload.
	ValueRecorded Kind = 104
	// StatusSet publishes a custom status: Payload.
	StatusSet Kind = 105
	// ActivityCanceled withdraws the activity scheduled by command Ref.
	ActivityCanceled Kind = 106
	// TimerCanceled withdraws the timer set by command Ref.
	TimerCanceled Kind = 107
	// ChildCanceled asks the child started by command Ref, Target, to cancel.
	ChildCanceled Kind = 108
	// ValueSet gives the instance's value Name a new Payload, ValueCleared
	// removes it.
	ValueSet     Kind = 109
	ValueCleared Kind = 110
	// UpdateAnswered answers an UpdateRequested: Name, Text (the ID of the
	// request), Payload or Failure.
	UpdateAnswered Kind = 111
	// PatchMarked says that the code took the newer branch of the patch Name.
	// It has no number, so that a program that no longer asks can skip it.
	PatchMarked Kind = 112
	// CallRefused says that a call was refused before it asked for anything,
	// because what it was given is too large: Name (whose call it was), Text
	// (what it gave), Failure. The code got the failure as the call's error, and
	// a replay gives it again whatever the limits are by then.
	CallRefused Kind = 113

	// Completed ends the execution: Payload is the output.
	Completed Kind = 120
	// Failed ends the execution: Failure.
	Failed Kind = 121
	// Canceled ends the execution after a CancelRequested: Text.
	Canceled Kind = 122
	// ContinuedAsNew ends the execution and begins the next: Payload is its
	// input, Version its version (empty: chosen again), Carried the values it
	// had and the signals that nobody had consumed.
	ContinuedAsNew Kind = 123
)

var kindNames = map[Kind]string{
	Started: "Started", ActivityCompleted: "ActivityCompleted", ActivityFailed: "ActivityFailed",
	ValueCarried: "ValueCarried", UpdateRequested: "UpdateRequested", Undecodable: "Undecodable",
	InstanceQuarantined: "InstanceQuarantined", ValueSet: "ValueSet",
	ValueCleared: "ValueCleared", UpdateAnswered: "UpdateAnswered", PatchMarked: "PatchMarked", CallRefused: "CallRefused",
	TimerFired: "TimerFired", SignalReceived: "SignalReceived", ChildCompleted: "ChildCompleted",
	ChildFailed: "ChildFailed", CancelRequested: "CancelRequested", SignalRefused: "SignalRefused",
	ActivityScheduled: "ActivityScheduled", TimerSet: "TimerSet", ChildStarted: "ChildStarted",
	SignalSent: "SignalSent", ValueRecorded: "ValueRecorded", StatusSet: "StatusSet",
	ActivityCanceled: "ActivityCanceled", TimerCanceled: "TimerCanceled", ChildCanceled: "ChildCanceled",
	Completed: "Completed", Failed: "Failed", Canceled: "Canceled", ContinuedAsNew: "ContinuedAsNew",
}

// String returns the kind's name, or its number when it has none.
func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Known reports whether this version of the package can read events of kind k.
func (k Kind) Known() bool { return k.Command() || k.Delivery() }

// Delivery reports whether k records something that arrived.
func (k Kind) Delivery() bool { return k >= Started && k <= InstanceQuarantined }

// Command reports whether k records something that the code asked for.
func (k Kind) Command() bool {
	return k >= ActivityScheduled && k <= CallRefused || k.Terminal()
}

// Terminal reports whether k ends an execution.
func (k Kind) Terminal() bool { return k >= Completed && k <= ContinuedAsNew }

// Event is one record of a history. Which fields mean something depends on
// Kind; the others are zero and take no room when encoded. Payloads are
// opaque: only the application knows their encoding.
type Event struct {
	Kind Kind
	// Detached marks a child without a parent link.
	Detached bool
	// Close says what happens to a child when its parent ends.
	Close ClosePolicy
	// Attempt is the number of the attempt that a result came from, counted
	// from 1. Zero means 1.
	Attempt int64
	// Seq is the number of a command within its execution, from 1.
	Seq int64
	// Ref is the command that a delivery answers, or that a command withdraws.
	Ref int64
	// Time is in nanoseconds since the Unix epoch, by the store's clock.
	Time    int64
	Name    string
	Version string
	// Target is the ID of another instance.
	Target  string
	Pool    string
	Session string
	Text    string
	Payload []byte
	Failure *Failure
	Policy  *Policy
	Parent  *Parent
	// Carried are deliveries, which carry none themselves.
	Carried []Event
	// Header is what goes along with an execution and its activities and
	// children: trace context and what else interceptors put there.
	Header map[string]string
	// Blobs are the contents that Payload refers to and that are stored beside
	// the history, so that whoever keeps the event knows what to keep with it.
	Blobs []BlobAddress
}

// BlobAddress is the SHA-256 of a blob's stored content.
type BlobAddress [32]byte

// String returns the address in hexadecimal digits.
func (a BlobAddress) String() string { return hex.EncodeToString(a[:]) }

// ClosePolicy says what happens to a child when its parent ends.
type ClosePolicy uint8

const (
	// CloseCancel asks the child to cancel. It is the default.
	CloseCancel ClosePolicy = 0
	// CloseTerminate stops the child without running its code.
	CloseTerminate ClosePolicy = 1
	// CloseAbandon leaves the child alone.
	CloseAbandon ClosePolicy = 2
)

// String returns the policy's name.
func (p ClosePolicy) String() string {
	switch p {
	case CloseCancel:
		return "cancel"
	case CloseTerminate:
		return "terminate"
	case CloseAbandon:
		return "abandon"
	}
	return fmt.Sprintf("ClosePolicy(%d)", uint8(p))
}

// Parent links a child to the command that started it.
type Parent struct {
	Key       int64 // the parent's instance key
	ID        string
	Execution int64
	Seq       int64
}

// Policy is how an activity is tried. The zero value of each field is its
// default: no limit, one attempt. Durations are nanoseconds.
type Policy struct {
	StartToClose    int64
	ScheduleToClose int64
	ScheduleToStart int64
	Heartbeat       int64
	// MaxAttempts bounds attempts, lost ones included; zero means one attempt
	// for failures, and no bound for attempts lost with their worker.
	MaxAttempts  int64
	Backoff      BackoffKind
	Initial      int64
	MaxInterval  int64
	Factor       float64
	Jitter       float64
	NonRetryable []string
}

// BackoffKind is how the pause between attempts grows.
type BackoffKind uint8

// The kinds of backoff.
const (
	BackoffExponential BackoffKind = 0
	BackoffLinear      BackoffKind = 1
	BackoffFixed       BackoffKind = 2
)

// String returns the kind's name.
func (k BackoffKind) String() string {
	switch k {
	case BackoffExponential:
		return "exponential"
	case BackoffLinear:
		return "linear"
	case BackoffFixed:
		return "fixed"
	}
	return fmt.Sprintf("BackoffKind(%d)", uint8(k))
}

// Failure is an error as it is stored.
type Failure struct {
	// Code identifies the kind of error: a declared name, or one of the
	// engine's own, which begin with "durango/".
	Code    string
	Message string
	// Type is the Go type of an undeclared error, for people only.
	Type string
	// Detail is the encoded value of a declared error.
	Detail []byte
	// Final says that trying again is pointless.
	Final bool
	// Sealed says that Detail has Message, Type and the real Detail in the
	// form that the application's codec gave them.
	Sealed bool
	// RetryAfter, unless zero, is the pause in nanoseconds that the error asks
	// for before the next attempt.
	RetryAfter int64
	// Cause is what the failure wraps. A chain is stored up to its 32nd.
	Cause *Failure
}

// Turn is one committed step of an execution.
type Turn struct {
	// Number counts the turns of an instance from 1 and never restarts, not
	// even when the instance continues as new.
	Number    int64
	Execution int64
	// CommitID identifies the attempt to commit that succeeded.
	CommitID int64
	// Time is what the code sees as the time of the turn: nanoseconds since
	// the Unix epoch by the store's clock, never before the previous turn's.
	Time       int64
	Deliveries []Event
	Commands   []Event
}
