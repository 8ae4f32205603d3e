package durango_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// "A start without a version takes the highest …; an exact version or a range
// is resolved …; the choice is in the history and pins the execution;
// continue-as-new chooses again unless told to keep."
func TestVersionRanges(t *testing.T) {
	which := durango.NewOrchestration[int, string]("which")
	body := func(version string) durango.BoundOrchestration[int, string] {
		return which.BindVersion(version, func(ctx *durango.Context, again int) (string, error) {
			switch again {
			case 1:
				return which.With(durango.CallOptions{Version: durango.SameVersion}).ContinueAsNew(ctx, 0)
			case 2:
				return which.ContinueAsNew(ctx, 0)
			case 3:
				return which.With(durango.CallOptions{Version: "~1.4"}).ContinueAsNew(ctx, 0)
			case 4:
				return which.With(durango.CallOptions{Version: "<2"}).Call(ctx, 0)
			}
			return ctx.Info().Version, nil
		})
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		for i, c := range []struct {
			version string
			again   int
			want    string
		}{
			{"", 0, "2.1.0"},
			{"1.4.2", 0, "1.4.2"},
			{"^1.2", 0, "1.5.0"},
			{"~1.4", 0, "1.4.2"},
			{">=1.4 <2.1", 0, "2.0.0"},
			{"~1.4", 1, "1.4.2"},
			{"~1.4", 2, "2.1.0"},
			{"2.0.0", 3, "1.4.2"},
			{"2.0.0", 4, "1.5.0"},
		} {
			id := fmt.Sprint("i", i)
			run := durangotest.Start(e, which.With(durango.CallOptions{Version: c.version}), id, c.again)
			assert.Equal(t, durangotest.Wait(e, run), c.want, "version %q, again %d", c.version, c.again)
		}
		for _, bad := range []string{"one", "1.0", "^1.x.y.z", durango.SameVersion, "1.0.0+build", ">>1"} {
			_, err := which.With(durango.CallOptions{Version: bad}).Start(e.Context(), e.Client(), "bad", 0)
			if bad == "1.0" { // a range: 1.0.x
				assert.NoError(t, err)
				assert.NoError(t, which.Run(e.Client(), "bad").Terminate(e.Context(), ""))
				continue
			}
			assert.ErrorIs(t, err, durango.ErrInvalid, "version %q", bad)
		}
		e.CheckReplay("i0", "i8")
	}, body("1.4.2"), body("2.0.0"), body("1.5.0"), body("2.1.0"), body("1.0.0"))
}

// "A node claims only instances whose name and version it has; others wait,
// visibly, for a node that has them."
func TestVersionNobodyHas(t *testing.T) {
	which := durango.NewOrchestration[durango.None, string]("which")
	v := func(version string) durango.BoundOrchestration[durango.None, string] {
		return which.BindVersion(version, func(ctx *durango.Context, _ durango.None) (string, error) {
			return ctx.Info().Version, nil
		})
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		future := durangotest.Start(e, which.With(durango.CallOptions{Version: "^3"}), "future", durango.None{})
		exact := durangotest.Start(e, which.With(durango.CallOptions{Version: "3.1.0"}), "exact", durango.None{})
		time.Sleep(time.Hour)
		for _, run := range []*durango.Run[string]{future, exact} {
			info, err := run.Status(e.Context())
			assert.NoError(t, err)
			assert.Equal(t, info.Status, durango.StatusPending)
			assert.True(t, info.WaitingSince.Before(time.Now().Add(-59*time.Minute)) && !info.WaitingSince.IsZero(),
				"it waits since %s", info.WaitingSince)
		}
		e.Replace(v("3.1.0"))
		assert.Equal(t, durangotest.Wait(e, future), "3.1.0")
		assert.Equal(t, durangotest.Wait(e, exact), "3.1.0")
	}, v("1.0.0"))
}

// "ctx.Patched("id") branches in code": executions that had passed the point
// go on as they were, others take the new branch, also after the call has been
// removed.
func TestPatched(t *testing.T) {
	o := durango.NewOrchestration[durango.None, string]("o")
	old := o.Bind(func(ctx *durango.Context, _ durango.None) (string, error) {
		one, err := double.Call(ctx, 1)
		if err != nil {
			return "", err
		}
		_, err = next.Next(ctx).Await(ctx)
		return fmt.Sprint("old ", one), err
	})
	patched := o.Bind(func(ctx *durango.Context, _ durango.None) (string, error) {
		branch, n := "old ", 1
		if ctx.Patched("twice") {
			branch, n = "new ", 2
		}
		var one int
		for range n {
			var err error
			if one, err = double.Call(ctx, n); err != nil {
				return "", err
			}
		}
		_, err := next.Next(ctx).Await(ctx)
		if ctx.Patched("twice") != (n == 2) {
			return "", fmt.Errorf("the answer has changed")
		}
		return fmt.Sprint(branch, one), err
	})
	cleaned := o.Bind(func(ctx *durango.Context, _ durango.None) (string, error) {
		var one int
		for range 2 {
			var err error
			if one, err = double.Call(ctx, 2); err != nil {
				return "", err
			}
		}
		_, err := next.Next(ctx).Await(ctx)
		return fmt.Sprint("new ", one), err
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		a := durangotest.Start(e, o, "a", durango.None{})
		e.Settle()
		e.Replace(patched)
		b := durangotest.Start(e, o, "b", durango.None{})
		c := durangotest.Start(e, o, "c", durango.None{})
		e.Settle()
		for _, id := range []string{"a", "b"} {
			assert.NoError(t, next.Send(e.Context(), e.Client(), id, 1))
		}
		assert.Equal(t, durangotest.Wait(e, a), "old 2")
		assert.Equal(t, durangotest.Wait(e, b), "new 4")
		e.CheckReplay("a", "b")
		e.Replace(cleaned)
		assert.NoError(t, next.Send(e.Context(), e.Client(), "c", 1))
		assert.Equal(t, durangotest.Wait(e, c), "new 4")
		e.CheckReplay("b", "c")
	}, old, double)
}

// An instance that continued as new into a version that nobody has says since
// when it waits, which is not how long it has lived; and so does the store.
func TestContinuedIntoAVersionNobodyHas(t *testing.T) {
	o := durango.NewOrchestration[durango.None, string]("o")
	year := 365 * 24 * time.Hour
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, o, "o", durango.None{})
		time.Sleep(year + time.Hour)
		e.Settle()
		info, err := run.Status(e.Context())
		assert.NoError(t, err)
		continued := info.CreatedAt.Add(year)
		late := info.WaitingSince.Sub(continued)
		assert.True(t, late >= 0 && late < time.Minute, "it continued at %s and waits since %s", continued, info.WaitingSince)
		inspector := e.Client().Store().(provider.Inspector)
		for since, n := range map[time.Time]int{continued.Add(-time.Minute): 0, continued.Add(time.Minute): 1} {
			page, err := inspector.List(e.Context(), provider.Query{WaitingSince: since.UnixNano()})
			assert.NoError(t, err)
			assert.Equal(t, len(page.Instances), n, "since %s", since)
		}
		e.Replace(o.BindVersion("2.0.0", func(ctx *durango.Context, _ durango.None) (string, error) { return ctx.Info().Version, nil }))
		assert.Equal(t, durangotest.Wait(e, run), "2.0.0")
	}, o.Bind(func(ctx *durango.Context, _ durango.None) (string, error) {
		if err := ctx.Sleep(year); err != nil {
			return "", err
		}
		return o.With(durango.CallOptions{Version: "^2"}).ContinueAsNew(ctx, durango.None{})
	}))
}
