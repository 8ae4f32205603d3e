package durango_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

var (
	noSeat = durango.NewError[string]("no-seat")
	book   = durango.DefineActivity("book", func(_ context.Context, what string) (string, error) {
		if what == "sold out" {
			return "", noSeat.New("row 7")
		}
		return "booked " + what, nil
	})
	release = durango.DefineActivity("release", func(_ context.Context, what string) (durango.None, error) {
		if strings.Contains(what, "stuck") {
			return durango.None{}, fmt.Errorf("%s: %w", what, io.ErrUnexpectedEOF)
		}
		return durango.None{}, nil
	})
	// travel books one after another, and waits before the last.
	travel = durango.DefineOrchestration("travel", func(ctx *durango.Context, steps []string) (string, error) {
		return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
			last := ""
			for i, step := range steps {
				if i > 0 && i == len(steps)-1 {
					if err := ctx.Sleep(time.Hour); err != nil {
						return "", err
					}
				}
				booked, err := book.Call(ctx, step)
				if err != nil {
					return "", fmt.Errorf("step %d: %w", i, err)
				}
				durango.Undo(saga, release, booked)
				last = booked
			}
			return last, nil
		})
	})
)

// released lists the inputs of the compensations in the order in which they
// were asked for.
func released(h *harness) (inputs []string) {
	for _, turn := range h.turns {
		for _, c := range turn.Commands {
			if c.Kind == history.ActivityScheduled && c.Name == "release" {
				inputs = append(inputs, strings.Trim(string(c.Payload), `"`))
			}
		}
	}
	return inputs
}

func TestSaga(t *testing.T) {
	trip := func(steps ...string) *harness { return newHarness(t, travel, book, release).start("travel", steps) }

	h := trip("a", "b").advance(time.Hour)
	want(h, "booked b")
	assert.Equal(t, released(h), nil)

	h = trip("a", "b", "c", "sold out").advance(time.Hour)
	err := wantErr(h, noSeat)
	assert.Equal(t, err.Error(), "step 3: no-seat")
	assert.Equal(t, released(h), []string{"booked c", "booked b", "booked a"})
	assert.False(t, errors.Is(err, durango.ErrNotCompensated))

	wantErr(trip("sold out"), noSeat)
}

// "Compensation may run under ctx.Detach(); returning ErrCanceled → Canceled."
func TestSagaIsCanceled(t *testing.T) {
	h := newHarness(t, travel, book, release).start("travel", []string{"a", "b", "c"}).cancel("changed my mind")
	wantErr(h, durango.ErrCanceled)
	assert.Equal(t, h.end.Kind, history.Canceled)
	assert.Equal(t, h.end.Text, "changed my mind")
	assert.Equal(t, released(h), []string{"booked b", "booked a"})

	// A request that comes while it compensates, after a failure, changes nothing.
	h = newHarness(t, travel, book, release)
	h.start("travel", []string{"a", "sold out"})
	h.hold = true
	h.advance(time.Hour)
	failure := h.answers
	h.answers = nil
	h.deliver(failure...).cancel("too late")
	waits(h)
	h.hold = false
	wantErr(h.deliver(), noSeat)
	assert.Equal(t, h.end.Kind, history.Failed)
	assert.Equal(t, released(h), []string{"booked a"})
}

// What could not be undone is told, whatever the saga failed of, and the others
// are undone.
func TestSagaThatCannotBeUndone(t *testing.T) {
	for how, end := range map[string]func(*harness) *harness{
		"fails":    func(h *harness) *harness { return h.advance(time.Hour) },
		"canceled": func(h *harness) *harness { return h.cancel("stop") },
	} {
		h := end(newHarness(t, travel, book, release).start("travel", []string{"a", "stuck 1", "b", "stuck 2", "sold out"}))
		err := wantErr(h, durango.ErrNotCompensated)
		assert.Equal(t, h.end.Kind, history.Failed)
		assert.Equal(t, errors.Is(err, noSeat), how == "fails")
		assert.Equal(t, errors.Is(err, durango.ErrCanceled), how == "canceled")
		assert.Contains(t, err.Error(), `; not compensated: undo with "release": booked stuck 2: unexpected EOF; `+
			`not compensated: undo with "release": booked stuck 1: unexpected EOF`)
		assert.Equal(t, released(h), []string{"booked stuck 2", "booked b", "booked stuck 1", "booked a"})
	}
}

