package durango_test

import (
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

// "Query: custom status and values without running code." Who waits for the
// next status is told of it, without asking again and again.
func TestStatuses(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		for i := range 3 {
			if err := ctx.Sleep(time.Minute); err != nil {
				return "", err
			}
			if err := ctx.SetStatus(i + 1); err != nil {
				return "", err
			}
		}
		return "done", ctx.Sleep(time.Minute)
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o, "o", durango.None{})
		var seen []int
		for status, err := range run.Statuses(e.Context()) {
			assert.NoError(t, err)
			var n int
			assert.NoError(t, status.Decode(&n))
			seen = append(seen, n)
			assert.ErrorIs(t, status.Decode(new(string)), durango.ErrDecode)
		}
		assert.Equal(t, seen, []int{1, 2, 3})
		_, err := run.NextStatus(e.Context(), 1000)
		assert.ErrorIs(t, err, durango.ErrNotRunning)
		last, err := run.NextStatus(e.Context(), 0)
		assert.NoError(t, err)
		assert.Equal(t, last.Turn, int64(4))
		_, err = o.Run(e.Client(), "nobody").NextStatus(e.Context(), 0)
		assert.ErrorIs(t, err, durango.ErrNotFound)
	}, o)
	_, err := o.Run(durango.NewClient(memory.Open()), "nobody").NextStatus(t.Context(), 0)
	assert.ErrorIs(t, err, durango.ErrNotFound)
}
