package durango_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

// replays replays turns with ds.
func replays(t *testing.T, turns []history.Turn, ds ...durango.Registrable) ([]string, error) {
	t.Helper()
	rt, err := durango.New(memory.Open(), durango.Options{Logger: slog.New(slog.DiscardHandler)})
	assert.NoError(t, err)
	rt.Register(ds...)
	return rt.Replay(t.Context(), turns)
}

var upgraded = durango.NewOrchestration[int, int]("upgraded")

// twice is the code whose history the tests replay.
func twice(ctx *durango.Context, n int) (int, error) {
	n, err := double.Call(ctx, n)
	if err != nil {
		return 0, err
	}
	return double.Call(ctx, n)
}

// DESIGN 4.4: "The first difference is a nondeterminism error that shows: the
// recorded command, the emitted one, the turn, and the line of user code that
// emitted it. All recorded commands must be consumed: returning early is a
// difference too."
func TestReplayFindsDifferences(t *testing.T) {
	h := newHarness(t, double, upgraded.Bind(twice))
	want(h.start("upgraded", 3), 12)
	turns := h.turns
	assert.Equal(t, len(turns), 3)

	other := durango.NewActivity[int, int]("other")
	tests := []struct {
		name  string
		code  func(ctx *durango.Context, n int) (int, error)
		turn  int64
		parts []string // none: it replays
	}{
		{name: "same", code: twice},
		{name: "other activity", turn: 2, parts: []string{`recorded ActivityScheduled "double"; emitted ActivityScheduled "other"`, "replay_test.go:"},
			code: func(ctx *durango.Context, n int) (int, error) {
				n, _ = double.Call(ctx, n)
				return other.Call(ctx, n)
			}},
		{name: "returns early", turn: 2, parts: []string{`recorded ActivityScheduled "double"; emitted Completed`},
			code: func(ctx *durango.Context, n int) (int, error) { return double.Call(ctx, n) }},
		{name: "waits for less", turn: 1, parts: []string{`recorded nothing more; emitted ActivityScheduled "double"`},
			code: func(ctx *durango.Context, n int) (int, error) {
				double.Go(ctx, n)
				return double.Call(ctx, n)
			}},
		{name: "panics", turn: 2, parts: []string{"panic: no such thing"},
			code: func(ctx *durango.Context, n int) (int, error) {
				_, _ = double.Call(ctx, n)
				panic("no such thing")
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			warnings, err := replays(t, turns, double, upgraded.Bind(tt.code))
			assert.Equal(t, warnings, nil)
			if tt.parts == nil {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, append(tt.parts, `instance "test"`, `"upgraded" 1.0.0`)...)
			where := assert.ErrorAs[*durango.ReplayError](t, err)
			assert.Equal(t, where.Turn, tt.turn)
			assert.Equal(t, where.Execution, 1)
		})
	}
}

func TestReplayWarnsOfPayloads(t *testing.T) {
	h := newHarness(t, double, upgraded.Bind(twice))
	want(h.start("upgraded", 3), 12)
	warnings, err := replays(t, h.turns, double, upgraded.Bind(func(ctx *durango.Context, n int) (int, error) {
		return twice(ctx, n+1)
	}))
	assert.NoError(t, err)
	assert.Equal(t, len(warnings), 1)
	assert.Contains(t, warnings[0], "turn 1", "another payload")
}

// A history may end anywhere, and goes on over executions, each under its own
// version.
func TestReplayPrefixesAndExecutions(t *testing.T) {
	h := newHarness(t, double, upgraded.Bind(twice))
	want(h.start("upgraded", 3), 12)
	turns := h.turns
	for n := range len(turns) + 1 {
		_, err := replays(t, turns[:n], double, upgraded.Bind(twice))
		assert.NoError(t, err, "%d turns", n)
	}

	next := func(turn history.Turn, version string) history.Turn {
		turn.Number, turn.Execution = turn.Number+1, turn.Execution+1
		turn.Deliveries = append([]history.Event(nil), turn.Deliveries...)
		turn.Deliveries[0].Version = version
		return turn
	}
	again := func(ctx *durango.Context, n int) (int, error) { return upgraded.ContinueAsNew(ctx, n) }
	first := history.Turn{
		Number: 1, Execution: 1, Time: 1,
		Deliveries: []history.Event{{Kind: history.Started, Name: "upgraded", Version: "1.0.0", Target: "id", Seq: 1, Payload: []byte("1")}},
		Commands:   []history.Event{{Kind: history.ContinuedAsNew, Seq: 1, Payload: []byte("1")}},
	}
	all := []history.Turn{first, next(first, "2.0.0")}
	_, err := replays(t, all, upgraded.Bind(again), upgraded.BindVersion("2.0.0", again))
	assert.NoError(t, err)

	_, err = replays(t, all, upgraded.Bind(again))
	assert.ErrorIs(t, err, durango.ErrNotRegistered)
	where := assert.ErrorAs[*durango.ReplayError](t, err)
	assert.True(t, where.Execution == 2 && where.Version == "2.0.0", where)

	first.Commands = nil // still open
	_, err = replays(t, []history.Turn{first, next(first, "1.0.0")}, upgraded.Bind(func(ctx *durango.Context, n int) (int, error) {
		_, err := durango.NewSignal[int]("never").Next(ctx).Await(ctx)
		return 0, err
	}))
	assert.ErrorContains(t, err, "did not continue as new")
}

func TestReplayRefusesWhatIsNoHistory(t *testing.T) {
	h := newHarness(t, double, upgraded.Bind(twice))
	want(h.start("upgraded", 3), 12)
	turns := h.turns
	_, err := replays(t, turns[1:], double, upgraded.Bind(twice))
	assert.ErrorIs(t, err, history.ErrCorrupt)
	_, err = replays(t, []history.Turn{turns[0], turns[2]}, double, upgraded.Bind(twice))
	assert.ErrorIs(t, err, history.ErrCorrupt)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rt, err := durango.New(memory.Open(), durango.Options{})
	assert.NoError(t, err)
	_, err = rt.Replay(ctx, turns)
	assert.True(t, errors.Is(err, context.Canceled), err)
}

func TestDefinition(t *testing.T) {
	assert.Equal(t, double.Definition(), durango.Definition{Kind: "activity", Name: "double"})
	assert.Equal(t, upgraded.BindVersion("2.0.0", twice).Definition(),
		durango.Definition{Kind: "orchestration", Name: "upgraded", Version: "2.0.0"})
}
