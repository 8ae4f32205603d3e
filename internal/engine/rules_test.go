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

// DESIGN 4: "Nothing emitted by a turn has any effect before its commit
// returns", and none at all if it is refused.
func TestNothingHappensBeforeTheCommitReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var r ran
		var slow, refusing atomic.Bool
		slow.Store(true)
		store.onCreate = func(_ []provider.NewInstance, do func() ([]provider.CreateResult, error)) ([]provider.CreateResult, error) {
			res, err := do()
			for slow.Load() {
				time.Sleep(time.Second)
			}
			return res, err
		}
		store.onCommit = func(_ provider.NodeKey, batch []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
			if refusing.Load() && batch[0].Turn != nil {
				return nil, errors.New("refused")
			}
			res, err := do()
			for slow.Load() {
				time.Sleep(time.Second)
			}
			return res, err
		}
		gate := make(chan struct{})
		acts := actMap{"echo": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
			if r.note(a); string(a.Input) == "1" {
				<-gate
			}
			return a.Input, nil
		}}
		n := start(t, store, Options{}, codeMap{"seq": sequence(4)}, acts)
		n.waitMember(t)
		started := make(chan provider.Target, 1)
		go func() { started <- begin(t, n.Client(), "seq", "x", nil) }()
		time.Sleep(time.Minute)
		assert.Equal(t, len(r.of("0")), 0, "before the creation returned")
		slow.Store(false)
		target := <-started
		until(t, "the second activity", func() bool { return len(r.of("1")) == 1 })
		slow.Store(true)
		close(gate)
		time.Sleep(time.Minute)
		assert.Equal(t, len(r.of("2")), 0, "before the commit returned")
		refusing.Store(true)
		slow.Store(false)
		failure(t, store, target, "refused")
		assert.Equal(t, len(r.of("3")), 0, "of a commit that was refused")
		refusing.Store(false)
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "0123")
		for _, input := range []string{"0", "1", "2", "3"} {
			assert.Equal(t, r.of(input), []int64{1}, "%s", input)
		}
		until(t, "every place is free", func() bool { return n.workers.present.Load() == 0 })
	})
}

// DESIGN 6, rule 2: "a cached execution is valid only if it and the execution
// number match."
func TestRule02AHotCopyOfAnotherTurnIsNotUsed(t *testing.T) {
	for name, again := range map[string]bool{"same execution": false, "another execution": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				first, second := tapped(), tapped()
				second.Store = first.Store
				code := func(m *replay.Machine, started *history.Event) history.Event {
					if again && started.Seq == 1 {
						return history.Event{Kind: history.ContinuedAsNew, Payload: []byte(awaitSignals(m, "n", 1))}
					}
					return completed(string(started.Payload) + awaitSignals(m, "n", 3-int(started.Seq)))
				}
				o := Options{IdleRelease: 50 * time.Millisecond}
				a := start(t, first, o, codeMap{"o": code}, nil)
				a.waitMember(t)
				target := begin(t, a.Client(), "o", "x", nil)
				until(t, "release", func() bool { return rowOf(t, first, target).Owner == 0 })
				assert.Equal(t, a.Metrics().Hot, int64(1))
				first.noClaims.Store(true)
				b := start(t, second, o, codeMap{"o": code}, nil)
				signal(t, NewClient(first, 0), "x", "n", "1")
				until(t, "b's turn", func() bool { row := rowOf(t, first, target); return row.NextTurn > 2 && row.Owner == 0 })
				assert.NoError(t, b.stop())
				first.noClaims.Store(false)
				signal(t, NewClient(first, 0), "x", "n", "2")
				assert.Equal(t, string(within(t, 5*time.Second, first, target).Payload), "12")
				m := a.Metrics()
				assert.True(t, m.Conflicts == 0 && m.TurnFailures == 0, m)
			})
		})
	}
}

