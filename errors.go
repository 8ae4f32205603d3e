package durango

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
)

// sentinel is an error that is recognized by its code, so that it is the same
// error before and after it has been stored.
type sentinel struct{ code, text string }

func (s *sentinel) Error() string     { return s.text }
func (s *sentinel) errorCode() string { return s.code }

// coded is implemented by every error that keeps its identity in the store.
type coded interface {
	error
	errorCode() string
}

// codeOf returns the code of err itself, not of what it wraps.
func codeOf(err error) string {
	if c, ok := err.(coded); ok {
		return c.errorCode()
	}
	return ""
}

// The codes of the engine's own errors, as [Error.Code] has them.
const (
	CodeCanceled       = engine.CodeCanceled
	CodeTimeout        = engine.CodeTimeout
	CodeAlreadyExists  = engine.CodeAlreadyExists
	CodeNotFound       = engine.CodeNotFound
	CodeNotRunning     = engine.CodeNotRunning
	CodeNotEnded       = "durango/not-ended"
	CodeWorkerLost     = engine.CodeWorkerLost
	CodeNoWorker       = engine.CodeNoWorker
	CodeTooLarge       = engine.CodeTooLarge
	CodeNotSupported   = "durango/not-supported"
	CodePanic          = engine.CodePanic
	CodeUndecodable    = engine.CodeUndecodable
	CodeTerminated     = engine.CodeTerminated
	CodeInvalid        = "durango/invalid"
	CodeNoHandler      = engine.CodeNoHandler
	CodeNotCompensated = "durango/not-compensated"
	CodeQuarantined    = engine.CodeQuarantined
	CodeNotQuarantined = "durango/not-quarantined"
	CodeBlobNotFound   = "durango/blob-not-found"
	CodeBlobCorrupt    = "durango/blob-corrupt"
	CodeDraining       = "durango/draining"
)

// What durango itself reports. Test with [errors.Is]; the package
// documentation has the table of situations.
var (
	ErrCanceled       error = &sentinel{CodeCanceled, "canceled"}
	ErrTimeout        error = &sentinel{CodeTimeout, "timed out"}
	ErrAlreadyExists  error = &sentinel{CodeAlreadyExists, "instance already exists"}
	ErrNotFound       error = &sentinel{CodeNotFound, "instance not found"}
	ErrNotRunning     error = &sentinel{CodeNotRunning, "instance has ended"}
	ErrNotEnded       error = &sentinel{CodeNotEnded, "instance has not ended"}
	ErrWorkerLost     error = &sentinel{CodeWorkerLost, "the worker of the activity was lost"}
	ErrNoWorker       error = &sentinel{CodeNoWorker, "no worker took the activity in time"}
	ErrTooLarge       error = &sentinel{CodeTooLarge, "value too large"}
	ErrNotSupported   error = &sentinel{CodeNotSupported, "not supported by the store"}
	ErrPanic          error = &sentinel{CodePanic, "the activity panicked"}
	ErrDecode         error = &sentinel{CodeUndecodable, "value cannot be decoded"}
	ErrTerminated     error = &sentinel{CodeTerminated, "terminated"}
	ErrInvalid        error = &sentinel{CodeInvalid, "invalid value"}
	ErrNoHandler      error = &sentinel{CodeNoHandler, "no handler for the update"}
	ErrNotCompensated error = &sentinel{CodeNotCompensated, "not compensated"}
	ErrQuarantined    error = &sentinel{CodeQuarantined, "the turns of the instance failed too often"}
	ErrNotQuarantined error = &sentinel{CodeNotQuarantined, "the instance is not quarantined"}
	ErrBlobNotFound   error = &sentinel{CodeBlobNotFound, "the content of the blob is not there"}
	ErrBlobCorrupt    error = &sentinel{CodeBlobCorrupt, "the content of the blob is not what was stored"}
	ErrDraining       error = &sentinel{CodeDraining, "the node is shutting down"}
)

// Error is an error as it is stored: what an orchestration sees of a failed
// activity or child, and a client of a failed instance. An error that was not
// declared with [NewError] crosses as its text and the name of its Go type, so
// that errors.Is(err, sql.ErrNoRows) is false before a crash as it is after
// one.
type Error struct {
	// Code is the name of the kind of error: one declared with [NewError], one
	// of the constants of this package, or empty for an undeclared error.
	Code string
	// Message is cut at 16 KiB, which shows at its end.
	Message string
	// Type is, for people, the Go type of an undeclared error, or which timeout
	// passed: "start-to-close" and its like, "context" for that of a
	// [Context.WithTimeout].
	Type string
	// Detail is the encoded value of a declared error, or what the engine adds
	// (the stack of a panic).
	Detail json.RawMessage
	// Final says that trying again is pointless; see [NonRetryable].
	Final bool
	// Cause is the next error of the chain, itself an *Error, or nil. A tree of
	// errors is stored as the chain of its nodes in depth-first order.
	Cause error
}

