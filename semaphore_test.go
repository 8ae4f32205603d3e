package durango_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
)

// holders runs n coroutines that each hold a semaphore for a minute, and traces
// who came and went when.
func holders(ctx *durango.Context, sem *durango.Semaphore, n int) string {
	trace, held, most := "", 0, 0
	var fs []*durango.Future[int]
	for i := range n {
		fs = append(fs, durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			if err := sem.Acquire(ctx); err != nil {
				return 0, err
			}
			defer sem.Release()
			held++
			most = max(most, held)
			err := ctx.Sleep(time.Minute)
			trace += fmt.Sprintf("%d@%d ", i, ctx.Now().Minute())
			held--
			return 0, err
		}))
	}
	durango.Settle(ctx, fs...)
	return trace + fmt.Sprint("most ", most)
}

func TestSemaphore(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, n int) (string, error) {
		return holders(ctx, durango.NewSemaphore(ctx, n), 5), nil
	})
	run := func(n, minutes int) *harness {
		h := newHarness(t, o).start("o", n)
		for range minutes {
			waits(h)
			h.advance(time.Minute)
		}
		return h
	}
	want(run(1, 5), "0@1 1@2 2@3 3@4 4@5 most 1")
	want(run(2, 3), "0@1 1@1 2@2 3@2 4@3 most 2")
	want(run(9, 1), "0@1 1@1 2@1 3@1 4@1 most 5")
	wantTurnFailure(newHarness(t, o).start("o", 0), "nobody can hold")
}

// Who gives up leaves the line, and what it was handed in that very moment goes
// to the next.
func TestAcquireIsCanceled(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, inOneMoment bool) (string, error) {
		var mu durango.Mutex
		trace := ""
		lock := func(name string, d time.Duration) *durango.Future[int] {
			return durango.Go(ctx, func(ctx *durango.Context) (int, error) {
				part, cancel := ctx.WithTimeout(d)
				defer cancel()
				if err := mu.Lock(part); err != nil {
					trace += name + " gave up; "
					return 0, err
				}
				trace += name + " has it; "
				return 0, nil
			})
		}
		if err := mu.Lock(ctx); err != nil {
			return "", err
		}
		a, b, c := lock("a", time.Hour), lock("b", time.Minute), lock("c", time.Hour)
		if err := ctx.Sleep(time.Second); err != nil {
			return "", err
		}
		if inOneMoment {
			mu.Unlock()
			a.Cancel(ctx) // before a has run
		} else {
			a.Cancel(ctx)
			if err := ctx.Sleep(time.Minute); err != nil {
				return "", err
			}
			mu.Unlock()
		}
		rs := durango.Settle(ctx, a, b)
		if inOneMoment {
			mu.Unlock() // for b
		}
		_, err := c.Await(ctx)
		canceled, stop := ctx.WithCancel()
		stop()
		return trace + fmt.Sprint(rs[0].Err, rs[1].Err, mu.Lock(canceled)), err
	})
	h := newHarness(t, o).start("o", true).advance(time.Second)
	want(h, "a gave up; b has it; c has it; canceled <nil> canceled")
	h = newHarness(t, o).start("o", false).advance(time.Second).advance(time.Minute)
	want(h, "a gave up; b gave up; c has it; canceled timed out after 1m0s canceled")
}

// The right to a lock is handed over, not free for whoever runs first.
func TestMutexHandsOver(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		var mu durango.Mutex
		if err := mu.Lock(ctx); err != nil {
			return "", err
		}
		trace := ""
		other := durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			err := mu.Lock(ctx)
			defer mu.Unlock()
			trace += "other "
			return 0, err
		})
		if err := ctx.Sleep(time.Minute); err != nil {
			return "", err
		}
		mu.Unlock()
		err := mu.Lock(ctx) // behind the other
		return trace + fmt.Sprint("main ", other.Ready()), err
	})
	want(newHarness(t, o).start("o", nil).advance(time.Minute), "other main true")
}

