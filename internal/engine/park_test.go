package engine

import (
	"context"
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

// parks is an activity that leaves its completion to whoever gets the token.
func parks(tokens chan<- string, patience time.Duration) func(context.Context, *Attempt) ([]byte, *history.Failure) {
	return func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		token, err := a.Park(ctx)
		if err != nil {
			return nil, &history.Failure{Message: err.Error()}
		}
		tokens <- token
		return nil, nil
	}
}

// oneParked calls the activity park, as a row from the beginning if it beats.
func oneParked(p *history.Policy) replay.Code {
	return func(m *replay.Machine, _ *history.Event) history.Event {
		op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "park", Payload: []byte("p"), Policy: p})
		return completed(collect(m, op))
	}
}

// DESIGN 6, rule 11: "A completion token makes the task a row first." A row that
// is on its way when the activity's patience ends is not left without anybody
// who has its token.
func TestRule11AParkThatTakesLongIsNotLost(t *testing.T) {
	for name, policy := range map[string]*history.Policy{
		"local": nil, "held": {Heartbeat: int64(10 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := tapped()
				store.onCommit = func(_ provider.NodeKey, batch []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
					if len(batch[0].Tasks) > 0 && batch[0].Tasks[0].Parked {
						time.Sleep(2 * time.Second)
					}
					return do()
				}
				store.onFinish = func(batch []provider.TaskFinish, do func() ([]error, error)) ([]error, error) {
					if batch[0].Park && len(batch[0].Failure) > 0 { // not when its token has been passed on
						time.Sleep(20 * time.Second) // longer than it may go without a beat
					}
					return do()
				}
				tokens := make(chan string, 1)
				n := start(t, store, Options{}, codeMap{"o": oneParked(policy)}, actMap{"park": parks(tokens, time.Second)})
				n.waitMember(t)
				target := begin(t, n.Client(), "o", "x", nil)
				select {
				case token := <-tokens:
					assert.NoError(t, NewClient(store, 0).Complete(t.Context(), token, []byte("done"), nil))
				case <-time.After(5 * time.Minute):
				}
				assert.Equal(t, string(within(t, 5*time.Minute, store, target).Payload), "done")
			})
		})
	}
}

// DESIGN 6, rule 3: a call whose outcome is unknown is repeated; a repeated park
// finds the task parked.
func TestRule03AParkWhoseReplyIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		var lost atomic.Bool
		store.onFinish = func(_ []provider.TaskFinish, do func() ([]error, error)) ([]error, error) {
			errs, err := do()
			if !lost.Swap(true) {
				return nil, provider.ErrUnknownOutcome
			}
			return errs, err
		}
		tokens := make(chan string, 1)
		n := start(t, store, Options{}, codeMap{"o": oneParked(&history.Policy{Heartbeat: int64(time.Minute)})},
			actMap{"park": parks(tokens, time.Hour)})
		n.waitMember(t)
		target := begin(t, n.Client(), "o", "x", nil)
		select {
		case token := <-tokens:
			assert.NoError(t, n.Client().Complete(t.Context(), token, []byte("done"), nil))
		case <-time.After(5 * time.Minute):
		}
		assert.Equal(t, string(within(t, 5*time.Minute, store, target).Payload), "done")
	})
}

// A node that is declared dead while one of its attempts is being parked lets
// the attempt go, and another takes its place.
func TestAParkOnANodeThatWasBuried(t *testing.T) {
	for name, policy := range map[string]*history.Policy{
		"local": nil, "held": {Heartbeat: int64(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := tapped()
				var n *node
				var buried atomic.Bool
				var r ran
				tokens := make(chan string, 2)
				park := parks(tokens, time.Hour)
				activity := func(ctx context.Context, a *Attempt) ([]byte, *history.Failure) {
					if r.note(a); !buried.Swap(true) {
						bury(t, store, n)
					}
					return park(ctx, a)
				}
				n = start(t, store, Options{}, codeMap{"o": oneParked(policy)}, actMap{"park": activity})
				n.waitMember(t)
				target := begin(t, n.Client(), "o", "x", nil)
				token := <-tokens
				assert.NoError(t, n.Client().Complete(t.Context(), token, []byte("done"), nil))
				assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "done")
				assert.Equal(t, r.of("p"), []int64{1, 2})
				synctest.Wait()
				n.mu.Lock()
				defer n.mu.Unlock()
				assert.Equal(t, len(n.parking), 0, "nobody waits any more")
			})
		})
	}
}

