package durango_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

var brokenKid = durango.NewError[int]("brokenKid")

// kid ends as it is told, in its third execution.
var kid = durango.NewOrchestration[string, string]("kid")

func kidRun(ctx *durango.Context, how string) (string, error) {
	if ctx.Execution() < 3 {
		return kid.ContinueAsNew(ctx, how)
	}
	switch how {
	case "fails":
		return "", brokenKid.New(7, "it broke")
	case "waits":
		_, err := word.Next(ctx).Await(ctx)
		return "canceled", err
	}
	return how + "<" + ctx.Info().Parent, nil
}

// "Children are instances with a parent link kept over their continue-as-new;
// every terminal state notifies the parent exactly once", typed.
func TestEveryEndReachesTheParentOnce(t *testing.T) {
	parent := durango.DefineOrchestration("parent", func(ctx *durango.Context, _ durango.None) (string, error) {
		var kids []*durango.Future[string]
		for _, how := range []string{"completes", "fails", "waits", "waits"} {
			h := kid.With(durango.CallOptions{ID: fmt.Sprint("kid-", len(kids))})
			kids = append(kids, h.Go(ctx, how))
		}
		if _, err := approved.Next(ctx).Await(ctx); err != nil {
			return "", err
		}
		results := durango.Settle(ctx, kids...)
		n, ok := brokenKid.From(results[1].Err)
		return fmt.Sprint(results[0].Value, " ", n, ok, " ", errors.Is(results[2].Err, durango.ErrCanceled), " ",
			errors.Is(results[3].Err, durango.ErrTerminated)), nil
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		run := durangotest.Start(e, parent, "p", durango.None{})
		e.Settle()
		for { // it may not have been created yet
			err := kid.Run(c, "kid-3").Terminate(ctx, "enough")
			if err == nil {
				break
			}
			assert.ErrorIs(t, err, durango.ErrNotFound)
			time.Sleep(time.Second)
		}
		assert.NoError(t, kid.Run(c, "kid-2").Cancel(ctx, "not by its parent"))
		assert.NoError(t, approved.Send(ctx, c, "p", "go on"))
		assert.Equal(t, durangotest.Wait(e, run), "completes<p 7 true true true")
		deliveries, _ := historyOf(t, c, "p")
		answered := map[int64]int{}
		for _, d := range deliveries {
			if d.Kind == history.ChildCompleted || d.Kind == history.ChildFailed {
				answered[d.Ref]++
				assert.Equal(t, answered[d.Ref], 1, "answers of child %d", d.Ref)
			}
		}
		assert.Equal(t, count(deliveries, history.ChildCompleted)+count(deliveries, history.ChildFailed), 4)
		e.CheckReplay()
	}, parent, kid.Bind(kidRun))
}

// A parent reads of its child's end what everybody reads who waits for it.
func TestParentsReadWhatOthersRead(t *testing.T) {
	parent := durango.DefineOrchestration("parent", func(ctx *durango.Context, id string) (string, error) {
		_, err := kid.With(durango.CallOptions{ID: id}).Call(ctx, "waits")
		return fmt.Sprint(err), nil
	})
	for want, end := range map[string]func(context.Context, *durango.Run[string]) error{
		"canceled: me":   func(ctx context.Context, r *durango.Run[string]) error { return r.Cancel(ctx, "me") },
		"canceled":       func(ctx context.Context, r *durango.Run[string]) error { return r.Cancel(ctx, "") },
		"terminated: me": func(ctx context.Context, r *durango.Run[string]) error { return r.Terminate(ctx, "me") },
		"terminated":     func(ctx context.Context, r *durango.Run[string]) error { return r.Terminate(ctx, "") },
	} {
		durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
			run := durangotest.Start(e, parent.Orchestration, "p", "k")
			e.Settle()
			child := kid.Run(e.Client(), "k")
			assert.NoError(t, end(e.Context(), child))
			assert.Equal(t, durangotest.Wait(e, run), want)
			_, err := child.Wait(e.Context())
			assert.Equal(t, fmt.Sprint(err), want)
			e.CheckReplay()
		}, parent, kid.Bind(kidRun))
	}
}

