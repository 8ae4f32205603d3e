package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/durango-go/durango/provider"
)

var _ provider.BlobKeeper = (*Store)(nil)

// blob is a content, and when it was put last or lost an instance.
type blob struct {
	content []byte
	putAt   int64
}

// refer notes that an instance refers to blobs, until it is deleted.
func (in *instance) refer(blobs []provider.BlobAddress) {
	if len(blobs) > 0 && in.blobs == nil {
		in.blobs = map[provider.BlobAddress]bool{}
	}
	for _, a := range blobs {
		in.blobs[a] = true
	}
}

// unrefer is for an instance that is being deleted.
func (s *Store) unrefer(now int64, in *instance) {
	for a := range in.blobs {
		if b := s.blobs[a]; b != nil {
			b.putAt = now
		}
	}
}

// PutBlob implements [provider.BlobKeeper].
func (s *Store) PutBlob(ctx context.Context, address provider.BlobAddress, content []byte) error {
	now, err := s.begin(ctx, "put blob")
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.tooLarge(content) {
		return fmt.Errorf("memory: put blob: %w", provider.ErrTooLarge)
	}
	if b := s.blobs[address]; b != nil {
		b.putAt = now
		return nil
	}
	s.blobs[address] = &blob{keep(content), now}
	return nil
}

// GetBlob implements [provider.BlobKeeper].
func (s *Store) GetBlob(ctx context.Context, address provider.BlobAddress) ([]byte, error) {
	if _, err := s.begin(ctx, "get blob"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	b := s.blobs[address]
	if b == nil {
		return nil, fmt.Errorf("memory: blob %s: %w", address, provider.ErrNotFound)
	}
	return b.content, nil
}

// references counts the instances that refer to each blob.
func (s *Store) references() map[provider.BlobAddress]int {
	n := map[provider.BlobAddress]int{}
	for _, in := range s.instances {
		for a := range in.blobs {
			n[a]++
		}
	}
	return n
}

// BlobsInUse implements [provider.BlobKeeper].
func (s *Store) BlobsInUse(ctx context.Context, addresses []provider.BlobAddress) ([]bool, error) {
	if _, err := s.begin(ctx, "blobs in use"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	used := s.references()
	in := make([]bool, len(addresses))
	for i, a := range addresses {
		in[i] = used[a] > 0
	}
	return in, nil
}

// after returns up to limit addresses of blobs behind one.
func (s *Store) after(address provider.BlobAddress, limit int) (page []provider.BlobAddress, more bool) {
	for a := range maps.Keys(s.blobs) {
		if bytes.Compare(a[:], address[:]) > 0 {
			page = append(page, a)
		}
	}
	slices.SortFunc(page, func(a, b provider.BlobAddress) int { return bytes.Compare(a[:], b[:]) })
	n := min(len(page), max(limit, 0))
	return page[:n], n < len(page)
}

// SweepBlobs implements [provider.BlobKeeper].
func (s *Store) SweepBlobs(ctx context.Context, sweep provider.BlobSweep) (swept provider.BlobSwept, err error) {
	now, err := s.begin(ctx, "sweep blobs")
	if err != nil {
		return swept, err
	}
	defer s.mu.Unlock()
	page, more := s.after(sweep.After, sweep.Limit)
	used := s.references()
	for _, a := range page {
		swept.Next = a
		if b := s.blobs[a]; used[a] == 0 && b.putAt <= now-sweep.Idle {
			swept.Deleted++
			swept.Bytes += int64(len(b.content))
			delete(s.blobs, a)
		}
	}
	swept.More = more
	return swept, nil
}

// Blobs implements [provider.BlobKeeper].
func (s *Store) Blobs(ctx context.Context, after provider.BlobAddress, limit int) ([]provider.BlobInfo, error) {
	if _, err := s.begin(ctx, "blobs"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	page, _ := s.after(after, cmp.Or(limit, len(s.blobs)))
	used := s.references()
	infos := make([]provider.BlobInfo, len(page))
	for i, a := range page {
		b := s.blobs[a]
		infos[i] = provider.BlobInfo{Address: a, Size: int64(len(b.content)), PutAt: b.putAt, Instances: used[a]}
	}
	return infos, nil
}
