package replay

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/durango-go/durango/history"
)

var update = flag.Bool("update", false, "rewrite testdata")

// A transcript is blocks separated by blank lines: what happens, a line of
// dashes, and what is seen. A block begins with one of
//
//	code NAME        a new execution of a program
//	turn TIME        a live turn; the lines below are its deliveries
//	replay [NAME]    replay of all turns so far, by the same or another program
//	accepts          would these deliveries be taken?
//	due TIME         the timers that are due
//	state            what is pending
//	close            the machine is closed
//
// What is seen are the lines that the program printed, the commands, the
// deliveries that were rejected and the error. At the end of each code section
// every prefix of the turns is replayed and the rest run live, which must give
// the same, and leave the same.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			checkGoroutines(t)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runTranscript(t, string(b))
			if got == string(b) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s differs (rewrite with -update):\n%s", file, firstDifference(string(b), got))
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s\n\n%s", i+1, a, b, got)
		}
	}
	return ""
}

// execution is a live machine with what it recorded.
type execution struct {
	t      *testing.T
	name   string
	m      *Machine
	log    []string
	turns  []history.Turn
	logs   [][]string // of each turn
	states [][]string // after each turn
	failed bool
}

func start(t *testing.T, name string) *execution {
	p, ok := programs[name]
	if !ok {
		t.Fatalf("no program %q", name)
	}
	x := &execution{t: t, name: name}
	x.m = New(func(m *Machine, _ *history.Event) history.Event { return p(prog{m, &x.log}) })
	return x
}

func (x *execution) take() []string {
	log := x.log
	x.log = nil
	return log
}

// turn runs a live turn and records it, unless all of it was rejected.
func (x *execution) turn(now int64, deliveries []history.Event) ([]history.Event, error) {
	turn, at := x.m.turn, x.m.now
	cmds, err := x.m.Turn(now, slices.Clone(deliveries))
	if err != nil {
		x.failed = true
		return nil, err
	}
	cmds = slices.Clone(cmds)
	given := len(deliveries)
	for i, r := range slices.Backward(x.m.Rejected()) {
		if i > 0 && x.m.Rejected()[i-1].Index >= r.Index {
			x.t.Errorf("%s: rejected in the order %v", x.name, x.m.Rejected())
		}
		deliveries = slices.Delete(slices.Clone(deliveries), r.Index, r.Index+1)
	}
	if given > 0 && len(deliveries) == 0 {
		if x.m.turn != turn || x.m.now != at || len(cmds) > 0 || len(x.log) > 0 {
			x.t.Errorf("%s: a turn of rejected updates was turn %d at %d with %v, after %d at %d",
				x.name, x.m.turn, x.m.now, cmds, turn, at)
		}
		return nil, nil
	}
	if x.m.turn != int64(len(x.turns)+1) || x.m.now != now {
		x.t.Errorf("%s: turn %d at %d, want %d at %d", x.name, x.m.turn, x.m.now, len(x.turns)+1, now)
	}
	x.turns = append(x.turns, history.Turn{
		Number: int64(len(x.turns) + 1), Execution: 1, Time: now, Deliveries: deliveries, Commands: cmds,
	})
	x.logs = append(x.logs, slices.Clone(x.log))
	x.states = append(x.states, append(x.state(), fmt.Sprint("size ", x.m.Size())))
	return cmds, nil
}

// replay replays turns by a program.
func (x *execution) replay(name string) (*execution, error) {
	y := start(x.t, name)
	for i := range x.turns {
		if err := y.m.Replay(&x.turns[i]); err != nil {
			if again := y.m.Replay(&x.turns[i]); again != err {
				x.t.Errorf("the next turn fails with %v instead of %v", again, err)
			}
			return y, err
		}
		y.logs = append(y.logs, y.take())
	}
	return y, nil
}

