package engine

import (
	"math"
	"sync"
	"time"

	"github.com/durango-go/durango/provider"
)

// after is the time d later than at, in nanoseconds. What lies beyond the range
// of a time is Never, and not in the past.
func after[D ~int64](at int64, d D) int64 {
	if sum := at + int64(d); d <= 0 || sum > at {
		return sum
	}
	return provider.Never
}

// nanos is d without its fraction, and within the range of an int64.
func nanos(d float64) int64 {
	if d >= math.MaxInt64 { // as a float64 one more than that
		return math.MaxInt64
	}
	return int64(d)
}

// clock estimates the store's time: its last reading plus what has passed
// here, on the monotonic clock, since the reading arrived. A reading is never
// newer than its arrival, so the estimate is a lower bound and no timer fires
// early; wall clocks that differ or jump have no part in it.
type clock struct {
	mu   sync.Mutex
	base int64
	at   time.Time
}

func (c *clock) set(store int64) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.at = store, now
}

func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base + int64(time.Since(c.at))
}
