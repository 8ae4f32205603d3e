// Package sealed is a codec that encrypts what another codec has encoded, so
// that a store, its backups and whoever reads them learn nothing of what the
// values are. What the engine acts upon stays readable: names, IDs, error codes,
// times, and headers.
//
// Values are encrypted with XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM
// under a key that is derived for each value, with 24 bytes of random nonce. A
// key may be used for as many values as a store will ever hold, which is not so
// for AES-GCM by itself and its nonces of 12 bytes.
//
// A stored form says which key it was encrypted with, by the key's ID. So keys
// are rotated without rewriting anything; see [New].
package sealed

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/durango-go/durango"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// Key is a key with its name.
type Key struct {
	// ID is stored with every value, readable: 1 to 255 bytes that tell the key
	// from all others there ever were.
	ID string
	// Secret is 32 random bytes.
	Secret []byte
}

// What is wrong with stored bytes. The error of Decode matches one of them
// unless it is of the codec inside.
var (
	// ErrNotSealed: they were not written by this package.
	ErrNotSealed = errors.New("value is not encrypted")
	// ErrUnknownKey: they were encrypted with a key that the codec does not have.
	// The error is an [*UnknownKeyError].
	ErrUnknownKey = errors.New("value is encrypted with an unknown key")
	// ErrTampered: they are not what was written, or the secret is not the one
	// that had this ID.
	ErrTampered = errors.New("encrypted value or its key has been changed")
)

// UnknownKeyError says which key is missing.
type UnknownKeyError struct{ ID string }

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("value is encrypted with the key %q, which is not known here", e.ID)
}

// Is makes every UnknownKeyError match [ErrUnknownKey].
func (e *UnknownKeyError) Is(target error) bool { return target == ErrUnknownKey }

// Codec encrypts what the codec inside it encodes. It is safe for concurrent
// use.
type Codec struct {
	inner durango.Codec
	first *key
	keys  map[string]*key
	plain bool
}

var _ durango.BlobCodec = (*Codec)(nil)

// New returns a codec that encrypts with the first of the keys and decrypts with
// all of them. A nil inner is [durango.JSON].
//
// To rotate, give all nodes and clients the new key behind the old one, then
// all of them the new one first. The old one can go when nothing is stored under
// it any more: when the instances that began before have ended and been deleted.
func New(inner durango.Codec, keys ...Key) (*Codec, error) {
	if inner == nil {
		inner = durango.JSON
	}
	if len(keys) == 0 {
		return nil, errors.New("sealed: no key")
	}
	c := &Codec{inner: inner, keys: map[string]*key{}}
	var problems []error
	for i, k := range keys {
		made, err := newKey(k)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("sealed: key %d, %q: %w", i+1, k.ID, err))
			continue
		case c.keys[k.ID] != nil:
			problems = append(problems, fmt.Errorf("sealed: key %d, %q: its ID is taken by an earlier one", i+1, k.ID))
		case i == 0:
			c.first = made
		}
		c.keys[k.ID] = made
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return c, nil
}

// WithPlain returns a copy that decodes what is not encrypted with the codec
// inside. It is for a store that was in use before its values were encrypted,
// for as long as such values are in it: who can write to the store can then
// forge values.
func (c *Codec) WithPlain() *Codec {
	with := *c
	with.plain = true
	return &with
}

// A stored form is the mark, the length of the ID of the key in one byte, the
// ID, the nonce, and the encrypted value with its tag. What is before the nonce
// is authenticated too. The mark is no text in UTF-8, and so no JSON; its last
// byte is the version of the form.
const (
	mark      = "\xd5\x01"
	nonceSize = 24
)

// Encode encodes the value that v points to with the codec inside and encrypts
// what that returns.
func (c *Codec) Encode(v any) ([]byte, error) {
	plain, err := c.inner.Encode(v)
	if err != nil {
		return nil, err
	}
	return c.first.seal(plain), nil
}

// Decode is the inverse of Encode.
func (c *Codec) Decode(b []byte, into any) error {
	plain, err := c.open(b)
	if err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	return c.inner.Decode(plain, into)
}

// EncodeBlob encrypts the content of a [durango.Blob], after the codec inside if
// that has a say in contents. Its nonce comes from the content and the secret, so
// that equal contents are stored once: who reads the store learns that they are
// equal, and how long they are.
func (c *Codec) EncodeBlob(content []byte) ([]byte, error) {
	if inner, ok := c.inner.(durango.BlobCodec); ok {
		var err error
		if content, err = inner.EncodeBlob(content); err != nil {
			return nil, err
		}
	}
	return c.first.sealBlob(content), nil
}

