package durango

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// None is the type of an input or output that is not there. It is stored as
// nothing.
type None struct{}

// encode turns a value into what is stored. JSON is written as it is by
// [json.Marshal]; a [json.RawMessage] passes through verbatim.
func encode[T any](v *T) ([]byte, error) {
	switch p := any(v).(type) {
	case *None:
		return nil, nil
	case *json.RawMessage:
		if len(*p) == 0 {
			return nil, nil
		}
		if !json.Valid(*p) {
			return nil, fmt.Errorf("%T is not valid JSON", *p)
		}
		return bytes.Clone(*p), nil
	}
	return json.Marshal(v)
}

// decode is the inverse of encode. Nothing stored decodes as the zero value,
// so that None on one side and any type on the other agree.
func decode[T any](b []byte, v *T) error {
	switch p := any(v).(type) {
	case *None:
		return nil
	case *json.RawMessage:
		// A copy, because the stored bytes belong to the history.
		*p = bytes.Clone(b)
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, v)
}

// encodeCall encodes the argument of a call, naming the call in the error.
func encodeCall[T any](verb, name string, v *T) ([]byte, error) {
	b, err := encode(v)
	if err != nil {
		return nil, fmt.Errorf("%s %q: encode %s: %w", verb, name, reflect.TypeFor[T](), err)
	}
	return b, nil
}

// DecodeError says that stored bytes do not fit the Go type that reads them.
// Inside an orchestration it is seen only for signals, which come from
// outside; for anything else it fails the turn, because the type can be fixed
// and the instance goes on.
type DecodeError struct {
	// What was being decoded: `signal "approved"`.
	What string
	// Type is the Go type it was decoded into.
	Type string
	Err  error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("decode %s into %s: %v", e.What, e.Type, e.Err)
}

// Unwrap returns the decoder's error.
func (e *DecodeError) Unwrap() error { return e.Err }

// Is makes every DecodeError match [ErrDecode].
func (e *DecodeError) Is(target error) bool { return target == ErrDecode }

func (e *DecodeError) errorCode() string { return CodeUndecodable }

func decodeError[T any](what string, err error) error {
	return &DecodeError{What: what, Type: reflect.TypeFor[T]().String(), Err: err}
}
