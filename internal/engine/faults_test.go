package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/durango-go/durango/provider/providertest"
)

// outage is a time during which one method of a store fails.
type outage struct {
	on     atomic.Bool
	method string
	err    error
	lost   bool // the call is made, and its reply lost
	met    atomic.Int64
}

func (o *outage) faults() providertest.Faults {
	hit := func(method string) error {
		if !o.on.Load() || method != o.method {
			return nil
		}
		o.met.Add(1)
		return fmt.Errorf("%s: %w", method, o.err)
	}
	if o.lost {
		return providertest.Faults{After: hit}
	}
	return providertest.Faults{Before: hit}
}

// DESIGN 6: "Store trouble is retried with backoff for as long as the node
// lives; it never fails a user's orchestration."
func TestAStoreThatFailsForAWhileLosesNothing(t *testing.T) {
	methods := []string{"Join", "Heartbeat", "Bury", "Create", "Send", "Claim", "Load", "Commit", "Owned",
		"ClaimTasks", "FinishTasks", "ExtendTasks", "Outcomes"}
	for _, method := range methods {
		for name, o := range map[string]*outage{
			"transient":    {err: provider.ErrTransient},
			"request lost": {err: provider.ErrUnknownOutcome},
			"reply lost":   {err: provider.ErrUnknownOutcome, lost: true},
		} {
			o.method = method
			t.Run(method+" "+name, func(t *testing.T) { bubble(t, func(t *testing.T) { survive(t, o) }) })
		}
	}
	for _, err := range []error{provider.ErrFull, provider.ErrReadOnly} {
		t.Run("Commit "+err.Error(), func(t *testing.T) {
			bubble(t, func(t *testing.T) { survive(t, &outage{method: "Commit", err: err}) })
		})
	}
}

