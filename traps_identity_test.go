package durango_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// forge puts an event into the mailbox of an instance, as the answer to a
// command of an execution, or to none.
func forge(t *testing.T, c *durango.Client, id string, ev history.Event, execution, command int64) {
	t.Helper()
	sent, err := c.Store().Send(context.Background(), []provider.Message{{
		To: provider.Target{ID: id}, Execution: execution, Command: command, Payload: history.AppendMessage(nil, &ev),
	}})
	assert.NoError(t, err)
	assert.NoError(t, sent[0].Err)
}

// "Identity of a resumed instance (name, version, input, parent) comes from its
// history, never from a message", and not from what is registered today.
func TestIdentityComesFromHistory(t *testing.T) {
	o := durango.NewOrchestration[string, string]("o")
	body := func(version string) durango.BoundOrchestration[string, string] {
		return o.BindVersion(version, func(ctx *durango.Context, in string) (string, error) {
			w, err := word.Next(ctx).Await(ctx)
			i := ctx.Info()
			return strings.Join([]string{version, i.Name, i.Version, i.ID, i.Parent, in, w}, " "), err
		})
	}
	parent := durango.DefineOrchestration("parent", func(ctx *durango.Context, _ durango.None) (string, error) {
		return o.With(durango.CallOptions{ID: "kid"}).Call(ctx, "input")
	})
	for _, hot := range []bool{true, false} {
		durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
			run := durangotest.Start(e, parent, "p", durango.None{})
			e.Settle()
			for range 2 {
				forge(t, e.Client(), "kid", history.Event{
					Kind: history.Started, Name: "parent", Version: "9.0.0", Target: "other", Seq: 7, Payload: []byte(`"forged"`),
					Parent: &history.Parent{Key: 1, ID: "stranger", Execution: 1, Seq: 1},
				}, 0, 0)
				if !hot {
					e.Settle()
					e.Replace(body("2.0.0"))
				}
			}
			assert.NoError(t, word.Send(e.Context(), e.Client(), "kid", "word"))
			assert.Equal(t, durangotest.Wait(e, run), "1.0.0 o 1.0.0 kid p input word")
			deliveries, _ := historyOf(t, e.Client(), "kid")
			assert.Equal(t, count(deliveries, history.Started), 1)
			e.CheckReplay()
		}, body("1.0.0"), parent)
	}
}

// "A completion is accepted once, for an open command of the same execution and
// kind; anything else is dropped and counted." "Losing branches' completions are
// recorded and never block later deliveries."
func TestForeignCompletionsAreDropped(t *testing.T) {
	var release chan struct{}
	work := durango.DefineActivity("work", func(ctx context.Context, n int) (int, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return n, ctx.Err()
	})
	o := durango.NewOrchestration[int, int]("o")
	body := func(ctx *durango.Context, round int) (int, error) {
		n, err := work.Call(ctx, 100*round)
		if err != nil || round == 2 {
			return n, err
		}
		return o.ContinueAsNew(ctx, round+1)
	}
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		done := func(kind history.Kind, ref int64) history.Event {
			return history.Event{Kind: kind, Ref: ref, Payload: []byte("666"), Attempt: 1}
		}
		release = make(chan struct{}) // of the bubble
		run := durangotest.Start(e, o, "i", 1)
		e.Settle()
		_, commands := historyOf(t, e.Client(), "i")
		ref := commands[0].Seq
		forge(t, e.Client(), "i", done(history.ChildCompleted, ref), 1, ref) // another kind
		forge(t, e.Client(), "i", done(history.TimerFired, ref), 1, ref)
		forge(t, e.Client(), "i", done(history.ActivityCompleted, ref+50), 1, ref+50) // nothing of this number
		forge(t, e.Client(), "i", done(history.ActivityCompleted, ref), 2, ref)       // another execution's
		e.Settle()
		release <- struct{}{}
		e.Settle()
		forge(t, e.Client(), "i", done(history.ActivityCompleted, ref), 1, ref) // the execution that has ended
		e.Settle()
		release <- struct{}{}
		assert.Equal(t, durangotest.Wait(e, run), 200)
		deliveries, _ := historyOf(t, e.Client(), "i")
		assert.Equal(t, count(deliveries, history.ActivityCompleted), 2)
		assert.Equal(t, count(deliveries, history.ChildCompleted)+count(deliveries, history.TimerFired), 0)
		e.CheckReplay()
	}, o.Bind(body), work)
}

// "Deleting an instance wins against a commit in flight; stale results after
// delete and re-create do not match."
func TestDeleteWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		var old atomic.Bool
		inTurn, goOn := make(chan struct{}), make(chan struct{})
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, who string) (string, error) {
			if who == "old" {
				durango.Record(ctx, func() int { // the turn is under way while the instance is deleted
					if !old.Swap(true) {
						close(inTurn)
						<-goOn
					}
					return 1
				})
			}
			return word.Next(ctx).Await(ctx)
		})
		client, _ := brief(t, store, durango.Options{}, o)
		plain := durango.NewClient(store)
		_, err := o.Start(t.Context(), plain, "i", "old")
		assert.NoError(t, err)
		<-inTurn
		remove(t, client, "i")
		run, err := o.Start(t.Context(), plain, "i", "new")
		assert.NoError(t, err)
		close(goOn)
		time.Sleep(time.Minute)
		assert.NoError(t, word.Send(t.Context(), plain, "i", "new"))
		completes(t, run, "new")
		deliveries, commands := historyOf(t, client, "i")
		assert.Equal(t, count(deliveries, history.Started), 1)
		assert.Equal(t, count(commands, history.ValueRecorded), 0)
	})
}

func TestStaleResultsAfterDelete(t *testing.T) {
	for name, opts := range map[string]durango.CallOptions{"in memory": {}, "a row": {Heartbeat: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.Open()
				answers := make(chan string)
				begun := make(chan struct{})
				work := durango.DefineActivity("work", func(_ context.Context, who string) (string, error) {
					begun <- struct{}{}
					return who + <-answers, nil // heeds nobody
				})
				o := caller(work.With(opts))
				client, _ := brief(t, store, durango.Options{}, o, work)
				_, err := o.Start(t.Context(), client, "i", "old ")
				assert.NoError(t, err)
				<-begun
				remove(t, client, "i")
				run, err := o.Start(t.Context(), client, "i", "new ")
				assert.NoError(t, err)
				<-begun
				for i := range 2 { // the stale one is answered too, in whatever order
					answers <- fmt.Sprint(i)
				}
				got, err := run.Wait(t.Context())
				assert.NoError(t, err)
				assert.True(t, strings.HasPrefix(got, "new "), "the result of a deleted instance: %q", got)
			})
		})
	}
}
