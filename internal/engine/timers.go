package engine

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/durango-go/durango/provider"
)

// timers wakes owned executions when their earliest timer is due. An entry
// may be stale; the execution knows better when it is poked.
type timers struct {
	e     *Engine
	mu    sync.Mutex
	heap  timerHeap
	first chan struct{} // the earliest entry changed; made by run
}

type timerEntry struct {
	at int64
	x  *execution
}

// set sees to it that x is poked at its next timer. The caller holds x.mu.
func (t *timers) set(x *execution) {
	if x.nextTimer == provider.Never || x.timerSet != 0 && x.timerSet <= x.nextTimer {
		return
	}
	x.timerSet = x.nextTimer
	t.mu.Lock()
	heap.Push(&t.heap, timerEntry{x.nextTimer, x})
	earliest := t.heap[0].x == x
	c := t.first
	t.mu.Unlock()
	if earliest && c != nil {
		poke(c)
	}
}

func (t *timers) run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	t.mu.Lock()
	t.first = wake
	t.mu.Unlock()
	var due []timerEntry
	for {
		due = due[:0]
		now := t.e.clock.now()
		wait := time.Hour
		t.mu.Lock()
		for len(t.heap) > 0 {
			if left := t.heap[0].at - now; left > 0 {
				wait = time.Duration(left)
				break
			}
			due = append(due, heap.Pop(&t.heap).(timerEntry))
		}
		t.mu.Unlock()
		for _, entry := range due {
			t.fire(entry)
		}
		if !t.e.await(ctx, wake, wait) {
			return
		}
	}
}

func (t *timers) fire(entry timerEntry) {
	x := entry.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timerSet == entry.at {
		x.timerSet = 0
	}
	if t.e.poke(x) {
		t.e.turns.push(x)
	}
}

type timerHeap []timerEntry

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(v any)        { *h = append(*h, v.(timerEntry)) }
func (h *timerHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	old[len(old)-1] = timerEntry{}
	*h = old[:len(old)-1]
	return v
}
