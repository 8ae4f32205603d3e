package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
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
	p := onSQLite(t)
	load := startLoad(t, p, false)
	workers := []*process{spawn(t, p, "5s"), spawn(t, p, "5s")}
	for range *kills {
		i := random.IntN(len(workers))
		workers[i].waitReady(t)
		// Anything from the first moment of its work to a while into it.
		timer := time.NewTimer(time.Duration(random.Int64N(int64(120 * time.Millisecond))))
		<-timer.C
		workers[i].kill()
		workers[i] = spawn(t, p, "5s")
	}
	load.finish()
	t.Logf("%d instances, %d signals and updates under %d kills", len(load.runs), load.messages.Load(), *kills)
	verify(t, p, load, false)
	for _, w := range workers {
		w.drain(t)
	}
	verifyNothingHeld(t, p.store)
}

// verify compares the outcomes and the histories with the ledger. Zombies are
// nodes that were declared dead and went on: one that was stopped between the
// commit that hands it an activity and the activity runs it later, whatever has
// been recorded meanwhile; it cannot write that. Without zombies what is
// recorded is never run again.
func verify(t *testing.T, p *place, l *load, zombies bool) {
	t.Helper()
	store := p.store
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(len(l.runs))*10*time.Millisecond)
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
	ran := readSteps(t, p.ledger())
	recorded, again := 0, 0
	for after := provider.Key(0); ; {
		page, err := store.List(ctx, provider.Query{After: after, Limit: 500})
		assert.NoError(t, err)
		for i := range page.Instances {
			steps, wasted := verifyHistory(t, store, &page.Instances[i], ran)
			recorded += steps
			again += wasted
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if recorded != len(ran) {
		t.Errorf("%d steps in the histories, %d in the ledger", recorded, len(ran))
	}
	if again > 0 && !zombies {
		t.Errorf("%d recorded steps ran again", again)
	}
	t.Logf("%d recorded steps, %d of them run again by zombies", recorded, again)
}

// readSteps returns the tokens of each step in the order of its runs, by
// idempotency key.
func readSteps(t *testing.T, path string) map[string][]string {
	t.Helper()
	f, err := os.Open(path)
	assert.NoError(t, err)
	defer f.Close()
	ran := map[string][]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Split(s.Text(), "\t"); fields[0] == "step" {
			ran[fields[3]] = append(ran[fields[3]], fields[2])
		}
	}
	return ran
}

// verifyHistory checks that turns are dense, that every delivery answers its
// command once, and, unless ran is nil, that what is recorded of a step is of
// one of its runs. It counts the steps, and those that ran again after that.
func verifyHistory(t *testing.T, store inspected, row *provider.Instance, ran map[string][]string) (steps, again int) {
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
			switch i := slices.Index(ran[key], token); {
			case ran == nil:
			case i < 0:
				t.Errorf("%s: step %s recorded %s, and ran as %v", row.ID, key, token, ran[key])
			case i < len(ran[key])-1:
				again++
				t.Logf("%s: step %s recorded %s of %v", row.ID, key, token, ran[key])
			}
		}
	}
	return steps, again
}

// verifyNothingHeld checks that drained workers own nothing.
func verifyNothingHeld(t *testing.T, store inspected) {
	t.Helper()
	s, err := store.Stats(t.Context())
	assert.NoError(t, err)
	assert.Equal(t, s.Nodes, 0, "nodes")
	assert.Equal(t, s.TaskHeld+s.TaskWaiting, int64(0), "tasks")
	assert.Equal(t, s.UnreadMail, int64(0), "mail")
}
