package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// bury declares a node dead although it lives.
func bury(t *testing.T, store provider.Provider, n *node) provider.NodeKey {
	t.Helper()
	key := n.nodeKey()
	r, err := store.Bury(context.Background(), provider.Burial{Node: key, Force: true})
	assert.NoError(t, err)
	assert.True(t, r.Done)
	return key
}

// DESIGN 6: "A node whose heartbeat finds no row stops its activities, drops
// its caches and joins again under a new key."
func TestANodeThatWasBuriedDropsEverythingAndJoinsAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var r ran
		lost := make(chan error, 2)
		acts := actMap{"slow": func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			if r.note(a); a.Number == 1 {
				<-ctx.Done()
				lost <- context.Cause(ctx)
				return []byte("a result nobody wants"), nil
			}
			return a.Input, nil
		}}
		code := func(m *replay.Machine, started *history.Event) history.Event {
			if string(started.Payload) == "wait" {
				return completed(awaitSignals(m, "n", 1))
			}
			return completed(collect(m, schedule(m, "slow", "s")))
		}
		n := start(t, store, Options{}, codeMap{"o": code}, acts)
		n.waitMember(t)
		waiting := begin(t, n.Client(), "o", "waiting", []byte("wait"))
		working := begin(t, n.Client(), "o", "working", []byte("work"))
		until(t, "the activity", func() bool { return len(r.of("s")) == 1 })
		old := bury(t, store, n)
		assert.ErrorIs(t, <-lost, ErrTaskLost)
		until(t, "a new key", func() bool { return n.nodeKey() != 0 && n.nodeKey() != old })
		assert.Equal(t, n.Metrics().Abandonments, int64(1))

		// What sleeps stays unowned, and unknown to the node, until it has mail.
		assert.Equal(t, rowOf(t, store, waiting).Owner, provider.NodeKey(0))
		assert.True(t, n.lookup(waiting.Key) == nil, "dropped")
		signal(t, n.Client(), "waiting", "n", "hello")
		assert.Equal(t, string(within(t, 5*time.Second, store, waiting).Payload), "hello")
		assert.Equal(t, string(within(t, 5*time.Second, store, working).Payload), "s")
		assert.Equal(t, r.of("s"), []int64{1, 2})
	})
}

// A commit whose node was buried while it was repeated is given up; it is not
// made under the key that the node gets next, on top of what its other self
// may have done since.
func TestACommitIsNeverMadeUnderAnotherKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var down atomic.Bool
		store.onCommit = func(_ provider.NodeKey, _ []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
			if down.Load() {
				return nil, provider.ErrTransient
			}
			return do()
		}
		gates := map[string]chan struct{}{"x": make(chan struct{}), "y": make(chan struct{})}
		var r ran
		acts := actMap{"echo": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
			r.note(a)
			<-gates[a.Instance]
			return []byte(fmt.Sprint(a.Input[0]-'0', ".", a.Number, " ")), nil
		}}
		n := start(t, store, Options{}, codeMap{"seq": sequence(2)}, acts)
		n.waitMember(t)
		x, y := begin(t, n.Client(), "seq", "x", nil), begin(t, n.Client(), "seq", "y", nil)
		until(t, "the activities", func() bool { return len(r.of("0")) == 2 })
		down.Store(true)
		close(gates["x"])
		until(t, "the commit", func() bool { return len(store.of(x.Key)) > 0 })
		close(gates["y"]) // its commit waits behind that of x
		synctest.Wait()
		old := bury(t, store, n)
		until(t, "claims under the new key", func() bool { return rowOf(t, store, x).Owner != 0 && rowOf(t, store, y).Owner != 0 })
		down.Store(false)
		for _, target := range []provider.Target{x, y} {
			assert.Equal(t, string(within(t, 5*time.Second, store, target).Payload), "0.2 1.1 ")
			for _, c := range store.of(target.Key) {
				if c.Turn != nil && c.err == nil {
					assert.NotEqual(t, c.node, old)
				}
			}
			checkHistory(t, store.Store, target)
		}
		assert.Equal(t, n.Metrics().Conflicts, int64(0), "nothing wrote behind the back of the new owner")
		until(t, "every place is free", func() bool { return n.workers.present.Load() == 0 })
	})
}

