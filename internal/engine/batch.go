package engine

import "sync"

// batcher gathers items while the previous group is being handled, so that a
// group forms without a timer and an idle node adds no latency. One goroutine
// runs at a time, and only while there is something to do.
type batcher[T any] struct {
	max    int
	handle func([]T)
	wg     *sync.WaitGroup

	mu      sync.Mutex
	waiting []T
	spare   []T
	active  bool
}

func newBatcher[T any](wg *sync.WaitGroup, limit int, handle func([]T)) *batcher[T] {
	return &batcher[T]{max: limit, handle: handle, wg: wg}
}

func (b *batcher[T]) add(item T) {
	b.mu.Lock()
	b.waiting = append(b.waiting, item)
	start := !b.active
	b.active = true
	b.mu.Unlock()
	if start {
		b.wg.Go(b.run)
	}
}

func (b *batcher[T]) run() {
	for {
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

		b.handle(group)

		clear(group)
		b.mu.Lock()
		b.spare = group[:0]
		b.mu.Unlock()
	}
}
