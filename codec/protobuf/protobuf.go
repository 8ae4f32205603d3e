// Package protobuf is a codec that stores protocol buffer messages in their wire
// format, which is compact and may evolve by the rules of protocol buffers, and
// leaves every other type to another codec.
package protobuf

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/durango-go/durango"

	"google.golang.org/protobuf/proto"
)

// ErrMessage says that a stored message is read into a type that is none.
var ErrMessage = errors.New("value is a protocol buffer message, and the type to read it into is none")

// Codec encodes messages itself, and everything else with the codec inside it.
// It is safe for concurrent use.
type Codec struct{ inner durango.Codec }

var _ durango.BlobCodec = Codec{}

// New returns a codec for messages, which handles name as pointers, as in
// NewActivity[*orderspb.Order, *orderspb.Receipt]. A nil inner is
// [durango.JSON], which also reads messages that were stored before. A codec
// that encrypts belongs around this one, not inside.
func New(inner durango.Codec) Codec {
	if inner == nil {
		inner = durango.JSON
	}
	return Codec{inner}
}

// The first byte of a stored form: a message, or what the codec inside returned
// if that begins with one of these itself. No JSON does.
const (
	tagMessage = 0x00
	tagOther   = 0x01
)

// Encode encodes the value that v points to. A nil message is left to the codec
// inside.
func (c Codec) Encode(v any) ([]byte, error) {
	if m := message(v); m != nil {
		return proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{tagMessage}, m)
	}
	b, err := c.codec().Encode(v)
	if err == nil && len(b) > 0 && b[0] <= tagOther {
		b = append([]byte{tagOther}, b...)
	}
	return b, err
}

// message returns the message that v points to or is, unless it is nil.
func message(v any) proto.Message {
	m, ok := v.(proto.Message)
	if !ok {
		p := reflect.ValueOf(v)
		if p.Kind() != reflect.Pointer || p.IsNil() || !p.Elem().CanInterface() {
			return nil
		}
		m, _ = p.Elem().Interface().(proto.Message)
	}
	if m == nil || reflect.ValueOf(m).Kind() == reflect.Pointer && reflect.ValueOf(m).IsNil() {
		return nil
	}
	return m
}

// Decode is the inverse of Encode. Its error matches [ErrMessage] if a message
// is read into a type that is none.
func (c Codec) Decode(b []byte, into any) error {
	if len(b) > 0 && b[0] == tagMessage {
		m := target(into)
		if m == nil {
			return fmt.Errorf("protobuf: %w: %T", ErrMessage, into)
		}
		return proto.Unmarshal(b[1:], m)
	}
	if len(b) > 0 && b[0] == tagOther {
		b = b[1:]
	}
	return c.codec().Decode(b, into)
}

// target returns the message to read into: what into is, or what it points to,
// which is made if it is nil.
func target(into any) proto.Message {
	if m, ok := into.(proto.Message); ok {
		return m
	}
	p := reflect.ValueOf(into)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Pointer {
		return nil
	}
	e := p.Elem()
	m, ok := reflect.New(e.Type().Elem()).Interface().(proto.Message)
	if ok {
		e.Set(reflect.ValueOf(m))
	}
	return m
}

// EncodeBlob leaves the content of a [durango.Blob] to the codec inside, if that
// has a say in contents. Messages have no Blobs: a large field of one stays
// where it is.
func (c Codec) EncodeBlob(content []byte) ([]byte, error) {
	if inner, ok := c.codec().(durango.BlobCodec); ok {
		return inner.EncodeBlob(content)
	}
	if c.codec() != durango.JSON {
		return nil, errors.New("protobuf: the codec inside has no say in the contents of blobs")
	}
	return content, nil
}

// DecodeBlob is the inverse of EncodeBlob.
func (c Codec) DecodeBlob(b []byte) ([]byte, error) {
	if inner, ok := c.codec().(durango.BlobCodec); ok {
		return inner.DecodeBlob(b)
	}
	return b, nil
}

// Same reports whether a and b are of one value, as far as the codec inside can
// tell.
func (c Codec) Same(a, b []byte) bool {
	inner, ok := c.codec().(interface{ Same(a, b []byte) bool })
	if !ok || len(a) == 0 || len(b) == 0 || a[0] == tagMessage || b[0] == tagMessage {
		return false
	}
	return inner.Same(unescape(a), unescape(b))
}

func unescape(b []byte) []byte {
	if b[0] == tagOther {
		return b[1:]
	}
	return b
}

// codec makes the zero value work.
func (c Codec) codec() durango.Codec {
	if c.inner == nil {
		return durango.JSON
	}
	return c.inner
}
