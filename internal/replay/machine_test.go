package replay

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/durango-go/durango/history"
)

var startedOnly = []history.Event{{Kind: history.Started, Name: "o"}}

func sequential(n int) Code {
	return func(m *Machine, _ *history.Event) history.Event {
		for range n {
			op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "a"})
			m.Wait(m.Root(), op)
			m.Release(op)
		}
		return history.Event{Kind: history.Completed}
	}
}

// fanout schedules n activities and awaits each on a coroutine of its own.
func fanout(n int) Code {
	return func(m *Machine, _ *history.Event) history.Event {
		tasks := make([]*Task, n)
		for i := range tasks {
			op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "a"})
			tasks[i] = m.Spawn(func() { m.Wait(m.Root(), op) })
		}
		w := m.NewWaiter()
		w.Add(-1, m.Root())
		for i, t := range tasks {
			w.Add(i, t)
		}
		for range tasks {
			w.Next()
		}
		w.Close()
		return history.Event{Kind: history.Completed}
	}
}

func mustTurn(t testing.TB, m *Machine, deliveries ...history.Event) []history.Event {
	t.Helper()
	cmds, err := m.Turn(1, deliveries)
	if err != nil {
		t.Fatal(err)
	}
	return cmds
}

// "The line of user code that emitted it."
func TestNondeterminismNamesTheLine(t *testing.T) {
	checkGoroutines(t)
	var want int
	m := New(func(m *Machine, _ *history.Event) history.Event {
		_, _, want, _ = runtime.Caller(0)
		m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "b"}) // want + 1
		t.Error("the coroutine went on after a difference")
		return completed("")
	})
	defer m.Close()
	err := m.Replay(&history.Turn{Number: 7, Deliveries: startedOnly, Commands: []history.Event{
		{Kind: history.ActivityScheduled, Seq: 1, Name: "a"},
	}})
	var nd *NondeterminismError
	if !errors.As(err, &nd) || nd.Turn != 7 || nd.Index != 0 || nd.Recorded.Name != "a" || nd.Emitted.Name != "b" {
		t.Fatal(err)
	}
	if !strings.HasSuffix(nd.At, fmt.Sprintf("machine_test.go:%d", want+1)) {
		t.Errorf("at %s, want line %d", nd.At, want+1)
	}
	if _, again := m.Turn(1, nil); again != err {
		t.Errorf("the next turn fails with %v", again)
	}
}

// Which functions are the user's.
func TestOwnFrames(t *testing.T) {
	for _, c := range []struct {
		function, file string
		own            bool
	}{
		{module + ".(*Context).Sleep", "/src/durango/context.go", true},
		{module + ".Activity[...].Call", "/src/durango/activity.go", true},
		{module + "/internal/replay.(*Scope).Emit", "/src/durango/internal/replay/emit.go", true},
		{module + ".TestFulfil.func1", "/src/durango/context_test.go", false},
		{module + "_test.TestFulfil", "/src/durango/x_test.go", false},
		{module + "/examples/saga.run", "/src/durango/examples/saga/main.go", false},
		{module + "/durangotest.run", "/src/durango/durangotest/run.go", false},
		{module + "-tools.run", "/src/tools/main.go", false},
		{"example.com/shop.fulfil", "/src/shop/fulfil.go", false},
		{"main.main", "/src/shop/main.go", false},
		{"runtime.gopanic", "/go/src/runtime/panic.go", true},
	} {
		if got := own(c.function, c.file); got != c.own {
			t.Errorf("%s: %v", c.function, got)
		}
	}
}

// "Using it from another goroutine fails the turn; the outer ctx inside a
// coroutine is safe."
func TestMisuseFromAnotherGoroutine(t *testing.T) {
	checkGoroutines(t)
	var wg sync.WaitGroup
	survived := false
	m := New(func(m *Machine, _ *history.Event) history.Event {
		m.Wait(m.Spawn(func() { m.Now() }))
		wg.Go(func() {
			m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "stolen"})
			survived = true
		})
		wg.Wait()
		m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "own"})
		return completed("")
	})
	defer m.Close()
	_, err := m.Turn(1, startedOnly)
	var misuse *MisuseError
	if !errors.As(err, &misuse) || !strings.Contains(misuse.At, "machine_test.go:") {
		t.Fatalf("got %v", err)
	}
	if survived {
		t.Error("the offending goroutine went on")
	}
	if m.Final() != nil {
		t.Error("a failed turn has a terminal command")
	}
}

