package durango_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// "SendWithStart does both atomically": of many at once one starts the instance,
// and every signal arrives once.
func TestSendWithStart(t *testing.T) {
	tally := durango.DefineOrchestration("tally", func(ctx *durango.Context, many int) (int, error) {
		sum := 0
		for range many {
			n, err := next.Next(ctx).Await(ctx)
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				_, err := durango.SendWithStart(ctx, c, "t", tally, 9, next, i)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		once := next.With(durango.SendOptions{ID: "last"})
		for range 3 { // repeated, and accepted once
			run, err := durango.SendWithStart(ctx, c, "t", tally, 9, once, 100)
			if err == nil {
				assert.Equal(t, run.ID(), "t")
				continue
			}
			assert.ErrorIs(t, err, durango.ErrNotRunning) // it may be over by now
		}
		assert.Equal(t, durangotest.Wait(e, tally.Run(c, "t")), 28+100)
		_, err := durango.SendWithStart(ctx, c, "t", tally, 1, next, 1)
		assert.ErrorIs(t, err, durango.ErrNotRunning)
	}, tally)

	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		later := tally.Orchestration.With(durango.CallOptions{StartAt: time.Now().Add(time.Hour)})
		begun := time.Now()
		run, err := durango.SendWithStart(e.Context(), e.Client(), "later", later, 1, next, 7)
		assert.NoError(t, err)
		assert.Equal(t, durangotest.Wait(e, run), 7)
		assert.True(t, time.Since(begun) >= time.Hour, "a signal hastened a delayed start: %s", time.Since(begun))
		_, err = durango.SendWithStart(e.Context(), e.Client(), "", later, 1, next, 7)
		assert.ErrorIs(t, err, durango.ErrInvalid)
		_, err = durango.SendWithStart(e.Context(), e.Client(), "x", durango.Orchestration[int, int]{}, 1, next, 7)
		assert.ErrorIs(t, err, durango.ErrInvalid)
		_, err = durango.SendWithStart(e.Context(), e.Client(), "x", later, 1, durango.Signal[int]{}, 7)
		assert.ErrorIs(t, err, durango.ErrInvalid)
	}, tally)
	_, err := durango.SendWithStart[int, int, int](t.Context(), nil, "x", tally.Orchestration, 1, next, 7)
	assert.True(t, err != nil, "a nil sender")
}

// What was sent before the code begins is there when it begins, with the start
// as over a continue-as-new: who looks without waiting finds it.
func TestSignalsBeforeTheFirstTurn(t *testing.T) {
	drain := durango.NewOrchestration[[]int, []int]("drain")
	body := func(ctx *durango.Context, seen []int) ([]int, error) {
		for {
			n, ok, err := next.TryNext(ctx)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			seen = append(seen, n)
			if n%10 == 0 {
				return drain.ContinueAsNew(ctx, seen)
			}
		}
		if len(seen) == 0 {
			return nil, errors.New("the signal that came with the start was not there")
		}
		return seen, nil
	}
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		later := drain.With(durango.CallOptions{StartAt: time.Now().Add(time.Minute)})
		run, err := durango.SendWithStart(e.Context(), e.Client(), "d", later, nil, next, 1)
		assert.NoError(t, err)
		for _, n := range []int{2, 10, 11, 20, 21, 22} {
			assert.NoError(t, next.Send(e.Context(), e.Client(), "d", n))
		}
		assert.Equal(t, durangotest.Wait(e, run), []int{1, 2, 10, 11, 20, 21, 22})
		e.CheckReplay()
	}, drain.Bind(body))
}
