package provider

import "fmt"

// Check returns what makes a commit invalid for the instance it is for, as
// ErrInvalid: the part that is the same for every store.
func (c *Commit) Check(row *Instance) error {
	why := ""
	switch {
	case c.CommitID == 0:
		why = "no commit ID"
	case c.Status < Pending || c.Status > Quarantined:
		why = "no status"
	case c.Turn != nil && c.Turn.Number != c.Expect:
		why = "the turn is not the one expected"
	case c.ReadSeq > row.MailboxSeq:
		why = "reads mail that has not come"
	case c.OpenLocal > 0 && c.Release:
		why = "released with open local tasks"
	case c.OpenLocal > 0 && c.DueAt != 0:
		why = "not due at once with open local tasks"
	}
	for i := range c.Children {
		if why == "" && len(c.Children[i].With) > 0 {
			why = "a child with messages"
		}
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%w: commit of %s: %s", ErrInvalid, row.ID, why)
}

// MaxTurnEvents is how many times MaxEventSize the events of a turn may have
// in bytes: what a turn may take and ask for, and one payload of any size beside
// each.
const MaxTurnEvents = 8

// Payloads yields everything that MaxEventSize bounds, piece by piece. The
// events of a turn are many payloads, and not among them.
func (c *Commit) Payloads(yield func([]byte) bool) {
	all := func(payloads ...[]byte) bool {
		for _, p := range payloads {
			if !yield(p) {
				return false
			}
		}
		return true
	}
	more := all(c.CustomStatus, c.Outcome)
	for i := 0; more && i < len(c.Values); i++ {
		more = all(c.Values[i].Payload)
	}
	for i := 0; more && i < len(c.Replies); i++ {
		more = all(c.Replies[i].Payload)
	}
	for i := 0; more && i < len(c.Tasks); i++ {
		more = all(c.Tasks[i].Payload, c.Tasks[i].Failure, c.Tasks[i].Details)
	}
	for i := 0; more && i < len(c.Children); i++ {
		more = all(c.Children[i].Start, c.Children[i].Refusal)
	}
	for i := 0; more && i < len(c.Messages); i++ {
		more = all(c.Messages[i].Payload, c.Messages[i].Notify, c.Messages[i].Refusal)
	}
}

// Size is roughly what a commit writes, in bytes: what stores bound a group by.
func (c *Commit) Size() int {
	const row = 200
	n := row * (1 + len(c.Values) + len(c.Replies) + len(c.Tasks) + len(c.Children) + len(c.Messages))
	if c.Turn != nil {
		n += len(c.Turn.Events)
	}
	for p := range c.Payloads {
		n += len(p)
	}
	return n
}