func TestLockMistakes(t *testing.T) {
	var shared durango.Mutex
	for text, use := range map[string]func(ctx *durango.Context){
		"that nobody holds":    func(ctx *durango.Context) { durango.NewSemaphore(ctx, 2).Release() },
		"was never locked":     func(*durango.Context) { new(durango.Mutex).Unlock() },
		"of another execution": func(ctx *durango.Context) { _ = new(durango.Semaphore).Acquire(ctx) },
		"nobody holds": func(ctx *durango.Context) {
			var mu durango.Mutex
			_ = mu.Lock(ctx)
			mu.Unlock()
			defer func() { _ = recover() }()
			mu.Unlock()
		},
	} {
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
			use(ctx)
			return 0, nil
		})
		wantTurnFailure(newHarness(t, o).start("o", nil), text)
	}
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, again bool) (int, error) {
		if again {
			return 0, shared.Lock(ctx)
		}
		var mu durango.Mutex
		shared = mu
		_ = mu.Lock(ctx)
		shared = mu
		return 0, nil
	})
	want(newHarness(t, o).start("o", false), 0)
	wantTurnFailure(newHarness(t, o).start("o", true), "of another execution")
}

// A channel has room for so many, keeps their order, and a value is received by
// what returns it.
func TestChan(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		ch := durango.NewChan[int](ctx, 2)
		sent := 0
		producer := durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			for i := range 6 {
				if err := ch.Send(ctx, i); err != nil {
					return sent, err
				}
				sent++
			}
			return sent, nil
		})
		lost, timer := ch.Next(ctx), ctx.After(time.Minute)
		if ctx.Select(timer, never.Next(ctx)) != timer {
			return "", ctx.Err()
		}
		trace := fmt.Sprint("sent ", sent, "; ")
		part, cancel := ctx.WithCancel()
		got := 0
		for v := range ch.All(part) {
			trace += fmt.Sprint(v, " ")
			if got++; got == 3 {
				break
			}
		}
		both, err := durango.All(ctx, ch.Next(ctx), ch.Next(ctx))
		if err != nil {
			return "", err
		}
		v, _ := lost.Await(ctx)
		n, err := producer.Await(ctx)
		cancel()
		for range ch.All(part) {
			trace += "received after the end"
		}
		return trace + fmt.Sprint(both, v, n, " ", ch.Send(part, 1)), err
	})
	want(newHarness(t, o).start("o", nil).advance(time.Minute), "sent 2; 0 1 2 [3 4] 5 6 canceled")
}

// A send that gives up sends nothing, and what nobody received is no signal that
// would be carried on.
func TestChanLeavesNothing(t *testing.T) {
	o := durango.NewOrchestration[int, string]("o")
	bound := o.Bind(func(ctx *durango.Context, round int) (string, error) {
		if round == 1 {
			_, ok, err := counted.TryNext(ctx)
			return fmt.Sprint(ok), err
		}
		ch := durango.NewChan[string](ctx, 1)
		_ = ch.Send(ctx, "one")
		part, cancel := ctx.WithTimeout(time.Minute)
		defer cancel()
		err := ch.Send(part, "two")
		first, _ := ch.Next(ctx).Await(ctx)
		_ = ch.Send(ctx, "three")
		second, _ := ch.Next(ctx).Await(ctx)
		_ = ch.Send(ctx, "left")
		if first+second != "onethree" || err == nil {
			return "", fmt.Errorf("%s, %s, %w", first, second, err)
		}
		return o.ContinueAsNew(ctx, 1)
	})
	h := newHarness(t, bound).start("o", 0)
	h.advance(time.Minute)
	want(h, "false")
	assert.Equal(t, h.execution, int64(2))
}

func TestChanMistakes(t *testing.T) {
	for text, use := range map[string]func(ctx *durango.Context){
		"its capacity is at least 1": func(ctx *durango.Context) { durango.NewChan[int](ctx, 0) },
		"of another execution":       func(ctx *durango.Context) { new(durango.Chan[int]).Next(ctx) },
		"awaited twice at once": func(ctx *durango.Context) {
			f := durango.NewChan[int](ctx, 1).Next(ctx)
			durango.Go(ctx, func(ctx *durango.Context) (int, error) { return f.Await(ctx) })
			_, _ = f.Await(ctx)
		},
	} {
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
			use(ctx)
			return 0, nil
		})
		wantTurnFailure(newHarness(t, o).start("o", nil), text)
	}
}
