package durango

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// BlobStore keeps the contents of Blobs. The default is the store of everything
// else; the package blobdir keeps them in a directory. It is safe for concurrent
// use, by several processes.
type BlobStore interface {
	// Put keeps a content under its address, the SHA-256 of it in hexadecimal
	// digits, and returns when it is durable. One that is there is not written
	// again, and counts as put now. The content must not be kept or changed.
	Put(ctx context.Context, address string, content []byte) error
	// Get returns a content, or [ErrBlobNotFound]. It need not check it.
	Get(ctx context.Context, address string) ([]byte, error)
	// Sweep deletes what nobody refers to.
	Sweep(ctx context.Context, s BlobSweep) (BlobSwept, error)
}

// BlobSweep says what to delete.
type BlobSweep struct {
	// Idle is how long ago a blob must have been put last.
	Idle time.Duration
	// After is where the sweep before this one ended. Empty: at the beginning.
	After string
	// Limit bounds how many blobs are looked at.
	Limit int
	// InUse reports, item by item, whether anybody refers to a blob. A blob that
	// is put again while Sweep works must survive, so a store asks when it would
	// notice that.
	InUse func(ctx context.Context, addresses []string) ([]bool, error)
}

// BlobSwept is what a sweep has done.
type BlobSwept struct {
	// Next is where the next sweep goes on. Empty: at the beginning.
	Next    string
	Deleted int
	Bytes   int64
}

// BlobOptions say where the contents of Blobs are kept. The zero value of each
// field stands for the default it names.
type BlobOptions struct {
	// Threshold is the size in bytes above which a content is stored apart. What
	// was recorded stays as it is when it changes. Default 64 KiB; negative:
	// none is.
	Threshold int
	// Store keeps the contents. All nodes and clients of a store have the same.
	// Default: the store itself. That must know who refers to what in either
	// case (provider.BlobKeeper): New returns [ErrNotSupported] if it does not
	// and there is a Store, and otherwise what encodes a large Blob does.
	Store BlobStore
	// Idle is how long a content that no instance refers to is left alone after
	// it was put: longer than any turn, activity or outage may take between
	// putting a content and recording it. Default 24 h; the least is one minute;
	// negative: for ever.
	Idle time.Duration
}

const (
	defaultBlobThreshold = 64 << 10
	defaultBlobIdle      = 24 * time.Hour
	sweepPage            = 100
)

func (o *BlobOptions) check() error {
	if o.Idle > 0 && o.Idle < time.Minute {
		return fmt.Errorf("Blobs.Idle is %v, the least is 1m", o.Idle)
	}
	return nil
}

// BlobCodec is a [Codec] that has a say in what is stored of the contents of
// Blobs. Under another codec than [JSON] that is none, contents stay in their
// payloads, however large: a codec that encrypts must not be passed by.
type BlobCodec interface {
	Codec
	// EncodeBlob returns what is stored of a content. Equal contents should
	// become equal, so that each is stored once.
	EncodeBlob(content []byte) ([]byte, error)
	// DecodeBlob is the inverse. It does not keep or change b.
	DecodeBlob(b []byte) ([]byte, error)
}

// blobs is where a node or client puts contents, and reads them.
type blobs struct {
	beside    provider.Provider // whose payloads refer to the contents
	store     BlobStore
	keeper    provider.BlobKeeper // nil: the store knows of no references
	codec     BlobCodec           // nil: contents are stored as they are
	threshold int                 // negative: nothing is put
	idle      time.Duration
}

func newBlobs(store provider.Provider, codec Codec, o BlobOptions) *blobs {
	h := &blobs{beside: store, store: o.Store, threshold: cmp.Or(o.Threshold, defaultBlobThreshold), idle: cmp.Or(o.Idle, defaultBlobIdle)}
	h.keeper, _ = store.(provider.BlobKeeper)
	if h.store == nil && h.keeper != nil {
		h.store = keptBlobs{h.keeper}
	}
	if codec = custom(codec); codec != nil {
		if h.codec, _ = codec.(BlobCodec); h.codec == nil {
			h.threshold = -1
		}
	}
	return h
}

// lacking is the error of what needs a store that keeps Blobs, or knows who
// refers to them.
func (h *blobs) lacking(feature string) error {
	var c provider.Contract
	if d, err := h.beside.Describe(context.Background()); err == nil {
		c.Store = d
	}
	return fromStore(c.Lacks(feature, "Blobs"))
}

