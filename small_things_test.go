package durango_test

import (
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// "ID is the instance ID of a child, and of a Start that is given none", however
// it is started; and Reuse is of one orchestration.
func TestIDOfTheHandleAndReuse(t *testing.T) {
	greet := durango.DefineOrchestration("greet", func(ctx *durango.Context, _ durango.None) (string, error) {
		return word.Next(ctx).Await(ctx)
	})
	other := durango.DefineOrchestration("other", func(ctx *durango.Context, _ durango.None) (int, error) {
		h := greet.With(durango.CallOptions{ID: "from", IfExists: durango.Reuse})
		for range 2 { // the second time it is taken
			refused, err := h.StartFrom(ctx, "", durango.None{})
			if err != nil || ctx.Select(refused, ctx.After(time.Hour)) == refused {
				return 0, err
			}
		}
		return 7, nil
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c, none := e.Context(), e.Client(), durango.None{}
		run, err := durango.SendWithStart(ctx, c, "", greet.With(durango.CallOptions{ID: "with"}), none, word, "hello")
		assert.NoError(t, err)
		assert.Equal(t, run.ID(), "with")
		assert.Equal(t, durangotest.Wait(e, run), "hello")

		assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, other.Orchestration, "other", none)), 7)
		assert.NoError(t, word.Send(ctx, c, "from", "good-bye"))
		assert.Equal(t, durangotest.Wait(e, greet.Run(c, "from")), "good-bye")

		_, err = greet.With(durango.CallOptions{IfExists: durango.Reuse}).Start(ctx, c, "other", none)
		assert.ErrorIs(t, err, durango.ErrAlreadyExists)
		assert.Equal(t, assert.ErrorAs[*durango.AlreadyExistsError](t, err).Name, "other")
	}, greet, other)
}

func TestSelectTheSameTwice(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		f := word.Next(ctx)
		if ctx.Select(f, f, nil) != f {
			return "", ctx.Err()
		}
		return f.Await(ctx)
	})
	want(newHarness(t, o).start("o", nil).signal("word", "once"), "once")
}

func TestNilCompensation(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) { saga.Add(nil); return "out", nil })
	})
	wantTurnFailure(newHarness(t, o).start("o", nil), "a compensation that is nil was registered")
}
