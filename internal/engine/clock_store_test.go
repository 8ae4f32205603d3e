package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// DESIGN 5: "Timers are … never early", also when a turn that something else
// brings about comes before their time.
func TestATurnBeforeATimerDoesNotFireIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		began := time.Now()
		var signaled, fired time.Duration
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			timer := m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(5*time.Second)})
			awaitSignals(m, "n", 1)
			signaled = time.Since(began)
			m.Wait(timer)
			fired = time.Since(began)
			return completed("")
		}
		n := start(t, store, Options{}, codeMap{"both": code}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "both", "x", nil)
		time.Sleep(time.Second)
		signal(t, n.Client(), "x", "n", "1")
		within(t, time.Minute, store, target)
		assert.True(t, signaled >= time.Second && signaled < 2*time.Second, "the turn of the signal came after %v", signaled)
		assert.True(t, fired >= 5*time.Second && fired < 6*time.Second, "the timer of 5 s fired after %v", fired)
	})
}

// DESIGN 5: "Timers are absolute times of the store's clock": what time it is,
// when a timer fires and when a delayed start begins is said by the store, not
// by the clock of the node.
func TestTimeIsThatOfTheStore(t *testing.T) {
	for _, offset := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(offset.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.Open()
				store.ClockOffset = offset
				began := time.Now()
				since := func(at int64) time.Duration { return time.Unix(0, at).Sub(began.Add(offset)) }
				first := make(chan int64, 1)
				var slept time.Duration
				codes := codeMap{
					"now": func(m *replay.Machine, _ *history.Event) history.Event {
						first <- m.Now()
						return completed("")
					},
					"sleeps": func(m *replay.Machine, _ *history.Event) history.Event {
						first <- m.Now()
						m.Wait(m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(5*time.Second)}))
						slept = time.Since(began)
						return completed("")
					},
				}
				n := start(t, store, Options{}, codes, nil)
				n.waitMember(t)
				begin(t, n.Client(), "now", "now", nil)
				now := since(<-first)
				assert.True(t, now >= 0 && now < time.Second, "at once is %v", now)

				ev := history.Event{Kind: history.Started, Name: "sleeps"}
				r, err := n.Client().Start(t.Context(), provider.NewInstance{
					ID: "late", Name: "sleeps", Start: history.AppendMessage(nil, &ev), NotBefore: began.Add(offset + time.Minute).UnixNano(),
				})
				assert.NoError(t, err)
				within(t, 10*time.Minute, store, provider.Target{Key: r.Key, ID: "late"})
				const minute, second = time.Minute, time.Second
				now = since(<-first)
				assert.True(t, now >= minute && now < minute+second, "what starts after a minute starts at %v", now)
				assert.True(t, slept >= minute+5*second && slept < minute+6*second, "its timer of 5 s fires at %v", slept)
				closed := since(rowOf(t, store, provider.Target{ID: "late"}).ClosedAt)
				assert.True(t, closed >= minute+5*second && closed < minute+6*second, "it ends at %v", closed)
			})
		})
	}
}
