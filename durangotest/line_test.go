package durangotest

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// What a node does after it has crashed does not happen: an activity that was
// under way is not counted, though nobody can stop its goroutine. The other
// node takes over at once.
func TestCrashedNodeHasNoEffects(t *testing.T) {
	var (
		quick = durango.NewActivity[int, int]("quick")
		slow  = durango.NewActivity[int, int]("slow")
		both  = durango.NewOrchestration[int, int]("both")
	)
	code := both.Bind(func(ctx *durango.Context, n int) (int, error) {
		s := slow.Go(ctx, n)
		if _, err := quick.Call(ctx, n); err != nil {
			return 0, err
		}
		return s.Await(ctx)
	})
	for _, fate := range []fate{cutBefore, cutAfter} {
		synctest.Test(t, func(t *testing.T) {
			tap := &tap{at: 2, fate: fate} // the result of quick
			var attempts atomic.Int32
			began := make(chan struct{}, 2)
			e := newEnv(t, tap, []durango.Registrable{code})
			defer e.close()
			e.Replace(quick.Bind(func(context.Context, int) (int, error) {
				<-began // lest the crash comes first
				return 1, nil
			}), slow.Bind(func(ctx context.Context, n int) (int, error) {
				attempts.Add(1)
				began <- struct{}{}
				time.Sleep(time.Hour) // deaf to its context
				e.Effect(ctx, "attempt", durango.Info(ctx).Attempt)
				return n, nil
			}))
			start := time.Now()
			Wait(e, Start(e, both, "it", 1))
			assert.Contains(t, tap.point, `turn of instance "it"`)
			assert.Equal(t, attempts.Load(), 2)
			assert.Equal(t, e.Effects(), []string{"slow: attempt 2"})
			assert.Equal(t, time.Since(start), time.Hour)
			e.CheckReplay()
		})
	}
}

// A cut line is cut for everything, and only for its own node.
func TestLine(t *testing.T) {
	w := newWorld()
	l, other := newLine(w, nil), newLine(w, nil)
	_, err := l.Describe(t.Context())
	assert.NoError(t, err)
	l.sever()
	l.sever()
	_, err = l.Describe(t.Context())
	assert.ErrorIs(t, err, errCut)
	_, err = l.Outcomes(t.Context(), nil)
	assert.ErrorIs(t, err, errCut)
	_, err = other.Describe(t.Context())
	assert.NoError(t, err)
}

func TestDiffLines(t *testing.T) {
	assert.Equal(t, diffLines("", []string{"a", "b", "b"}, []string{"b", "a", "b"}), "")
	assert.Equal(t, diffLines("x ", []string{"a", "b", "b"}, []string{"b", "c", "c"}), "- x a\n- x b\n+ x c\n+ x c\n")
}

// An activity that waits for ever keeps the node and the clock going: that has
// to end before the patience of whoever runs the test.
func TestStuckActivityIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := durango.DefineActivity("hang", func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) { return hang.Call(ctx, n) })
		e := newEnv(t, nil, []durango.Registrable{hang, o})
		defer e.close()
		noticed := make(chan bool)
		e.fleet.tooLong, e.fleet.stuck = 60, func() { close(noticed) }
		start := time.Now()
		Start(e, o.Orchestration, "it", 1)
		<-noticed
		assert.True(t, time.Since(start) >= time.Minute && time.Since(start) < 2*time.Minute, time.Since(start))
	})
}

// What no node here can do keeps no node up; what is due later still happens.
func TestNodeRestsFromWhatItCannotDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		act := durango.DefineActivity("act", func(context.Context, int) (int, error) { return 1, nil })
		elsewhere := act.With(durango.CallOptions{Pool: "gpu"})
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
			lost, late := elsewhere.Go(ctx, n), ctx.After(365*24*time.Hour)
			if ctx.Select(lost, late) == late {
				return 2, nil
			}
			return 1, nil
		})
		unknown := durango.NewOrchestration[int, int]("unknown")
		e := newEnv(t, nil, []durango.Registrable{act, o})
		defer e.close()
		Start(e, unknown, "nobody runs this", 1)
		run := Start(e, o.Orchestration, "it", 1)
		time.Sleep(time.Hour)
		nodes, err := e.world.Nodes(t.Context())
		assert.NoError(t, err)
		assert.Equal(t, nodes, []provider.NodeView{})
		assert.Equal(t, Wait(e, run), 2)
		e.Replace(unknown.Bind(func(*durango.Context, int) (int, error) { return 7, nil }))
		assert.Equal(t, Wait(e, unknown.Run(e.Client(), "nobody runs this")), 7)
	})
}
