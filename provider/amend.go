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

// Fits reports whether i is what the amendment is for.
func (a *Amendment) Fits(i *Instance) bool {
	return (i.Status == Quarantined || i.DeadLetter()) && (a.FailedAt == 0 || a.FailedAt == i.FailedAt)
}

// Resume lets turns of an instance run again: the part that is the same for
// every store. The owner of one that could run anyway stays.
func (i *Instance) Resume(now int64) {
	if !i.Status.Runnable() {
		i.Status = Running
		if i.NextTurn == 1 {
			i.Status = Pending
		}
	}
	i.Attempts, i.UpdatedAt = 0, now
	if i.FailedAt != 0 {
		i.NotBefore = 0 // backoff; otherwise it is a delayed start, which stays
	}
}

// DeadLetter reports whether a policy has ended the instance and kept its
// mail: it has Failed by a commit that had a Failure and no turn.
func (i *Instance) DeadLetter() bool { return i.Status == Failed && i.FailedAt != 0 }

// DeadLetter reports whether the commit makes its instance a dead letter.
func (c *Commit) DeadLetter() bool { return c.Status == Failed && c.Turn == nil && c.Failure != "" }
