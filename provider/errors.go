package provider

import (
	"errors"
	"fmt"
)

// What a store reports. Callers test with errors.Is.
var (
	// ErrAlreadyExists: the instance ID is taken.
	ErrAlreadyExists = errors.New("instance already exists")
	// ErrNotFound: no such instance.
	ErrNotFound = errors.New("instance not found")
	// ErrNotOpen: the instance has ended and takes no messages.
	ErrNotOpen = errors.New("instance has ended")
	// ErrConflict: the instance is owned by another node, or another turn is
	// next.
	ErrConflict = errors.New("not the owner, or not the next turn")
	// ErrStale: the task is no longer held under that attempt.
	ErrStale = errors.New("task is not held under this attempt")
	// ErrNodeGone: the node has been buried, or never joined.
	ErrNodeGone = errors.New("node is not a member")
	// ErrUnknownOutcome: the connection broke in the middle, and the batch may
	// or may not have been applied.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrTransient: nothing was applied, and trying again may help.
	ErrTransient = errors.New("temporary failure of the store")
	// ErrTooLarge: a value is larger than the store can keep.
	ErrTooLarge = errors.New("value too large")
	// ErrInvalid: the request breaks the contract.
	ErrInvalid = errors.New("invalid request")
	// ErrCorrupt: the store is damaged.
	ErrCorrupt = errors.New("the store is damaged")
	// ErrReadOnly: the store cannot be written.
	ErrReadOnly = errors.New("the store cannot be written")
	// ErrFull: the store has no room left.
	ErrFull = errors.New("no room left in the store")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("the store is closed")
	// ErrIncompatible: the engine and the store have no common contract.
	ErrIncompatible = errors.New("no common contract version")
)

// NotSupportedError says that a store lacks a feature.
type NotSupportedError struct {
	Feature, Reason string
}

func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("%s is not supported: %s", e.Feature, e.Reason)
}
