package replay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/durango-go/durango/history"
)

func requested(name, request, payload string) history.Event {
	return history.Event{Kind: history.UpdateRequested, Name: name, Text: request, Payload: []byte(payload)}
}

func answered(e *history.Event) history.Event {
	return history.Event{Kind: history.UpdateAnswered, Name: e.Name, Text: e.Text}
}

// validating is code that only waits, with a handler that does nothing.
func validating(validate func(m *Machine, e *history.Event) *history.Failure) Code {
	return func(m *Machine, _ *history.Event) history.Event {
		m.Handle("u", func(e *history.Event) *history.Failure { return validate(m, e) }, func(*history.Event) {})
		m.Wait(m.Signals("never"))
		return completed("")
	}
}

// A validator runs live and not in a replay, so nothing that replay would have
// to repeat may happen in it.
func TestValidatorOnlyReads(t *testing.T) {
	op := history.Event{Kind: history.ActivityScheduled, Name: "a"}
	for name, use := range map[string]func(m *Machine, open *Op, w *Waiter){
		"emit":         func(m *Machine, _ *Op, _ *Waiter) { m.Emit(op) },
		"status":       func(m *Machine, _ *Op, _ *Waiter) { m.Emit(history.Event{Kind: history.StatusSet}) },
		"set a value":  func(m *Machine, _ *Op, _ *Waiter) { m.Emit(history.Event{Kind: history.ValueSet, Name: "v"}) },
		"answer":       func(m *Machine, _ *Op, _ *Waiter) { m.Emit(history.Event{Kind: history.UpdateAnswered}) },
		"record":       func(m *Machine, _ *Op, _ *Waiter) { m.Record("r", func() []byte { return nil }) },
		"wait":         func(m *Machine, open *Op, _ *Waiter) { m.Wait(open) },
		"wait, ready":  func(m *Machine, _ *Op, _ *Waiter) { m.Wait() },
		"waiter":       func(m *Machine, _ *Op, _ *Waiter) { m.NewWaiter() },
		"next":         func(_ *Machine, _ *Op, w *Waiter) { w.Next() },
		"add":          func(_ *Machine, open *Op, w *Waiter) { w.Add(1, open) },
		"close":        func(_ *Machine, _ *Op, w *Waiter) { w.Close() },
		"spawn":        func(m *Machine, _ *Op, _ *Waiter) { m.Spawn(func() {}) },
		"take":         func(m *Machine, _ *Op, _ *Waiter) { m.Signals("s").Take() },
		"queue":        func(m *Machine, _ *Op, _ *Waiter) { m.NewQueue() },
		"gate":         func(m *Machine, _ *Op, _ *Waiter) { m.NewGate() },
		"handle":       func(m *Machine, _ *Op, _ *Waiter) { m.Handle("other", nil, nil) },
		"patched":      func(m *Machine, _ *Op, _ *Waiter) { m.Patched("p") },
		"cancel":       func(m *Machine, open *Op, _ *Waiter) { m.Cancel(open) },
		"cancel scope": func(m *Machine, _ *Op, _ *Waiter) { m.Root().Cancel("") },
		"child scope":  func(m *Machine, _ *Op, _ *Waiter) { m.Root().Child() },
		"release":      func(m *Machine, open *Op, _ *Waiter) { m.Release(open) },
	} {
		t.Run(name, func(t *testing.T) {
			checkGoroutines(t)
			unwound := 0
			m := New(func(m *Machine, _ *history.Event) history.Event {
				open, w := m.Emit(op), m.NewWaiter()
				validate := func(*history.Event) *history.Failure {
					defer func() { unwound++ }()
					defer func() { _ = recover() }()
					use(m, open, w)
					t.Error("the validator went on")
					return nil
				}
				m.Handle("u", validate, func(*history.Event) { t.Error("handled") })
				m.Wait(m.Signals("never"))
				return completed("")
			})
			mustTurn(t, m, startedOnly...)
			_, err := m.Turn(2, []history.Event{requested("u", "r1", "")})
			var misuse *MisuseError
			if !errors.As(err, &misuse) || !strings.Contains(misuse.At, "updates_test.go:") {
				t.Errorf("got %v", err)
			}
			if _, again := m.Turn(3, []history.Event{requested("u", "r2", "")}); again != err {
				t.Errorf("the next turn fails with %v", again)
			}
			m.OpenUpdates(func(e *history.Event) bool { t.Errorf("%s is open", e.Text); return true })
			m.Close()
			if unwound != 1 {
				t.Errorf("the validator was unwound %d times", unwound)
			}
		})
	}
}

