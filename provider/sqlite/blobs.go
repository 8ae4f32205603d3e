package sqlite

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

var _ provider.BlobKeeper = (*Store)(nil)

// refer notes that an instance refers to blobs, until it is deleted.
func (w *writer) refer(e *entry, blobs []provider.BlobAddress) error {
	for i := range blobs {
		w.mark(e, hasBlobs)
		st := w.c.query(qBlobRefInsert, int64(e.Key))
		st.BindBytes(2, blobs[i][:])
		if err := run(st); err != nil {
			return err
		}
	}
	return nil
}

// unrefer is for an instance that is being deleted.
func (w *writer) unrefer(e *entry) error {
	if e.extras&hasBlobs == 0 {
		return nil
	}
	if err := w.c.exec(qBlobRefLeave, int64(e.Key), w.now); err != nil {
		return err
	}
	return w.c.exec(qBlobRefClear, int64(e.Key))
}

// blobRow is what decides what becomes of a blob.
type blobRow struct {
	id, putAt, size int64
	used            bool
}

func (c *conn) blob(address provider.BlobAddress) (b blobRow, err error) {
	st := c.query(qBlobGet)
	st.BindBytes(1, address[:])
	_, err = row(st, func(st *sqlite.Stmt) {
		b = blobRow{st.ColumnInt64(0), st.ColumnInt64(1), st.ColumnInt64(2), st.ColumnInt64(3) != 0}
	})
	return b, err
}

// PutBlob implements [provider.BlobKeeper].
func (s *Store) PutBlob(ctx context.Context, address provider.BlobAddress, content []byte) error {
	if tooLarge(content) {
		return fmt.Errorf("sqlite: put blob: %w", provider.ErrTooLarge)
	}
	return s.w.submit(ctx, "put blob", &request{n: 1, bytes: len(content), run: func(w *writer, _ int) error {
		b, err := w.c.blob(address)
		if err != nil {
			return err
		}
		if b.id != 0 {
			return w.c.exec(qBlobTouch, b.id, w.now)
		}
		st := w.c.query(qBlobInsert, w.now, int64(len(content)))
		st.BindBytes(3, address[:])
		if err := run(st); err != nil {
			return err
		}
		if content == nil {
			content = []byte{}
		}
		return runWith(w.c.query(qBlobContentInsert, w.c.LastInsertRowID()), 2, content)
	}})
}

// GetBlob implements [provider.BlobKeeper].
func (s *Store) GetBlob(ctx context.Context, address provider.BlobAddress) (content []byte, err error) {
	found := false
	err = s.read(ctx, "get blob", func(c *conn) (err error) {
		st := c.query(qBlobContent)
		st.BindBytes(1, address[:])
		found, err = row(st, func(st *sqlite.Stmt) { content = columnBytes(st, 0) })
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("sqlite: blob %s: %w", address, provider.ErrNotFound)
	}
	return content, err
}

// BlobsInUse implements [provider.BlobKeeper].
func (s *Store) BlobsInUse(ctx context.Context, addresses []provider.BlobAddress) ([]bool, error) {
	used := make([]bool, len(addresses))
	err := s.read(ctx, "blobs in use", func(c *conn) (err error) {
		for i := range addresses {
			st := c.query(qBlobUsed)
			st.BindBytes(1, addresses[i][:])
			if used[i], err = row(st, func(*sqlite.Stmt) {}); err != nil {
				return err
			}
		}
		return nil
	})
	return used, err
}

// SweepBlobs implements [provider.BlobKeeper]. It takes the write lock only for
// what has to be deleted.
func (s *Store) SweepBlobs(ctx context.Context, sweep provider.BlobSweep) (swept provider.BlobSwept, err error) {
	page, err := s.blobs(ctx, "sweep blobs", qBlobPage, sweep.After, sweep.Limit)
	if err != nil || len(page) == 0 {
		return swept, err
	}
	swept.Next, swept.More = page[len(page)-1].Address, len(page) == sweep.Limit
	old := page[:0]
	for _, b := range page {
		if b.Instances == 0 && b.PutAt <= now()-sweep.Idle {
			old = append(old, b)
		}
	}
	if len(old) == 0 {
		return swept, nil
	}
	deleted := make([]int64, len(old))
	err = s.w.submit(ctx, "sweep blobs", &request{n: len(old), run: func(w *writer, i int) error {
		deleted[i] = -1
		b, err := w.c.blob(old[i].Address)
		if err != nil || b.id == 0 || b.used || b.putAt > w.now-sweep.Idle {
			return err
		}
		deleted[i] = b.size
		if err := w.c.exec(qBlobContentDelete, b.id); err != nil {
			return err
		}
		return w.c.exec(qBlobDelete, b.id)
	}, fail: func(i int, _ error) { deleted[i] = -1 }}) // the next sweep finds it again
	if err != nil {
		return swept, err
	}
	for _, size := range deleted {
		if size >= 0 {
			swept.Deleted++
			swept.Bytes += size
		}
	}
	return swept, nil
}

// Blobs implements [provider.BlobKeeper].
func (s *Store) Blobs(ctx context.Context, after provider.BlobAddress, limit int) ([]provider.BlobInfo, error) {
	return s.blobs(ctx, "blobs", qBlobList, after, limit)
}

func (s *Store) blobs(ctx context.Context, op string, q statement, after provider.BlobAddress, limit int) (page []provider.BlobInfo, err error) {
	err = s.read(ctx, op, func(c *conn) error {
		page = nil
		st := c.query(q, int64(limit))
		st.BindBytes(2, after[:])
		return rows(st, func(st *sqlite.Stmt) bool {
			b := provider.BlobInfo{PutAt: st.ColumnInt64(1), Size: st.ColumnInt64(2), Instances: int(st.ColumnInt64(3))}
			st.ColumnBytes(0, b.Address[:])
			page = append(page, b)
			return true
		})
	})
	return page, err
}