// Rule 2, where the claim is for a timer, and no mail has to be read.
func TestRule02AHotCopyIsNotUsedForAnotherTurnsTimer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := tapped(), tapped()
		second.Store = first.Store
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			timer := m.Emit(history.Event{Kind: history.TimerSet, Time: m.Now() + int64(time.Minute)})
			out := awaitSignals(m, "n", 1)
			m.Wait(timer)
			return completed(out)
		}
		o := Options{IdleRelease: 15 * time.Second}
		a := start(t, first, o, codeMap{"o": code}, nil)
		a.waitMember(t)
		target := begin(t, a.Client(), "o", "x", nil)
		until(t, "release", func() bool { return rowOf(t, first, target).Owner == 0 && a.Metrics().Hot == 1 })
		first.noClaims.Store(true)
		b := start(t, second, o, codeMap{"o": code}, nil)
		signal(t, NewClient(first, 0), "x", "n", "1")
		until(t, "b's turn", func() bool { row := rowOf(t, first, target); return row.NextTurn == 3 && row.Owner == 0 })
		assert.NoError(t, b.stop())
		first.noClaims.Store(false)
		assert.Equal(t, string(within(t, 62*time.Second, first, target).Payload), "1")
		m := a.Metrics()
		assert.True(t, m.Conflicts == 0 && m.TurnFailures == 0, m)
	})
}

// DESIGN 6, rule 3: "After an unknown outcome … the node resolves it before
// anything else on that instance …; until then it may resubmit only the
// identical turn."
func TestRule03OnlyTheIdenticalCommitIsResubmitted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var calls atomic.Int64
		store.onCommit = func(_ provider.NodeKey, _ []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
			switch calls.Add(1) % 4 {
			case 1: // the request is lost
				return nil, provider.ErrUnknownOutcome
			case 2: // the reply is lost
				_, err := do()
				return nil, errors.Join(err, provider.ErrUnknownOutcome)
			case 3:
				return nil, provider.ErrTransient
			}
			return do()
		}
		n := start(t, store, Options{}, clusterPrograms, actMap{"echo": slowEcho, "flaky": flakyEcho})
		n.waitMember(t)
		targets := map[provider.Target]string{}
		for i, kind := range []string{"chain", "fan", "parent", "retry", "chain", "parent"} {
			id := fmt.Sprint(kind, i)
			targets[begin(t, n.Client(), kind, id, []byte(id))] = kind
		}
		for target, kind := range targets {
			assert.Equal(t, string(within(t, time.Hour, store, target).Payload), clusterWant[kind], kind)
			checkHistory(t, store.Store, target)
		}
		store.mu.Lock()
		defer store.mu.Unlock()
		open := map[provider.Key]*seen{} // whose outcome the node does not know
		repeated := 0
		for i := range store.commits {
			c := &store.commits[i]
			if before := open[c.Key]; before != nil {
				repeated++
				assert.Equal(t, c.Commit, before.Commit, "resubmitted")
			}
			if delete(open, c.Key); c.err != nil {
				open[c.Key] = c
			}
		}
		assert.True(t, repeated > 20 && len(open) == 0, repeated, len(open))
	})
}

// DESIGN 6, rule 3: "Periodically it also compares the rows that carry its key
// with what it holds, and adopts or releases the difference (a claim whose
// reply was lost is otherwise held for ever …)."
func TestRule03ReconciliationAdoptsWhatALostClaimGave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var lost atomic.Int64
		store.onClaim = func(r provider.ClaimReply, err error) (provider.ClaimReply, error) {
			if len(r.Claimed) > 0 && lost.CompareAndSwap(0, int64(len(r.Claimed))) {
				return provider.ClaimReply{}, provider.ErrUnknownOutcome
			}
			return r, err
		}
		target := begin(t, NewClient(store, 0), "seq", "lost", nil)
		n := start(t, store, Options{}, codeMap{"seq": sequence(2)}, actMap{"echo": echo})
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "01")
		assert.Equal(t, lost.Load(), int64(1))
		assert.Equal(t, n.Metrics().Adopted, int64(1))
	})
}

// As above, for a claim of an instance that the node still has hot from an
// earlier ownership, at another turn than the store's.
func TestRule03ReconciliationForgetsAStaleHotCopy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var lose atomic.Bool
		store.onClaim = func(r provider.ClaimReply, err error) (provider.ClaimReply, error) {
			if len(r.Claimed) > 0 && lose.CompareAndSwap(true, false) {
				return provider.ClaimReply{}, provider.ErrUnknownOutcome
			}
			return r, err
		}
		code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 2)) }
		n := start(t, store, Options{IdleRelease: 50 * time.Millisecond}, codeMap{"two": code}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "two", "x", nil)
		until(t, "release", func() bool { return rowOf(t, store, target).Owner == 0 })
		assert.Equal(t, n.Metrics().Hot, int64(1))
		lose.Store(true)
		signal(t, NewClient(store, 0), "x", "n", "1")
		until(t, "the lost claim", func() bool { return !lose.Load() })
		signal(t, NewClient(store, 0), "x", "n", "2")
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "12")
	})
}

