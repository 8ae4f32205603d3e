package durango

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/durango-go/durango/history"
)

// Blob is a large value: a field, element or whole of an input, an output, a
// signal or whatever else is encoded. From [BlobOptions].Threshold on its
// content is stored once, beside the histories, and what carries the Blob
// carries only a reference. Activities and clients read it; an orchestration
// passes it on, for a few bytes. The zero value is empty.
//
// A copy of a Blob is the same Blob. It is safe for concurrent use. Its forms
// are for codecs, in JSON and, for others, binary.
type Blob struct{ s *blobState }

// blobState has a content or where one is stored.
type blobState struct {
	data []byte
	ref  *blobRef // nil: data it is
	from *blobs   // where ref leads to, once bound
	// shown is what an encoding under way has instead of data.
	shown  atomic.Pointer[blobRef]
	stored atomic.Pointer[storedBlob]
}

// blobRef is what a payload has of a content that is stored apart.
type blobRef struct {
	address history.BlobAddress
	size    int64
	// encoded: what is stored is not the content but what the codec made of it.
	encoded bool
}

// storedBlob is a content as it is stored.
type storedBlob struct {
	by  *blobs
	ref blobRef
	b   []byte
}

// BlobOf returns a Blob with a content, which must not be changed afterwards.
func BlobOf(content []byte) Blob {
	if len(content) == 0 {
		return Blob{}
	}
	return Blob{&blobState{data: content}}
}

// Size returns the length of the content in bytes.
func (b Blob) Size() int64 {
	switch {
	case b.s == nil:
		return 0
	case b.s.ref != nil:
		return b.s.ref.size
	}
	return int64(len(b.s.data))
}

// IsZero reports whether the content is empty.
func (b Blob) IsZero() bool { return b.Size() == 0 }

// Equal reports whether two Blobs are known to have the same content without
// reading it.
func (b Blob) Equal(c Blob) bool {
	switch {
	case b.s == c.s:
		return true
	case b.s == nil || c.s == nil:
		return b.IsZero() && c.IsZero()
	case b.s.ref != nil && c.s.ref != nil:
		return *b.s.ref == *c.s.ref
	}
	return b.s.ref == nil && c.s.ref == nil && bytes.Equal(b.s.data, c.s.data)
}

// Bytes returns the content, which must not be changed. One that is stored is
// read, and checked, each time: the store comes with a Blob that a client or
// an activity was given, and otherwise from an activity's ctx. The error is a
// [*BlobError].
func (b Blob) Bytes(ctx context.Context) ([]byte, error) {
	if b.s == nil || b.s.ref == nil {
		if b.s == nil {
			return nil, nil
		}
		return b.s.data, nil
	}
	from := b.s.from
	if from == nil {
		if env := environmentFrom(ctx); env != nil {
			from = env.blobs
		}
	}
	content, err := from.get(ctx, b.s.ref)
	if err != nil {
		return nil, &BlobError{Address: b.s.ref.address.String(), Err: err}
	}
	return content, nil
}

// Open returns a reader of the content, which is read whole before. The error
// is that of Bytes.
func (b Blob) Open(ctx context.Context) (io.ReadCloser, error) {
	content, err := b.Bytes(ctx)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// BlobError says that the content of a [Blob] cannot be read.
type BlobError struct {
	// Address is the SHA-256 of what was stored, in hexadecimal digits.
	Address string
	// Err matches [ErrBlobNotFound], [ErrBlobCorrupt] or is the store's.
	Err error
}

func (e *BlobError) Error() string { return fmt.Sprintf("blob %s: %v", e.Address, e.Err) }

// Unwrap returns the reason.
func (e *BlobError) Unwrap() error { return e.Err }

func (e *BlobError) errorCode() string {
	switch {
	case errors.Is(e.Err, ErrBlobNotFound):
		return CodeBlobNotFound
	case errors.Is(e.Err, ErrBlobCorrupt):
		return CodeBlobCorrupt
	}
	return ""
}

// Is matches the sentinel that the reason is.
func (e *BlobError) Is(target error) bool {
	return e.errorCode() != "" && codeOf(target) == e.errorCode()
}

// blobJSON is a Blob in JSON: a content, or where it is.
type blobJSON struct {
	Data    []byte `json:"data,omitempty"`
	Blob    string `json:"blob,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Encoded bool   `json:"encoded,omitempty"`
}

// shows returns what is encoded of a Blob: a reference, or content.
func (b Blob) shows() (*blobRef, []byte) {
	switch {
	case b.s == nil:
		return nil, nil
	case b.s.ref != nil:
		return b.s.ref, nil
	}
	if ref := b.s.shown.Load(); ref != nil {
		return ref, nil
	}
	return nil, b.s.data
}

// MarshalJSON implements [json.Marshaler].
func (b Blob) MarshalJSON() ([]byte, error) {
	ref, data := b.shows()
	switch {
	case ref != nil:
		return json.Marshal(blobJSON{Blob: ref.address.String(), Size: ref.size, Encoded: ref.encoded})
	case len(data) == 0:
		return []byte("null"), nil
	}
	return json.Marshal(blobJSON{Data: data})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Blob) UnmarshalJSON(text []byte) error {
	var j blobJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	if j.Blob == "" {
		if j.Size != 0 || j.Encoded {
			return errBlobForm
		}
		*b = BlobOf(j.Data)
		return nil
	}
	ref := blobRef{size: j.Size, encoded: j.Encoded}
	n, err := hex.Decode(ref.address[:], []byte(cut(j.Blob, 2*len(ref.address))))
	if err != nil || n != len(ref.address) || len(j.Blob) != 2*n || len(j.Data) > 0 {
		return errBlobForm
	}
	return b.refer(ref)
}

// errBlobForm says that something is not the stored form of a Blob.
var errBlobForm = errors.New("it is no blob")

func (b *Blob) refer(ref blobRef) error {
	if ref.size <= 0 {
		return errBlobForm
	}
	*b = Blob{&blobState{ref: &ref}}
	return nil
}

// The first byte of the binary form.
const (
	blobInline  = 1
	blobStored  = 2
	blobEncoded = 3
)

// MarshalBinary implements [encoding.BinaryMarshaler].
func (b Blob) MarshalBinary() ([]byte, error) {
	ref, data := b.shows()
	if ref == nil {
		return append([]byte{blobInline}, data...), nil
	}
	form := []byte{blobStored}
	if ref.encoded {
		form[0] = blobEncoded
	}
	return binary.AppendUvarint(append(form, ref.address[:]...), uint64(ref.size)), nil
}

// UnmarshalBinary implements [encoding.BinaryUnmarshaler].
func (b *Blob) UnmarshalBinary(form []byte) error {
	if len(form) > 0 && form[0] == blobInline {
		*b = BlobOf(bytes.Clone(form[1:]))
		return nil
	}
	if len(form) < 2+sha256.Size || form[0] != blobStored && form[0] != blobEncoded {
		return errBlobForm
	}
	size, n := binary.Uvarint(form[1+sha256.Size:])
	if n <= 0 || 1+sha256.Size+n != len(form) {
		return errBlobForm
	}
	return b.refer(blobRef{address: history.BlobAddress(form[1:]), size: int64(size), encoded: form[0] == blobEncoded})
}