// A commit may be the first to find that its node was buried, or may have been
// made just before. Neither is a turn failure, and neither keeps the places of
// the tasks that do not begin.
func TestACommitAroundTheBurial(t *testing.T) {
	for name, before := range map[string]bool{"made before": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := tapped()
				var slow atomic.Bool
				made, reply := make(chan bool, 1), make(chan bool)
				store.onCommit = func(_ provider.NodeKey, _ []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
					r, err := do()
					if slow.CompareAndSwap(true, false) {
						made <- true
						<-reply
					}
					return r, err
				}
				var r ran
				gate := make(chan struct{})
				acts := actMap{"echo": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
					r.note(a)
					<-gate
					return a.Input, nil
				}}
				n := start(t, store, Options{}, codeMap{"seq": sequence(3)}, acts)
				n.waitMember(t)
				target := begin(t, n.Client(), "seq", "x", nil)
				until(t, "the activity", func() bool { return len(r.of("0")) == 1 })
				slow.Store(before)
				if before {
					close(gate)
					<-made
					old := bury(t, store, n)
					until(t, "a new key", func() bool { return n.nodeKey() != 0 && n.nodeKey() != old })
					close(reply)
				} else {
					store.noClaims.Store(true)
					bury(t, store, n)
					close(gate)
					synctest.Wait()
					assert.Equal(t, n.Metrics().Abandonments, int64(1), "the commit found out")
					store.noClaims.Store(false)
				}
				assert.Equal(t, string(within(t, 10*time.Second, store, target).Payload), "012")
				checkHistory(t, store.Store, target)
				assert.Equal(t, n.Metrics().TurnFailures, int64(0))
				until(t, "every place is free", func() bool { return n.workers.present.Load() == 0 })
			})
		})
	}
}

// What a buried node took from the queue is canceled too.
func TestANodeThatWasBuriedCancelsWhatItHolds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		begun, lost := make(chan bool, 2), make(chan error, 2)
		slow := func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			if begun <- true; a.Number == 1 {
				<-ctx.Done()
				lost <- context.Cause(ctx)
				return []byte("a result nobody wants"), nil
			}
			return []byte(fmt.Sprint(a.Number)), nil
		}
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			return completed(collect(m, schedule(m, "slow", "s")))
		}
		start(t, store, Options{}, codeMap{"o": code}, nil)
		worker := start(t, store, Options{}, nil, actMap{"slow": slow})
		worker.waitMember(t)
		target := begin(t, NewClient(store, 0), "o", "x", nil)
		<-begun
		bury(t, store, worker)
		assert.ErrorIs(t, <-lost, ErrTaskLost)
		assert.Equal(t, string(within(t, 10*time.Second, store, target).Payload), "2")
	})
}

// A start that is under way when its node loses its membership is not lost:
// the instance is created, and whoever comes first runs it.
func TestAStartSurvivesTheLossOfMembership(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		begun, gate := make(chan struct{}, 10), make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		defer open()
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			begun <- struct{}{}
			<-gate
			return completed(collect(m, schedule(m, "echo", "x")))
		}
		// One place for turns: the first start is in its turn, the second
		// before it.
		n := start(t, store, Options{MaxTurns: 1}, codeMap{"o": code}, actMap{"echo": echo})
		n.waitMember(t)
		started := make(chan error, 2)
		for i := range 2 {
			go func() {
				ev := history.Event{Kind: history.Started, Name: "o"}
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				r, err := n.Client().Start(ctx, provider.NewInstance{ID: fmt.Sprint(i), Name: "o", Start: history.AppendMessage(nil, &ev)})
				started <- errors.Join(err, r.Err)
			}()
		}
		<-begun
		synctest.Wait()
		old := bury(t, store, n)
		until(t, "a new key", func() bool { return n.nodeKey() != 0 && n.nodeKey() != old })
		open()
		assert.NoError(t, <-started)
		assert.NoError(t, <-started)
		for i := range 2 {
			assert.Equal(t, string(within(t, time.Minute, store, provider.Target{ID: fmt.Sprint(i)}).Payload), "x")
		}
	})
}

