package durango_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

func TestNames(t *testing.T) {
	activity := func(name string) durango.Registrable {
		return durango.DefineActivity(name, func(context.Context, int) (int, error) { return 0, nil })
	}
	for name, problem := range map[string]string{
		"charge-card": "", "größe/β": "", strings.Repeat("x", 255): "",
		"":                       "it is empty",
		strings.Repeat("x", 256): "it is 256 bytes long, the limit is 255",
		"a\nb":                   "control character U+000A",
		"a\u0085b":               "control character U+0085",
		"a\x7fb":                 "control character U+007F",
		"a\xffb":                 "not valid UTF-8",
		"durango/x":              "reserved",
	} {
		_, _, problems := durango.Definitions(slog.Default(), activity(name))
		err := errors.Join(problems...)
		if problem == "" {
			assert.NoError(t, err, name)
			continue
		}
		if err == nil || !errors.Is(err, durango.ErrInvalid) || !strings.Contains(err.Error(), problem) {
			t.Errorf("name %.20q: got %v, want %q", name, err, problem)
		}
	}
}

func TestVersions(t *testing.T) {
	fn := func(*durango.Context, int) (int, error) { return 0, nil }
	o := durango.NewOrchestration[int, int]("o")
	for version, ok := range map[string]bool{
		"1.0.0": true, "0.0.1": true, "2.10.3-rc.1": true,
		"": false, "1": false, "1.2": false, "v1.2.3": false, "01.2.3": false, "1.2.3+build": false, "latest": false,
	} {
		_, _, problems := durango.Definitions(slog.Default(), o.BindVersion(version, fn))
		if (len(problems) == 0) != ok {
			t.Errorf("version %q: %v", version, problems)
		}
	}
}

// "Register reports programmer errors by panicking at start-up", all at once.
func TestRegisterPanicsWithEveryProblem(t *testing.T) {
	rt, err := durango.New(memory.Open(), durango.Options{})
	assert.NoError(t, err)
	zero := durango.Activity[int, int]{}
	o := durango.DefineOrchestration("o", func(*durango.Context, int) (int, error) { return 0, nil })
	rt.Register(double)
	got := assert.Panics(t, func() {
		rt.Register(
			double, o, o, nil,
			zero.Bind(func(context.Context, int) (int, error) { return 0, nil }),
			durango.NewActivity[int, int]("unbound").Bind(nil),
			durango.NewOrchestration[int, int]("pooled").With(durango.CallOptions{Pool: "gpu"}).
				BindVersion("x", func(*durango.Context, int) (int, error) { return 0, nil }),
			durango.NewActivity[int, int]("timed").With(durango.CallOptions{
				StartToClose: -1, Version: "1.0.0", Retry: &durango.RetryPolicy{Factor: 0.5, Jitter: 2},
			}).Bind(func(context.Context, int) (int, error) { return 0, nil }),
		)
	})
	text := fmt.Sprint(got)
	for _, part := range []string{
		`activity "double": registered twice`, `orchestration "o": version 1.0.0 registered twice`,
		"definition 4 is nil", "zero value", `activity "unbound": it is bound to no function`,
		`"Pool": it means nothing here`, `invalid version "x"`, `"StartToClose": it is negative`,
		`"Version": it means nothing here`, `"Retry.MaxAttempts"`, `"Retry.Factor"`, `"Retry.Jitter"`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the panic lacks %q:\n%s", part, text)
		}
	}
	rt.Register(o) // what panicked registered nothing
}

func TestOptionsReportEveryProblem(t *testing.T) {
	_, err := durango.New(memory.Open(), durango.Options{
		MaxTurns: -1, Lease: time.Millisecond, MinPoll: time.Second, MinBackoff: time.Minute, MaxBackoff: time.Second,
		Name: "a\nb",
	})
	assert.ErrorContains(t, err, "MaxTurns is negative", "Lease is 1ms, the least is 1s", "MinPoll is above MaxPoll",
		"MinBackoff is above MaxBackoff", "invalid node name")
	_, err = durango.New(nil, durango.Options{})
	assert.ErrorContains(t, err, "the store is nil")
	assert.Contains(t, fmt.Sprint(assert.Panics(t, func() { durango.NewClient(nil) })), "the store is nil")
}

func TestCallReportsBadOptions(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		return double.With(durango.CallOptions{IfExists: durango.Reuse}).Call(ctx, 1)
	})
	wantErr(newHarness(t, o, double).start("o", nil), durango.ErrInvalid)
}

// With changes a copy.
func TestWithCopies(t *testing.T) {
	retry := &durango.RetryPolicy{MaxAttempts: 3}
	a := durango.NewActivity[int, int]("a").With(durango.CallOptions{Retry: retry})
	retry.MaxAttempts = -7
	_ = a.With(durango.CallOptions{StartToClose: -1})
	_, _, problems := durango.Definitions(slog.Default(), a.Bind(func(context.Context, int) (int, error) { return 0, nil }))
	assert.Equal(t, len(problems), 0)
}

// What only a client sees of bad IDs: nothing reaches the store.
func TestClientRefusesBadIDs(t *testing.T) {
	c := durango.NewClient(memory.Open())
	o := durango.NewOrchestration[int, int]("o")
	for _, id := range []string{"", strings.Repeat("x", 513), "a\x00b", "\xff"} {
		_, err := o.Start(t.Context(), c, id, 1)
		var invalid *durango.InvalidError
		if !errors.As(err, &invalid) || invalid.What != "instance ID" || len(invalid.Value) > 64 {
			t.Errorf("start %.10q: %v", id, err)
		}
		if err := approved.Send(t.Context(), c, id, "x"); !errors.Is(err, durango.ErrInvalid) {
			t.Errorf("send to %.10q: %v", id, err)
		}
	}
	for _, none := range []durango.Sender{nil, (*durango.Client)(nil)} {
		_, err := o.Start(t.Context(), none, "id", 1)
		assert.ErrorContains(t, err, "the client is nil")
		assert.ErrorContains(t, approved.Send(t.Context(), none, "id", "x"), "the client is nil")
	}
	_, err := o.Run(nil, "id").Wait(t.Context())
	assert.ErrorContains(t, err, "the client is nil")
}