func TestValidatorReads(t *testing.T) {
	checkGoroutines(t)
	m := New(validating(func(m *Machine, e *history.Event) *history.Failure {
		v, ok := m.Value("v")
		_, none := m.Value("none")
		return &history.Failure{Message: fmt.Sprintf("%d %s %v %v %v %s", m.Now(), v, ok, none, m.Replaying(), m.Started().Name)}
	}))
	defer m.Close()
	mustTurn(t, m, history.Event{Kind: history.Started, Name: "o", Carried: []history.Event{
		{Kind: history.ValueCarried, Name: "v", Payload: []byte("1")},
		{Kind: history.SignalReceived, Name: "none", Payload: []byte("no value")},
	}})
	if cmds, err := m.Turn(7, []history.Event{requested("u", "r1", "")}); err != nil || len(cmds) > 0 {
		t.Fatal(cmds, err)
	}
	if r := m.Rejected(); len(r) != 1 || r[0].Failure.Message != "7 1 true false false o" {
		t.Errorf("got %v", r[0].Failure)
	}
}

// What a rejected update was shown is not what happened: the next turn has the
// same number, and the time may be earlier.
func TestRejectedTurnIsNone(t *testing.T) {
	checkGoroutines(t)
	m := New(validating(func(_ *Machine, e *history.Event) *history.Failure {
		if string(e.Payload) == "bad" {
			return &history.Failure{Code: "bad"}
		}
		return nil
	}))
	defer m.Close()
	mustTurn(t, m, startedOnly...)
	bad, good := requested("u", "r", "bad"), requested("u", "r", "good")
	if _, err := m.Turn(9, []history.Event{bad, bad}); err != nil || m.turn != 1 || m.now != 1 || len(m.Rejected()) != 2 {
		t.Fatalf("turn %d at %d, rejected %v, error %v", m.turn, m.now, m.Rejected(), err)
	}
	if _, err := m.Turn(5, []history.Event{bad, good, bad}); err != nil || m.turn != 2 || m.now != 5 {
		t.Fatalf("turn %d at %d, error %v", m.turn, m.now, err)
	}
	if r := m.Rejected(); len(r) != 2 || r[0].Index != 0 || r[1].Index != 2 || r[0].Failure.Code != "bad" {
		t.Errorf("rejected %v", r)
	}
	if _, err := m.Turn(6, nil); err != nil || m.turn != 3 || m.Rejected() != nil {
		t.Errorf("turn %d without deliveries, rejected %v, error %v", m.turn, m.Rejected(), err)
	}
}

// "In a replay recorded updates are accepted without running the validator", and
// what is handled is what arrived.
func TestValidatorDoesNotDecideReplay(t *testing.T) {
	checkGoroutines(t)
	validated := 0
	var handled []string
	code := func(m *Machine, _ *history.Event) history.Event {
		m.Handle("u", func(e *history.Event) *history.Failure {
			validated++
			e.Name, e.Text, e.Payload = "changed", "changed", []byte("changed")
			return nil
		}, func(e *history.Event) { handled = append(handled, e.Name+e.Text+string(e.Payload)) })
		m.Wait(m.Signals("never"))
		return completed("")
	}
	live := New(code)
	defer live.Close()
	mustTurn(t, live, startedOnly...)
	update := requested("u", "r1", "x")
	mustTurn(t, live, update)
	again := New(code)
	defer again.Close()
	for i, d := range []history.Event{startedOnly[0], update} {
		if err := again.Replay(&history.Turn{Number: int64(i + 1), Deliveries: []history.Event{d}}); err != nil {
			t.Fatal(err)
		}
	}
	if validated != 1 || !slices.Equal(handled, []string{"ur1x", "ur1x"}) {
		t.Errorf("validated %d times, handled %q", validated, handled)
	}
}

