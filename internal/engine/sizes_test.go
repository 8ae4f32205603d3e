package engine

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// A reading is never below what was observed, and less than a fourth above.
func TestSizesAreNearlyRight(t *testing.T) {
	last := -1
	for _, n := range []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 255, 256, 257, 1000, 1 << 20, 1<<20 + 1, 1 << 40, math.MaxInt64} {
		b := bucket(n)
		assert.True(t, b >= last && b < buckets, "bucket %d of %d", b, n)
		assert.True(t, ceiling(b) >= n && float64(ceiling(b)) < 1.25*float64(n)+1, "%d is read as %d", n, ceiling(b))
		assert.Equal(t, bucket(ceiling(b)), b)
		assert.Equal(t, bucket(ceiling(b)+1) > b, true)
		last = b
	}
	var s Sizes
	assert.Equal(t, testing.AllocsPerRun(100, func() { s.Observe(TurnSize, 1000) }), 0.0)
	s.Observe(TurnSize, 5)
	r := s.Read(TurnSize)
	assert.Equal(t, r, SizeReading{Max: 1000, Buckets: []SizeBucket{{5, 1}, {1023, 101}}})
	assert.Equal(t, len(s.Read(EventSize).Buckets), 0)
}

// DESIGN 8.8, the safety net: the end of a task that the store does not take is
// not tried for ever.
func TestAnEndThatTheStoreRefusesIsFinal(t *testing.T) {
	for name, fails := range map[string]bool{"a result": false, "a failure that is tried again": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := tapped()
				store.onFinish = func(batch []provider.TaskFinish, do func() ([]error, error)) ([]error, error) {
					errs := make([]error, len(batch))
					for i := range batch {
						if len(batch[i].Message)+len(batch[i].Failure) > 1000 {
							errs[i] = provider.ErrTooLarge
							return errs, nil
						}
					}
					return do()
				}
				var ran atomic.Int64
				code := func(m *replay.Machine, _ *history.Event) history.Event {
					op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "big",
						Policy: &history.Policy{Heartbeat: int64(time.Hour), MaxAttempts: math.MaxInt64}})
					_, e := m.Wait(op)
					return history.Event{Kind: history.Failed, Failure: e.Failure}
				}
				n := start(t, store, Options{}, codeMap{"o": code}, actMap{"big": func(context.Context, *Attempt) ([]byte, *history.Failure) {
					ran.Add(1)
					if fails {
						return nil, &history.Failure{Message: string(make([]byte, 2000))}
					}
					return make([]byte, 2000), nil
				}})
				target := begin(t, n.Client(), "o", "o", nil)
				final := within(t, time.Hour, store, target)
				assert.Equal(t, final.Kind, history.Failed)
				assert.Equal(t, final.Failure.Code, CodeTooLarge)
				assert.True(t, final.Failure.Final)
				time.Sleep(24 * time.Hour)
				assert.Equal(t, ran.Load(), int64(1))
			})
		})
	}
}