func runTranscript(t *testing.T, text string) string {
	var x *execution
	end := func() {
		if x != nil {
			x.checkPrefixes()
			x.m.Close()
		}
	}
	var out []string
	for _, block := range strings.Split(strings.TrimRight(text, "\n"), "\n\n") {
		in, _, _ := strings.Cut(block, "\n----")
		var lines []string
		for line := range strings.Lines(in) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		if len(lines) == 0 {
			out = append(out, in)
			continue
		}
		verb, arg, _ := strings.Cut(lines[0], " ")
		var seen []string
		switch verb {
		case "code":
			end()
			x = start(t, arg)
			out = append(out, in)
			continue
		case "turn":
			cmds, err := x.turn(number(t, arg), parseDeliveries(t, lines[1:]))
			seen = x.take()
			for i := range cmds {
				seen = append(seen, format(&cmds[i]))
			}
			for _, r := range x.m.Rejected() {
				seen = append(seen, formatRejection(r))
			}
			seen = appendError(seen, err)
		case "replay":
			if arg == "" {
				arg = x.name
			}
			y, err := x.replay(arg)
			for _, w := range y.m.Warnings() {
				seen = append(seen, "warning: "+w)
			}
			seen = append(seen, fmt.Sprintf("%d turns", len(y.logs)))
			seen = append(seen, y.take()...) // of the turn that failed
			seen = appendError(seen, err)
			y.m.Close()
		case "accepts":
			for _, e := range parseDeliveries(t, lines[1:]) {
				seen = append(seen, fmt.Sprint(x.m.Accepts(&e)))
			}
		case "due":
			for _, e := range x.m.DueTimers(number(t, arg), nil) {
				seen = append(seen, fmt.Sprintf("%v %d", e.Kind, e.Ref))
			}
		case "state":
			seen = x.state()
		case "close":
			x.m.Close()
			x.m.Close()
			seen = x.take()
		default:
			t.Fatalf("unknown %q", verb)
		}
		out = append(out, strings.Join(append([]string{in, "----"}, seen...), "\n"))
	}
	end()
	return strings.Join(out, "\n\n") + "\n"
}

func (x *execution) state() []string {
	p := x.m.Pending()
	seen := []string{fmt.Sprintf("activities %d, timers %d, children %d, signals %d, tasks %d",
		p.Activities, p.Timers, p.Children, p.Signals, p.Tasks)}
	if p.Timers > 0 {
		seen = append(seen, fmt.Sprintf("next timer %d", p.NextTimer))
	}
	open := func(e *history.Event) bool { seen = append(seen, "open "+format(e)); return true }
	x.m.OpenActivities(open)
	x.m.OpenChildren(open)
	x.m.OpenUpdates(open)
	for _, e := range x.m.bequeath() {
		seen = append(seen, fmt.Sprintf("value %s %s", e.Name, e.Payload))
	}
	for _, e := range x.m.Unread() {
		seen = append(seen, fmt.Sprintf("unread %s %s", e.Name, e.Payload))
	}
	if f := x.m.Final(); f != nil {
		seen = append(seen, "final "+f.Kind.String())
	}
	return seen
}

// checkPrefixes verifies that replaying a prefix and running the rest live
// continues as the whole run did.
func (x *execution) checkPrefixes() {
	for k := range len(x.turns) + 1 {
		y := start(x.t, x.name)
		for i := range x.turns {
			turn := &x.turns[i]
			if i < k {
				if err := y.m.Replay(turn); err != nil {
					x.t.Errorf("%s: replay of turn %d: %v", x.name, turn.Number, err)
					break
				}
			} else {
				cmds, err := y.m.Turn(turn.Time, turn.Deliveries)
				if err != nil {
					x.t.Errorf("%s: turn %d, live after %d: %v", x.name, turn.Number, k, err)
					break
				}
				if a, b := formatAll(cmds), formatAll(turn.Commands); a != b {
					x.t.Errorf("%s: turn %d, live after %d:\n%s\ninstead of\n%s", x.name, turn.Number, k, a, b)
				}
			}
			if got := y.take(); !slices.Equal(got, x.logs[i]) {
				x.t.Errorf("%s: turn %d after %d prints %q instead of %q", x.name, turn.Number, k, got, x.logs[i])
			}
			if got := append(y.state(), fmt.Sprint("size ", y.m.Size())); !slices.Equal(got, x.states[i]) {
				x.t.Errorf("%s: turn %d after %d leaves %q instead of %q", x.name, turn.Number, k, got, x.states[i])
			}
			if len(y.m.Rejected()) > 0 {
				x.t.Errorf("%s: turn %d after %d rejects %v", x.name, turn.Number, k, y.m.Rejected())
			}
			if y.m.Replaying() != (i < k) {
				x.t.Errorf("%s: turn %d after %d: replaying %v", x.name, turn.Number, k, y.m.Replaying())
			}
		}
		y.m.Close()
	}
}

