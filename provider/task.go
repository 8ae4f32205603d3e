package provider

// TaskRef identifies a task under one attempt.
type TaskRef struct {
	Instance           Key
	Execution, Command int64
	Attempt            int64
}

// NewTask is an activity to be put where workers look for it.
type NewTask struct {
	Command             int64
	Name, Pool, Session string
	// Attempt is the number of attempts already begun.
	Attempt int64
	// VisibleAt is when a worker may take it.
	VisibleAt int64
	// ScheduledAt is when the orchestration asked for it.
	ScheduledAt int64
	// StartWithin is how long it may be visible, and CloseBy until when it may
	// wait or run altogether, before it expires. Zero: for ever.
	StartWithin, CloseBy int64
	// Parked: it waits to be finished from outside (FinishTasks by node zero),
	// under the attempt already begun. It is in no queue, and expires at
	// VisibleAt.
	Parked bool
	// Payload is the encoded command.
	Payload []byte
	// Failure is the encoded failure of the last attempt, Details its last
	// heartbeat.
	Failure, Details []byte
}

// ComputeExpiresAt says when an unheld task expires: from then on any node's
// claim returns it, whatever it can run. Tasks that are held do not expire.
func (t *NewTask) ComputeExpiresAt() int64 {
	if t.Parked {
		return t.VisibleAt
	}
	at := Never
	if t.StartWithin > 0 && t.VisibleAt < Never-t.StartWithin {
		at = t.VisibleAt + t.StartWithin
	}
	if t.CloseBy > 0 {
		at = min(at, t.CloseBy)
	}
	return at
}

// TaskFilter is a kind of task that a node's workers take.
type TaskFilter struct {
	Name, Pool string
}

// TaskClaim asks for tasks.
type TaskClaim struct {
	Node    NodeKey
	Filters []TaskFilter
	Limit   int
	// A task with a Session is claimed only by the node that has the session;
	// if none has, the claim opens it, unless the node has MaxSessions open
	// already. Before that, sessions of the node that hold no task and were
	// not used for SessionIdle are closed; zero closes none. A node's burial
	// closes its sessions.
	MaxSessions int
	SessionIdle int64
}

// TaskClaimReply is what a claim of tasks found.
type TaskClaimReply struct {
	Now   int64
	Tasks []Task
	// NextDue is the earliest time after Now at which a task that matches
	// becomes visible, or one of any kind expires, or Never.
	NextDue int64
}

// Task is an activity as it waits for, or is held by, a worker. Its Attempt
// counts the claim that returned it.
type Task struct {
	Instance   Key
	InstanceID string
	Execution  int64
	NewTask
	Holder    NodeKey
	HeldSince int64
	// Expired: it was claimed because it has expired.
	Expired bool
}

// Ref returns what identifies the task under its present attempt.
func (t *Task) Ref() TaskRef {
	return TaskRef{Instance: t.Instance, Execution: t.Execution, Command: t.Command, Attempt: t.Attempt}
}

// ClaimedExpired reports whether the claim that holds the task took it because
// it had expired: such a claim counted no attempt. A claim takes what has
// expired as nothing else.
func (t *Task) ClaimedExpired() bool { return t.Parked || t.ComputeExpiresAt() <= t.HeldSince }

// TaskFinish says how an attempt ended.
type TaskFinish struct {
	TaskRef
	// Message answers the command: the task is removed and the message put
	// into the mailbox of its instance. Nil: the task is tried again.
	Message []byte
	// Blobs are what Message refers to; see BlobKeeper.
	Blobs []BlobAddress
	// Retry returns the task to the pool from VisibleAt on, with Failure.
	VisibleAt int64
	// Park leaves the task to be finished from outside, until VisibleAt,
	// instead of returning it to the pool.
	Park    bool
	Failure []byte
	Details []byte
	// GiveBack undoes the claim: its attempt does not count, because the worker
	// shut down cleanly or never learned of it. A task that was claimed because
	// it had expired is put back as it was.
	GiveBack bool
}

// TaskBeat is a sign of life of one task.
type TaskBeat struct {
	TaskRef
	// Details replaces the stored details unless it is nil.
	Details []byte
	// Failure replaces the stored failure unless it is nil. A store without
	// [Capabilities].Notes ignores it.
	Failure []byte
}
