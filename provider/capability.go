package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Capabilities are the optional parts of the contract that a store has. The
// zero value has none of them, and is enough to run orchestrations.
type Capabilities struct {
	// Shared: several processes may use the store at once.
	Shared bool
	// Persistent: what was written outlives the process.
	Persistent bool
	// Watch: Watch reports changes made by other processes.
	Watch bool
	// DetectsExit: a node whose process has ended is reported as Gone.
	DetectsExit bool
	// Inspect: the store is an Inspector.
	Inspect bool
	// Hold: the store is a Holder.
	Hold bool
	// Amend: the store is an Amender.
	Amend bool
	// Examine: the store is an Examiner.
	Examine bool
	// Notes: ExtendTasks stores TaskBeat.Failure.
	Notes bool
	// Hasten: Message.Hasten is honored.
	Hasten bool
	// Blobs: the store is a BlobKeeper.
	Blobs bool
	// Pipeline: the store is a Pipeliner.
	Pipeline bool
}

// Capability is one optional part of the contract.
type Capability struct {
	// Name is that of the field of Capabilities.
	Name string
	// Interface is the name of the interface that comes with it, empty if
	// Provider has all it needs.
	Interface string
	// Without says what is lost where a store does not have it.
	Without string

	flag       func(*Capabilities) *bool
	implements func(Provider) bool // nil without an interface
}

// capabilities are all there are, by name.
var capabilities = []Capability{
	{"Amend", "Amender", "Release, Retry and Requeue of quarantined instances fail, and so do callbacks of a quarantine",
		func(c *Capabilities) *bool { return &c.Amend }, is[Amender]},
	{"Blobs", "BlobKeeper", "a Blob over the threshold fails, and so does Options.Blobs with a store",
		func(c *Capabilities) *bool { return &c.Blobs }, is[BlobKeeper]},
	{"DetectsExit", "", "a node whose process has died is noticed after its lease, not at once",
		func(c *Capabilities) *bool { return &c.DetectsExit }, nil},
	{"Examine", "Examiner", "'durango doctor' does not look into the store itself",
		func(c *Capabilities) *bool { return &c.Examine }, is[Examiner]},
	{"Hasten", "", "a request to cancel what waits for its delayed start takes effect when it starts",
		func(c *Capabilities) *bool { return &c.Hasten }, nil},
	{"Hold", "Holder", "Options.SuspendIncompatible fails",
		func(c *Capabilities) *bool { return &c.Hold }, is[Holder]},
	{"Inspect", "Inspector", "Status, Terminate, Check, what is quarantined, Fail and Heartbeat of an activity, and the command line fail",
		func(c *Capabilities) *bool { return &c.Inspect }, is[Inspector]},
	{"Notes", "", "an activity that ends the process of its worker is tried again and again",
		func(c *Capabilities) *bool { return &c.Notes }, nil},
	{"Persistent", "", "what was written is gone with the process",
		func(c *Capabilities) *bool { return &c.Persistent }, nil},
	{"Pipeline", "Pipeliner", "a group of commits begins when the one before is on the disk, and no sooner",
		func(c *Capabilities) *bool { return &c.Pipeline }, is[Pipeliner]},
	{"Shared", "", "all nodes and clients are in one process",
		func(c *Capabilities) *bool { return &c.Shared }, nil},
	{"Watch", "", "what other processes change is noticed by polling",
		func(c *Capabilities) *bool { return &c.Watch }, nil},
}

func is[I any](p Provider) bool {
	_, ok := p.(I)
	return ok
}

// AllCapabilities returns all there are, sorted by name.
func AllCapabilities() []Capability { return slices.Clone(capabilities) }

// In reports whether c has the capability.
func (a Capability) In(c Capabilities) bool { return *a.flag(&c) }

// Names returns the names of what is there, sorted.
func (c Capabilities) Names() []string { return c.names(true) }

// Missing returns the names of what is not there, sorted.
func (c Capabilities) Missing() []string { return c.names(false) }

func (c Capabilities) names(there bool) (names []string) {
	for _, a := range capabilities {
		if a.In(c) == there {
			names = append(names, a.Name)
		}
	}
	return names
}

// String returns the names, or "none".
func (c Capabilities) String() string {
	if names := c.Names(); len(names) > 0 {
		return strings.Join(names, " ")
	}
	return "none"
}

// Of returns c without what needs an interface that p does not have. It is what
// a store that wraps another describes.
func (c Capabilities) Of(p Provider) Capabilities {
	for _, a := range capabilities {
		if a.implements != nil && !a.implements(p) {
			*a.flag(&c) = false
		}
	}
	return c
}

// check compares what a store claims with what it has.
func (c Capabilities) check(p Provider) error {
	for _, a := range capabilities {
		if a.implements != nil && a.implements(p) != a.In(c) {
			return &CapabilityError{Capability: a.Name, Interface: a.Interface, Claimed: a.In(c)}
		}
	}
	return nil
}

// CapabilityError says that a store claims a capability without having its
// interface, or has the interface and does not claim it. It matches
// [ErrInvalid].
type CapabilityError struct {
	Capability, Interface string
	Claimed               bool
}

func (e *CapabilityError) Error() string {
	if e.Claimed {
		return fmt.Sprintf("%v: the provider claims the capability %s and is no provider.%s (a wrapper describes what it has itself: Capabilities.Of)",
			ErrInvalid, e.Capability, e.Interface)
	}
	return fmt.Sprintf("%v: the provider is a provider.%s and does not claim the capability %s", ErrInvalid, e.Interface, e.Capability)
}

// Unwrap returns [ErrInvalid].
func (e *CapabilityError) Unwrap() error { return ErrInvalid }

// Plain returns p without its optional interfaces, for those who embed a
// Provider in one of their own.
func Plain(p Provider) Provider { return plain{p} }

type plain struct{ Provider }

func (p plain) Describe(ctx context.Context) (Description, error) {
	d, err := p.Provider.Describe(ctx)
	d.Capabilities = d.Capabilities.Of(p)
	return d, err
}
