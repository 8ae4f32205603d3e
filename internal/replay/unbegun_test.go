package replay

import (
	"testing"

	"github.com/durango-go/durango/history"
)

// What was canceled before its first turn does not run, live or replayed. A
// recorded first turn in which the code ran, and did more than to end, is run
// again; and so is that of an execution behind the first, live.
func TestUnbegun(t *testing.T) {
	cancel := history.Event{Kind: history.CancelRequested, Text: "stop"}
	update := history.Event{Kind: history.UpdateRequested, Name: "u", Text: "r"}
	signal := history.Event{Kind: history.SignalReceived, Name: "s"}
	canceled := history.Event{Kind: history.Canceled, Text: "stop"}
	timer := history.Event{Kind: history.TimerSet, Time: 9}
	withdrawn := history.Event{Kind: history.TimerCanceled, Ref: 1}
	for _, c := range []struct {
		name       string
		generation int64
		with       []history.Event // behind the start
		recorded   []history.Event // commands; nil: live
		sleeps     bool            // the code sets a timer
		runs, end  bool
	}{
		{"live", 1, []history.Event{signal, cancel, update}, nil, true, false, true},
		{"live, continued", 2, []history.Event{cancel}, nil, true, true, true},
		{"live, not canceled", 1, []history.Event{signal}, nil, true, true, false},
		{"the code ended", 1, []history.Event{cancel, signal}, []history.Event{canceled}, true, false, true},
		{"the code did more", 1, []history.Event{cancel}, []history.Event{timer, withdrawn, canceled}, true, true, true},
		{"the code took an update", 1, []history.Event{update, cancel}, []history.Event{canceled}, false, true, true},
		{"the code ended, continued", 2, []history.Event{cancel}, []history.Event{canceled}, false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ran := false
			m := New(func(m *Machine, _ *history.Event) history.Event {
				ran = true
				m.Handle("u", nil, func(*history.Event) {})
				if c.sleeps {
					m.Wait(m.Root(), m.Emit(timer))
				} else {
					m.Wait(m.Root(), m.Signals("never"))
				}
				return canceled
			})
			defer m.Close()
			events := append([]history.Event{{Kind: history.Started, Name: "o", Seq: c.generation}}, c.with...)
			var err error
			if c.recorded == nil {
				_, err = m.Turn(1, events)
			} else {
				for i := range c.recorded {
					c.recorded[i].Seq = int64(i + 1)
				}
				err = m.Replay(&history.Turn{Number: 1, Time: 1, Deliveries: events, Commands: c.recorded})
			}
			if err != nil || ran != c.runs {
				t.Errorf("%v; the code ran: %v", err, ran)
			}
			if end := m.Final(); (end != nil) != c.end || c.end && (end.Kind != history.Canceled || end.Text != "stop") {
				t.Errorf("the end is %v", end)
			}
		})
	}
}