func TestMisuseBetweenTurns(t *testing.T) {
	checkGoroutines(t)
	m := New(sequential(2))
	defer m.Close()
	mustTurn(t, m, startedOnly...)
	var wg sync.WaitGroup
	wg.Go(func() { m.Now() })
	wg.Wait()
	_, err := m.Turn(1, []history.Event{{Kind: history.ActivityCompleted, Ref: 1}})
	var misuse *MisuseError
	if !errors.As(err, &misuse) {
		t.Fatalf("got %v", err)
	}
}

// The coroutine of one execution must not use the context of another. Its own
// execution fails too, because the offender is stopped.
func TestMisuseFromAnotherExecution(t *testing.T) {
	checkGoroutines(t)
	victim := New(sequential(1))
	defer victim.Close()
	mustTurn(t, victim, startedOnly...)
	offender := New(func(m *Machine, _ *history.Event) history.Event {
		victim.Emit(history.Event{Kind: history.StatusSet})
		return completed("")
	})
	defer offender.Close()
	var p *PanicError
	if _, err := offender.Turn(1, startedOnly); !errors.As(err, &p) {
		t.Errorf("offender: %v", err)
	}
	var misuse *MisuseError
	if _, err := victim.Turn(1, nil); !errors.As(err, &misuse) {
		t.Errorf("victim: %v", err)
	}
}

// Ten thousand activities on ten thousand coroutines: every delivery ends one
// wait. What a delivery costs is BenchmarkFanout's to show.
func TestWideFanout(t *testing.T) {
	checkGoroutines(t)
	const n = 10_000
	m := New(fanout(n))
	defer m.Close()
	mustTurn(t, m, startedOnly...)
	for i := range n {
		if m.Final() != nil {
			t.Fatalf("ended after %d of %d answers", i, n)
		}
		mustTurn(t, m, history.Event{Kind: history.ActivityCompleted, Ref: int64(i + 1)})
		if open := m.Pending().Activities; open != n-i-1 {
			t.Fatalf("%d activities open after %d answers", open, i+1)
		}
	}
	if m.Final() == nil {
		t.Fatal("not finished")
	}
}

// An execution does not keep what is over.
func TestNothingIsRetained(t *testing.T) {
	checkGoroutines(t)
	check := func(m *Machine, when string) {
		t.Helper()
		free := 0
		for s := m.freeSubs; s != nil; s = s.next {
			free++
		}
		if n := cap(m.ops.entries); n > 64 {
			t.Errorf("%s: room for %d open ops", when, n)
		}
		if free > keepRoom || len(m.runnable.ring) > keepRoom || cap(m.timers) > keepRoom ||
			cap(m.commands) > keepRoom {
			t.Errorf("%s: %d subscriptions, %d runnable, %d timers, %d commands", when,
				free, len(m.runnable.ring), cap(m.timers), cap(m.commands))
		}
		if m.Size() > 2*machineSize+2*taskSize {
			t.Errorf("%s: size %d", when, m.Size())
		}
	}

	m := New(sequential(10_001))
	defer m.Close()
	cmds := mustTurn(t, m, startedOnly...)
	for range 10_000 {
		cmds = mustTurn(t, m, history.Event{Kind: history.ActivityCompleted, Ref: cmds[0].Seq})
	}
	check(m, "sequential")

	const n = 2_000
	f := New(func(m *Machine, e *history.Event) history.Event {
		for range n {
			m.Emit(history.Event{Kind: history.TimerSet, Time: 2})
		}
		fanout(n)(m, e)
		return sequential(2)(m, e)
	})
	defer f.Close()
	mustTurn(t, f, startedOnly...)
	if f.Size() < n*(taskSize+2*opSize) {
		t.Errorf("size %d while open", f.Size())
	}
	due := f.DueTimers(2, nil)
	for i := range n {
		due = append(due, history.Event{Kind: history.ActivityCompleted, Ref: int64(n + i + 1)})
	}
	mustTurn(t, f, due...)
	mustTurn(t, f, history.Event{Kind: history.ActivityCompleted, Ref: 2*n + 1})
	check(f, "fan-out")
}

