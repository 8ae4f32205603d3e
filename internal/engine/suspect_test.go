package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// mill is a row of processes of which each begins when the one before has
// ended, on one store. Its activity "kills" ends the process that runs it.
type mill struct {
	t      *testing.T
	store  *memory.Store
	o      Options
	codes  codeMap
	killed int           // processes
	end    chan struct{} // closed when the test is over
	fixed  atomic.Bool   // "kills" does not

	mu    sync.Mutex
	apart int // attempts that were noted to run apart
	most  int // of them at once
}

func newMill(t *testing.T) *mill {
	m := &mill{t: t, store: memory.Open(), end: make(chan struct{})}
	m.o = Options{TurnTimeout: time.Hour, DrainTimeout: time.Millisecond}
	m.codes = codeMap{"kills": one("kills", nil), "works": one("works", nil)}
	return m
}

// run runs one process until it has been ended, or done says so. It reports
// which.
func (m *mill) run(done func() bool) (ended bool) {
	m.t.Helper()
	tap := tapped()
	tap.Store = m.store
	var dead atomic.Bool
	live := func() {
		if dead.Load() {
			<-m.end // a process that has ended does nothing
		}
	}
	trials := map[provider.TaskRef]bool{}
	tap.onExtend = func(batch []provider.TaskBeat, do func() ([]bool, error)) ([]bool, error) {
		live()
		m.mu.Lock()
		for i := range batch {
			e, err := history.DecodeMessage(batch[i].Failure)
			switch {
			case batch[i].Failure == nil || err != nil:
			case strings.Contains(e.Text, `"apart"`):
				trials[batch[i].TaskRef] = true
				m.apart++
			case strings.Contains(e.Text, `"beside"`):
				delete(trials, batch[i].TaskRef)
			}
		}
		m.most = max(m.most, len(trials))
		m.mu.Unlock()
		return do()
	}
	tap.onFinish = func(batch []provider.TaskFinish, do func() ([]error, error)) ([]error, error) {
		live()
		errs, err := do()
		m.mu.Lock()
		defer m.mu.Unlock()
		for i := range batch {
			delete(trials, batch[i].TaskRef)
		}
		return errs, err
	}
	works := func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
		live()
		time.Sleep(time.Millisecond)
		live()
		return a.Input, nil
	}
	kills := func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
		live()
		if m.fixed.Load() {
			return []byte("at last"), nil
		}
		dead.Store(true)
		tap.kill()
		<-m.end
		return nil, nil
	}
	n := start(m.t, tap, m.o, m.codes, actMap{"works": works, "kills": kills})
	for range 100_000 {
		if done() {
			_ = n.stop()
			return false
		}
		if dead.Load() {
			m.killed++
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.t.Fatal("nothing happens")
	return false
}

func (m *mill) quarantined(target provider.Target) func() bool {
	return func() bool { return rowOf(m.t, m.store, target).Status == provider.Quarantined }
}

// DESIGN 8.6: "Tasks … that crash their worker … are quarantined the same way
// and never block what is behind them", and "No innocents": an activity that
// ends whatever process runs it runs beside 63 others. Its instance is
// quarantined after five such ends of attempts that ran apart, and the work of
// the others is done.
func TestATaskThatEndsItsProcessIsQuarantinedAndNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMill(t)
		defer close(m.end)
		client := NewClient(m.store, 0)
		var killer provider.Target
		var others []provider.Target
		for i := range 64 {
			if i == 20 {
				killer = begin(t, client, "kills", "killer", []byte("k"))
			} else {
				others = append(others, begin(t, client, "works", fmt.Sprint("other", i), []byte(fmt.Sprint(i))))
			}
		}
		for m.run(m.quarantined(killer)) {
			assert.True(t, m.killed <= 8, "%d processes", m.killed)
		}
		assert.Equal(t, m.killed, 7, "two of them might have been ended by anybody")
		assert.False(t, m.run(func() bool {
			for _, o := range others {
				if rowOf(t, m.store, o).Status != provider.Completed {
					return false
				}
			}
			return true
		}))
		row := rowOf(t, m.store, killer)
		f := provider.ParseTurnFailure(row.TurnFailure)
		assert.Equal(t, f.Fingerprint(), "worker-lost kills")
		assert.Equal(t, f.Count, int64(5))
		assert.Equal(t, m.most, 1, "suspects at once")
		assert.True(t, m.apart > 5, "%d attempts ran apart: the others were suspects, too", m.apart)
		assert.True(t, row.Unread(), "the answer is kept for when it is let go")
	})
}

