package sqlite

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango/provider"
)

// flusher makes the write-ahead log durable. With synchronous=FULL SQLite
// flushes within COMMIT, so that nobody can write meanwhile; the flush is most of
// the time of a group. Here SQLite writes the log (synchronous=NORMAL, which
// keeps the order of log, checkpoint and file), the next group follows at once,
// and nobody is answered before what he wrote has been flushed: what was
// acknowledged is what it was. What lies in the log is in the order of the
// commits, so a flush covers every group before it.
type flusher struct {
	log     *os.File
	force   func(*os.File) error // onto the device
	written atomic.Int64         // groups that are in the log
	flushed atomic.Int64         // groups that have been flushed
	// last is the group that was written last, and covered when the last one that
	// has been flushed took the write lock.
	last    atomic.Pointer[group]
	covered atomic.Int64

	mu     sync.Mutex
	began  time.Time // the last flush
	failed error
}

// group is a transaction of this process.
type group struct {
	number int64
	began  int64 // when it had the write lock
}

func newFlusher(path string) (*flusher, error) {
	log, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	f := &flusher{log: log, force: syncData}
	f.add(0) // what this process found there, or has migrated
	return f, nil
}

// add notes that a group has been written, and returns its number. Only who has
// the lead calls it.
func (f *flusher) add(began int64) int64 {
	number := f.written.Load() + 1
	f.last.Store(&group{number, began})
	f.written.Store(number)
	return number
}

// covers reports whether what was written under a lock that somebody had at a
// time is durable: nobody has the lock twice at once, so whoever began before a
// group of this process had ended before it.
func (f *flusher) covers(began int64) bool { return began <= f.covered.Load() }

// flush returns when the groups up to a number are durable. Whoever waits for
// a flush that had begun before his group was written shares the next one.
func (f *flusher) flush(group int64) error {
	if f.flushed.Load() >= group {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flushed.Load() >= group {
		return nil
	}
	return f.sync()
}

// sync flushes what is in the log. The caller holds f.mu.
func (f *flusher) sync() error {
	if f.failed != nil {
		return f.failed
	}
	to := f.last.Load()
	f.began = time.Now()
	if err := f.force(f.log); err != nil {
		// The system may have dropped what it could not write, and would report
		// success the next time.
		f.failed = fmt.Errorf("%w: flush of the write-ahead log: %w; nothing more is written until the store is opened again",
			provider.ErrUnknownOutcome, err)
		return f.failed
	}
	f.covered.Store(to.began)
	f.flushed.Store(to.number)
	return nil
}

// slack is more than the difference between the clock that stamps files and the
// one that this process reads.
const slack = 50 * time.Millisecond

// settle makes what has been read durable before it is handed out: this
// process's groups, and those of other processes, whose last ones may be
// on their way to the disk.
func (f *flusher) settle() error {
	if err := f.flush(f.written.Load()); err != nil {
		return err
	}
	read := time.Now()
	info, err := f.log.Stat()
	if errors.Is(err, os.ErrClosed) {
		return provider.ErrClosed
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.began.After(read) || info.ModTime().Add(slack).Before(f.began) {
		return f.failed
	}
	return f.sync()
}

// close waits for the flush of a reader who is under way. The next one is
// refused; whatever this process wrote has been flushed.
func (f *flusher) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = provider.ErrClosed
	}
	_ = f.log.Close() // nothing was written through it
}
