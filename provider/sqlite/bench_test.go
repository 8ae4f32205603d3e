package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// BenchmarkCommit commits groups of plain turns (one delivery, one command,
// 100 bytes of events) in random order: of as many running instances as are
// in a group, like a busy engine, and of 10,000, where each turn dirties a page
// of its own. The file must be on a real disk for Full to mean anything: set
// TMPDIR.
func BenchmarkCommit(b *testing.B) {
	for _, d := range []struct {
		name string
		d    Durability
	}{{"full", Full}, {"normal", Normal}} {
		for _, size := range []int{1, 8, 64, 256} {
			for _, live := range []int{size, 10_000} {
				b.Run(fmt.Sprintf("%s/group=%d/live=%d", d.name, size, live), func(b *testing.B) {
					benchmarkCommit(b, Options{Synchronous: d.d}, size, live)
				})
			}
		}
	}
}

// BenchmarkSettings is where the settings come from: each line is the store as
// it is but for one thing. 64 turns in a group, of 10,000 instances.
func BenchmarkSettings(b *testing.B) {
	for _, v := range []struct {
		name           string
		before, script string
		options        Options
	}{
		{name: "as-is"},
		{name: "history-index", script: "CREATE INDEX history_turn ON history (instance, turn)"},
		{name: "page-8192", before: "PRAGMA page_size = 8192; PRAGMA application_id = 1685220967"},
		{name: "page-16384", before: "PRAGMA page_size = 16384; PRAGMA application_id = 1685220967"},
		{name: "checkpoint-1000", options: Options{CheckpointPages: 1000}},
		{name: "checkpoint-4000", options: Options{CheckpointPages: 4000}},
		{name: "checkpoint-16000", options: Options{CheckpointPages: 16000}},
		{name: "checkpoint-32000", options: Options{CheckpointPages: 32000}},
	} {
		b.Run(v.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "store.db")
			if v.before != "" {
				c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
				must(b, err)
				must(b, executeAll(c, v.before))
				must(b, c.Close())
			}
			s := openAt(b, path, v.options)
			if v.script != "" {
				must(b, executeAll(raw(b, s).Conn, v.script))
			}
			commitGroups(b, s, 64, 10_000)
		})
	}
}

func benchmarkCommit(b *testing.B, options Options, size, live int) {
	commitGroups(b, open(b, options), size, live)
}

func commitGroups(b *testing.B, s *Store, size, live int) {
	node, keys := populate(b, s, live)
	next := make([]int64, len(keys))
	for i := range next {
		next[i] = 1
	}
	events := make([]byte, 100)
	batch := make([]provider.Commit, size)
	turns := make([]provider.Turn, size)
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(keys))
	at := 0
	commit := func() {
		for i := range batch {
			k := order[at%len(order)]
			at++
			turns[i] = provider.Turn{Number: next[k], Execution: 1, CommitID: int64(at), Time: int64(at),
				Deliveries: 1, Commands: 1, Events: events}
			batch[i] = provider.Commit{Key: keys[k], CommitID: int64(at), Expect: next[k], Turn: &turns[i], ReadSeq: 1,
				Status: provider.Running, Execution: 1, Name: "flow", Version: "1.0.0", HistoryFrom: 1}
			next[k]++
		}
		results, err := s.Commit(b.Context(), node, batch)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	for range len(keys)/size + 1 { // everyone's first turn reads its start
		commit()
	}
	runtime.GC()
	b.ResetTimer()
	cpu, start, written := cpuTime(b), time.Now(), bytesWritten()
	for range b.N {
		commit()
	}
	n := float64(b.N * size)
	b.ReportMetric(n/time.Since(start).Seconds(), "turns/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/n/1000, "cpu-µs/turn")
	b.ReportMetric(float64(bytesWritten()-written)/n/1024, "KiB/turn")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCommitters commits single turns from many goroutines, whose groups
// form by themselves.
func BenchmarkCommitters(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := open(b, Options{})
			node, keys := populate(b, s, n)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			cpu, start, before := cpuTime(b), time.Now(), s.Counters()
			var wg sync.WaitGroup
			for _, key := range keys {
				wg.Go(func() {
					for number := int64(1); left.Add(-1) >= 0; number++ {
						c := turn(key, number)
						c.Version = "1.0.0"
						if err := commit(b, s, node, c); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			groups := s.Counters().Transactions - before.Transactions
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "turns/s")
			b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N)/1000, "cpu-µs/turn")
			b.ReportMetric(float64(b.N)/float64(groups), "turns/group")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// populate makes instances that a node owns.
func populate(tb testing.TB, s *Store, n int) (provider.NodeKey, []provider.Key) {
	tb.Helper()
	node, err := s.Join(tb.Context(), provider.NodeInfo{Name: "bench"})
	if err != nil {
		tb.Fatal(err)
	}
	keys := make([]provider.Key, n)
	for i := 0; i < n; i += 500 {
		batch := make([]provider.NewInstance, min(500, n-i))
		for j := range batch {
			keys[i+j] = provider.NewKey()
			batch[j] = provider.NewInstance{Key: keys[i+j], ID: fmt.Sprintf("order-%016x", rand.Uint64()),
				Name: "flow", Version: "1.0.0", Owned: true, Start: make([]byte, 100)}
		}
		results, err := s.Create(tb.Context(), node, batch)
		if err != nil {
			tb.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				tb.Fatal(r.Err)
			}
		}
	}
	return node, keys
}

// BenchmarkCreate creates instances, owned from birth, with random IDs.
func BenchmarkCreate(b *testing.B) {
	s := open(b, Options{})
	cpu, start := cpuTime(b), time.Now()
	populate(b, s, b.N)
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "creates/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N)/1000, "cpu-µs/create")
}

func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bytesWritten is what the process has given to write(2); zero where that is
// not known.
func bytesWritten() (n int64) {
	text, _ := os.ReadFile("/proc/self/io")
	var rchar int64
	fmt.Sscanf(string(text), "rchar: %d\nwchar: %d", &rchar, &n)
	return n
}
