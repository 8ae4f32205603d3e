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
	// Payload is the encoded command.
	Payload []byte
	// Failure is the encoded failure of the last attempt, Details its last
	// heartbeat.
	Failure, Details []byte
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
}

// TaskClaimReply is what a claim of tasks found.
type TaskClaimReply struct {
	Now   int64
	Tasks []Task
	// NextDue is the earliest VisibleAt after Now of a task that matches, or
	// Never.
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
}

// Ref returns what identifies the task under its present attempt.
func (t *Task) Ref() TaskRef {
	return TaskRef{Instance: t.Instance, Execution: t.Execution, Command: t.Command, Attempt: t.Attempt}
}

// TaskFinish says how an attempt ended.
type TaskFinish struct {
	TaskRef
	// Message answers the command: the task is removed and the message put
	// into the mailbox of its instance. Nil: the task is tried again.
	Message []byte
	// Retry returns the task to the pool from VisibleAt on, with Failure.
	VisibleAt int64
	Failure   []byte
	Details   []byte
	// GiveBack does not count the attempt: the worker shut down cleanly.
	GiveBack bool
}

// TaskBeat is a sign of life of one task.
type TaskBeat struct {
	TaskRef
	// Details replaces the stored details unless it is nil.
	Details []byte
}
