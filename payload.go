package durango

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// None is the type of an input or output that is not there. It is stored as
// nothing.
type None struct{}

// encode turns a value into what is stored. A nil codec is the default one.
func encode[T any](c Codec, v *T) ([]byte, error) {
	switch p := any(v).(type) {
	case *None:
		return nil, nil
	case *json.RawMessage:
		if len(*p) == 0 {
			return nil, nil
		}
	case *any:
		if c != nil && *p != nil {
			return c.Encode(pointer(*p))
		}
	}
	if c == nil {
		return JSON.Encode(v)
	}
	return c.Encode(v)
}

// pointer makes a pointer to what an interface holds, so that a codec sees the
// type of the value and not of its variable.
func pointer(v any) any {
	p := reflect.New(reflect.TypeOf(v))
	p.Elem().Set(reflect.ValueOf(v))
	return p.Interface()
}

// decode is the inverse of encode. Nothing stored decodes as the zero value,
// so that None on one side and any type on the other agree.
func decode[T any](c Codec, b []byte, v *T) error {
	if _, none := any(v).(*None); none {
		return nil
	}
	if len(b) == 0 {
		*v = *new(T)
		return nil
	}
	if c == nil {
		return JSON.Decode(b, v)
	}
	return c.Decode(b, v)
}

// encodeCall encodes the argument of a call, naming the call in the error.
func encodeCall[T any](c Codec, verb, name string, v *T) ([]byte, error) {
	b, err := encode(c, v)
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
