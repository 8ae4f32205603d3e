package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/sqlite"
)

var (
	kills = flag.Int("kills", 200, "how many SIGKILLs")
	seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "what decides when and whom")
)

// DESIGN 11: "real binaries over SQLite …, SIGKILL … at random …; a ledger
// counts every effect; zero lost, zero duplicated where exactly-once is
// promised."
func TestNothingIsLostWhenWorkersAreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Logf("repeat with: go test ./internal/crash -run %s -kills %d -seed %d", t.Name(), *kills, *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	dir := t.TempDir()
	book, err := openLedger(filepath.Join(dir, "ledger"))
	assert.NoError(t, err)
	store, err := sqlite.Open(filepath.Join(dir, "crash.db"))
	assert.NoError(t, err)
	defer store.Close()

	load := startLoad(t, store, book)
	workers := []*process{spawn(t, dir, "5s"), spawn(t, dir, "5s")}
	for range *kills {
		i := random.IntN(len(workers))
		workers[i].waitReady(t)
		// Anything from the first moment of its work to a while into it.
		timer := time.NewTimer(time.Duration(random.Int64N(int64(120 * time.Millisecond))))
		<-timer.C
		workers[i].kill()
		workers[i] = spawn(t, dir, "5s")
	}
	load.finish()
	t.Logf("%d instances, %d signals under %d kills", len(load.runs), load.signals.Load(), *kills)
	verify(t, store, load, filepath.Join(dir, "ledger"))
	for _, w := range workers {
		w.drain(t)
	}
	verifyNothingHeld(t, store)
}

// load is a client that starts instances and sends signals for as long as it
// is told to, and remembers what was acknowledged.
type load struct {
	t       *testing.T
	client  *durango.Client
	book    *ledger
	stop    chan struct{}
	done    sync.WaitGroup
	signals atomic.Int64
	mu      sync.Mutex
	runs    []acknowledged
}

type acknowledged struct {
	id   string
	wait func(context.Context) (string, error)
	want string // "" for any
}

func startLoad(t *testing.T, store provider.Provider, book *ledger) *load {
	l := &load{t: t, client: durango.NewClient(store), book: book, stop: make(chan struct{})}
	for w := range 4 {
		l.done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				l.one(fmt.Sprintf("w%d-%d", w, i), i)
			}
		})
	}
	return l
}

func (l *load) finish() { close(l.stop); l.done.Wait() }

func (l *load) acknowledge(id, want string, wait func(context.Context) (string, error)) {
	l.book.write("start", id)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, acknowledged{id, wait, want})
}

func (l *load) one(id string, i int) {
	ctx := l.t.Context()
	fail := func(err error) bool {
		if err != nil {
			l.t.Errorf("%s: %v", id, err)
		}
		return err != nil
	}
	switch i % 3 {
	case 0:
		r, err := chain.Start(ctx, l.client, id, 6)
		if fail(err) {
			return
		}
		l.acknowledge(id, "", func(ctx context.Context) (string, error) {
			out, err := r.Wait(ctx)
			return fmt.Sprint(len(out)), err
		})
	case 1:
		r, err := mixed.Start(ctx, l.client, id, id)
		if fail(err) {
			return
		}
		l.acknowledge(id, "1,2,3;child of "+id, r.Wait)
		for n := range 3 {
			if fail(note.Send(ctx, l.client, id, fmt.Sprint(n+1))) {
				return
			}
			l.signals.Add(1)
			l.book.write("signal", id, fmt.Sprint(n+1))
		}
	case 2:
		r, err := eternal.Start(ctx, l.client, id, round{Left: 5})
		if fail(err) {
			return
		}
		l.acknowledge(id, "15", func(ctx context.Context) (string, error) {
			out, err := r.Wait(ctx)
			return fmt.Sprint(out), err
		})
		// The load follows the workers: without a wait it would be all starts.
		_, _ = r.Wait(ctx)
	}
}

// verify compares the outcomes and the histories with the ledger.
func verify(t *testing.T, store *sqlite.Store, l *load, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, r := range l.runs {
		got, err := r.wait(ctx)
		if err != nil {
			row, _ := store.Get(context.Background(), provider.Target{ID: r.id})
			t.Fatalf("%s was acknowledged and did not complete: %v\n%+v", r.id, err, row)
		}
		if r.want != "" && got != r.want {
			t.Errorf("%s: got %q, want %q", r.id, got, r.want)
		}
	}
	last := readSteps(t, path)
	recorded := 0
	for after := provider.Key(0); ; {
		page, err := store.List(ctx, provider.Query{After: after, Limit: 500})
		assert.NoError(t, err)
		for i := range page.Instances {
			recorded += verifyHistory(t, store, &page.Instances[i], last)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if recorded != len(last) {
		t.Errorf("%d steps in the histories, %d in the ledger", recorded, len(last))
	}
	t.Logf("%d recorded steps", recorded)
}

// readSteps returns the last token of each step, by idempotency key.
func readSteps(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	assert.NoError(t, err)
	defer f.Close()
	last := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Split(s.Text(), "\t"); fields[0] == "step" {
			last[fields[3]] = fields[2]
		}
	}
	return last
}

// verifyHistory checks that turns are dense, that every delivery answers its
// command once, and, unless last is nil, that what is recorded of a step is the
// last attempt.
func verifyHistory(t *testing.T, store *sqlite.Store, row *provider.Instance, last map[string]string) (steps int) {
	t.Helper()
	turns, err := store.Turns(t.Context(), row.Key, 1, 1<<20)
	assert.NoError(t, err)
	answered := map[[2]int64]bool{}
	for i, turn := range turns {
		if turn.Number != int64(i+1) {
			t.Fatalf("%s: turn %d stands at place %d", row.ID, turn.Number, i+1)
		}
		deliveries, _, err := history.DecodeTurn(turn.Events)
		assert.NoError(t, err)
		for _, d := range deliveries {
			if d.Ref == 0 {
				continue
			}
			at := [2]int64{turn.Execution, d.Ref}
			if answered[at] {
				t.Errorf("%s: command %d of execution %d has two answers", row.ID, d.Ref, turn.Execution)
			}
			answered[at] = true
			var token string
			if d.Kind != history.ActivityCompleted || json.Unmarshal(d.Payload, &token) != nil || token == "done" {
				continue
			}
			steps++
			// As durango.Info makes it.
			key := fmt.Sprintf("%s/%d/%d", strconv.FormatInt(int64(row.Key), 36), turn.Execution, d.Ref)
			if last != nil && last[key] != token {
				t.Errorf("%s: step %s recorded %s, and ran again: %s", row.ID, key, token, last[key])
			}
		}
	}
	return steps
}

// verifyNothingHeld checks that drained workers own nothing.
func verifyNothingHeld(t *testing.T, store *sqlite.Store) {
	t.Helper()
	s, err := store.Stats(t.Context())
	assert.NoError(t, err)
	assert.Equal(t, s.Nodes, 0, "nodes")
	assert.Equal(t, s.TaskHeld+s.TaskWaiting, int64(0), "tasks")
	assert.Equal(t, s.UnreadMail, int64(0), "mail")
}
