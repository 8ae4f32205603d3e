package durango_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/sqlite"
)

// again are the policies that use an ID again.
var again = map[string]durango.CallOptions{
	"Restart":       {IfExists: durango.Restart},
	"RestartFailed": {IfExists: durango.RestartFailed},
	"Replace":       {IfExists: durango.Replace},
}

// Restart starts anew if the instance that has the ID has ended, RestartFailed
// if it ended otherwise than as completed, Replace in any case.
func TestStartsAnew(t *testing.T) {
	kid := durango.DefineOrchestration("kid", func(_ *durango.Context, n int) (int, error) { return n, nil })
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
		if n < 0 {
			return 0, errors.New("negative")
		}
		a, err := kid.Call(ctx, n) // i/1.1, every time
		if err != nil {
			return 0, err
		}
		b, err := next.Next(ctx).Await(ctx)
		return a + b, err
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		for name, options := range again {
			as := o.With(options)
			first := durangotest.Start(e, as, name, 10)

			// Open: only Replace does not leave it alone.
			run, err := as.Start(ctx, c, name, 20)
			sum := 11
			if name == "Replace" {
				assert.NoError(t, err)
				_, err = first.Wait(ctx)
				assert.True(t, errors.Is(err, durango.ErrTerminated) || errors.Is(err, durango.ErrNotFound), "the first: %v", err)
				sum = 21
			} else {
				assert.ErrorIs(t, err, durango.ErrAlreadyExists)
				assert.Equal(t, assert.ErrorAs[*durango.AlreadyExistsError](t, err).ID, name)
			}
			assert.NoError(t, next.Send(ctx, c, name, 1))
			assert.Equal(t, durangotest.Wait(e, run), sum)

			// Completed: RestartFailed leaves it.
			run, err = as.Start(ctx, c, name, -1)
			if name == "RestartFailed" {
				assert.ErrorIs(t, err, durango.ErrAlreadyExists)
				assert.Equal(t, durangotest.Wait(e, run), sum)
				continue
			}
			assert.NoError(t, err)
			_, err = run.Wait(ctx)
			assert.Contains(t, err.Error(), "negative")

			// Failed: all start anew, and who had the old run finds nothing.
			old := run
			run, err = o.With(again["RestartFailed"]).Start(ctx, c, name, 30)
			assert.NoError(t, err)
			assert.NoError(t, next.Send(ctx, c, name, 2))
			assert.Equal(t, durangotest.Wait(e, run), 32)
			_, err = old.Wait(ctx)
			assert.ErrorIs(t, err, durango.ErrNotFound)
		}
	}, o, kid)
}

// With SendWithStart who is open receives the signal; who has ended is started
// anew and receives it.
func TestSendsAndStartsAnew(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
		m, err := next.Next(ctx).Await(ctx)
		if err == nil && m == 13 {
			err = errors.New("unlucky")
		}
		return n + m, err
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		send := func(policy durango.IfExists, n, m int) (*durango.Run[int], error) {
			return durango.SendWithStart(ctx, c, "i", o.With(durango.CallOptions{IfExists: policy}), n, next, m)
		}
		durangotest.Start(e, o.Orchestration, "i", 10)
		run, err := send(durango.Restart, 20, 1)
		assert.NoError(t, err)
		assert.Equal(t, durangotest.Wait(e, run), 11) // it was open
		run, err = send(durango.Restart, 20, 13)
		assert.NoError(t, err)
		_, err = run.Wait(ctx)
		assert.Contains(t, err.Error(), "unlucky")
		run, err = send(durango.RestartFailed, 30, 2)
		assert.NoError(t, err)
		assert.Equal(t, durangotest.Wait(e, run), 32)
		_, err = send(durango.RestartFailed, 40, 3)
		assert.ErrorIs(t, err, durango.ErrNotRunning)
		_, err = send(durango.Replace, 40, 3)
		assert.ErrorIs(t, err, durango.ErrInvalid)
	}, o)
}

