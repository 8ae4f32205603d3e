package durango_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
)

// holiday is a saga that has booked something and sleeps.
func holiday(what string) func(*durango.Context) (string, error) {
	return func(ctx *durango.Context) (string, error) {
		return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
			durango.Undo(saga, release, what)
			return what, ctx.Sleep(24 * time.Hour)
		})
	}
}

func late(ctx *durango.Context) (string, error) {
	return "", errors.Join(ctx.Sleep(time.Hour), noSeat.New("row 7"))
}

// abandonments are orchestrations that return while sagas are under way, once
// an hour has passed or they are canceled.
var abandonments = map[string]func(*durango.Context) (string, error){
	"await": func(ctx *durango.Context) (string, error) { return durango.Go(ctx, holiday("a")).Await(ctx) },
	"all": func(ctx *durango.Context) (string, error) {
		_, err := durango.All(ctx, durango.Go(ctx, holiday("a")), durango.Go(ctx, holiday("b")))
		return "", err
	},
	"join": func(ctx *durango.Context) (string, error) {
		return "", ctx.Join(durango.Go(ctx, holiday("a")), durango.Go(ctx, holiday("b")))
	},
	"settle": func(ctx *durango.Context) (string, error) {
		return "", durango.Settle(ctx, durango.Go(ctx, holiday("a")), durango.Go(ctx, holiday("b")))[1].Err
	},
	"race": func(ctx *durango.Context) (string, error) {
		f, d := durango.Go(ctx, holiday("a")), ctx.After(time.Hour)
		if ctx.Race(f, d) == d {
			return "timed out", nil
		}
		return "", ctx.Err()
	},
	"sibling": func(ctx *durango.Context) (string, error) {
		_, err := durango.All(ctx, durango.Go(ctx, holiday("a")), durango.Go(ctx, late))
		return "", err
	},
	"selected": func(ctx *durango.Context) (string, error) { // nobody cancels the saga
		f, d := durango.Go(ctx, holiday("a")), ctx.After(time.Hour)
		if ctx.Select(f, d) == d {
			return "timed out", nil
		}
		return "", ctx.Err()
	},
	"outer context": func(ctx *durango.Context) (string, error) {
		durango.Go(ctx, func(*durango.Context) (string, error) { return holiday("a")(ctx) })
		return "timed out", ctx.Sleep(time.Hour)
	},
	"nested": func(ctx *durango.Context) (string, error) {
		durango.Go(ctx, func(ctx *durango.Context) (string, error) {
			return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
				saga.Add(func(ctx *durango.Context) error { // an undoing in two steps
					_, err := durango.RunSaga(ctx, func(*durango.Saga) (string, error) {
						if err := ctx.Sleep(time.Minute); err != nil {
							return "", err
						}
						_, err := release.Call(ctx, "outer")
						return "", err
					})
					return err
				})
				return holiday("inner")(ctx)
			})
		})
		return "timed out", ctx.Sleep(time.Hour)
	},
	"continues": func(ctx *durango.Context) (string, error) {
		if ctx.Execution() > 1 {
			return "second", ctx.Err()
		}
		durango.Go(ctx, holiday("a"))
		if err := ctx.Sleep(time.Hour); err != nil {
			return "", err
		}
		return durango.ContinueAsNew[string](ctx, "continues")
	},
	"begins meanwhile": func(ctx *durango.Context) (string, error) {
		durango.Go(ctx, holiday("a"))
		part := ctx
		durango.Go(ctx, func(*durango.Context) (string, error) {
			for part.Err() == nil { // begins again whenever one has ended
				if _, err := durango.RunSaga(part, func(saga *durango.Saga) (string, error) {
					durango.Undo(saga, release, "b")
					return "", part.Sleep(time.Hour)
				}); err == nil {
					_ = part.Detach().Sleep(time.Nanosecond)
				}
			}
			return "", nil
		})
		return "timed out", ctx.Sleep(time.Hour)
	},
}

