package engine

import (
	"sync"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// state is what is being done with an execution. At most one thing is.
type state uint8

const (
	idle       state = iota // waiting for something to arrive
	loading                 // history or mail is being read
	queued                  // waiting for a goroutine to run its turn
	running                 // a turn runs
	committing              // a commit is under way
	gone                    // dropped; whoever still points here must let go
)

// delivery is something that arrived and has not been recorded by a turn.
type delivery struct {
	event history.Event
	// mail is its number in the mailbox; zero for the result of a local task,
	// which exists nowhere else yet.
	mail int64
	// execution is the one whose command it answers; zero: it answers none.
	execution int64
}

// execution is an instance in the memory of a node: owned, or only kept hot.
type execution struct {
	key provider.Key
	id  string

	mu    sync.Mutex
	state state
	node  provider.NodeKey // under which it is owned; zero: not owned
	// birth is the call that is going to create the instance; nil once it
	// exists.
	birth *startCall
	// charged: the claim counted an attempt that no commit has cleared.
	charged  bool
	attempts int64
	// fault is what the row says of turns that failed since the last that
	// succeeded, nil if none did. quietFrom is when it could run again.
	fault     *provider.TurnFailure
	quietFrom int64
	notBefore int64
	suspect   bool // waits for its trial
	trial     bool // runs it
	// reclaimed is the row as this node has claimed it again while its release
	// was under way.
	reclaimed *provider.Instance

	// The row, as of the last commit.
	name, version string
	status        provider.Status
	generation    int64 // the row's Execution
	nextTurn      int64
	readSeq       int64
	historyFrom   int64
	events        int64 // in the history of the execution; right while machine is not nil
	parent        provider.ParentLink
	header        map[string]string // recorded in Started; never changed
	lastTime      int64             // of the last turn

	machine *replay.Machine  // nil when cold
	loaded  *provider.Loaded // read, and not yet replayed
	// first are the deliveries that begin an execution which another one
	// continued as; they come from its last turn.
	first []history.Event

	inbox    []delivery
	mailSeen int64 // last message number handed over
	needMail bool  // there is mail in the store beyond mailSeen
	mailHint bool  // there may be, since before the commit under way

	local map[int64]*task    // tasks in memory only, by command
	extra []provider.NewTask // tasks that the next commit has to queue
	// unrecorded counts the results of local tasks in the inbox. Like the
	// tasks themselves they exist nowhere else.
	unrecorded int
	// parking are the tasks whose attempt waits to become a row, by command.
	parking map[int64]chan error

	nextTimer int64
	timerSet  int64 // what the timer heap knows; zero: nothing
	idleSince time.Time
	// Of the cache; Engine.mu guards them.
	hot            bool
	hotBytes       int64
	colder, warmer *execution

	turn *turnScratch // nil while there is none
}

// turnScratch is what a turn needs besides the execution. It is there while the
// execution is busy, and belongs to whoever has it running or committing; one
// that is idle costs nothing but what it is.
type turnScratch struct {
	taken   []delivery
	extra   []provider.NewTask
	events  []history.Event
	started []*task // local tasks that begin once the commit stands
	stopped []int64 // local tasks that it withdraws
	commit  provider.Commit
	record  provider.Turn
	buf     []byte
	began   time.Time // zero while no turn runs
	final   *history.Event
	carried []history.Event       // what begins the next execution
	aside   bool                  // it records messages that cannot be decoded
	failing bool                  // the commit is the record of a failure
	notify  bool                  // somebody is called when it stands
	noted   *provider.TurnFailure // what the commit of a trial says
	packed  bool                  // the commit has been
	kept    []history.BlobAddress // blobs put by the turn
	// refusals answer requests that the code did not accept in this turn.
	refusals []provider.Reply
}

var scratches = sync.Pool{New: func() any { return new(turnScratch) }}

// occupy gives x what a turn needs, as it becomes busy.
func (x *execution) occupy() { x.turn = scratches.Get().(*turnScratch) }

// vacate is called as x becomes idle. Nothing of the turn is in use any more.
func (x *execution) vacate() {
	s := x.turn
	x.turn = nil
	if cap(x.inbox) > 8 && len(x.inbox) == 0 {
		x.inbox = nil
	}
	s.trim()
	clear(s.extra[:cap(s.extra)])
	clear(s.started[:cap(s.started)]) // some are taken out of it again before they begin
	clear(s.refusals)
	*s = turnScratch{
		taken: s.taken, extra: s.extra[:0], events: s.events, started: s.started[:0], stopped: s.stopped[:0],
		buf: s.buf[:0], refusals: s.refusals[:0],
	}
	scratches.Put(s)
}

// trim keeps the memory that an ordinary turn needs, and lets go of what an
// extraordinary one left.
func (s *turnScratch) trim() {
	const items, bytes = 128, 16 << 10
	clear(s.taken)
	clear(s.events)
	s.taken, s.events = s.taken[:0], s.events[:0]
	if cap(s.taken) > items {
		s.taken = nil
	}
	if cap(s.events) > items {
		s.events = nil
	}
	if cap(s.buf) > bytes {
		s.buf = nil
	}
}

// due reports whether a turn has something to take. The caller holds x.mu.
func (x *execution) due(now int64) bool {
	return len(x.inbox) > 0 || len(x.first) > 0 || len(x.extra) > 0 || x.nextTimer <= now
}