// A start whose first turn does not end before its node has to leave is
// created for others.
func TestAStartSurvivesAShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		begun, gate := make(chan struct{}, 10), make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		defer open()
		code := func(*replay.Machine, *history.Event) history.Event {
			begun <- struct{}{}
			<-gate
			return completed("done")
		}
		n := start(t, store, Options{DrainTimeout: time.Second}, codeMap{"o": code}, nil)
		n.waitMember(t)
		started := make(chan error, 1)
		go func() {
			ev := history.Event{Kind: history.Started, Name: "o"}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			r, err := n.Client().Start(ctx, provider.NewInstance{ID: "x", Name: "o", Start: history.AppendMessage(nil, &ev)})
			started <- errors.Join(err, r.Err)
		}()
		<-begun
		assert.NoError(t, n.stop())
		assert.NoError(t, <-started)
		open()
		start(t, store, Options{}, codeMap{"o": code}, nil)
		assert.Equal(t, string(within(t, time.Minute, store, provider.Target{ID: "x"}).Payload), "done")
	})
}

// DESIGN 6: "a node is declared dead by an observer that saw the same beat for
// a whole lease … with no store error … in between."
func TestAnObserverThatCannotSeeKillsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		other := tapped()
		other.Store = store.Store
		hung := make(chan struct{})
		a := start(t, store, Options{Lease: 5 * time.Second}, nil, nil)
		b := start(t, other, Options{Lease: 5 * time.Second}, nil, nil)
		a.waitMember(t)
		b.waitMember(t)
		time.Sleep(2 * time.Second)

		// Both are cut off for longer than a lease; b finds its way back first.
		for _, p := range []*tap{store, other} {
			p.line.mu.Lock()
			p.line.held = hung
			p.line.mu.Unlock()
		}
		time.Sleep(30 * time.Second)
		other.line.mu.Lock()
		other.line.held = nil
		other.line.mu.Unlock()
		close(hung)
		store.line.mu.Lock()
		store.line.held = nil
		store.line.mu.Unlock()
		time.Sleep(30 * time.Second)
		assert.Equal(t, a.Metrics().Buried+b.Metrics().Buried, int64(0))
		assert.Equal(t, a.Metrics().Abandonments+b.Metrics().Abandonments, int64(0))

		// One that is gone is declared dead after a lease, and not before.
		store.kill()
		time.Sleep(3500 * time.Millisecond)
		assert.Equal(t, b.Metrics().Buried, int64(0))
		time.Sleep(4 * time.Second)
		assert.Equal(t, b.Metrics().Buried, int64(1))
	})
}

// DESIGN 6: "Heartbeats stop when the dispatcher or the committer stops making
// progress", so that others take over.
func TestANodeWhoseCommitsHangIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		hang := make(chan struct{})
		var hanging atomic.Bool
		store.onCommit = func(_ provider.NodeKey, _ []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
			if hanging.Load() {
				<-hang
			}
			return do()
		}
		other := tapped()
		other.Store = store.Store
		o := Options{Lease: 5 * time.Second}
		a := start(t, store, o, codeMap{"seq": sequence(3)}, actMap{"echo": echo})
		a.waitMember(t)
		start(t, other, o, codeMap{"seq": sequence(3)}, actMap{"echo": echo})
		hanging.Store(true)
		target := begin(t, a.Client(), "seq", "x", nil)
		assert.Equal(t, string(within(t, 30*time.Second, store, target).Payload), "012")
		turns := rowOf(t, store, target).NextTurn
		hanging.Store(false)
		close(hang)
		synctest.Wait()
		assert.Equal(t, rowOf(t, store, target).NextTurn, turns, "what comes late writes nothing")
		checkHistory(t, store.Store, target)
		until(t, "a joins again", func() bool { return a.Metrics().Abandonments == 1 && a.member() })
	})
}
