package sealed

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

// The derivation of keys is that of XAES-256-GCM: the test vectors of its
// specification, one for each value of the carry in the subkey.
func TestXAES256GCMVectors(t *testing.T) {
	for _, tt := range []struct {
		fill      byte
		aad, want string
	}{
		{0x01, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{0x03, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		k, err := newKey(Key{ID: "k", Secret: bytes.Repeat([]byte{tt.fill}, KeySize)})
		assert.NoError(t, err)
		nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
		got := k.derive(nonce).Seal(nil, nonce[12:], []byte("XAES-256-GCM"), []byte(tt.aad))
		assert.Equal(t, hex.EncodeToString(got), tt.want, "key of %#x", tt.fill)
	}
}
