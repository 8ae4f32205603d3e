package durango_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/internal/replay"
)

// harness runs one instance, with its activities and children, on the real
// replay machine and no engine. Every turn goes through its stored form, and
// after every turn the whole history is replayed into a fresh machine, so that
// every test of the language is one of replay too.
type harness struct {
	t          *testing.T
	id         string
	codes      map[string]replay.Code
	activities map[string]engine.Activity
	log        *bytes.Buffer

	m         *replay.Machine
	name      string
	execution int64
	now       int64
	number    int64
	turns     []history.Turn // of the execution
	parent    *history.Parent
	started   []string // IDs of the children
	answers   []history.Event
	sent      []history.Event // signals that left
	status    []byte
	end       *history.Event
	failed    error // what failed the last turn
	hold      bool  // answers are kept back
}

func newHarness(t *testing.T, ds ...durango.Registrable) *harness {
	t.Helper()
	h := &harness{
		t: t, id: "test", codes: map[string]replay.Code{}, activities: map[string]engine.Activity{},
		log: &bytes.Buffer{}, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(),
	}
	logger := slog.New(slog.NewTextHandler(h.log, nil))
	os, as, problems := durango.Definitions(logger, ds...)
	if err := errors.Join(problems...); err != nil {
		t.Fatal(err)
	}
	for _, o := range os {
		h.codes[o.Name] = o.Code
	}
	for _, a := range as {
		h.activities[a.Name] = a
	}
	t.Cleanup(func() {
		if h.m != nil {
			h.m.Close()
		}
	})
	return h
}

