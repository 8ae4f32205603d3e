package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// tellEvery is the least time between two notifications. Each costs all
	// that notify a turn at one lock of the server, so they are never part of
	// a transaction that matters.
	tellEvery = 5 * time.Millisecond
	// listenAgain is the pause after a connection that listens was lost, from
	// the first to the longest.
	listenAgain    = 50 * time.Millisecond
	listenAgainMax = 5 * time.Second
)

// newSelf makes what tells a process's own notifications from those of others; each Store
// counts as a process.
func newSelf() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// channel is the name under which the schema's news are told. Channels belong
// to the database.
func (s *Store) channel() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.options.Schema))
	return fmt.Sprintf("durango_%016x", h.Sum64())
}

// announce has others told that something changed, soon.
func (s *Store) announce() {
	select {
	case s.news <- struct{}{}:
	default: // they will be told anyway
	}
}

// tell sends notifications until ctx ends. Who misses one polls.
func (s *Store) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
		}
		if c, err := s.writers.Acquire(ctx); err == nil {
			b := &pgx.Batch{}
			b.Queue("BEGIN")
			b.Queue("SET LOCAL synchronous_commit = off") // nothing is written
			b.Queue("SELECT pg_notify($1, $2)", s.channel(), s.listener.self)
			b.Queue("COMMIT")
			s.counts.trip(b.Len(), false)
			_ = c.SendBatch(ctx, b).Close()
			c.Release()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tellEvery):
		}
	}
}

// listener has one connection that listens for all who watch.
type listener struct {
	self string

	mu       sync.Mutex
	watchers map[*func()]struct{}
	stop     context.CancelFunc
	done     chan struct{}
}

// Watch implements [provider.Provider].
func (s *Store) Watch(ctx context.Context, notify func()) error {
	if err := s.ready(ctx, "watch"); err != nil {
		return err
	}
	if !s.options.NoListen {
		s.listener.add(s, &notify)
		defer s.listener.remove(&notify)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return s.closedError("watch")
	}
}

func (l *listener) add(s *Store, notify *func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers == nil {
		l.watchers = map[*func()]struct{}{}
	}
	l.watchers[notify] = struct{}{}
	if len(l.watchers) > 1 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	before := l.done
	l.stop, l.done = stop, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		if before != nil {
			<-before
		}
		s.listen(ctx)
	}(l.done)
}

func (l *listener) remove(notify *func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers, notify)
	if len(l.watchers) == 0 {
		l.stop()
	}
}

// wait waits for the connection to be closed.
func (l *listener) wait() {
	l.mu.Lock()
	done := l.done
	if l.stop != nil {
		l.stop()
	}
	l.mu.Unlock()
	if done != nil {
		<-done
	}
}

func (l *listener) notify() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.watchers {
		(*n)()
	}
}

// listen listens until ctx ends, on another connection when one is lost.
func (s *Store) listen(ctx context.Context) {
	pause := listenAgain
	for ctx.Err() == nil {
		if s.listenOnce(ctx) {
			pause = listenAgain
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, listenAgainMax)
	}
}

// listenOnce listens on one connection, and reports whether it came about.
func (s *Store) listenOnce(ctx context.Context) (listened bool) {
	c, err := pgx.ConnectConfig(ctx, s.config.Copy())
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackPatience)
		defer cancel()
		_ = c.Close(ctx)
	}()
	if _, err := c.Exec(ctx, "LISTEN "+pgx.Identifier{s.channel()}.Sanitize()); err != nil {
		return false
	}
	s.listener.notify() // something may have happened before
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return true
		}
		if n.Payload != s.listener.self {
			s.listener.notify()
		}
	}
}
