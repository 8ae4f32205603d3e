package history_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

func largeEvent() history.Event {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, `{"id":"o-%d","cents":%d},`, i, 990*i)
	}
	return history.Event{Kind: history.SignalReceived, Name: "orders", Payload: []byte("[" + b.String() + "null]")}
}

func TestPackedIsReadLikePlain(t *testing.T) {
	e := largeEvent()
	plain := history.AppendMessage(nil, &e)
	small := history.NewPacker(256).Pack(plain)
	assert.True(t, len(small) < len(plain)/2, "%d of %d bytes", len(small), len(plain))
	var dec history.Decoder
	for _, enc := range [][]byte{plain, small} {
		got, err := history.DecodeMessage(enc)
		assert.NoError(t, err)
		assert.Equal(t, got, e)
		got, err = dec.Message(enc)
		assert.NoError(t, err)
		assert.Equal(t, got, e)
	}
	turn := turnOf(e)
	for _, enc := range [][]byte{turn, history.NewPacker(0).Pack(turn)} {
		got, _, err := history.DecodeTurn(enc)
		assert.NoError(t, err)
		assert.Equal(t, got, []history.Event{e})
		got, _, err = dec.Turn(enc)
		assert.NoError(t, err)
		assert.Equal(t, got, []history.Event{e})
	}
}

func TestPackLeavesAlone(t *testing.T) {
	e := largeEvent()
	plain := history.AppendMessage(nil, &e)
	same := func(what string, p *history.Packer, b []byte) {
		t.Helper()
		assert.True(t, &p.Pack(b)[0] == &b[0], "%s was packed", what)
	}
	same("what is below the threshold", history.NewPacker(len(plain)+1), plain)
	same("what nothing packs", history.NewPacker(-1), plain)
	p := history.NewPacker(256)
	same("what is packed", p, p.Pack(plain))
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	sealed := history.AppendMessage(nil, &history.Event{Kind: history.SignalReceived, Name: "s", Payload: noise})
	same("what does not become smaller", p, sealed)
	assert.Equal(t, len(p.Pack(nil)), 0)
}

// A payload without an envelope may begin with any bytes, also with those that
// mark a packed one.
func TestPackRaw(t *testing.T) {
	long := bytes.Repeat([]byte("durable "), 100)
	for _, threshold := range []int{-1, 1, 100} {
		p := history.NewPacker(threshold)
		packed := history.NewPacker(1).PackRaw(long)
		for _, raw := range [][]byte{{}, []byte("7"), {0x81}, long, packed, packed[:20], p.PackRaw(packed), history.EncodeRaw(long, []history.BlobAddress{{1}})} {
			got, err := unpackRaw(p.PackRaw(history.EncodeRaw(raw, nil)))
			assert.NoError(t, err)
			assert.Equal(t, string(got), string(raw))
			blobs := []history.BlobAddress{{1}, {31: 2}}
			got, kept, err := history.DecodeRaw(p.PackRaw(history.EncodeRaw(raw, blobs)))
			assert.NoError(t, err)
			assert.Equal(t, string(got), string(raw))
			assert.Equal(t, kept, blobs)
		}
	}
	_, _, err := history.DecodeRaw(history.NewPacker(1).PackRaw(long)[:30])
	assert.ErrorIs(t, err, history.ErrCorrupt)
}

func unpackRaw(b []byte) ([]byte, error) {
	payload, _, err := history.DecodeRaw(b)
	return payload, err
}

// What is small costs nothing.
func TestPackSmallAllocatesNothing(t *testing.T) {
	e := history.Event{Kind: history.SignalReceived, Name: "n", Payload: []byte("1")}
	b, p := history.AppendMessage(nil, &e), history.NewPacker(4096)
	assert.Equal(t, testing.AllocsPerRun(100, func() { p.Pack(b); p.PackRaw(b) }), 0)
}

func TestPackedIsBounded(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	assert.NoError(t, err)
	bomb := w.EncodeAll(make([]byte, history.MaxPacked+1), []byte{0x81})
	assert.True(t, len(bomb) < 16<<10, "the bomb has %d bytes", len(bomb))
	_, err = history.DecodeMessage(bomb)
	assert.ErrorIs(t, err, history.ErrCorrupt)
	// Frames one after the other are one content.
	half := w.EncodeAll(make([]byte, history.MaxPacked/2+1), nil)
	_, _, err = history.DecodeTurn(append(append([]byte{0x81}, half...), half...))
	assert.ErrorIs(t, err, history.ErrCorrupt)
	// Nor is anything packed twice.
	e := largeEvent()
	once := history.NewPacker(1).Pack(history.AppendMessage(nil, &e))
	_, err = history.DecodeMessage(w.EncodeAll(once, []byte{0x81}))
	assert.ErrorIs(t, err, history.ErrCorrupt)
	_, err = history.DecodeMessage([]byte{0x81})
	assert.ErrorIs(t, err, history.ErrCorrupt)
}

func TestPackerIsConcurrent(t *testing.T) {
	e := largeEvent()
	plain, p := history.AppendMessage(nil, &e), history.NewPacker(1)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				got, err := history.DecodeMessage(p.Pack(plain))
				if err != nil || !bytes.Equal(got.Payload, e.Payload) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzDecodePacked(f *testing.F) {
	e := largeEvent()
	p := history.NewPacker(1)
	f.Add(p.Pack(history.AppendMessage(nil, &e)))
	f.Add(p.Pack(turnOf(e)))
	f.Add(p.PackRaw(e.Payload))
	f.Add([]byte{0x81, 0x28, 0xb5, 0x2f, 0xfd, 0x80, 0, 0, 0, 0x40, 1, 0, 0}) // a window of a gigabyte
	f.Fuzz(func(t *testing.T, enc []byte) {
		got := allocated(func() {
			_, _ = history.DecodeMessage(enc)
			_, _, _ = history.DecodeTurn(enc)
			_, _, _ = history.DecodeRaw(enc)
		})
		// What a frame says it has is believed up to the limit.
		if most := uint64(8 * history.MaxPacked); got > most {
			t.Fatalf("decoding %d bytes allocated %d, more than %d", len(enc), got, most)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	e := largeEvent()
	for _, size := range []int{512, 1 << 10, 4 << 10, 64 << 10, 1 << 20} {
		payload := bytes.Repeat(e.Payload, size/len(e.Payload)+1)[:size]
		enc := history.AppendMessage(nil, &history.Event{Kind: history.SignalReceived, Name: "n", Payload: payload})
		p := history.NewPacker(1)
		small := p.Pack(enc)
		b.Run(fmt.Sprintf("pack/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(enc)))
			b.ReportAllocs()
			for b.Loop() {
				p.Pack(enc)
			}
			b.ReportMetric(float64(len(small))/float64(len(enc)), "of-size")
		})
		b.Run(fmt.Sprintf("read/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(enc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := history.DecodeMessage(small); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
