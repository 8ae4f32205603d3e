// Package provider is the contract between durango's engine and a store.
//
// A store keeps instances, their histories, their mailboxes and the tasks
// that wait for a worker, and moves them atomically. It decides nothing: what
// a turn means, when to retry, what a status becomes, is the engine's
// business and arrives here as plain values. It never parses an event: what
// it needs to know of one is in a field of its own.
//
// # The protocol
//
// A node (one running engine) joins and renews itself with one heartbeat. It
// claims instances that are due; while it owns one, nobody else may commit
// its turns. A commit names the turn it expects to write, and succeeds only
// if the instance is still owned by the committer and that turn is next.
// Safety comes from this check, never from time; heartbeats only let others
// continue the work of a node that is gone.
//
// Everything that waits for an instance is a message in its mailbox, numbered
// without gaps in the order of arrival. A turn consumes messages in that
// order. A message can only be put into the mailbox of an instance that exists
// and is open; the sender is told otherwise.
//
// Each instance row carries WakeAt, the time from which claims see it, always
// computed by [Instance.ComputeWakeAt] from the locked row, never from what an engine
// believes.
//
// # Times
//
// All times are nanoseconds since the Unix epoch by the store's own clock,
// which every reply that needs it returns as Now. [Never] is later than
// everything.
//
// # Batches
//
// Methods take batches. A failing item has its error in its own result and
// does not touch the others; the returned error is for the batch as a whole,
// none of which was applied, unless it wraps [ErrUnknownOutcome].
package provider

import (
	"context"
	"math"
)

// Never is the time of what is not going to happen.
const Never int64 = math.MaxInt64

// Provider is the part of a store that the engine needs. It must be safe for
// concurrent use. The interface does not grow: whatever comes later is an
// optional interface of its own behind a capability (see CONTRACT.md).
type Provider interface {
	// Describe tells what the store is and can do. It is the first call and
	// must not depend on a node.
	Describe(ctx context.Context) (Description, error)

	// Join makes a node known and returns its key, which is new each time.
	Join(ctx context.Context, info NodeInfo) (NodeKey, error)
	// Heartbeat increments the node's beat and returns what is known of all
	// nodes. It returns ErrNodeGone when the node has been buried.
	Heartbeat(ctx context.Context, node NodeKey) (Pulse, error)
	// Bury declares another node, or the caller itself when it leaves, dead:
	// if its beat is still the given one the node is removed, and what it
	// owned and held is returned to the pool. Instances become unowned with
	// their attempts kept; tasks become unheld with their attempts kept. Bury
	// may return before everything has been returned, with Done false; calling
	// it again continues. Any node may do so.
	Bury(ctx context.Context, b Burial) (BuryResult, error)

	// Create makes instances, each with its first message. An instance whose
	// ID is taken gets ErrAlreadyExists, with the row that has it; one whose
	// key and ID both exist was created by an earlier attempt of the same
	// call and succeeds.
	Create(ctx context.Context, node NodeKey, batch []NewInstance) ([]CreateResult, error)
	// Send puts messages into mailboxes, in order.
	Send(ctx context.Context, batch []Message) ([]SendResult, error)

	// Claim gives the node ownership of instances that are due, and reports
	// which of those it owns have unread mail from outside.
	Claim(ctx context.Context, req ClaimRequest) (ClaimReply, error)
	// Load reads instances whole or in part: row, turns, open tasks, unread
	// mail. Open tasks are read no later than mail.
	Load(ctx context.Context, batch []LoadRequest) ([]Loaded, error)
	// Commit applies turns, and releases, of instances that the node owns. It
	// is idempotent by CommitID: an item that was applied before succeeds
	// without being applied again, for as long as it is the instance's last.
	Commit(ctx context.Context, node NodeKey, batch []Commit) ([]CommitResult, error)
	// Definitions lists the names and versions of instances that are not
	// ended, and perhaps some that are. The list may lag behind by moments.
	Definitions(ctx context.Context) ([]Definition, error)
	// Owned lists what carries the node's key, for comparison with what the
	// node believes it holds.
	Owned(ctx context.Context, node NodeKey) (Holdings, error)

	// ClaimTasks gives the node tasks that are due, and counts an attempt of
	// each. First come tasks that have expired, whatever their kind, so that
	// somebody can say so; they have Expired set, and no attempt is counted.
	ClaimTasks(ctx context.Context, req TaskClaim) (TaskClaimReply, error)
	// FinishTasks ends what the node does with tasks. It is fenced: an item
	// whose task the node does not hold under that attempt gets ErrStale.
	// Under node zero it ends tasks that are parked.
	FinishTasks(ctx context.Context, node NodeKey, batch []TaskFinish) ([]error, error)
	// ExtendTasks stores heartbeat details and reports, item by item, whether
	// the node still holds the task under that attempt; under node zero,
	// whether it is still parked.
	ExtendTasks(ctx context.Context, node NodeKey, batch []TaskBeat) ([]bool, error)

	// Outcomes returns, item by item, the state of instances; the payloads of
	// those still open are left out. An unknown instance has Status 0.
	Outcomes(ctx context.Context, targets []Target) ([]Outcome, error)
	// Lookup reads what instances have published, item by item.
	Lookup(ctx context.Context, batch []Lookup) ([]Finding, error)
	// Watch calls notify when another process may have changed the store,
	// until ctx ends. It is a hint: calls may be missing, and notify must
	// return quickly. A store without such hints waits for ctx.
	Watch(ctx context.Context, notify func()) error
	// Close releases the store's resources. The engine does not call it.
	Close() error
}

