package durangotest

import (
	"context"
	"fmt"
	"strings"
	"time"

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
