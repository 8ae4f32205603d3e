package replay

import (
	"fmt"
	"slices"
	"testing"

	"github.com/durango-go/durango/history"
)

// asking is code that asks, at each signal "ask", for the patch in it, and lets
// activities of other names stand in between.
func asking(answers *[]string) Code {
	return func(m *Machine, _ *history.Event) history.Event {
		for {
			_, e := m.Wait(m.Signals("ask"))
			if id := string(e.Payload); id == "" {
				m.Emit(history.Event{Kind: history.StatusSet})
			} else {
				*answers = append(*answers, fmt.Sprint(id, m.Patched(id)))
			}
		}
	}
}

func ask(ids ...string) []history.Event {
	var events []history.Event
	for _, id := range ids {
		e := history.Event{Kind: history.SignalReceived, Name: "ask"}
		if id != "" {
			e.Payload = []byte(id)
		}
		events = append(events, e)
	}
	return events
}

func mark(id string) history.Event { return history.Event{Kind: history.PatchMarked, Name: id} }

// "The first answer for an id is remembered for the whole execution."
func TestPatchedRemembers(t *testing.T) {
	status := history.Event{Kind: history.StatusSet, Seq: 1}
	for _, tt := range []struct {
		name     string
		recorded []history.Event // of the turn in which replayed is asked
		replayed []string
		live     []string
		answers  []string
		emitted  []history.Event // by the live turn
	}{
		{"older", nil, []string{"a"}, []string{"a", "a"}, []string{"afalse", "afalse", "afalse"}, nil},
		{"newer", []history.Event{mark("a")}, []string{"a", "a"}, []string{"a"}, []string{"atrue", "atrue", "atrue"}, nil},
		{"live", nil, nil, []string{"a", "a"}, []string{"atrue", "atrue"}, []history.Event{mark("a")}},
		{"older, another live", nil, []string{"a"}, []string{"b", "a"}, []string{"afalse", "btrue", "afalse"}, []history.Event{mark("b")}},
		{
			"asked behind the mark", []history.Event{mark("a"), status}, []string{"", "a"}, []string{"a"},
			[]string{"atrue", "atrue"}, nil,
		},
		{
			"asked before the mark", []history.Event{status, mark("a")}, []string{"a", ""}, []string{"a"},
			[]string{"afalse", "afalse"}, nil,
		},
		{"passed at the end", []history.Event{mark("a")}, nil, []string{"a"}, []string{"atrue"}, nil},
		{
			"the first of two is not asked for", []history.Event{mark("a"), mark("b")}, []string{"b"}, []string{"b", "a"},
			[]string{"btrue", "btrue", "atrue"}, nil,
		},
		{
			"two in another order", []history.Event{mark("a"), mark("b")}, []string{"b", "a"}, nil,
			[]string{"btrue", "atrue"}, nil,
		},
		{
			"a new one before two", []history.Event{mark("a"), mark("b")}, []string{"c", "a", "b"}, []string{"c"},
			[]string{"cfalse", "atrue", "btrue", "cfalse"}, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkGoroutines(t)
			var answers []string
			m := New(asking(&answers))
			defer m.Close()
			err := m.Replay(&history.Turn{
				Number: 1, Deliveries: append(slices.Clone(startedOnly), ask(tt.replayed...)...), Commands: tt.recorded,
			})
			if err != nil {
				t.Fatal(err)
			}
			cmds := mustTurn(t, m, ask(tt.live...)...)
			if !slices.Equal(answers, tt.answers) || formatAll(cmds) != formatAll(tt.emitted) {
				t.Errorf("answers %v, want %v; emitted\n%s", answers, tt.answers, formatAll(cmds))
			}
		})
	}
}