// NodeKey identifies a node: random, never reused. Zero means no node.
type NodeKey int64

// Key identifies an instance: made by [NewKey], increasing with time, never
// reused. Zero means no instance.
type Key int64

// NodeInfo describes a node to people.
type NodeInfo struct {
	Name    string // the host's name, or one given by the user
	PID     int
	Version string // of the module
}

// Pulse is what a heartbeat learns.
type Pulse struct {
	Now   int64
	Nodes []NodeView // every node, the caller included
}

// NodeView is one node as others see it.
type NodeView struct {
	Key  NodeKey
	Beat int64
	// Gone is set when the store knows that the node's process has ended, so
	// that it may be buried without waiting.
	Gone bool
	// Dead is set when the node has been buried but not all it held has been
	// returned yet.
	Dead bool
	Info NodeInfo
}

// Burial names a node and the beat it was last seen with.
type Burial struct {
	Node NodeKey
	Beat int64
	// Force ignores Beat: the node itself is leaving.
	Force bool
}

// BuryResult counts what was returned to the pool by this call. A burial that
// was refused because the beat moved has Done true and counts nothing.
type BuryResult struct {
	Instances, Tasks int
	Done             bool
}

// Definition is a name and version of an orchestration. An empty Version
// stands for instances whose version is chosen when their execution starts.
type Definition struct {
	Name, Version string
}

// Target names an instance by key, or by ID when Key is zero. With both, the
// instance must have both.
type Target struct {
	Key Key
	ID  string
}

// ParentLink is the command of another instance that awaits this one.
type ParentLink struct {
	Key                Key // zero: no parent
	ID                 string
	Execution, Command int64
}

// NewInstance is an instance to be created, with its first message.
type NewInstance struct {
	Key           Key
	ID            string
	Name, Version string
	Parent        ParentLink
	// Command is the command of the committing instance that starts this one,
	// to be told if the ID is taken. Zero outside a commit.
	Command int64
	// Owned gives the instance to the creating node from birth, with an
	// attempt counted.
	Owned bool
	// NotBefore delays the start. Zero: at once.
	NotBefore int64
	// Start is the first message, number 1.
	Start []byte
	// Blobs are what Start refers to; see BlobKeeper.
	Blobs []BlobAddress
	// First, unless nil, is committed by the creating node in the same
	// transaction as the instance that it Owns: a first turn costs no write of
	// its own. It expects turn 1, and its fate is in CreateResult.First. It is
	// not applied to an instance that this call did not create, except that an
	// earlier attempt of the same call is continued. Only Create takes it.
	First *Commit
	// Refusal is the message that tells the committing instance that the ID is
	// taken. Unused outside a commit.
	Refusal []byte
	// With are messages to whatever instance has the ID when this call is
	// done: the one it creates, behind Start and First, or one that was there.
	// They are sent in the same transaction; To is ignored. Only Create takes
	// them.
	With []Message
}

