package engine

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// simVersions are the versions of what is called versioned, by node. Each is on
// two nodes.
var simVersions = [][]string{{"1.0.0", "1.1.0"}, {"1.1.0", "2.0.0"}, {"1.0.0", "2.0.0"}}

// simPrograms use what the cluster's older programs do not.
var simPrograms = codeMap{
	"desk":    desk,
	"approve": approve,
	"climb": func(m *replay.Machine, _ *history.Event) history.Event {
		return completed(collect(m, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "climb", Payload: []byte("c"),
			Policy: &history.Policy{Heartbeat: int64(3 * time.Second), MaxAttempts: 1000, Initial: int64(50 * time.Millisecond), Backoff: history.BackoffFixed}})))
	},
	"session": func(m *replay.Machine, started *history.Event) history.Event {
		out := ""
		for i := range 5 {
			out += collect(m, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "echo", Session: string(started.Payload), Payload: []byte(strconv.Itoa(i))}))
		}
		return completed(out)
	},
	"once": func(m *replay.Machine, _ *history.Event) history.Event {
		out := ""
		for i := range 8 {
			out += collect(m, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "echo", Payload: []byte(strconv.Itoa(i)), Policy: &history.Policy{MaxAttempts: 1}}))
		}
		return completed(out)
	},
	"inbox": func(m *replay.Machine, _ *history.Event) history.Event {
		got := strings.Split(strings.TrimSuffix(awaitSignals(m, "n", 3), ","), ",")
		slices.Sort(got)
		return completed(strings.Join(got, ","))
	},
	"fickle": fickle,
}

// desk accepts the updates called add whose payload does not begin with a
// minus, keeps what it accepted in a value, and continues as new now and then.
// A signal closes it.
func desk(m *replay.Machine, _ *history.Event) history.Event {
	log, _ := m.Value("log")
	open, handled, closing := 0, 0, false
	changed := m.NewQueue()
	m.Handle("add", func(e *history.Event) *history.Failure {
		if e.Payload[0] == '-' {
			return &history.Failure{Code: "negative", Message: "no", Final: true}
		}
		return nil
	}, func(e *history.Event) {
		open++
		call(m, "echo", "u")
		log = append(slices.Clip(log), string(e.Payload)+","...)
		at := strings.Count(string(log), ",")
		m.Emit(history.Event{Kind: history.ValueSet, Name: "log", Payload: log})
		m.Emit(history.Event{Kind: history.StatusSet, Payload: []byte(strconv.Itoa(at))})
		m.Emit(history.Event{Kind: history.UpdateAnswered, Name: e.Name, Text: e.Text, Payload: []byte(strconv.Itoa(at))})
		open--
		handled++
		changed.Push()
	})
	for {
		i, _ := m.Wait(changed, m.Signals("close"))
		closing = closing || i == 1
		switch {
		case closing && open == 0:
			return completed(string(log))
		case !closing && open == 0 && handled >= 3:
			return history.Event{Kind: history.ContinuedAsNew}
		}
	}
}

// approve waits for two activities that are completed from outside, one of
// which begins in a node's memory and one as a row.
func approve(m *replay.Machine, _ *history.Event) history.Event {
	policy := history.Policy{StartToClose: int64(15 * time.Second), MaxAttempts: 1000, Initial: int64(50 * time.Millisecond), Backoff: history.BackoffFixed}
	beating := policy
	beating.Heartbeat = int64(10 * time.Second)
	a := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "park", Payload: []byte("a"), Policy: &policy})
	b := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "park", Payload: []byte("b"), Policy: &beating})
	return completed(collect(m, a, b))
}

// fickle begins activities that fail and are tried again, and withdraws them:
// by a cancel, and by continuing as new. Its commands have the same numbers in
// each execution.
func fickle(m *replay.Machine, started *history.Event) history.Event {
	again := &history.Policy{MaxAttempts: 1000, Initial: int64(30 * time.Millisecond), Backoff: history.BackoffFixed}
	switch len(started.Payload) {
	case 0, 1, 2:
		op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "moody", Payload: []byte("m"), Policy: again})
		m.Wait(m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(25*time.Millisecond)}), op)
		if len(started.Payload) == 1 {
			m.Cancel(op)
			m.Wait(m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(200*time.Millisecond)}))
		}
		return history.Event{Kind: history.ContinuedAsNew, Payload: append(slices.Clip(started.Payload), 'x')}
	default:
		queued := &history.Policy{Heartbeat: int64(time.Hour), MaxAttempts: 1000}
		return completed(collect(m, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "climb", Payload: []byte("c"), Policy: queued})))
	}
}

// versioned is the code of one version; it says which.
func versioned(version string) replay.Code {
	return func(m *replay.Machine, started *history.Event) history.Event {
		for range 3 {
			call(m, "echo", "v")
			m.Wait(m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(350*time.Millisecond)}))
		}
		asked, before, again := strings.Cut(string(started.Payload), "|")
		if !again {
			return history.Event{Kind: history.ContinuedAsNew, Version: asked, Payload: []byte(asked + "|" + version)}
		}
		return completed(before + " " + version)
	}
}

// dice are thrown by an attempt: the same in every run of a seed.
func (w *world) dice(a *Attempt) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, a.Instance, a.Execution, a.Command, a.Number)
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// rest waits in an activity, and reports whether it may go on.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errStopped = &history.Failure{Message: "stopped"}

func (w *world) activities() []Activity {
	return []Activity{
		{Name: "echo", Run: func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			rest(ctx, time.Duration(len(a.Input))*7*time.Millisecond+upTo(w.dice(a), time.Millisecond))
			return a.Input, nil
		}},
		{Name: "flaky", Run: func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			rest(ctx, upTo(w.dice(a), time.Millisecond))
			return flakyEcho(ctx, a)
		}},
		{Name: "moody", Run: func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			dice := w.dice(a)
			rest(ctx, upTo(dice, 60*time.Millisecond))
			return nil, &history.Failure{Message: "not in the mood"}
		}},
		{Name: "climb", Run: w.climb},
		{Name: "park", Run: w.park},
	}
}

// climb says how far it has come, begins where the last attempt was, and is
// silent for too long now and then.
func (w *world) climb(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
	const top = 8
	dice := w.dice(a)
	step, _ := strconv.Atoi(string(a.Details))
	ref := provider.TaskRef{Instance: a.Key, Execution: a.Execution, Command: a.Command, Attempt: a.Number}
	for step < top {
		if !rest(ctx, 100*time.Millisecond+upTo(dice, 600*time.Millisecond)) {
			return nil, errStopped
		}
		step++
		w.mu.Lock()
		w.said[ref] = progress{step, time.Now()}
		w.mu.Unlock()
		a.Beat([]byte(strconv.Itoa(step)))
		switch dice.IntN(16) {
		case 0:
			rest(ctx, 10*time.Second)
		case 1:
			return nil, &history.Failure{Message: "slipped"}
		}
	}
	return []byte("top"), nil
}

// park leaves its completion to the clerks.
func (w *world) park(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
	dice := w.dice(a)
	rest(ctx, upTo(dice, 50*time.Millisecond))
	limited, cancel := context.WithTimeout(ctx, upTo(dice, 50*time.Millisecond))
	defer cancel()
	token, err := a.Park(limited)
	if err != nil {
		return nil, &history.Failure{Message: err.Error()}
	}
	w.clerks <- token
	if dice.IntN(8) == 0 {
		rest(ctx, upTo(dice, 50*time.Millisecond))
		return nil, &history.Failure{Message: "changed its mind"}
	}
	return nil, nil
}