func marshal(v any) []byte {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// start runs the instance until it waits for something from outside.
func (h *harness) start(name string, input any) *harness {
	h.t.Helper()
	h.begin(name, marshal(input), nil)
	return h
}

func (h *harness) begin(name string, input []byte, carried []history.Event) {
	h.t.Helper()
	if h.codes[name] == nil {
		h.t.Fatalf("no code for %q", name)
	}
	h.name, h.turns = name, nil
	h.execution++
	if h.m != nil {
		h.m.Close()
	}
	h.m = replay.New(h.codes[name])
	started := history.Event{
		Kind: history.Started, Name: name, Version: "1.0.0", Target: h.id, Seq: h.execution, Payload: input, Parent: h.parent,
	}
	h.deliver(append([]history.Event{started}, carried...)...)
}

func (h *harness) signal(name string, v any) *harness {
	h.t.Helper()
	return h.deliver(history.Event{Kind: history.SignalReceived, Name: name, Payload: marshal(v)})
}

func (h *harness) cancel(reason string) *harness {
	h.t.Helper()
	return h.deliver(history.Event{Kind: history.CancelRequested, Text: reason})
}

// advance lets time pass and fires what is due.
func (h *harness) advance(d time.Duration) *harness {
	h.t.Helper()
	h.now += int64(d)
	return h.deliver(h.m.DueTimers(h.now, nil)...)
}

// deliver takes turns until nothing more happens without help.
func (h *harness) deliver(events ...history.Event) *harness {
	h.t.Helper()
	for {
		if !h.hold {
			events, h.answers = append(events, h.answers...), nil
		}
		accepted := events[:0:0]
		for i := range events {
			if h.number == 0 || len(h.turns) == 0 || h.m.Accepts(&events[i]) {
				accepted = append(accepted, events[i])
			}
		}
		if len(accepted) == 0 || h.end != nil || h.failed != nil {
			return h
		}
		if !h.turn(accepted) {
			return h
		}
		events = nil
	}
}

// turn takes one turn and does what its commands ask for. It returns false
// when the instance has ended or the turn failed.
func (h *harness) turn(events []history.Event) bool {
	h.t.Helper()
	commands, err := h.m.Turn(h.now, events)
	if err != nil {
		h.failed = err
		return false
	}
	h.number++
	b := history.AppendTurn(nil, events, commands)
	t := history.Turn{Number: h.number, Execution: h.execution, Time: h.now}
	if t.Deliveries, t.Commands, err = history.DecodeTurn(b); err != nil {
		h.t.Fatal(err)
	}
	h.turns = append(h.turns, t)
	h.replay()
	for i := range t.Commands {
		h.do(&t.Commands[i], t.Commands[i+1:])
	}
	if final := h.m.Final(); final != nil {
		if final.Kind != history.ContinuedAsNew {
			h.end = final
			return false
		}
		h.begin(h.name, final.Payload, final.Carried)
		return h.end == nil && h.failed == nil
	}
	return true
}

// replay rebuilds the execution from its history.
func (h *harness) replay() {
	h.t.Helper()
	before := h.log.Len()
	m := replay.New(h.codes[h.name])
	defer m.Close()
	for i := range h.turns {
		if err := m.Replay(&h.turns[i]); err != nil {
			h.t.Fatalf("replay of turn %d of %d: %v", i+1, len(h.turns), err)
		}
	}
	if w := m.Warnings(); len(w) > 0 {
		h.t.Fatalf("replay warns: %v", w)
	}
	if h.log.Len() != before {
		h.t.Fatalf("replay logged %q", h.log.String()[before:])
	}
}

func (h *harness) do(cmd *history.Event, later []history.Event) {
	h.t.Helper()
	for _, e := range later {
		if e.Ref == cmd.Seq && (e.Kind == history.ActivityCanceled || e.Kind == history.ChildCanceled) {
			return
		}
	}
	switch cmd.Kind {
	case history.ActivityScheduled:
		h.answers = append(h.answers, h.run(cmd))
	case history.ChildStarted:
		h.child(cmd)
	case history.SignalSent:
		h.sent = append(h.sent, *cmd)
	case history.StatusSet:
		h.status = cmd.Payload
	}
}

func (h *harness) run(cmd *history.Event) history.Event {
	h.t.Helper()
	a, ok := h.activities[cmd.Name]
	if !ok {
		h.t.Fatalf("no activity %q", cmd.Name)
	}
	out, f := a.Run(context.Background(), &engine.Attempt{Name: cmd.Name, Input: cmd.Payload, Number: 1})
	if f != nil {
		return history.Event{Kind: history.ActivityFailed, Ref: cmd.Seq, Failure: f}
	}
	return history.Event{Kind: history.ActivityCompleted, Ref: cmd.Seq, Payload: out}
}

// child runs a child to its end; one that waits for something never answers.
func (h *harness) child(cmd *history.Event) {
	h.t.Helper()
	for _, id := range h.started {
		if id == cmd.Target {
			h.answers = append(h.answers, history.Event{Kind: history.ChildFailed, Ref: cmd.Seq, Failure: &history.Failure{
				Code: durango.CodeAlreadyExists, Message: "instance " + id + " already exists",
			}})
			return
		}
	}
	h.started = append(h.started, cmd.Target)
	c := &harness{t: h.t, id: cmd.Target, codes: h.codes, activities: h.activities, log: h.log, now: h.now}
	if !cmd.Detached {
		c.parent = &history.Parent{Key: 1, ID: h.id, Execution: h.execution, Seq: cmd.Seq}
	}
	c.begin(cmd.Name, cmd.Payload, nil)
	defer c.m.Close()
	if c.end == nil || cmd.Detached {
		return
	}
	answer := history.Event{Kind: history.ChildCompleted, Ref: cmd.Seq, Payload: c.end.Payload}
	if c.end.Kind != history.Completed {
		answer.Kind, answer.Failure = history.ChildFailed, c.end.Failure
	}
	h.answers = append(h.answers, answer)
}

// result is what Run.Wait would return.
func result[T any](h *harness) (T, error) {
	h.t.Helper()
	if h.failed != nil {
		h.t.Fatalf("the turn failed: %v", h.failed)
	}
	if h.end == nil {
		h.t.Fatal("the instance has not ended")
	}
	return durango.ReadOutcome[T](history.AppendMessage(nil, h.end))
}

// want checks that the instance completed with v.
func want[T comparable](h *harness, v T) {
	h.t.Helper()
	got, err := result[T](h)
	if err != nil || got != v {
		h.t.Fatalf("got %v, %v; want %v", got, err, v)
	}
}

// wantErr checks that the instance failed with an error that matches target.
func wantErr(h *harness, target error) error {
	h.t.Helper()
	got, err := result[json.RawMessage](h)
	if !errors.Is(err, target) {
		h.t.Fatalf("got %s, %v; want an error that is %v", got, err, target)
	}
	return err
}

// wantTurnFailure checks that the last turn failed, with all of parts in the
// text.
func wantTurnFailure(h *harness, parts ...string) {
	h.t.Helper()
	if h.failed == nil {
		h.t.Fatalf("the turn did not fail; end is %v", h.end)
	}
	for _, p := range parts {
		if !strings.Contains(h.failed.Error(), p) {
			h.t.Fatalf("the turn failed with %q, without %q", h.failed, p)
		}
	}
}

// waits checks that the instance has neither ended nor failed.
func waits(h *harness) {
	h.t.Helper()
	if h.end != nil || h.failed != nil {
		h.t.Fatalf("the instance does not wait: end %v, failure %v", h.end, h.failed)
	}
}
