package durango_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// What travels in this program: a W3C trace context, and on whose behalf.
type (
	traceKey  struct{}
	tenantKey struct{}
)

// propagation takes both from the context of whoever starts an instance, and
// puts them into the contexts of its activities: of all nodes, attempts,
// children and executions. A library for tracing would begin a span where this
// takes the parent's.
var propagation = durango.Interceptor{
	Client: func(ctx context.Context, call *durango.ClientCall, next func(context.Context) error) error {
		if trace, ok := ctx.Value(traceKey{}).(string); ok {
			call.SetHeader("traceparent", trace)
		}
		if tenant, ok := ctx.Value(tenantKey{}).(string); ok {
			call.SetHeader("tenant", tenant)
		}
		return next(ctx)
	},
	Activity: func(ctx context.Context, info durango.ActivityInfo, next func(context.Context) error) error {
		ctx = context.WithValue(ctx, traceKey{}, info.Header["traceparent"])
		ctx = context.WithValue(ctx, tenantKey{}, info.Header["tenant"])
		return next(ctx)
	},
	Orchestration: func(ctx *durango.Context, info durango.InstanceInfo, next func(*durango.Context) error) error {
		if ctx.Header()["tenant"] == "" {
			return errors.New("nobody's instance")
		}
		return next(ctx)
	},
}

// DESIGN 7: a header recorded at the start reaches every activity, child and
// execution, whatever node runs it and whenever it crashes.
func TestHeadersTravel(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	work := durango.DefineActivity("work", func(ctx context.Context, where string) (string, error) {
		if where == "parent 2" && durango.Info(ctx).Attempt == 1 {
			return "", errors.New("again") // the next attempt is a row of the store
		}
		info := durango.Info(ctx)
		info.Header["tenant"] = "changed" // a copy
		return where + " " + ctx.Value(tenantKey{}).(string) + " " + ctx.Value(traceKey{}).(string), nil
	})
	retried := work.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 9, Initial: time.Second}})
	child := durango.DefineOrchestration("child", func(ctx *durango.Context, _ durango.None) (string, error) {
		return retried.Call(ctx, "child")
	})
	parent := durango.NewOrchestration[[]string, []string]("parent")
	bound := parent.Bind(func(ctx *durango.Context, seen []string) ([]string, error) {
		where := "parent 1"
		if ctx.Execution() == 2 {
			where = "parent 2"
		}
		if err := ctx.Sleep(time.Hour); err != nil {
			return nil, err
		}
		mine, err := retried.Call(ctx, where)
		if err != nil {
			return nil, err
		}
		theirs, err := child.Call(ctx, durango.None{})
		if err != nil {
			return nil, err
		}
		ctx.Header()["tenant"] = "changed" // a copy
		seen = append(seen, mine, theirs, "flow "+ctx.Header()["tenant"])
		if ctx.Execution() < 2 {
			return parent.ContinueAsNew(ctx, seen)
		}
		return seen, nil
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		e.Configure(func(o *durango.Options) { o.Interceptors = []durango.Interceptor{propagation} })
		ctx := context.WithValue(e.Context(), traceKey{}, trace)
		ctx = context.WithValue(ctx, tenantKey{}, "acme")
		run, err := parent.Start(ctx, e.Client(), "p", nil)
		assert.NoError(t, err)
		assert.Equal(t, durangotest.Wait(e, run), []string{
			"parent 1 acme " + trace, "child acme " + trace, "flow acme",
			"parent 2 acme " + trace, "child acme " + trace, "flow acme",
		})
		_, err = parent.Start(e.Context(), e.Client(), "q", nil)
		assert.NoError(t, err)
		_, err = parent.Run(e.Client(), "q").Wait(e.Context())
		assert.True(t, err != nil && strings.Contains(err.Error(), "nobody's"), "%v", err)
	}, work, child, bound)
}
