package provider

import (
	"context"

	"github.com/durango-go/durango/history"
)

// BlobAddress is the SHA-256 of a blob's content.
type BlobAddress = history.BlobAddress

// BlobKeeper is the part of a store that keeps large values beside the
// histories, and knows which instances refer to which. It is optional; a store
// that has it says so by Capabilities.Blobs.
//
// Instances come to refer to a blob by the fields Blobs of what is written
// (NewInstance, Message, Commit, TaskFinish), in the transaction that writes
// it, and cease to when they are deleted. Any address may be referred to,
// whether its content is here or elsewhere.
type BlobKeeper interface {
	// PutBlob keeps a content under its address. One that is there is not
	// written again, and counts as put now. ErrTooLarge.
	PutBlob(ctx context.Context, address BlobAddress, content []byte) error
	// GetBlob returns a content, or ErrNotFound.
	GetBlob(ctx context.Context, address BlobAddress) ([]byte, error)
	// BlobsInUse reports, item by item, whether an instance refers to it.
	BlobsInUse(ctx context.Context, addresses []BlobAddress) ([]bool, error)
	// SweepBlobs looks at a bounded number of blobs, in an order of the store's,
	// and deletes those that no instance refers to and that have
	// neither been put, nor lost an instance that referred to them, for
	// BlobSweep.Idle. Several nodes may sweep at once.
	SweepBlobs(ctx context.Context, sweep BlobSweep) (BlobSwept, error)
	// Blobs lists up to limit blobs behind one, in the same order. Zero: from the
	// first.
	Blobs(ctx context.Context, after BlobAddress, limit int) ([]BlobInfo, error)
}

// BlobSweep says which blobs to look at.
type BlobSweep struct {
	// Idle is for how long, in nanoseconds, a blob is left alone.
	Idle int64
	// After is the address behind which to begin. Zero: at the first.
	After BlobAddress
	// Limit bounds how many are looked at. It must be positive.
	Limit int
}

// BlobSwept is what a sweep has done.
type BlobSwept struct {
	// Next is where the next sweep goes on; More, whether there is more.
	Next    BlobAddress
	More    bool
	Deleted int
	Bytes   int64 // of what was deleted
}

// BlobInfo describes a blob to people.
type BlobInfo struct {
	Address BlobAddress
	Size    int64
	// PutAt is when it was put last, or lost an instance that referred to it.
	PutAt int64
	// Instances is how many refer to it.
	Instances int
}