// Rule 3, of tasks: one that the node holds and does not know of is given
// back, and its attempt is not counted.
func TestRule03ReconciliationGivesBackAnUnknownTask(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var lost atomic.Int64
		store.onTasks = func(r provider.TaskClaimReply, err error) (provider.TaskClaimReply, error) {
			if len(r.Tasks) > 0 && lost.CompareAndSwap(0, int64(len(r.Tasks))) {
				return provider.TaskClaimReply{}, provider.ErrUnknownOutcome
			}
			return r, err
		}
		var r ran
		noting := func(_ context.Context, a *Attempt) ([]byte, *history.Failure) { r.note(a); return a.Input, nil }
		start(t, store, Options{}, codeMap{"seq": sequence(1)}, nil)
		start(t, store, Options{}, nil, actMap{"echo": noting})
		target := begin(t, NewClient(store, 0), "seq", "x", nil)
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "0")
		assert.Equal(t, lost.Load(), int64(1))
		assert.Equal(t, r.of("0"), []int64{1})
	})
}

// DESIGN 6, rule 4: "An instance with open local tasks or unrecorded local
// results is not released. Drain first turns running local tasks into tasks
// rows, in the releasing transaction."
func TestRule04DrainKeepsWhatIsInMemoryOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var r ran
		finish := make(chan struct{})
		acts := actMap{
			"hang": func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
				if r.note(a); len(r.of(string(a.Input))) > 1 {
					return a.Input, nil
				}
				<-ctx.Done()
				return nil, &history.Failure{Message: "stopped"}
			},
			"quick": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
				r.note(a)
				<-finish
				return a.Input, nil
			},
		}
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			return completed(collect(m, schedule(m, "hang", "h"), schedule(m, "quick", "q")))
		}
		n := start(t, store, Options{IdleRelease: 50 * time.Millisecond}, codeMap{"two": code}, acts)
		n.waitMember(t)
		target := begin(t, n.Client(), "two", "x", nil)
		until(t, "both run", func() bool { return len(r.of("h")) == 1 && len(r.of("q")) == 1 })
		time.Sleep(time.Second) // far beyond IdleRelease
		assert.NotEqual(t, rowOf(t, store, target).Owner, 0, "released with open local tasks")
		assert.Equal(t, rowOf(t, store, target).DueAt, int64(0), "due, should the node die")

		stopped := make(chan error, 1)
		go func() { stopped <- n.stop() }()
		until(t, "draining", n.draining.Load)
		close(finish) // ends during the drain: no turn records it any more
		assert.NoError(t, <-stopped)

		row := rowOf(t, store, target)
		assert.Equal(t, row.Owner, provider.NodeKey(0))
		assert.Equal(t, row.NextTurn, int64(2))
		assert.Equal(t, row.MailboxSeq-row.ReadSeq, int64(1), "the result is mail")
		tasks, err := store.Tasks(t.Context(), target.Key)
		assert.NoError(t, err)
		assert.Equal(t, len(tasks), 1, "a row")
		assert.True(t, tasks[0].Name == "hang" && tasks[0].Attempt == 0 && tasks[0].VisibleAt <= time.Now().UnixNano(), tasks[0])

		start(t, store, Options{}, codeMap{"two": code}, acts)
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "hq")
		assert.Equal(t, r.of("q"), []int64{1}, "recorded, so not run again")
		assert.Equal(t, r.of("h"), []int64{1, 1}, "its attempt was given back")
	})
}

