package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/providertest"
)

// DESIGN 6, rule 5: recovery finds what a crash has lost, and nothing else. An
// attempt that fails while its instance is rebuilt is not taken for lost.
func TestRule05AnAttemptThatFailsDuringTheReplayIsNotLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		fail := make(chan struct{})
		failNow := sync.OnceFunc(func() {
			close(fail)
			time.Sleep(time.Second)
		})
		var r ran
		acts := actMap{"fails": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
			if r.note(a); a.Number == 1 {
				<-fail
				return nil, &history.Failure{Message: "no"}
			}
			return a.Input, nil
		}}
		waits := func(m *replay.Machine, _ *history.Event) history.Event {
			op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "fails", Payload: []byte("f"),
				Policy: &history.Policy{MaxAttempts: 3, Initial: int64(time.Hour), MaxInterval: int64(time.Hour)}})
			if m.Replaying() {
				failNow()
			}
			return completed(awaitSignals(m, "n", 1) + collect(m, op))
		}
		short := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 1)) }
		n := start(t, store, Options{MaxHot: 1}, codeMap{"waits": waits, "short": short}, acts)
		n.waitMember(t)
		target := begin(t, n.Client(), "waits", "x", nil)
		until(t, "the activity", func() bool { return len(r.of("f")) == 1 })
		begin(t, n.Client(), "short", "y", nil)
		until(t, "eviction", func() bool { return n.Metrics().Evictions > 0 })
		signal(t, n.Client(), "x", "n", "1")
		time.Sleep(time.Minute)
		assert.Equal(t, r.of("f"), []int64{1}, "before its pause is over")
		assert.Equal(t, string(within(t, 2*time.Hour, store, target).Payload), "1f")
		assert.Equal(t, r.of("f"), []int64{1, 2})
	})
}

// What an attempt says reaches the next one though the store was away when it
// was said.
func TestDetailsOutliveAHeartbeatThatFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		var failures atomic.Int64
		flawed := providertest.Faulty(store, providertest.Faults{Before: func(method string) error {
			if method == "ExtendTasks" && failures.Add(1) <= 3 {
				return provider.ErrTransient
			}
			return nil
		}})
		details := make(chan string, 2)
		acts := actMap{"beats": func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			if details <- string(a.Details); a.Number == 1 {
				a.Beat([]byte("half"))
				<-ctx.Done()
			}
			return a.Input, nil
		}}
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			return completed(collect(m, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "beats", Payload: []byte("b"),
				Policy: &history.Policy{Heartbeat: int64(time.Hour)}})))
		}
		n := start(t, flawed, Options{}, codeMap{"o": code}, acts)
		n.waitMember(t)
		target := begin(t, n.Client(), "o", "x", nil)
		assert.Equal(t, <-details, "")
		time.Sleep(time.Minute)
		bury(t, store, n)
		assert.Equal(t, <-details, "half")
		within(t, time.Minute, store, target)
	})
}

// A call that is repeated for others pauses between its tries, also when the
// first of those who share it waits no more.
func TestACallThatIsSharedPausesBetweenItsTries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		until := time.Now().Add(10 * time.Second)
		calls := 0
		_, err := retryCall([]context.Context{over, t.Context()}, func(ctx context.Context) context.Context { return ctx }, true,
			func(context.Context) ([]int, error) {
				if calls++; time.Now().After(until) || calls == 1000 {
					return nil, nil
				}
				return nil, provider.ErrTransient
			})
		assert.NoError(t, err)
		assert.True(t, calls < 100, fmt.Sprint(calls, " calls"))
	})
}

// DESIGN 7: "its result goes straight to the inbox": so does a signal that is
// sent with the start of an instance that is born on its node.
func TestAMessageWithTheStartIsTakenAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 1)) }
		n := start(t, store, Options{MinPoll: time.Hour, MaxPoll: time.Hour}, codeMap{"o": code}, nil)
		n.waitMember(t)
		for _, id := range []string{"a", "b"} {
			ev := history.Event{Kind: history.Started, Name: "o"}
			s := history.Event{Kind: history.SignalReceived, Name: "n", Payload: []byte(id)}
			if id == "b" { // is there already
				begin(t, n.Client(), "o", id, nil)
			}
			r, err := n.Client().Start(t.Context(), provider.NewInstance{ID: id, Name: "o", Start: history.AppendMessage(nil, &ev),
				With: []provider.Message{{ID: "once", Payload: history.AppendMessage(nil, &s)}}})
			assert.NoError(t, err)
			assert.True(t, r.Err == nil || errors.Is(r.Err, provider.ErrAlreadyExists), r.Err)
			assert.Equal(t, string(within(t, time.Second, store, provider.Target{ID: id}).Payload), id)
		}
	})
}

