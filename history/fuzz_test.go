package history_test

import (
	"testing"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

// No input makes the decoder panic or allocate without measure, and what it
// accepts it accepts again, with the same meaning, after the encoder.
func FuzzDecodeTurn(f *testing.F) {
	for _, c := range goldenCases() {
		f.Add(turnOf(c.event))
	}
	f.Add(history.AppendTurn(nil, nil, nil))
	deliveries, commands := typicalTurn()
	f.Add(history.AppendTurn(nil, deliveries, commands))
	f.Fuzz(func(t *testing.T, enc []byte) {
		if len(enc) > 0 && enc[0] == 0x81 {
			return // see FuzzDecodePacked
		}
		var deliveries, commands []history.Event
		var err error
		checkAllocation(t, enc, func() { deliveries, commands, err = history.DecodeTurn(enc) })
		if err != nil {
			return
		}
		again := history.AppendTurn(nil, deliveries, commands)
		assert.True(t, len(again) <= len(enc), "the encoding grew from %x to %x", enc, again)
		gotD, gotC, err := history.DecodeTurn(again)
		assert.NoError(t, err)
		assert.EqualOpt(t, gotD, deliveries, loosely)
		assert.EqualOpt(t, gotC, commands, loosely)
		for _, list := range [][]history.Event{deliveries, commands} {
			for i := range list {
				_ = list[i].String()
			}
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	for _, c := range goldenCases() {
		f.Add(history.AppendMessage(nil, &c.event))
	}
	f.Fuzz(func(t *testing.T, enc []byte) {
		if len(enc) > 0 && enc[0] == 0x81 {
			return // see FuzzDecodePacked
		}
		var e history.Event
		var err error
		checkAllocation(t, enc, func() { e, err = history.DecodeMessage(enc) })
		if err != nil {
			return
		}
		again := history.AppendMessage(nil, &e)
		assert.True(t, len(again) <= len(enc), "the encoding grew from %x to %x", enc, again)
		got, err := history.DecodeMessage(again)
		assert.NoError(t, err)
		assert.EqualOpt(t, got, e, loosely)
		_ = e.String()
	})
}

// checkAllocation allows for events of two bytes, doubled as they grow, and
// for what else the test's process does meanwhile.
func checkAllocation(t *testing.T, enc []byte, decode func()) {
	t.Helper()
	if got, most := allocated(decode), uint64(1<<20+512*len(enc)); got > most {
		t.Fatalf("decoding %d bytes allocated %d, more than %d", len(enc), got, most)
	}
}
