package replay

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// explain puts a trace into words. other, unless nil, is of a run that did
// something else.
func (tr *trace) explain(other *trace) *Explanation {
	x := &Explanation{Cause: tr.cause(other)}
	was, now := tr.block(x.Cause)
	var b strings.Builder
	fmt.Fprintf(&b, "likely cause: %s\n\n", tr.summary(x.Cause, was, now, other != nil))
	tr.excerpt(&b)
	b.WriteByte('\n')
	switch {
	case x.Cause == Unstable || x.Cause == MapOrder && other != nil:
		b.WriteString(remedies[x.Cause])
	default:
		x.Patch = tr.patchID(x.Cause, was, now)
		x.Branch = branch(x.Cause, x.Patch, was, now)
		if x.Cause == MapOrder {
			b.WriteString(remedies[MapOrder])
		}
		b.WriteString("Instances that have passed this point go on as they were, and others take the new\n" +
			"way, if what differs is put into a branch:\n\n")
		for line := range strings.Lines(x.Branch) {
			b.WriteString("\t" + line)
		}
	}
	if n := tr.otherTimes + tr.otherPayloads; n > 0 && x.Cause != Unstable {
		fmt.Fprintf(&b, "\nBefore that, commands had other times (%d) or payloads (%d) than recorded: if the code has\n"+
			"not changed, it depends on a clock, on chance or on the order of a map.\n", tr.otherTimes, tr.otherPayloads)
	}
	x.Text = b.String()
	return x
}

var remedies = map[Cause]string{
	MapOrder: "What is ranged over needs an order of its own, as in\n\n" +
		"\tfor _, key := range slices.Sorted(maps.Keys(m)) {\n\n",
	Unstable: "What decides has to be recorded: ctx.Now for the time, ctx.NewID for an ID, and\n" +
		"durango.Record for chance and for whatever else changes (environment, globals).\n" +
		"A branch does not help: what is recorded was decided by what nobody has kept.\n",
}

// cause finds the class of change.
func (tr *trace) cause(other *trace) Cause {
	d := tr.diff
	switch {
	case d.Recorded != nil && d.Recorded.Kind.Delivery():
		return Unhandled
	case other != nil && tr.permuted() && other.permuted():
		return MapOrder
	case other != nil:
		return Unstable
	case len(tr.recorded) == 0 && tr.steps[0].ev.Kind.Terminal():
		return Reordered // it ends where it waited
	case len(tr.recorded) == 0:
		return Inserted
	case len(tr.steps) == 0:
		return Removed
	}
	r, e := &tr.recorded[0], &tr.steps[0]
	laterNow := indexKey(tr.steps, r.key)
	laterThen := indexKey(tr.recorded, e.key)
	switch {
	case r.key == e.key && r.turn == e.turn:
		return Changed // it refers to another
	case e.ev.Kind.Terminal() && !r.ev.Kind.Terminal():
		return Removed // it ends early
	case r.key == e.key:
		return Reordered // in another turn
	case laterNow > 0 && laterThen > 0:
		if s := &tr.steps[laterNow]; tr.permuted() && s.at == e.at && s.turn == e.turn {
			return MapOrder
		}
		return Reordered
	case laterNow > 0:
		return Inserted
	case laterThen > 0:
		return Removed
	case r.ev.Kind == e.ev.Kind && r.ev.Name != e.ev.Name:
		return Renamed
	}
	return Changed
}

// permuted reports whether the code asks, in the turn of the difference, for
// what is recorded in another order.
func (tr *trace) permuted() bool {
	if tr.diff == nil {
		return true
	}
	keys := func(steps []step) (keys []string) {
		for _, s := range steps {
			if s.turn == tr.diff.Turn {
				keys = append(keys, s.key)
			}
		}
		slices.Sort(keys)
		return keys
	}
	then, now := keys(tr.recorded), keys(tr.steps)
	return len(then) > 1 && slices.Equal(then, now)
}

func indexKey(steps []step, key string) int {
	return slices.IndexFunc(steps, func(s step) bool { return s.key == key })
}

// row has what is recorded beside what the code did; one of them may be
// missing.
type row struct{ then, now *step }

func (r row) same() bool {
	return r.then != nil && r.now != nil && r.then.key == r.now.key &&
		(r.now.turn == 0 || r.then.turn == r.now.turn)
}

