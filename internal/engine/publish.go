package engine

import (
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// replyWindow is how long the answer to a request is kept, at least, for a
// client that asks again.
const replyWindow = 24 * time.Hour

// refuse takes the requests that the code did not accept out of the turn,
// which leaves no trace of them, and prepares their answers.
func (e *Engine) refuse(x *execution, rejected []replay.Rejection) {
	s := x.turn
	kept, from := s.events[:0], 0
	for _, r := range rejected {
		kept = append(kept, s.events[from:r.Index]...)
		if r.Late {
			r.Failure = &history.Failure{Code: CodeNotRunning, Message: "the instance ended before it answered", Final: true}
		}
		s.refusals = append(s.refusals, unanswered(&s.events[r.Index], r.Failure))
		from = r.Index + 1
	}
	s.events = append(kept, s.events[from:]...)
}

// unanswered is the answer to a request that the code has not answered.
func unanswered(request *history.Event, f *history.Failure) provider.Reply {
	answer := history.Event{Kind: history.UpdateAnswered, Name: request.Name, Text: request.Text, Failure: f}
	return provider.Reply{ID: request.Text, Payload: history.AppendMessage(nil, &answer)}
}

// setValue adds a change of a value, in the place of an earlier one of the
// same turn.
func setValue(values []provider.Value, v provider.Value) []provider.Value {
	for i := range values {
		if values[i].Name == v.Name {
			values[i] = v
			return values
		}
	}
	return append(values, v)
}

// nonNil keeps what is set apart from what is not.
func nonNil(payload []byte) []byte {
	if payload == nil {
		return []byte{}
	}
	return payload
}
