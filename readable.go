package durango

import (
	"encoding/json"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// For returns a client of another store with the codec and the interceptors of
// c. It belongs to no node. With a nil client it is [NewClient].
func (c *Client) For(store provider.Provider) *Client {
	other := NewClient(store)
	if c != nil {
		other.codec, other.interceptors = c.codec, c.interceptors
	}
	return other
}

// Readable returns a recorded event for people: what has passed the client's
// codec is JSON, and the text of errors is where it was. What the codec cannot
// give as JSON, and all with the default codec, is as it is recorded. A nil
// client has the default codec.
func (c *Client) Readable(e history.Event) history.Event {
	codec := c.codecOf()
	if codec == nil {
		return e
	}
	e.Payload = c.ReadableValue(e.Payload)
	e.Failure = readableFailure(codec, e.Failure)
	if e.Carried != nil {
		carried := make([]history.Event, len(e.Carried))
		for i := range e.Carried {
			carried[i] = c.Readable(e.Carried[i])
		}
		e.Carried = carried
	}
	return e
}

// ReadableValue is Readable of one stored value, as a custom status or a value
// of an instance is.
func (c *Client) ReadableValue(stored []byte) []byte {
	codec := c.codecOf()
	if codec == nil || len(stored) == 0 {
		return stored
	}
	var raw json.RawMessage
	if err := codec.Decode(stored, &raw); err != nil || !json.Valid(raw) {
		return stored
	}
	return raw
}

func readableFailure(c Codec, f *history.Failure) *history.Failure {
	if f == nil {
		return nil
	}
	open := *f
	var text sealedText
	if f.Sealed && decode(c, f.Detail, &text) == nil {
		open.Sealed, open.Message, open.Type, open.Detail = false, text.Message, text.Type, text.Detail
	}
	open.Cause = readableFailure(c, f.Cause)
	return &open
}
