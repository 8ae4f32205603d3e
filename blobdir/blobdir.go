// Package blobdir keeps the contents of Blobs as files of a directory, which
// several processes may share, also over a network file system that renames
// atomically:
//
//	blobs, err := blobdir.Open("/var/lib/app/blobs")
//	rt, err := durango.New(store, durango.Options{Blobs: durango.BlobOptions{Store: blobs}})
//
// A content is the file aa/bb/aabb… named by its SHA-256. Who refers to it is
// known to the other store alone, so a backup of that one first and of the
// directory afterwards is complete. Ages are told by the clocks of those who
// write and sweep: let them be apart by less than [durango.BlobOptions].Idle.
package blobdir

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/durango-go/durango"
)

// Store is a [durango.BlobStore] in a directory.
type Store struct{ root string }

var _ durango.BlobStore = (*Store)(nil)

// Directories beside those of contents. Neither name is of hexadecimal digits.
const (
	incoming = "incoming"
	trash    = "trash"
)

// Open returns the store in a directory, which it makes if it is not there.
func Open(dir string) (*Store, error) {
	for _, sub := range []string{incoming, trash} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("blobdir: %w", err)
		}
	}
	if err := sync(dir); err != nil {
		return nil, fmt.Errorf("blobdir: %w", err)
	}
	return &Store{dir}, nil
}

// path is where a content is. Addresses come from users' stores as well, and
// must not lead out of the directory.
func (s *Store) path(address string) (string, error) {
	if b, err := hex.DecodeString(address); err != nil || len(b) != 32 || strings.ToLower(address) != address {
		return "", fmt.Errorf("blobdir: %w: %.80q is not a SHA-256 in hexadecimal digits", durango.ErrInvalid, address)
	}
	return filepath.Join(s.root, address[:2], address[2:4], address), nil
}

// Put implements [durango.BlobStore]. What it returns from survives a power
// failure.
func (s *Store) Put(_ context.Context, address string, content []byte) error {
	path, err := s.path(address)
	if err != nil {
		return err
	}
	now := time.Now()
	// A sweep that has taken the file since leaves nothing here to be made young.
	if err = os.Chtimes(path, now, now); errors.Is(err, fs.ErrNotExist) {
		err = s.write(path, content)
	}
	if err == nil {
		err = sync(filepath.Dir(path)) // also of what another has just renamed
	}
	if err != nil {
		return fmt.Errorf("blobdir: put: %w", err)
	}
	return nil
}

func (s *Store) write(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := errors.Join(sync(filepath.Dir(dir)), sync(s.root)); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Join(s.root, incoming), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// sync makes the names in a directory durable.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get implements [durango.BlobStore].
func (s *Store) Get(_ context.Context, address string) ([]byte, error) {
	path, err := s.path(address)
	if err != nil {
		return nil, err
	}
	// Sweeps may have taken it, and may bring it back.
	from := s.trashed(address)
	for _, at := range []string{path, from, path, from, path, from, path} {
		b, err := os.ReadFile(at)
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("blobdir: get: %w", err)
		}
	}
	return nil, durango.ErrBlobNotFound
}

func (s *Store) trashed(address string) string { return filepath.Join(s.root, trash, address) }