// Rule 4 where a turn fails: the release that records the failure keeps what
// is in memory only.
func TestRule04AFailedTurnKeepsWhatIsInMemoryOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var r ran
		var fixed atomic.Bool
		acts := actMap{"echo": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) { r.note(a); return a.Input, nil }}
		acts["slow"] = func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			r.note(a)
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			return a.Input, nil
		}
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			slow, quick := schedule(m, "slow", "s"), schedule(m, "echo", "q")
			out := collect(m, quick)
			if !fixed.Load() {
				panic("a bug")
			}
			return completed(out + collect(m, slow))
		}
		n := start(t, store, Options{}, codeMap{"two": code}, acts)
		n.waitMember(t)
		target := begin(t, n.Client(), "two", "x", nil)
		failure(t, store, target, "a bug")
		fixed.Store(true)
		assert.Equal(t, string(within(t, 10*time.Minute, store, target).Payload), "qs")
		assert.Equal(t, r.of("q"), []int64{1}, "its result was not lost with the turn")
		for _, number := range r.of("s") {
			assert.Equal(t, number, int64(1), "no attempt of it was lost")
		}
	})
}

// DESIGN 6, rule 5: "Recovery reads open tasks before messages, and looks for a
// completion in the whole unread mailbox by (execution, command), not only in
// the window it will deliver; nothing that has a recorded result is dispatched
// again."
func TestRule05RecoveryQueuesOnlyWhatHasNeitherRowNorAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var r ran
		begun := make(chan struct{})
		remote := func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			r.note(a)
			if a.Input[0] >= '6' { // still runs when the orchestration is recovered
				<-begun
			}
			return a.Input, nil
		}
		local := func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
			if r.note(a); a.Number == 1 {
				<-ctx.Done()
				return nil, &history.Failure{Message: "stopped"}
			}
			return a.Input, nil
		}
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			var ops []*replay.Op
			for i := range 8 {
				ops = append(ops, schedule(m, "remote", fmt.Sprint(i)))
			}
			return completed(collect(m, append(ops, schedule(m, "local", "l"))...))
		}
		o := Options{InboxSize: 1}
		first := tapped()
		first.Store = store.Store
		a := start(t, first, o, codeMap{"many": code}, actMap{"local": local})
		a.waitMember(t)
		target := begin(t, a.Client(), "many", "x", nil)
		assert.Equal(t, rowOf(t, store, target).NextTurn, int64(2))
		until(t, "the local task", func() bool { return len(r.of("l")) == 1 })
		first.kill()
		start(t, store, Options{}, nil, actMap{"remote": remote})
		until(t, "six answers and a burial", func() bool {
			row := rowOf(t, store, target)
			return row.MailboxSeq == 7 && row.Owner == 0
		})
		b := start(t, store, o, codeMap{"many": code}, actMap{"local": local})
		until(t, "recovery", func() bool { return len(r.of("l")) == 2 })
		close(begun)
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "01234567l")
		assert.Equal(t, b.Metrics().Recovered, int64(1), "only the local task was lost")
		for i := range 8 {
			assert.Equal(t, r.of(fmt.Sprint(i)), []int64{1}, "remote %d", i)
		}
		assert.Equal(t, r.of("l"), []int64{1, 2}, "the lost attempt counts")
	})
}

// Rule 5, of a local result that comes while an evicted execution is rebuilt.
func TestRule05AResultThatComesDuringTheRebuildIsNotRunAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var r ran
		gates := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
		open := sync.OnceFunc(func() { close(gates["b"]) })
		act := func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
			r.note(a)
			<-gates[string(a.Input)]
			return a.Input, nil
		}
		code := func(m *replay.Machine, started *history.Event) history.Event {
			if string(started.Payload) == "wait" {
				awaitSignals(m, "n", 1)
			}
			ops := []*replay.Op{schedule(m, "act", "a"), schedule(m, "act", "b")}
			if m.Replaying() {
				open()
				time.Sleep(time.Millisecond) // until b's result is in the inbox
			}
			return completed(collect(m, ops...))
		}
		n := start(t, store, Options{MaxHot: 1}, codeMap{"o": code}, actMap{"act": act})
		n.waitMember(t)
		target := begin(t, n.Client(), "o", "x", nil)
		begin(t, n.Client(), "o", "other", []byte("wait"))
		until(t, "eviction", func() bool { return n.Metrics().Evictions > 0 && len(r.of("b")) == 1 })
		close(gates["a"])
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "ab")
		assert.Equal(t, r.of("a"), []int64{1})
		assert.Equal(t, r.of("b"), []int64{1})
		assert.Equal(t, n.Metrics().Recovered, int64(0))
	})
}

