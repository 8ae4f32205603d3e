//go:build !race

package durango_test

// With the race detector a hundred megabytes of JSON take longer than a turn
// may.

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/sqlite"
)

// Inputs of a megabyte and more: by default the call says no; as much as the
// store takes goes through, each activity once.
func TestLargeInputs(t *testing.T) {
	file, err := sqlite.Open(filepath.Join(t.TempDir(), "large.db"))
	assert.NoError(t, err)
	defer file.Close()
	largeInputs(t, memory.Open(), 100<<20, 0)
	largeInputs(t, file, 10<<20, 100<<20)
}

// largeInputs runs with inputs up to fits, and fails with one of tooMuch, unless
// it is zero.
func largeInputs(t *testing.T, store provider.Provider, fits, tooMuch int) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var attempts, turns atomic.Int64
	length := durango.NewActivity[string, int]("length")
	o := durango.NewOrchestration[string, int]("large")
	code := []durango.Registrable{
		length.Bind(func(_ context.Context, s string) (int, error) { attempts.Add(1); return len(s), nil }),
		o.Bind(func(ctx *durango.Context, s string) (int, error) { turns.Add(1); return length.Call(ctx, s) }),
		durango.DefineOrchestration("makes", func(ctx *durango.Context, n int) (int, error) {
			turns.Add(1)
			return length.Call(ctx, sizedText(n))
		}),
	}
	makes := durango.NewOrchestration[int, int]("makes")
	client, stop := brief(t, store, durango.Options{}, code...)
	for _, size := range []int{1 << 20, 10 << 20, 100 << 20} {
		for _, c := range []*durango.Client{client, durango.NewClient(store)} {
			_, err := o.Start(ctx, c, "no", sizedText(size))
			tooLarge(t, err, durango.SizeError{What: durango.SizeOrchestrationInput, Name: "large", Size: size, Limit: 256 << 10, Field: "OrchestrationInput"})
		}
		run, err := makes.Start(ctx, client, fmt.Sprint("makes", size), size)
		assert.NoError(t, err)
		_, err = run.Wait(ctx)
		tooLarge(t, err, durango.SizeError{What: durango.SizeActivityInput, Name: "length", Size: size, Limit: 256 << 10, Field: "ActivityInput"})
	}
	assert.Equal(t, attempts.Load(), int64(0))
	assert.Equal(t, turns.Load(), int64(3))
	stop()

	const all = 1 << 40
	l := durango.Limits{ActivityInput: all, OrchestrationInput: all}
	client, stop = brief(t, store, durango.Options{Limits: l}, code...)
	for _, size := range []int{1 << 20, 10 << 20, 100 << 20} {
		if size > fits || testing.Short() && size > 10<<20 {
			continue
		}
		attempts.Store(0)
		for i, c := range []*durango.Client{client, durango.NewClientWith(store, durango.ClientOptions{Limits: l})} {
			run, err := o.Start(ctx, c, fmt.Sprint(size, i), sizedText(size))
			assert.NoError(t, err)
			n, err := run.Wait(ctx)
			assert.NoError(t, err)
			assert.Equal(t, n, size-2)
		}
		assert.Equal(t, attempts.Load(), int64(2))
	}
	if tooMuch > 0 {
		d, err := store.Describe(ctx)
		assert.NoError(t, err)
		limit := d.MaxEventSize - 32<<10
		attempts.Store(0)
		for i, c := range []*durango.Client{client, durango.NewClientWith(store, durango.ClientOptions{Limits: l})} {
			_, err := o.Start(ctx, c, fmt.Sprint("no", i), sizedText(tooMuch))
			tooLarge(t, err, durango.SizeError{What: durango.SizeOrchestrationInput, Name: "large", Size: tooMuch, Limit: limit})
			assert.Contains(t, err.Error(), "the store's")
		}
		run, err := makes.Start(ctx, client, "makes too much", tooMuch)
		assert.NoError(t, err)
		_, err = run.Wait(ctx)
		tooLarge(t, err, durango.SizeError{What: durango.SizeActivityInput, Name: "length", Size: tooMuch, Limit: limit})
		assert.Equal(t, attempts.Load(), int64(0))
	}
	stop()
}