// CreateResult is the fate of one new instance.
type CreateResult struct {
	Err error // ErrAlreadyExists, ErrTooLarge
	// Key is the key of the instance that has the ID, created or not.
	Key Key
	// First is the fate of NewInstance.First, if there was one and Err is nil.
	First CommitResult
	// Sent are the fates of NewInstance.With, in order, when Err is nil or
	// ErrAlreadyExists with a Key.
	Sent []SendResult
}

// Message is put into the mailbox of the instance To.
type Message struct {
	To Target
	// ID makes a message safe to send again: an instance accepts each ID
	// once. Empty: no such protection.
	ID string
	// Execution and Command tell which command of the receiver the message
	// answers; zero for the others.
	Execution, Command int64
	Payload            []byte
	// Blobs are what Payload refers to. The instance that receives the message
	// refers to them from then on; see BlobKeeper.
	Blobs []BlobAddress
	// FromCommand and Refusal: within a commit, the sender's command and the
	// message that tells it that nobody could receive this one. Empty Refusal:
	// the sender does not care.
	FromCommand int64
	Refusal     []byte
	// IfParent, unless zero, lets only an instance with this parent receive
	// the message; for any other the message is silently dropped. It keeps what
	// a parent sends to a child from an unrelated instance that has the ID.
	IfParent Key
	// Hasten lets the receiver begin at once if it waits for its delayed start;
	// see Instance.Hasten. A store that lacks [Capabilities].Hasten ignores it.
	Hasten bool
	// Terminate ends the receiver instead of being delivered, with Payload as
	// its outcome and Notify as the message to its parent; see
	// Inspector.Terminate.
	Terminate bool
	Notify    []byte
}

// SendResult is the fate of one message.
type SendResult struct {
	Err error // ErrNotFound, ErrNotOpen, ErrTooLarge
	// Key is the receiver, Seq the number under which the message waits. Seq
	// is zero for a duplicate and for what is not mail.
	Key Key
	Seq int64
	// Owner is the receiver's owner: if it is the sending node, the message
	// may be handed over in memory.
	Owner NodeKey
}

// Refusal is why the store answered a command in the receiver's place.
type Refusal uint8

// The reasons.
const (
	NotRefused      Refusal = 0
	RefusedNotFound Refusal = 1 // no such instance
	RefusedNotOpen  Refusal = 2 // the instance has ended
	RefusedTaken    Refusal = 3 // a child's ID is taken
)

// Mail is a message as it waits in a mailbox.
type Mail struct {
	Seq                int64
	Execution, Command int64
	Refused            Refusal
	Payload            []byte
}

// ClaimRequest asks for instances.
type ClaimRequest struct {
	Node NodeKey
	// Definitions are what the node can run. Each is probed for itself, so
	// that what nobody here can run is never in the way.
	Definitions []Definition
	// Limit bounds the instances claimed. Zero claims none and only looks.
	Limit int
}

// ClaimReply is what a claim found.
type ClaimReply struct {
	Now     int64
	Claimed []Instance
	// Mail lists instances that the node owned before the claim and that have
	// unread mail from outside. They are reported until a commit reads it.
	Mail []Key
	// NextDue is the earliest WakeAt after Now of an unowned instance that the
	// node could run, or Never.
	NextDue int64
}

// LoadRequest asks for one instance.
type LoadRequest struct {
	Key Key
	// FromTurn is the first turn wanted; zero means the row's HistoryFrom.
	FromTurn int64
	// AfterMail is the last message the caller already has; zero means the
	// row's ReadSeq.
	AfterMail int64
	// MaxTurns, MaxMail and MaxBytes bound what one reply carries (at least
	// one turn and one message are returned if there are any). Zero: the
	// store's default.
	MaxTurns, MaxMail, MaxBytes int
}

// Loaded is one instance as read.
type Loaded struct {
	Err      error // ErrNotFound
	Instance Instance
	Turns    []Turn
	// MoreTurns and MoreMail tell that there is more behind what was returned.
	MoreTurns, MoreMail bool
	// Tasks are the commands of the current execution that have a task row.
	Tasks []int64
	Mail  []Mail
	// Answered are the commands of the current execution that any unread mail
	// answers, whether it is among Mail or not.
	Answered []int64
}