var abandons = durango.DefineOrchestration("abandons", func(ctx *durango.Context, how string) (string, error) {
	return abandonments[how](ctx)
})

// "An execution does not end while a saga in one of its coroutines is under
// way."
func TestNoSagaIsAbandoned(t *testing.T) {
	for how := range abandonments {
		t.Run(how, func(t *testing.T) {
			undone := []string{"a"}
			switch how {
			case "all", "join", "settle", "begins meanwhile":
				undone = []string{"a", "b"}
			case "nested":
				undone = []string{"inner", "outer"}
			}
			h := newHarness(t, abandons, release).start("abandons", how).cancel("me").advance(time.Minute)
			wantErr(h, durango.ErrCanceled)
			assert.Equal(t, h.end.Kind, history.Canceled)
			assert.Equal(t, h.end.Text, "me")
			assert.Equal(t, released(h), undone)

			h = newHarness(t, abandons, release).start("abandons", how).advance(time.Hour)
			switch how {
			case "await", "all", "join", "settle":
				waits(h)
				return
			case "sibling":
				wantErr(h, noSeat)
			case "continues":
				want(h, "second")
				assert.Equal(t, h.execution, 2)
				undone = nil // h has the turns of the second execution
			default:
				want(h.advance(time.Minute), "timed out")
			}
			assert.Equal(t, released(h), undone)
		})
	}
}

// What the last saga could not undo is told, whatever the orchestration said.
func TestAbandonedSagaThatCannotBeUndone(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, how string) (string, error) {
		durango.Go(ctx, func(ctx *durango.Context) (string, error) {
			return durango.RunSaga(ctx, func(*durango.Saga) (string, error) { return holiday("stuck")(ctx) })
		})
		err := ctx.Sleep(time.Hour)
		switch {
		case how == "fails":
			return "", noSeat.New("row 7")
		case how == "continues" && ctx.Execution() == 1:
			return durango.ContinueAsNew[string](ctx, how)
		}
		return "out", err
	})
	const stuck = `; not compensated: undo with "release": stuck: unexpected EOF`
	for how, text := range map[string]string{
		"completes": "the orchestration had returned its output", "fails": "no-seat",
		"continues": "the orchestration had continued as new", "canceled": "canceled: me",
	} {
		h := newHarness(t, o, release).start("o", how)
		if how == "canceled" {
			h.cancel("me")
		} else {
			h.advance(time.Hour)
		}
		err := wantErr(h, durango.ErrNotCompensated)
		assert.Equal(t, h.end.Kind, history.Failed)
		assert.Equal(t, err.Error(), text+stuck)
		assert.Equal(t, errors.Is(err, durango.ErrCanceled), how == "canceled")
		assert.Equal(t, h.execution, 1)
	}
}

// A detached saga goes on to its own end, and so does the execution; a request
// to cancel that comes meanwhile is for whom it continues as.
func TestDetachedSagaIsWaitedFor(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, next bool) (string, error) {
		if ctx.Execution() > 1 {
			return "second", ctx.Sleep(time.Minute)
		}
		durango.Go(ctx.Detach(), holiday("a"))
		_ = ctx.Sleep(time.Hour)
		if next {
			return durango.ContinueAsNew[string](ctx, true)
		}
		return "out", nil
	})
	h := newHarness(t, o, release).start("o", false).advance(time.Hour)
	waits(h)
	h.cancel("too late")
	waits(h)
	want(h.advance(24*time.Hour), "out")
	assert.Equal(t, released(h), nil)

	h = newHarness(t, o, release).start("o", true).advance(time.Hour)
	waits(h)
	h.cancel("for the next").advance(24 * time.Hour)
	wantErr(h, durango.ErrCanceled)
	assert.Equal(t, h.execution, 2)
	assert.Equal(t, h.end.Text, "for the next")
}