var line = regexp.MustCompile(` at \S*/(\w+\.go):\d+`)

func appendError(seen []string, err error) []string {
	if err != nil {
		seen = append(seen, "error: "+line.ReplaceAllString(err.Error(), " at $1"))
	}
	return seen
}

func formatAll(events []history.Event) string {
	var b strings.Builder
	for i := range events {
		b.WriteString(format(&events[i]) + "\n")
	}
	return b.String()
}

func format(e *history.Event) string {
	s := fmt.Sprintf("%d %s", e.Seq, describe(e))
	if e.Time != 0 {
		s += fmt.Sprintf(" at %d", e.Time)
	}
	if e.Payload != nil {
		s += fmt.Sprintf(" payload %q", e.Payload)
	}
	if e.Text != "" && !identifying(e.Kind) && e.Kind != history.UpdateRequested {
		s += fmt.Sprintf(" text %q", e.Text)
	}
	if e.Failure != nil {
		s += fmt.Sprintf(" failure %q", e.Failure.Message)
	}
	for _, c := range e.Carried {
		s += " carried"
		if c.Kind != history.SignalReceived {
			s += fmt.Sprintf(" %v", c.Kind)
		}
		s += fmt.Sprintf(" %s %s", c.Name, c.Payload)
	}
	return s
}

func formatRejection(r Rejection) string {
	s := fmt.Sprintf("rejected delivery %d", r.Index)
	if r.Late {
		s += ", late"
	}
	if r.Failure != nil {
		s += fmt.Sprintf(": %s %q", r.Failure.Code, r.Failure.Message)
		if r.Failure.Final {
			s += " final"
		}
	}
	return s
}

var deliveryKinds = map[string]history.Kind{
	"started": history.Started, "completed": history.ActivityCompleted, "failed": history.ActivityFailed,
	"fired": history.TimerFired, "signal": history.SignalReceived, "child-completed": history.ChildCompleted,
	"child-failed": history.ChildFailed, "cancel": history.CancelRequested, "refused": history.SignalRefused,
	"update": history.UpdateRequested, "undecodable": history.Undecodable, "quarantined": history.InstanceQuarantined,
}

// parseDeliveries reads lines of a kind, what it refers to (a number, or the
// name of a signal) and a text; of an update its name, request and payload; of
// started the values that it carries, as name=payload.
func parseDeliveries(t *testing.T, lines []string) []history.Event {
	var events []history.Event
	for _, l := range lines {
		f := append(strings.Fields(l), "", "", "")
		e := history.Event{Kind: deliveryKinds[f[0]]}
		switch e.Kind {
		case 0:
			t.Fatalf("unknown delivery %q", l)
		case history.Started:
			e.Name = "test"
			for _, v := range f[1:] {
				if name, payload, ok := strings.Cut(v, "="); ok {
					e.Carried = append(e.Carried, history.Event{Kind: history.ValueCarried, Name: name, Payload: []byte(payload)})
				}
			}
		case history.UpdateRequested:
			e.Name, e.Text, e.Payload = f[1], f[2], []byte(f[3])
		case history.SignalReceived:
			e.Name, e.Payload = f[1], []byte(f[2])
		case history.CancelRequested:
			e.Text = f[1]
		case history.ActivityFailed, history.ChildFailed, history.SignalRefused:
			e.Ref, e.Failure = number(t, f[1]), &history.Failure{Message: f[2]}
		default:
			e.Ref = number(t, f[1])
			if f[2] != "" {
				e.Payload = []byte(f[2])
			}
		}
		events = append(events, e)
	}
	return events
}

func number(t *testing.T, s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
