package crash

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

var (
	percentOf       = flag.Int("percent.of", 1000, "how many instances there are of which one in a hundred panics")
	percentPostgres = flag.Bool("percent.postgres", false, "on PostgreSQL instead of SQLite")
)

// percent is a program of three steps, with a bug for one number in a hundred.
type percent struct {
	t    *testing.T
	n    int
	rt   *durango.Runtime
	stop func()
	prog durango.BoundOrchestration[int, int]
}

func startPercent(t *testing.T, store provider.Provider, n int, buggy bool) *percent {
	t.Helper()
	plus := durango.DefineActivity("plus", func(_ context.Context, n int) (int, error) { return n + 1, nil })
	p := &percent{t: t, n: n}
	p.prog = durango.DefineOrchestration("percent", func(ctx *durango.Context, n int) (int, error) {
		id := n
		for i := range 3 {
			if buggy && i == 1 && id%100 == 7 {
				panic(fmt.Sprint("a bug with ", id))
			}
			var err error
			if n, err = plus.Call(ctx, n); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
	o := durango.Options{Logger: slog.New(slog.DiscardHandler)}
	if n <= 1000 {
		o.MinBackoff = 10 * time.Millisecond // by hand, the pauses are those of production
	}
	rt, err := durango.New(store, o)
	assert.NoError(t, err)
	rt.Register(plus, p.prog)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rt.Run(ctx) }()
	p.rt, p.stop = rt, sync.OnceFunc(func() { cancel(); assert.NoError(t, <-done) })
	t.Cleanup(p.stop)
	return p
}

// start starts all, 64 callers at a time, and returns what becomes of them.
func (p *percent) start(ctx context.Context) []*durango.Run[int] {
	runs := make([]*durango.Run[int], p.n)
	var callers sync.WaitGroup
	for c := range 64 {
		callers.Go(func() {
			for i := c; i < p.n; i += 64 {
				run, err := p.prog.Start(ctx, p.rt.Client(), fmt.Sprint("p-", i), i)
				if err != nil {
					p.t.Error(err)
					return
				}
				runs[i] = run
			}
		})
	}
	callers.Wait()
	return runs
}

// finish waits for those that want says, and returns the times they took since
// begun, sorted.
func (p *percent) finish(ctx context.Context, runs []*durango.Run[int], begun time.Time, want func(int) bool) []time.Duration {
	p.t.Helper()
	times := []time.Duration{}
	for i, run := range runs {
		if !want(i) {
			continue
		}
		out, err := run.Wait(ctx)
		assert.NoError(p.t, err, "%d", i)
		assert.Equal(p.t, out, i+3)
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	return times
}

// processorTime is what this process has used: on a machine that others use, too,
// it says more than the time that has passed.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	assert.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// DESIGN 8.6, on a real store: a program with a bug in one instance of a hundred.
// The others complete, in the time that they take beside no bug (in the log); the
// bad ones are quarantined under one fingerprint, and nothing of them is lost:
// with the bug corrected one release lets all of them finish.
func TestOnePercentPanics(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	place := func() *place {
		if *percentPostgres {
			p, _ := startPostgres(t)
			return p
		}
		return onSQLite(t)
	}
	well := func(i int) bool { return i%100 != 7 }
	for range 2 { // side by side, twice
		for _, buggy := range []bool{false, true} {
			n := *percentOf
			store := place().store
			p := startPercent(t, store, n, buggy)
			begun, used := time.Now(), processorTime(t)
			runs := p.start(ctx)
			times := p.finish(ctx, runs, begun, func(i int) bool { return !buggy || well(i) })
			last := times[len(times)-1]
			used = processorTime(t) - used
			t.Logf("buggy=%-5v %d well ones in %.2f s, %.0f/s; processor %.2f s, %.0f µs each", buggy, len(times), last.Seconds(),
				float64(len(times))/last.Seconds(), used.Seconds(), used.Seconds()*1e6/float64(len(times)))
			if !buggy {
				p.stop()
				continue
			}
			var all []durango.Quarantine
			for len(all) < n/100 {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
					t.Fatalf("%d of %d are quarantined", len(all), n/100)
				}
				all = all[:0]
				for q, err := range p.rt.Client().Quarantines(ctx, durango.QuarantineFilter{}) {
					assert.NoError(t, err)
					all = append(all, q)
				}
			}
			assert.Equal(t, p.rt.QuarantineStats().Instances, int64(n/100))
			for _, q := range all {
				assert.Equal(t, q.Fingerprint, all[0].Fingerprint)
				assert.Equal(t, q.Kind, "panic")
			}
			t.Logf("%d in quarantine after %.2f s: %s", len(all), time.Since(begun).Seconds(), all[0].Fingerprint)
			p.stop()
			fixed := startPercent(t, store, n, false)
			begun = time.Now()
			released, err := fixed.rt.Client().RetryAll(ctx, durango.QuarantineFilter{Fingerprint: all[0].Fingerprint})
			assert.NoError(t, err)
			assert.Equal(t, released, n/100)
			fixed.finish(ctx, runs, begun, func(i int) bool { return !well(i) })
			t.Logf("%d released and done in %.2f s", released, time.Since(begun).Seconds())
			fixed.stop()
			s, err := store.Stats(ctx)
			assert.NoError(t, err)
			assert.Equal(t, s.UnreadMail+s.TaskHeld+s.TaskWaiting, int64(0), "left over")
		}
	}
}
