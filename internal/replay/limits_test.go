package replay

import (
	"errors"
	"fmt"
	"testing"

	"github.com/durango-go/durango/history"
)

// wide emits, at each signal, the activity that its payload names, unless that
// is refused: then a status says so. limit is what a live turn goes by.
func wide(limit *int) Code {
	return func(m *Machine, _ *history.Event) history.Event {
		for {
			_, e := m.Wait(m.Signals("call"))
			name := string(e.Payload)
			var f *history.Failure
			if len(name) > *limit {
				f = &history.Failure{Code: "large", Message: fmt.Sprint(len(name), " over ", *limit)}
			}
			if f = m.Root().Refuse("input", name[:1], f); f != nil {
				m.Emit(history.Event{Kind: history.StatusSet, Payload: []byte(f.Message)})
				continue
			}
			m.Emit(history.Event{Kind: history.ActivityScheduled, Name: name[:1], Payload: e.Payload})
		}
	}
}

func call(names ...string) []history.Event {
	var events []history.Event
	for _, name := range names {
		events = append(events, history.Event{Kind: history.SignalReceived, Name: "call", Payload: []byte(name)})
	}
	return events
}

// "A rejection seen by orchestration code is recorded, and limits are evaluated
// at first emission only, so changing one never changes a replay."
func TestRefusalsAreReplayed(t *testing.T) {
	checkGoroutines(t)
	limit := 3
	code := wide(&limit)
	first := New(code)
	defer first.Close()
	deliveries := append([]history.Event{{Kind: history.Started}}, call("a", "bbbb", "bb", "cccccccc")...)
	recorded := history.Turn{Number: 1, Deliveries: deliveries, Commands: append([]history.Event(nil), mustTurn(t, first, deliveries...)...)}
	want := `1 ActivityScheduled "a" payload "a"
2 CallRefused "b" for its input failure "4 over 3"
3 StatusSet payload "4 over 3"
4 ActivityScheduled "b" payload "bb"
5 CallRefused "c" for its input failure "8 over 3"
6 StatusSet payload "8 over 3"
`
	if got := formatAll(recorded.Commands); got != want {
		t.Fatalf("recorded\n%s", got)
	}
	kinds := func(cmds []history.Event) (all []history.Kind) {
		for i := range cmds {
			all = append(all, cmds[i].Kind)
		}
		return all
	}
	for _, now := range []int{0, 1, 3, 100} {
		limit = now
		m := New(code)
		if err := m.Replay(&recorded); err != nil {
			t.Fatalf("with the limit %d: %v", now, err)
		}
		if w := m.Warnings(); len(w) > 0 {
			t.Errorf("with the limit %d: %v", now, w)
		}
		got := mustTurn(t, m, call("dd")...)
		wanted := []history.Kind{history.ActivityScheduled}
		if now < 2 {
			wanted = []history.Kind{history.CallRefused, history.StatusSet}
		}
		if fmt.Sprint(kinds(got)) != fmt.Sprint(wanted) {
			t.Errorf("with the limit %d the live turn emitted\n%s", now, formatAll(got))
		}
		m.Close()
	}
	// What was refused is part of what was recorded: code that no longer makes
	// the call differs.
	limit = 3
	m := New(wide(&limit))
	defer m.Close()
	recorded.Commands[1].Name = "z"
	var differs *NondeterminismError
	if err := m.Replay(&recorded); !errors.As(err, &differs) || differs.Index != 1 || differs.Recorded.Kind != history.CallRefused {
		t.Errorf("another call than was refused: %v", err)
	}
}

// "A turn has a command and a byte limit."
func TestLimitsOfATurn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits Limits
		calls  []string
		fails  bool
	}{
		{"as many commands as there may be", Limits{Commands: 3}, []string{"a", "b", "c"}, false},
		{"one more", Limits{Commands: 3}, []string{"a", "b", "c", "d"}, true},
		{"bytes below", Limits{Bytes: 4}, []string{"a", "bb", "c"}, false},
		{"the last may be large", Limits{Bytes: 4}, []string{"aaa", "bbbbbbbbb"}, false},
		{"one behind the limit", Limits{Bytes: 4}, []string{"aaaa", "b"}, true},
		{"none", Limits{}, []string{"aaaa", "bbbb", "c", "d", "e"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkGoroutines(t)
			limit := 100
			m := New(wide(&limit))
			defer m.Close()
			m.Limits = tt.limits
			deliveries := append([]history.Event{{Kind: history.Started}}, call(tt.calls...)...)
			cmds, err := m.Turn(1, deliveries)
			var over *LimitError
			if got := errors.As(err, &over); got != tt.fails || !tt.fails && err != nil {
				t.Fatalf("error %v", err)
			}
			if tt.fails {
				return
			}
			if len(cmds) != len(tt.calls) {
				t.Errorf("%d commands", len(cmds))
			}
			// They are those of a turn, and of no recorded one.
			recorded := history.Turn{Number: 1, Deliveries: deliveries, Commands: append([]history.Event(nil), cmds...)}
			again := New(wide(&limit))
			defer again.Close()
			again.Limits = Limits{Commands: 1, Bytes: 1}
			if err := again.Replay(&recorded); err != nil {
				t.Fatal(err)
			}
			mustTurn(t, again, call("z")...)
		})
	}
}

// The length of a history is the same in every replay.
func TestLength(t *testing.T) {
	checkGoroutines(t)
	var seen []int64
	code := func(m *Machine, _ *history.Event) history.Event {
		for {
			seen = append(seen, m.Length())
			m.Emit(history.Event{Kind: history.StatusSet})
			m.Wait(m.Signals("call"))
		}
	}
	live := New(code)
	defer live.Close()
	var turns []history.Turn
	for i, deliveries := range [][]history.Event{{{Kind: history.Started}}, call("a"), call("b", "c"), call("d")} {
		cmds := mustTurn(t, live, deliveries...)
		turns = append(turns, history.Turn{Number: int64(i + 1), Deliveries: deliveries, Commands: append([]history.Event(nil), cmds...)})
	}
	want := []int64{0, 2, 4, 4, 8}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Fatalf("seen %v, want %v", seen, want)
	}
	seen = nil
	again := New(code)
	defer again.Close()
	for i := range turns {
		if err := again.Replay(&turns[i]); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("replayed %v, want %v", seen, want)
	}
}
