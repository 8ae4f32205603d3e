package durangotest

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// settleLimit is how long [CrashEverywhere] waits for what has not ended.
const settleLimit = time.Hour

// state is how a run ended: lines by what they are about.
type state struct {
	instances []string
	effects   []string
}

// state waits until everything has ended, for a while, and returns how.
func (e *Env) state(known *forms) (s state) {
	ctx, cancel := context.WithTimeout(e.ctx, settleLimit)
	defer cancel()
	for ctx.Err() == nil {
		changed, _ := e.world.changes()
		if len(e.world.instances(provider.Pending, provider.Running)) == 0 {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	for _, row := range e.world.instances() {
		if !row.Status.Open() {
			row, _ = e.world.Get(context.Background(), provider.Target{Key: row.Key}) // whole
			s.instances = append(s.instances, e.outcome(&row, known))
			s.instances = append(s.instances, e.shown(&row, known)...)
		}
	}
	s.effects = e.Effects()
	return s
}

// outcome is how an instance ended, in full.
func (e *Env) outcome(row *provider.Instance, known *forms) string {
	text := fmt.Sprintf("instance %q, %s %s: %s", row.ID, row.Name, row.Version, row.Status)
	if len(row.CustomStatus) > 0 {
		text += ", status " + known.text(e, row.CustomStatus)
	}
	end, err := history.DecodeMessage(row.Outcome)
	if err != nil {
		return text + ", " + err.Error()
	}
	if len(end.Payload) > 0 {
		text += ", output " + known.text(e, end.Payload)
	}
	if end.Text != "" {
		text += ", " + end.Text
	}
	return text + e.failure(&end, known)
}

// failure is the failure of an event, if it has one.
func (e *Env) failure(event *history.Event, known *forms) (text string) {
	for f := e.client.Readable(*event).Failure; f != nil; f = f.Cause {
		text += fmt.Sprintf(", %s %q", f.Code, f.Message)
		switch {
		case f.Code == durango.CodePanic: // whose detail is a stack
		case f.Sealed:
			text += known.text(e, f.Detail)
		default:
			text += string(f.Detail)
		}
	}
	return text
}

// shown is what an instance has shown to others: its values, and what it
// answered to updates.
func (e *Env) shown(row *provider.Instance, known *forms) (lines []string) {
	line := func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf("instance %q, ", row.ID)+fmt.Sprintf(format, args...))
	}
	values, _ := e.world.Values(context.Background(), row.Key) // an open memory store does not fail
	for _, v := range values {
		content, _, err := history.DecodeRaw(v.Payload)
		if err != nil {
			line("value %q: %v", v.Name, err)
			continue
		}
		line("value %q: %s", v.Name, known.text(e, content))
	}
	turns, err := e.world.history(row.Key)
	if err != nil {
		line("history: %v", err)
	}
	for i := range turns {
		for j := range turns[i].Commands {
			if c := &turns[i].Commands[j]; c.Kind == history.UpdateAnswered {
				line("answer of update %q: %s%s", c.Name, known.text(e, c.Payload), e.failure(c, known))
			}
		}
	}
	return lines
}

// forms are the stored forms that runs which are compared have come upon, of
// values that their codec cannot give as JSON.
type forms struct{ seen [][]byte }

// text is the same for the stored forms of one value.
func (f *forms) text(e *Env, stored []byte) string {
	readable := e.client.ReadableValue(stored)
	codec, ok := e.fleet.options.Codec.(interface{ Same(a, b []byte) bool })
	if !ok || len(stored) == 0 || !bytes.Equal(readable, stored) {
		return string(readable)
	}
	for _, s := range f.seen {
		if codec.Same(s, stored) {
			return fmt.Sprintf("%q", s)
		}
	}
	f.seen = append(f.seen, bytes.Clone(stored))
	return fmt.Sprintf("%q", stored)
}

// diff returns the lines that only one of two states has, or nothing.
func (s state) diff(with state) string {
	return diffLines("", s.instances, with.instances) + diffLines("effect ", s.effects, with.effects)
}

func diffLines(label string, a, b []string) (text string) {
	count := map[string]int{}
	for _, line := range b {
		count[line]++
	}
	for _, line := range a {
		if count[line]--; count[line] < 0 {
			text += "- " + label + line + "\n"
		}
	}
	for _, line := range b {
		if count[line] > 0 {
			count[line]--
			text += "+ " + label + line + "\n"
		}
	}
	return text
}