// align finds the longest common subsequence of what is recorded and of what
// the code did, and puts what it replaced beside what was replaced.
func align(then, now []step) (rows []row) {
	then, now = then[:min(len(then), maxSteps)], now[:min(len(now), maxSteps)]
	lengths := make([][]int, len(then)+1)
	for i := range lengths {
		lengths[i] = make([]int, len(now)+1)
	}
	for i := len(then) - 1; i >= 0; i-- {
		for j := len(now) - 1; j >= 0; j-- {
			if then[i].key == now[j].key {
				lengths[i][j] = lengths[i+1][j+1] + 1
			} else {
				lengths[i][j] = max(lengths[i+1][j], lengths[i][j+1])
			}
		}
	}
	i, j, gap := 0, 0, 0 // gap: the first row behind the last pair
	for i < len(then) || j < len(now) {
		switch {
		case i < len(then) && j < len(now) && then[i].key == now[j].key:
			rows = append(rows, row{&then[i], &now[j]})
			i, j, gap = i+1, j+1, len(rows)
		case i < len(then) && (j == len(now) || lengths[i+1][j] >= lengths[i][j+1]):
			rows = append(rows, row{then: &then[i]})
			i++
		default:
			for gap < len(rows) && rows[gap].now != nil {
				gap++
			}
			if gap < len(rows) {
				rows[gap].now = &now[j]
			} else {
				rows = append(rows, row{now: &now[j]})
			}
			j++
		}
	}
	return rows
}

// block returns what was recorded, and what the code did, from the difference
// on until both agree again.
func (tr *trace) block(c Cause) (then, now []step) {
	then, now = tr.recorded[:min(len(tr.recorded), maxShown)], tr.steps[:min(len(tr.steps), maxShown)]
	switch c {
	case Inserted:
		if len(then) == 0 {
			return nil, now
		}
		return nil, now[:end(now, then[0].key)]
	case Removed:
		if len(now) == 0 {
			return then[:1], nil
		}
		return then[:end(then, now[0].key)], nil
	case Reordered, MapOrder:
		balance := map[string]int{} // how often it is recorded, less how often the code asks for it
		for n := range min(len(then), len(now)) {
			for key, by := range map[string]int{then[n].key: 1, now[n].key: -1} {
				if balance[key] += by; balance[key] == 0 {
					delete(balance, key)
				}
			}
			if len(balance) == 0 || then[n].key == now[n].key && n == 0 {
				return then[:n+1], now[:n+1]
			}
		}
	case Unhandled:
		return nil, nil
	default:
		for n, r := range align(then, now) {
			if r.then != nil && r.now != nil && r.then.key == r.now.key && n > 0 {
				return then[:indexKey(then, r.then.key)], now[:indexKey(now, r.now.key)]
			}
		}
	}
	return then, now
}

// end returns the index of a key, or else the length.
func end(steps []step, key string) int {
	if i := indexKey(steps, key); i >= 0 {
		return i
	}
	return len(steps)
}

// summary says in a line what happened.
func (tr *trace) summary(c Cause, then, now []step, differs bool) string {
	var was, is string
	if len(then) > 0 {
		was = describe(&then[0].ev)
	}
	if len(now) > 0 {
		is = describe(&now[0].ev)
	}
	switch c {
	case Inserted:
		return "a step was inserted, " + is
	case Removed:
		return "a step was removed, " + was
	case Renamed:
		return fmt.Sprintf("a name was changed, %q to %q", then[0].ev.Name, now[0].ev.Name)
	case Changed:
		return "what is asked for was changed, " + was + " to " + is
	case Reordered:
		switch e := &tr.steps[0]; {
		case len(tr.recorded) > 0 && tr.recorded[0].key != e.key:
			return "steps were reordered"
		case e.turn != 0:
			return "the code waits for less before " + is
		}
		return "the code waits for more before " + is
	case MapOrder:
		if differs {
			return "the order of a map: the code asks for the same in an order that differs from run to run"
		}
		return "the order of a map, or of a list that was changed: one line asks for the same in another order"
	case Unhandled:
		return fmt.Sprintf("the handler of update %q was removed, or is registered later", tr.diff.Recorded.Name)
	}
	return "a branch that depends on a clock, on chance or on a global: the code does not do the same twice"
}

