package replay

import (
	"math"
	"slices"

	"github.com/durango-go/durango/history"
)

// timerHeap holds open timers, the earliest first and among equals the one
// set first. Each knows its index, so that a canceled one leaves at once.
type timerHeap []*Op

func earlier(a, b *Op) bool {
	return a.ev.Time < b.ev.Time || a.ev.Time == b.ev.Time && a.seq < b.seq
}

func (h *timerHeap) push(o *Op) {
	o.heap = len(*h)
	*h = append(*h, o)
	h.up(o.heap)
}

func (h *timerHeap) remove(o *Op) {
	s := *h
	i, last := o.heap, len(s)-1
	s.swap(i, last)
	s[last] = nil
	*h = s[:last]
	if i < last {
		h.down(i)
		h.up(i)
	} else if last == 0 && cap(s) > keepRoom {
		*h = nil
	}
}

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i, j
}

func (h timerHeap) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !earlier(h[i], h[p]) {
			return
		}
		h.swap(i, p)
		i = p
	}
}

func (h timerHeap) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && earlier(h[c+1], h[c]) {
			c++
		}
		if !earlier(h[c], h[i]) {
			return
		}
		h.swap(i, c)
		i = c
	}
}

// first returns the earliest fire time, or math.MaxInt64.
func (h timerHeap) first() int64 {
	if len(h) == 0 {
		return math.MaxInt64
	}
	return h[0].ev.Time
}

// DueTimers appends to into a TimerFired delivery for each open timer that is
// due at now, ordered by time and then by number. It changes nothing: the
// timers stay open until the deliveries are taken.
func (m *Machine) DueTimers(now int64, into []history.Event) []history.Event {
	if m.timers.first() > now {
		return into
	}
	due := m.timers.due(0, now, nil)
	slices.SortFunc(due, func(a, b *Op) int {
		if earlier(a, b) {
			return -1
		}
		return 1
	})
	for _, o := range due {
		into = append(into, history.Event{Kind: history.TimerFired, Ref: o.seq})
	}
	return into
}

// due collects what is due at or below index i.
func (h timerHeap) due(i int, now int64, into []*Op) []*Op {
	if i >= len(h) || h[i].ev.Time > now {
		return into
	}
	into = h.due(2*i+1, now, append(into, h[i]))
	return h.due(2*i+2, now, into)
}
