package provider

import "fmt"

// ContractVersion is the version of the contract that this package states.
// It is not the module's version; CONTRACT.md says what changes it.
const ContractVersion = 1

// Range is what one side of the contract speaks.
type Range struct {
	Min, Max, Preferred int
}

// Supported is the range that this version of the engine speaks.
var Supported = Range{Min: 1, Max: ContractVersion, Preferred: ContractVersion}

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

// Capabilities are the optional parts of the contract that a store has.
type Capabilities struct {
	// Shared: several processes may use the store at once.
	Shared bool
	// Persistent: what was written outlives the process.
	Persistent bool
	// Watch: Watch reports changes made by other processes.
	Watch bool
	// DetectsExit: a node whose process has ended is reported as Gone.
	DetectsExit bool
	// Hold: the store is a Holder.
	Hold bool
	// Amend: the store is an Amender.
	Amend bool
	// Blobs: the store is a BlobKeeper.
	Blobs bool
}

// Negotiate returns the highest version that both sides speak, preferring
// none over a version that one of them does not know.
func Negotiate(engine, store Range) (int, error) {
	lo, hi := max(engine.Min, store.Min), min(engine.Max, store.Max)
	if lo <= hi {
		return hi, nil
	}
	upgrade := "the store's provider"
	if engine.Max < store.Min {
		upgrade = "durango"
	}
	return 0, fmt.Errorf("%w: durango speaks %d to %d, the provider %d to %d; upgrade %s",
		ErrIncompatible, engine.Min, engine.Max, store.Min, store.Max, upgrade)
}