// survive runs all programs on two nodes through an outage of ten seconds, which
// is two leases.
func survive(t *testing.T, o *outage) {
	store := memory.Open()
	o.on.Store(o.method == "Join")
	options := Options{Lease: 5 * time.Second, MaxActivities: 3, IdleRelease: 300 * time.Millisecond, InboxSize: 4}
	var nodes []*node
	for range 2 {
		nodes = append(nodes, start(t, providertest.Faulty(store, o.faults()), options, clusterPrograms, actMap{"echo": slowEcho, "flaky": flakyEcho}))
	}
	if !o.on.Load() {
		nodes[0].waitMember(t)
		nodes[1].waitMember(t)
	}
	targets := map[provider.Target]string{}
	var mu sync.Mutex
	var calls sync.WaitGroup
	begins := func(c *Client, kind, id string) {
		calls.Go(func() {
			target := begin(t, c, kind, id, []byte(id))
			mu.Lock()
			targets[target] = kind
			mu.Unlock()
			if kind != "signals" {
				return
			}
			for i := range 4 {
				ev := history.Event{Kind: history.SignalReceived, Name: "n", Payload: []byte(fmt.Sprint(i))}
				m := provider.Message{To: target, ID: fmt.Sprint(i), Payload: history.AppendMessage(nil, &ev)}
				r, err := c.Send(context.Background(), m)
				// The ID of a message is forgotten with its instance: what is sent
				// again after a lost reply may find it ended, by that message.
				ended := o.method == "Send" && o.lost && i == 3 && errors.Is(r.Err, provider.ErrNotOpen)
				if err != nil || r.Err != nil && !ended {
					t.Errorf("signal %d to %s: %v, %v", i, id, err, r.Err)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	for i, kind := range []string{"chain", "fan", "signals", "parent", "retry"} {
		begins(nodes[i%2].Client(), kind, kind+"-before")
	}
	time.Sleep(10 * time.Millisecond)
	o.on.Store(true)
	if o.err != provider.ErrFull && o.err != provider.ErrReadOnly {
		for i, kind := range []string{"chain", "signals", "parent"} {
			begins(nodes[i%2].Client(), kind, kind+"-during")
		}
	}
	waited := make(chan error, 1)
	go func() {
		_, err := nodes[0].Client().Wait(context.Background(), provider.Target{ID: "chain-before"})
		waited <- err
	}()
	time.Sleep(10 * time.Second)
	o.on.Store(false)
	calls.Wait()
	for target, kind := range targets {
		assert.Equal(t, string(within(t, 5*time.Minute, store, target).Payload), clusterWant[kind], "%s", target.ID)
		checkHistory(t, store, target)
	}
	assert.NoError(t, <-waited, "who waits does not see it")
	for _, n := range nodes {
		assert.Equal(t, n.Metrics().TurnFailures, int64(0), "store trouble is no turn failure")
	}
	if o.met.Load() == 0 && o.method != "Bury" && o.method != "ExtendTasks" {
		t.Error("the outage was not met")
	}
}

// A start that cannot be stored is an error to its caller, and leaves nothing.
func TestAStartIsRefusedWhenTheStoreIsFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		o := &outage{method: "Create", err: provider.ErrFull}
		n := start(t, providertest.Faulty(store, o.faults()), Options{}, codeMap{"seq": sequence(2)}, actMap{"echo": echo})
		n.waitMember(t)
		o.on.Store(true)
		ev := history.Event{Kind: history.Started, Name: "seq"}
		_, err := n.Client().Start(t.Context(), provider.NewInstance{ID: "x", Name: "seq", Start: history.AppendMessage(nil, &ev)})
		assert.ErrorIs(t, err, provider.ErrFull)
		synctest.Wait()
		assert.Equal(t, n.Metrics().Owned, int64(0))
		assert.Equal(t, n.workers.present.Load(), int64(0), "the place of its task is free again")
		o.on.Store(false)
		assert.Equal(t, string(within(t, time.Minute, store, begin(t, n.Client(), "seq", "x", nil)).Payload), "01")
	})
}

// DESIGN 5: "Retrying clients do not duplicate": also where the reply to the
// creation with its first turn is lost and the caller does not wait for more.
func TestAStartWhoseReplyIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var r ran
		var losing atomic.Bool
		store.onCreate = func(_ []provider.NewInstance, do func() ([]provider.CreateResult, error)) ([]provider.CreateResult, error) {
			res, err := do()
			if losing.Load() {
				return nil, errors.Join(err, provider.ErrUnknownOutcome)
			}
			return res, err
		}
		acts := actMap{"echo": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) { r.note(a); return a.Input, nil }}
		n := start(t, store, Options{}, codeMap{"seq": sequence(2)}, acts)
		n.waitMember(t)
		for id, c := range map[string]*Client{"node": n.Client(), "client": NewClient(store, 0)} {
			// The caller is patient: the call is repeated.
			losing.Store(true)
			time.AfterFunc(time.Second, func() { losing.Store(false) })
			target := begin(t, c, "seq", id, nil)
			assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "01")
			checkHistory(t, store.Store, target)

			// The caller gives up, and asks again.
			losing.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			ev := history.Event{Kind: history.Started, Name: "seq"}
			again := provider.NewInstance{ID: id + " again", Name: "seq", Start: history.AppendMessage(nil, &ev)}
			_, err := c.Start(ctx, again)
			cancel()
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			time.Sleep(time.Minute)
			losing.Store(false)
			res, err := c.Start(t.Context(), again)
			assert.NoError(t, err)
			assert.ErrorIs(t, res.Err, provider.ErrAlreadyExists)
			target = provider.Target{Key: res.Key}
			assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "01")
			checkHistory(t, store.Store, target)
		}
		assert.Equal(t, len(r.of("1")), 4)
	})
}