// An accepted update is part of the history: code that has ended before it, or
// that does not handle it, is other code.
func TestRecordedUpdateMustBeHandled(t *testing.T) {
	checkGoroutines(t)
	for name, code := range map[string]Code{
		"no handler": func(m *Machine, _ *history.Event) history.Event { m.Wait(m.Signals("end")); return completed("") },
		"ended": func(m *Machine, _ *history.Event) history.Event {
			m.Handle("u", nil, func(*history.Event) {})
			return completed("")
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(code)
			defer m.Close()
			err := m.Replay(&history.Turn{
				Number: 4, Deliveries: []history.Event{startedOnly[0], requested("u", "r1", "")},
				Commands: []history.Event{{Kind: history.Completed, Seq: 1}},
			})
			var nd *NondeterminismError
			if !errors.As(err, &nd) || nd.Turn != 4 || nd.Recorded == nil || nd.Recorded.Text != "r1" || nd.Emitted != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Nobody but the validator may use the machine while it runs.
func TestMisuseFromValidatorsGoroutine(t *testing.T) {
	checkGoroutines(t)
	m := New(validating(func(m *Machine, _ *history.Event) *history.Failure {
		var wg sync.WaitGroup
		wg.Go(func() { m.Now() })
		wg.Wait()
		return &history.Failure{}
	}))
	defer m.Close()
	mustTurn(t, m, startedOnly...)
	var misuse *MisuseError
	if _, err := m.Turn(1, []history.Event{requested("u", "r", "")}); !errors.As(err, &misuse) {
		t.Errorf("got %v", err)
	}
}

// A handler that is registered by a handler is there for the next update.
func TestHandlerRegisteredByHandler(t *testing.T) {
	checkGoroutines(t)
	m := New(func(m *Machine, _ *history.Event) history.Event {
		m.Handle("open", nil, func(e *history.Event) {
			m.Handle("u", nil, func(e *history.Event) { m.Emit(answered(e)) })
			m.Emit(answered(e))
		})
		m.Wait(m.Signals("never"))
		return completed("")
	})
	defer m.Close()
	cmds := mustTurn(t, m, startedOnly[0], requested("u", "r0", ""), requested("open", "r1", ""), requested("u", "r2", ""))
	if len(cmds) != 2 || cmds[1].Text != "r2" || len(m.Rejected()) != 1 || m.Rejected()[0].Index != 1 {
		t.Errorf("%v, rejected %v", cmds, m.Rejected())
	}
}

// Open updates are listed in the order of their arrival, until they are answered.
func TestOpenUpdates(t *testing.T) {
	checkGoroutines(t)
	const n = 600
	m := New(func(m *Machine, _ *history.Event) history.Event {
		m.Handle("u", nil, func(e *history.Event) {
			m.Wait(m.Signals(e.Text))
			m.Emit(answered(e))
		})
		m.Wait(m.Signals("never"))
		return completed("")
	})
	defer m.Close()
	mustTurn(t, m, startedOnly...)
	open := func(limit int) (all []string) {
		m.OpenUpdates(func(e *history.Event) bool {
			all = append(all, e.Text)
			return len(all) < limit
		})
		return all
	}
	before := m.Size()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint("r", i))
		mustTurn(t, m, requested("u", want[i], strings.Repeat("x", 1000)))
	}
	if got := open(n); !slices.Equal(got, want) || m.Size() < before+(1000+taskSize)*n {
		t.Errorf("%q, size %d", got, m.Size())
	}
	if got := open(3); !slices.Equal(got, want[:3]) {
		t.Errorf("first %q", got)
	}
	for len(want) > 0 {
		i := len(want) / 3
		mustTurn(t, m, history.Event{Kind: history.SignalReceived, Name: want[i]})
		if want = slices.Delete(want, i, i+1); !slices.Equal(open(n), want) {
			t.Fatalf("%q instead of %q", open(n), want)
		}
	}
	if m.Size() != before || cap(m.updates) > keepRoom {
		t.Errorf("size %d after all were answered, %d before, room for %d", m.Size(), before, cap(m.updates))
	}
}

// "Values read their base from the start of the execution plus recorded changes":
// what the code emits now is a warning.
func TestRecordedValueStands(t *testing.T) {
	checkGoroutines(t)
	m := New(func(m *Machine, _ *history.Event) history.Event {
		m.Emit(history.Event{Kind: history.ValueSet, Name: "v", Payload: []byte("new")})
		m.Emit(history.Event{Kind: history.UpdateAnswered, Name: "u", Text: "r"})
		m.Wait(m.Signals("end"))
		v, _ := m.Value("v")
		return completed(string(v))
	})
	defer m.Close()
	err := m.Replay(&history.Turn{Number: 1, Deliveries: startedOnly, Commands: []history.Event{
		{Kind: history.ValueSet, Seq: 1, Name: "v", Payload: []byte("old")},
		{Kind: history.UpdateAnswered, Seq: 2, Name: "u", Text: "r", Failure: &history.Failure{Message: "no"}},
	}})
	if err != nil || len(m.Warnings()) != 2 {
		t.Fatal(err, m.Warnings())
	}
	if cmds := mustTurn(t, m, history.Event{Kind: history.SignalReceived, Name: "end"}); string(cmds[0].Payload) != "old" {
		t.Errorf("the value is %s", cmds[0].Payload)
	}
}

// A value takes room, and gives it back.
func TestValuesAreAccounted(t *testing.T) {
	checkGoroutines(t)
	m := New(func(m *Machine, _ *history.Event) history.Event {
		for {
			_, e := m.Wait(m.Signals("set"))
			k := history.ValueSet
			if e.Payload == nil {
				k = history.ValueCleared
			}
			m.Emit(history.Event{Kind: k, Name: "v", Payload: e.Payload})
		}
	})
	defer m.Close()
	mustTurn(t, m, startedOnly...)
	before := m.Size()
	for _, n := range []int{10_000, 50_000, 20_000} {
		mustTurn(t, m, history.Event{Kind: history.SignalReceived, Name: "set", Payload: make([]byte, n)})
		if got := m.Size() - before; got < n || got > n+1000 {
			t.Errorf("a value of %d bytes takes %d", n, got)
		}
	}
	for range 2 {
		mustTurn(t, m, history.Event{Kind: history.SignalReceived, Name: "set"})
	}
	if m.Size() != before {
		t.Errorf("size %d after clearing, %d before", m.Size(), before)
	}
}

// An execution that uses none of it does not pay for it.
func TestUnusedCostsNothing(t *testing.T) {
	checkGoroutines(t)
	m := New(func(m *Machine, _ *history.Event) history.Event {
		m.Value("v")
		m.Emit(history.Event{Kind: history.ValueCleared, Name: "v"})
		m.Wait(m.Signals("end"))
		return history.Event{Kind: history.ContinuedAsNew}
	})
	defer m.Close()
	mustTurn(t, m, startedOnly[0], requested("u", "r", ""))
	cmds := mustTurn(t, m, history.Event{Kind: history.SignalReceived, Name: "end"})
	if m.values != nil || m.handlers != nil || m.patches != nil || m.updates != nil || cmds[0].Carried != nil {
		t.Errorf("%v %v %v %v %v", m.values, m.handlers, m.patches, m.updates, cmds)
	}
}
