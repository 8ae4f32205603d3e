package durango_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

// notes is what several goroutines write down.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(parts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, strings.Join(parts, " "))
}

func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

// noting notes what it is around, before and after.
func noting(name string, n *notes) durango.Interceptor {
	return durango.Interceptor{
		Activity: func(ctx context.Context, info durango.ActivityInfo, next func(context.Context) error) error {
			n.add(name, "activity", info.Name)
			defer n.add(name, "activity over")
			return next(ctx)
		},
		Orchestration: func(ctx *durango.Context, info durango.InstanceInfo, next func(*durango.Context) error) error {
			n.add(name, "orchestration", info.Name)
			defer n.add(name, "orchestration over")
			return next(ctx)
		},
		Client: func(ctx context.Context, call *durango.ClientCall, next func(context.Context) error) error {
			n.add(name, string(call.Kind), call.Name, call.Instance)
			defer n.add(name, string(call.Kind), "over")
			return next(ctx)
		},
	}
}

// Of several interceptors the first is the outermost; each function is optional.
func TestInterceptorsNest(t *testing.T) {
	ctx := deadline(t)
	var n notes
	work := durango.DefineActivity("work", func(context.Context, durango.None) (int, error) { n.add("work"); return 7, nil })
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, _ durango.None) (int, error) {
		n.add("flow")
		defer n.add("flow over")
		return work.Call(ctx, durango.None{})
	})
	rt, _ := runWith(t, memory.Open(), durango.Options{Interceptors: []durango.Interceptor{noting("a", &n), {}, noting("b", &n)}}, work, flow)
	run, err := flow.Start(ctx, rt.Client(), "i", durango.None{})
	assert.NoError(t, err)
	out, err := run.Wait(ctx)
	assert.True(t, err == nil && out == 7, "%d, %v", out, err)
	got := n.take()
	// The call of the client goes on beside the first turn.
	isCall := func(s string) bool { return strings.Contains(s, " start") }
	assert.Equal(t, slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !isCall(s) }),
		[]string{"a start flow i", "b start flow i", "b start over", "a start over"})
	assert.Equal(t, slices.DeleteFunc(got, isCall), []string{
		"a orchestration flow", "b orchestration flow", "flow",
		"a activity work", "b activity work", "work", "b activity over", "a activity over",
		"flow over", "b orchestration over", "a orchestration over",
	})

	client := durango.NewClientWith(rt.Store(), durango.ClientOptions{Interceptors: []durango.Interceptor{noting("c", &n)}})
	assert.True(t, errors.Is(approved.Send(ctx, client, "i", "ann"), durango.ErrNotRunning))
	assert.True(t, errors.Is(flow.Run(client, "i").Cancel(ctx, ""), durango.ErrNotRunning))
	assert.True(t, flow.Run(client, "nobody").Terminate(ctx, "") != nil)
	assert.Equal(t, n.take(), []string{
		"c send approved i", "c send over", "c cancel  i", "c cancel over", "c terminate  nobody", "c terminate over",
	})
	var none *durango.Client
	_, err = flow.Start(ctx, none, "j", durango.None{})
	assert.True(t, err != nil)
}