// DESIGN 6, rule 8: "One bad item never fails its group for ever: on a
// non-retryable error the group is retried item by item, and the failing item
// is charged."
func TestRule08OneBadCommitFailsAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var bad atomic.Int64
		var largest atomic.Int64
		store.onCommit = func(_ provider.NodeKey, batch []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
			time.Sleep(time.Millisecond) // so that groups form
			largest.Store(max(largest.Load(), int64(len(batch))))
			for _, c := range batch {
				if int64(c.Key) == bad.Load() && c.Turn != nil {
					return nil, errors.New("a constraint is violated")
				}
			}
			return do()
		}
		gate := make(chan struct{})
		acts := actMap{"echo": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) { <-gate; return a.Input, nil }}
		n := start(t, store, Options{MinBackoff: time.Minute}, codeMap{"seq": sequence(3)}, acts)
		n.waitMember(t)
		var targets []provider.Target
		for i := range 20 {
			targets = append(targets, begin(t, n.Client(), "seq", fmt.Sprint("i", i), nil))
		}
		bad.Store(int64(targets[7].Key))
		close(gate)
		for i, target := range targets {
			if i != 7 {
				assert.Equal(t, string(within(t, 10*time.Second, store, target).Payload), "012")
			}
		}
		row := failure(t, store, targets[7], "a constraint is violated")
		assert.Equal(t, row.Status, provider.Running)
		assert.Equal(t, row.Attempts, int64(1), "the bad one is charged")
		assert.True(t, largest.Load() > 2, "no group formed")
		bad.Store(0)
		assert.Equal(t, string(within(t, 10*time.Minute, store, targets[7]).Payload), "012")
	})
}

// Rule 8, of what clients ask for: who is in one group with a bad call does
// not see its error.
func TestRule08OneBadStartOrSendFailsAlone(t *testing.T) {
	for name, node := range map[string]bool{"client": false, "node": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { badCalls(t, node) })
		})
	}
}

func badCalls(t *testing.T, node bool) {
	store := tapped()
	broken := errors.New("a constraint is violated")
	largest := 0 // one batch at a time
	store.onCreate = func(batch []provider.NewInstance, do func() ([]provider.CreateResult, error)) ([]provider.CreateResult, error) {
		time.Sleep(time.Millisecond)
		largest = max(largest, len(batch))
		for i := range batch {
			if batch[i].ID == "i7" {
				return nil, broken
			}
		}
		return do()
	}
	store.onSend = func(batch []provider.Message, do func() ([]provider.SendResult, error)) ([]provider.SendResult, error) {
		time.Sleep(time.Millisecond)
		largest = max(largest, len(batch))
		for i := range batch {
			if batch[i].ID == "bad" {
				return nil, broken
			}
		}
		return do()
	}
	code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 1)) }
	n := start(t, store, Options{}, codeMap{"one": code}, nil)
	n.waitMember(t)
	c := NewClient(store, 0)
	if node {
		c = n.Client()
	}
	const calls = 20
	errs := make(chan error, calls)
	all := func(call func(i int) error) {
		t.Helper()
		for i := range calls {
			go func() {
				err := call(i)
				if bad := errors.Is(err, broken); bad != (i == 7) || !bad && err != nil {
					err = fmt.Errorf("call %d: %w", i, errors.Join(err, errors.New("wrong fate")))
				} else {
					err = nil
				}
				errs <- err
			}()
		}
		for range calls {
			assert.NoError(t, <-errs)
		}
		assert.True(t, largest > 2, "no group formed")
		largest = 0
	}
	all(func(i int) error {
		id := fmt.Sprint("i", i)
		ev := history.Event{Kind: history.Started, Name: "one"}
		r, err := c.Start(context.Background(), provider.NewInstance{ID: id, Name: "one", Start: history.AppendMessage(nil, &ev)})
		return errors.Join(err, r.Err)
	})
	all(func(i int) error {
		ev := history.Event{Kind: history.SignalReceived, Name: "n", Payload: []byte("x")}
		m := provider.Message{To: provider.Target{ID: fmt.Sprint("i", i)}, Payload: history.AppendMessage(nil, &ev)}
		if i == 7 {
			m.ID = "bad"
		}
		r, err := c.Send(context.Background(), m)
		return errors.Join(err, r.Err)
	})
	for i := range calls {
		if i != 7 {
			within(t, time.Minute, store, provider.Target{ID: fmt.Sprint("i", i)})
		}
	}
}

