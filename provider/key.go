package provider

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// A key is the millisecond of its making in the upper 43 bits and a counter
// in the lower 20, which starts at a random place in each process. Keys made
// by one process increase; two processes may, rarely, make the same one, which
// the store's primary key catches and the caller answers with another.
const counterBits = 20

var lastKey atomic.Int64

// NewKey makes a key for a new instance.
func NewKey() Key {
	now := time.Now().UnixMilli()<<counterBits | rand.Int64N(1<<(counterBits-4))
	for {
		last := lastKey.Load()
		next := max(last+1, now)
		if lastKey.CompareAndSwap(last, next) {
			return Key(next)
		}
	}
}

// NewNodeKey makes a key for a node.
func NewNodeKey() NodeKey { return NodeKey(rand.Int64N(1<<62) + 1) }