// A long timer below many answered ops does not hold their places.
func TestOpTableWithGaps(t *testing.T) {
	var table opTable
	open := map[int64]*Op{}
	add := func(seq int64) {
		open[seq] = &Op{seq: seq}
		table.add(open[seq])
	}
	add(3)
	for seq := int64(10); seq < 5_000; seq++ {
		add(seq)
		if seq%7 != 0 {
			table.remove(open[seq])
			delete(open, seq)
		}
	}
	for seq := range int64(5_010) {
		if table.find(seq) != open[seq] {
			t.Fatalf("%d: %v", seq, table.find(seq))
		}
	}
	for seq := range open {
		if seq != 3 {
			table.remove(open[seq])
		}
	}
	if table.find(3) == nil || cap(table.entries) > 64 {
		t.Fatalf("room for %d", cap(table.entries))
	}
}

// "ctx.Now(), ctx.NewID(), durango.Record are recorded inline": replay returns
// the recorded value and does not compute it again.
func TestRecordComputesOnce(t *testing.T) {
	checkGoroutines(t)
	computed := 0
	code := func(m *Machine, _ *history.Event) history.Event {
		v := m.Record("dice", func() []byte { computed++; return fmt.Append(nil, computed) })
		return completed(string(v))
	}
	m := New(code)
	defer m.Close()
	cmds := mustTurn(t, m, startedOnly...)
	again := New(code)
	defer again.Close()
	if err := again.Replay(&history.Turn{Number: 1, Deliveries: startedOnly, Commands: cmds}); err != nil {
		t.Fatal(err)
	}
	if computed != 1 || string(again.Final().Payload) != "1" || len(again.Warnings()) != 0 {
		t.Errorf("computed %d times, got %s, warnings %v", computed, again.Final().Payload, again.Warnings())
	}
}

// "FIFO per name", also when many wait and the queue is consumed from the front
// while it grows at the back.
func TestManySignalsStayInOrder(t *testing.T) {
	checkGoroutines(t)
	next := 0
	m := New(func(m *Machine, _ *history.Event) history.Event {
		for {
			m.Wait(m.Signals("go"))
			for range 3 {
				if e, ok := m.Signals("s").Take(); ok {
					if string(e.Payload) != fmt.Sprint(next) {
						t.Errorf("got %s, want %d", e.Payload, next)
					}
					next++
				}
			}
		}
	})
	defer m.Close()
	mustTurn(t, m, startedOnly...)
	sent := 0
	signal := func(name string) {
		mustTurn(t, m, history.Event{Kind: history.SignalReceived, Name: name, Payload: fmt.Append(nil, sent)})
	}
	for ; sent < 500; sent++ {
		signal("s")
		if sent > 100 && sent%4 == 0 {
			signal("go")
		}
		unread := m.Unread()
		if len(unread) != sent+1-next || string(unread[0].Payload) != fmt.Sprint(next) {
			t.Fatalf("%d unread from %s after %d sent and %d taken", len(unread), unread[0].Payload, sent+1, next)
		}
	}
	for next < 500 {
		signal("go")
	}
	if m.Unread() != nil || m.Pending().Signals != 0 {
		t.Error("signals are left")
	}
}

// Timers canceled in any order leave the others due in order.
func TestTimerHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h timerHeap
	var all []*Op
	for seq := range int64(300) {
		o := &Op{seq: seq, ev: history.Event{Time: r.Int64N(50)}}
		all = append(all, o)
		h.push(o)
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for len(all) > 0 {
		h.remove(all[0])
		all = all[1:]
		for i, o := range h {
			if o.heap != i || i > 0 && earlier(o, h[(i-1)/2]) {
				t.Fatalf("%d timers left: the heap is broken at %d", len(h), i)
			}
		}
		now := r.Int64N(50)
		due := 0
		for _, o := range all {
			if o.ev.Time <= now {
				due++
			}
		}
		m := Machine{timers: h}
		events := m.DueTimers(now, nil)
		if len(events) != due {
			t.Fatalf("%d due, want %d", len(events), due)
		}
	}
}