// Turn is one committed turn.
type Turn struct {
	Number, Execution    int64
	CommitID             int64
	Time                 int64
	Deliveries, Commands int
	Events               []byte
}

// Commit writes a turn, or, with Turn nil, only what stands beside it:
// consumed mail, tasks, messages, a release.
type Commit struct {
	Key      Key
	CommitID int64
	// Expect is the instance's NextTurn. Turn, if any, has that number.
	Expect int64
	Turn   *Turn
	// ReadSeq: mail up to and including this number is consumed.
	ReadSeq int64

	// Status, Execution, Name, Version and HistoryFrom are stored as given.
	Status        Status
	Execution     int64
	Name, Version string
	HistoryFrom   int64
	// DueAt is when the instance needs an owner even without mail.
	DueAt int64
	// OpenLocal is the number of tasks that exist in the node's memory only.
	// An instance with any must not be released, and its DueAt must be 0.
	OpenLocal int
	// Release gives up ownership. It is implied by a Status that is not open.
	Release bool
	// Failure, with Turn nil, is the failure of a turn: it is stored for
	// people, NotBefore is stored, and attempts are kept. Charge counts one more
	// attempt, for a failure under a claim whose charge was cleared by a commit.
	// With Status Failed it makes the instance a dead letter, which keeps its
	// unread mail.
	Failure   string
	Charge    bool
	NotBefore int64
	// CustomStatus replaces the custom status unless it is nil.
	CustomStatus []byte
	// Values are set, each at most once, and kept until the instance is deleted.
	Values []Value
	// Replies answer requests to the instance. They are kept until it is
	// deleted or a later commit drops them: those stored before the time
	// DropReplies, unless it is zero.
	Replies     []Reply
	DropReplies int64
	// Outcome is stored when Status is not open: the encoded terminal command.
	Outcome []byte
	// Blobs are what the turn and what is written for the instance beside it
	// refer to; see BlobKeeper.
	Blobs []BlobAddress

	Tasks    []NewTask
	Children []NewInstance
	Messages []Message
	// CancelTasks removes the task rows of these commands of the current
	// execution, after Tasks have been added. A Status that is not open, or a
	// new Execution, removes all.
	CancelTasks []int64
}

// CommitResult is the fate of one commit.
type CommitResult struct {
	// Err is ErrConflict when the instance is not the node's or another turn
	// is next, ErrNotFound, ErrTooLarge or ErrInvalid.
	Err error
	// MailboxSeq is the number of the last message in the mailbox; if it is
	// above ReadSeq and beyond what the node has seen there is mail to load.
	MailboxSeq int64
	// Children and Sent are the fates of Children and Messages, in order. They
	// are nil when the commit had been applied before.
	Children []CreateResult
	Sent     []SendResult
}

// Value is one of the named values that an instance publishes.
type Value struct {
	Name    string
	Payload []byte // nil: the value is removed
}

// Reply is the answer to a request that was sent to an instance as a message.
// The first answer stands: one to an ID that has a reply changes nothing.
type Reply struct {
	ID      string
	Payload []byte
}

// LookupKind is what a Lookup asks for.
type LookupKind uint8

// The kinds of lookups.
const (
	LookupStatus LookupKind = 1 // the custom status; Name is not used
	LookupValue  LookupKind = 2 // the value Name
	LookupReply  LookupKind = 3 // the reply with the ID Name
)

// Lookup asks for something that an instance has published.
type Lookup struct {
	To   Target
	Kind LookupKind
	Name string
}

// Finding is the answer to a Lookup.
type Finding struct {
	Err    error // ErrNotFound: no such instance; ErrInvalid: no such kind
	Key    Key
	Status Status
	// Found reports whether there is what was asked for. Turn is, for the
	// custom status, the number of the turn that set it.
	Found   bool
	Turn    int64
	Payload []byte
}

// Holdings is everything that carries a node's key.
type Holdings struct {
	Instances []Holding
	Tasks     []TaskRef
}

// Holding is one owned instance.
type Holding struct {
	Key      Key
	NextTurn int64
}
