// Package memory is the reference implementation of the storage contract: one
// lock, a few maps, and each operation written the way CONTRACT.md words it.
// Where a promise of the contract is in doubt, this package is its reading.
//
// Nothing outlives the process. Time is time.Now and there are no goroutines,
// so that a store made inside a testing/synctest bubble lives in virtual time.
package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/durango-go/durango/provider"
)

// Store keeps everything in memory. It is safe for concurrent use. What it
// returns shares memory with the store and must not be written to.
type Store struct {
	// MaxEventSize is the largest payload in bytes; zero means no limit. It
	// must not change once the store is in use.
	MaxEventSize int
	// ClockOffset is by how much the store's clock is ahead of time.Now, as a
	// server's is of those of its clients; negative: behind, zero: they agree.
	// It must not change once the store is in use.
	ClockOffset time.Duration

	mu        sync.Mutex
	closed    bool
	nodes     map[provider.NodeKey]*provider.NodeView
	instances map[provider.Key]*instance
	byID      map[string]*instance
	// open holds the instances that have not ended, so that what has ended
	// costs a claim nothing.
	open map[provider.Key]*instance
	// tasks holds the task rows of each instance that has any.
	tasks map[provider.Key]map[taskID]*provider.Task
	// sessions holds the sessions that a node has, by name.
	sessions map[string]*session
	blobs    map[provider.BlobAddress]*blob
}

var (
	_ provider.Provider  = (*Store)(nil)
	_ provider.Inspector = (*Store)(nil)
)

// Open makes an empty store.
func Open() *Store {
	return &Store{
		nodes:     map[provider.NodeKey]*provider.NodeView{},
		instances: map[provider.Key]*instance{},
		byID:      map[string]*instance{},
		open:      map[provider.Key]*instance{},
		tasks:     map[provider.Key]map[taskID]*provider.Task{},
		sessions:  map[string]*session{},
		blobs:     map[provider.BlobAddress]*blob{},
	}
}

// Describe implements [provider.Provider].
func (s *Store) Describe(ctx context.Context) (provider.Description, error) {
	now, err := s.begin(ctx, "describe")
	if err != nil {
		return provider.Description{}, err
	}
	defer s.mu.Unlock()
	return provider.Description{
		Name: "memory", Version: "1", Contract: provider.Supported,
		Capabilities: provider.Capabilities{Inspect: true, Hasten: true, Hold: true, Amend: true, Notes: true, Blobs: true},
		Durability:   "memory", MaxEventSize: s.MaxEventSize, Now: now,
	}, nil
}

// Watch waits for ctx: nobody else can change the store.
func (s *Store) Watch(ctx context.Context, notify func()) error {
	<-ctx.Done()
	return ctx.Err()
}

// Close makes every later call fail with ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// begin starts a transaction: it takes the lock, which the caller releases
// unless begin failed, and reads the clock once for all that follows.
func (s *Store) begin(ctx context.Context, op string) (now int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("memory: %s: %w", op, err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, fmt.Errorf("memory: %s: %w", op, provider.ErrClosed)
	}
	return time.Now().Add(s.ClockOffset).UnixNano(), nil
}

func (s *Store) tooLarge(payloads ...[]byte) bool {
	for _, p := range payloads {
		if s.MaxEventSize > 0 && len(p) > s.MaxEventSize {
			return true
		}
	}
	return false
}

// keep copies b: callers reuse their buffers as soon as a call returns. Its
// capacity is its length, so that a reader who appends to it cannot reach
// another reader.
func keep(b []byte) []byte {
	if b == nil {
		return nil
	}
	c := make([]byte, len(b))
	copy(c, b)
	return c
}
