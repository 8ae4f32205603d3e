package durangotest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// formatTurn renders a turn for people, as "durango show" does.
func formatTurn(t *history.Turn) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  turn %d  %s", t.Number, time.Unix(0, t.Time).UTC().Format(time.RFC3339Nano))
	for i := range t.Deliveries {
		fmt.Fprintf(&b, "\n    <- %s", &t.Deliveries[i])
	}
	for i := range t.Commands {
		fmt.Fprintf(&b, "\n    -> %s", &t.Commands[i])
	}
	return b.String()
}

// pending says what an open instance waits for, as far as the store knows.
func (e *Env) pending(row *provider.Instance, turns []history.Turn) string {
	if !row.Status.Runnable() {
		return ""
	}
	known := e.fleet.known()
	if !runs(known, row) {
		return fmt.Sprintf("\nit waits for a node that has its code: no definition of %q is registered%s", row.Name, inVersion(row.Version))
	}
	var waits []string
	for _, c := range unanswered(turns) {
		switch c.Kind {
		case history.ActivityScheduled:
			waits = append(waits, fmt.Sprintf("activity %q (#%d)", c.Name, c.Seq))
			if c.Pool != "" {
				waits[len(waits)-1] += fmt.Sprintf(" in pool %q", c.Pool)
			}
			if !known[durango.Definition{Kind: "activity", Name: c.Name}] && !strings.HasPrefix(c.Name, "durango/") {
				waits[len(waits)-1] += ", which is not registered"
			}
		case history.TimerSet:
			waits = append(waits, fmt.Sprintf("a timer at %s (#%d)", time.Unix(0, c.Time).UTC().Format(time.RFC3339Nano), c.Seq))
		case history.ChildStarted:
			waits = append(waits, fmt.Sprintf("instance %q of %q (#%d)", c.Target, c.Name, c.Seq))
			child, err := e.world.Get(context.Background(), provider.Target{ID: c.Target})
			if err == nil && child.Status.Runnable() && !runs(known, &child) {
				waits[len(waits)-1] += ", which is not registered" + inVersion(c.Version)
			}
		}
	}
	if len(waits) == 0 {
		waits = []string{"a signal or an update, or for something that is not durango's"}
	}
	return "\nit waits for " + strings.Join(waits, "\n        and ")
}

func inVersion(version string) string {
	if version == "" {
		return ""
	}
	return " in version " + version
}

// unanswered returns the commands of the last execution that wait for an answer.
func unanswered(turns []history.Turn) (open []history.Event) {
	for i := range turns {
		t := &turns[i]
		if i > 0 && t.Execution != turns[i-1].Execution {
			open = nil
		}
		over := func(ref int64) {
			open = slices.DeleteFunc(open, func(c history.Event) bool { return c.Seq == ref })
		}
		for j := range t.Deliveries {
			if ref := t.Deliveries[j].Ref; ref != 0 {
				over(ref)
			}
		}
		for j := range t.Commands {
			switch c := &t.Commands[j]; c.Kind {
			case history.ActivityScheduled, history.TimerSet:
				open = append(open, *c)
			case history.ChildStarted:
				if !c.Detached {
					open = append(open, *c)
				}
			case history.ActivityCanceled, history.TimerCanceled, history.ChildCanceled:
				over(c.Ref)
			}
		}
	}
	return open
}

// What a write says of itself, for the report of a crash.

func describeCommit(w *world, batch []provider.Commit) string {
	parts := make([]string, len(batch))
	for i := range batch {
		c := &batch[i]
		id := w.id(c.Key)
		switch {
		case c.Turn == nil && c.Failure != "":
			parts[i] = fmt.Sprintf("failure of turn %d of %s", c.Expect, id)
		case c.Turn == nil && c.Release:
			parts[i] = "release of " + id
		case c.Turn == nil:
			parts[i] = "mail and tasks of " + id
		default:
			turn, err := decodeTurn(c.Turn)
			if err != nil {
				parts[i] = fmt.Sprintf("%s of %s", err, id)
				continue
			}
			parts[i] = fmt.Sprintf("turn of instance %q\n%s", id, formatTurn(&turn))
		}
	}
	return "the commit of " + strings.Join(parts, "\nwith ")
}

func describeCreate(batch []provider.NewInstance) string {
	ids := make([]string, len(batch))
	for i := range batch {
		ids[i] = batch[i].ID
	}
	return "the creation of " + strings.Join(ids, ", ")
}

func describeSend(batch []provider.Message) string {
	parts := make([]string, len(batch))
	for i := range batch {
		parts[i] = "what cannot be decoded"
		if event, err := history.DecodeMessage(batch[i].Payload); err == nil {
			parts[i] = event.String()
		}
		parts[i] += " to " + batch[i].To.ID
	}
	return "the sending of " + strings.Join(parts, ", ")
}

func describeFinish(w *world, batch []provider.TaskFinish) string {
	parts := make([]string, len(batch))
	for i := range batch {
		f := &batch[i]
		parts[i] = fmt.Sprintf("attempt %d of command %d of %s", f.Attempt, f.Command, w.id(f.Instance))
		switch {
		case f.GiveBack:
			parts[i] += ", given back"
		case f.Message == nil:
			parts[i] += ", to be tried again"
		}
	}
	return "the end of " + strings.Join(parts, ", ")
}

func (w *world) id(key provider.Key) string {
	row, err := w.Get(context.Background(), provider.Target{Key: key})
	if err != nil {
		return fmt.Sprintf("instance with key %d", key)
	}
	return row.ID
}
