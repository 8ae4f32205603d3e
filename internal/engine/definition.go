package engine

import (
	"context"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// Orchestration is one version of an orchestration that this node can run.
type Orchestration struct {
	Name, Version string
	Code          replay.Code
	Policy        Policy // over the node's
}

// Activity is an activity that this node can run.
type Activity struct {
	Name, Pool string
	// MaxConcurrent bounds how many run at once on this node; zero means only
	// the node's own bound.
	MaxConcurrent int
	// Rate bounds how many begin per second on this node; zero means no bound.
	Rate float64
	// Run runs one attempt. A panic in it is the caller's to recover. ctx ends
	// at the attempt's deadline, when the activity is canceled, and when the
	// node loses it.
	Run func(ctx context.Context, a *Attempt) (result []byte, failure *history.Failure)
}

// Attempt is one try of an activity.
type Attempt struct {
	Key         provider.Key
	Instance    string
	Execution   int64
	Command     int64 // with Key and Execution, what identifies the activity over all attempts
	Number      int64 // of the attempt, from 1
	Name        string
	Input       []byte
	Header      map[string]string // of the execution; not to be changed
	ScheduledAt int64             // in nanoseconds since the Unix epoch
	Deadline    time.Time         // zero: none
	Client      *Client
	// Env is for Run, which may put there what the attempt's context is to lead
	// to.
	Env any

	// Blobs are what the result refers to, set by who runs the attempt.
	Blobs []history.BlobAddress
	// Details are what an earlier attempt said last by Beat, or nil.
	Details []byte

	ctx  *taskContext
	task *task
}