// "Parent close policy: cancel (default), terminate, abandon. A detached start
// is a child with no link", however the parent's code ends. "Cancel cascades to
// children", whatever their policy: it is the end of what was asked for with the
// context, and not yet of the parent.
func TestClosePolicies(t *testing.T) {
	parent := durango.NewOrchestration[string, string]("parent")
	body := func(ctx *durango.Context, how string) (string, error) {
		if how == "again" {
			return "", nil
		}
		id := func(s string) durango.CallOptions { return durango.CallOptions{ID: ctx.InstanceID() + "-" + s} }
		kid.With(id("default")).Go(ctx, "waits")
		kid.With(id("terminate")).With(durango.CallOptions{OnParentClose: durango.TerminateChild}).Go(ctx, "waits")
		kid.With(id("abandon")).With(durango.CallOptions{OnParentClose: durango.AbandonChild}).Go(ctx, "waits")
		if _, err := kid.StartFrom(ctx, ctx.InstanceID()+"-detached", "waits"); err != nil {
			return "", err
		}
		if how == "at once" { // the children are of the terminal turn
			return "", nil
		}
		if err := ctx.Sleep(time.Minute); err != nil {
			return "", err
		}
		switch how {
		case "fails":
			return "", errors.New("failed")
		case "continues":
			return parent.ContinueAsNew(ctx, "again")
		}
		return "", ctx.Sleep(time.Hour)
	}
	for _, how := range []string{"completes", "at once", "fails", "continues", "canceled"} {
		t.Run(how, func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				ctx, c := e.Context(), e.Client()
				run := durangotest.Start(e, parent, "p", how)
				time.Sleep(2 * time.Minute)
				want := map[string]string{
					"default": "Canceled", "terminate": "Terminated", "abandon": "Running", "detached": "Running",
				}
				if how == "canceled" {
					assert.NoError(t, run.Cancel(ctx, ""))
					want["terminate"], want["abandon"] = "Canceled", "Canceled"
				}
				e.Wait("p")
				e.Settle()
				status := map[string]string{}
				for _, k := range []string{"default", "terminate", "abandon", "detached"} {
					info, err := kid.Run(c, "p-"+k).Status(ctx)
					assert.NoError(t, err)
					status[k] = info.Status.String()
					assert.Equal(t, info.Parent == "", k == "detached", k)
				}
				assert.Equal(t, status, want)
			}, parent.Bind(body), kid.Bind(kidRun))
		})
	}
}

// "A child ID already taken is an error to the parent's await, not a hang", and
// nothing happens to who has it.
func TestTakenChildID(t *testing.T) {
	parent := durango.DefineOrchestration("parent", func(ctx *durango.Context, _ durango.None) (string, error) {
		_, err := kid.With(durango.CallOptions{ID: "taken"}).Call(ctx, "completes")
		refused, err2 := kid.StartFrom(ctx, "taken", "completes")
		if err2 != nil {
			return "", err2
		}
		_, err2 = refused.Await(ctx)
		return fmt.Sprint(errors.Is(err, durango.ErrAlreadyExists), errors.Is(err2, durango.ErrAlreadyExists)), nil
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		durangotest.Start(e, kid, "taken", "waits")
		assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, parent, "p", durango.None{})), "true true")
		info, err := kid.Run(e.Client(), "taken").Status(e.Context())
		assert.NoError(t, err)
		assert.True(t, info.Status.Open(), "the end of a stranger closed it")
		assert.NoError(t, kid.Run(e.Client(), "taken").Cancel(e.Context(), ""))
		e.Wait("taken")
	}, parent, kid.Bind(kidRun))
}