// A turn may bring the return, a request and the end of the last saga, in this
// order. A replay that finds the end recorded does not wait for it.
func TestARequestBetweenTheReturnAndTheEnd(t *testing.T) {
	ask, done, over := durango.NewUpdate[int, int]("ask"), durango.NewSignal[int]("done"), durango.NewSignal[int]("over")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ bool) (string, error) {
		ask.Handle(ctx, func(ctx *durango.Context, n int) (int, error) {
			return durango.NewSignal[int]("never").Next(ctx).Await(ctx)
		})
		durango.Go(ctx.Detach(), func(ctx *durango.Context) (int, error) {
			return durango.RunSaga(ctx, func(*durango.Saga) (int, error) { return over.Next(ctx).Await(ctx) })
		})
		_, err := done.Next(ctx).Await(ctx)
		return "out", err
	})
	h := newHarness(t, o).start("o", true)
	waits(h)
	want(h.deliver(
		history.Event{Kind: history.SignalReceived, Name: "done", Payload: []byte("1")},
		history.Event{Kind: history.UpdateRequested, Name: "ask", Text: "r", Payload: []byte("1")},
		history.Event{Kind: history.SignalReceived, Name: "over", Payload: []byte("1")},
	), "out")
}

// A panic of a saga fails the turn, also when the orchestration has returned;
// one that the code recovers ends its saga.
func TestPanicsInAbandonedSagas(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, recovers bool) (string, error) {
		durango.Go(ctx, func(ctx *durango.Context) (string, error) {
			defer func() {
				if recovers {
					_ = recover()
				}
			}()
			return durango.RunSaga(ctx, func(*durango.Saga) (string, error) {
				_ = ctx.Sleep(24 * time.Hour)
				panic("mind the gap")
			})
		})
		return "out", ctx.Sleep(time.Hour)
	})
	wantTurnFailure(newHarness(t, o).start("o", false).advance(time.Hour), "mind the gap")
	want(newHarness(t, o).start("o", true).advance(time.Hour), "out")
}

// A history that was recorded when nobody waited for sagas still replays.
func TestHistoryThatAbandonedASaga(t *testing.T) {
	o := durango.NewOrchestration[string, string]("o")
	program := func(run func(*durango.Context) (string, error)) durango.Registrable {
		return o.Bind(func(ctx *durango.Context, _ string) (string, error) {
			f, d := durango.Go(ctx, run), ctx.After(time.Hour)
			if ctx.Race(d, f) == d {
				return "timed out", nil
			}
			return "", ctx.Err()
		})
	}
	before := newHarness(t, program(func(ctx *durango.Context) (string, error) {
		return "", ctx.Sleep(24 * time.Hour) // as if there were no saga
	})).start("o", "").advance(time.Hour)
	want(before, "timed out")

	now := newHarness(t, program(holiday("a")), release)
	m := replay.New(now.codes["o"])
	defer m.Close()
	for i := range before.turns {
		assert.NoError(t, m.Replay(&before.turns[i]))
	}
	assert.Equal(t, m.Final().Kind, history.Completed)
}

// Whatever crashes and whenever, what an abandoned saga did is undone once.
func TestAbandonedSagasAndCrashes(t *testing.T) {
	undo := durango.NewActivity[string, durango.None]("undo")
	o := durango.NewOrchestration[string, string]("o")
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		e.Replace(undo.Bind(func(ctx context.Context, what string) (durango.None, error) {
			e.EffectOnce(ctx, what)
			return durango.None{}, nil
		}))
		assert.Equal(t, durangotest.Wait(e, durangotest.Start(e, o, "o", "")), "timed out")
		assert.Equal(t, len(e.Effects()), 2)
		e.CheckReplay()
	}, undo.Bind(func(context.Context, string) (durango.None, error) { return durango.None{}, io.EOF }),
		o.Bind(func(ctx *durango.Context, _ string) (string, error) {
			for _, what := range []string{"a", "b"} {
				durango.Go(ctx, func(ctx *durango.Context) (string, error) {
					return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
						durango.Undo(saga, undo, what)
						return what, ctx.Sleep(24 * time.Hour)
					})
				})
			}
			return "timed out", ctx.Sleep(time.Hour)
		}))
}
