package history

import (
	"bytes"
	"encoding/binary"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// What is stored may be packed: one byte that is no format version, and a
// frame of zstd with the encoding that would stand there otherwise. Whoever
// decodes turns and messages reads both, so writers that pack and writers that
// do not share a store.
const packed = 0x80 | FormatVersion

// MaxPacked is the largest encoding that is packed, in bytes, and so the most
// that a packed one may decode to: what claims to be more is corrupt.
const MaxPacked = 64 << 20

// rawMark begins a packed payload that is stored without an envelope, where
// any byte could be the application's own. It is random; a payload that begins
// with it is packed whatever its size, so that nothing is taken for packed
// that is not. (What is larger than any store takes is not looked at.)
var rawMark = []byte{0x81, 0xd4, 0x6e, 0x1f, 0xb3, 0x9a, 0x05, 0x7c, 0xe2, 0x48, 0x33, 0xf7, 0x90, 0x2b, 0xc6, 0x5d}

// Packer compresses what is about to be stored. It is safe for concurrent use.
type Packer struct {
	threshold int
	once      sync.Once
	encoder   *zstd.Encoder // made when first needed: it takes a megabyte
}

// NewPacker returns a packer of encodings of threshold bytes and more; a
// negative threshold: of none.
func NewPacker(threshold int) *Packer {
	if threshold < 0 {
		threshold = math.MaxInt
	}
	return &Packer{threshold: max(threshold, 1)}
}

// Pack returns the packed form of an encoded turn or message, or b itself if
// it is small, packed already, or does not become smaller.
func (p *Packer) Pack(b []byte) []byte {
	if len(b) < p.threshold || len(b) > MaxPacked || b[0] == packed {
		return b
	}
	if c := p.compress([]byte{packed}, b); len(c) < len(b) {
		return c
	}
	return b
}

// PackRaw is Pack for a payload without an envelope, which [DecodeRaw] reads.
// It must be called once for a payload.
func (p *Packer) PackRaw(b []byte) []byte {
	marked := bytes.HasPrefix(b, rawMark)
	if len(b) > MaxPacked || len(b) < p.threshold && !marked {
		return b
	}
	if c := p.compress(rawMark, b); len(c) < len(b) || marked {
		return c
	}
	return b
}

func (p *Packer) compress(mark, b []byte) []byte {
	p.once.Do(func() {
		p.encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), // the options are right, so there is no error
			zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	})
	return p.encoder.EncodeAll(b, append(make([]byte, 0, len(mark)+len(b)/2), mark...))
}

// blobsMark begins a payload without an envelope that stands behind the
// addresses of its blobs. What begins with it by chance has none there.
var blobsMark = []byte{0x81, 0x2d, 0xb0, 0x47, 0x9e, 0xf1, 0x68, 0x13, 0xca, 0x5b, 0x84, 0x3e, 0xd9, 0x76, 0x20, 0xaf}

// EncodeRaw returns a payload that is stored without an envelope together with
// the blobs that it refers to. It is the payload itself if there are none.
func EncodeRaw(payload []byte, blobs []BlobAddress) []byte {
	if len(blobs) == 0 && !bytes.HasPrefix(payload, blobsMark) {
		return payload
	}
	b := binary.AppendUvarint(bytes.Clone(blobsMark), uint64(len(blobs)))
	for i := range blobs {
		b = append(b, blobs[i][:]...)
	}
	return append(b, payload...)
}

// DecodeRaw reads what [EncodeRaw] returned, packed by [Packer.PackRaw] or not.
func DecodeRaw(b []byte) (payload []byte, blobs []BlobAddress, err error) {
	if frame, ok := bytes.CutPrefix(b, rawMark); ok {
		if b, err = decompress(frame); err != nil {
			return nil, nil, err
		}
	}
	rest, ok := bytes.CutPrefix(b, blobsMark)
	if !ok {
		return b, nil, nil
	}
	d := decoder{b: rest}
	blobs = d.blobs()
	return rest[d.at:], blobs, d.err
}

// unpacker is made at once: it has channels, and one made within a bubble of
// testing/synctest could not be used outside.
var unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxPacked), zstd.WithDecoderLowmem(true))

func decompress(frame []byte) ([]byte, error) {
	b, err := unpacker.DecodeAll(frame, nil)
	if err != nil {
		return nil, corrupt("packed: %v", err)
	}
	return b, nil
}

// unpack returns the plain encoding of what may be packed.
func unpack(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != packed {
		return b, nil
	}
	plain, err := decompress(b[1:])
	if err == nil && (len(plain) == 0 || plain[0] == packed) {
		err = corrupt("packed: nothing, or twice")
	}
	return plain, err
}
