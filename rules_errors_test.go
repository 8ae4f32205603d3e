package durango_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

var sentinels = map[string]error{
	"Canceled": durango.ErrCanceled, "Timeout": durango.ErrTimeout, "AlreadyExists": durango.ErrAlreadyExists,
	"NotFound": durango.ErrNotFound, "NotRunning": durango.ErrNotRunning, "WorkerLost": durango.ErrWorkerLost,
	"NoWorker": durango.ErrNoWorker, "TooLarge": durango.ErrTooLarge, "NotSupported": durango.ErrNotSupported,
	"Panic": durango.ErrPanic, "Decode": durango.ErrDecode, "Terminated": durango.ErrTerminated,
	"Invalid": durango.ErrInvalid, "NoHandler": durango.ErrNoHandler, "NotCompensated": durango.ErrNotCompensated,
	"NotRegistered": durango.ErrNotRegistered, "brokenKid": brokenKid, "ErrNoRows": sql.ErrNoRows,
}

// explain is all that code can tell of an error.
func explain(err error) string {
	if err == nil {
		return "nil"
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sentinels)) {
		if errors.Is(err, sentinels[name]) {
			b.WriteString(name + " ")
		}
	}
	b.WriteString("; ")
	if n, ok := brokenKid.From(err); ok {
		fmt.Fprintf(&b, "detail=%d ", n)
	}
	for e := (*durango.Error)(nil); errors.As(err, &e); err = e.Cause {
		fmt.Fprintf(&b, "[%s|%s|%s] ", e.Code, e.Type, strings.SplitN(e.Message, "\n", 2)[0])
		if e.Cause == nil {
			break
		}
	}
	return b.String()
}

// "Errors cross the store typed: code, message, detail JSON, retryable, cause
// chain. A live error passes the same encode and decode as a replayed one, so
// errors.As and Declined.From cannot differ after a crash." What the code makes
// of each error is recorded as it runs, and CheckReplay compares it with what it
// makes of the recorded one.
func TestErrorsAreTheSameLiveAndReplayed(t *testing.T) {
	fail := durango.DefineActivity("fail", func(ctx context.Context, how string) (string, error) {
		switch how {
		case "declared":
			return "", brokenKid.New(3, "declared")
		case "wrapped":
			return "", fmt.Errorf("outer: %w", fmt.Errorf("inner: %w", brokenKid.New(4)))
		case "foreign":
			return "", fmt.Errorf("select: %w", sql.ErrNoRows)
		case "joined":
			return "", errors.Join(errors.New("first"), brokenKid.New(5))
		case "panic":
			panic("no")
		case "sentinel":
			return "", fmt.Errorf("while: %w", durango.ErrInvalid)
		}
		<-ctx.Done()
		return "", ctx.Err()
	})
	lonely := durango.NewActivity[int, int]("lonely")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (map[string]string, error) {
		seen := map[string]string{}
		note := func(what string, err error) error {
			seen[what] = explain(err)
			return ctx.SetStatus(seen[what])
		}
		for _, how := range []string{"declared", "wrapped", "foreign", "joined", "panic", "sentinel"} {
			_, err := fail.Call(ctx, how)
			if err := note(how, err); err != nil {
				return nil, err
			}
		}
		_, timeout := fail.With(durango.CallOptions{StartToClose: time.Minute}).Call(ctx, "hang")
		_, nobody := lonely.With(durango.CallOptions{ScheduleToStart: time.Minute}).Call(ctx, 1)
		hangs := fail.Go(ctx, "hang")
		hangs.Cancel(ctx)
		_, canceled := hangs.Await(ctx)
		part, cancel := ctx.WithTimeout(time.Minute)
		_, limit := fail.Call(part, "hang")
		cancel()
		_, child := kid.Call(ctx, "fails")
		_, taken := kid.With(durango.CallOptions{ID: "taken"}).Call(ctx, "waits")
		stopped := kid.With(durango.CallOptions{ID: "stopped", OnParentClose: durango.AbandonChild}).Go(ctx, "waits")
		_, terminated := stopped.Await(ctx)
		refused, err := word.SendFrom(ctx, "nobody", "x")
		if err != nil {
			return nil, err
		}
		_, unknown := refused.Await(ctx)
		refused, err = word.SendFrom(ctx, "stopped", "x")
		if err != nil {
			return nil, err
		}
		_, ended := refused.Await(ctx)
		_, undecodable := next.Next(ctx).Await(ctx)
		_, saga := durango.RunSaga(ctx, func(s *durango.Saga) (int, error) {
			s.Add(func(*durango.Context) error { return errors.New("stuck") })
			return 0, brokenKid.New(6)
		})
		for _, e := range []struct {
			what string
			err  error
		}{
			{"timeout", timeout}, {"nobody", nobody}, {"canceled", canceled}, {"limit", limit}, {"child", child},
			{"taken", taken}, {"terminated", terminated}, {"unknown", unknown}, {"ended", ended}, {"undecodable", undecodable},
			{"saga", saga},
		} {
			if err := note(e.what, e.err); err != nil {
				return nil, err
			}
		}
		_, err = word.Next(ctx).Await(ctx)
		return seen, err
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		durangotest.Start(e, kid, "taken", "waits")
		run := durangotest.Start(e, o, "o", durango.None{})
		eventually(t, "the child exists", func() bool { return kid.Run(c, "stopped").Terminate(ctx, "enough") == nil })
		assert.NoError(t, durango.NewSignal[string]("next").Send(ctx, c, "o", "no number"))
		e.Settle()
		e.Replace() // what follows is seen by a node that has replayed the rest
		assert.NoError(t, word.Send(ctx, c, "o", "end"))
		seen := durangotest.Wait(e, run)
		for what, want := range map[string][]string{
			"declared": {"brokenKid", "detail=3", "declared"}, "wrapped": {"brokenKid", "detail=4", "outer: inner:"},
			"foreign": {"", "*fmt.wrapError", "*errors.errorString", "no rows"}, "joined": {"brokenKid", "detail=5", "first"},
			"panic": {"Panic"}, "sentinel": {"Invalid"}, "timeout": {"Timeout", "start-to-close"}, "nobody": {"NoWorker"},
			"canceled": {"Canceled"}, "limit": {"Timeout", "|context|"}, "child": {"brokenKid", "detail=7"},
			"taken": {"AlreadyExists"}, "terminated": {"Terminated", "enough"}, "unknown": {"NotFound"},
			"ended": {"NotRunning"}, "undecodable": {"Decode"}, "saga": {"NotCompensated brokenKid", "detail=6"},
		} {
			names, rest, _ := strings.Cut(seen[what], "; ")
			assert.Equal(t, strings.TrimSpace(names), want[0], what) // and nothing else
			assert.Contains(t, rest, want[1:]...)
		}
		e.CheckReplay()
	}, o, fail, kid.Bind(kidRun))
}
