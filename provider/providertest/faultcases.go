package providertest

import (
	"errors"

	"github.com/durango-go/durango/provider"
)

// faultCases run a store behind a bad connection. What they verify is that
// the contract can be kept there: whatever happened to a call, repeating it
// leads to the same end.
var faultCases = []testCase{
	{"Rule03ALostReplyIsResolvedByRepeating", func(h *harness) {
		// DESIGN 6, rule 3: "until then it may resubmit only the identical
		// turn."
		node := h.join()
		key, friend := h.owned(node, "a"), h.fresh("b")
		lost := false
		bad := Faulty(h.store, Faults{After: func(method string) error {
			if lost {
				return nil
			}
			lost = true
			return provider.ErrUnknownOutcome
		}})
		c := h.turn(key)
		c.Messages = []provider.Message{to(friend, "once")}
		_, err := bad.Commit(h.ctx, node, []provider.Commit{c})
		h.is(err, provider.ErrUnknownOutcome, "commit")
		results, err := bad.Commit(h.ctx, node, []provider.Commit{c})
		h.ok(err, "commit again")
		h.ok(results[0].Err, "commit again")
		h.same("turns", len(h.turns(key)), 1)
		h.same("mail", h.letters(friend), []string{"start b", "once"})
	}},
	{"Rule03ALostRequestIsResolvedByRepeating", func(h *harness) {
		node := h.join()
		key := h.owned(node, "a")
		lost := false
		bad := Faulty(h.store, Faults{Before: func(method string) error {
			if lost {
				return nil
			}
			lost = true
			return provider.ErrUnknownOutcome
		}})
		c := h.turn(key)
		_, err := bad.Commit(h.ctx, node, []provider.Commit{c})
		h.is(err, provider.ErrUnknownOutcome, "commit")
		h.same("last commit", h.load(key).Instance.LastCommit, int64(0))
		results, err := bad.Commit(h.ctx, node, []provider.Commit{c})
		h.ok(err, "commit again")
		h.ok(results[0].Err, "commit again")
		h.same("turns", len(h.turns(key)), 1)
	}},
	{"Rule03ALostClaimIsFoundAgain", func(h *harness) {
		node := h.join()
		key := h.fresh("a")
		bad := Faulty(h.store, Faults{After: func(string) error { return provider.ErrUnknownOutcome }})
		_, err := bad.Claim(h.ctx, provider.ClaimRequest{Node: node, Definitions: []provider.Definition{flow}, Limit: 1})
		h.is(err, provider.ErrUnknownOutcome, "claim")
		h.same("claimed again", len(h.claim(node, 1).Claimed), 0)
		holdings, err := h.Owned(h.ctx, node)
		h.ok(err, "owned")
		h.same("owned", holdings.Instances, []provider.Holding{{Key: key, NextTurn: 1}})
		h.apply(node, h.turn(key))
	}},
	{"EveryMethodCanFail", func(h *harness) {
		node := h.join()
		fault := errors.New("injected")
		calls := map[string]func(p provider.Provider) error{
			"Describe":  func(p provider.Provider) error { _, err := p.Describe(h.ctx); return err },
			"Join":      func(p provider.Provider) error { _, err := p.Join(h.ctx, provider.NodeInfo{}); return err },
			"Heartbeat": func(p provider.Provider) error { _, err := p.Heartbeat(h.ctx, node); return err },
			"Bury":      func(p provider.Provider) error { _, err := p.Bury(h.ctx, provider.Burial{Node: 1}); return err },
			"Create":    func(p provider.Provider) error { _, err := p.Create(h.ctx, node, nil); return err },
			"Send":      func(p provider.Provider) error { _, err := p.Send(h.ctx, nil); return err },
			"Claim": func(p provider.Provider) error {
				_, err := p.Claim(h.ctx, provider.ClaimRequest{Node: node})
				return err
			},
			"Load":        func(p provider.Provider) error { _, err := p.Load(h.ctx, nil); return err },
			"Commit":      func(p provider.Provider) error { _, err := p.Commit(h.ctx, node, nil); return err },
			"Definitions": func(p provider.Provider) error { _, err := p.Definitions(h.ctx); return err },
			"Owned":       func(p provider.Provider) error { _, err := p.Owned(h.ctx, node); return err },
			"ClaimTasks": func(p provider.Provider) error {
				_, err := p.ClaimTasks(h.ctx, provider.TaskClaim{Node: node})
				return err
			},
			"FinishTasks": func(p provider.Provider) error { _, err := p.FinishTasks(h.ctx, node, nil); return err },
			"ExtendTasks": func(p provider.Provider) error { _, err := p.ExtendTasks(h.ctx, node, nil); return err },
			"Outcomes":    func(p provider.Provider) error { _, err := p.Outcomes(h.ctx, nil); return err },
			"Lookup":      func(p provider.Provider) error { _, err := p.Lookup(h.ctx, nil); return err },
		}
		for method, do := range calls {
			named := func(called string) error {
				h.same("method", called, method)
				return fault
			}
			h.is(do(Faulty(h.store, Faults{Before: named})), fault, method)
			h.is(do(Faulty(h.store, Faults{After: named})), fault, method)
			lost := Faulty(h.store, Faults{Methods: map[string]Odds{method: {LostReply: 1}}})
			h.is(do(lost), provider.ErrUnknownOutcome, method)
			h.ok(do(Faulty(h.store, Faults{})), method)
		}
	}},
	{"RepeatingEverythingEndsRight", func(h *harness) {
		bad := Faulty(h.store, Faults{Seed: 42, Methods: map[string]Odds{
			"": {Transient: 0.2, LostRequest: 0.2, LostReply: 0.3},
		}})
		node := h.join()
		n := draft("a")
		n.Owned = true
		stubborn(h, func() error {
			r, err := bad.Create(h.ctx, node, []provider.NewInstance{n})
			if err == nil {
				err = r[0].Err
			}
			return err
		})
		for i := range 30 {
			m := to(n.Key, itoa(i))
			m.ID = itoa(i)
			stubborn(h, func() error {
				r, err := bad.Send(h.ctx, []provider.Message{m})
				if err == nil {
					err = r[0].Err
				}
				return err
			})
			c := h.turn(n.Key)
			stubborn(h, func() error {
				r, err := bad.Commit(h.ctx, node, []provider.Commit{c})
				if err == nil {
					err = r[0].Err
				}
				return err
			})
		}
		row := h.row(n.Key)
		h.same("turns", len(h.turns(n.Key)), 30)
		h.same("mail received", row.MailboxSeq, int64(31))
		h.same("mail read", row.ReadSeq, int64(31))
	}},
}

// stubborn repeats f until it succeeds.
func stubborn(h *harness, f func() error) {
	h.Helper()
	for range enough {
		err := f()
		if err == nil {
			return
		}
		if !errors.Is(err, provider.ErrTransient) && !errors.Is(err, provider.ErrUnknownOutcome) {
			h.Fatalf("unexpected error: %v", err)
		}
	}
	h.Fatalf("no success after %d tries", enough)
}
