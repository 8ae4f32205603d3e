package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango"
)

// callers is how many goroutines call the client where many instances are
// started or signaled at once.
const callers = 64

// forAll calls f for 0 to n-1 from several goroutines.
func forAll(n int, f func(i int) error) error {
	var (
		next   atomic.Int64
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed error
	)
	for range min(n, callers) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return failed
}

// levels tells how far each of many instances has come. Their code reports it
// while it runs, which replay would repeat, so only a new level counts.
type levels struct {
	at    []atomic.Int64
	total atomic.Int64
	mu    sync.Mutex
	wants atomic.Int64
	there chan struct{}
}

func newLevels(n int) *levels { return &levels{at: make([]atomic.Int64, n)} }

// reach reports that instance i has come to a level, counted from 1.
func (l *levels) reach(i int, level int64) {
	if l.at[i].Load() >= level {
		return
	}
	l.at[i].Store(level)
	if l.total.Add(1) >= l.wants.Load() {
		l.mu.Lock()
		if l.there != nil && l.total.Load() >= l.wants.Load() {
			close(l.there)
			l.there = nil
		}
		l.mu.Unlock()
	}
}

// await waits until total levels have been reached.
func (l *levels) await(ctx context.Context, total int64) error {
	l.mu.Lock()
	l.wants.Store(total)
	if l.total.Load() >= total {
		l.mu.Unlock()
		return nil
	}
	there := make(chan struct{})
	l.there = there
	l.mu.Unlock()
	select {
	case <-there:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d of %d steps done: %w", l.total.Load(), total, ctx.Err())
	}
}

var approved = durango.NewSignal[Step]("approved")

// waiting is an orchestration that takes as many signals as its input says and
// then ends. N is the instance's number.
type waiting struct {
	Number  int `json:"number"`
	Signals int `json:"signals"`
}

var waitFlow = durango.NewOrchestration[waiting, int]("wait")

// bindWait binds waitFlow so that it reports its progress to l: level 1 before
// the first signal, one more with each. entries counts how often the code
// began, which is once an instance and once a rebuild.
func bindWait(l *levels, entries *atomic.Int64) durango.Registrable {
	return waitFlow.Bind(func(ctx *durango.Context, w waiting) (int, error) {
		entries.Add(1)
		sum := 0
		l.reach(w.Number, 1)
		for i := range w.Signals {
			s, err := approved.Next(ctx).Await(ctx)
			if err != nil {
				return 0, err
			}
			sum += s.N
			l.reach(w.Number, int64(i)+2)
		}
		return sum, nil
	})
}

func waitID(i int) string { return fmt.Sprintf("order-%06d", i) }

// park starts n instances and returns once the store has each of them waiting.
func park(e *env, c *durango.Client, l *levels, n, signals int) ([]*durango.Run[int], error) {
	runs := make([]*durango.Run[int], n)
	err := forAll(n, func(i int) (err error) {
		runs[i], err = waitFlow.Start(e, c, waitID(i), waiting{Number: i, Signals: signals})
		return err
	})
	if err == nil {
		err = l.await(e, int64(n))
	}
	if err != nil {
		return nil, err
	}
	// The code has come to its wait; the turn that says so is being committed.
	return runs, forAll(n, func(i int) error {
		for {
			info, err := runs[i].Status(e)
			if err != nil || info.Turns > 0 {
				return err
			}
			pause(e, time.Millisecond)
		}
	})
}

// runEvent raises one signal for each waiting instance: from the first send
// until all have ended.
func runEvent(e *env) (*Sample, error) {
	l := newLevels(e.Events)
	var entries, ended atomic.Int64
	defs := []durango.Registrable{bindWait(l, &entries)}
	return e.withNode(durango.Options{}, defs, func(st *store, n *node) (*Sample, error) {
		runs, err := park(e, n.Client(), l, e.Events, 1)
		if err != nil {
			return nil, err
		}
		sent, times := make([]time.Time, e.Events), make([]time.Duration, e.Events)
		m := begin(st, ended.Load)
		var waiters sync.WaitGroup
		failed := make([]error, e.Events)
		for i, run := range runs {
			waiters.Go(func() {
				_, failed[i] = run.Wait(e)
				times[i] = time.Since(m.start)
				ended.Add(1)
			})
		}
		err = forAll(e.Events, func(i int) error {
			sent[i] = time.Now()
			return approved.Send(e, n.Client(), waitID(i), Step{N: i})
		})
		waiters.Wait()
		s := m.end()
		if err = errors.Join(append(failed, err)...); err != nil {
			return nil, err
		}
		for i := range times {
			times[i] -= sent[i].Sub(m.start)
		}
		s.addLatencies(times)
		return s, nil
	})
}

