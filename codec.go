package durango

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	fast "github.com/go-json-experiment/json/v1"
)

// Codec turns values into what is stored and back: the inputs, outputs and
// errors of orchestrations and activities, signals, recorded values, custom
// status. It is given to a node by [Options.Codec] and to a client by
// [NewClientWith]; what one has encoded another must be able to decode, in this
// version of the program and in the next. It is safe for concurrent use, and
// quick: orchestrations call it in their turns.
//
// Nothing is stored as nothing: a codec never sees [None], an empty
// [json.RawMessage], or stored bytes of length zero, which are the zero value of
// every type. So it encodes no value as an empty slice.
//
// Beside the types that handles name, a codec encodes a struct of two strings
// and a byte slice, the text of an error.
//
// Replays compare what the code encodes with what is recorded, to warn of a
// difference. A codec that does not encode a value twice the same way, as
// encryption does not, has a method that tells whether two stored forms are of
// one value:
//
//	Same(a, b []byte) bool
type Codec interface {
	// Encode returns the stored form of the value that v points to. An error is
	// that of the call whose value it is.
	Encode(v any) ([]byte, error)
	// Decode reads the stored form b into the value that into points to. It does
	// not keep or change b. An error becomes a [*DecodeError].
	Decode(b []byte, into any) error
}

// JSON is the default codec. It writes what [json.Marshal] does, and a
// [json.RawMessage] as it is.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Encode(v any) ([]byte, error) {
	if raw, ok := v.(*json.RawMessage); ok {
		if !json.Valid(*raw) {
			return nil, fmt.Errorf("%T is not valid JSON", *raw)
		}
		return bytes.Clone(*raw), nil
	}
	return json.Marshal(v)
}

func (jsonCodec) Decode(b []byte, into any) error {
	if raw, ok := into.(*json.RawMessage); ok {
		// A copy, because the stored bytes belong to the history.
		*raw = bytes.Clone(b)
		return nil
	}
	if fast.Unmarshal(b, into) == nil {
		return nil
	}
	// encoding/json has the last word on what is wrong, and says it as ever.
	reflect.ValueOf(into).Elem().SetZero()
	return json.Unmarshal(b, into)
}

// custom returns c, or nil if it is the default: that is what codecs are
// compared with.
func custom(c Codec) Codec {
	if c == JSON {
		return nil
	}
	return c
}
