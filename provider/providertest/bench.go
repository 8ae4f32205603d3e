package providertest

import (
	"testing"

	"github.com/durango-go/durango/provider"
)

// Bench measures a store: turns, starts and messages per second by the size
// of the group, and what a claim costs in front of a backlog.
func Bench(b *testing.B, open func(b *testing.B) provider.Provider) {
	cfg := Config{Open: func(tb testing.TB) provider.Provider { return open(tb.(*testing.B)) }}
	for _, size := range []int{1, 64, 256} {
		b.Run("commit/"+itoa(size), func(b *testing.B) { benchCommit(newHarness(b, cfg), b, size) })
	}
	b.Run("create/64", func(b *testing.B) { benchCreate(newHarness(b, cfg), b, 64) })
	b.Run("send/64", func(b *testing.B) { benchSend(newHarness(b, cfg), b, 64) })
	b.Run("claim/backlog", func(b *testing.B) { benchClaim(newHarness(b, cfg), b, 10_000) })
}

// benchCommit commits turns of about the size that one activity makes.
func benchCommit(h *harness, b *testing.B, size int) {
	node := h.join()
	batch := make([]provider.Commit, size)
	for i := range batch {
		batch[i] = h.turn(h.owned(node, itoa(i)))
		batch[i].Turn.Events = make([]byte, 96)
	}
	b.ResetTimer()
	for range b.N {
		results, err := h.Commit(h.ctx, node, batch)
		h.ok(err, "commit")
		for i := range batch {
			h.ok(results[i].Err, "commit")
			batch[i].CommitID++
			batch[i].Expect++
			batch[i].Turn = &provider.Turn{
				Number: batch[i].Expect, Execution: 1, CommitID: batch[i].CommitID,
				Deliveries: 1, Commands: 1, Events: batch[i].Turn.Events,
			}
		}
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "turns/s")
}

func benchCreate(h *harness, b *testing.B, size int) {
	node := h.join()
	for n := range b.N {
		batch := make([]provider.NewInstance, size)
		for i := range batch {
			batch[i] = draft(itoa(n*size + i))
			batch[i].Owned = true
		}
		h.create(node, batch...)
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "starts/s")
}

func benchSend(h *harness, b *testing.B, size int) {
	batch := make([]provider.Message, size)
	for i := range batch {
		batch[i] = to(h.fresh(itoa(i)), "a message of about this size")
	}
	b.ResetTimer()
	for range b.N {
		_, err := h.Send(h.ctx, batch)
		h.ok(err, "send")
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "messages/s")
}

// benchClaim claims and releases one instance in front of many sleepers.
func benchClaim(h *harness, b *testing.B, sleepers int) {
	node := h.join()
	at := h.now() + hour
	for start := 0; start < sleepers; start += 500 {
		batch := make([]provider.NewInstance, 500)
		for i := range batch {
			batch[i] = draft("sleeper-" + itoa(start+i))
			batch[i].NotBefore = at
		}
		h.create(node, batch...)
	}
	key := h.fresh("mine")
	b.ResetTimer()
	for range b.N {
		claimed := h.claim(node, 1).Claimed
		if len(claimed) != 1 || claimed[0].Key != key {
			h.Fatalf("claimed %v", claimed)
		}
		c := beside(&claimed[0])
		c.Release = true
		h.apply(node, c)
	}
}