// runEvict has more instances in rotation than the cache holds: every signal
// finds its instance evicted. hot zero leaves the cache at its default, where
// none is.
func runEvict(e *env, hot int) (*Sample, error) {
	l := newLevels(e.EvictInstances)
	var entries atomic.Int64
	defs := []durango.Registrable{bindWait(l, &entries)}
	return e.withNode(durango.Options{MaxHot: hot}, defs, func(st *store, n *node) (*Sample, error) {
		runs, err := park(e, n.Client(), l, e.EvictInstances, e.EvictRounds)
		if err != nil {
			return nil, err
		}
		before := entries.Load()
		m := begin(st, func() int64 { return l.total.Load() - int64(e.EvictInstances) })
		for round := range e.EvictRounds {
			err := forAll(e.EvictInstances, func(i int) error {
				return approved.Send(e, n.Client(), waitID(i), Step{N: round})
			})
			if err == nil {
				err = l.await(e, int64(e.EvictInstances*(round+2)))
			}
			if err != nil {
				return nil, err
			}
		}
		want := e.EvictRounds * (e.EvictRounds - 1) / 2
		err = forAll(len(runs), func(i int) error {
			sum, err := runs[i].Wait(e)
			if err == nil && sum != want {
				err = fmt.Errorf("instance %s: sum of the signals is %d, not %d", runs[i].ID(), sum, want)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		s := m.end()
		s.add("rebuilds_per_step", float64(entries.Load()-before)/float64(s.Steps))
		return s, nil
	})
}

// runTimer has instances that each sleep once, started together. Lateness is
// from the time that was asked for until the code goes on.
func runTimer(e *env) (*Sample, error) {
	late := make([]atomic.Int64, e.Timers)
	var fired atomic.Int64
	sleep := durango.DefineOrchestration("sleep", func(ctx *durango.Context, s Step) (durango.None, error) {
		due := ctx.Now().Add(e.Sleep)
		if err := ctx.Sleep(e.Sleep); err != nil {
			return durango.None{}, err
		}
		// The wall clock may be looked at for what does not come back into
		// the history. A timer that was early would be negative.
		if late[s.N].CompareAndSwap(0, int64(time.Since(due))) {
			fired.Add(1)
		}
		return durango.None{}, nil
	})
	return e.withNode(durango.Options{}, []durango.Registrable{sleep}, func(st *store, n *node) (*Sample, error) {
		runs := make([]*durango.Run[durango.None], e.Timers)
		m := begin(st, fired.Load)
		err := forAll(e.Timers, func(i int) (err error) {
			runs[i], err = sleep.Start(e, n.Client(), waitID(i), Step{N: i})
			return err
		})
		started := time.Since(m.start)
		for i := 0; i < len(runs) && err == nil; i++ {
			_, err = runs[i].Wait(e)
		}
		if err != nil {
			return nil, err
		}
		s := m.end()
		times := make([]time.Duration, e.Timers)
		early := 0
		for i := range late {
			if times[i] = time.Duration(late[i].Load()); times[i] < 0 {
				early++
			}
		}
		if early > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("%d timers fired early", early))
		}
		s.add("started_ms", ms(started))
		s.addTimes("late", times)
		return s, nil
	})
}

// runStart starts instances and waits for none of them. Without a node they
// are only written, as by a client in another process.
func runStart(e *env, withNode bool) (*Sample, error) {
	var started, done atomic.Int64
	start := func(st *store, c *durango.Client) (*Sample, error) {
		times := make([]time.Duration, e.Starts)
		m := begin(st, started.Load)
		err := forAll(e.Starts, func(i int) error {
			began := time.Now()
			_, err := seqFlow.Start(e, c, waitID(i), Step{Order: "4711"})
			times[i] = time.Since(began)
			started.Add(1)
			return err
		})
		if err != nil {
			return nil, err
		}
		s := m.end()
		s.addTimes("latency", times)
		return s, nil
	}
	if withNode {
		defs := []durango.Registrable{seqFlow, countedNoop(&done)}
		return e.withNode(durango.Options{}, defs, func(st *store, n *node) (*Sample, error) { return start(st, n.Client()) })
	}
	st, err := e.open()
	if err != nil {
		return nil, err
	}
	s, err := start(st, durango.NewClient(st.Provider))
	return s, errors.Join(err, st.Close())
}