// The typed form of an error that has not been stored.
func TestCompensationError(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		limited, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		undone := ""
		v, err := durango.RunSaga(limited, func(saga *durango.Saga) (int, error) {
			for i := range 3 {
				saga.Add(func(ctx *durango.Context) error {
					undone += fmt.Sprint(i)
					if i == 1 {
						return io.EOF
					}
					return ctx.Sleep(time.Minute) // not bounded by the limit
				})
			}
			return 5, limited.Sleep(time.Hour)
		})
		var ce *durango.CompensationError
		if !errors.As(err, &ce) || !errors.Is(ce.Cause, durango.ErrTimeout) || !slices.Equal(ce.Failed, []error{io.EOF}) ||
			!errors.Is(err, io.EOF) || !errors.Is(err, durango.ErrTimeout) || !errors.Is(err, durango.ErrNotCompensated) {
			return "", fmt.Errorf("unexpected: %w", err)
		}
		return fmt.Sprint(undone, v, err), nil
	})
	h := newHarness(t, o).start("o", nil).advance(time.Minute).advance(time.Minute).advance(time.Minute)
	want(h, "2105 timed out after 1m0s; not compensated: EOF")
}

// Steps may run side by side; what comes late is undone too, and what comes too
// late is a mistake that is seen.
func TestSagaWithCoroutines(t *testing.T) {
	type mode = string
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, m mode) (string, error) {
		trace := ""
		_, err := durango.RunSaga(ctx, func(saga *durango.Saga) (int, error) {
			step := func(name string, d time.Duration, fails error) *durango.Future[string] {
				return durango.Go(ctx, func(ctx *durango.Context) (string, error) {
					err := ctx.Sleep(d)
					saga.Add(func(ctx *durango.Context) error {
						trace += name
						return ctx.Sleep(time.Minute)
					})
					return name, errors.Join(err, fails)
				})
			}
			fs := []*durango.Future[string]{step("a", 1, nil), step("b", 2, noSeat), step("c", time.Hour, nil)}
			if m == "too late" {
				_, err := fs[1].Await(ctx)
				return 0, err
			}
			_, err := durango.All(ctx, fs...) // cancels c, which registers while b is undone
			return 0, err
		})
		_ = ctx.Sleep(time.Hour)
		return fmt.Sprint(trace, errors.Is(err, noSeat)), nil
	})
	run := func(m mode) *harness {
		h := newHarness(t, o).start("o", m).advance(1).advance(1)
		for range 4 {
			h.advance(time.Minute)
		}
		return h.advance(time.Hour)
	}
	want(run("late"), "bcatrue")
	wantTurnFailure(run("too late"), "a compensation was registered after its saga had ended")
}

// "Continuing as new is no failure."
func TestSagaContinuesAsNew(t *testing.T) {
	undone := 0
	count := durango.DefineActivity("count", func(context.Context, string) (int, error) { undone++; return 0, nil })
	o := durango.NewOrchestration[int, string]("o")
	bound := o.Bind(func(ctx *durango.Context, n int) (string, error) {
		return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
			durango.Undo(saga, count, "r")
			if n == 0 {
				return o.ContinueAsNew(ctx, 1)
			}
			return "done", nil
		})
	})
	h := newHarness(t, bound, count).start("o", 0)
	want(h, "done")
	assert.Equal(t, undone, 0)
}

// A child undoes as an activity does.
func TestUndoWithAChild(t *testing.T) {
	undo := durango.DefineOrchestration("undo", func(ctx *durango.Context, what string) (durango.None, error) {
		return release.Call(ctx, what)
	})
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		return durango.RunSaga(ctx, func(saga *durango.Saga) (int, error) {
			durango.Undo(saga, undo, "stuck")
			return broken.Call(ctx, durango.None{})
		})
	})
	h := newHarness(t, o, undo, release, broken).start("o", nil)
	err := wantErr(h, durango.ErrNotCompensated)
	assert.Equal(t, err.Error(), `no luck; not compensated: undo with "undo": stuck: unexpected EOF`)
	assert.Equal(t, h.started, []string{"test/1.1"})
}
