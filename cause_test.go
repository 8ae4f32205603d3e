package durango_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// "Cancel reaches running activities through their context.Context", and
// context.Cause tells that from an attempt that will be made again.
func TestWhyAnActivityIsToStop(t *testing.T) {
	type end struct{ err, cause, child error }
	for name, c := range map[string]struct {
		options durango.CallOptions
		later   bool
		err     error
		cause   error
		typed   string
		end     func(t *testing.T, store *memory.Store, run *durango.Run[int], stop func())
	}{
		"canceled": {err: context.Canceled, cause: durango.ErrCanceled, end: cancels},
		"canceled, held": {
			options: durango.CallOptions{Pool: "p"}, err: context.Canceled, cause: durango.ErrCanceled, end: cancels,
		},
		"canceled, completed later": {later: true, err: context.Canceled, cause: durango.ErrCanceled, end: cancels},
		"start-to-close": {
			options: durango.CallOptions{StartToClose: time.Minute},
			err:     context.DeadlineExceeded, cause: durango.ErrTimeout, typed: "start-to-close",
		},
		"heartbeat": {
			options: durango.CallOptions{Heartbeat: time.Minute},
			err:     context.DeadlineExceeded, cause: durango.ErrTimeout, typed: "heartbeat",
		},
		"heartbeat, completed later": {
			options: durango.CallOptions{Heartbeat: time.Minute}, later: true,
			err: context.DeadlineExceeded, cause: durango.ErrTimeout, typed: "heartbeat",
		},
		"drain": {err: context.Canceled, cause: durango.ErrDraining, end: drains},
		"drain, held": {
			options: durango.CallOptions{Pool: "p"}, err: context.Canceled, cause: durango.ErrDraining, end: drains,
		},
		"drain, completed later": {later: true, err: context.Canceled, cause: durango.ErrDraining, end: drains},
		"lost": {
			err: context.Canceled, cause: durango.ErrWorkerLost,
			end: func(t *testing.T, store *memory.Store, run *durango.Run[int], _ func()) {
				pulse, err := store.Heartbeat(t.Context(), must(store.Join(t.Context(), provider.NodeInfo{Name: "witness"})))
				assert.NoError(t, err)
				for _, n := range pulse.Nodes {
					_, err := store.Bury(t.Context(), provider.Burial{Node: n.Key, Force: true})
					assert.NoError(t, err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ends := make(chan end, 1)
				work := durango.NewActivity[int, int]("work").With(c.options)
				bound := work.Bind(func(ctx context.Context, n int) (int, error) {
					if durango.Info(ctx).Attempt > 1 || len(ends) > 0 {
						return n, nil
					}
					if c.later {
						if _, err := durango.CompleteLater(ctx); err != nil {
							return 0, err
						}
					}
					inner, cancel := context.WithTimeout(ctx, time.Hour)
					defer cancel()
					<-inner.Done()
					ends <- end{ctx.Err(), context.Cause(ctx), context.Cause(inner)}
					return 0, context.Cause(ctx)
				})
				o := caller(work)
				store := memory.Open()
				client, stop := brief(t, store, durango.Options{}, o, bound)
				run, err := o.Start(t.Context(), client, "i", 1)
				assert.NoError(t, err)
				time.Sleep(5 * time.Second)
				if c.end != nil {
					c.end(t, store, run, stop)
				}
				e := <-ends
				assert.True(t, errors.Is(e.err, c.err) && e.err == c.err, "the error is %v", e.err)
				assert.ErrorIs(t, e.cause, c.cause)
				assert.ErrorIs(t, e.child, c.cause)
				for _, other := range []error{durango.ErrCanceled, durango.ErrTimeout, durango.ErrDraining, durango.ErrWorkerLost} {
					assert.Equal(t, errors.Is(e.cause, other), other == c.cause, "%v is %v", e.cause, other)
				}
				if c.typed != "" {
					assert.Equal(t, assert.ErrorAs[*durango.Error](t, e.cause).Type, c.typed)
				}
			})
		})
	}
}

func cancels(t *testing.T, _ *memory.Store, run *durango.Run[int], _ func()) {
	assert.NoError(t, run.Cancel(t.Context(), ""))
}

func drains(_ *testing.T, _ *memory.Store, _ *durango.Run[int], stop func()) { stop() }