// lose takes every task that can be claimed n times to nodes that die.
func lose(t *testing.T, store *memory.Store, n int, names ...string) {
	t.Helper()
	for range n {
		node, err := store.Join(t.Context(), provider.NodeInfo{})
		assert.NoError(t, err)
		claim := provider.TaskClaim{Node: node, Limit: 1000}
		for _, name := range names {
			claim.Filters = append(claim.Filters, provider.TaskFilter{Name: name})
		}
		reply, err := store.ClaimTasks(t.Context(), claim)
		assert.NoError(t, err)
		assert.True(t, len(reply.Tasks) > 0, "no tasks")
		_, err = store.Bury(t.Context(), provider.Burial{Node: node, Force: true})
		assert.NoError(t, err)
	}
}

// queue leaves instances of one task each in the store, with the tasks in the
// queue and nobody who holds them.
func queue(t *testing.T, store *memory.Store, name string, n int, policy *history.Policy) (targets []provider.Target) {
	t.Helper()
	client := NewClient(store, 0)
	node := start(t, store, Options{}, codeMap{name: one(name, policy)}, nil)
	for i := range n {
		target := begin(t, client, name, fmt.Sprint(name, i), []byte(fmt.Sprint(i)))
		until(t, "its task", func() bool {
			tasks, err := store.Tasks(t.Context(), rowOf(t, store, target).Key)
			assert.NoError(t, err)
			return len(tasks) == 1
		})
		targets = append(targets, target)
	}
	assert.NoError(t, node.stop())
	return targets
}

func one(name string, policy *history.Policy) replay.Code {
	return func(m *replay.Machine, e *history.Event) history.Event {
		return completed(collect(m, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: name, Payload: e.Payload, Policy: policy})))
	}
}

// A suspect that takes long lets the others run beside it, after a while that is
// longer the more often it was lost.
func TestALongTrialLetsOthersRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		targets := queue(t, store, "long", 3, nil)
		lose(t, store, 3, "long")
		begun := make(chan time.Time, 3)
		end := make(chan struct{})
		defer close(end)
		act := func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			begun <- time.Now()
			select {
			case <-end:
			case <-ctx.Done():
			}
			return a.Input, nil
		}
		lease := 10 * time.Second
		n := start(t, store, Options{Lease: lease, DrainTimeout: time.Millisecond}, codeMap{"long": one("long", nil)}, actMap{"long": act})
		first := <-begun
		for i := range 2 {
			pause := (<-begun).Sub(first)
			assert.True(t, pause >= time.Duration(i+1)*2*lease && pause < time.Duration(i+1)*2*lease+time.Second, "%d: %v", i, pause)
		}
		states := map[string]int{}
		for _, target := range targets {
			tasks, err := store.Tasks(t.Context(), target.Key)
			assert.NoError(t, err)
			e, err := history.DecodeMessage(tasks[0].Failure)
			assert.NoError(t, err)
			for _, state := range []string{waited, apart, beside} {
				if strings.Contains(e.Text, `"`+state+`"`) {
					states[state]++
				}
			}
		}
		assert.Equal(t, states, map[string]int{beside: 2, apart: 1})
		// A clean end gives the attempt back: it counts for nothing.
		assert.NoError(t, n.stop())
		for _, target := range targets {
			tasks, err := store.Tasks(t.Context(), target.Key)
			assert.NoError(t, err)
			tasks[0].Attempt++
			p, _ := pastOf(&tasks[0])
			assert.Equal(t, p, past{Attempt: 3, Lost: 3})
		}
	})
}

// Once others run beside it, the end of a process may be the work of any of them:
// however often that happens to a task that takes long, it is not counted.
func TestWhatEndsBesideOthersIsNotCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		target := queue(t, store, "long", 1, nil)[0]
		lose(t, store, 2, "long")
		end := make(chan struct{})
		defer close(end)
		o := Options{Lease: time.Second, DrainTimeout: time.Millisecond, MaxTaskCrashes: 5}
		codes := codeMap{"long": one("long", nil)}
		for i := range 6 {
			tap := tapped()
			tap.Store = store
			others := make(chan struct{}, 1)
			tap.onExtend = func(batch []provider.TaskBeat, do func() ([]bool, error)) ([]bool, error) {
				still, err := do()
				for i := range batch {
					if e, _ := history.DecodeMessage(batch[i].Failure); strings.Contains(e.Text, `"`+beside+`"`) {
						poke(others)
					}
				}
				return still, err
			}
			act := func(context.Context, *Attempt) ([]byte, *history.Failure) {
				<-end
				return nil, nil
			}
			start(t, tap, o, codes, actMap{"long": act})
			select {
			case <-others:
			case <-time.After(time.Hour):
				t.Fatalf("process %d: no others are let run: %+v", i, rowOf(t, store, target))
			}
			tap.kill()
		}
		start(t, store, o, codes, actMap{"long": echo})
		assert.Equal(t, string(within(t, time.Hour, store, target).Payload), "0")
	})
}