// DESIGN 6, rule 10: "Unconsumed signals become the first deliveries of the
// next execution; they are not re-sent behind newer mail."
func TestRule10CarriedSignalsComeBeforeNewerMail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		code := func(m *replay.Machine, started *history.Event) history.Event {
			if started.Seq == 1 {
				awaitSignals(m, "go", 1)
				return history.Event{Kind: history.ContinuedAsNew}
			}
			return completed(awaitSignals(m, "n", 5))
		}
		c := NewClient(store, 0)
		target := begin(t, c, "can", "x", nil)
		signal(t, c, "x", "n", "1")
		signal(t, c, "x", "n", "2")
		signal(t, c, "x", "go", "")
		signal(t, c, "x", "n", "3") // beyond the window of the turn that continues as new
		signal(t, c, "x", "n", "4")
		n := start(t, store, Options{InboxSize: 4}, codeMap{"can": code}, nil)
		until(t, "the next execution", func() bool { return rowOf(t, store, target).Execution == 2 })
		signal(t, n.Client(), "x", "n", "5")
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "12345")
		turns, err := store.Turns(t.Context(), target.Key, 1, 10)
		assert.NoError(t, err)
		deliveries, _, err := history.DecodeTurn(turns[1].Events)
		assert.NoError(t, err)
		assert.True(t, deliveries[0].Kind == history.Started && string(deliveries[1].Payload) == "1" && string(deliveries[2].Payload) == "2", deliveries)
	})
}

// DESIGN 6, rule 14: "The watchdog ends ownership of an instance whose turn
// hangs, as a turn failure; its late commit fails by rule 2." And DESIGN 9: "A
// stuck turn … cannot be killed: report it with the goroutine's stack."
func TestRule14TheWatchdogEndsOwnership(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var r ran
		stuck, fixed := make(chan struct{}), atomic.Bool{}
		hung := make(chan struct{}, 10)
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			slow, quick := schedule(m, "slow", "s"), schedule(m, "echo", "q")
			out := collect(m, quick)
			if !fixed.Load() {
				hung <- struct{}{}
				neverYields(stuck)
			}
			return completed(out + collect(m, slow))
		}
		acts := actMap{
			"echo": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) { r.note(a); return a.Input, nil },
			"slow": func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
				r.note(a)
				select {
				case <-time.After(time.Hour):
				case <-ctx.Done():
				}
				return a.Input, nil
			},
		}
		n := start(t, store, Options{TurnTimeout: 100 * time.Millisecond, MaxTurns: 2, MinBackoff: 10 * time.Second},
			codeMap{"stuck": code, "seq": sequence(5)}, acts)
		n.waitMember(t)
		target := begin(t, n.Client(), "stuck", "x", nil)
		<-hung
		other := begin(t, n.Client(), "seq", "during", nil)
		assert.Equal(t, string(within(t, 50*time.Millisecond, store, other).Payload), "01234", "others run meanwhile")
		row := failure(t, store, target, "did not end within 100ms", "neverYields", "rules_test.go")
		assert.Equal(t, row.Owner, provider.NodeKey(0))
		assert.Equal(t, row.Status, provider.Running)
		assert.Equal(t, row.Attempts, int64(1))
		other = begin(t, n.Client(), "seq", "after", nil)
		assert.Equal(t, string(within(t, 50*time.Millisecond, store, other).Payload), "01234", "and afterwards")

		commits := len(store.of(target.Key))
		fixed.Store(true)
		close(stuck) // late
		synctest.Wait()
		assert.Equal(t, rowOf(t, store, target), row, "a late turn writes nothing")
		assert.Equal(t, len(store.of(target.Key)), commits, "and does not try to")
		assert.Equal(t, string(within(t, 2*time.Hour, store, target).Payload), "qs")
		assert.Equal(t, r.of("q")[0], int64(1))
		checkHistory(t, store.Store, target)
		// The instance had a result and a task in memory only.
		assert.Equal(t, len(r.of("s")), 2, "its attempt was given back")
		assert.Equal(t, r.of("s")[1], int64(1))
	})
}