// An interceptor's error stands, in place of the function's or of none, and a
// panic in one is a panic of the function.
func TestInterceptorsReplaceErrors(t *testing.T) {
	ctx := deadline(t)
	odd := errors.New("odd")
	behave := func(name string, next func() error) error {
		switch name {
		case "hide":
			_ = next()
			return nil
		case "refuse":
			return durango.NonRetryable(odd)
		case "break":
			_ = next()
			return odd
		case "panic":
			panic(odd)
		}
		return next()
	}
	o := durango.Options{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond, Interceptors: []durango.Interceptor{{
		Activity: func(ctx context.Context, info durango.ActivityInfo, next func(context.Context) error) error {
			return behave(info.Name, func() error { return next(ctx) })
		},
		Orchestration: func(ctx *durango.Context, info durango.InstanceInfo, next func(*durango.Context) error) error {
			return behave(strings.TrimPrefix(info.Name, "o-"), func() error { return next(ctx) })
		},
		Client: func(ctx context.Context, call *durango.ClientCall, next func(context.Context) error) error {
			return behave(strings.TrimPrefix(call.Instance, "c-"), func() error { return next(ctx) })
		},
	}}}
	var ds []durango.Registrable
	activities := map[string]durango.BoundActivity[string, string]{}
	for _, name := range []string{"hide", "refuse", "break", "panic", "plain"} {
		activities[name] = durango.DefineActivity(name, func(_ context.Context, in string) (string, error) {
			if name == "hide" || name == "plain" {
				return "of " + name, errors.New("of " + name)
			}
			return in, nil
		})
		flow := durango.DefineOrchestration("o-"+name, func(ctx *durango.Context, in string) (string, error) {
			if name == "plain" {
				return activities[in].Call(ctx, in)
			}
			return "flow " + in, errors.New("of the flow")
		})
		ds = append(ds, activities[name], flow)
	}
	rt, _ := runWith(t, memory.Open(), o, ds...)
	call := func(flow, in, id string) (string, error) {
		run, err := durango.NewOrchestration[string, string](flow).Start(ctx, rt.Client(), id, in)
		if err != nil {
			return "", err
		}
		return run.Wait(ctx)
	}
	for _, tt := range []struct{ flow, in, id, out, err string }{
		{"o-plain", "plain", "1", "", "of plain"},
		{"o-plain", "hide", "2", "of hide", ""},
		{"o-plain", "refuse", "3", "", "odd"},
		{"o-plain", "break", "4", "", "odd"},
		{"o-plain", "panic", "5", "", "panic: odd"},
		{"o-hide", "x", "6", "flow x", ""},
		{"o-refuse", "x", "7", "", "odd"},
		{"o-break", "x", "8", "", "odd"},
		{"o-plain", "x", "c-refuse", "", `start orchestration "o-plain": odd`},
	} {
		out, err := call(tt.flow, tt.in, tt.id)
		text := ""
		if err != nil {
			text = err.Error()
		}
		assert.Equal(t, []string{out, text}, []string{tt.out, tt.err}, "%s %s", tt.flow, tt.in)
	}
	_, err := call("o-plain", "x", "")
	assert.True(t, errors.Is(err, durango.ErrInvalid), "%v", err)

	// A panic around an orchestration fails the turn.
	run, err := durango.NewOrchestration[string, string]("o-panic").Start(ctx, rt.Client(), "9", "x")
	assert.NoError(t, err)
	for failure := ""; failure == ""; {
		info, err := run.Status(ctx)
		assert.NoError(t, err)
		assert.True(t, info.Status.Open())
		failure = info.TurnFailure
	}
	// One that swallows the error of a start has no run to give.
	_, err = durango.NewOrchestration[string, string]("bad\x00name").Start(ctx, rt.Client(), "hide", "x")
	assert.True(t, err != nil && strings.Contains(err.Error(), "nothing was started"), "%v", err)
}

// What guards sends also guards those that come with a start; the header is that
// of the start.
func TestSendWithStartIsASendToo(t *testing.T) {
	approved := durango.NewSignal[string]("approved")
	ask := durango.DefineOrchestration("ask", func(ctx *durango.Context, _ string) (string, error) {
		by, err := approved.Next(ctx).Await(ctx)
		return by + ctx.Header()["from"], err
	})
	forbidden := errors.New("not allowed")
	guard := durango.Interceptor{Client: func(ctx context.Context, call *durango.ClientCall, next func(context.Context) error) error {
		if call.Kind == durango.CallSend && call.Name == "approved" && call.Instance == "eve" {
			return forbidden
		}
		if call.Kind == durango.CallStart {
			call.SetHeader("from", "/start")
		}
		return next(ctx)
	}}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		c := durango.NewClientWith(e.Client().Store(), durango.ClientOptions{Interceptors: []durango.Interceptor{guard}})
		_, err := durango.SendWithStart(e.Context(), c, "eve", ask.Orchestration, "q", approved, "eve")
		assert.ErrorIs(t, err, forbidden)
		_, err = ask.Run(c, "eve").Status(e.Context())
		assert.ErrorIs(t, err, durango.ErrNotFound)
		run, err := durango.SendWithStart(e.Context(), c, "adam", ask.Orchestration, "q", approved, "adam")
		assert.NoError(t, err)
		assert.Equal(t, durangotest.Wait(e, run), "adam/start")

		silent := durango.Interceptor{Client: func(context.Context, *durango.ClientCall, func(context.Context) error) error { return nil }}
		c = durango.NewClientWith(e.Client().Store(), durango.ClientOptions{Interceptors: []durango.Interceptor{silent}})
		run, err = durango.SendWithStart(e.Context(), c, "nobody", ask, "q", approved, "x")
		assert.True(t, run == nil && err != nil, "%v, %v", run, err)
	}, ask)
}
