package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	driver "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// A lease that no test can wait out: what goes on within a test did not wait
// for it.
const endless = "10m"

// shared is a store with instances that are busy for about two seconds.
type shared struct {
	*place
	t     *testing.T
	runs  []*durango.Run[string]
	steps int // of each instance; 12 take about two seconds
	made  int
}

func share(t *testing.T) *shared {
	return &shared{t: t, place: onSQLite(t), steps: 12}
}

func (s *shared) start(n int) {
	s.t.Helper()
	client := durango.NewClient(s.store)
	for range n {
		r, err := slowly.Start(s.t.Context(), client, fmt.Sprint("s", s.made), s.steps)
		assert.NoError(s.t, err)
		s.made++
		s.runs = append(s.runs, r)
	}
}

// finish waits for all instances and checks their histories.
func (s *shared) finish() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for _, r := range s.runs {
		out, err := r.Wait(ctx)
		if err != nil {
			row, _ := s.store.Get(context.Background(), provider.Target{ID: r.ID()})
			nodes, _ := s.store.Nodes(context.Background())
			s.t.Fatalf("%s: %v\n%+v\nnodes %+v", r.ID(), err, row, nodes)
		}
		assert.Equal(s.t, out, "done")
		row, err := s.store.Get(ctx, provider.Target{ID: r.ID()})
		assert.NoError(s.t, err)
		verifyHistory(s.t, s.store, &row, nil)
	}
}

// ownedBy waits until a process owns instances, and returns its node.
func (s *shared) ownedBy(p *process) provider.NodeKey {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		nodes, err := s.store.Nodes(s.t.Context())
		assert.NoError(s.t, err)
		for _, n := range nodes {
			if n.Info.PID != p.cmd.Process.Pid {
				continue
			}
			h, err := s.store.Owned(s.t.Context(), n.Key)
			assert.NoError(s.t, err)
			if len(h.Instances)+len(h.Tasks) > 0 {
				return n.Key
			}
		}
	}
	s.t.Fatal("the worker owns nothing")
	return 0
}

// attempts counts the lines of the ledger that a process wrote.
func (s *shared) attempts(p *process) int {
	b, err := os.ReadFile(s.ledger())
	assert.NoError(s.t, err)
	return strings.Count(string(b), fmt.Sprintf("\t%d\n", p.cmd.Process.Pid))
}

// Two processes share one file and one is killed: "whoever can take its file
// lock may declare death at once" (DESIGN 6), so the other does not wait for
// the lease.
func TestTheOtherProcessFinishes(t *testing.T) {
	s := share(t)
	a := spawn(t, s.place, endless)
	a.waitReady(t)
	s.start(30)
	s.ownedBy(a)
	b := spawn(t, s.place, endless)
	b.waitReady(t)
	a.kill()
	killed := time.Now()
	s.finish()
	t.Logf("finished %s after the kill; the dead process began %d attempts, the other %d", time.Since(killed).Round(time.Millisecond), s.attempts(a), s.attempts(b))
	b.drain(t)
	verifyNothingHeld(t, s.store)
}

// DESIGN 6: "so a restart does not wait out a lease."
func TestARestartDoesNotWait(t *testing.T) {
	s := share(t)
	a := spawn(t, s.place, endless)
	a.waitReady(t)
	s.start(30)
	s.ownedBy(a)
	a.kill()
	killed := time.Now()
	b := spawn(t, s.place, endless)
	b.waitReady(t)
	s.ownedBy(b)
	t.Logf("work went on %s after the kill", time.Since(killed).Round(time.Millisecond))
	s.finish()
	b.drain(t)
	verifyNothingHeld(t, s.store)
}

// DESIGN 6: "A zombie can waste work; it cannot write", and "a node whose
// heartbeat finds no row … joins again under a new key". The file is locked
// while the process is stopped, so that it is not stopped inside a transaction:
// such a node stops all writers until it goes on, which is documented.
func TestAStoppedProcessCannotWriteAndJoinsAgain(t *testing.T) {
	s := share(t)
	a := spawn(t, s.place, "1s")
	a.waitReady(t)
	s.start(30)
	old := s.ownedBy(a)
	b := spawn(t, s.place, "1s")
	b.waitReady(t)
	s.whileLocked(func() { a.signal(t, syscall.SIGSTOP) })
	s.finish() // b observes that a's beat stands still for a lease
	a.signal(t, syscall.SIGCONT)
	b.drain(t)
	s.runs = nil
	s.start(10)
	if again := s.ownedBy(a); again == old {
		t.Errorf("the process works under key %d, which had been buried", old)
	}
	s.finish()
	a.drain(t)
	verifyNothingHeld(t, s.store)
}

// whileLocked does something while nobody else can be inside a transaction.
func (s *shared) whileLocked(f func()) {
	s.t.Helper()
	c, err := driver.OpenConn(filepath.Join(s.dir, "crash.db"), driver.OpenReadWrite)
	assert.NoError(s.t, err)
	defer c.Close()
	c.SetBusyTimeout(30 * time.Second)
	assert.NoError(s.t, sqlitex.ExecuteTransient(c, "BEGIN IMMEDIATE", nil))
	f()
	assert.NoError(s.t, sqlitex.ExecuteTransient(c, "ROLLBACK", nil))
}

// DESIGN 6, rule 4: "Drain first turns running local tasks into tasks rows."
// Nothing of a draining process waits for a lease either.
func TestADrainingProcessHandsOver(t *testing.T) {
	s := share(t)
	s.steps = 60 // not over before the other process has begun, however slow the machine is
	a := spawn(t, s.place, endless)
	a.waitReady(t)
	s.start(30)
	s.ownedBy(a)
	b := spawn(t, s.place, endless)
	b.waitReady(t)
	took := a.drain(t)
	t.Logf("drained in %s", took.Round(time.Millisecond))
	s.ownedBy(b)
	s.finish()
	b.drain(t)
	verifyNothingHeld(t, s.store)
}