// excerpt shows what is recorded beside what the code does.
func (tr *trace) excerpt(b *strings.Builder) {
	lines := [][]string{{"", "turn", "recorded", "the code now", ""}}
	for i := range tr.before {
		s := &tr.before[i]
		text := describe(&s.ev)
		lines = append(lines, []string{"", fmt.Sprint(s.turn), text, text, short(s.at)})
	}
	rows := align(tr.recorded, tr.steps)
	for i, r := range rows {
		if i == maxShown {
			break
		}
		line := []string{">", "", "", "", ""}
		if r.same() {
			line[0] = ""
		}
		if r.then != nil {
			line[1], line[2] = fmt.Sprint(r.then.turn), describe(&r.then.ev)
		}
		if r.now != nil {
			line[3], line[4] = describe(&r.now.ev), short(r.now.at)
			switch {
			case r.now.turn == 0:
			case r.then == nil:
				line[1] = fmt.Sprint(r.now.turn)
			case r.then.turn != r.now.turn:
				line[3] += fmt.Sprintf(" (in turn %d)", r.now.turn)
			}
		}
		lines = append(lines, line)
	}
	if d := tr.diff.Recorded; d != nil && d.Kind.Delivery() {
		lines = append(lines, []string{">", fmt.Sprint(tr.diff.Turn), describe(d), "no handler", ""})
	}
	var width [5]int
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], min(len([]rune(cell)), 60))
		}
	}
	for _, line := range lines {
		out := fmt.Sprintf("%-1s %*s  %-*s  %-*s  %s", line[0], width[1], line[1], width[2], line[2], width[3], line[3], line[4])
		b.WriteString(strings.TrimRight(out, " ") + "\n")
	}
}

// short cuts a place in the code to the directory, the file and the line.
func short(at string) string {
	dir, file := path.Split(at)
	if dir == "" {
		return at
	}
	return path.Join(path.Base(dir), file)
}

// patchID makes an id for a patch that says what was changed, and that the
// execution does not know.
func (tr *trace) patchID(c Cause, then, now []step) string {
	verb, of := "change", now
	switch c {
	case Inserted:
		verb = "add"
	case Removed:
		verb, of = "drop", then
	case Renamed:
		verb = "rename"
	case Reordered, MapOrder:
		verb = "reorder"
	}
	if len(of) == 0 {
		of = then
	}
	what := ""
	switch {
	case len(of) > 0 && of[0].ev.Name != "":
		what = of[0].ev.Name
	case len(of) > 0:
		what = of[0].ev.Kind.String()
	case tr.diff.Recorded != nil:
		verb, what = "drop", tr.diff.Recorded.Name
	}
	id := verb + "-" + strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("\"\\`", r) {
			return '-'
		}
		return r
	}, strings.ToLower(what[:min(len(what), 60)]))
	for n, first := 2, id; ; n++ {
		if !slices.Contains(tr.asked, id) {
			return id
		}
		id = fmt.Sprintf("%s-%d", first, n)
	}
}

// branch is the branch that keeps what is recorded as it was.
func branch(c Cause, id string, then, now []step) string {
	var b strings.Builder
	list := func(head string, steps []step) {
		fmt.Fprintf(&b, "\t// %s:\n", head)
		for i := range steps {
			s := &steps[i]
			b.WriteString("\t//\t" + describe(&s.ev))
			if s.at != "" {
				b.WriteString(", " + short(s.at))
			}
			b.WriteByte('\n')
		}
	}
	switch {
	case c == Unhandled:
		fmt.Fprintf(&b, "if !ctx.Patched(%q) {\n\t// as it was: the handler\n", id)
	case len(now) == 0:
		fmt.Fprintf(&b, "if !ctx.Patched(%q) {\n", id)
		list("as it was", then)
	case len(then) == 0:
		fmt.Fprintf(&b, "if ctx.Patched(%q) {\n", id)
		list("as it is now", now)
	default:
		fmt.Fprintf(&b, "if ctx.Patched(%q) {\n", id)
		list("as it is now", now)
		b.WriteString("} else {\n")
		list("as it was", then)
	}
	b.WriteString("}\n")
	return b.String()
}
