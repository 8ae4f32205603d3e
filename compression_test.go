package durango_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

// "zstd above a threshold": it is a matter of who writes. A node that
// compresses and one that does not go on with each other's instances, in any
// order, and clients of either kind talk to both.
func TestNodesMayDifferInCompression(t *testing.T) {
	long := strings.Repeat("compressible ", 1000)
	letters := durango.NewSignal[string]("letters")
	ask := durango.NewUpdate[string, string]("ask")
	stage := durango.NewValue[string]("stage")
	work := durango.DefineActivity("work", func(ctx context.Context, s string) (string, error) {
		if durango.Info(ctx).Attempt == 1 {
			return "", errors.New(long) // the next attempt is a row with a failure
		}
		return s + long, nil
	})
	retried := work.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 2, Initial: 1}})
	child := durango.DefineOrchestration("child", func(ctx *durango.Context, s string) (string, error) { return s + long, nil })
	flow := durango.NewOrchestration[string, string]("flow")
	boundFlow := flow.Bind(func(ctx *durango.Context, in string) (string, error) {
		ask.Handle(ctx, func(_ *durango.Context, q string) (string, error) { return q + long, nil })
		if err := stage.Set(ctx, in); err != nil {
			return "", err
		}
		n := 0
		for range 4 {
			letter, err := letters.Next(ctx).Await(ctx)
			if err != nil {
				return "", err
			}
			out, err := retried.Call(ctx, letter)
			if err != nil {
				return "", err
			}
			back, err := child.Call(ctx, out)
			if err != nil {
				return "", err
			}
			n += len(back)
			if err := ctx.SetStatus(n); err != nil {
				return "", err
			}
		}
		if ctx.Execution() == 1 {
			return flow.ContinueAsNew(ctx, fmt.Sprint(n, in))
		}
		return fmt.Sprint(n, in), nil
	})

	for _, start := range []int{0, -1} {
		t.Run(fmt.Sprint(start), func(t *testing.T) {
			ctx := deadline(t)
			store := memory.Open()
			run, err := flow.Start(ctx, durango.NewClientWith(store, durango.ClientOptions{Compression: start}), "i", long)
			assert.NoError(t, err)
			threshold, status := start, durango.CustomStatus{}
			for i := range 8 {
				other := -1 - threshold // the default, or never
				rt, stop := runWith(t, store, durango.Options{Compression: threshold}, work, child, boundFlow)
				client := rt.Client()
				if i%2 == 1 {
					client = durango.NewClientWith(store, durango.ClientOptions{Compression: other})
				}
				answer, err := ask.Call(ctx, client, "i", long)
				assert.True(t, err == nil && answer == long+long, "%v", err)
				at, ok, err := stage.Read(ctx, client, "i")
				assert.True(t, err == nil && ok && strings.HasSuffix(at, long), "%v", err)
				assert.NoError(t, letters.Send(ctx, client, "i", long))
				status, err = flow.Run(client, "i").NextStatus(ctx, status.Turn)
				assert.NoError(t, err)
				if i == 7 {
					out, err := run.Wait(ctx)
					n := 4 * 3 * len(long)
					assert.True(t, err == nil && out == fmt.Sprintf("%d%d%s", n, n, long), "%.20s, %v", out, err)
				}
				stop()
				threshold = other
			}
			rows, err := store.Turns(ctx, keyOf(t, store, "i"), 1, 1000)
			assert.NoError(t, err)
			large, packed := 0, 0
			for _, row := range rows {
				deliveries, commands, err := history.DecodeTurn(row.Events)
				assert.NoError(t, err)
				switch n := len(history.AppendTurn(nil, deliveries, commands)); {
				case len(row.Events) < n:
					assert.True(t, len(row.Events) < n/10, "%d bytes are packed into %d", n, len(row.Events))
					packed++
				case n >= len(long):
					large++
				}
			}
			assert.True(t, packed > 4 && large > 4, "%d turns packed, %d large ones not", packed, large)
		})
	}
}