func (h *blobs) get(ctx context.Context, ref *blobRef) ([]byte, error) {
	if h == nil {
		return nil, errors.New("the context is not an activity's, and nobody has bound the blob to a store")
	}
	if h.store == nil {
		return nil, h.lacking("reading a Blob")
	}
	b, err := h.store.Get(ctx, ref.address.String())
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != ref.address {
		return nil, ErrBlobCorrupt
	}
	if ref.encoded {
		if h.codec == nil {
			return nil, fmt.Errorf("%w: it is encoded by a codec that is not known here", ErrDecode)
		}
		if b, err = h.codec.DecodeBlob(b); err != nil {
			return nil, err
		}
	}
	if int64(len(b)) != ref.size {
		return nil, ErrBlobCorrupt
	}
	return b, nil
}

// prepare returns what is stored of a content.
func (h *blobs) prepare(s *blobState) (*storedBlob, error) {
	if p := s.stored.Load(); p != nil && p.by == h {
		return p, nil
	}
	p := &storedBlob{by: h, ref: blobRef{size: int64(len(s.data)), encoded: h.codec != nil}, b: s.data}
	if h.codec != nil {
		var err error
		if p.b, err = h.codec.EncodeBlob(s.data); err != nil {
			return nil, err
		}
	}
	p.ref.address = sha256.Sum256(p.b)
	s.stored.Store(p)
	return p, nil
}

// put keeps the contents of a value that was encoded. What fails for a passing
// reason it tries again until ctx ends.
func (h *blobs) put(ctx context.Context, held held) error {
	for _, c := range held.contents {
		for pause := 2 * time.Millisecond; ; pause = min(2*pause, time.Second) {
			err := h.store.Put(ctx, c.Address.String(), c.Bytes)
			if err == nil {
				break
			}
			passing := errors.Is(err, provider.ErrTransient) || errors.Is(err, provider.ErrUnknownOutcome)
			if !passing || !sleep(ctx, pause) {
				return fmt.Errorf("put blob %s of %d bytes: %w", c.Address, len(c.Bytes), fromStore(err))
			}
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// SweepBlobs deletes what no instance refers to and was not put lately. A node
// that runs does it by itself now and then.
func (r *Runtime) SweepBlobs(ctx context.Context) error {
	h := r.env.blobs
	if h.store == nil || h.keeper == nil {
		return fmt.Errorf("sweep blobs: %w", h.lacking("SweepBlobs"))
	}
	if h.idle < 0 {
		return nil
	}
	if err := h.sweep(ctx); err != nil {
		return fmt.Errorf("sweep blobs: %w", fromStore(err))
	}
	return nil
}

// sweep goes over all blobs once.
func (h *blobs) sweep(ctx context.Context) error {
	s := BlobSweep{Idle: h.idle, Limit: sweepPage, InUse: func(ctx context.Context, addresses []string) ([]bool, error) {
		list := make([]history.BlobAddress, len(addresses))
		for i, a := range addresses {
			if n, err := hex.Decode(list[i][:], []byte(cut(a, 2*len(list[i])))); err != nil || n != len(list[i]) {
				return nil, fmt.Errorf("%w: %q is no address", ErrInvalid, a)
			}
		}
		return h.keeper.BlobsInUse(ctx, list)
	}}
	for {
		swept, err := h.store.Sweep(ctx, s)
		if s.After = swept.Next; err != nil || s.After == "" {
			return err
		}
	}
}

// keptBlobs is the store of everything as a BlobStore.
type keptBlobs struct{ keeper provider.BlobKeeper }

func (k keptBlobs) Put(ctx context.Context, address string, content []byte) error {
	a, err := parseAddress(address)
	if err != nil {
		return err
	}
	return k.keeper.PutBlob(ctx, a, content)
}

func (k keptBlobs) Get(ctx context.Context, address string) ([]byte, error) {
	a, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	content, err := k.keeper.GetBlob(ctx, a)
	if errors.Is(err, provider.ErrNotFound) {
		err = ErrBlobNotFound
	}
	return content, err
}

// Sweep asks nobody: the references are in the same store.
func (k keptBlobs) Sweep(ctx context.Context, s BlobSweep) (BlobSwept, error) {
	after := history.BlobAddress{}
	if s.After != "" {
		var err error
		if after, err = parseAddress(s.After); err != nil {
			return BlobSwept{}, err
		}
	}
	r, err := k.keeper.SweepBlobs(ctx, provider.BlobSweep{Idle: int64(s.Idle), After: after, Limit: s.Limit})
	swept := BlobSwept{Deleted: r.Deleted, Bytes: r.Bytes}
	if err == nil && r.More {
		swept.Next = r.Next.String()
	}
	return swept, err
}

func parseAddress(address string) (a history.BlobAddress, err error) {
	if len(address) != hex.EncodedLen(len(a)) {
		return a, invalid("address of a blob", cut(address, 80), "it is not a SHA-256 in hexadecimal digits")
	}
	if _, err := hex.Decode(a[:], []byte(address)); err != nil {
		return a, invalid("address of a blob", address, "it is not a SHA-256 in hexadecimal digits")
	}
	return a, nil
}
