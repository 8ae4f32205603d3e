package durango

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/engine"
)

// Options tune a [Runtime]. The zero value of each field stands for the
// default it names; [New] reports everything that is wrong with the others.
type Options struct {
	// Name identifies the node to people. Default: the host's name.
	Name string
	// Logger takes what the node and, through [Context.Logger], its
	// orchestrations have to say. Default: slog.Default().
	Logger *slog.Logger
	// Codec turns values into what is stored and back. All nodes of a store and
	// its clients need codecs that understand each other. Default: [JSON].
	Codec Codec
	// Interceptors are around the activities and orchestrations of the node, and
	// the calls of its clients ([Runtime.Client], [ClientFrom]). The first is the
	// outermost.
	Interceptors []Interceptor

	// MaxActivities bounds the activities that run at once. Default 1024.
	MaxActivities int
	// MaxTurns bounds the turns that run at once. Default 64.
	MaxTurns int
	// MaxHot and MaxHotBytes bound the executions kept in memory between
	// turns; what falls out is rebuilt by replay when it is next needed. One
	// with a short history falls out after six times IdleRelease. Default 10,000
	// and 512 MiB.
	MaxHot      int
	MaxHotBytes int64
	// InboxSize bounds the messages of one instance held in memory; the others
	// wait in the store. Default 1024.
	InboxSize int
	// MinPrefetch and MaxPrefetch bound how many instances one claim may take;
	// the depth adapts in between. Default 16 and 1024.
	MinPrefetch, MaxPrefetch int

	// Lease is how long a node may be silent before others declare it dead. It
	// should be the same for all nodes of a store. Default 15 s.
	Lease time.Duration
	// MinPoll and MaxPoll bound the pause between looks at the store when
	// nothing has been announced. Default 20 ms and 500 ms, or 10 s with a store
	// that announces changes.
	MinPoll, MaxPoll time.Duration
	// IdleRelease is how long an instance may wait on this node before any node
	// may take it. Default 10 s.
	IdleRelease time.Duration
	// TurnTimeout is how long a turn may run without waiting before it is
	// reported as stuck. Default 10 s.
	TurnTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause after a failed turn, which
	// doubles with each failure. Default 1 s and 5 min.
	MinBackoff, MaxBackoff time.Duration
	// Quarantine says what becomes of an instance whose turns fail again and
	// again; [BoundOrchestration.WithQuarantine] goes before it. Default: after
	// 5 failures in a row it is quarantined until somebody releases it.
	Quarantine QuarantinePolicy
	// MaxHistory bounds the events of one execution; a turn that would go beyond
	// fails, unless it ends the execution or continues as new. Default 100,000.
	MaxHistory int64
	// WarnHistory is the number of events at which an execution is mentioned in
	// the log, once. [Context.HistoryLength] tells the code. Default 10,000;
	// negative: none is.
	WarnHistory int64
	// MaxTurnCommands bounds what one turn asks for: activities, timers, children,
	// signals, values. MaxTurnBytes bounds their payloads: a turn that has asked for
	// so much may ask for no more. What goes beyond fails the turn. A turn also
	// takes no more mail once it has as many bytes of it; the rest is the next's.
	// Default 10,000 and 32 MiB; MaxTurnBytes is never more than three times what
	// the store takes of one payload.
	MaxTurnCommands, MaxTurnBytes int
	// Limits bound what is handed over, value by value.
	Limits Limits
	// MaxTaskCrashes is how many attempts of an activity in a row may end their
	// process before it is not tried again, and the policy of the orchestration
	// acts ([QuarantinePolicy.FailActivity]). An activity that was lost with its
	// worker twice runs apart from others like it; only attempts that were lost
	// then count. Default 5; negative: any number. The store needs
	// [provider.Capabilities].Notes for it.
	MaxTaskCrashes int
	// DrainTimeout bounds how long a stopping node waits for activities that do
	// not heed their context. Default 10 s.
	DrainTimeout time.Duration
	// MaxSessions bounds the sessions ([CallOptions.Session]) that are open on
	// this node, SessionIdle how long one stays open that is not used. Default
	// 100 and 5 min; a negative MaxSessions: none.
	MaxSessions int
	SessionIdle time.Duration
	// SuspendIncompatible makes Run check the open instances ([Runtime.Check])
	// before the node takes work. Those that the code cannot go on with are
	// suspended, also where another node owns them, with the reason as their
	// [RunInfo.TurnFailure]; the rest runs. A suspended one goes on when it is
	// resumed, or when a node that makes this check finds that its code can go
	// on with it. The check reads every open history, so it takes its time. New
	// returns [ErrNotSupported] if the store cannot do it.
	SuspendIncompatible bool
	// Compression is the size in bytes from which what is stored (turns,
	// messages, tasks, outcomes, values) is compressed, where that makes it
	// smaller. Nodes and clients of one store may differ in it: all read both.
	// Default 4 KiB; negative: nothing is.
	Compression int
	// Blobs say where the contents of Blobs are kept, and for how long.
	Blobs BlobOptions
}

