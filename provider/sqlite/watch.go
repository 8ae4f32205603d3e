package sqlite

import (
	"context"
	"fmt"
	"time"
)

// How often Watch looks: as long as others write it looks again soon, and when
// nothing happens it doubles the pause up to five looks a second.
const (
	watchSoon = 2 * time.Millisecond
	watchIdle = 200 * time.Millisecond
)

// Watch implements [provider.Provider]. PRAGMA data_version changes when
// another connection has changed the file, so it is asked on the connection
// that writes: to that one, other connections are other processes and other
// stores, and never this store itself. Each group that this store writes asks
// anyway, so Watch only has to ask when nobody is writing.
func (s *Store) Watch(ctx context.Context, notify func()) error {
	if err := s.ready(ctx, "watch"); err != nil {
		return err
	}
	timer := time.NewTimer(watchSoon)
	defer timer.Stop()
	pause := watchSoon
	seen := s.w.changes()
	for {
		if s.file == "" {
			timer.Stop() // nobody else can change a store in memory
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return s.closedError("watch")
		case <-timer.C:
		}
		pause = min(2*pause, watchIdle)
		if err := s.w.look(); err != nil {
			return s.fail("watch", err)
		}
		if n := s.w.changes(); n != seen {
			seen, pause = n, watchSoon
			notify()
		}
		timer.Reset(pause)
	}
}

// look refreshes the count of changes if nobody is writing.
func (w *writer) look() (err error) {
	w.exclusively(func() {
		if err = w.refresh(); err != nil {
			err = fmt.Errorf("data version: %w", err)
		}
		w.s.counts.readStatements.Add(w.c.steps)
		w.c.steps = 0
	})
	return err
}

// changes counts how often other connections have changed the file.
func (w *writer) changes() int64 { return w.foreign.Load() }
