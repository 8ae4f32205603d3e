package crash

import (
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/pgtest"
)

var failovers = flag.Int("failovers", 2, "how often the primary of a pair is killed and frozen, in turns")

// Nothing that was acknowledged is lost when the primary dies or vanishes and
// its synchronous standby takes over, and nobody is told where the new one is: the
// connection string names both.
func TestFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	pair, err := pgtest.StartPair()
	if errors.Is(err, pgtest.ErrNoFailover) {
		t.Skip(err)
	}
	assert.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, pair.Stop()) })
	p := at(t, t.TempDir(), pair.ConnString())
	c := &chaos{t: t, place: p, random: rand.New(rand.NewPCG(*seed, 1)), lease: 2 * time.Second}
	// A primary that was frozen takes itself for one until its keeper has seen that
	// it is not; it cannot commit, but it can be read.
	load := startLoad(t, p, true)
	for range 3 {
		c.workers = append(c.workers, spawn(t, p, c.lease.String()))
	}
	for _, w := range c.workers {
		w.waitReady(t)
	}
	for i := range *failovers {
		c.pause(2*time.Second, 4*time.Second)
		kind, fault := "killed", pair.KillPrimary
		if i%2 == 1 {
			kind, fault = "frozen", pair.FreezePrimary
		}
		c.events = append(c.events, event{kind, time.Now()})
		revive, err := fault()
		assert.NoError(t, err)
		c.awaitStep(2 * time.Minute)
		assert.NoError(t, revive())
		c.events = append(c.events, event{"back", time.Now()})
		assert.NoError(t, pair.WaitSynchronous())
	}
	c.pause(time.Second, 2*time.Second)
	load.finish()
	verify(t, p, load, true)
	for _, w := range c.workers {
		w.drain(t)
	}
	verifyNothingHeld(t, p.store)
	t.Logf("%d instances, %d signals and updates; longest pause of all work after a fault:\n%s",
		len(load.runs), load.messages.Load(), c.report())
}

// awaitStep waits until a step is taken a second from now at the earliest:
// until then what was on its way may still arrive.
func (c *chaos) awaitStep(most time.Duration) {
	c.t.Helper()
	since := time.Now().Add(time.Second)
	for end := time.Now().Add(most); time.Now().Before(end); c.pause(200*time.Millisecond, 200*time.Millisecond) {
		if steps := stepTimes(c.t, c.place.ledger()); len(steps) > 0 && steps[len(steps)-1].After(since) {
			return
		}
	}
	c.t.Fatalf("no step for %v", most)
}