// check reports every problem at once.
func (o *Options) check() error {
	var problems []error
	bad := func(is bool, format string, args ...any) {
		if is {
			problems = append(problems, fmt.Errorf("options: "+format, args...))
		}
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxActivities", int64(o.MaxActivities)}, {"MaxTurns", int64(o.MaxTurns)},
		{"MaxHot", int64(o.MaxHot)}, {"MaxHotBytes", o.MaxHotBytes}, {"InboxSize", int64(o.InboxSize)},
		{"MinPrefetch", int64(o.MinPrefetch)}, {"MaxPrefetch", int64(o.MaxPrefetch)},
		{"Lease", int64(o.Lease)}, {"MinPoll", int64(o.MinPoll)}, {"MaxPoll", int64(o.MaxPoll)},
		{"IdleRelease", int64(o.IdleRelease)}, {"TurnTimeout", int64(o.TurnTimeout)},
		{"MinBackoff", int64(o.MinBackoff)}, {"MaxBackoff", int64(o.MaxBackoff)},
		{"SessionIdle", int64(o.SessionIdle)}, {"DrainTimeout", int64(o.DrainTimeout)},
		{"MaxHistory", o.MaxHistory}, {"MaxTurnCommands", int64(o.MaxTurnCommands)}, {"MaxTurnBytes", int64(o.MaxTurnBytes)},
	} {
		bad(f.value < 0, "%s is negative", f.name)
	}
	o.Limits.check(func(is bool, field, reason string) { bad(is, "Limits.%s: %s", field, reason) })
	// The heartbeat is a fraction of the lease; below this it is nothing but
	// heartbeats, and one slow commit kills a node.
	bad(o.Lease > 0 && o.Lease < time.Second, "Lease is %v, the least is 1s", o.Lease)
	// A bound of which the other half is left to its default must fit that.
	order := func(name string, lo, hi, deflo, defhi int64) {
		if lo == 0 {
			lo = deflo
		}
		if hi == 0 {
			hi = defhi
		}
		bad(lo > hi, "Min%s is above Max%s", name, name)
	}
	order("Prefetch", int64(o.MinPrefetch), int64(o.MaxPrefetch), 16, 1024)
	order("Poll", int64(o.MinPoll), int64(o.MaxPoll), int64(20*time.Millisecond), int64(500*time.Millisecond))
	order("Backoff", int64(o.MinBackoff), int64(o.MaxBackoff), int64(time.Second), int64(5*time.Minute))
	if err := o.Blobs.check(); err != nil {
		problems = append(problems, fmt.Errorf("options: %w", err))
	}
	if err := o.Quarantine.check(); err != nil {
		problems = append(problems, fmt.Errorf("options: %w", err))
	}
	if o.Name != "" {
		if err := checkText("node name", o.Name, MaxNameLength); err != nil {
			problems = append(problems, fmt.Errorf("options: %w", err))
		}
	}
	return errors.Join(problems...)
}

func (o *Options) engine(blobs *blobs) engine.Options {
	options := engine.Options{
		Name: o.Name, Version: moduleVersion(), Logger: o.Logger,
		MaxActivities: o.MaxActivities, MaxTurns: o.MaxTurns, MaxHot: o.MaxHot, MaxHotBytes: o.MaxHotBytes,
		InboxSize: o.InboxSize, MinPrefetch: o.MinPrefetch, MaxPrefetch: o.MaxPrefetch,
		Lease: o.Lease, MinPoll: o.MinPoll, MaxPoll: o.MaxPoll, IdleRelease: o.IdleRelease,
		TurnTimeout: o.TurnTimeout, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		DrainTimeout: o.DrainTimeout, Compression: o.Compression,
		Policy: o.Quarantine.engine(), MaxHistory: o.MaxHistory, WarnHistory: o.WarnHistory,
		MaxTurnCommands: o.MaxTurnCommands, MaxTurnBytes: o.MaxTurnBytes,
		MaxSessions: o.MaxSessions, SessionIdle: o.SessionIdle, MaxTaskCrashes: o.MaxTaskCrashes,
		Cause: causeOf,
	}
	if blobs.store != nil && blobs.keeper != nil {
		options.PutBlob = func(ctx context.Context, address history.BlobAddress, content []byte) error {
			return blobs.store.Put(ctx, address.String(), content)
		}
		if blobs.idle > 0 {
			options.SweepBlobs, options.SweepInterval = blobs.sweep, min(blobs.idle/2, time.Hour)
		}
	}
	return options
}
