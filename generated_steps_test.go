package durango_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// drawn is a program that was drawn at random: what one instance, the root,
// does, with all that it starts, and what is done to it from outside.
//
// Its outcome does not depend on how long anything takes. Time has hours: each
// wait and each event from outside has an hour of its own, in a period that has
// as many hours as there are waits and events. A wait is one until its hour
// comes next. So what happens in one hour is the consequence of one thing, and
// a crash, which delays by less than a minute, never changes the order of two
// hours. Within an hour several things may be under way in any order, which
// nothing that is drawn looks at, and all are over before the next.
type drawn struct {
	seed  uint64
	steps []*step // by ID
	hours int
	// events are in the order in which they were drawn.
	events []event
	// deploy is the hour after which the next version of the code runs, 0 if
	// there is none.
	deploy int
	// numbered are the hours at which the numbered signals are sent, in order.
	numbered []int
}

// step is one step of a program.
type step struct {
	verb  verb
	id    int
	hour  int  // of its wait, if it has one
	n     int  // decides what the verb leaves open
	main  bool // on the main line
	event int  // the hour of the signal that it waits for; absolute, as those of events are
	inner [][]*step
}

type verb string

const (
	vCall     verb = "call"     // an activity
	vRetried  verb = "retried"  // one that fails at first
	vDeclined verb = "declined" // one that fails in the end
	vBeat     verb = "beat"     // one that makes some progress with every attempt
	vPark     verb = "park"     // one that is completed from outside, or failed, or is not
	vSleep    verb = "sleep"
	vRecord   verb = "record"
	vStatus   verb = "status"
	vPatch    verb = "patch"
	vRefused  verb = "refused" // signals and starts that are refused
	vSignal   verb = "signal"  // its own, with and without a timeout
	vTalk     verb = "talk"    // signals with a child
	vMutex    verb = "mutex"
	vSema     verb = "semaphore"
	vChan     verb = "chan"
	vUntil    verb = "until"
	vAbandon  verb = "abandon" // a wait that nobody waits for

	// For the main line of an execution only, where nothing goes on beside.
	vNext  verb = "next" // numbered signal
	vTry   verb = "try"
	vValue verb = "value"

	// With arms.
	vSelect    verb = "select"
	vRace      verb = "race"
	vSettle    verb = "settle"
	vAll       verb = "all"
	vCompleted verb = "as-completed"

	// With an inner block, or several.
	vGo      verb = "go"
	vCancel  verb = "with-cancel"
	vTimeout verb = "with-timeout"
	vDetach  verb = "detach"
	vSaga    verb = "saga"
	vChild   verb = "child"
	vOrphan  verb = "orphan"   // a child that is left alone
	vStart   verb = "detached" // an instance that is
	vRoot    verb = "root"

	// Arms.
	aTimer  verb = "timer"
	aGated  verb = "gated"
	aPark   verb = "parked"
	aSignal verb = "signaled"
	aChild  verb = "begotten"
)

var (
	leaves = []verb{
		vCall, vCall, vRetried, vDeclined, vBeat, vPark, vPark, vSleep, vRecord, vStatus, vPatch, vPatch, vRefused, vTalk,
		vMutex, vSema, vChan, vUntil, vAbandon, vSelect, vRace, vSettle, vAll, vCompleted,
	}
	rootLeaves = []verb{vSignal, vSignal, vSelect, vRace, vCompleted}
	mainLeaves = []verb{vValue, vValue, vValue}
	rootMain   = []verb{vNext, vNext, vNext, vTry}
	branches   = []verb{vGo, vGo, vCancel, vTimeout, vDetach, vSaga, vChild, vChild, vOrphan, vStart}
)

// event is something that is done to the root from outside.
type event struct {
	what string
	id   int
	hour int // counted from the beginning, and not only within the period
	n    int
	wait int // the hour that a handler waits for, if it does
}

// drawer draws a program.
type drawer struct {
	*drawn
	r      *rand.Rand
	budget int
}

// place is where a step is in a program.
type place struct {
	root bool // in the root's execution, which gets the signals
	main bool // on the main line
	deep int
}

func draw(seed uint64) *drawn {
	d := &drawer{drawn: &drawn{seed: seed}, r: rand.New(rand.NewPCG(seed, 7))}
	d.budget = 2 + d.r.IntN(9)
	if d.r.IntN(4) == 0 {
		d.deploy = d.hour()
	}
	root := d.add(vRoot)
	for range 1 + d.r.IntN(3) {
		root.inner = append(root.inner, d.block(place{root: true, main: true}))
	}
	next := 0
	for _, s := range d.steps {
		if s.verb == vNext || s.verb == vTry {
			next++
		}
	}
	for range next {
		d.event("numbered")
	}
	for _, what := range []string{"update", "update", "query", "sendwithstart"} {
		if d.r.IntN(3) == 0 {
			d.event(what)
		}
	}
	switch d.r.IntN(20) {
	case 0, 1, 2:
		d.event("cancel")
	case 3:
		d.event("terminate")
	}
	d.hours++
	// Only now is it known how long the period is.
	later := func(hour int) int { return hour + d.hours*d.r.IntN(3)*d.r.IntN(2) }
	for i := range d.events {
		e := &d.events[i]
		if e.hour = later(e.hour); e.what == "signal" {
			d.steps[e.id].event = e.hour
		}
		if e.what == "numbered" {
			d.numbered = append(d.numbered, e.hour)
		}
	}
	d.deploy = later(d.deploy)
	if d.deploy%d.hours == 0 {
		d.deploy = 0 // none was drawn
	}
	sortInts(d.numbered)
	return d.drawn
}