// "Cancel cascades to children and reaches running activities through their
// context.Context at once when they are local, and within one heartbeat when
// they are remote. Canceled work discards its result."
func TestCancelReachesActivities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		work := durango.NewActivity[string, string]("work")
		told := make(chan string, 10)
		begun := make(chan struct{}, 10)
		hang := func(ctx context.Context, where string) (string, error) {
			begun <- struct{}{}
			<-ctx.Done()
			told <- where
			return "a result that nobody wants", nil
		}
		remote := work.With(durango.CallOptions{Pool: "far"})
		inner := durango.DefineOrchestration("inner", func(ctx *durango.Context, _ durango.None) (string, error) {
			near, far := work.Go(ctx, "near"), remote.Go(ctx, "far")
			_, err := durango.All(ctx, near, far)
			return "", err
		})
		outer := durango.DefineOrchestration("outer", func(ctx *durango.Context, _ durango.None) (string, error) {
			return inner.With(durango.CallOptions{ID: "inner"}).Call(ctx, durango.None{})
		})
		const lease = 15 * time.Second
		client, _ := brief(t, store, durango.Options{Lease: lease}, inner, outer, work.Bind(hang))
		brief(t, store, durango.Options{Lease: lease}, remote.Bind(hang))
		run, err := outer.Start(t.Context(), client, "outer", durango.None{})
		assert.NoError(t, err)
		<-begun
		<-begun
		asked := time.Now()
		assert.NoError(t, run.Cancel(t.Context(), "no more"))
		assert.Equal(t, <-told, "near")
		assert.True(t, time.Since(asked) < time.Second, "a local activity was told after %s", time.Since(asked))
		assert.Equal(t, <-told, "far")
		const beat = lease / 15
		assert.True(t, time.Since(asked) < beat+100*time.Millisecond, "a remote activity was told after %s", time.Since(asked))
		_, err = run.Wait(t.Context())
		assert.ErrorIs(t, err, durango.ErrCanceled)
		assert.ErrorContains(t, err, "no more")
		time.Sleep(time.Minute)
		for _, id := range []string{"inner", "outer"} {
			deliveries, _ := historyOf(t, client, id)
			assert.Equal(t, count(deliveries, history.ActivityCompleted), 0)
		}
	})
}

// "Commits the end of one execution and the start of the next in one
// transaction; unfinished activities are canceled …; values, custom status …
// and unconsumed signals go on", and so do the parent and the identity.
func TestContinueAsNewKeepsAndDrops(t *testing.T) {
	work := durango.DefineActivity("work", func(ctx context.Context, _ int) (string, error) {
		<-ctx.Done()
		return "late", nil
	})
	o := durango.NewOrchestration[int, string]("o")
	body := func(ctx *durango.Context, round int) (string, error) {
		if round == 1 {
			if err := errors.Join(stage.Set(ctx, "kept"), ctx.SetStatus("kept too")); err != nil {
				return "", err
			}
			work.Go(ctx, 1)
			if err := ctx.Sleep(time.Minute); err != nil {
				return "", err
			}
			return o.ContinueAsNew(ctx, 2)
		}
		v, _ := stage.Get(ctx)
		w, err := word.Next(ctx).Await(ctx)
		return strings.Join([]string{v, w, ctx.InstanceID(), ctx.Info().Parent}, " "), err
	}
	parent := durango.DefineOrchestration("parent", func(ctx *durango.Context, _ durango.None) (string, error) {
		return o.With(durango.CallOptions{ID: "child"}).Call(ctx, 1)
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		run := durangotest.Start(e, parent, "p", durango.None{})
		e.Settle()
		eventually(t, "the child exists", func() bool { return word.Send(e.Context(), e.Client(), "child", "unread") == nil })
		assert.Equal(t, durangotest.Wait(e, run), "kept unread child p")
		info, err := o.Run(e.Client(), "child").Status(e.Context())
		assert.NoError(t, err)
		assert.Equal(t, string(info.CustomStatus), `"kept too"`)
		assert.Equal(t, info.Execution, int64(2))
		time.Sleep(time.Minute)
		deliveries, _ := historyOf(t, e.Client(), "child")
		assert.Equal(t, count(deliveries, history.ActivityCompleted), 0)
		e.CheckReplay()
	}, o.Bind(body), work, parent)
}

// eventually waits, in virtual time, until what is asked for is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 100_000 {
		if is() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}
