package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
)

// runReplayEngine measures what a cold instance costs: one node makes a long
// history and leaves, another gets a signal for the instance, reads the
// history, replays it and goes on. From the send until the instance has ended.
func runReplayEngine(e *env) (_ *Sample, err error) {
	st, err := e.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	var began, caughtUp atomic.Int64
	var parked atomic.Bool
	ready := make(chan struct{})
	flow := durango.DefineOrchestration("replay", func(ctx *durango.Context, s Step) (Step, error) {
		began.Store(time.Now().UnixNano())
		for i := range s.N {
			if _, err := noop.Call(ctx, Step{Order: s.Order, N: i}); err != nil {
				return s, err
			}
		}
		if !parked.Swap(true) {
			close(ready)
		}
		caughtUp.Store(time.Now().UnixNano())
		return approved.Next(ctx).Await(ctx)
	})
	var done atomic.Int64
	defs := []durango.Registrable{flow, countedNoop(&done)}

	first, err := startNode(e, st.Provider, durango.Options{}, defs...)
	if err != nil {
		return nil, err
	}
	_, err = flow.Start(e, first.Client(), "replay", Step{Order: "4711", N: e.Replay})
	if err == nil {
		select {
		case <-ready:
		case <-e.Done():
			err = context.Cause(e)
		}
	}
	if err = errors.Join(err, first.stop()); err != nil {
		return nil, err
	}

	second, err := startNode(e, st.Provider, durango.Options{}, defs...)
	if err != nil {
		return nil, err
	}
	run := flow.Run(second.Client(), "replay")
	// Started, and for each activity the command and its answer.
	events := int64(1 + 2*e.Replay)
	var ended atomic.Int64
	began.Store(0)
	m := begin(st, ended.Load)
	err = approved.Send(e, second.Client(), "replay", Step{N: 1})
	if err == nil {
		_, err = run.Wait(e)
	}
	ended.Store(events)
	s := m.end()
	if err = errors.Join(err, second.stop()); err != nil {
		return nil, err
	}
	switch {
	case began.Load() == 0:
		return nil, errors.New("the instance was not rebuilt")
	case done.Load() != int64(e.Replay):
		s.Notes = append(s.Notes, fmt.Sprintf("%d activities ran for %d asked for", done.Load(), e.Replay))
	}
	s.add("events", float64(events))
	s.add("code_ms", float64(caughtUp.Load()-began.Load())/1e6)
	s.Notes = append(s.Notes, append(first.log.note(), second.log.note()...)...)
	return s, nil
}

// runReplayMachine decodes and replays a history without a store, an engine or
// the decoding of payloads.
func runReplayMachine(e *env) (*Sample, error) {
	payload := []byte(`{"order":"4711","n":1000}`)
	code := func(m *replay.Machine, _ *history.Event) history.Event {
		for range e.Replay {
			op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "no-op", Payload: payload})
			if _, answer := m.Wait(op); answer == nil {
				return history.Event{Kind: history.Canceled}
			}
			m.Release(op)
		}
		return history.Event{Kind: history.Completed, Payload: payload}
	}
	turns := make([][]byte, 0, e.Replay+1)
	live := replay.New(code)
	delivery := history.Event{Kind: history.Started, Name: "replay", Version: "1.0.0", Target: "replay", Payload: payload}
	for n := int64(1); live.Final() == nil; n++ {
		deliveries := []history.Event{delivery}
		commands, err := live.Turn(n, deliveries)
		if err != nil {
			return nil, err
		}
		turns = append(turns, history.AppendTurn(nil, deliveries, commands))
		delivery = history.Event{Kind: history.ActivityCompleted, Ref: n, Payload: payload}
	}
	live.Close()

	var events int64
	m := begin(&store{}, func() int64 { return events })
	machine := replay.New(code)
	defer machine.Close()
	for i, row := range turns {
		deliveries, commands, err := history.DecodeTurn(row)
		if err != nil {
			return nil, err
		}
		number := int64(i + 1)
		err = machine.Replay(&history.Turn{Number: number, Execution: 1, Time: number, Deliveries: deliveries, Commands: commands})
		if err != nil {
			return nil, err
		}
		events += int64(len(deliveries) + len(commands))
	}
	s := m.end()
	if machine.Final() == nil {
		return nil, errors.New("the replayed machine did not end")
	}
	return s, nil
}