// Error returns the message, or what else is known when there is none.
func (e *Error) Error() string {
	return cmp.Or(e.Message, e.Code, e.Type, "unknown error")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is a sentinel or a kind with e's code.
func (e *Error) Is(target error) bool {
	if _, ok := target.(*Error); ok || e.Code == "" {
		return false
	}
	return codeOf(target) == e.Code
}

func (e *Error) errorCode() string { return e.Code }

// TimeoutKind returns which timeout passed: "start-to-close",
// "schedule-to-close", "heartbeat", or "context" for that of a
// [Context.WithTimeout]. It returns an empty string for an error that does not
// match [ErrTimeout], and for one whose kind is not known. The first in err's
// chain counts.
func TimeoutKind(err error) (kind string) {
	walk(err, func(err error) bool {
		e, ok := err.(*Error)
		if ok && e.Code == CodeTimeout {
			kind = e.Type
		}
		return kind == ""
	})
	return kind
}

// AlreadyExistsError is returned by Start when the ID is taken. It matches
// [ErrAlreadyExists]; Start also returns the run that has the ID, whose output is
// of another type when Name is set.
type AlreadyExistsError struct {
	ID string
	// Name is the orchestration that the instance is of, where [Reuse] met one of
	// another; empty otherwise.
	Name string
}

func (e *AlreadyExistsError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("instance %q already exists, of orchestration %q", e.ID, e.Name)
	}
	return fmt.Sprintf("instance %q already exists", e.ID)
}

// Is makes every AlreadyExistsError match [ErrAlreadyExists].
func (e *AlreadyExistsError) Is(target error) bool { return target == ErrAlreadyExists }

func (e *AlreadyExistsError) errorCode() string { return CodeAlreadyExists }

// NonRetryable marks err as final: an activity that returns it is not tried
// again, whatever its policy says.
func NonRetryable(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

// RetryAfter marks err with the pause before the next attempt, in place of the
// one that the policy computes, as when a service has said when to come again.
// Whether there is a next attempt is still the policy's decision. A pause that
// is not positive leaves the policy's.
func RetryAfter(err error, pause time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryError{err, pause}
}

type retryError struct {
	err   error
	pause time.Duration
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// ErrorKind is a kind of error that keeps its identity and a typed detail
// through the store. It is declared once with [NewError].
type ErrorKind[T any] struct{ name string }

// NewError declares a kind of error. The name is durable: it is what the store
// keeps.
func NewError[T any](name string) ErrorKind[T] { return ErrorKind[T]{name} }

// Name returns the declared name.
func (k ErrorKind[T]) Name() string { return k.name }

// New makes an error of this kind. The message is the name of the kind unless
// parts of one are given, which are joined by ": ".
func (k ErrorKind[T]) New(detail T, message ...string) error {
	if err := checkName("error name", k.name); err != nil {
		return err
	}
	b, err := encodeCall(nil, "error", k.name, &detail)
	if err != nil {
		return err
	}
	e := &Error{Code: k.name, Message: k.name, Detail: b}
	for i, part := range message {
		if i == 0 {
			e.Message = part
		} else {
			e.Message += ": " + part
		}
	}
	return e
}

// Error returns the declared name. It makes a kind an error, so that
// errors.Is(err, Declined) works, and so that a kind without a detail can be
// returned as it is.
func (k ErrorKind[T]) Error() string { return k.name }

func (k ErrorKind[T]) errorCode() string { return k.name }

// Is reports whether an error of this kind is in err's chain.
func (k ErrorKind[T]) Is(err error) bool { return k.has(err) }

// From returns the detail of the first error of this kind in err's chain. It
// returns false when there is none, and when there is one whose detail does not
// decode into T, or was over 16 KiB and has been left out; Is tells these apart.
func (k ErrorKind[T]) From(err error) (T, bool) {
	var detail T
	e := k.find(err)
	if e == nil || e.Type == typeCut || decode(nil, e.Detail, &detail) != nil {
		return *new(T), false
	}
	return detail, true
}

func (k ErrorKind[T]) has(err error) bool {
	found := false
	walk(err, func(err error) bool {
		found = k.name != "" && codeOf(err) == k.name
		return !found
	})
	return found
}

func (k ErrorKind[T]) find(err error) *Error {
	var found *Error
	walk(err, func(err error) bool {
		e, ok := err.(*Error)
		if ok && k.name != "" && e.Code == k.name {
			found = e
		}
		return found == nil
	})
	return found
}

// storeError gives an error of the store the identity that this package
// documents, and keeps its own.
type storeError struct {
	kind error
	err  error
}

func (e *storeError) Error() string        { return e.err.Error() }
func (e *storeError) Unwrap() error        { return e.err }
func (e *storeError) Is(target error) bool { return target == e.kind }
func (e *storeError) errorCode() string    { return codeOf(e.kind) }

var storeKinds = []struct{ of, kind error }{
	{provider.ErrAlreadyExists, ErrAlreadyExists},
	{provider.ErrNotFound, ErrNotFound},
	{provider.ErrNotOpen, ErrNotRunning},
	{provider.ErrTooLarge, ErrTooLarge},
	{engine.ErrTaskCanceled, ErrCanceled},
	{engine.ErrTaskLost, ErrWorkerLost},
	{engine.ErrDraining, ErrDraining},
}

// ofInstance is fromStore for a call whose error names the instance itself: the
// store would only name it again, with what it was asked.
func ofInstance(err error) error {
	switch {
	case errors.Is(err, provider.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, provider.ErrNotOpen):
		return ErrNotRunning
	}
	return fromStore(err)
}

// causeOf translates why the context of an activity ended.
func causeOf(err error) error {
	var timeout *engine.TimeoutError
	if errors.As(err, &timeout) {
		return fromFailure(nil, timeout.Failure)
	}
	return fromStore(err)
}

// fromStore translates an error of the store, or of the engine. It returns nil
// for nil.
func fromStore(err error) error {
	if err == nil {
		return nil
	}
	for _, k := range storeKinds {
		if errors.Is(err, k.of) {
			return &storeError{k.kind, err}
		}
	}
	var unsupported *provider.NotSupportedError
	if errors.As(err, &unsupported) {
		return &storeError{ErrNotSupported, err}
	}
	return err
}