// An attempt that waited for its turn, and never ran, is not held against the
// task: neither by its policy nor by the count of what was lost.
func TestAnAttemptThatWaitedIsNotHeldAgainstTheTask(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		policy := &history.Policy{MaxAttempts: 3}
		targets := queue(t, store, "work", 2, policy)
		lose(t, store, 2, "work")
		release := make(chan struct{})
		tap := tapped()
		tap.Store = store
		ran := make(chan string, 10)
		act := func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			ran <- string(a.Input)
			<-release
			return a.Input, nil
		}
		codes := codeMap{"work": one("work", policy)}
		start(t, tap, Options{DrainTimeout: time.Millisecond}, codes, actMap{"work": act})
		first := <-ran
		synctest.Wait()
		tap.kill() // the other waits
		close(release)
		start(t, store, Options{DrainTimeout: time.Millisecond}, codes, actMap{"work": act})
		results := map[string]int{}
		for _, target := range targets {
			e := within(t, time.Hour, store, target)
			if out := string(e.Payload); strings.HasPrefix(out, "!") {
				results["lost"]++
				assert.Contains(t, out, "3 of 3 attempts")
			} else {
				results["done"]++
				assert.False(t, out == first, "it had no attempt left")
			}
		}
		assert.Equal(t, results, map[string]int{"lost": 1, "done": 1})
	})
}

// A task and an instance that are suspects do not run at the same time either.
func TestTasksAndInstancesAreTriedOneAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		tasks := queue(t, store, "work", 1, nil)
		lose(t, store, 2, "work")
		target := begin(t, NewClient(store, 0), "code", "code", nil)
		release, begun := make(chan struct{}), make(chan struct{})
		act := func(context.Context, *Attempt) ([]byte, *history.Failure) {
			close(begun)
			<-release
			return []byte("task"), nil
		}
		code := func(*replay.Machine, *history.Event) history.Event { return completed("instance") }
		codes := codeMap{"work": one("work", nil), "code": code}
		tap := tapped()
		tap.Store = store
		tap.noClaims.Store(true)
		o := Options{Lease: time.Minute, DrainTimeout: time.Millisecond}
		start(t, tap, o, codes, actMap{"work": act})
		<-begun
		for range 2 { // nodes that die with it
			node, err := store.Join(t.Context(), provider.NodeInfo{})
			assert.NoError(t, err)
			_, err = store.Claim(t.Context(), provider.ClaimRequest{Node: node, Definitions: []provider.Definition{{Name: "code"}}, Limit: 1})
			assert.NoError(t, err)
			_, err = store.Bury(t.Context(), provider.Burial{Node: node, Force: true})
			assert.NoError(t, err)
		}
		tap.noClaims.Store(false)
		time.Sleep(30 * time.Second)
		assert.Equal(t, rowOf(t, store, target).Status, provider.Pending, "it waits for the task")
		assert.True(t, rowOf(t, store, target).Owner != 0, "claimed")
		close(release)
		assert.Equal(t, string(within(t, time.Second, store, target).Payload), "instance")
		assert.Equal(t, string(within(t, time.Second, store, tasks[0]).Payload), "task")
	})
}

// An attempt that is to be finished from outside is under suspicion for as long
// as its function runs.
func TestAParkedAttemptMayEndItsProcess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		targets := queue(t, store, "parks", 1, nil)
		lose(t, store, 2, "parks")
		end := make(chan struct{})
		defer close(end)
		processes := 0
		for rowOf(t, store, targets[0]).Status != provider.Quarantined {
			if processes++; processes > 6 {
				t.Fatal("it goes on for ever")
			}
			tap := tapped()
			tap.Store = store
			var dead atomic.Bool
			act := func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
				_, err := a.Park(ctx)
				assert.NoError(t, err)
				tap.kill()
				dead.Store(true)
				<-end
				return nil, nil
			}
			start(t, tap, Options{Lease: 3 * time.Second, DrainTimeout: time.Millisecond}, codeMap{"parks": one("parks", nil)}, actMap{"parks": act})
			until(t, "its end", func() bool { return dead.Load() || rowOf(t, store, targets[0]).Status == provider.Quarantined })
		}
		assert.Equal(t, processes, 6, "five, and one that quarantined it")
		assert.Equal(t, provider.ParseTurnFailure(rowOf(t, store, targets[0]).TurnFailure).Count, int64(5))
	})
}
