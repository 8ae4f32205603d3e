package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// Options tune a node. The root package documents and validates them; here
// the zero value of each field is replaced by its default.
type Options struct {
	// Name identifies the node to people. Default: the host's name.
	Name string
	// Version is the module's version, shown to people.
	Version string
	Logger  *slog.Logger
	// Contract is what this node speaks. Default: provider.Supported.
	Contract provider.Range
	// MaxActivities bounds the activities that run at once. Default 1024.
	MaxActivities int
	// MaxTurns bounds the turns that run at once. Default 64.
	MaxTurns int
	// MaxHot and MaxHotBytes bound the executions kept in memory between
	// turns. Default 10,000 and 512 MiB.
	MaxHot      int
	MaxHotBytes int64
	// InboxSize bounds the messages of one instance held in memory; what does
	// not fit stays in the store. Default 1024.
	InboxSize int
	// MinPrefetch and MaxPrefetch bound how many instances one claim may take.
	// Default 16 and 1024.
	MinPrefetch, MaxPrefetch int
	// Lease is how long a node's beat must stand still before others declare
	// it dead. Default 15 s.
	Lease time.Duration
	// MinPoll and MaxPoll bound the pause between looks at the store when
	// nothing has been announced. Default 20 ms and 500 ms, or 10 s with a store
	// that announces changes.
	MinPoll, MaxPoll time.Duration
	// IdleRelease is how long an owned instance may wait before its ownership
	// is given up; sleeps that are longer are given up at once. Default 10 s.
	IdleRelease time.Duration
	// TurnTimeout is how long a turn may run without waiting before it is
	// reported as stuck. Default 10 s.
	TurnTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause after a turn failed, which
	// doubles with each failure. Default 1 s and 5 min.
	MinBackoff, MaxBackoff time.Duration
	// Policy says what becomes of an instance whose turns fail again and again.
	// Default: 5 failures with an hour between two at most, Suspend, 30 s.
	Policy Policy
	// MaxHistory bounds the events of one execution; one that reaches WarnHistory
	// is mentioned in the log. Default 100,000 and 10,000; a negative
	// WarnHistory: none is.
	MaxHistory  int64
	WarnHistory int64
	// MaxTurnCommands and MaxTurnBytes bound what a turn may ask for; see
	// replay.Limits. Default 10,000 and 32 MiB, or three times the largest payload
	// of the store if that is less.
	MaxTurnCommands, MaxTurnBytes int
	// DrainTimeout bounds how long a stopping node waits for activities that
	// do not heed their context. Default 10 s.
	DrainTimeout time.Duration
	// MaxSessions bounds the sessions that are open on this node, SessionIdle
	// how long one that is not used stays open. Default 100 and 5 min; a
	// negative MaxSessions: none.
	MaxSessions int
	SessionIdle time.Duration
	// MaxTaskCrashes is how many attempts of a task in a row, run apart, may end
	// their process. Default 5; negative: any number.
	MaxTaskCrashes int
	// Compression is the size in bytes from which what is stored is compressed.
	// Default 4 KiB; negative: never.
	Compression int
	// Cause turns what ends the context of an attempt into what context.Cause
	// returns. Nil: it is returned as it is.
	Cause func(error) error
	// PutBlob keeps a content that a turn refers to, before the turn is
	// committed. Nil: no turn has any.
	PutBlob func(ctx context.Context, address history.BlobAddress, content []byte) error
	// SweepBlobs deletes blobs that nobody refers to, every SweepInterval. Nil:
	// nobody does.
	SweepBlobs    func(ctx context.Context) error
	SweepInterval time.Duration

	// minAhead is how many commits make a group that is written ahead
	// (provider.Pipeliner): a change of goroutine costs more than a few are worth.
	// Default 8.
	minAhead int
	// random spreads pauses; a simulation gives a generator of its own, so that
	// it can be repeated. Default: rand.Int64N.
	random func(n int64) int64
}

func (o Options) withDefaults() Options {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	defd := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	if o.Name == "" {
		o.Name, _ = os.Hostname()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	def(&o.MaxActivities, 1024)
	def(&o.MaxTurns, 64)
	def(&o.MaxHot, 10_000)
	if o.MaxHotBytes == 0 {
		o.MaxHotBytes = 512 << 20
	}
	def(&o.InboxSize, 1024)
	def(&o.MinPrefetch, 16)
	def(&o.MaxPrefetch, 1024)
	defd(&o.Lease, 15*time.Second)
	defd(&o.MinPoll, 20*time.Millisecond)
	defd(&o.MaxPoll, 500*time.Millisecond)
	defd(&o.IdleRelease, 10*time.Second)
	defd(&o.TurnTimeout, 10*time.Second)
	defd(&o.MinBackoff, time.Second)
	defd(&o.MaxBackoff, 5*time.Minute)
	defd(&o.DrainTimeout, 10*time.Second)
	o.Policy = o.Policy.over(defaultPolicy)
	if o.MaxHistory == 0 {
		o.MaxHistory = 100_000
	}
	if o.WarnHistory == 0 {
		o.WarnHistory = 10_000
	}
	def(&o.MaxTurnCommands, 10_000)
	def(&o.MaxTurnBytes, 32<<20)
	def(&o.MaxSessions, 100)
	def(&o.minAhead, 8)
	def(&o.MaxTaskCrashes, 5)
	defd(&o.SessionIdle, 5*time.Minute)
	if o.random == nil {
		o.random = rand.Int64N
	}
	return o
}