func TestTaskQueue(t *testing.T) {
	var q taskQueue
	var want []*Task
	for range 10 {
		for range 5 {
			task := &Task{}
			q.push(task)
			want = append(want, task)
		}
		for range 3 {
			if q.pop() != want[0] {
				t.Fatal("out of order")
			}
			want = want[1:]
		}
	}
	for len(want) > 0 {
		if q.pop() != want[0] {
			t.Fatal("out of order")
		}
		want = want[1:]
	}
	if q.pop() != nil {
		t.Fatal("not empty")
	}
}

// An op that is open cannot be given back.
func TestReleaseOfOpenOp(t *testing.T) {
	checkGoroutines(t)
	m := New(func(m *Machine, _ *history.Event) history.Event {
		a := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "a"})
		m.Release(a)
		m.Release(nil)
		b := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "b"})
		_, e := m.Wait(a)
		if a == b || e == nil || string(e.Payload) != "for a" {
			t.Errorf("got %v", e)
		}
		return completed("")
	})
	defer m.Close()
	mustTurn(t, m, startedOnly...)
	mustTurn(t, m, history.Event{Kind: history.ActivityCompleted, Ref: 1, Payload: []byte("for a")})
}

// Close ends every coroutine, started or not, in a machine that failed too.
func TestCloseAfterFailure(t *testing.T) {
	checkGoroutines(t)
	unwound := 0
	m := New(func(m *Machine, _ *history.Event) history.Event {
		for range 100 {
			m.Spawn(func() {
				defer func() { unwound++ }()
				m.Wait(m.Signals("s"))
			})
		}
		m.Spawn(func() { panic("boom") })
		m.Spawn(func() { t.Error("ran after the failure") })
		m.Wait(m.Signals("s"))
		return completed("")
	})
	var p *PanicError
	if _, err := m.Turn(1, startedOnly); !errors.As(err, &p) || !strings.Contains(string(p.Stack), "TestCloseAfterFailure") {
		t.Fatalf("got %v", err)
	}
	m.Close()
	if unwound != 100 {
		t.Errorf("%d of 100 unwound", unwound)
	}
}

// A panic in a deferred function that unwinding runs stays in its coroutine.
func TestPanicWhileUnwinding(t *testing.T) {
	checkGoroutines(t)
	m := New(func(m *Machine, _ *history.Event) history.Event {
		defer func() { panic("in defer") }()
		m.Wait(m.Signals("s"))
		return completed("")
	})
	mustTurn(t, m, startedOnly...)
	m.Close()
}

func BenchmarkTurn(b *testing.B) {
	m := New(sequential(math.MaxInt))
	defer m.Close()
	d := []history.Event{startedOnly[0]}
	b.ReportAllocs()
	for b.Loop() {
		cmds, err := m.Turn(1, d) // mustTurn's Helper costs as much as the turn
		if err != nil {
			b.Fatal(err)
		}
		d[0] = history.Event{Kind: history.ActivityCompleted, Ref: cmds[0].Seq}
	}
}

// BenchmarkReplay rebuilds an execution of 1,000 sequential activities, each
// turn of which has two events.
func BenchmarkReplay(b *testing.B) {
	const n = 1_000
	m := New(sequential(n + 1))
	cmds := mustTurn(b, m, startedOnly...)
	turns := []history.Turn{{Number: 1, Time: 1, Deliveries: startedOnly, Commands: append([]history.Event(nil), cmds...)}}
	for i := range n {
		d := []history.Event{{Kind: history.ActivityCompleted, Ref: cmds[0].Seq, Payload: []byte("result")}}
		cmds = mustTurn(b, m, d...)
		turns = append(turns, history.Turn{
			Number: int64(i + 2), Time: 1, Deliveries: d, Commands: append([]history.Event(nil), cmds...),
		})
	}
	m.Close()
	b.ReportAllocs()
	for b.Loop() {
		m := New(sequential(n + 1))
		for i := range turns {
			if err := m.Replay(&turns[i]); err != nil {
				b.Fatal(err)
			}
		}
		m.Close()
	}
	b.ReportMetric(float64(b.N)*2*float64(len(turns))/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkFanout(b *testing.B) {
	for _, n := range []int{500, 10_000} {
		b.Run(fmt.Sprint("width=", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := New(fanout(n))
				mustTurn(b, m, startedOnly...)
				for i := range n {
					mustTurn(b, m, history.Event{Kind: history.ActivityCompleted, Ref: int64(i + 1)})
				}
				m.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/activity")
		})
	}
}
