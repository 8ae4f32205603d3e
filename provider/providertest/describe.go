package providertest

import (
	"context"
	"errors"
	"testing"

	"github.com/durango-go/durango/provider"
)

var describeCases = []testCase{
	{"NamesItself", func(h *harness) {
		d, err := h.Describe(h.ctx)
		h.ok(err, "describe")
		if d.Name == "" || d.Durability == "" {
			h.Errorf("name %q and durability %q must not be empty", d.Name, d.Durability)
		}
	}},
	{"SpeaksACommonContract", func(h *harness) {
		d, err := h.Describe(h.ctx)
		h.ok(err, "describe")
		if c := d.Contract; c.Min > c.Preferred || c.Preferred > c.Max || c.Min < 1 {
			h.Errorf("contract range %+v is not one", c)
		}
		_, err = provider.Negotiate(provider.Supported, d.Contract)
		h.ok(err, "negotiate")
	}},
	{"ClaimsWhatItHasAndNothingElse", func(h *harness) {
		_, err := provider.Agree(h.ctx, h.raw, provider.Supported)
		h.ok(err, "agree")
	}},
	{"ClockIsInNanoseconds", func(h *harness) {
		const y2020, y2200 = 1_577_836_800_000_000_000, 7_258_118_400_000_000_000
		if now := h.now(); now < y2020 || now > y2200 {
			h.Errorf("now is %d", now)
		}
	}},
	{"ClockIsTheSameInEveryReply", func(h *harness) {
		node := h.join()
		before := h.now()
		pulse, err := h.Heartbeat(h.ctx, node)
		h.ok(err, "heartbeat")
		times := []int64{before, pulse.Now, h.claim(node, 1).Now, h.claimTasks(node, 1).Now, h.stats().Now, h.now()}
		for i := 1; i < len(times); i++ {
			// A wall clock may be set back a little; replies of another clock
			// would be off by more.
			if times[i] < times[i-1]-hour || times[i] > times[i-1]+hour {
				h.Errorf("replies of one clock: %v", times)
			}
		}
	}},
	{"RefusesEverythingOnceClosed", func(h *harness) {
		node := h.join()
		key := h.fresh("a")
		h.ok(h.Close(), "close")
		target := provider.Target{Key: key}
		calls := map[string]func() error{
			"describe":  func() error { _, err := h.Describe(h.ctx); return err },
			"join":      func() error { _, err := h.Join(h.ctx, provider.NodeInfo{}); return err },
			"heartbeat": func() error { _, err := h.Heartbeat(h.ctx, node); return err },
			"bury":      func() error { _, err := h.Bury(h.ctx, provider.Burial{Node: node}); return err },
			"create":    func() error { _, err := h.Create(h.ctx, 0, []provider.NewInstance{draft("b")}); return err },
			"send":      func() error { _, err := h.Send(h.ctx, []provider.Message{to(key, "m")}); return err },
			"claim": func() error {
				_, err := h.Claim(h.ctx, provider.ClaimRequest{Node: node, Definitions: []provider.Definition{flow}, Limit: 1})
				return err
			},
			"load":   func() error { _, err := h.Load(h.ctx, []provider.LoadRequest{{Key: key}}); return err },
			"commit": func() error { _, err := h.Commit(h.ctx, node, []provider.Commit{{Key: key, CommitID: 1}}); return err },
			"owned":  func() error { _, err := h.Owned(h.ctx, node); return err },
			"outcomes": func() error {
				_, err := h.Outcomes(h.ctx, []provider.Target{target})
				return err
			},
			"claim tasks": func() error {
				_, err := h.ClaimTasks(h.ctx, provider.TaskClaim{Node: node, Filters: []provider.TaskFilter{charge}, Limit: 1})
				return err
			},
			"finish tasks": func() error {
				_, err := h.FinishTasks(h.ctx, 0, []provider.TaskFinish{{TaskRef: provider.TaskRef{Instance: key, Execution: 1, Command: 1}}})
				return err
			},
			"extend tasks": func() error {
				_, err := h.ExtendTasks(h.ctx, 0, []provider.TaskBeat{{TaskRef: provider.TaskRef{Instance: key, Execution: 1, Command: 1}}})
				return err
			},
			"definitions": func() error { _, err := h.Definitions(h.ctx); return err },
			"look up": func() error {
				_, err := h.Lookup(h.ctx, []provider.Lookup{{To: target, Kind: provider.LookupStatus}})
				return err
			},
			"values": func() error { _, err := h.Values(h.ctx, key); return err },
			"get":    func() error { _, err := h.Get(h.ctx, target); return err },
			"list":   func() error { _, err := h.List(h.ctx, provider.Query{}); return err },
		}
		for op, call := range calls {
			h.is(call(), provider.ErrClosed, op)
		}
	}},
	{"EmptyBatchesAreNothing", func(h *harness) {
		node := h.join()
		created, err := h.Create(h.ctx, node, nil)
		h.ok(err, "create")
		sent, err := h.Send(h.ctx, nil)
		h.ok(err, "send")
		committed, err := h.Commit(h.ctx, node, nil)
		h.ok(err, "commit")
		loaded, err := h.Load(h.ctx, nil)
		h.ok(err, "load")
		finished, err := h.FinishTasks(h.ctx, node, nil)
		h.ok(err, "finish tasks")
		held, err := h.ExtendTasks(h.ctx, node, nil)
		h.ok(err, "extend tasks")
		outcomes, err := h.Outcomes(h.ctx, nil)
		h.ok(err, "outcomes")
		found, err := h.Lookup(h.ctx, nil)
		h.ok(err, "look up")
		h.same("results", len(created)+len(sent)+len(committed)+len(loaded)+len(finished)+len(held)+len(outcomes)+len(found), 0)
	}},
	{"CanceledCallAppliesAllOrNothing", func(h *harness) {
		ctx, cancel := context.WithCancel(h.ctx)
		cancel()
		n := draft("a")
		_, err := h.Create(ctx, 0, []provider.NewInstance{n})
		_, found := h.Get(h.ctx, provider.Target{Key: n.Key})
		switch {
		case err == nil:
			h.ok(found, "get what was created")
		case !errors.Is(err, provider.ErrUnknownOutcome):
			h.is(found, provider.ErrNotFound, "get what was not created")
		}
	}},
	{"WatchEndsWithItsContext", func(h *harness) {
		ctx, cancel := context.WithCancel(h.ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = h.Watch(ctx, func() {})
		}()
		cancel()
		<-done
	}},
}