// DESIGN 5: "Send … accept an ID that is accepted once". Without one, a signal
// whose fate is unknown is an error to its sender; with one it is sent until it
// is known to be there, whoever else is in its group.
func TestASendWhoseReplyIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var calls atomic.Int64
		store.onSend = func(_ []provider.Message, do func() ([]provider.SendResult, error)) ([]provider.SendResult, error) {
			time.Sleep(time.Millisecond) // so that groups form
			switch calls.Add(1) {
			case 1:
				return do()
			case 2, 3:
				_, err := do()
				return nil, errors.Join(err, provider.ErrUnknownOutcome)
			case 4:
				return nil, provider.ErrUnknownOutcome
			}
			return do()
		}
		code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 4)) }
		n := start(t, store, Options{}, codeMap{"four": code}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "four", "x", nil)
		c := NewClient(store, 0)
		send := func(id, payload string) error {
			ev := history.Event{Kind: history.SignalReceived, Name: "n", Payload: []byte(payload)}
			r, err := c.Send(context.Background(), provider.Message{To: target, ID: id, Payload: history.AppendMessage(nil, &ev)})
			return errors.Join(err, r.Err)
		}
		// The first call holds the batcher, so that the others are one group.
		var group sync.WaitGroup
		group.Go(func() { assert.NoError(t, send("", "a")) })
		synctest.Wait()
		group.Go(func() { assert.NoError(t, send("2", "b")) })
		synctest.Wait()
		group.Go(func() { assert.ErrorIs(t, send("", "c"), provider.ErrUnknownOutcome) })
		group.Wait()
		assert.NoError(t, send("2", "b"))
		assert.NoError(t, send("3", "d"))
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "abcd")
		row := rowOf(t, store, target)
		assert.Equal(t, row.MailboxSeq, int64(5))
	})
}

// DESIGN 5: "A name no node has is not an error to a client: it waits and shows
// as stuck."
func TestANameNoNodeHasWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		n := start(t, store, Options{}, codeMap{"seq": sequence(1)}, actMap{"echo": echo})
		n.waitMember(t)
		target := begin(t, n.Client(), "other", "x", nil)
		time.Sleep(time.Minute)
		row := rowOf(t, store, target)
		assert.True(t, row.Status == provider.Pending && row.Owner == 0 && row.Attempts == 0 && row.WakeAt <= time.Now().UnixNano(), row)
		assert.Equal(t, n.Metrics().Claimed, int64(0))
		// The activity of another node waits in the same way, and the node that
		// schedules it says so, once for each name and pool.
		code := func(m *replay.Machine, _ *history.Event) history.Event {
			return completed(collect(m, schedule(m, "far", "f"), schedule(m, "far", "g"), schedule(m, "echo", "h")))
		}
		var log bytes.Buffer
		far := start(t, store, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, codeMap{"other": code}, actMap{"echo": echo})
		until(t, "the tasks", func() bool { tasks, _ := store.Tasks(t.Context(), target.Key); return len(tasks) == 2 })
		time.Sleep(time.Minute)
		start(t, store, Options{}, nil, actMap{"far": echo})
		assert.Equal(t, string(within(t, time.Second, store, target).Payload), "fgh")
		assert.NoError(t, far.stop())
		assert.Equal(t, strings.Count(log.String(), "not registered with this node"), 1, "%s", log.String())
		assert.True(t, strings.Contains(log.String(), `activity=far pool="" instance=x`), log.String())
	})
}

