package protocol

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "walk only this seed, and show every step")
	walksFlag = flag.Int("walks", 4000, "how many seeds to walk with all rules")
)

// With all rules no walk breaks a promise.
func TestProtocol(t *testing.T) {
	if *seedFlag != 0 {
		trace, err := walk(*seedFlag, nil, true)
		t.Log(trace)
		if err != "" {
			t.Fatal(err)
		}
		return
	}
	for seed := range uint64(*walksFlag) {
		if _, err := walk(seed+1, nil, false); err != "" {
			trace, _ := walk(seed+1, nil, true)
			t.Fatalf("seed %d (-seed repeats it): %s\n%s", seed+1, err, trace)
		}
	}
	t.Logf("seeds 1 to %d", *walksFlag)
}

// With any one rule left out some walk does.
func TestEveryRuleIsNeeded(t *testing.T) {
	const patience = 60000 // walks
	for r := range allRules {
		t.Run(r.String(), func(t *testing.T) {
			if *seedFlag != 0 {
				trace, err := walk(*seedFlag, map[rule]bool{r: true}, true)
				t.Logf("without %q: %s\n%s", rules[r].says, err, trace)
				return
			}
			for seed := range uint64(patience) {
				if _, err := walk(seed+1, map[rule]bool{r: true}, false); err != "" {
					t.Logf("seed %d: without %q %s", seed+1, rules[r].says, err)
					return
				}
			}
			t.Errorf("%d walks found nothing wrong without: %s", patience, rules[r].says)
		})
	}
}

// walk takes random steps, then lets everything finish without faults. It
// returns what happened and the promise that was broken.
func walk(seed uint64, off map[rule]bool, traced bool) (trace, err string) {
	r := rand.New(rand.NewPCG(seed, 0))
	w := &world{
		store:  &store{rand: r, off: off, traced: traced, nodes: map[int]bool{}, lastStart: map[step]int{}},
		window: []int{1, 9}[seed%2],

		severity: []int{15, 50, 100}[r.IntN(3)],
	}
	defer func() {
		trace = w.trace.String()
		if v := recover(); v != nil {
			broken, ok := v.(violation)
			if !ok {
				panic(v)
			}
			err = string(broken)
		}
	}()
	w.create("parent")
	w.boot(0)
	w.boot(1)

	type action func(i int) bool
	work := []action{
		w.beginClaim, w.endClaim, w.reconcile, w.recover, w.turn, w.resolve, w.finishLocal,
		w.takeTask, w.finishTask, w.beat, w.buryOne,
	}
	trouble := []action{w.evict, w.evict, w.crash}
	outside := []action{w.tick, w.tick, w.signal}
	for range 40 + r.IntN(250) {
		switch {
		case w.fault(25):
			trouble[r.IntN(len(trouble))](r.IntN(2))
		case w.chance(10):
			outside[r.IntN(len(outside))](0)
		default:
			work[r.IntN(len(work))](r.IntN(2))
		}
		w.check()
	}

	w.say("no more faults")
	w.severity = 0
	w.now += 10
	for w.signal(0) {
	}
	rounds := 0
	for busy := true; busy; rounds++ {
		busy = false
		for _, act := range work {
			for i := range w.procs {
				for range 3 {
					busy = act(i) || busy
				}
			}
		}
		w.check()
		if rounds > 200 {
			broken("no end")
		}
	}
	for _, in := range w.instances {
		if in.open {
			broken("%s is stuck: owner %d of nodes %v, wake %d of %d, unread %d", in.name, in.owner, w.nodes, in.wake, w.now, in.lastMail-in.read)
		}
	}
	if w.get("child") == nil {
		broken("there is no child")
	}
	return "", ""
}
