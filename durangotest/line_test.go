package durangotest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
)

// What a node does after it has crashed does not happen: an activity that was
// under way is not counted, though nobody can stop its goroutine. The other
// node takes over at once.
func TestCrashedNodeHasNoEffects(t *testing.T) {
	var (
		quick = durango.DefineActivity("quick", func(context.Context, int) (int, error) { return 1, nil })
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
			attempts := 0
			e := newEnv(t, tap, []durango.Registrable{quick, code})
			defer e.close()
			e.Replace(slow.Bind(func(ctx context.Context, n int) (int, error) {
				attempts++
				time.Sleep(time.Hour) // deaf to its context
				e.Effect(ctx, "attempt", durango.Info(ctx).Attempt)
				return n, nil
			}))
			start := time.Now()
			Wait(e, Start(e, both, "it", 1))
			assert.Contains(t, tap.point, `turn of instance "it"`)
			assert.Equal(t, attempts, 2)
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
