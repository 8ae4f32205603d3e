package sealed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/durango-go/durango/codec/sealed"
	"github.com/durango-go/durango/internal/assert"
)

func key(id string, fill byte) sealed.Key {
	return sealed.Key{ID: id, Secret: bytes.Repeat([]byte{fill}, sealed.KeySize)}
}

func newCodec(t testing.TB, keys ...sealed.Key) *sealed.Codec {
	t.Helper()
	c, err := sealed.New(nil, keys...)
	assert.NoError(t, err)
	return c
}

func encode(t testing.TB, c *sealed.Codec, v any) []byte {
	t.Helper()
	b, err := c.Encode(v)
	assert.NoError(t, err)
	return b
}

type card struct{ Number string }

// Nothing of a value shows in its stored form, not even that it is the same as
// another.
func TestSealedIsOpaque(t *testing.T) {
	c := newCodec(t, key("k1", 1))
	v := card{Number: "4242-4242"}
	first, second := encode(t, c, &v), encode(t, c, &v)
	assert.False(t, bytes.Contains(first, []byte("4242")))
	assert.False(t, bytes.Equal(first, second), "two encodings are equal")
	assert.True(t, c.Same(first, second))
	assert.False(t, c.Same(first, encode(t, c, &card{Number: "1"})))
	assert.False(t, c.Same(first, []byte("{}")))

	var back card
	assert.NoError(t, c.Decode(first, &back))
	assert.Equal(t, back, v)

	raw := json.RawMessage(`{"b": 1,  "a": 2}`)
	var same json.RawMessage
	assert.NoError(t, c.Decode(encode(t, c, &raw), &same))
	assert.Equal(t, string(same), string(raw))
}

// The first key encrypts, all decrypt; the ID of a key that is missing is told.
func TestRotation(t *testing.T) {
	before := newCodec(t, key("2025", 1))
	during := newCodec(t, key("2026", 2), key("2025", 1))
	after := newCodec(t, key("2026", 2))

	old, recent := encode(t, before, new(1)), encode(t, during, new(2))
	var n int
	assert.NoError(t, during.Decode(old, &n))
	assert.Equal(t, n, 1)
	assert.NoError(t, after.Decode(recent, &n))
	assert.Equal(t, n, 2)

	err := after.Decode(old, &n)
	var unknown *sealed.UnknownKeyError
	assert.True(t, errors.Is(err, sealed.ErrUnknownKey) && errors.As(err, &unknown), "%v", err)
	assert.Equal(t, unknown.ID, "2025")
	assert.Equal(t, err.Error(), `sealed: value is encrypted with the key "2025", which is not known here`)
}

// Each byte of a stored form is authenticated, and so is its length.
func TestTampering(t *testing.T) {
	c := newCodec(t, key("k1", 1), key("k2", 2))
	good := encode(t, c, new("value"))
	var s string
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			err := c.Decode(bad, &s)
			assert.True(t, errors.Is(err, sealed.ErrTampered) || errors.Is(err, sealed.ErrNotSealed) || errors.Is(err, sealed.ErrUnknownKey),
				"byte %d, bit %d: %v", i, bit, err)
		}
		assert.True(t, c.Decode(good[:i], &s) != nil, "the first %d bytes", i)
	}
	assert.True(t, errors.Is(c.Decode(append(good, 0), &s), sealed.ErrTampered))
	assert.Equal(t, s, "")

	// The same ID with another secret.
	assert.True(t, errors.Is(newCodec(t, key("k1", 9)).Decode(good, &s), sealed.ErrTampered))
	// A value under the ID of another key of the codec, with the same secret.
	twins := newCodec(t, key("k1", 1), key("k2", 1))
	assert.True(t, errors.Is(twins.Decode(bytes.Replace(good, []byte("k1"), []byte("k2"), 1), &s), sealed.ErrTampered))
}

// What was stored before values were encrypted is read only if that is asked for.
func TestPlain(t *testing.T) {
	c := newCodec(t, key("k1", 1))
	var n int
	assert.True(t, errors.Is(c.Decode([]byte("7"), &n), sealed.ErrNotSealed))
	assert.NoError(t, c.WithPlain().Decode([]byte("7"), &n))
	assert.Equal(t, n, 7)
	assert.True(t, c.WithPlain().Decode(encode(t, newCodec(t, key("k2", 1)), new(8)), &n) != nil)
}

func TestNewReportsEverything(t *testing.T) {
	_, err := sealed.New(nil)
	assert.True(t, err != nil)
	_, err = sealed.New(nil, sealed.Key{Secret: make([]byte, 32)}, sealed.Key{ID: "short", Secret: make([]byte, 16)},
		key("twice", 1), key("twice", 2), key(strings.Repeat("x", 256), 1))
	assert.Equal(t, len(strings.Split(err.Error(), "\n")), 4, "%v", err)
}

// Whatever is stored, decoding it neither panics nor succeeds unless it was
// encoded.
func FuzzDecode(f *testing.F) {
	c := newCodec(f, key("k1", 1))
	good := encode(f, c, new("value"))
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("\xd5\x01"))
	f.Add([]byte("\xd5\x01\xff"))
	f.Add([]byte(`"plain"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s string
		if err := c.Decode(b, &s); err == nil && s != "value" { // only that was ever encoded
			t.Fatalf("%x decodes as %q", b, s)
		}
		_ = c.WithPlain().Decode(b, &s)
		_ = c.Same(b, good)
	})
}

// Equal contents become one, and tell nothing to those without the key.
func TestBlobs(t *testing.T) {
	c := newCodec(t, key("a", 1))
	content := bytes.Repeat([]byte("secret"), 1000)
	first, err := c.EncodeBlob(content)
	assert.NoError(t, err)
	again, err := newCodec(t, key("a", 1), key("b", 2)).EncodeBlob(content)
	assert.NoError(t, err)
	assert.True(t, bytes.Equal(first, again), "equal contents are sealed differently")
	assert.False(t, bytes.Contains(first, []byte("secret")), "it is not encrypted")
	other, err := c.EncodeBlob(content[1:])
	assert.NoError(t, err)
	nonce := first[4 : 4+24]
	assert.False(t, bytes.Contains(other, nonce), "two contents have one nonce")
	elsewhere, err := newCodec(t, key("b", 2)).EncodeBlob(content)
	assert.NoError(t, err)
	assert.False(t, bytes.Contains(elsewhere, nonce), "two keys make one nonce")
	got, err := newCodec(t, key("b", 2), key("a", 1)).DecodeBlob(first)
	assert.NoError(t, err)
	assert.True(t, bytes.Equal(got, content), "another content")
	_, err = newCodec(t, key("b", 2)).DecodeBlob(first)
	assert.ErrorIs(t, err, sealed.ErrUnknownKey)
	first[len(first)-1] ^= 1
	_, err = c.DecodeBlob(first)
	assert.ErrorIs(t, err, sealed.ErrTampered)
}
