package durango_test

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
)

// stepper is an orchestration that calls one activity after another, for ever.
func stepper(tb testing.TB) (step func()) {
	next := durango.NewActivity[Order, Order]("next")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, p Order) (int, error) {
		for {
			var err error
			if p, err = next.Call(ctx, p); err != nil {
				return 0, err
			}
		}
	})
	os, _, _ := durango.Definitions(slog.Default(), o)
	m := replay.New(os[0].Code)
	tb.Cleanup(m.Close)
	result := []byte(`{"Item":"tea","Cents":300}`)
	delivery := []history.Event{{Kind: history.Started, Name: "o", Payload: result}}
	return func() {
		commands, err := m.Turn(1, delivery)
		if err != nil || len(commands) != 1 {
			tb.Fatal(commands, err)
		}
		delivery[0] = history.Event{Kind: history.ActivityCompleted, Ref: commands[0].Seq, Payload: result}
	}
}

// One step of a hot execution: a result is decoded, the next input encoded,
// one command emitted.
func BenchmarkCall(b *testing.B) {
	step := stepper(b)
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

// A call costs its JSON, and room for the input and the output.
func TestCallAllocates(t *testing.T) {
	codec := testing.AllocsPerRun(1000, func() {
		o := Order{"tea", 300}
		b, _ := json.Marshal(&o)
		if err := json.Unmarshal(b, &o); err != nil {
			t.Fatal(err)
		}
	})
	step := stepper(t)
	if n := testing.AllocsPerRun(1000, step); n > codec+2 {
		t.Fatalf("a step allocates %v times, its JSON alone %v times", n, codec)
	}
}
