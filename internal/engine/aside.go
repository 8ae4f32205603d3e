package engine

import (
	"errors"
	"fmt"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// A message that cannot be decoded would be in the way of everything behind it
// for ever. It is put aside: recorded as it is, by the turn that consumes it, and
// shown to people, while the code goes on without it. If it was the answer to a
// command the code gets a failure instead, because nobody will answer again.
//
// One that is of a later format is another thing, because a newer program may be
// able to read it. It fails the turn, as an undecodable history does, and is put
// aside only when the next failure would be one too many.

// undecodable makes the delivery of a message that cannot be decoded, or returns
// the failure of the turn. The caller holds x.mu.
func (e *Engine) undecodable(x *execution, m *provider.Mail, err error) (delivery, error) {
	wrapped := fmt.Errorf("message %d of the mailbox: %w: %w", m.Seq, history.ErrCorrupt, err)
	if m.Seq == 1 {
		return delivery{}, wrapped // what begins the instance: it cannot do without
	}
	if errors.Is(err, history.ErrUnknownFormat) {
		limit := int64(e.policyOf(x.name, x.version).MaxFailures)
		if limit < 0 {
			limit = int64(defaultPolicy.MaxFailures)
		}
		if x.fault == nil || x.fault.Count < limit-1 {
			return delivery{}, wrapped
		}
	}
	text, kept := err.Error(), m.Payload
	if most := e.contract.Store.MaxEventSize / 2; most > 0 && len(kept) > most {
		text += fmt.Sprintf(" (the first %d of %d bytes)", most, len(kept))
		kept = kept[:most]
	}
	return delivery{
		event: history.Event{Kind: history.Undecodable, Ref: m.Command, Text: text, Payload: kept},
		mail:  m.Seq, execution: m.Execution,
	}, nil
}

// inPlaceOf is the answer that the code gets to a command whose answer cannot be
// decoded, if it is still open.
func inPlaceOf(x *execution, d *delivery) (answer history.Event, open bool) {
	if d.event.Ref == 0 || d.execution != x.generation {
		return answer, false
	}
	answer = history.Event{Ref: d.event.Ref, Failure: &history.Failure{
		Code: CodeUndecodable, Message: "the answer cannot be decoded: " + d.event.Text, Final: true,
	}}
	for _, kind := range []history.Kind{history.ActivityFailed, history.ChildFailed, history.SignalRefused} {
		if answer.Kind = kind; x.machine.Accepts(&answer) {
			return answer, true
		}
	}
	return answer, false
}

// putAside is told of the messages that a committed turn has put aside.
func (e *Engine) putAside(x *execution) {
	for i := range x.turn.events {
		ev := &x.turn.events[i]
		if ev.Kind == history.Undecodable {
			e.metrics.undecodable.Add(1)
			e.o.Logger.Error("a message cannot be decoded; it is recorded in the history, and the instance goes on without it",
				"instance", x.id, "orchestration", x.name, "turn", x.nextTurn, "bytes", len(ev.Payload), "error", ev.Text)
		}
	}
}
