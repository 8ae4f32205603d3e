package engine

import (
	"sync"
	"time"
)

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
