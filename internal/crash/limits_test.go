package crash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
)

// DESIGN 8.8: "effective limit = min(configured, provider's MaxEventSize)",
// against a real server: what it takes goes through once, what it does not is
// refused by the call, which names the store's limit.
func TestLargeInputsOnPostgreSQL(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	p, _ := startPostgres(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var attempts, turns atomic.Int64
	length := durango.DefineActivity("length", func(_ context.Context, s string) (int, error) {
		attempts.Add(1)
		return len(s), nil
	})
	o := durango.DefineOrchestration("large", func(ctx *durango.Context, s string) (int, error) {
		turns.Add(1)
		return length.Call(ctx, s)
	})
	makes := durango.DefineOrchestration("makes", func(ctx *durango.Context, n int) (int, error) {
		turns.Add(1)
		return length.Call(ctx, strings.Repeat("x", n-2))
	})
	const all = 1 << 40
	limits := durango.Limits{ActivityInput: all, OrchestrationInput: all}
	rt, err := durango.New(p.store, durango.Options{Limits: limits, Logger: slog.New(slog.DiscardHandler)})
	assert.NoError(t, err)
	rt.Register(length, o, makes)
	node, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- rt.Run(node) }()
	defer func() { stop(); assert.NoError(t, <-done) }()

	d, err := p.store.Describe(ctx)
	assert.NoError(t, err)
	limit := d.MaxEventSize - 32<<10
	clients := []*durango.Client{rt.Client(), durango.NewClientWith(p.store, durango.ClientOptions{Limits: limits})}
	for i, c := range clients {
		_, err := o.Start(ctx, durango.NewClient(p.store), "default", strings.Repeat("x", 1<<20))
		assert.ErrorIs(t, err, durango.ErrTooLarge)
		for _, size := range []int{1 << 20, 10 << 20, limit} {
			attempts.Store(0)
			run, err := o.Start(ctx, c, fmt.Sprint(size, i), strings.Repeat("x", size-2))
			assert.NoError(t, err, size)
			n, err := run.Wait(ctx)
			assert.NoError(t, err, size)
			assert.Equal(t, n, size-2)
			assert.Equal(t, attempts.Load(), int64(1))
		}
		for _, size := range []int{limit + 1, 100 << 20} {
			var tooLarge *durango.SizeError
			_, err := o.Start(ctx, c, "no", strings.Repeat("x", size-2))
			assert.True(t, errors.As(err, &tooLarge), "%v", err)
			assert.Equal(t, *tooLarge, durango.SizeError{What: durango.SizeOrchestrationInput, Name: "large", Size: size, Limit: limit})
			attempts.Store(0)
			turns.Store(0)
			run, err := makes.Start(ctx, c, fmt.Sprint("makes", size, i), size)
			assert.NoError(t, err)
			_, err = run.Wait(ctx)
			assert.True(t, errors.As(err, &tooLarge), "%v", err)
			assert.Equal(t, *tooLarge, durango.SizeError{What: durango.SizeActivityInput, Name: "length", Size: size, Limit: limit})
			assert.True(t, attempts.Load() == 0 && turns.Load() == 1, "%d attempts, %d turns", attempts.Load(), turns.Load())
		}
	}
}
