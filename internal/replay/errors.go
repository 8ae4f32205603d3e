package replay

import (
	"fmt"
	"strings"

	"github.com/durango-go/durango/history"
)

// NondeterminismError is the first difference between what the code emits and
// what the history has.
type NondeterminismError struct {
	Turn  int64 // number of the turn
	Index int   // of the command within the turn, from 0
	// Recorded is nil if the code emitted more than was recorded, Emitted if
	// it emitted less. Recorded is a delivery, UpdateRequested, if the code
	// does not handle it now.
	Recorded, Emitted *history.Event
	// At is the file and line of the user's code that emitted it, or empty if
	// no line did: the code had returned, or a request to cancel did it.
	At string
	// Explanation, unless nil, says more. It is not part of the text.
	Explanation *Explanation
}

func (e *NondeterminismError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "nondeterminism in turn %d at command %d: ", e.Turn, e.Index+1)
	if e.Recorded != nil && e.Recorded.Kind.Delivery() {
		fmt.Fprintf(&b, "recorded %s; the code does not handle it", describe(e.Recorded))
		return b.String()
	}
	if e.Recorded != nil {
		fmt.Fprintf(&b, "recorded %s", describe(e.Recorded))
	} else {
		b.WriteString("recorded nothing more")
	}
	if e.Emitted != nil {
		fmt.Fprintf(&b, "; emitted %s", describe(e.Emitted))
	} else {
		b.WriteString("; emitted nothing more")
	}
	if e.At != "" {
		fmt.Fprintf(&b, " at %s", e.At)
	}
	return b.String()
}

// PanicError is a panic of the code, or its call of runtime.Goexit.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// UndecodableError is what the code panics with when it cannot decode what it
// is given.
type UndecodableError struct{ Err error }

func (e *UndecodableError) Error() string { return e.Err.Error() }

// Unwrap returns the decoder's error.
func (e *UndecodableError) Unwrap() error { return e.Err }

// LimitError is a limit that the code went beyond, and that fails the turn. The
// code may panic with one.
type LimitError struct {
	Err error
	At  string // file and line of the user's code, unless it panicked
}

func (e *LimitError) Error() string { return e.Err.Error() }

// Unwrap returns what the limit's error is.
func (e *LimitError) Unwrap() error { return e.Err }

// MisuseError is a use of the machine from where it must not be used.
type MisuseError struct {
	What string
	At   string // file and line of the user's code
}

func (e *MisuseError) Error() string {
	return fmt.Sprintf("orchestration context %s at %s", e.What, e.At)
}

// describe shows what identifies a command.
func describe(e *history.Event) string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	if e.Name != "" {
		fmt.Fprintf(&b, " %q", e.Name)
	}
	for _, f := range []struct{ label, value string }{
		{"target", e.Target}, {"pool", e.Pool}, {"session", e.Session},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s %q", f.label, f.value)
		}
	}
	switch e.Kind {
	case history.UpdateRequested, history.UpdateAnswered:
		fmt.Fprintf(&b, " request %q", e.Text)
	case history.CallRefused:
		fmt.Fprintf(&b, " for its %s", e.Text)
	}
	if e.Ref != 0 {
		fmt.Fprintf(&b, " of command %d", e.Ref)
	}
	if e.Detached {
		b.WriteString(" detached")
	}
	return b.String()
}