// DESIGN 5: "Canceled work discards its result", and is not tried again, also
// when its attempt fails while the turn that cancels it is being committed.
func TestWorkCanceledWhileItFailsIsNotTriedAgain(t *testing.T) {
	for name, during := range map[string]bool{"during the commit": true, "during the turn": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := tapped()
				fail := make(chan struct{})
				failNow := sync.OnceFunc(func() {
					close(fail)
					time.Sleep(time.Second)
				})
				store.onCommit = func(_ provider.NodeKey, batch []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
					if during && batch[0].ReadSeq == 2 {
						failNow()
					}
					return do()
				}
				var r ran
				activity := func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
					if r.note(a); a.Number == 1 {
						<-fail
					}
					return nil, &history.Failure{Message: "no"}
				}
				code := func(m *replay.Machine, _ *history.Event) history.Event {
					op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "fails", Payload: []byte("f"),
						Policy: &history.Policy{MaxAttempts: 100, Initial: int64(time.Second), Backoff: history.BackoffFixed}})
					m.Wait(m.Signals("n"))
					if !during {
						failNow()
					}
					m.Cancel(op)
					m.Wait(m.Signals("n"))
					return completed("")
				}
				n := start(t, store, Options{}, codeMap{"o": code}, actMap{"fails": activity})
				n.waitMember(t)
				target := begin(t, n.Client(), "o", "x", nil)
				until(t, "the activity", func() bool { return len(r.of("f")) == 1 })
				signal(t, n.Client(), "x", "n", "1")
				time.Sleep(time.Minute)
				assert.Equal(t, r.of("f"), []int64{1})
				signal(t, n.Client(), "x", "n", "2")
				within(t, time.Minute, store, target)
			})
		})
	}
}

// DESIGN 5: continue-as-new: "unfinished activities are canceled". One whose
// attempt fails during that commit is not taken for work of the next execution,
// whose commands have the same numbers.
func TestWorkThatFailsDuringContinueAsNewIsNotOfTheNextExecution(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := tapped()
		fail := make(chan struct{})
		store.onCommit = func(_ provider.NodeKey, batch []provider.Commit, do func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error) {
			if batch[0].Execution == 2 && batch[0].Turn != nil && batch[0].Turn.Execution == 1 {
				close(fail)
				time.Sleep(time.Second)
			}
			return do()
		}
		activity := func(_ context.Context, a *Attempt) ([]byte, *history.Failure) {
			if a.Execution == 1 && a.Number == 1 {
				<-fail
				return nil, &history.Failure{Message: "no"}
			}
			return a.Input, nil
		}
		policy := &history.Policy{MaxAttempts: 100, Initial: int64(time.Millisecond), Heartbeat: int64(time.Hour)}
		retried := &history.Policy{MaxAttempts: 100, Initial: int64(time.Millisecond)}
		code := func(m *replay.Machine, started *history.Event) history.Event {
			if started.Seq == 1 {
				m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "a", Payload: []byte("old"), Policy: retried})
				m.Wait(m.Signals("n"))
				return history.Event{Kind: history.ContinuedAsNew}
			}
			return completed(collect(m, m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "a", Payload: []byte("new"), Policy: policy})))
		}
		n := start(t, store, Options{}, codeMap{"o": code}, actMap{"a": activity})
		n.waitMember(t)
		target := begin(t, n.Client(), "o", "x", nil)
		signal(t, n.Client(), "x", "n", "1")
		assert.Equal(t, string(within(t, time.Minute, store, target).Payload), "new")
	})
}
