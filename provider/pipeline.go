package provider

import "context"

// Pipeliner is the part of a store that takes a batch of commits while an
// earlier one is on its way to the disk. It is optional, and for speed alone; a
// store that has it says so by Capabilities.Pipeline.
type Pipeliner interface {
	// CommitAhead is Commit, which calls next as soon as the store is ready for
	// another batch: at most once, before it returns, and on any goroutine. next
	// must return at once.
	CommitAhead(ctx context.Context, node NodeKey, batch []Commit, next func()) ([]CommitResult, error)
}
