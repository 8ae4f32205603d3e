package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// line lets calls through, holds them (a process that is stopped), or has
// lost the store for good (a process that is gone).
type line struct {
	mu   sync.Mutex
	dead bool
	held chan struct{}
}

var errGone = errors.New("this process is gone")

func (l *line) before(string) error {
	l.mu.Lock()
	dead, held := l.dead, l.held
	l.mu.Unlock()
	if held != nil {
		<-held
	}
	if dead {
		return errGone
	}
	return nil
}

func slowEcho(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
	select {
	case <-time.After(time.Duration(len(a.Input)) * 7 * time.Millisecond):
	case <-ctx.Done():
	}
	return a.Input, nil
}

func flakyEcho(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
	if a.Number%3 != 0 {
		return nil, &history.Failure{Message: "not this time"}
	}
	return a.Input, nil
}

var clusterPrograms = codeMap{
	"chain": sequence(6),
	"fan": func(m *replay.Machine, _ *history.Event) history.Event {
		var ops []*replay.Op
		for i := range 12 {
			ops = append(ops, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "echo", Payload: []byte(fmt.Sprint(i % 10))}))
		}
		out := ""
		for _, op := range ops {
			_, answer := m.Wait(op)
			out += string(answer.Payload)
		}
		return completed(out)
	},
	"signals": func(m *replay.Machine, _ *history.Event) history.Event {
		out := ""
		for range 4 {
			_, s := m.Wait(m.Signals("n"))
			out += string(s.Payload)
			m.Wait(m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(400*time.Millisecond)}))
		}
		return completed(out)
	},
	"parent": func(m *replay.Machine, started *history.Event) history.Event {
		out := ""
		for i := range 3 {
			_, answer := m.Wait(m.Emit(history.Event{Kind: history.ChildStarted, Name: "again", Target: fmt.Sprintf("%s/%d", started.Payload, i), Payload: []byte("ab")}))
			out += string(answer.Payload)
		}
		return completed(out)
	},
	"again": func(m *replay.Machine, started *history.Event) history.Event {
		s, _ := call(m, "echo", string(started.Payload))
		if len(s) < 4 {
			return history.Event{Kind: history.ContinuedAsNew, Payload: []byte(s + "x")}
		}
		return completed(s)
	},
	"retry": func(m *replay.Machine, _ *history.Event) history.Event {
		op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "flaky", Payload: []byte("r"),
			Policy: &history.Policy{MaxAttempts: 1000, Initial: int64(20 * time.Millisecond), Backoff: history.BackoffFixed}})
		_, answer := m.Wait(op)
		return completed(string(answer.Payload))
	},
}

var clusterWant = map[string]string{
	"chain": "012345", "fan": "012345678901", "signals": "0123", "parent": "abxxabxxabxx", "again": "abxx", "retry": "r",
}

// checkHistory checks that turns are dense and that every command has at most
// one answer.
func checkHistory(t *testing.T, store *memory.Store, target provider.Target) {
	t.Helper()
	turns, err := store.Turns(t.Context(), target.Key, 1, 1<<20)
	assert.NoError(t, err)
	answered := map[[2]int64]bool{}
	for i, turn := range turns {
		assert.Equal(t, turn.Number, int64(i+1), "%s", target.ID)
		deliveries, _, err := history.DecodeTurn(turn.Events)
		assert.NoError(t, err)
		for _, d := range deliveries {
			at := [2]int64{turn.Execution, d.Ref}
			if d.Ref != 0 && answered[at] {
				t.Errorf("%s: command %d has two answers", target.ID, d.Ref)
			}
			answered[at] = true
		}
	}
}
