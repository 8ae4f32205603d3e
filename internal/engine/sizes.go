package engine

import (
	"math/bits"
	"sync/atomic"

	"github.com/durango-go/durango/history"
)

// SizeOf says what a size is of.
type SizeOf uint8

// What is measured where it is encoded, and, from Event on, when a turn is about
// to be committed.
const (
	ActivityInput SizeOf = iota
	ActivityOutput
	OrchestrationInput
	OrchestrationOutput
	SignalSize
	StateSize   // custom status, values, recorded values
	EventSize   // the payload of any event
	TurnSize    // all events of a turn, encoded
	HistorySize // events of an execution that ends, in numbers
	sizes
)

// Sizes are histograms of a node. They take a fixed amount of memory, and
// observing allocates nothing.
type Sizes struct{ of [sizes]histogram }

// A bucket is a quarter of a power of two, so a reading is at most a fourth
// above what was observed; sizes below four have buckets of their own.
const buckets = 4 * 62

type histogram struct {
	counts [buckets]atomic.Int64
	max    atomic.Int64
}

// Observe counts a size.
func (s *Sizes) Observe(k SizeOf, n int) {
	h := &s.of[k]
	h.counts[bucket(uint64(n))].Add(1)
	for {
		old := h.max.Load()
		if int64(n) <= old || h.max.CompareAndSwap(old, int64(n)) {
			return
		}
	}
}

func bucket(n uint64) int {
	if n < 4 {
		return int(n)
	}
	shift := bits.Len64(n) - 3 // n>>shift is from 4 to 7
	return 4*shift + int(n>>shift)
}

// ceiling is the largest size of a bucket.
func ceiling(b int) uint64 {
	if b < 4 {
		return uint64(b)
	}
	shift, head := (b-4)/4, uint64(b-4)%4+4
	return (head+1)<<shift - 1
}

// SizeReading is what a histogram had at one moment. Upper bounds of buckets
// grow, and counts are not cumulative.
type SizeReading struct {
	Max     int64
	Buckets []SizeBucket
}

// SizeBucket is the number of sizes up to UpTo, and above that of the bucket
// before.
type SizeBucket struct{ UpTo, Count int64 }

// Read reads a histogram.
func (s *Sizes) Read(k SizeOf) SizeReading {
	h := &s.of[k]
	r := SizeReading{Max: h.max.Load()}
	for i := range h.counts {
		if n := h.counts[i].Load(); n > 0 {
			r.Buckets = append(r.Buckets, SizeBucket{UpTo: int64(ceiling(i)), Count: n})
		}
	}
	return r
}

// Sizes returns the node's histograms.
func (e *Engine) Sizes() *Sizes { return &e.sizes }

// measure counts the sizes of a turn.
func (e *Engine) measure(x *execution, commands []history.Event) {
	s := x.turn
	e.sizes.Observe(TurnSize, len(s.buf))
	for _, events := range [...][]history.Event{s.events, commands} {
		for i := range events {
			e.sizes.Observe(EventSize, len(events[i].Payload))
		}
	}
	n := int64(len(s.events) + len(commands))
	if len(commands) > 0 && commands[len(commands)-1].Kind.Terminal() {
		e.sizes.Observe(HistorySize, int(x.events+n))
	}
}

// grow counts the events of a turn that has been committed, and warns of a
// history that grows long. The caller holds x.mu.
func (e *Engine) grow(x *execution, n int64) {
	limit := e.o.WarnHistory
	before := x.events
	x.events += n
	if limit > 0 && before < limit && x.events >= limit && x.turn.final == nil {
		e.o.Logger.Warn("history grows long; continue as new before it reaches the limit", "instance", x.id, "orchestration", x.name,
			"version", x.version, "execution", x.generation, "events", x.events, "limit", e.o.MaxHistory)
	}
}
