package engine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/providertest"
)

// tomorrow is what an engine speaks that knows the next version and still the
// first.
var tomorrow = provider.Range{Min: 1, Max: 2, Preferred: 2}

// DESIGN 8.9: "Each side states a range and a preference; the highest common
// version is used". An engine that knows two versions works with a provider of
// the first, and says what it would rather have.
func TestAnEngineOfTwoVersionsWithAStoreOfTheFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, store := range []provider.Provider{memory.Open(), providertest.Version1(memory.Open())} {
			var text bytes.Buffer
			o := Options{Contract: tomorrow, Logger: slog.New(slog.NewTextHandler(&text, nil))}
			n := start(t, store, o, codeMap{"s": sequence(5)}, actMap{"echo": echo})
			assert.Equal(t, n.contract.Version, 1)
			assert.Equal(t, string(wait(t, n.Client(), begin(t, n.Client(), "s", "s", nil)).Payload), "01234")
			assert.NoError(t, n.stop())
			assert.Contains(t, text.String(), `msg="node joined"`, " contract=1 ",
				`level=WARN msg="an older contract is spoken"`, "upgrade the store's provider")
		}
	})
}

// The highest version that both speak, whatever else each of them does; none is
// an error that says who has to be upgraded, to what.
func TestTheHighestCommonVersionIsSpoken(t *testing.T) {
	for _, tc := range []struct {
		store provider.Range
		want  int
		err   string
	}{
		{provider.Range{Min: 1, Max: 1}, 1, ""},
		{provider.Range{Min: 1, Max: 2}, 2, ""},
		{provider.Range{Min: 2, Max: 5}, 2, ""},
		{provider.Range{Min: 3, Max: 5}, 0, "upgrade durango to a version that speaks 3"},
		{provider.Range{}, 0, "upgrade the store's provider to one that speaks 2, or 1 at least"},
	} {
		e, err := New(&describing{provider.Plain(memory.Open()), tc.store}, Options{Logger: quiet(), Contract: tomorrow})
		if tc.err != "" {
			assert.ErrorIs(t, err, provider.ErrIncompatible)
			assert.ErrorContains(t, err, tc.err)
			continue
		}
		assert.NoError(t, err)
		assert.Equal(t, e.contract.Version, tc.want)
		c, err := e.Client().Contract(t.Context())
		assert.NoError(t, err)
		assert.Equal(t, c, &e.contract, "a node's client speaks what the node does")
	}
}

// Without DetectsExit and Watch the work of a dead node is finished all the same,
// when its lease has passed.
func TestADeadNodeOnVersion1(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		old := providertest.Version1(store)
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			call(m, "echo", "x")
			m.Wait(m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(5*time.Second)}))
			s, _ := call(m, "echo", "y")
			return completed(s)
		}
		dying := &severed{Provider: old}
		a := start(t, dying, Options{Lease: 2 * time.Second}, codeMap{"s": code}, actMap{"echo": echo})
		a.waitMember(t)
		target := begin(t, a.Client(), "s", "s", nil)
		until(t, "first turns", func() bool { row, _ := store.Get(t.Context(), target); return row.NextTurn >= 3 })
		dying.cut.Store(true)
		b := start(t, old, Options{Lease: 2 * time.Second}, codeMap{"s": code}, actMap{"echo": echo})
		assert.Equal(t, string(wait(t, NewClient(old, 0), target).Payload), "y")
		assert.True(t, b.Metrics().Buried > 0, "buried")
	})
}

// A callback is owed until it has returned, which a store that is no Amender
// cannot keep.
func TestCallbacksNeedAnAmender(t *testing.T) {
	called := Policy{Action: CallBack, Callback: func(context.Context, *provider.Instance) error { return nil }}
	old := providertest.Version1(memory.Open())
	var typed *provider.NotSupportedError
	_, err := New(old, Options{Logger: quiet(), Policy: called})
	assert.True(t, errors.As(err, &typed), "%v", err)
	assert.Equal(t, typed.Feature, "the callback of a quarantine")
	e, err := New(old, Options{Logger: quiet()})
	assert.NoError(t, err)
	e.Register([]Orchestration{{Name: "o", Version: "1.0.0", Policy: called}, {Name: "p", Version: "1.0.0"}}, nil)
	err = e.Run(t.Context())
	assert.True(t, errors.As(err, &typed), "%v", err)
	assert.ErrorContains(t, err, "orchestration o 1.0.0", "Amend")
}
