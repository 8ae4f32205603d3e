package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// How often Watch looks. As long as others write it looks again soon, and when
// nothing happens it doubles the pause up to five looks a second. Where the
// system tells that the write-ahead log is written, it sleeps then until it is
// told, and looks once in a while lest it is not.
const (
	watchSoon = 2 * time.Millisecond
	watchIdle = 200 * time.Millisecond
	watchRare = 5 * time.Second
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
	var log *os.File // what tells of it; nil: nothing does
	if s.file != "" {
		var ended func()
		if log, ended = s.watchLog(ctx); log != nil {
			defer ended()
		}
	}
	timer := time.NewTimer(watchSoon)
	defer timer.Stop()
	if s.file == "" {
		timer.Stop() // nobody else can change a store in memory
	}
	seen, groups, pause := s.w.changes(), s.counts.transactions.Load(), watchSoon
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return s.closedError("watch")
		case <-timer.C:
		}
		if log != nil {
			drain(log) // what it has told is what is looked for now
		}
		pause = min(2*pause, watchIdle)
		if err := s.w.look(); err != nil {
			return s.fail("watch", err)
		}
		mine := s.counts.transactions.Load() != groups // and a group sees what others did before it
		groups = s.counts.transactions.Load()
		if n := s.w.changes(); n != seen {
			seen, pause, mine = n, watchSoon, false
			notify()
		}
		if log != nil && (mine || pause == watchIdle) {
			began := time.Now()
			told, err := written(log, began.Add(watchRare))
			if err != nil {
				log = nil // or ended, which the next round sees
			}
			if told && time.Since(began) > watchIdle {
				pause = watchSoon // who has written the log is seen a moment later
			}
		}
		timer.Reset(pause)
	}
}

// watchLog opens what tells of writes to the log, which ends with ctx or with
// the store. It returns nil if nothing does.
func (s *Store) watchLog(ctx context.Context) (log *os.File, ended func()) {
	log, err := watchFile(s.file + "-wal")
	if err != nil {
		return nil, nil
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
		case <-s.closing:
		case <-stop:
		}
		_ = log.Close()
	}()
	return log, func() {
		close(stop)
		<-done
	}
}

// written waits until the log has been written, or for a time.
func written(log *os.File, deadline time.Time) (told bool, err error) {
	if err := log.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	var reports [4096]byte
	_, err = log.Read(reports[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
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
