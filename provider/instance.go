package provider

// Status is where an instance stands. ContinuedAsNew is a status of an
// execution and never of an instance. The zero Status means unknown.
type Status uint8

// The statuses. Their numbers are stored.
const (
	Pending     Status = 1 // created, no turn committed yet
	Running     Status = 2
	Completed   Status = 3
	Failed      Status = 4
	Canceled    Status = 5
	Terminated  Status = 6
	Suspended   Status = 7 // by an operator
	Quarantined Status = 8 // by policy
)

// Open reports whether the instance can still take messages.
func (s Status) Open() bool {
	return s == Pending || s == Running || s == Suspended || s == Quarantined
}

// Runnable reports whether turns may run.
func (s Status) Runnable() bool { return s == Pending || s == Running }

// String returns the status's name.
func (s Status) String() string {
	switch s {
	case Pending:
		return "Pending"
	case Running:
		return "Running"
	case Completed:
		return "Completed"
	case Failed:
		return "Failed"
	case Canceled:
		return "Canceled"
	case Terminated:
		return "Terminated"
	case Suspended:
		return "Suspended"
	case Quarantined:
		return "Quarantined"
	}
	return "Unknown"
}

// ParseStatus is the inverse of String. It returns 0 for an unknown name.
func ParseStatus(name string) Status {
	for s := Pending; s <= Quarantined; s++ {
		if s.String() == name {
			return s
		}
	}
	return 0
}

// Instance is a row of the store: everything known of an instance but its
// history and mail.
type Instance struct {
	Key           Key
	ID            string
	Name, Version string // Version is empty until the execution's first turn
	Status        Status
	// Execution counts generations from 1.
	Execution int64
	// NextTurn is the number of the next turn. It never resets.
	NextTurn int64
	// HistoryFrom is the first turn that is needed to rebuild the current
	// execution: its first turn, or the turn that continued as new while the
	// new execution has none.
	HistoryFrom int64
	// MailboxSeq is the number of the last message received, ReadSeq of the
	// last one consumed.
	MailboxSeq, ReadSeq int64
	// DueAt is when the instance needs an owner without mail, NotBefore is
	// backoff or a delayed start, WakeAt what claims look at.
	DueAt, NotBefore, WakeAt int64
	Owner                    NodeKey
	// Attempts counts claims since the last sign of progress.
	Attempts int64
	// LastCommit is the CommitID last applied.
	LastCommit int64
	Parent     ParentLink

	CreatedAt, UpdatedAt int64
	ClosedAt             int64 // zero while open
	// TurnFailure is the last failure of a turn since the last turn that
	// succeeded, or why the instance is held (Holder); FailedAt is its time.
	TurnFailure string
	FailedAt    int64

	// CustomStatus is what was published last, by the turn CustomStatusTurn;
	// zero: nothing was.
	CustomStatus     []byte
	CustomStatusTurn int64
	// Outcome is the encoded terminal command of an instance that has ended.
	Outcome []byte
}

// Unread reports whether mail waits.
func (i *Instance) Unread() bool { return i.MailboxSeq > i.ReadSeq }

// ComputeWakeAt computes the row's WakeAt. It is the only place that says when a
// claim may see an instance:
//
//   - what cannot run is never seen;
//   - an unowned instance is seen at once if it has mail, else when due, but
//     never before NotBefore;
//   - an owned instance is seen, by its owner, when it has mail.
func (i *Instance) ComputeWakeAt(now int64) int64 {
	switch {
	case !i.Status.Runnable():
		return Never
	case i.Owner != 0 && !i.Unread():
		return Never
	case i.Owner != 0:
		return now
	case i.Unread():
		return max(now, i.NotBefore)
	}
	return max(i.DueAt, i.NotBefore)
}

// Hasten ends the delay of an instance that has not begun, and reports whether
// there was one. Backoff is none. WakeAt has to be computed anew.
func (i *Instance) Hasten() bool {
	if i.NextTurn != 1 || i.FailedAt != 0 || i.NotBefore == 0 {
		return false
	}
	i.NotBefore = 0
	return true
}

// Outcome is the state of an instance for those who wait for it.
type Outcome struct {
	Key     Key
	Status  Status
	Owner   NodeKey
	Payload []byte // the instance's Outcome, when it has ended
}
