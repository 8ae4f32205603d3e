package crash

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/durango-go/durango/internal/assert"
)

var (
	faults = flag.Int("faults", 40, "how many faults of all kinds each store suffers")
	nodes  = flag.Int("nodes", 0, "how many processes work at once (default 2 on a file, 4 on a server)")
)

// server is a store that is a process of its own, and has faults of its own.
type server interface {
	// cut ends some of the connections.
	cut(t *testing.T, random *rand.Rand)
	// restart kills the server as a power failure would, and starts it again.
	restart(t *testing.T)
}

// chaos is workers, and what happens to them.
type chaos struct {
	t       *testing.T
	place   *place
	server  server // nil: the store is a file
	random  *rand.Rand
	lease   time.Duration
	workers []*process
	events  []event
}

// event is a fault, and when it happened.
type event struct {
	kind string
	at   time.Time
}

// DESIGN 11: "SIGKILL and SIGSTOP at random …, the database killed and
// restarted; a ledger counts every effect; zero lost, zero duplicated where
// exactly-once is promised."
func TestChaosOnAFile(t *testing.T) { runChaos(t, onSQLite(t), nil, 2) }

func runChaos(t *testing.T, p *place, s server, count int) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Logf("repeat with: go test ./internal/crash -run '^%s$' -faults %d -seed %d", t.Name(), *faults, *seed)
	c := &chaos{t: t, place: p, server: s, random: rand.New(rand.NewPCG(*seed, 1)), lease: 2 * time.Second}
	if *nodes > 0 {
		count = *nodes
	}
	load := startLoad(t, p, false)
	for range count {
		c.workers = append(c.workers, spawn(t, p, c.lease.String()))
	}
	for range *faults {
		c.pause(300*time.Millisecond, time.Second)
		c.fault()
	}
	c.pause(3*c.lease, 3*c.lease)
	load.finish()
	verify(t, p, load, true)
	for _, w := range c.workers {
		w.drain(t)
	}
	verifyNothingHeld(t, p.store)
	t.Logf("%d nodes, %d instances, %d signals and updates; longest pause of all work after a fault:\n%s",
		count, len(load.runs), load.messages.Load(), c.report())
}

// pause lets work go on for a while.
func (c *chaos) pause(least, most time.Duration) {
	timer := time.NewTimer(least + time.Duration(c.random.Int64N(int64(most-least)+1)))
	<-timer.C
}

// fault does something bad to somebody.
func (c *chaos) fault() {
	kinds := []string{"kill", "kill", "kill", "stop", "drain"}
	if c.server != nil {
		kinds = append(kinds, "cut", "cut", "restart")
	}
	kind := kinds[c.random.IntN(len(kinds))]
	i := c.random.IntN(len(c.workers))
	w := c.workers[i]
	w.waitReady(c.t)
	c.events = append(c.events, event{kind, time.Now()})
	switch kind {
	case "kill":
		w.kill()
		c.workers[i] = spawn(c.t, c.place, c.lease.String())
	case "stop": // for longer than a lease: others declare it dead, and it comes back
		w.signal(c.t, syscall.SIGSTOP)
		c.pause(c.lease*3/2, c.lease*2)
		w.signal(c.t, syscall.SIGCONT)
	case "drain":
		w.drain(c.t)
		c.workers[i] = spawn(c.t, c.place, c.lease.String())
	case "cut":
		c.server.cut(c.t, c.random)
	case "restart":
		c.server.restart(c.t)
	}
}

// report says, for each kind of fault, how often it happened and for how long
// no step at all was taken after it, at most and at the median.
func (c *chaos) report() string {
	steps := stepTimes(c.t, c.place.ledger())
	gaps := map[string][]time.Duration{}
	for i, e := range c.events {
		end := time.Now()
		if i+1 < len(c.events) {
			end = c.events[i+1].at
		}
		from, _ := slices.BinarySearchFunc(steps, e.at, time.Time.Compare)
		longest, last := time.Duration(0), e.at
		for _, s := range steps[from:] {
			longest, last = max(longest, s.Sub(last)), s
			if s.After(end) {
				break
			}
		}
		gaps[e.kind] = append(gaps[e.kind], longest)
	}
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(gaps)) {
		g := gaps[kind]
		slices.Sort(g)
		fmt.Fprintf(&b, "%8s × %d: %s at most, %s at the median\n", kind, len(g),
			g[len(g)-1].Round(time.Millisecond), g[len(g)/2].Round(time.Millisecond))
	}
	return b.String()
}

// stepTimes returns when steps were taken, in order.
func stepTimes(t *testing.T, path string) (all []time.Time) {
	t.Helper()
	f, err := os.Open(path)
	assert.NoError(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Split(s.Text(), "\t"); fields[0] == "step" {
			ns, err := strconv.ParseInt(fields[4], 10, 64)
			assert.NoError(t, err)
			all = append(all, time.Unix(0, ns))
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}
