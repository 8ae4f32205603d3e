package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
)

// DESIGN 8.6: "No innocents: … only attempts run alone count towards
// quarantine." An instance that ends whatever node runs it is claimed beside 63
// others: it is quarantined after so many crashes, the others complete, and
// none of them is ever charged with a failure.
func TestAKillerIsQuarantinedAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		client := NewClient(store, 0)
		var killer provider.Target
		var others []provider.Target
		for i := range 64 {
			if i == 20 {
				killer = begin(t, client, "killer", "killer", nil)
			} else {
				others = append(others, begin(t, client, "other", fmt.Sprint("other", i), nil))
			}
		}
		var charged sync.Map
		end := make(chan struct{})
		defer close(end)
		crashes := 0
		for rowOf(t, store, killer).Status != provider.Quarantined {
			if crashes++; crashes > 8 {
				t.Fatalf("after %d crashes the killer still runs: %+v", crashes, rowOf(t, store, killer))
			}
			line := tapped()
			line.Store = store
			line.onCommit = func(_ provider.NodeKey, batch []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
				for i := range batch {
					if f := provider.ParseTurnFailure(batch[i].Failure); f.Count > 0 {
						charged.Store(batch[i].Key, f.Kind)
					}
				}
				return do()
			}
			var dead atomic.Bool
			kill := func(m *replay.Machine, _ *history.Event) history.Event {
				dead.Store(true)
				line.kill()
				<-end // a process that has ended does nothing
				return completed("")
			}
			other := func(m *replay.Machine, _ *history.Event) history.Event {
				if dead.Load() {
					<-end
				}
				return completed("well")
			}
			o := Options{MaxTurns: 128, TurnTimeout: time.Hour, DrainTimeout: time.Millisecond}
			start(t, line, o, codeMap{"killer": kill, "other": other}, nil)
			// The lease of the node before has to pass, and the backoff.
			for range 10_000 {
				if dead.Load() || rowOf(t, store, killer).Status == provider.Quarantined {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		for _, target := range others {
			assert.Equal(t, string(within(t, time.Hour, store, target).Payload), "well")
			_, guilty := charged.Load(target.Key)
			assert.False(t, guilty, "%s was charged", target.ID)
		}
		f := provider.ParseTurnFailure(rowOf(t, store, killer).TurnFailure)
		assert.Equal(t, f.Kind, "crash")
		assert.Equal(t, f.Place, "killer")
		assert.Equal(t, f.Count, int64(5))
		assert.True(t, crashes >= 6, "the first two crashes might have been anybody's: %d", crashes)
	})
}

// counting counts the lists of what is quarantined.
type counting struct {
	*memory.Store
	lists atomic.Int64
}

func (c *counting) List(ctx context.Context, q provider.Query) (provider.Page, error) {
	if slices.Contains(q.Statuses, provider.Quarantined) {
		c.lists.Add(1)
	}
	return c.Store.List(ctx, q)
}

// Callbacks are taken over when a node has died: until then what is quarantined
// is not listed again and again.
func TestCallbacksAreLookedForWhenANodeHasDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counting{Store: memory.Open()}
		lease := 10 * time.Second
		policy := Policy{Action: CallBack, Callback: func(context.Context, *provider.Instance) error { return nil }}
		start(t, store, Options{Lease: lease, Policy: policy}, codeMap{"x": sequence(1)}, nil)
		other := start(t, store.Store, Options{Lease: lease}, nil, nil)
		time.Sleep(10*lease + time.Second)
		assert.Equal(t, store.lists.Load(), int64(1), "the first look")
		assert.NoError(t, other.stop())
		time.Sleep(2 * lease)
		assert.Equal(t, store.lists.Load(), int64(2))
		time.Sleep(20 * lease)
		assert.Equal(t, store.lists.Load(), int64(3), "now and then")
	})
}

// A suspect whose turn commits is none any more, and the note is gone.
func TestASuspectThatSucceedsIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		target := begin(t, NewClient(store, 0), "good", "it", nil)
		for range 3 { // nodes that die with it
			node, err := store.Join(t.Context(), provider.NodeInfo{})
			assert.NoError(t, err)
			reply, err := store.Claim(t.Context(), provider.ClaimRequest{Node: node, Definitions: []provider.Definition{{Name: "good"}}, Limit: 1})
			assert.NoError(t, err)
			assert.Equal(t, len(reply.Claimed), 1)
			_, err = store.Bury(t.Context(), provider.Burial{Node: node, Force: true})
			assert.NoError(t, err)
		}
		assert.Equal(t, rowOf(t, store, target).Attempts, int64(3))
		tap := tapped()
		tap.Store = store
		good := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 1)) }
		n := start(t, tap, Options{}, codeMap{"good": good}, nil)
		until(t, "its turn", func() bool { return rowOf(t, store, target).NextTurn == 2 })
		row := rowOf(t, store, target)
		assert.Equal(t, row.Attempts, int64(0))
		assert.Equal(t, row.TurnFailure, "")
		var notes []provider.TurnFailure
		tap.mu.Lock()
		for i := range tap.commits {
			if text := tap.commits[i].Failure; text != "" {
				notes = append(notes, provider.ParseTurnFailure(text))
			}
		}
		tap.mu.Unlock()
		assert.Equal(t, len(notes), 1)
		assert.True(t, notes[0].Trial && notes[0].Count == 0 && !notes[0].Failed(), notes)
		signal(t, n.Client(), "it", "n", "1")
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "1")
	})
}

// What fails is told apart by kind and place.
func TestFingerprints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		store.MaxEventSize = 1000
		hang := make(chan struct{})
		defer close(hang)
		codes := codeMap{
			"panics": func(*replay.Machine, *history.Event) history.Event { panic("a bug") },
			"stuck": func(*replay.Machine, *history.Event) history.Event {
				<-hang
				return completed("")
			},
			"misuse": func(m *replay.Machine, _ *history.Event) history.Event {
				done := make(chan struct{})
				go func() {
					defer close(done)
					m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "x"})
				}()
				<-done
				return completed("")
			},
			"large": func(*replay.Machine, *history.Event) history.Event { return completed(strings.Repeat("x", 2000)) },
		}
		o := Options{Policy: Policy{MaxFailures: 2}, TurnTimeout: time.Second, DrainTimeout: time.Millisecond}
		n := start(t, store, o, codes, nil)
		for name, want := range map[string]string{
			"panics": "panic engine/quarantine_test.go:", "stuck": "stuck ", "misuse": "misuse engine/quarantine_test.go:", "large": "limit large",
		} {
			target := begin(t, n.Client(), name, name, nil)
			until(t, name, func() bool { return rowOf(t, store, target).Status == provider.Quarantined })
			f := provider.ParseTurnFailure(rowOf(t, store, target).TurnFailure)
			assert.True(t, strings.HasPrefix(f.Fingerprint(), want), "%s: %s", name, f.Fingerprint())
		}
		assert.Equal(t, n.Metrics().Quarantined, int64(4))
	})
}
