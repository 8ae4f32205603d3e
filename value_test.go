package durango_test

import (
	"errors"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

var (
	stage = durango.NewValue[string]("stage")
	total = durango.NewValue[int]("total")
	next  = durango.NewSignal[int]("next")
)

// "Values read their base from the start of the execution plus recorded
// changes, never from live state. Clients read the merged view; other instances
// read through a recorded read." Continue-as-new: "values … go on".
var adding = durango.NewOrchestration[int, int]("adding")

func addingRun(ctx *durango.Context, rounds int) (int, error) {
	sum, _ := total.Get(ctx)
	if _, set := stage.Get(ctx); ctx.Execution() == 1 && set {
		return 0, errors.New("a value before it was set")
	}
	if err := stage.Set(ctx, "waiting"); err != nil {
		return 0, err
	}
	n, err := next.Next(ctx).Await(ctx)
	if err != nil {
		return 0, err
	}
	if err := total.Set(ctx, sum+n); err != nil {
		return 0, err
	}
	if got, ok := total.Get(ctx); !ok || got != sum+n {
		return 0, errors.New("a value that was set is not there")
	}
	if rounds == 1 {
		stage.Clear(ctx)
		stage.Clear(ctx) // nothing more to clear
		return sum + n, nil
	}
	return adding.ContinueAsNew(ctx, rounds-1)
}

var watching = durango.DefineOrchestration("watching", func(ctx *durango.Context, id string) (int, error) {
	for {
		v, err := total.ReadFrom(ctx, id).Await(ctx)
		if err != nil || v != nil && *v >= 6 {
			return *v, err
		}
		if err := ctx.Sleep(time.Minute); err != nil {
			return 0, err
		}
	}
})

func TestValues(t *testing.T) {
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, adding, "a", 3)
		watch := durangotest.Start(e, watching, "w", "a")
		for i := range 3 {
			assert.NoError(t, next.Send(e.Context(), e.Client(), "a", i+1))
			time.Sleep(90 * time.Second)
		}
		assert.Equal(t, durangotest.Wait(e, run), 6)
		v, ok, err := total.Read(e.Context(), e.Client(), "a")
		assert.NoError(t, err)
		assert.True(t, ok && v == 6, "the value after the end is %d, %v", v, ok)
		_, ok, err = stage.Read(e.Context(), e.Client(), "a")
		assert.NoError(t, err)
		assert.False(t, ok, "a value that was cleared is there")
		assert.Equal(t, durangotest.Wait(e, watch), 6)
		e.CheckReplay()
	}, adding.Bind(addingRun), watching)
}

func TestValueOfNobody(t *testing.T) {
	read := durango.DefineOrchestration("read", func(ctx *durango.Context, id string) (bool, error) {
		v, err := stage.ReadFrom(ctx, id).Await(ctx)
		if errors.Is(err, durango.ErrNotFound) {
			return true, nil
		}
		return v != nil, err
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		_, _, err := stage.Read(e.Context(), e.Client(), "nobody")
		assert.ErrorIs(t, err, durango.ErrNotFound)
		assert.True(t, durangotest.Wait(e, durangotest.Start(e, read, "r", "nobody")), "no ErrNotFound")
		assert.False(t, durangotest.Wait(e, durangotest.Start(e, read, "s", "r")), "a value that nobody set")
	}, read)
	var zero durango.Value[int]
	_, _, err := zero.Read(t.Context(), nil, "x")
	assert.ErrorIs(t, err, durango.ErrInvalid)
	_, _, err = stage.Read(t.Context(), nil, "")
	assert.ErrorIs(t, err, durango.ErrInvalid)
}