// neverYields has a name that the stack shows.
func neverYields(c chan struct{}) { <-c }

// Rule 14 for a first turn: one that its own node begins before the instance
// exists, and one of an instance that a client created.
func TestRule14AFirstTurnThatHangs(t *testing.T) {
	for name, born := range map[string]bool{"born": true, "claimed": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := tapped()
				stuck, fixed := make(chan struct{}), atomic.Bool{}
				code := func(m *replay.Machine, _ *history.Event) history.Event {
					if !fixed.Load() {
						neverYields(stuck)
					}
					return completed(awaitSignals(m, "n", 1))
				}
				n := start(t, store, Options{TurnTimeout: 100 * time.Millisecond}, codeMap{"stuck": code}, nil)
				n.waitMember(t)
				c := NewClient(store, 0)
				if born {
					c = n.Client()
				}
				target := begin(t, c, "stuck", "x", nil)
				signal(t, c, "x", "n", "kept")
				row := failure(t, store, target, "did not end within 100ms", "neverYields")
				assert.Equal(t, row.Status, provider.Pending)
				fixed.Store(true)
				close(stuck)
				assert.Equal(t, string(within(t, time.Hour, store, target).Payload), "kept")
			})
		})
	}
}

// DESIGN 9: "A stuck turn … cannot be killed: … stop claiming for that slot": a
// node of one slot runs nothing until the turn has returned after all.
func TestRule14AStuckTurnKeepsItsSlot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		stuck, fixed := make(chan struct{}), atomic.Bool{}
		var turns atomic.Int64
		codes := codeMap{
			"stuck": func(*replay.Machine, *history.Event) history.Event {
				if !fixed.Load() {
					neverYields(stuck)
				}
				return completed("at last")
			},
			"quick": func(*replay.Machine, *history.Event) history.Event {
				turns.Add(1)
				return completed("quick")
			},
		}
		n := start(t, store, Options{TurnTimeout: 100 * time.Millisecond, MaxTurns: 1}, codes, nil)
		n.waitMember(t)
		var once sync.Once
		release := func() { once.Do(func() { fixed.Store(true); close(stuck) }) }
		defer release()
		target := begin(t, NewClient(store, 0), "stuck", "x", nil)
		failure(t, store, target, "did not end within 100ms")
		other := begin(t, NewClient(store, 0), "quick", "y", nil)
		time.Sleep(time.Minute)
		assert.Equal(t, turns.Load(), int64(0), "turns beside the one that hangs")
		release()
		assert.Equal(t, string(within(t, time.Minute, store, other).Payload), "quick")
		assert.Equal(t, string(within(t, time.Hour, store, target).Payload), "at last")
	})
}

