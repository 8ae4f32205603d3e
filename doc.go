// Package durango is durable execution for Go: orchestrations are ordinary
// functions that survive crashes, restarts and deployments, because every step
// they take is recorded in a store and replayed from there.
//
// # A tour
//
// What reaches the store is declared once, as a typed handle: [NewActivity],
// [NewOrchestration], [NewSignal], [NewUpdate], [NewValue], [NewError]. Names are
// schema, like column names: change one and what is stored under the old one is
// not found. Functions are bound to handles ([Activity.Bind], [Orchestration.Bind]), and
// what is bound is registered with a [Runtime], which runs it on a store.
// [DefineActivity] and [DefineOrchestration] declare and bind in one line.
//
// Everything is called through its handle, with two verbs and one wait:
// Call waits for the result, Go returns a [Future], and [Future.Await] waits
// for that.
//
//	Select       the first of several futures; Race cancels the others
//	Join, All    all of them, of any types or of one; All returns at the first error
//	Settle       all of them, each with its own error
//	AsCompleted  one after another, in the order in which they become ready
//	Go           a coroutine, and the future of what it returns
//	WithCancel   a part of the work that can be ended, WithTimeout one that
//	             ends by itself; Detach is for what must be done nevertheless
//	RunSaga      steps that are undone together
//
// [Mutex], [Semaphore] and [Chan] are for coroutines among themselves. They emit
// nothing, and are where they were after a replay.
//
// A [Client] starts orchestrations, sends signals and calls updates, from
// anywhere that can reach the store; a [Run] is its view of one instance. What an
// instance shows of itself, its custom status and its values, is read without
// running its code.
//
// An activity may say how it gets on ([Heartbeat]) and find where the attempt
// before it was ([HeartbeatDetails]), decide about the next attempt
// ([NonRetryable], [RetryAfter]), or leave its completion to somebody else
// ([CompleteLater]).
//
// Code of running instances is changed by a new version beside the old one
// ([Orchestration.BindVersion]), or by a branch inside one ([Context.Patched]).
//
// # Words
//
//	orchestration  a deterministic function func(*durango.Context, In) (Out, error),
//	               registered under a name and a version
//	activity       an ordinary function func(context.Context, In) (Out, error); it may
//	               do anything, and runs at least once
//	instance       one run of an orchestration, with an ID chosen by the caller
//	execution      one generation of an instance; continue-as-new begins the next
//	turn           one step of an execution: it takes deliveries, runs the code until it
//	               waits, emits commands, and is committed atomically
//	history        the committed turns of an execution
//	event          one record of a history: a delivery (something arrived) or a command
//	               (the code asked for something)
//	signal         a typed, named message to one instance
//	update         a request to one instance that is validated, handled and answered
//	value          typed state of one instance that others can read
//	run            a client's view of an instance
//	mailbox        the durable queue of messages that wait for an instance
//	task           an activity that waits for a worker, or is held by one
//	node           one running Runtime
//	owner          the node that may commit turns of an instance now
//	provider       an implementation of the storage contract
//	pool           where tasks of a kind may run
//	session        a series of tasks that stays on one node
//
// # What an orchestration must not do
//
// A replay runs the function again over the recorded deliveries, and must see
// it ask for the same commands. So an orchestration takes the time from
// [Context.Now], random and other changing values from [Record], concurrency
// from [Go] and futures, and does everything else in activities. It does not
// range over a map where the order matters, use goroutines, channels, locks or
// package-level variables that change, and it does no I/O.
//
// A panic, a difference from the history, or a recorded result that today's
// types cannot decode is not an outcome. It fails the turn: nothing of the turn
// happens, [RunInfo] shows why, and the turn is tried again, so that the
// instance goes on when the program has been corrected. After five failures it is
// quarantined, and waits until somebody lets it go ([Client.Retry]).
//
// # Sizes
//
// What is handed over has a limit ([Limits]), 256 KiB for inputs and outputs and
// 64 KiB for signals unless an option or a handle's WithLimits says otherwise. The
// call that gets too much returns a [*SizeError]; in an orchestration that is
// recorded, so that a limit that is changed later changes no replay. What no
// call can refuse, an output, or what one turn asks for altogether, fails the
// turn: the instance goes on once the limit has been raised. What is large
// belongs elsewhere, and its address into the input.
//
// # Errors
//
// An error that crosses the store arrives as an [*Error], whether it is live or
// replayed. Declared kinds ([NewError]) match with their methods, with
// errors.Is, and errors.As finds the *Error; Go errors that were not declared
// cross as text and the name of their type, so errors.Is(err, sql.ErrNoRows)
// is false. durango itself reports:
//
//	situation                                                sentinel
//	a request to cancel; a canceled future, child or run     ErrCanceled
//	the timeout of an activity or of WithTimeout passed;     ErrTimeout
//	    TimeoutKind says which: "start-to-close",
//	    "schedule-to-close", "heartbeat", "context"
//	a saga could not undo what it had done                   ErrNotCompensated *CompensationError
//	no worker took it within ScheduleToStart                 ErrNoWorker
//	its worker died, and no attempt is left; in an           ErrWorkerLost
//	    activity (context.Cause): it is not this node's
//	in an activity (context.Cause): its node shuts down      ErrDraining
//	it panicked                                              ErrPanic
//	a value that does not fit the type that reads it         ErrDecode        *DecodeError
//	the ID of an instance is taken                           ErrAlreadyExists *AlreadyExistsError
//	there is no such instance                                ErrNotFound
//	the instance has ended, or ended without an answer;      ErrNotRunning
//	    nobody waits for the completion any more
//	a child without an ID of its own has not ended: what     ErrNotEnded
//	    started it cannot be purged
//	the instance has no handler for the update               ErrNoHandler
//	the instance was terminated                              ErrTerminated
//	its turns failed too often: it is a dead letter; or it   ErrQuarantined
//	    is quarantined, and Wait was to return then
//	there is nothing to release, retry, requeue or purge     ErrNotQuarantined
//	the content of a Blob is gone                            ErrBlobNotFound  *BlobError
//	it is not what was stored                                ErrBlobCorrupt   *BlobError
//	a value over a limit (Limits), or over the store's       ErrTooLarge      *SizeError
//	a name, ID, version or option that cannot be used        ErrInvalid       *InvalidError
//	the store lacks what the call needs                      ErrNotSupported
//	a history is of code that is not registered              ErrNotRegistered *ReplayError
//	the code asks for something else than a history has      ErrNondeterminism *ReplayError
//
// An orchestration that was asked to cancel and returns ErrCanceled, wrapped or
// not, ends as Canceled; any other error ends it as Failed, and so does
// ErrNotCompensated beside ErrCanceled.
package durango
