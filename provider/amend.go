package provider

import "context"

// Amender is the part of a store that lets go of what a policy has stopped. It
// is optional; a store that has it says so by Capabilities.Amend.
type Amender interface {
	// Amend changes an instance that is Quarantined, or a dead letter; of any
	// other it returns ErrConflict, and of an unknown one ErrNotFound.
	Amend(ctx context.Context, a Amendment) error
}

// Amendment says what is to become of an instance that a policy has stopped.
type Amendment struct {
	To Target
	// FailedAt, unless zero, is what the instance's FailedAt must be: whoever
	// decided by what he had read amends nothing that has failed again since.
	FailedAt int64
	// Failure replaces the text of TurnFailure unless it is empty. FailedAt
	// stays.
	Failure string
	// Resume lets turns run again: as Inspector.Resume does for one that is
	// Quarantined; a dead letter opens again with history and mail as they
	// were, its outcome forgotten, and due at once.
	Resume bool
}

// DeadLetter reports whether a policy has ended the instance and kept its
// mail: it has Failed by a commit that had a Failure and no turn.
func (i *Instance) DeadLetter() bool { return i.Status == Failed && i.FailedAt != 0 }

// DeadLetter reports whether the commit makes its instance a dead letter.
func (c *Commit) DeadLetter() bool { return c.Status == Failed && c.Turn == nil && c.Failure != "" }