// handleCases open the same store more than once.
var handleCases = []testCase{
	{"WatchReportsWhatAnotherHandleDid", func(h *harness) {
		h.need(h.caps.Watch, "Watch")
		other := h.again()
		ctx, cancel := context.WithCancel(h.ctx)
		told, done := make(chan struct{}, 1), make(chan struct{})
		go func() {
			defer close(done)
			_ = h.Watch(ctx, func() {
				select {
				case told <- struct{}{}:
				default:
				}
			})
		}()
		n := 0
		// Watching may begin a little after the call: change something until
		// a hint comes.
		h.eventually("a hint", func() bool {
			n++
			other.fresh(itoa(n))
			select {
			case <-told:
				return true
			default:
				return false
			}
		})
		cancel()
		<-done
	}},
	{"OneHandleSeesWhatAnotherWrote", func(h *harness) {
		h.need(h.caps.Shared, "Shared")
		other := h.again()
		node := h.join()
		key := other.fresh("a")
		h.same("claimed", keysOf(h.claim(node, 10).Claimed), []provider.Key{key})
		other.post(key, "m")
		h.same("mail", h.claim(node, 10).Mail, []provider.Key{key})
		h.apply(node, h.turn(key))
		h.same("turns", len(other.turns(key)), 1)
	}},
	{"TwoHandlesNeverOwnTheSame", func(h *harness) {
		h.need(h.caps.Shared, "Shared")
		other := h.again()
		race(h, []*harness{h, other})
	}},
	{"TwoHandlesNeverHaveTheSameSession", func(h *harness) {
		h.need(h.caps.Shared, "Shared")
		sessionRace(h, []*harness{h, h.again()})
	}},
	{"NodesOfOneHandleAreBuriedByAnother", func(h *harness) {
		h.need(h.caps.Shared, "Shared")
		other := h.again()
		node := h.join()
		key := h.owned(node, "a")
		pulse, err := other.Heartbeat(h.ctx, other.join())
		h.ok(err, "heartbeat")
		h.same("nodes seen", len(pulse.Nodes), 2)
		other.kill(node)
		results, err := h.Commit(h.ctx, node, []provider.Commit{h.turn(key)})
		h.is(err, provider.ErrNodeGone, "commit of the dead")
		h.same("results", len(results), 0)
	}},
	{"WhatWasAcknowledgedIsThereAfterReopening", func(h *harness) {
		h.need(h.caps.Persistent, "Persistent")
		node := h.join()
		key, task := h.working(node, "a", 3)
		c := h.turn(h.owned(node, "b"))
		c.CustomStatus = []byte("half way")
		c.Values, c.Replies = []provider.Value{value("x", "1"), value("y", "")}, []provider.Reply{reply("r", "yes")}
		h.apply(node, c)
		h.post(key, "m")
		parked := h.queued(node, "c", h.parked(4, 2), inSession(5, "s"), inSession(6, "s"))
		h.same("claimed", commands(h.sessionTasks(node, 1, 1, 0)), []int64{5})
		before := h.row(c.Key)
		waiting := h.taskRows(parked)
		letters := h.letters(key)
		h.ok(h.Close(), "close")

		h = h.again()
		h.same("row", h.row(c.Key), before)
		h.same("mail", h.letters(key), letters)
		h.same("turns", h.turns(c.Key), []provider.Turn{*c.Turn})
		tasks := h.taskRows(key)
		h.same("tasks", len(tasks), 1)
		h.same("task", tasks[0].Ref(), task.Ref())
		h.same("values", h.values(c.Key), map[string]string{"x": "1", "y": ""})
		h.replyIs(c.Key, "r", "yes")
		h.same("parked and waiting tasks", h.taskRows(parked), waiting)
		h.same("a session of another", commands(h.sessionTasks(h.join(), 1, 5, 0)), []int64{})
		// A node lives until it is buried, not until a handle closes; one that
		// the store knows to be gone may be reported as such.
		h.kill(node)
		h.same("claimed", len(h.claim(h.join(), 10).Claimed), 2)
	}},
	{"ACommitIsStillIdempotentAfterReopening", func(h *harness) {
		h.need(h.caps.Persistent, "Persistent")
		node := h.join()
		key := h.owned(node, "a")
		c := h.turn(key)
		h.apply(node, c)
		h.ok(h.Close(), "close")
		h = h.again()
		if _, err := h.Heartbeat(h.ctx, node); errors.Is(err, provider.ErrNodeGone) {
			return // the store knows that the node's process has ended
		}
		h.apply(node, c)
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"OpeningAtOnceManyTimesSucceeds", func(h *harness) {
		h.need(h.caps.Shared, "Shared")
		if h.cfg.Again == nil {
			h.Fatal("a shared store needs Config.Again")
		}
		together(h, 8, func(i int) {
			p := h.cfg.Again(h.TB, h.raw)
			defer func() { _ = p.Close() }()
			if _, err := p.Create(h.ctx, 0, []provider.NewInstance{draft(itoa(i))}); err != nil {
				h.Errorf("create: %v", err)
			}
		})
		h.same("instances", h.stats().Instances[provider.Pending], int64(8))
	}},
}

// need skips a case that belongs to a capability the store does not have.
func (h *harness) need(has bool, capability string) {
	h.Helper()
	if !has {
		if t, ok := h.TB.(*testing.T); ok {
			t.Skipf("the store lacks the capability %s", capability)
		}
	}
}