// Of many that restart at once one starts the instance; the others find it.
func TestManyRestartAtOnce(t *testing.T) {
	file, err := sqlite.Open(filepath.Join(t.TempDir(), "restart.db"))
	assert.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, file.Close()) })
	for name, store := range map[string]provider.Provider{"memory": memory.Open(), "sqlite": file} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
				m, err := next.Next(ctx).Await(ctx)
				return n + m, err
			})
			restart := o.With(durango.CallOptions{IfExists: durango.Restart})
			node, _ := brief(t, store, durango.Options{}, o)
			clients := []*durango.Client{node, durango.NewClient(store), durango.NewClient(store)}
			for round := range 20 {
				var all sync.WaitGroup
				var started atomic.Int64
				for i := range 9 {
					all.Go(func() {
						run, err := restart.Start(ctx, clients[i%3], "i", 100*round)
						if err == nil {
							started.Add(1)
							return
						}
						assert.ErrorIs(t, err, durango.ErrAlreadyExists)
						_, err = run.Status(ctx) // it is there
						assert.NoError(t, err)
					})
				}
				all.Wait()
				assert.Equal(t, started.Load(), int64(1), "round %d", round)
				assert.NoError(t, next.Send(ctx, clients[1], "i", round))
				completes(t, o.Run(clients[0], "i"), 101*round)
			}

			// Replacements follow each other; what is there at last is whole.
			var all sync.WaitGroup
			for i := range 9 {
				all.Go(func() {
					run, err := o.With(durango.CallOptions{IfExists: durango.Replace}).Start(ctx, clients[i%3], "i", i)
					if err != nil { // the others were quicker, so often
						assert.ErrorIs(t, err, durango.ErrAlreadyExists)
					}
					assert.Equal(t, run.ID(), "i")
				})
			}
			all.Wait()
			assert.NoError(t, next.Send(ctx, clients[1], "i", 1000))
			got, err := o.Run(clients[0], "i").Wait(ctx)
			assert.NoError(t, err)
			assert.True(t, got >= 1000 && got < 1009, "%d", got)
		})
	}
}

// Who waits in the process that replaces is told how the instance ended, and so
// is its parent.
func TestReplacedIsTerminated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		kid := durango.DefineOrchestration("kid", func(ctx *durango.Context, n int) (int, error) {
			if n == 0 {
				return next.Next(ctx).Await(ctx)
			}
			return n, nil
		})
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (int, error) {
			return kid.With(durango.CallOptions{ID: "kid"}).Call(ctx, n)
		})
		client, _ := brief(t, store, durango.Options{}, o, kid)
		run, err := o.Start(ctx, client, "i", 0)
		assert.NoError(t, err)
		reaches(t, store, "i", provider.Running)
		old := kid.Run(client, "kid")
		told := make(chan error, 1)
		go func() {
			_, err := old.Wait(ctx)
			told <- err
		}()
		synctest.Wait()
		anew, err := kid.With(again["Replace"]).Start(ctx, client, "kid", 7)
		assert.NoError(t, err)
		completes(t, anew, 7)
		assert.ErrorIs(t, <-told, durango.ErrTerminated)
		_, err = run.Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrTerminated)
	})
}

// family starts kids without IDs, which start theirs; they end when they are
// told. In a broken program it panics when all are there.
func family(broken *atomic.Bool) (o, kid durango.BoundOrchestration[int, int]) {
	grandkid := durango.NewOrchestration[int, int]("kid")
	kid = grandkid.Bind(func(ctx *durango.Context, depth int) (int, error) {
		n := 0
		if depth > 0 {
			var err error
			if n, err = grandkid.Call(ctx, depth-1); err != nil {
				return 0, err
			}
		} else if err := ctx.Sleep(time.Minute); err != nil {
			return 0, err
		}
		return n + 1, nil
	})
	o = durango.DefineOrchestration("o", func(ctx *durango.Context, depth int) (int, error) {
		one := kid.Go(ctx, depth)
		two := kid.With(durango.CallOptions{ID: "apart", OnParentClose: durango.AbandonChild}).Go(ctx, 0)
		all, err := durango.All(ctx, one, kid.Go(ctx, 0), two)
		if broken.Load() {
			panic("a bug")
		}
		if err != nil {
			return 0, err
		}
		return all[0] + all[1], nil
	})
	return o, kid
}

func idsOf(t *testing.T, store provider.Inspector) map[string]provider.Key {
	t.Helper()
	page, err := store.List(context.Background(), provider.Query{Limit: 1000})
	assert.NoError(t, err)
	all := map[string]provider.Key{}
	for _, i := range page.Instances {
		all[i.ID] = i.Key
	}
	return all
}

