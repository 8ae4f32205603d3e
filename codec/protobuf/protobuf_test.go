package protobuf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/codec/protobuf"
	"github.com/durango-go/durango/internal/assert"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func encode(t testing.TB, c durango.Codec, v any) []byte {
	t.Helper()
	b, err := c.Encode(v)
	assert.NoError(t, err)
	return b
}

// A message is stored in its wire format, behind one byte, and never as nothing.
func TestMessages(t *testing.T) {
	c := protobuf.New(nil)
	m := timestamppb.Timestamp{Seconds: 7, Nanos: 5}
	wire, err := proto.Marshal(&m)
	assert.NoError(t, err)
	p := &m
	assert.Equal(t, encode(t, c, &p), append([]byte{0}, wire...))
	assert.Equal(t, encode(t, c, &m), append([]byte{0}, wire...), "a handle of the struct itself")

	var back *timestamppb.Timestamp
	assert.NoError(t, c.Decode(encode(t, c, &p), &back))
	assert.True(t, proto.Equal(back, &m), "%v", back)
	var value timestamppb.Timestamp
	assert.NoError(t, c.Decode(encode(t, c, &p), &value))
	assert.True(t, proto.Equal(&value, &m), "%v", &value)

	empty := &wrapperspb.StringValue{}
	b := encode(t, c, &empty)
	assert.Equal(t, b, []byte{0})
	var back2 *wrapperspb.StringValue
	assert.NoError(t, c.Decode(b, &back2))
	assert.True(t, back2 != nil && back2.Value == "")
}

// Everything else, a nil message included, is the inner codec's.
func TestOthers(t *testing.T) {
	c := protobuf.New(nil)
	type pair struct{ A, B int }
	assert.Equal(t, string(encode(t, c, &pair{1, 2})), `{"A":1,"B":2}`)
	var back pair
	assert.NoError(t, c.Decode([]byte(`{"A":1,"B":2}`), &back))
	assert.Equal(t, back, pair{1, 2})

	var none *timestamppb.Timestamp
	assert.Equal(t, string(encode(t, c, &none)), "null")
	assert.NoError(t, c.Decode([]byte("null"), &none))
	assert.True(t, none == nil)

	// What was stored as JSON before is still read.
	var when *wrapperspb.Int64Value
	assert.NoError(t, c.Decode([]byte(`{"value":3}`), &when))
	assert.Equal(t, when.GetValue(), 3)

	message := &structpb.Value{Kind: &structpb.Value_BoolValue{BoolValue: true}}
	for _, into := range []any{&back, new(int), new(any), new(json.RawMessage), new(*int)} {
		err := c.Decode(encode(t, c, &message), into)
		assert.True(t, errors.Is(err, protobuf.ErrMessage), "%T: %v", into, err)
	}
	assert.True(t, c.Decode([]byte{0, 0xff}, &message) != nil)
}

// verbatim is a codec of byte slices.
type verbatim struct{}

func (verbatim) Encode(v any) ([]byte, error)    { return *v.(*[]byte), nil }
func (verbatim) Decode(b []byte, into any) error { *into.(*[]byte) = bytes.Clone(b); return nil }
func (verbatim) Same(a, b []byte) bool           { return bytes.EqualFold(a, b) }

// What an inner codec returns may begin with any byte.
func FuzzInnerBytes(f *testing.F) {
	c := protobuf.New(verbatim{})
	f.Add([]byte{0, 1})
	f.Add([]byte{1})
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return // not a codec's
		}
		b := encode(t, c, &in)
		assert.True(t, b[0] != 0, "%x looks like a message", b)
		var out []byte
		assert.NoError(t, c.Decode(b, &out))
		assert.Equal(t, out, in)
		assert.True(t, c.Same(b, b))
	})
}

func TestSame(t *testing.T) {
	c := protobuf.New(verbatim{})
	assert.True(t, c.Same([]byte("\x01\x00a"), []byte("\x01\x00A")))
	assert.False(t, c.Same([]byte("\x00a"), []byte("\x00A")), "messages have one form")
	assert.False(t, protobuf.New(nil).Same([]byte("1"), []byte("1 ")))
}