// DecodeBlob is the inverse of EncodeBlob.
func (c *Codec) DecodeBlob(b []byte) ([]byte, error) {
	plain, err := c.open(b)
	if err != nil {
		return nil, fmt.Errorf("sealed: %w", err)
	}
	if inner, ok := c.inner.(durango.BlobCodec); ok {
		return inner.DecodeBlob(plain)
	}
	return plain, nil
}

// Same reports whether a and b are of one value.
func (c *Codec) Same(a, b []byte) bool {
	first, err := c.open(a)
	second, err2 := c.open(b)
	if err != nil || err2 != nil {
		return false
	}
	if bytes.Equal(first, second) {
		return true
	}
	inner, ok := c.inner.(interface{ Same(a, b []byte) bool })
	return ok && inner.Same(first, second)
}

func (c *Codec) open(b []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(b, []byte(mark))
	switch {
	case !ok && c.plain:
		return b, nil
	case !ok || len(rest) == 0:
		return nil, ErrNotSealed
	}
	n := int(rest[0])
	if rest = rest[1:]; len(rest) < n+nonceSize {
		return nil, fmt.Errorf("%w: it is too short", ErrTampered)
	}
	id := string(rest[:n])
	k := c.keys[id]
	if k == nil {
		return nil, &UnknownKeyError{id}
	}
	nonce, text := rest[n:n+nonceSize], rest[n+nonceSize:]
	plain, err := k.derive(nonce).Open(nil, nonce[12:], text, b[:len(mark)+1+n])
	if err != nil {
		return nil, ErrTampered // package cipher has no more to say
	}
	return plain, nil
}

// key is a key as it is used.
type key struct {
	head  []byte       // of every form encrypted with it
	block cipher.Block // of the secret
	k1    [aes.BlockSize]byte
	nonce []byte // the secret of nonces that are not random
}

func newKey(k Key) (*key, error) {
	if len(k.ID) == 0 || len(k.ID) > 255 {
		return nil, fmt.Errorf("its ID is %d bytes long, and should be 1 to 255", len(k.ID))
	}
	if len(k.Secret) != KeySize {
		return nil, fmt.Errorf("its secret is %d bytes long, and should be %d", len(k.Secret), KeySize)
	}
	block, err := aes.NewCipher(k.Secret)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, k.Secret, nil, "durango/sealed nonce of a blob", sha256.Size)
	if err != nil {
		return nil, err
	}
	made := &key{nonce: nonce, head: append(append([]byte(mark), byte(len(k.ID))), k.ID...), block: block}
	// The first subkey of CMAC, NIST SP 800-38B: the encryption of zeros, doubled
	// in the field of 2^128 elements.
	var l [aes.BlockSize]byte
	block.Encrypt(l[:], l[:])
	carry := byte(0)
	for i := len(l) - 1; i >= 0; i-- {
		made.k1[i] = l[i]<<1 | carry
		carry = l[i] >> 7
	}
	made.k1[len(l)-1] ^= carry * 0x87
	return made, nil
}

// derive returns the AEAD for a nonce, whose first half goes into its key, and
// whose second half is for the AEAD.
func (k *key) derive(nonce []byte) cipher.AEAD {
	var secret [KeySize]byte
	for half := range 2 {
		m := secret[half*aes.BlockSize:][:aes.BlockSize]
		m[1], m[2] = byte(half+1), 'X'
		copy(m[4:], nonce[:12])
		for i := range m {
			m[i] ^= k.k1[i]
		}
		k.block.Encrypt(m, m)
	}
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block size is right
	}
	return aead
}

func (k *key) seal(plain []byte) []byte {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) // never fails
	return k.sealWith(nonce, plain)
}

// sealBlob seals under a nonce that is a MAC of the content: it differs where
// contents do, as a random one does where values are sealed.
func (k *key) sealBlob(content []byte) []byte {
	mac := hmac.New(sha256.New, k.nonce)
	mac.Write(content)
	return k.sealWith(mac.Sum(nil)[:nonceSize], content)
}

func (k *key) sealWith(nonce, plain []byte) []byte {
	b := make([]byte, len(k.head)+nonceSize, len(k.head)+nonceSize+len(plain)+16)
	copy(b[copy(b, k.head):], nonce)
	return k.derive(nonce).Seal(b, nonce[12:], plain, k.head)
}
