package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/durango-go/durango/provider"
)

// device stands between a store and its disk.
type device struct {
	flushes atomic.Int64
	fail    atomic.Bool
	began   chan struct{} // receives when a flush begins, if it is not nil
	end     chan struct{} // a flush ends by receiving from it
}

func (d *device) force(f *os.File) error {
	d.flushes.Add(1)
	if d.began != nil {
		d.began <- struct{}{}
		<-d.end
	}
	if d.fail.Load() {
		return errors.New("broken disk")
	}
	return syncData(f)
}

// onDevice opens a store whose disk the test holds.
func onDevice(t *testing.T) (*Store, *device) {
	s, d := open(t, Options{}), &device{}
	s.flusher.force = d.force
	return s, d
}

// DESIGN 7: "Durable means durable". Nobody is told of what is not flushed,
// neither who wrote it nor who reads it, and the next group is written meanwhile.
func TestNobodyIsAnsweredBeforeTheFlush(t *testing.T) {
	s, d := onDevice(t)
	node := join(t, s)
	a, b := create(t, s, node, "a"), create(t, s, node, "b")
	d.began, d.end = make(chan struct{}), make(chan struct{})
	answered := make(chan string, 10)
	end := turn(a, 1)
	end.Status, end.Outcome = provider.Completed, []byte("done")
	go func() {
		must(t, commit(t, s, node, end))
		answered <- "first"
	}()
	<-d.began
	go func() {
		must(t, commit(t, s, node, turn(b, 1)))
		answered <- "second"
	}()
	other := raw(t, s)
	must(t, other.prepare())
	for { // the second is in the log, as another connection sees it
		e, err := readEntry(other, s, b)
		must(t, err)
		if e.NextTurn == 2 {
			break
		}
	}
	go func() {
		o, err := s.Outcomes(t.Context(), []provider.Target{{Key: a}})
		must(t, err)
		answered <- "outcome " + string(o[0].Payload)
	}()
	go func() {
		in, err := s.Get(t.Context(), provider.Target{Key: a})
		must(t, err)
		answered <- "row " + in.Status.String()
	}()
	select {
	case who := <-answered:
		t.Fatalf("%s was answered before the flush", who)
	case <-time.After(50 * time.Millisecond): // what is wrong would be seen at once
	}
	got := map[string]bool{}
	for len(got) < 4 {
		select {
		case d.end <- struct{}{}:
		case <-d.began:
		case who := <-answered:
			got[who] = true
		}
	}
	for _, who := range []string{"first", "second", "outcome done", "row Completed"} {
		if !got[who] {
			t.Errorf("%s was not answered: %v", who, got)
		}
	}
}

// What could not be flushed may be lost, and no repetition can tell.
func TestAFailedFlushEndsAllWriting(t *testing.T) {
	s, d := onDevice(t)
	node := join(t, s)
	key := create(t, s, node, "a")
	d.fail.Store(true)
	if err := commit(t, s, node, turn(key, 1)); !errors.Is(err, provider.ErrUnknownOutcome) {
		t.Fatalf("commit: %v", err)
	}
	d.fail.Store(false) // as a kernel does that has reported the loss once
	if err := commit(t, s, node, turn(key, 1)); !errors.Is(err, provider.ErrUnknownOutcome) {
		t.Errorf("the same commit again: %v", err)
	}
	if _, err := s.Get(t.Context(), provider.Target{Key: key}); !errors.Is(err, provider.ErrUnknownOutcome) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Heartbeat(t.Context(), node); !errors.Is(err, provider.ErrUnknownOutcome) {
		t.Errorf("heartbeat: %v", err)
	}
	name := s.name
	must(t, s.Close())
	again, err := Open(name)
	must(t, err)
	defer again.Close()
	must(t, commit(t, again, node, turn(key, 1)))
}

// A node that finds nothing to do costs no flush.
func TestAnIdleStoreIsNotFlushed(t *testing.T) {
	s, d := onDevice(t)
	node := join(t, s)
	before := d.flushes.Load()
	for range 5 {
		_, err := s.Claim(t.Context(), provider.ClaimRequest{Node: node, Definitions: []provider.Definition{{Name: "flow", Version: "1"}}, Limit: 10})
		must(t, err)
		_, err = s.ClaimTasks(t.Context(), provider.TaskClaim{Node: node, Filters: []provider.TaskFilter{{Name: "act"}}, Limit: 10})
		must(t, err)
	}
	if n := d.flushes.Load() - before; n != 0 {
		t.Errorf("%d flushes of nothing", n)
	}
}

// What another process has written, and not flushed, is flushed by who reads it.
func TestWhatOthersWroteIsFlushedByItsReader(t *testing.T) {
	writer, slow := onDevice(t)
	node := join(t, writer)
	key := create(t, writer, node, "a")
	reader, err := Open(writer.name)
	must(t, err)
	defer reader.Close()
	d := &device{}
	reader.flusher.force = d.force
	slow.began, slow.end = make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		end := turn(key, 1)
		end.Status = provider.Completed
		done <- commit(t, writer, node, end)
	}()
	<-slow.began
	o, err := reader.Outcomes(t.Context(), []provider.Target{{Key: key}})
	must(t, err)
	if o[0].Status != provider.Completed || d.flushes.Load() == 0 {
		t.Errorf("status %v was read after %d flushes", o[0].Status, d.flushes.Load())
	}
	slow.end <- struct{}{}
	must(t, <-done)

	// A group of the reader's own that came later has flushed it, too.
	join(t, reader)
	before := d.flushes.Load()
	_, err = reader.Outcomes(t.Context(), []provider.Target{{Key: key}})
	must(t, err)
	if n := d.flushes.Load() - before; n != 0 {
		t.Errorf("%d flushes for what is durable", n)
	}
}

// A store opened at NORMAL, or in memory, leaves flushing to others.
func TestOnlyFullFlushes(t *testing.T) {
	normal, err := OpenWith(filepath.Join(t.TempDir(), "s.db"), Options{Synchronous: Normal})
	must(t, err)
	defer normal.Close()
	memory, err := Open(":memory:")
	must(t, err)
	defer memory.Close()
	if normal.flusher != nil || memory.flusher != nil {
		t.Error("a store flushes that need not")
	}
}

// A reader makes durable what it has read; who closes the store meanwhile waits
// for the flush, and refuses the next one.
func TestCloseMeetsReaders(t *testing.T) {
	for range 5 {
		s := open(t, Options{})
		other := openAt(t, s.name, Options{}) // whatever it writes, s flushes before it tells
		create(t, s, 0, "a")
		var readers sync.WaitGroup
		reading := make(chan struct{}, 4)
		for range cap(reading) {
			readers.Go(func() {
				_, err := s.Get(t.Context(), provider.Target{ID: "a"})
				reading <- struct{}{}
				for err == nil {
					_, err = s.Get(t.Context(), provider.Target{ID: "a"})
				}
				if !errors.Is(err, provider.ErrClosed) {
					t.Errorf("a reader of a store that is closed: %v", err)
				}
			})
		}
		<-reading
		create(t, other, 0, "b")
		must(t, s.Close())
		readers.Wait()
	}
}
