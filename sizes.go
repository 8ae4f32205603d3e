package durango

import "github.com/durango-go/durango/internal/engine"

// More that a runtime counts the sizes of; see [Runtime.Sizes].
const (
	// SizeState is of custom status, values, recorded values and heartbeats.
	SizeState SizeKind = "state"
	// SizeEvent is of the payload of each event that a turn records.
	SizeEvent SizeKind = "event"
	// SizeTurn is of all events of a turn together, as they are stored.
	SizeTurn SizeKind = "turn"
	// SizeHistory is of executions that have ended, in events.
	SizeHistory SizeKind = "history"
)

var counted = map[SizeKind]engine.SizeOf{
	SizeActivityInput: engine.ActivityInput, SizeActivityOutput: engine.ActivityOutput,
	SizeOrchestrationInput: engine.OrchestrationInput, SizeOrchestrationOutput: engine.OrchestrationOutput,
	SizeSignal: engine.SignalSize, SizeState: engine.StateSize,
	SizeEvent: engine.EventSize, SizeTurn: engine.TurnSize, SizeHistory: engine.HistorySize,
}

// SizeSummary is what is known of the sizes of one kind: a histogram whose
// buckets are a quarter of a power of two wide.
type SizeSummary struct {
	// Count is how many were measured, those that were too large included.
	Count int64
	// Max is the largest, in bytes; of histories, in events.
	Max int64
	// Buckets are those that are not empty, the smallest first.
	Buckets []SizeBucket
}

// SizeBucket counts sizes up to UpTo, and above what the bucket before has.
type SizeBucket struct{ UpTo, Count int64 }

// Quantile returns the size that a share q of all do not exceed, 0.99 for the
// 99th percentile: never less than it is, and less than a fourth more. It is
// zero while there are none.
func (s SizeSummary) Quantile(q float64) int64 {
	left := q * float64(s.Count)
	for _, b := range s.Buckets {
		if left -= float64(b.Count); left <= 0 {
			return min(b.UpTo, s.Max)
		}
	}
	return s.Max
}

// Sizes returns what the runtime has measured since it was made, by kind: its
// activities and orchestrations, and the calls of its clients. [SizeSignal]
// counts the requests and answers of updates too, [SizeActivityOutput] also
// completions. The kinds are always the same, whether or not there was any.
func (r *Runtime) Sizes() map[SizeKind]SizeSummary {
	all := make(map[SizeKind]SizeSummary, len(counted))
	for kind, of := range counted {
		read := r.engine.Sizes().Read(of)
		s := SizeSummary{Max: read.Max}
		for _, b := range read.Buckets {
			s.Count += b.Count
			s.Buckets = append(s.Buckets, SizeBucket(b))
		}
		all[kind] = s
	}
	return all
}
