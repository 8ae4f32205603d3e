package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"

	"github.com/spf13/cobra"
)

// The exit codes. They are stable.
const (
	ExitOK            = 0
	ExitFailure       = 1
	ExitUsage         = 2
	ExitNotFound      = 3
	ExitAlreadyExists = 4
	ExitUnsuccessful  = 5
	ExitTimeout       = 6
	ExitStore         = 7
	ExitNotRunning    = 8
	ExitSick          = 9
	ExitIncompatible  = 10
	ExitInterrupted   = 130
)

// kinds are the exit codes with the word that JSON errors carry.
var kinds = []struct {
	code       int
	word, text string
}{
	{ExitOK, "ok", "success"},
	{ExitFailure, "failure", "anything that no other code says"},
	{ExitUsage, "usage", "the command line is wrong; nothing was done"},
	{ExitNotFound, "not-found", "there is no such instance, or it has no such value"},
	{ExitAlreadyExists, "already-exists", "the instance ID is taken"},
	{ExitUnsuccessful, "unsuccessful", "wait, start --wait: the instance failed, was canceled or was terminated, or is quarantined; update: it refused"},
	{ExitTimeout, "timeout", "what was waited for did not come within --timeout"},
	{ExitStore, "store", "the store does not exist or cannot be opened"},
	{ExitNotRunning, "not-running", "the instance has ended and takes no more messages, or nobody waits for the token"},
	{ExitSick, "sick", "doctor: something is sick"},
	{ExitIncompatible, "incompatible", "check: an instance cannot go on with this program"},
	{ExitInterrupted, "interrupted", "a signal ended the command"},
}

func exitCodesTopic() *cobra.Command {
	text := "Exit codes\n\n"
	for _, k := range kinds {
		text += fmt.Sprintf("  %3d  %-14s  %s\n", k.code, k.word, k.text)
	}
	text += "\nWith -o json an error is one JSON document on standard error:\n" +
		`  {"error": {"kind": "not-found", "exit_code": 3, "message": "…"}}` + "\n"
	// A command that does not run is a help topic.
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: text}
}

// ExitCode returns the exit code for an error of a command. It is 0 for nil.
func ExitCode(err error) int {
	var usage *usageError
	var store *storeError
	var end *endError
	var missing *missingError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &end):
		return ExitUnsuccessful
	case errors.As(err, &store):
		return ExitStore
	case errors.Is(err, durango.ErrInvalid):
		return ExitUsage
	case errors.Is(err, durango.ErrNotFound), errors.Is(err, provider.ErrNotFound), errors.As(err, &missing):
		return ExitNotFound
	case errors.Is(err, durango.ErrAlreadyExists):
		return ExitAlreadyExists
	case errors.Is(err, durango.ErrNotRunning), errors.Is(err, provider.ErrNotOpen):
		return ExitNotRunning
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	case errors.Is(err, errSick):
		return ExitSick
	case errors.Is(err, errIncompatible):
		return ExitIncompatible
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailure
}

// usageError says that the command line is wrong.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// Usagef returns an error for a command line that is wrong, for the commands
// that a program adds to the tree. Its exit code is [ExitUsage].
func Usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// storeError says that the store could not be opened.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// endError says that an instance that was waited for did not complete.
type endError struct {
	id  string
	err error
}

func (e *endError) Error() string { return fmt.Sprintf("instance %q: %v", e.id, e.err) }
func (e *endError) Unwrap() error { return e.err }

// printError tells a person, or with -o json a program, about err.
func printError(w io.Writer, cmd *cobra.Command, err error) {
	code := ExitCode(err)
	if f := cmd.Flag("output"); f != nil && f.Value.String() == "json" {
		word := ""
		for _, k := range kinds {
			if k.code == code {
				word = k.word
			}
		}
		type detail struct {
			Kind     string `json:"kind"`
			ExitCode int    `json:"exit_code"`
			Message  string `json:"message"`
		}
		if writeJSON(w, map[string]detail{"error": {word, code, err.Error()}}) == nil {
			return
		}
	}
	fmt.Fprintf(w, "%s: %v\n", cmd.Root().Name(), err)
}