// DESIGN 5, close policy "terminate": who waits for a child on the same node,
// and the work of the child, learn of it at once.
func TestAChildTerminatedByTheCloseOfItsParentIsLetGoAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		working, stopped := make(chan struct{}), make(chan error, 1)
		acts := actMap{"works": func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			close(working)
			<-ctx.Done()
			stopped <- context.Cause(ctx)
			return nil, nil
		}}
		child := func(m *replay.Machine, _ *history.Event) history.Event {
			return completed(collect(m, schedule(m, "works", "w")))
		}
		parent := func(m *replay.Machine, _ *history.Event) history.Event {
			m.Emit(history.Event{Kind: history.ChildStarted, Name: "child", Target: "c", Close: history.CloseTerminate})
			return completed(awaitSignals(m, "n", 1))
		}
		n := start(t, store, Options{}, codeMap{"child": child, "parent": parent}, acts)
		n.waitMember(t)
		begin(t, n.Client(), "parent", "p", nil)
		<-working
		ended := make(chan provider.Outcome, 1)
		go func() {
			o, _ := n.Client().Wait(context.Background(), provider.Target{ID: "c"})
			ended <- o
		}()
		synctest.Wait()
		signal(t, n.Client(), "p", "n", "1")
		began := time.Now()
		assert.Equal(t, (<-ended).Status, provider.Terminated)
		assert.ErrorIs(t, <-stopped, ErrTaskLost)
		assert.True(t, time.Since(began) < time.Second, time.Since(began))
	})
}

// DESIGN 6: a node is declared dead when it does not beat, and looking at what
// others ask for is no reason not to.
func TestASurveyThatHangsDoesNotStopTheHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		store.onDefine = func() error { time.Sleep(time.Hour); return nil }
		other := tapped()
		other.Store = store.Store
		n := start(t, store, Options{Lease: 5 * time.Second}, codeMap{"seq": sequence(1)}, actMap{"echo": echo})
		start(t, other, Options{Lease: 5 * time.Second}, codeMap{"other": sequence(1)}, nil)
		n.waitMember(t)
		time.Sleep(10 * time.Minute)
		assert.Equal(t, n.Metrics().Abandonments, int64(0))
	})
}

// DESIGN 5: "an exact version or a range": what a node has claimed for once does
// not make its claims longer for ever.
func TestRangesThatNobodyAsksForAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		n := start(t, store, Options{}, codeMap{"seq": sequence(1)}, actMap{"echo": echo})
		n.waitMember(t)
		client := NewClient(store, 0)
		for i := range 5 * maxRanges {
			version := fmt.Sprintf(">=0.0.%d", i)
			ev := history.Event{Kind: history.Started, Name: "seq", Version: version}
			id := fmt.Sprint(i)
			r, err := client.Start(t.Context(), provider.NewInstance{ID: id, Name: "seq", Version: version, Start: history.AppendMessage(nil, &ev)})
			assert.NoError(t, err)
			assert.NoError(t, r.Err)
			assert.Equal(t, string(within(t, time.Minute, store, provider.Target{Key: r.Key, ID: id}).Payload), "0")
		}
		got := len(*n.definitions.Load())
		assert.True(t, got <= maxRanges+3, fmt.Sprint(got, " definitions"))
	})
}

// DESIGN 6: due_at says "when it needs an owner without mail", whoever claimed it
// and gave it up again: a node that stops after it has claimed a sleeper, and
// before it has read its history, does not lose the timer.
func TestADrainDoesNotLoseTheTimerOfWhatItHasJustClaimed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			m.Wait(m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(time.Minute)}))
			return completed("rested")
		}
		first := start(t, store, Options{}, codeMap{"o": code}, nil)
		first.waitMember(t)
		target := begin(t, first.Client(), "o", "x", nil)
		assert.NoError(t, first.stop())

		reading := make(chan struct{})
		slow := providertest.Faulty(store, providertest.Faults{Before: func(method string) error {
			if method == "Load" {
				close(reading)
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}})
		second := start(t, slow, Options{}, codeMap{"o": code}, nil)
		<-reading
		assert.NoError(t, second.stop())
		start(t, store, Options{}, codeMap{"o": code}, nil)
		assert.Equal(t, string(within(t, time.Hour, store, target).Payload), "rested")
	})
}

// DESIGN 9: "A completion is accepted once, for an open command of the same
// execution and kind; anything else is dropped and counted."
func TestWhatAnswersNoOpenCommandIsCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			return completed(collect(m, schedule(m, "nobody", "x")) + awaitSignals(m, "n", 1))
		}
		n := start(t, store, Options{}, codeMap{"asks": code}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "asks", "x", nil)
		until(t, "the first turn", func() bool { return rowOf(t, store, target).NextTurn == 2 })
		var dropped int64
		tasks, err := store.Tasks(t.Context(), target.Key)
		assert.NoError(t, err)
		command := tasks[0].Command
		answer := func(kind history.Kind, ref, execution int64) {
			read := rowOf(t, store, target).ReadSeq
			ev := history.Event{Kind: kind, Ref: ref, Payload: []byte("a"), Attempt: 1}
			_, err := n.Client().Send(t.Context(), provider.Message{
				To: target, Execution: execution, Command: ref, Payload: history.AppendMessage(nil, &ev),
			})
			assert.NoError(t, err)
			until(t, "it is read", func() bool { return rowOf(t, store, target).ReadSeq > read })
		}
		foreign := func(what string, kind history.Kind, ref, execution int64) {
			answer(kind, ref, execution)
			dropped++
			assert.Equal(t, n.Metrics().Dropped, dropped, "%s", what)
		}
		foreign("of another execution", history.ActivityCompleted, command, 2)
		foreign("of another kind", history.ChildCompleted, command, 1)
		foreign("of no command", history.ActivityCompleted, command+50, 1)
		answer(history.ActivityCompleted, command, 1)
		assert.Equal(t, n.Metrics().Dropped, dropped, "the answer")
		foreign("a second answer", history.ActivityCompleted, command, 1)
		signal(t, n.Client(), "x", "n", "1")
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "a1")
	})
}
