package blobdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/durango-go/durango"
)

// Sweep implements [durango.BlobStore]. A file is moved out of the way before it
// is decided upon: from then on nobody can make it young, and who puts its
// content writes another. What was put or referred to in between is brought
// back. Several processes may sweep at once, and one that ends in between leaves
// what the next one decides.
func (s *Store) Sweep(ctx context.Context, sweep durango.BlobSweep) (swept durango.BlobSwept, err error) {
	cutoff := time.Now().Add(-sweep.Idle)
	if sweep.After == "" {
		if err := s.recover(ctx, &sweep, cutoff, &swept); err != nil {
			return swept, fmt.Errorf("blobdir: sweep: %w", err)
		}
	}
	page, more, err := s.page(sweep.After, max(sweep.Limit, 1))
	if err != nil {
		return swept, fmt.Errorf("blobdir: sweep: %w", err)
	}
	var old []string
	for _, address := range page {
		path, _ := s.path(address) // a page has nothing else
		if info, err := os.Stat(path); err == nil && info.ModTime().Before(cutoff) {
			old = append(old, address)
		}
	}
	if len(old) > 0 {
		used, err := sweep.InUse(ctx, old)
		if err != nil {
			return swept, err
		}
		for i, address := range old {
			if used[i] {
				continue
			}
			path, _ := s.path(address)
			if err := os.Rename(path, s.trashed(address)); err != nil {
				continue // another sweep has it
			}
			if err := s.decide(ctx, address, &sweep, cutoff, &swept); err != nil {
				return swept, fmt.Errorf("blobdir: sweep: %w", err)
			}
		}
	}
	if more {
		swept.Next = page[len(page)-1]
	}
	return swept, nil
}

// decide deletes what is in the trash, or brings it back.
func (s *Store) decide(ctx context.Context, address string, sweep *durango.BlobSweep, cutoff time.Time, swept *durango.BlobSwept) error {
	from := s.trashed(address)
	info, err := os.Stat(from)
	if err != nil {
		return gone(err)
	}
	used, err := sweep.InUse(ctx, []string{address})
	if err != nil {
		return err // the next sweep decides
	}
	if !used[0] && info.ModTime().Before(cutoff) {
		if err := os.Remove(from); err != nil {
			return gone(err)
		}
		swept.Deleted++
		swept.Bytes += info.Size()
		return nil
	}
	// It replaces what was put meanwhile, which is the same, and must be as young.
	path, _ := s.path(address)
	now := time.Now()
	if err := os.Chtimes(from, now, now); err != nil {
		return gone(err)
	}
	if err := os.Rename(from, path); err != nil {
		return gone(err)
	}
	return sync(filepath.Dir(path))
}

// gone forgives that another has been faster.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// recover decides on what a sweep that was cut short has left, and removes what
// was never put to its end.
func (s *Store) recover(ctx context.Context, sweep *durango.BlobSweep, cutoff time.Time, swept *durango.BlobSwept) error {
	left, err := os.ReadDir(filepath.Join(s.root, trash))
	if err != nil {
		return err
	}
	for _, f := range left {
		if _, err := s.path(f.Name()); err != nil {
			continue
		}
		if err := s.decide(ctx, f.Name(), sweep, cutoff, swept); err != nil {
			return err
		}
	}
	unfinished, err := os.ReadDir(filepath.Join(s.root, incoming))
	if err != nil {
		return err
	}
	for _, f := range unfinished {
		if info, err := f.Info(); err == nil && info.ModTime().Before(cutoff) {
			if err := gone(os.Remove(filepath.Join(s.root, incoming, f.Name()))); err != nil {
				return err
			}
		}
	}
	return nil
}

// page lists up to limit addresses behind one, in their order.
func (s *Store) page(after string, limit int) (page []string, more bool, err error) {
	first, err := names(s.root, 2)
	if err != nil {
		return nil, false, err
	}
	for _, a := range first {
		if len(after) > 2 && a < after[:2] {
			continue
		}
		second, err := names(filepath.Join(s.root, a), 2)
		if err != nil {
			return nil, false, err
		}
		for _, b := range second {
			if len(after) > 4 && a+b < after[:4] {
				continue
			}
			files, err := names(filepath.Join(s.root, a, b), 64)
			if err != nil {
				return nil, false, err
			}
			for _, f := range files {
				if f <= after || f[:4] != a+b {
					continue
				}
				if len(page) == limit {
					return page, true, nil
				}
				page = append(page, f)
			}
		}
	}
	return page, false, nil
}

// names lists the names of n hexadecimal digits in a directory, in order.
func names(dir string, n int) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, gone(err)
	}
	var list []string
	for _, e := range entries {
		digits := !slices.ContainsFunc([]byte(e.Name()), func(c byte) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') })
		if len(e.Name()) == n && digits {
			list = append(list, e.Name())
		}
	}
	return list, nil
}