// DESIGN 8.6: "… messages that … cannot be decoded are quarantined … and never
// block what is behind them", and DESIGN 9: never skipped. A message is recorded
// as it is, at its place, and what is behind it is delivered.
func TestAMessageThatCannotBeDecodedIsPutAside(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		var log bytes.Buffer
		code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 3)) }
		n := start(t, store, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), MaxHot: 1}, codeMap{"three": code}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "three", "x", nil)
		signal(t, n.Client(), "x", "n", "1")
		bad := []byte{history.FormatVersion, byte(history.SignalReceived), 0xff}
		_, err := store.Send(t.Context(), []provider.Message{{To: target, Payload: bad}, {To: target, Payload: bad[:1]}})
		assert.NoError(t, err)
		signal(t, n.Client(), "x", "n", "2")
		until(t, "the second", func() bool { return rowOf(t, store, target).ReadSeq == 5 })
		begin(t, n.Client(), "three", "y", nil) // x is evicted, and rebuilt
		until(t, "eviction", func() bool { return n.Metrics().Evictions > 0 })
		signal(t, n.Client(), "x", "n", "3")
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "123")
		assert.Equal(t, n.Metrics().TurnFailures, int64(0))
		assert.Equal(t, n.Metrics().Undecodable, int64(2))
		assert.NoError(t, n.stop())
		assert.Equal(t, strings.Count(log.String(), "a message cannot be decoded"), 2)
		turns, err := store.Turns(t.Context(), target.Key, 1, 0)
		assert.NoError(t, err)
		var kept []string
		for _, turn := range turns {
			deliveries, _, err := history.DecodeTurn(turn.Events)
			assert.NoError(t, err)
			for _, d := range deliveries {
				if d.Kind == history.Undecodable {
					assert.True(t, d.Text != "", "why")
					kept = append(kept, string(d.Payload))
				}
			}
		}
		assert.Equal(t, kept, []string{string(bad), string(bad[:1])})
	})
}

// An answer that cannot be decoded fails its command: nobody will answer again.
func TestAnAnswerThatCannotBeDecodedFailsItsCommand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		nobody := one("nobody", nil)
		n := start(t, store, Options{}, codeMap{"asks": nobody}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "asks", "x", nil)
		until(t, "the task", func() bool {
			tasks, err := store.Tasks(t.Context(), target.Key)
			assert.NoError(t, err)
			return len(tasks) == 1
		})
		assert.NoError(t, n.stop())
		node, err := store.Join(t.Context(), provider.NodeInfo{})
		assert.NoError(t, err)
		reply, err := store.ClaimTasks(t.Context(), provider.TaskClaim{Node: node, Limit: 1, Filters: []provider.TaskFilter{{Name: "nobody"}}})
		assert.NoError(t, err)
		errs, err := store.FinishTasks(t.Context(), node, []provider.TaskFinish{{TaskRef: reply.Tasks[0].Ref(), Message: []byte{history.FormatVersion}}})
		assert.NoError(t, errors.Join(append(errs, err)...))
		start(t, store, Options{}, codeMap{"asks": nobody}, nil)
		out := string(within(t, time.Minute, store, target).Payload)
		assert.Contains(t, out, "!the answer cannot be decoded")
	})
}

// What is of a later format may be readable to another program: it fails turns
// until one more would be too many.
func TestAMessageOfALaterFormatIsTriedByOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memory.Open()
		code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 1)) }
		n := start(t, store, Options{}, codeMap{"one": code}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "one", "x", nil)
		_, err := store.Send(t.Context(), []provider.Message{{To: target, Payload: []byte{0xff, 0xff}}})
		assert.NoError(t, err)
		signal(t, n.Client(), "x", "n", "1")
		assert.Equal(t, string(within(t, time.Hour, store, target).Payload), "1")
		assert.Equal(t, n.Metrics().TurnFailures, int64(4))
		assert.Equal(t, n.Metrics().Undecodable, int64(1))
	})
}