func sortInts(list []int) {
	for i := range list {
		for j := i; j > 0 && list[j] < list[j-1]; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func (d *drawer) hour() int {
	d.hours++
	return d.hours
}

func (d *drawer) add(v verb) *step {
	s := &step{verb: v, id: len(d.steps), n: d.r.IntN(1000), hour: d.hour()}
	d.steps = append(d.steps, s)
	return s
}

func (d *drawer) event(what string) *event {
	d.events = append(d.events, event{what: what, id: len(d.events), hour: d.hour(), n: d.r.IntN(1000)})
	e := &d.events[len(d.events)-1]
	if what == "update" && e.n%4 == 0 {
		e.wait = d.hour()
	}
	return e
}

// own gives a step a signal of its own, which comes at some hour.
func (d *drawer) own(s *step) { d.event("signal").id = s.id }

func (d *drawer) block(at place) (list []*step) {
	for range 1 + d.r.IntN(4) {
		if d.budget--; d.budget < 0 {
			break
		}
		list = append(list, d.step(at))
	}
	return list
}

func (d *drawer) step(at place) *step {
	kinds := leaves
	switch {
	case at.deep < 3 && d.r.IntN(3) == 0:
		kinds = branches
	case at.root && at.main && d.r.IntN(4) == 0:
		kinds = rootMain
	case at.root && d.r.IntN(4) == 0:
		kinds = rootLeaves
	case at.main && d.r.IntN(6) == 0:
		kinds = mainLeaves
	}
	s := d.add(kinds[d.r.IntN(len(kinds))])
	s.main = at.main
	at.deep++
	side := place{root: at.root, deep: at.deep}
	switch s.verb {
	case vSignal:
		d.own(s)
	case vSelect, vRace, vSettle, vAll, vCompleted:
		s.inner = [][]*step{d.arms(s.verb, at)}
	case vGo, vCancel:
		s.inner = [][]*step{d.block(side)}
	case vTimeout, vDetach:
		s.inner = [][]*step{d.block(at)}
	case vSaga:
		s.inner = [][]*step{d.block(at), d.block(at)}
	case vChild, vOrphan, vStart:
		for range 1 + d.r.IntN(2) {
			s.inner = append(s.inner, d.block(place{main: true, deep: at.deep}))
		}
	}
	return s
}

func (d *drawer) arms(of verb, at place) (list []*step) {
	kinds := []verb{aGated, aGated, aPark}
	if of == vSelect || of == vRace {
		kinds = append(kinds, aTimer, aTimer)
	}
	if at.root && of != vAll {
		kinds = append(kinds, aSignal, aSignal)
	}
	if at.deep < 3 {
		kinds = append(kinds, aChild)
	}
	for range 2 + d.r.IntN(2) {
		s := d.add(kinds[d.r.IntN(len(kinds))])
		if s.verb == aSignal {
			d.own(s)
		}
		list = append(list, s)
	}
	return list
}

// String is the program for people.
func (d *drawn) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "program of seed %d, %d hours", d.seed, d.hours)
	if d.deploy > 0 {
		fmt.Fprintf(&b, ", deployment at hour %d", d.deploy)
	}
	d.steps[0].print(&b, "\n")
	for _, e := range d.events {
		fmt.Fprintf(&b, "\nhour %d: %s %d (n=%d", e.hour, e.what, e.id, e.n)
		if e.wait > 0 {
			fmt.Fprintf(&b, ", handled at hour %d", e.wait)
		}
		b.WriteString(")")
	}
	return b.String()
}

func (s *step) print(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "%s%d %s (hour %d, n=%d)", indent, s.id, s.verb, s.hour, s.n)
	for i, list := range s.inner {
		if i > 0 {
			b.WriteString(indent + "  then")
		}
		for _, inner := range list {
			inner.print(b, indent+"  ")
		}
	}
}

// epoch is when every program begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// at is the moment of an hour that is counted from the beginning.
func at(hour int) time.Time { return epoch.Add(time.Duration(hour) * time.Hour) }

// next is when an hour of the period comes next. Now is within one, shortly
// after its beginning, and that one comes a period later.
func (d *drawn) next(now time.Time, hour int) time.Time {
	period := time.Duration(d.hours) * time.Hour
	t := at(hour)
	for t.Before(now.Add(30 * time.Minute)) {
		t = t.Add(period)
	}
	return t
}