// A dead letter that is purged leaves no children in the way of those of the next
// instance with its ID; one that has not ended stays where it is.
func TestPurgeDeletesDerivedChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		var broken atomic.Bool
		broken.Store(true)
		o, kid := family(&broken)
		client, _ := brief(t, store, durango.Options{Quarantine: durango.QuarantinePolicy{Action: durango.QuarantineDeadLetter}}, o, kid)
		for _, id := range []string{"i", "j"} {
			run, err := o.With(durango.CallOptions{}).Start(ctx, client, id, 2)
			assert.NoError(t, err)
			reaches(t, store, id, provider.Failed)
			_, err = run.Wait(ctx)
			assert.ErrorIs(t, err, durango.ErrQuarantined)
		}

		// One that has not ended: nothing is deleted, of the other everything.
		stray, err := kid.Start(ctx, client, "stray", 0)
		assert.NoError(t, err)
		row, err := store.Get(ctx, provider.Target{ID: "j"})
		assert.NoError(t, err)
		key := provider.NewKey()
		res, err := store.Create(ctx, 0, []provider.NewInstance{{
			Key: key, ID: "j/1.9", Name: "nobody has it", Parent: provider.ParentLink{Key: row.Key, ID: "j", Execution: 1, Command: 9}, Start: []byte{1},
		}})
		assert.NoError(t, errors.Join(err, res[0].Err))
		err = client.Purge(ctx, "j")
		assert.ErrorIs(t, err, durango.ErrNotEnded)
		assert.Contains(t, err.Error(), `"j/1.9"`)
		assert.Equal(t, len(idsOf(t, store)), 2+2*4+1+1+1)
		n, err := client.PurgeAll(ctx, durango.QuarantineFilter{})
		assert.ErrorIs(t, err, durango.ErrNotEnded)
		assert.Equal(t, n, 1)
		left := idsOf(t, store)
		for _, id := range []string{"i", "i/1.1", "i/1.1/1.1", "i/1.1/1.1/1.1", "i/1.2"} {
			assert.Equal(t, left[id], provider.Key(0), "%s", id)
		}
		for _, id := range []string{"j", "j/1.1", "j/1.1/1.1/1.1", "apart", "stray"} {
			assert.True(t, left[id] != 0, "%s", id)
		}
		completes(t, stray, 1)

		broken.Store(false)
		run, err := o.Start(ctx, client, "i", 2)
		assert.NoError(t, err)
		_, err = run.Wait(ctx) // apart is taken, which is the caller's business
		assert.ErrorIs(t, err, durango.ErrAlreadyExists)
		assert.Contains(t, err.Error(), "apart")
	})
}

// What is started anew does not meet the children of the one before, whether they
// have ended or not; nor those of one that was deleted alone.
func TestRestartDeletesDerivedChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ctx := memory.Open(), context.Background()
		_, kid := family(new(atomic.Bool))
		client, _ := brief(t, store, durango.Options{}, kid)
		replace := kid.With(again["Replace"])
		_, err := kid.Start(ctx, client, "i/other", 0) // not its child
		assert.NoError(t, err)
		for range 3 {
			_, err := replace.Start(ctx, client, "i", 3)
			assert.NoError(t, err)
			time.Sleep(time.Second)
			reaches(t, store, "i/1.1/1.1/1.1", provider.Running)
			before := idsOf(t, store)
			_, err = replace.Start(ctx, client, "i", 1)
			assert.NoError(t, err)
			time.Sleep(time.Second)
			reaches(t, store, "i/1.1", provider.Running)
			after := idsOf(t, store)
			assert.Equal(t, len(after), 3)
			assert.True(t, after["i"] != before["i"] && after["i/1.1"] != before["i/1.1"] && after["i/other"] == before["i/other"], "%v, %v", before, after)
		}

		// The children of one that was deleted alone are in the way of a Start only.
		assert.NoError(t, store.Delete(ctx, provider.Target{ID: "i"}, true))
		run, err := kid.Start(ctx, client, "i", 1)
		assert.NoError(t, err)
		_, err = run.Wait(ctx)
		assert.ErrorIs(t, err, durango.ErrAlreadyExists)
		run, err = kid.With(again["RestartFailed"]).Start(ctx, client, "i", 2)
		assert.NoError(t, err)
		completes(t, run, 3)
	})
}

// What an orchestration starts has no such choice.
func TestOrchestrationsDoNotRestart(t *testing.T) {
	for name, options := range again {
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
			_, err := ids.With(options).Call(ctx, 1)
			_, from := ids.With(options).StartFrom(ctx, "x", 1)
			if !errors.Is(err, durango.ErrInvalid) || !errors.Is(from, durango.ErrInvalid) {
				return 0, errors.Join(errors.New("accepted"), err, from)
			}
			return 1, nil
		})
		t.Run(name, func(t *testing.T) { want(newHarness(t, o, ids).start("o", nil), 1) })
	}
}
