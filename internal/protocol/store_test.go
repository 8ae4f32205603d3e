package protocol

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

const never = math.MaxInt

// note is a delivery or a command.
type note struct {
	what string
	n    int
}

type turn struct {
	number, execution, commitID int
	deliveries, commands        []note
}

func (t turn) continues() bool { return slices.Contains(t.commands, note{"continue", 0}) }

type mail struct {
	seq, execution int // execution 0: from outside
	note
}

// instance is a row with its mailbox and history.
type instance struct {
	name      string
	open      bool
	owner     int // a node's key; 0: none
	execution int
	nextTurn  int
	lastMail  int
	read      int
	timer     int // the earliest
	unstarted bool
	openLocal int
	wake      int
	notBefore int
	attempts  int
	mail      []mail
	turns     []turn

	// What the row should say: failures since the last progress, and whether
	// the present claim counts as one until it has succeeded.
	failures int
	charged  bool
}

type step struct {
	instance            string
	execution, activity int
}

type task struct {
	step
	holder, attempt int
}

// violation is a broken promise.
type violation string

func broken(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

// store is what both nodes share. Its methods are transactions.
type store struct {
	rand      *rand.Rand
	off       map[rule]bool
	now       int
	nodes     map[int]bool
	lastNode  int
	commits   int
	instances []*instance
	tasks     []*task
	lastStart map[step]int // the node that started it last
	traced    bool
	trace     strings.Builder
}

func (s *store) on(r rule) bool { return !s.off[r] }

func (s *store) say(format string, args ...any) {
	if s.traced {
		fmt.Fprintf(&s.trace, format+"\n", args...)
	}
}

func (s *store) join() int {
	s.lastNode++
	s.nodes[s.lastNode] = true
	return s.lastNode
}

func (s *store) get(name string) *instance {
	for _, in := range s.instances {
		if in.name == name {
			return in
		}
	}
	return nil
}

func (s *store) create(name string) bool {
	if s.get(name) != nil {
		return false
	}
	in := &instance{name: name, open: true, execution: 1, nextTurn: 1, timer: never, unstarted: true}
	s.instances = append(s.instances, in)
	s.send(name, 1, note{"start", 0})
	return true
}

func (s *store) send(to string, execution int, n note) {
	in := s.get(to)
	if in == nil || !in.open {
		return
	}
	in.lastMail++
	in.wake = min(in.wake, s.floor(in, s.now))
	in.mail = append(in.mail, mail{in.lastMail, execution, n})
}

func (s *store) floor(in *instance, at int) int {
	if !s.on(backoffFloor) {
		return at
	}
	return max(at, in.notBefore)
}

// unowned computes when an instance without owner is due.
func (s *store) unowned(in *instance) {
	at := in.timer
	if s.on(dueUnstarted) && in.unstarted || in.openLocal > 0 {
		at = s.now
	}
	if s.on(wakeFromRow) && in.lastMail > in.read {
		at = s.now
	}
	in.owner, in.wake = 0, s.floor(in, at)
}

func (s *store) due(in *instance) bool { return in.open && in.owner == 0 && in.wake <= s.now }

func (s *store) claim(node int, in *instance) bool {
	if s.on(checkNodeRow) && !s.nodes[node] {
		s.say("claim of %s by %d refused: no such node", in.name, node)
		return false
	}
	if !s.due(in) {
		return false
	}
	if s.now < in.notBefore {
		broken("%s claimed at %d, before its backoff ends at %d", in.name, s.now, in.notBefore)
	}
	in.owner = node
	in.attempts++
	in.charged = true
	return true
}

// bury declares a node dead.
func (s *store) bury(node int) {
	s.say("node %d is declared dead", node)
	delete(s.nodes, node)
	for _, in := range s.instances {
		if in.owner == node && in.open {
			if in.charged {
				in.failures, in.charged = in.failures+1, false
			}
			s.unowned(in)
		}
	}
	for _, t := range s.tasks {
		if t.holder == node {
			t.holder = 0
		}
	}
}

// release gives up an instance without a turn.
func (s *store) release(node int, in *instance) bool {
	if in.owner != node || !in.open {
		return false
	}
	s.progress(in, s.on(chargeOnce))
	s.unowned(in)
	return true
}

func (s *store) progress(in *instance, clear bool) {
	if clear {
		in.attempts = 0
	}
	in.failures, in.charged, in.notBefore = 0, false, 0
}

// fail gives up an instance whose turn failed; charge counts one more attempt.
func (s *store) fail(node int, in *instance, charge bool) bool {
	if in.owner != node || !in.open {
		return false
	}
	if charge {
		in.attempts++
	}
	in.failures, in.charged = in.failures+1, false
	in.notBefore = s.now + 2
	s.unowned(in)
	return true
}

// commit is a turn as its node wants it written.
type commit struct {
	in      *instance
	history []turn // the turn last
	expect  int
	read    int
	local   []int // activities that start in the node's memory
	running []int // those that already do
	release bool
}

func (s *store) commit(node int, c commit) (ok, released bool) {
	in := c.in
	last := c.history[len(c.history)-1]
	if in.owner != node || in.nextTurn != c.expect || !in.open {
		return false, false
	}
	if !slices.EqualFunc(c.history[:len(c.history)-1], in.turns, func(a, b turn) bool { return a.commitID == b.commitID }) {
		broken("%s: a turn was committed on top of a history that it was not computed from", in.name)
	}
	in.turns = slices.Clone(c.history)
	in.mail = slices.DeleteFunc(in.mail, func(m mail) bool { return m.seq <= c.read })
	in.read = c.read
	s.progress(in, true)
	s.apply(in, last, c)

	done, again := slices.Contains(last.commands, note{"done", 0}), last.continues()
	in.unstarted = again
	in.timer = pendingTimer(in.name, in.turns)
	in.nextTurn = s.nextTurn(in.name, in.turns)
	in.openLocal = 0
	for _, a := range openActivities(in.name, in.turns) {
		if !done && (slices.Contains(c.local, a) || slices.Contains(c.running, a)) {
			in.openLocal++
		}
	}
	switch {
	case done:
		in.open, in.owner = false, 0
		if in.name == "child" {
			s.send("parent", 1, note{"child", 0})
		}
	case c.release && !again && (in.openLocal == 0 || !s.on(keepLocal)):
		s.unowned(in)
		return true, true
	case in.lastMail > in.read:
		in.wake = s.now
	default:
		in.wake = never
	}
	return true, false
}

// apply makes what the turn's commands ask for.
func (s *store) apply(in *instance, t turn, c commit) {
	ends := t.continues() || slices.Contains(t.commands, note{"done", 0})
	if t.continues() {
		in.execution++
		if !s.on(carrySignals) {
			_, deliveries := replay(in.name, in.turns[:len(in.turns)-1], true)
			for _, n := range signals(append(deliveries, t.deliveries...)) {
				s.send(in.name, 0, n)
			}
		}
	}
	if ends {
		s.tasks = slices.DeleteFunc(s.tasks, func(t *task) bool { return t.instance == in.name })
	}
	for _, cmd := range t.commands {
		switch cmd.what {
		case "activity":
			if !ends && !slices.Contains(c.local, cmd.n) {
				s.tasks = append(s.tasks, &task{step: step{in.name, t.execution, cmd.n}})
			}
		case "child":
			if !s.create("child") && s.on(refuseInCommit) {
				s.send(in.name, t.execution, note{"refused", 0})
			}
		}
	}
}

// nextTurn is one more than the number of turns, those of earlier executions
// included.
func (s *store) nextTurn(name string, turns []turn) int {
	if s.on(turnsNeverReset) {
		return len(turns) + 1
	}
	execution, _ := replay(name, turns, true)
	n := 1
	for _, t := range turns {
		if t.execution == execution {
			n++
		}
	}
	return n
}

func (s *store) addTask(st step) { s.tasks = append(s.tasks, &task{step: st}) }

func (s *store) findTask(st step) *task {
	for _, t := range s.tasks {
		if t.step == st {
			return t
		}
	}
	return nil
}

// finish ends a task that was taken as held.
func (s *store) finish(held task) {
	t := s.findTask(held.step)
	fits := t != nil && t.holder == held.holder && t.attempt == held.attempt
	if s.on(fencedFinish) && !fits {
		s.say("finish of %v by %d is stale", held.step, held.holder)
		return
	}
	if !fits && t != nil && t.holder != 0 && s.nodes[t.holder] {
		broken("%v taken from its holder by one that had lost it", held.step)
	}
	s.tasks = slices.DeleteFunc(s.tasks, func(x *task) bool { return x.step == held.step })
	s.send(held.instance, held.execution, note{"result", held.activity})
	s.say("task %v done", held.step)
}

// start is an activity beginning to run.
func (s *store) start(st step, node int) {
	for _, t := range s.get(st.instance).turns {
		if t.execution == st.execution && slices.Contains(t.deliveries, note{"result", st.activity}) {
			broken("%v runs again although its result is recorded", st)
		}
	}
	if before := s.lastStart[st]; before != 0 && s.nodes[before] {
		broken("%v runs again although node %d, which ran it, lives", st, before)
	}
	s.lastStart[st] = node
}

// check looks at what must hold at every moment.
func (s *store) check() {
	for _, in := range s.instances {
		if want := in.failures + map[bool]int{true: 1}[in.charged]; in.attempts != want {
			broken("%s has %d attempts, want %d", in.name, in.attempts, want)
		}
		count := map[note]int{}
		var order []note
		execution := 0
		for _, t := range in.turns {
			if t.execution != execution {
				execution = t.execution
				clear(count)
				order = nil
				if s.on(carrySignals) {
					_, order = replay(in.name, in.turns[:slices.IndexFunc(in.turns, func(x turn) bool { return x.commitID == t.commitID })], true)
				}
			}
			for _, d := range t.deliveries {
				count[d]++
				if count[d] > 1 {
					broken("%s: %v was delivered twice", in.name, d)
				}
			}
			order = append(order, t.deliveries...)
			first, second := slices.Index(order, note{"signal", 1}), slices.Index(order, note{"signal", 2})
			if first > second && second >= 0 {
				broken("%s: the second signal overtook the first", in.name)
			}
		}
	}
}
