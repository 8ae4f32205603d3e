package provider

import (
	"context"
	"fmt"
)

// ContractVersion is the version of the contract that this package states.
// It is not the module's version; CONTRACT.md says what changes it.
const ContractVersion = 1

// Range is what one side of the contract speaks: every version from Min to
// Max. Preferred is the one it is at its best with; zero means Max. It decides
// nothing: who gets less is told so (see [Contract.Older]).
type Range struct {
	Min, Max, Preferred int
}

// Supported is the range that this version of the engine speaks.
var Supported = Range{Min: 1, Max: ContractVersion, Preferred: ContractVersion}

// best is the version that is preferred: Max unless another is stated.
func (r Range) best() int {
	if r.Preferred == 0 {
		return r.Max
	}
	return r.Preferred
}

// String returns "1" or "1 to 3".
func (r Range) String() string {
	if r.Min == r.Max {
		return fmt.Sprint(r.Min)
	}
	return fmt.Sprintf("%d to %d", r.Min, r.Max)
}

// Description tells what a store is and can do.
type Description struct {
	// Name is the kind of store, "sqlite" for example; Version is its own.
	Name, Version string
	Contract      Range
	Capabilities  Capabilities
	// Durability names what an acknowledged write survives, for people and
	// benchmarks: "FULL", "NORMAL", "memory".
	Durability string
	// MaxEventSize is the largest payload in bytes; zero means no limit.
	MaxEventSize int
	Now          int64
}

// Contract is what an engine and a store have agreed upon.
type Contract struct {
	// Version is the highest that both speak.
	Version int
	// Engine is what the engine speaks. What the store speaks, and what else it
	// says of itself, is in Store.
	Engine Range
	Store  Description
}

// Agree describes a store and agrees with it upon a contract. Its errors are
// those of Describe, a [*IncompatibleError], and a [*CapabilityError].
func Agree(ctx context.Context, p Provider, engine Range) (Contract, error) {
	d, err := p.Describe(ctx)
	if err != nil {
		return Contract{}, fmt.Errorf("describe the store: %w", err)
	}
	c := Contract{Engine: engine, Store: d}
	if c.Version, err = Negotiate(engine, d.Contract); err == nil {
		err = d.Capabilities.check(p)
	}
	if err != nil {
		return Contract{}, fmt.Errorf("store %s %s: %w", d.Name, d.Version, err)
	}
	return c, nil
}

// Older says which side is the reason that the other does not get the version
// it prefers, and what to upgrade; it is empty if both do.
func (c *Contract) Older() string {
	switch {
	case c.Version < c.Engine.best():
		return fmt.Sprintf("durango prefers %d, the provider speaks %v; upgrade the store's provider", c.Engine.best(), c.Store.Contract)
	case c.Version < c.Store.Contract.best():
		return fmt.Sprintf("the provider prefers %d, durango speaks %v; upgrade durango", c.Store.Contract.best(), c.Engine)
	}
	return ""
}

// Lacks returns the error of a feature that needs a capability which the store
// does not have.
func (c *Contract) Lacks(feature, capability string) error {
	return &NotSupportedError{Feature: feature, Reason: fmt.Sprintf("the store %s %s lacks the capability %s", c.Store.Name, c.Store.Version, capability)}
}

// Negotiate returns the highest version that both sides speak, or an
// [*IncompatibleError].
func Negotiate(engine, store Range) (int, error) {
	lo, hi := max(engine.Min, store.Min), min(engine.Max, store.Max)
	if lo <= hi && lo > 0 {
		return hi, nil
	}
	return 0, &IncompatibleError{Engine: engine, Store: store}
}

// IncompatibleError says that an engine and a store have no version of the
// contract in common. It matches [ErrIncompatible].
type IncompatibleError struct {
	Engine, Store Range
}

// Error says which side has to be upgraded, and to what.
func (e *IncompatibleError) Error() string {
	todo := fmt.Sprintf("upgrade the store's provider to one that speaks %d", e.Engine.best())
	if e.Engine.best() != e.Engine.Min {
		todo += fmt.Sprintf(", or %d at least", e.Engine.Min)
	}
	if e.Engine.Max < e.Store.Min {
		todo = fmt.Sprintf("upgrade durango to a version that speaks %d", e.Store.Min)
	}
	return fmt.Sprintf("%v: durango speaks %v, the provider %v; %s", ErrIncompatible, e.Engine, e.Store, todo)
}

// Unwrap returns [ErrIncompatible].
func (e *IncompatibleError) Unwrap() error { return ErrIncompatible }
