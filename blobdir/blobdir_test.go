package blobdir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	gosync "sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "blobs"))
	assert.NoError(t, err)
	return s
}

func address(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func put(t *testing.T, s *Store, content string) string {
	t.Helper()
	assert.NoError(t, s.Put(t.Context(), address(content), []byte(content)))
	return address(content)
}

func age(t *testing.T, s *Store, content string, by time.Duration) {
	t.Helper()
	path, err := s.path(address(content))
	assert.NoError(t, err)
	at := time.Now().Add(-by)
	assert.NoError(t, os.Chtimes(path, at, at))
}

func there(t *testing.T, s *Store, content string, want bool) {
	t.Helper()
	got, err := s.Get(t.Context(), address(content))
	if want {
		assert.NoError(t, err, content)
		assert.Equal(t, string(got), content)
		return
	}
	assert.ErrorIs(t, err, durango.ErrBlobNotFound, content)
}

// using is a sweep of what is older than an hour and not among the contents.
func using(contents ...string) durango.BlobSweep {
	return durango.BlobSweep{Idle: time.Hour, Limit: 100, InUse: func(_ context.Context, addresses []string) ([]bool, error) {
		used := make([]bool, len(addresses))
		for i, a := range addresses {
			for _, c := range contents {
				used[i] = used[i] || a == address(c)
			}
		}
		return used, nil
	}}
}

func TestPutAndGet(t *testing.T) {
	s := open(t)
	there(t, s, "x", false)
	put(t, s, "x")
	put(t, s, "x")
	there(t, s, "x", true)
	again, err := Open(s.root)
	assert.NoError(t, err)
	there(t, again, "x", true)
	left, err := os.ReadDir(filepath.Join(s.root, incoming))
	assert.NoError(t, err)
	assert.Equal(t, len(left), 0)
	for _, bad := range []string{"", "../../etc/passwd", "ab", address("x")[1:], "A" + address("x")[1:]} {
		assert.ErrorIs(t, s.Put(t.Context(), bad, nil), durango.ErrInvalid, bad)
		_, err := s.Get(t.Context(), bad)
		assert.ErrorIs(t, err, durango.ErrInvalid, bad)
	}
}

func TestSweep(t *testing.T) {
	s := open(t)
	for i := range 20 {
		c := fmt.Sprint("content ", i)
		put(t, s, c)
		if i%2 == 0 {
			age(t, s, c, 2*time.Hour)
		}
	}
	sweep, deleted, calls := using("content 0", "content 1"), 0, 0
	sweep.Limit = 3
	for more := true; more; calls++ {
		swept, err := s.Sweep(t.Context(), sweep)
		assert.NoError(t, err)
		deleted += swept.Deleted
		sweep.After, more = swept.Next, swept.Next != ""
	}
	assert.Equal(t, deleted, 9)
	assert.Equal(t, calls, 7)
	for i := range 20 {
		there(t, s, fmt.Sprint("content ", i), i == 0 || i%2 == 1)
	}
	age(t, s, "content 0", 2*time.Hour)
	put(t, s, "content 0") // makes it young
	swept, err := s.Sweep(t.Context(), using())
	assert.NoError(t, err)
	assert.Equal(t, swept.Deleted, 0)
}

// What is put, or referred to, after a sweep has looked survives it.
func TestSweepLooksAgain(t *testing.T) {
	for _, how := range []string{"put", "refer", "put while it is away"} {
		s := open(t)
		put(t, s, "x")
		age(t, s, "x", 2*time.Hour)
		asked := 0
		sweep := using()
		sweep.InUse = func(ctx context.Context, addresses []string) ([]bool, error) {
			asked++
			switch {
			case how == "put" && asked == 1, how == "put while it is away" && asked == 2:
				put(t, s, "x")
			}
			if asked == 2 {
				there(t, s, "x", true) // also while it is away
			}
			return []bool{how == "refer" && asked > 1}, nil
		}
		swept, err := s.Sweep(t.Context(), sweep)
		assert.NoError(t, err)
		there(t, s, "x", true)
		assert.Equal(t, asked, 2, how)
		assert.Equal(t, swept.Deleted > 0, how == "put while it is away", how)
		// And it is as young as what was put.
		_, err = s.Sweep(t.Context(), using())
		assert.NoError(t, err)
		there(t, s, "x", true)
	}
}

// A process that ends within a sweep, or a put, leaves what the next sweep
// decides.
func TestSweepGoesOn(t *testing.T) {
	s := open(t)
	for _, c := range []string{"used", "unused"} {
		put(t, s, c)
		age(t, s, c, 2*time.Hour)
	}
	cut := errors.New("cut short")
	sweep, asked := using(), 0
	sweep.InUse = func(_ context.Context, addresses []string) ([]bool, error) {
		if asked++; asked > 1 {
			return nil, cut
		}
		return make([]bool, len(addresses)), nil
	}
	_, err := s.Sweep(t.Context(), sweep)
	assert.ErrorIs(t, err, cut)
	unfinished := filepath.Join(s.root, incoming, "half")
	assert.NoError(t, os.WriteFile(unfinished, nil, 0o600))
	old := time.Now().Add(-2 * time.Hour)
	assert.NoError(t, os.Chtimes(unfinished, old, old))
	_, err = s.Sweep(t.Context(), using("used"))
	assert.NoError(t, err)
	there(t, s, "used", true)
	there(t, s, "unused", false)
	_, err = os.Stat(unfinished)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// Puts and sweeps at once: whatever Put has returned from is there.
func TestPutsRaceWithSweeps(t *testing.T) {
	s := open(t)
	done := make(chan struct{})
	var sweeping gosync.WaitGroup
	for range 2 {
		sweeping.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if _, err := s.Sweep(t.Context(), using()); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 200 {
		put(t, s, "x")
		there(t, s, "x", true)
		path, err := s.path(address("x"))
		assert.NoError(t, err)
		old := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(path, old, old); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	close(done)
	sweeping.Wait()
}