// DESIGN 6, rule 15: "A failure under a claim already charged is not charged
// again; a release without a turn, and quiescence after a replay, clear the
// charge."
func TestRule15ChargesCountEachFailureOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var fixed atomic.Bool
		code := func(m *replay.Machine, started *history.Event) history.Event {
			if string(started.Payload) == "later" {
				collect(m, schedule(m, "echo", "x"))
			}
			if !fixed.Load() {
				panic("a bug")
			}
			return completed(awaitSignals(m, "n", 1))
		}
		claimed := begin(t, NewClient(store, 0), "buggy", "claimed", []byte("now"))
		n := start(t, store, Options{MinBackoff: 10 * time.Second, IdleRelease: time.Second}, codeMap{"buggy": code}, actMap{"echo": echo})
		n.waitMember(t)
		born := begin(t, n.Client(), "buggy", "born", []byte("later"))

		// A claim and a failure are one attempt; a commit and a failure too.
		failure(t, store, claimed)
		failure(t, store, born)
		assert.Equal(t, rowOf(t, store, claimed).Attempts, int64(1), "claim, failure")
		assert.Equal(t, rowOf(t, store, born).Attempts, int64(1), "commit, failure")
		assert.False(t, last(store.of(claimed.Key)).Charge, "claimed")
		assert.True(t, last(store.of(born.Key)).Charge, "born")

		// And so is every further one; the pause doubles.
		until(t, "second failures", func() bool {
			return rowOf(t, store, claimed).Attempts == 2 && rowOf(t, store, born).Attempts == 2 &&
				rowOf(t, store, claimed).Owner == 0 && rowOf(t, store, born).Owner == 0
		})
		for _, target := range []provider.Target{claimed, born} {
			row := rowOf(t, store, target)
			assert.Equal(t, time.Duration(row.NotBefore-row.FailedAt).Round(time.Second), 20*time.Second, target.ID)
		}

		// A turn clears it, and a release without a turn leaves it cleared.
		fixed.Store(true)
		time.Sleep(20 * time.Second)
		until(t, "release", func() bool {
			return rowOf(t, store, claimed).NextTurn == 2 && rowOf(t, store, claimed).Owner == 0 &&
				rowOf(t, store, born).NextTurn == 3 && rowOf(t, store, born).Owner == 0
		})
		assert.Equal(t, rowOf(t, store, claimed).Attempts, int64(0))
		assert.Equal(t, rowOf(t, store, born).Attempts, int64(0))

		// A claim that finds nothing to do gives its charge back: here for mail
		// that answers nothing.
		before := n.Metrics().Claimed
		ev := history.Event{Kind: history.ActivityCompleted, Ref: 99}
		_, err := store.Send(t.Context(), []provider.Message{{To: claimed, Execution: 1, Command: 99, Payload: history.AppendMessage(nil, &ev)}})
		assert.NoError(t, err)
		until(t, "the claim", func() bool { return n.Metrics().Claimed > before })
		until(t, "quiescence", func() bool { return rowOf(t, store, claimed).Owner == 0 })
		row := rowOf(t, store, claimed)
		assert.True(t, row.Attempts == 0 && row.ReadSeq == row.MailboxSeq && row.NextTurn == 2, row)
	})
}

// A node that claims what it is just releasing, before the commit that releases
// has returned, knows that it owns it.
func TestAClaimDuringTheReleaseIsNotLost(t *testing.T) {
	for name, o := range map[string]Options{"hot": {}, "evicted": {MaxHot: 1}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := tapped()
				released, gate := make(chan struct{}, 1), make(chan struct{})
				var slow atomic.Bool
				store.onCommit = func(_ provider.NodeKey, batch []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
					r, err := do()
					if batch[0].Release && slow.CompareAndSwap(true, false) {
						released <- struct{}{}
						<-gate
					}
					return r, err
				}
				code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 1)) }
				o.IdleRelease = 100 * time.Millisecond
				n := start(t, store, o, codeMap{"o": code}, nil)
				n.waitMember(t)
				target := begin(t, n.Client(), "o", "x", nil)
				if o.MaxHot > 0 {
					begin(t, n.Client(), "o", "other", nil)
				}
				slow.Store(true)
				<-released
				assert.Equal(t, rowOf(t, store, target).Owner, provider.NodeKey(0))
				signal(t, NewClient(store, 0), "x", "n", "hello")
				until(t, "the claim", func() bool { return rowOf(t, store, target).Owner != 0 })
				synctest.Wait()
				close(gate)
				assert.Equal(t, string(within(t, time.Second, store, target).Payload), "hello")
			})
		})
	}
}

// Rule 15: "quiescence after a replay" clears the charge at once, not when the
// node would tire of the instance anyway.
func TestRule15QuiescenceGivesTheClaimBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 1)) }
		n := start(t, store, Options{}, codeMap{"o": code}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "o", "x", nil)
		assert.NoError(t, n.stop())
		n = start(t, store, Options{IdleRelease: time.Hour}, codeMap{"o": code}, nil)
		ev := history.Event{Kind: history.ActivityCompleted, Ref: 99}
		_, err := store.Send(t.Context(), []provider.Message{{To: target, Execution: 1, Command: 99, Payload: history.AppendMessage(nil, &ev)}})
		assert.NoError(t, err)
		until(t, "the claim", func() bool { return n.Metrics().Claimed > 0 })
		until(t, "quiescence", func() bool { return rowOf(t, store, target).Owner == 0 })
		assert.Equal(t, rowOf(t, store, target).Attempts, int64(0))
		signal(t, n.Client(), "x", "n", "there")
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "there")
	})
}

func last(cs []seen) *seen { return &cs[len(cs)-1] }