// DESIGN 9: "Never skip what cannot be decoded": a recorded turn that cannot be
// read fails the turn, for as long as that is so. Going on without it would run
// again what has its result there.
func TestATurnThatCannotBeDecodedIsNotSkipped(t *testing.T) {
	for name, damage := range map[string]func(events []byte){
		"later format": func(events []byte) { events[0] = 250 },
		"corrupt":      func(events []byte) { events[1] = 0x7f },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := memory.Open()
				var runs ran
				acts := actMap{"work": func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
					runs.note(a)
					return a.Input, nil
				}}
				code := func(m *replay.Machine, _ *history.Event) history.Event {
					return completed(collect(m, schedule(m, "work", "w")) + awaitSignals(m, "n", 1))
				}
				codes, o := codeMap{"two": code}, Options{Policy: Policy{MaxFailures: -1}}
				n := start(t, store, o, codes, acts)
				target := begin(t, n.Client(), "two", "x", nil)
				until(t, "two turns", func() bool { return rowOf(t, store, target).NextTurn == 3 })
				assert.NoError(t, n.stop())
				turns, err := store.Turns(t.Context(), target.Key, 1, 0)
				assert.NoError(t, err)
				second := turns[1].Events // the store's own
				whole := bytes.Clone(second)
				damage(second)

				n = start(t, store, o, codes, acts)
				signal(t, n.Client(), "x", "n", "1")
				until(t, "failures", func() bool { return provider.ParseTurnFailure(rowOf(t, store, target).TurnFailure).Count >= 3 })
				row := rowOf(t, store, target)
				assert.Equal(t, row.Status, provider.Running)
				assert.Equal(t, row.NextTurn, int64(3))
				assert.Equal(t, provider.ParseTurnFailure(row.TurnFailure).Kind, "undecodable")
				assert.NoError(t, n.stop())

				copy(second, whole)
				start(t, store, o, codes, acts)
				assert.Equal(t, string(within(t, time.Hour, store, target).Payload), "w1")
				assert.Equal(t, len(runs.of("w")), 1, "runs of an activity that has its result")
			})
		})
	}
}

// DESIGN 3 and CONTRACT: "start-up fails and says who has to be upgraded".
func TestAStoreOfAnotherContractIsRefused(t *testing.T) {
	for upgrade, r := range map[string]provider.Range{
		"upgrade durango":              {Min: provider.ContractVersion + 1, Max: provider.ContractVersion + 3},
		"upgrade the store's provider": {Min: 0, Max: 0},
	} {
		_, err := New(&describing{memory.Open(), r}, Options{Logger: quiet()})
		assert.ErrorIs(t, err, provider.ErrIncompatible)
		assert.ErrorContains(t, err, upgrade, "store memory")
	}
}

type describing struct {
	provider.Provider
	contract provider.Range
}

func (s *describing) Describe(ctx context.Context) (provider.Description, error) {
	d, err := s.Provider.Describe(ctx)
	d.Contract = s.contract
	return d, err
}

// Who waits is told that the wait is over, also while the store does not answer.
func TestAWaitEndsWithItsContextWhileTheStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := &outage{method: "Outcomes", err: provider.ErrTransient}
		o.on.Store(true)
		c := NewClient(providertest.Faulty(memory.Open(), o.faults()), 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Wait(ctx, provider.Target{ID: "x"})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, err, provider.ErrTransient)
	})
}

// A message behind one that the node has not seen, which comes while a commit
// is under way, is read when that is done and not at the next poll.
func TestMailBehindAGapIsReadAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var stored, gate = make(chan struct{}, 10), make(chan struct{})
		var slow atomic.Bool
		store.onCommit = func(_ provider.NodeKey, _ []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
			r, err := do()
			if slow.CompareAndSwap(true, false) {
				stored <- struct{}{}
				<-gate
			}
			return r, err
		}
		code := func(m *replay.Machine, _ *history.Event) history.Event { return completed(awaitSignals(m, "n", 3)) }
		n := start(t, store, Options{MaxPoll: time.Hour, MinPoll: time.Hour, IdleRelease: time.Hour}, codeMap{"three": code}, nil)
		n.waitMember(t)
		target := begin(t, n.Client(), "three", "x", nil)
		slow.Store(true)
		signal(t, n.Client(), "x", "n", "1")
		<-stored
		signal(t, NewClient(store, 0), "x", "n", "2") // by another process
		signal(t, n.Client(), "x", "n", "3")
		close(gate)
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "123")
	})
}
