package codec_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
)

// No input makes the decoders of a Blob panic, and what they accept they write
// again.
func FuzzBlob(f *testing.F) {
	f.Add([]byte(`{"blob":"`+strings.Repeat("0a", 32)+`","size":7,"encoded":true}`), []byte("\x01hi"))
	f.Add([]byte(`{"data":"aGk="}`), append(append([]byte{2}, make([]byte, 32)...), 7))
	f.Fuzz(func(t *testing.T, text, form []byte) {
		var b, c durango.Blob
		if json.Unmarshal(text, &b) == nil {
			again, err := json.Marshal(b)
			assert.NoError(t, err)
			assert.NoError(t, json.Unmarshal(again, &c))
			assert.True(t, b.Equal(c), "%s became %s", text, again)
		}
		if b.UnmarshalBinary(form) == nil {
			again, err := b.MarshalBinary()
			assert.NoError(t, err)
			assert.NoError(t, c.UnmarshalBinary(again))
			assert.True(t, b.Equal(c), "%x became %x", form, again)
		}
	})
}
