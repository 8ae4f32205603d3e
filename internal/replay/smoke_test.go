package replay

import (
	"testing"

	"github.com/durango-go/durango/history"
)

func sequential(n int) Code {
	return func(m *Machine, _ *history.Event) history.Event {
		for range n {
			op := m.Emit(history.Event{Kind: history.ActivityScheduled, Name: "a"})
			m.Wait(m.Root(), op)
			m.Release(op)
		}
		return history.Event{Kind: history.Completed}
	}
}

func BenchmarkTurn(b *testing.B) {
	m := New(sequential(1 << 60))
	defer m.Close()
	d := []history.Event{{Kind: history.Started, Name: "o"}}
	b.ReportAllocs()
	for b.Loop() {
		cmds, err := m.Turn(1, d)
		if err != nil || len(cmds) != 1 {
			b.Fatal(err, len(cmds))
		}
		d[0] = history.Event{Kind: history.ActivityCompleted, Ref: cmds[0].Seq}
	}
}
