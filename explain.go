package durango

import (
	"github.com/durango-go/durango/internal/replay"
)

// Cause is the class of change that a difference between a history and the code
// is most likely of.
type Cause string

// The causes.
const (
	// CauseInserted: the code asks for something that is not recorded.
	CauseInserted = Cause(replay.Inserted)
	// CauseRemoved: the code no longer asks for something that is recorded.
	CauseRemoved = Cause(replay.Removed)
	// CauseReordered: the code asks for the same in another order, or waits for
	// less or for more before it does.
	CauseReordered = Cause(replay.Reordered)
	// CauseRenamed: the code asks for the same kind of thing under another name.
	CauseRenamed = Cause(replay.Renamed)
	// CauseChanged: the code asks for another kind of thing, or with another
	// pool, session or target, or it ends in another way.
	CauseChanged = Cause(replay.Changed)
	// CauseMapOrder: one line asks for the same things in another order.
	CauseMapOrder = Cause(replay.MapOrder)
	// CauseUnstable: the code asks for something else each time it runs. It
	// depends on a clock, on chance or on a global.
	CauseUnstable = Cause(replay.Unstable)
	// CauseNoHandler: the code has no handler for an update that it handled.
	CauseNoHandler = Cause(replay.Unhandled)
)

// Explanation says at length how a history and the code for it part. What it
// says of the cause is a guess, made by running the code on beyond the
// difference, several times, with the answers that the history has for it.
type Explanation struct {
	Cause Cause
	// Patch is an id for [Context.Patched], and Branch the branch, in Go, that
	// makes the history replay and lets other executions take the new way. Both
	// are empty where no branch would help.
	Patch, Branch string

	text string
}

// String returns lines for people: the cause, what the code did beside what is
// recorded with the lines of code that did it, and what to do about it.
func (e *Explanation) String() string {
	if e == nil {
		return ""
	}
	return e.text
}

func explanation(x *replay.Explanation) *Explanation {
	if x == nil {
		return nil
	}
	return &Explanation{Cause: Cause(x.Cause), Patch: x.Patch, Branch: x.Branch, text: x.Text}
}
