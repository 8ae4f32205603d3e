package postgres

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

var _ provider.BlobKeeper = (*Store)(nil)

// blobShard is the shard of a blob and of the references to it.
func (s *Store) blobShard(a provider.BlobAddress) int32 {
	return int32(binary.BigEndian.Uint64(a[:]) % uint64(s.shards))
}

// writeBlobs notes which instances refer to which blobs.
func (t *txn) writeBlobs(trip *trip) {
	var shards []int32
	var addresses [][]byte
	var keys []int64
	for _, e := range t.touched {
		for i := range e.blobs {
			shards, addresses = append(shards, t.s.blobShard(e.blobs[i])), append(addresses, e.blobs[i][:])
			keys = append(keys, int64(e.Key))
		}
	}
	if len(keys) > 0 {
		trip.add(qBlobRefsInsert, shards, addresses, keys)
	}
}

// PutBlob implements [provider.BlobKeeper]. A content that is there does not
// travel.
func (s *Store) PutBlob(ctx context.Context, address provider.BlobAddress, content []byte) error {
	if tooLarge(content) {
		return fmt.Errorf("postgres: put blob: %w", provider.ErrTooLarge)
	}
	if content == nil {
		content = []byte{}
	}
	there := false
	err := s.write(ctx, "put blob", func(t *trip) {
		there = false
		t.each(qBlobTouch, func(pgx.Rows) error { there = true; return nil }, s.blobShard(address), address[:])
	})
	if err != nil || there {
		return err
	}
	return s.write(ctx, "put blob", func(t *trip) {
		t.add(qBlobPut, s.blobShard(address), address[:], int64(len(content)), content)
	})
}

// GetBlob implements [provider.BlobKeeper].
func (s *Store) GetBlob(ctx context.Context, address provider.BlobAddress) (content []byte, err error) {
	found := false
	err = s.read(ctx, "get blob", func(run func(*trip) error) error {
		t := s.trip()
		t.each(qBlobGet, func(rows pgx.Rows) error {
			found = true
			return rows.Scan(&content)
		}, s.blobShard(address), address[:])
		return run(t)
	})
	if err == nil && !found {
		err = fmt.Errorf("postgres: blob %s: %w", address, provider.ErrNotFound)
	}
	return content, err
}

// BlobsInUse implements [provider.BlobKeeper].
func (s *Store) BlobsInUse(ctx context.Context, addresses []provider.BlobAddress) ([]bool, error) {
	used := make([]bool, len(addresses))
	places, shards, columns := make([]int32, len(addresses)), make([]int32, len(addresses)), make([][]byte, len(addresses))
	for i := range addresses {
		places[i], shards[i], columns[i] = int32(i), s.blobShard(addresses[i]), addresses[i][:]
	}
	err := s.read(ctx, "blobs in use", func(run func(*trip) error) error {
		clear(used)
		t := s.trip()
		t.each(qBlobsUsed, func(rows pgx.Rows) error {
			var place int
			err := rows.Scan(&place)
			used[place] = true
			return err
		}, places, shards, columns)
		return run(t)
	})
	return used, err
}

// SweepBlobs implements [provider.BlobKeeper]. What is put again, or lost by its
// last instance, meanwhile is young when the deletion sees it: both change the
// row that it has to lock.
func (s *Store) SweepBlobs(ctx context.Context, sweep provider.BlobSweep) (swept provider.BlobSwept, err error) {
	var now int64
	page, err := s.blobs(ctx, "sweep blobs", qBlobPage, sweep.After, sweep.Limit, &now)
	if err != nil || len(page) == 0 {
		return swept, err
	}
	swept.Next, swept.More = page[len(page)-1].Address, len(page) == sweep.Limit
	var shards []int32
	var addresses [][]byte
	for i := range page {
		if b := &page[i]; b.Instances == 0 && b.PutAt <= now-sweep.Idle {
			shards, addresses = append(shards, s.blobShard(b.Address)), append(addresses, b.Address[:])
		}
	}
	if len(addresses) == 0 {
		return swept, nil
	}
	err = s.write(ctx, "sweep blobs", func(t *trip) {
		swept.Deleted, swept.Bytes = 0, 0
		t.each(qBlobsDelete, func(rows pgx.Rows) error {
			var size int64
			err := rows.Scan(&size)
			swept.Deleted++
			swept.Bytes += size
			return err
		}, shards, addresses, sweep.Idle)
	})
	return swept, err
}

// Blobs implements [provider.BlobKeeper].
func (s *Store) Blobs(ctx context.Context, after provider.BlobAddress, limit int) ([]provider.BlobInfo, error) {
	var now int64
	return s.blobs(ctx, "blobs", qBlobList, after, limit, &now)
}

// blobs reads a page, shard by shard.
func (s *Store) blobs(ctx context.Context, op string, q statement, after provider.BlobAddress, limit int, now *int64) (page []provider.BlobInfo, err error) {
	shard := int32(-1)
	if after != (provider.BlobAddress{}) {
		shard = s.blobShard(after)
	}
	err = s.read(ctx, op, func(run func(*trip) error) error {
		page = nil
		t := s.trip()
		t.each(q, func(rows pgx.Rows) error {
			var b provider.BlobInfo
			var address []byte
			err := rows.Scan(&address, &b.PutAt, &b.Size, &b.Instances, now)
			copy(b.Address[:], address)
			page = append(page, b)
			return err
		}, shard, after[:], limit)
		return run(t)
	})
	return page, err
}
