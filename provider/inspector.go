package provider

import "context"

// Inspector is the part of a store that people and their tools need. It works
// while no engine runs.
type Inspector interface {
	// Get returns one instance, or ErrNotFound.
	Get(ctx context.Context, t Target) (Instance, error)
	// List returns a page of instances, newest first.
	List(ctx context.Context, q Query) (Page, error)
	// Turns returns the committed turns of an instance from turn number from
	// on, at most limit, in order.
	Turns(ctx context.Context, k Key, from int64, limit int) ([]Turn, error)
	// Mailbox returns an instance's unread mail in order, at most limit.
	Mailbox(ctx context.Context, k Key, limit int) ([]Mail, error)
	// Tasks returns the task rows of an instance.
	Tasks(ctx context.Context, k Key) ([]Task, error)
	// Values returns the values of an instance, in the order of their names.
	Values(ctx context.Context, k Key) ([]Value, error)
	// Nodes returns the nodes that have joined.
	Nodes(ctx context.Context) ([]NodeView, error)
	// Stats counts what is in the store.
	Stats(ctx context.Context) (Stats, error)

	// Terminate ends an open instance without running its code, storing
	// outcome; its parent gets the message notify, its tasks are removed. A
	// commit in flight fails.
	Terminate(ctx context.Context, t Target, outcome, notify []byte) error
	// Suspend and Resume stop and continue the turns of an open instance. A
	// commit in flight when it is suspended fails. Resume clears backoff and
	// attempts.
	Suspend(ctx context.Context, t Target) error
	Resume(ctx context.Context, t Target) error
	// Delete removes an instance with everything that belongs to it. An open
	// instance needs force. A commit in flight fails.
	Delete(ctx context.Context, t Target, force bool) error
}

// Holder is implemented by stores that keep why an instance is suspended:
// Capabilities.Hold.
type Holder interface {
	// Hold is Suspend of an instance that may run, and stores the reason as its
	// TurnFailure. One that may not run is left as it is. An empty reason is the
	// opposite: Resume of an instance that is Suspended, with TurnFailure
	// cleared; another one is left as it is.
	Hold(ctx context.Context, t Target, reason string) error
}

// Query selects instances. Zero fields select everything.
type Query struct {
	Statuses   []Status
	Name       string // exact
	NamePrefix string
	IDPrefix   string
	Version    string
	Parent     string // ID of the parent
	// CreatedFrom and CreatedBefore bound the time of creation: from
	// inclusive, before exclusive.
	CreatedFrom, CreatedBefore int64
	// TurnFailed selects open instances whose last turn failed.
	TurnFailed bool
	// DeadLetters selects dead letters only.
	DeadLetters bool
	// WaitingSince selects instances that have been due since this time or
	// longer and that no node has taken. Zero: all.
	WaitingSince int64
	// After continues behind the last instance of the previous page.
	After Key
	// Limit bounds the page; zero means 100.
	Limit int
}

// Page is a part of a list.
type Page struct {
	Instances []Instance // without Outcome and CustomStatus payloads over 4 KiB
	// Next continues the list as Query.After; zero at the end.
	Next Key
}

// Stats counts what is in a store.
type Stats struct {
	Instances   map[Status]int64
	Turns       int64
	UnreadMail  int64
	TaskWaiting int64
	TaskHeld    int64
	Nodes       int
	Now         int64
}
