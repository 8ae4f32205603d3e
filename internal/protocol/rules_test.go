package protocol

// A rule of the protocol, which a walk may leave out.
type rule int

const (
	checkNodeRow rule = iota
	turnsNeverReset
	commitIdentity
	reconcile
	keepLocal
	wholeMailbox
	fencedFinish
	carrySignals
	chargeOnce
	wakeFromRow
	dueUnstarted
	backoffFloor
	refuseInCommit
	allRules
)

var rules = [allRules]struct{ name, says string }{
	checkNodeRow: {"check-node-row", "A claim checks, in its transaction, that its node is still known " +
		"(else a claim that commits after its node's death owns the row for ever)."},
	turnsNeverReset: {"turns-never-reset", "Turn numbers never restart while the instance lives, and a cached execution is " +
		"valid only if its next turn and execution are the store's."},
	commitIdentity: {"commit-identity", "After an unknown outcome a node compares the commit ID stored with the turn, " +
		"not only its number."},
	reconcile: {"reconcile", "A node compares the rows that carry its key with what it holds, and adopts the difference."},
	keepLocal: {"keep-local", "An instance with open local tasks or unrecorded local results is not released."},
	wholeMailbox: {"whole-mailbox", "Recovery looks for a completion in the whole unread mailbox, " +
		"not only in the window that it will deliver."},
	fencedFinish: {"fenced-finish", "A task's finish is fenced by holder and attempt."},
	carrySignals: {"carry-signals", "Unconsumed signals become the first deliveries of the next execution; " +
		"they are not re-sent behind newer mail."},
	chargeOnce: {"charge-once", "A failure under a claim already charged is not charged again; " +
		"a release without a turn clears the charge."},
	wakeFromRow: {"wake-from-row", "When an instance is due is computed from its locked row, mail included, " +
		"never from what the engine believes."},
	dueUnstarted: {"due-unstarted", "An instance is due at once while it has an unstarted execution."},
	backoffFloor: {"backoff-floor", "Backoff floors every send, release and reset."},
	refuseInCommit: {"refuse-in-commit", "That a child's ID is taken comes back as a message to the sender, " +
		"in the transaction that tried."},
}

func (r rule) String() string { return rules[r].name }
