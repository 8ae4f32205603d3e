package providertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/durango-go/durango/provider"
)

// Faults says how a store misbehaves. The zero value is a store that does not.
type Faults struct {
	// Seed makes the faults repeatable: the same calls in the same order meet
	// the same faults.
	Seed uint64
	// Methods are the odds by method name ("Commit"); the entry "" is for all
	// methods that have none of their own. Watch, Close and the methods of
	// Inspector never fail.
	Methods map[string]Odds
	// Before, unless nil, is called before each call. Its error is returned
	// and the call is not made.
	Before func(method string) error
	// After, unless nil, is called after each call that succeeded. Its error
	// is returned in place of the results: with ErrUnknownOutcome, a reply
	// that was lost.
	After func(method string) error
}

// Odds are probabilities between 0 and 1.
type Odds struct {
	// Transient: nothing is applied, and ErrTransient returned.
	Transient float64
	// LostRequest: nothing is applied, and ErrUnknownOutcome returned.
	LostRequest float64
	// LostReply: the call is applied, and ErrUnknownOutcome returned.
	LostReply float64
}

// Faulty returns p with faults. What it returns implements provider.Inspector
// if p does, and no other optional interface.
func Faulty(p provider.Provider, f Faults) provider.Provider {
	w := &faulty{Provider: p, f: f, rng: rand.New(rand.NewPCG(f.Seed, 0x6475_7261_6e67_6f))}
	w.self = w
	if i, ok := p.(provider.Inspector); ok {
		w.self = struct {
			*faulty
			provider.Inspector
		}{w, i}
	}
	return w.self
}

type faulty struct {
	provider.Provider
	self provider.Provider // what has the optional interfaces
	f    Faults
	mu   sync.Mutex
	rng  *rand.Rand
}

// roll decides the fate of one call.
func (w *faulty) roll(method string) (before, after error) {
	odds, ok := w.f.Methods[method]
	if !ok {
		odds = w.f.Methods[""]
	}
	w.mu.Lock()
	r := w.rng.Float64()
	w.mu.Unlock()
	switch {
	case r < odds.Transient:
		return fmt.Errorf("injected before %s: %w", method, provider.ErrTransient), nil
	case r < odds.Transient+odds.LostRequest:
		return fmt.Errorf("injected, request of %s lost: %w", method, provider.ErrUnknownOutcome), nil
	case r < odds.Transient+odds.LostRequest+odds.LostReply:
		return nil, fmt.Errorf("injected, reply of %s lost: %w", method, provider.ErrUnknownOutcome)
	}
	return nil, nil
}

// call makes one call with its faults.
func call[T any](w *faulty, method string, f func() (T, error)) (T, error) {
	var zero T
	if w.f.Before != nil {
		if err := w.f.Before(method); err != nil {
			return zero, err
		}
	}
	before, after := w.roll(method)
	if before != nil {
		return zero, before
	}
	v, err := f()
	if err != nil {
		return v, err
	}
	if after == nil && w.f.After != nil {
		after = w.f.After(method)
	}
	if after != nil {
		return zero, after
	}
	return v, nil
}

func (w *faulty) Describe(ctx context.Context) (provider.Description, error) {
	return call(w, "Describe", func() (provider.Description, error) {
		d, err := w.Provider.Describe(ctx)
		d.Capabilities = d.Capabilities.Of(w.self)
		d.Capabilities.Pipeline = true // CommitAhead
		return d, err
	})
}

func (w *faulty) Join(ctx context.Context, info provider.NodeInfo) (provider.NodeKey, error) {
	return call(w, "Join", func() (provider.NodeKey, error) { return w.Provider.Join(ctx, info) })
}

func (w *faulty) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	return call(w, "Heartbeat", func() (provider.Pulse, error) { return w.Provider.Heartbeat(ctx, node) })
}

func (w *faulty) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	return call(w, "Bury", func() (provider.BuryResult, error) { return w.Provider.Bury(ctx, b) })
}

func (w *faulty) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	return call(w, "Create", func() ([]provider.CreateResult, error) { return w.Provider.Create(ctx, node, batch) })
}

func (w *faulty) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	return call(w, "Send", func() ([]provider.SendResult, error) { return w.Provider.Send(ctx, batch) })
}

func (w *faulty) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	return call(w, "Claim", func() (provider.ClaimReply, error) { return w.Provider.Claim(ctx, req) })
}

func (w *faulty) Load(ctx context.Context, batch []provider.LoadRequest) ([]provider.Loaded, error) {
	return call(w, "Load", func() ([]provider.Loaded, error) { return w.Provider.Load(ctx, batch) })
}

// CommitAhead is always ready for more.
func (w *faulty) CommitAhead(ctx context.Context, node provider.NodeKey, batch []provider.Commit, next func()) ([]provider.CommitResult, error) {
	next()
	return w.Commit(ctx, node, batch)
}

func (w *faulty) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	return call(w, "Commit", func() ([]provider.CommitResult, error) { return w.Provider.Commit(ctx, node, batch) })
}

func (w *faulty) Definitions(ctx context.Context) ([]provider.Definition, error) {
	return call(w, "Definitions", func() ([]provider.Definition, error) { return w.Provider.Definitions(ctx) })
}

func (w *faulty) Owned(ctx context.Context, node provider.NodeKey) (provider.Holdings, error) {
	return call(w, "Owned", func() (provider.Holdings, error) { return w.Provider.Owned(ctx, node) })
}

func (w *faulty) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	return call(w, "ClaimTasks", func() (provider.TaskClaimReply, error) { return w.Provider.ClaimTasks(ctx, req) })
}

func (w *faulty) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	return call(w, "FinishTasks", func() ([]error, error) { return w.Provider.FinishTasks(ctx, node, batch) })
}

func (w *faulty) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	return call(w, "ExtendTasks", func() ([]bool, error) { return w.Provider.ExtendTasks(ctx, node, batch) })
}

func (w *faulty) Outcomes(ctx context.Context, targets []provider.Target) ([]provider.Outcome, error) {
	return call(w, "Outcomes", func() ([]provider.Outcome, error) { return w.Provider.Outcomes(ctx, targets) })
}

func (w *faulty) Lookup(ctx context.Context, batch []provider.Lookup) ([]provider.Finding, error) {
	return call(w, "Lookup", func() ([]provider.Finding, error) { return w.Provider.Lookup(ctx, batch) })
}
