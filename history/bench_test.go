package history_test

import (
	"testing"

	"github.com/durango-go/durango/history"
)

// A step of a sequential orchestration: one result comes in, the next
// activity goes out.
func typicalTurn() (deliveries, commands []history.Event) {
	return []history.Event{{Kind: history.ActivityCompleted, Ref: 3, Payload: []byte(`{"id":"r-00000017","cents":9}`)}},
		[]history.Event{{Kind: history.ActivityScheduled, Seq: 4, Name: "charge-card", Payload: []byte(`{"id":"r-00000018","cents":8}`)}}
}

func BenchmarkAppendTurn(b *testing.B) {
	deliveries, commands := typicalTurn()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = history.AppendTurn(buf[:0], deliveries, commands)
	}
	perEvent(b, 2)
}

func BenchmarkDecodeTurn(b *testing.B) {
	deliveries, commands := typicalTurn()
	enc := history.AppendTurn(nil, deliveries, commands)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := history.DecodeTurn(enc); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, 2)
}

// Replay: many turns of one instance, one decoder.
func BenchmarkDecoder(b *testing.B) {
	deliveries, commands := typicalTurn()
	enc := history.AppendTurn(nil, deliveries, commands)
	var dec history.Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := dec.Turn(enc); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, 2)
}

// A turn that schedules a hundred activities of one name, with a policy.
func BenchmarkDecodeFanOut(b *testing.B) {
	commands := make([]history.Event, 100)
	policy := &history.Policy{StartToClose: 30e9, MaxAttempts: 5, Initial: 1e9, Factor: 2}
	for i := range commands {
		commands[i] = history.Event{
			Kind: history.ActivityScheduled, Seq: int64(i + 1), Name: "charge-card", Pool: "gpu",
			Payload: []byte(`{"id":"r-00000018","cents":8}`), Policy: policy,
		}
	}
	enc := history.AppendTurn(nil, nil, commands)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := history.DecodeTurn(enc); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, len(commands))
}

func perEvent(b *testing.B, events int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
}
