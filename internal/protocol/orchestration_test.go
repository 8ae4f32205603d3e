package protocol

import "slices"

// emitted is the orchestrations' code: the commands that follow from what an
// execution has had delivered, in order.
//
// The parent starts an activity, the child, and a timer; then a second
// activity and a child whose ID is taken; when all is answered it continues as
// new. Its second execution runs an activity and waits for both signals.
func emitted(name string, execution int, deliveries []note) []note {
	var out []note
	got := map[note]bool{}
	first := name == "parent" && execution == 1
	for _, d := range deliveries {
		got[d] = true
		switch {
		case d == note{"start", 0}:
			out = append(out, note{"activity", 1})
			if first {
				out = append(out, note{"child", 0}, note{"timer", 0})
			}
		case first && d == note{"result", 1}:
			out = append(out, note{"activity", 2}, note{"child", 0})
		}
	}
	all := func(notes ...note) bool {
		return !slices.ContainsFunc(notes, func(n note) bool { return !got[n] })
	}
	one, two := note{"result", 1}, note{"result", 2}
	switch {
	case first && all(one, two, note{"child", 0}, note{"timer", 0}, note{"refused", 0}):
		out = append(out, note{"continue", 0})
	case name == "parent" && execution == 2 && all(one, note{"signal", 1}, note{"signal", 2}),
		name == "child" && all(one):
		out = append(out, note{"done", 0})
	}
	return out
}

const timerAt = 2

// replay returns the execution that comes next and what it has had delivered,
// with the signals that the one before left over if they are carried.
func replay(name string, turns []turn, carry bool) (execution int, deliveries []note) {
	execution = 1
	for _, t := range turns {
		deliveries = append(deliveries, t.deliveries...)
		if t.continues() {
			execution++
			if carry {
				deliveries = signals(deliveries)
			} else {
				deliveries = nil
			}
		}
	}
	return execution, deliveries
}

func signals(deliveries []note) (out []note) {
	for _, d := range deliveries {
		if d.what == "signal" {
			out = append(out, d)
		}
	}
	return out
}

// started reports whether the execution has a turn.
func started(turns []turn, execution int) bool {
	return len(turns) > 0 && turns[len(turns)-1].execution == execution
}

func openActivities(name string, turns []turn) (open []int) {
	execution, deliveries := replay(name, turns, true)
	if !started(turns, execution) {
		return nil
	}
	for _, c := range emitted(name, execution, deliveries) {
		if c.what == "activity" && !slices.Contains(deliveries, note{"result", c.n}) {
			open = append(open, c.n)
		}
	}
	return open
}

func pendingTimer(name string, turns []turn) int {
	execution, deliveries := replay(name, turns, true)
	if name == "parent" && execution == 1 && started(turns, 1) && !slices.Contains(deliveries, note{"timer", 0}) {
		return timerAt
	}
	return never
}
