package engine

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// batcher gathers items while the previous group is being handled, so that a
// group forms without a timer and an idle node adds no latency. One goroutine
// runs at a time, and only while there is something to do, unless the handler
// calls next: then another handles what comes while it goes on.
type batcher[T any] struct {
	max    int
	handle func(group []T, next func())
	spawn  func(func())
	loop   func() // run, as a value made once

	mu      sync.Mutex
	waiting []T
	spare   []T
	active  bool
}

func newBatcher[T any](spawn func(func()), limit int, handle func(group []T, next func())) *batcher[T] {
	b := &batcher[T]{max: limit, handle: handle, spawn: spawn}
	b.loop = b.run
	return b
}

// whole makes a handler of one that has nothing left to do once others may go
// on.
func whole[T any](handle func([]T)) func([]T, func()) {
	return func(group []T, _ func()) { handle(group) }
}

func (b *batcher[T]) add(item T) {
	b.mu.Lock()
	b.waiting = append(b.waiting, item)
	start := !b.active
	b.active = true
	b.mu.Unlock()
	if start {
		b.spawn(b.loop)
	}
}

// gathered is a group that is worth writing without a look at what else may
// come.
const gathered = 64

// gather lets goroutines that are ready to run go first, for as long as they
// add to the group. Where nothing else is ready it returns at once, so a group
// of one waits for nothing.
func (b *batcher[T]) gather() {
	for n := -1; ; {
		b.mu.Lock()
		now := len(b.waiting)
		b.mu.Unlock()
		if now == n || now >= gathered {
			return
		}
		n = now
		runtime.Gosched()
	}
}

func (b *batcher[T]) run() {
	for {
		b.gather()
		b.mu.Lock()
		if len(b.waiting) == 0 {
			b.active = false
			b.mu.Unlock()
			return
		}
		group := b.waiting
		if len(group) > b.max {
			// The rest stays in front, in order.
			b.waiting = append(b.spare[:0], group[b.max:]...)
			group = group[:b.max]
		} else {
			b.waiting = b.spare[:0]
		}
		b.spare = nil
		b.mu.Unlock()

		var passed atomic.Bool
		b.handle(group, func() {
			passed.Store(true)
			b.pass()
		})

		clear(group)
		b.mu.Lock()
		b.spare = group[:0]
		b.mu.Unlock()
		if passed.Load() {
			return
		}
	}
}

// pass lets another goroutine go on.
func (b *batcher[T]) pass() {
	b.mu.Lock()
	b.active = len(b.waiting) > 0
	start := b.active
	b.mu.Unlock()
	if start {
		b.spawn(b.loop)
	}
}
