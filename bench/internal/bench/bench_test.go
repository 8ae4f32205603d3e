package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if isChild() {
		os.Exit(childMain())
	}
	if isWorker() {
		os.Exit(workerMain())
	}
	code := m.Run()
	if err := errors.Join(stopServer(), removeIdle()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

var tinySizes = sizes{
	Warm: 20 * time.Millisecond, WarmLimit: 5 * time.Second, Window: 80 * time.Millisecond,
	InFlight: []int{1, 8}, Hello: []int{2}, FanOut: []int{2}, Width: 20,
	Payload: []int{2}, PayloadBytes: 100 << 10, Wide: []int{200}, Memory: []int{20},
	Long: []int{50}, Timers: 20, Sleep: 50 * time.Millisecond, Events: 20, Starts: 50,
	Idle: 20, IdleRelease: 50 * time.Millisecond, IdleSettle: 150 * time.Millisecond, IdleWindow: 100 * time.Millisecond,
	Replay: 100, EvictInstances: 30, EvictRounds: 3, EvictHot: 2, Backlog: []int{0, 500}, Recover: 20, IdleSleepers: 500, Timeout: time.Minute,
}

// TestWorkloads runs everything, small, and checks what does not depend on the
// machine.
func TestWorkloads(t *testing.T) {
	samples := map[string]*Sample{}
	benchmarks := plan(nil, storeNames, nil, tinySizes)
	for _, b := range benchmarks {
		t.Run(b.id(), func(t *testing.T) {
			s, err := b.measure(t.Context(), tinySizes, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if s.Wall <= 0 || s.rate() <= 0 {
				t.Errorf("wall %v, rate %v", s.Wall, s.rate())
			}
			if counted := b.store != "" && b.store != "memory" && !waits(b.workload) || b.name == "10 nodes"; counted != (s.Store != nil) {
				t.Errorf("counters of the store: %v", s.Store)
			}
			if len(s.Notes) > 0 {
				t.Errorf("notes: %q", s.Notes)
			}
			samples[b.id()] = s
		})
	}
	if t.Failed() {
		return
	}
	metric := func(id, name string) float64 {
		t.Helper()
		if samples[id] == nil {
			t.Fatalf("no benchmark %s", id)
		}
		v, ok := samples[id].metric(name)
		if !ok {
			t.Fatalf("%s has no metric %s", id, name)
		}
		return v
	}
	between := func(id, name string, low, high float64) {
		t.Helper()
		if v := metric(id, name); v < low || v > high {
			t.Errorf("%s: %s is %g, not within %g and %g", id, name, v, low, high)
		}
	}
	// Design, section 7: N sequential activities cost N+1 commits.
	between("long/50/sqlite", "turns", 51./50, 51./50)
	between("bare/1/sqlite", "turns_per_tx", 0.5, 1.5)
	between("event/sqlite", "turns", 1, 1)
	between("timer/sqlite", "late_p50_ms", 0, 5000)
	between("evict/hot/sqlite", "rebuilds_per_step", 0, 0)
	between("evict/cold/sqlite", "rebuilds_per_step", 0.1, 2)
	between("replay/engine/sqlite", "events", 201, 201)
	between("event/sqlite", "latency_p50_ms", 0, metric("event/sqlite", "wall_ms"))
	between("payload/2/sqlite", "mib_per_s", 0.001, 1e6)
	for _, id := range []string{"idle/sqlite", "memory/hot 20/postgres", "memory/cold 20/sqlite"} {
		between(id, "queries_per_s", 0, 1e6)
		if runtime.GOOS == "linux" {
			between(id, "rss_collected_mib", 1, metric(id, "rss_mib")+1)
		}
	}
	if n := len(samples["long/50/sqlite"].Curve); n != curvePoints {
		t.Errorf("%d points of the cost by the length of the history", n)
	}
	between("replay/machine", "rate", 1, 1e9)
	if samples["replay/machine"].Steps != 1+2*100+1 {
		t.Errorf("the machine replayed %d events", samples["replay/machine"].Steps)
	}
	if samples["evict/cold/memory"].Steps != 90 {
		t.Errorf("%d signals were taken, not 90", samples["evict/cold/memory"].Steps)
	}
}

// TestTargetsHaveRows keeps the table of targets and the plan together.
func TestTargetsHaveRows(t *testing.T) {
	ids := map[string]bool{}
	for _, b := range plan(nil, storeNames, peerNames(), fullSizes) {
		if ids[b.id()] {
			t.Errorf("two benchmarks are called %s", b.id())
		}
		ids[b.id()] = true
	}
	for _, b := range plan(nil, storeNames, peerNames(), fullSizes) {
		for _, other := range []string{b.against, b.bare, b.whole} {
			if other != "" && !ids[other] {
				t.Errorf("%s is compared with %s, which there is not", b.id(), other)
			}
		}
	}
	for _, target := range design {
		if !ids[target.row] {
			t.Errorf("target for %s, which there is not", target.row)
		}
	}
	for id := range designLimits {
		if !ids[id] {
			t.Errorf("limit for %s, which there is not", id)
		}
	}
}

// TestBareStatementsOfPostgres does so for PostgreSQL. The lock there reads
// more columns than the loop needs, so only what follows them is compared.
func TestBareStatementsOfPostgres(t *testing.T) {
	statements, err := os.ReadFile("../../../provider/postgres/statements.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, lock, _ := strings.Cut(pgLock, " FROM ")
	for _, s := range []string{pgNodes, lock, pgUpdate, pgInsert} {
		if !bytes.Contains(statements, []byte(s+"\n")) {
			t.Errorf("provider/postgres does not execute this any more:\n%s", s)
		}
	}
}

// TestBareStatements keeps the bare loop writing what the provider writes.
func TestBareStatements(t *testing.T) {
	statements, err := os.ReadFile("../../../provider/sqlite/statements.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{bareUpdate, bareInsert, bareCursor, bareInstance, bareClose} {
		if !bytes.Contains(statements, []byte("\n"+s+"\n")) {
			t.Errorf("provider/sqlite does not execute this any more:\n%s", s)
		}
	}
	var settings []byte
	files, err := filepath.Glob("../../../provider/sqlite/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		settings = append(settings, bytes.Join(bytes.Fields(b), []byte(" "))...)
	}
	for _, s := range []string{"defaultCheckpoint = 8000", "cacheKiB = 64 << 10", `"temp_store = memory"`, `"foreign_keys = off"`} {
		if !bytes.Contains(settings, []byte(s)) {
			t.Errorf("provider/sqlite does not say %s any more: change barePragmas", s)
		}
	}
}

func TestReport(t *testing.T) {
	sample := func(steps int64) *Sample {
		return &Sample{Steps: steps, Wall: time.Second, CPU: time.Second / 10, Other: 0.5}
	}
	bare, seq := newRow(&benchmark{workload: "bare", name: "64", store: "sqlite", unit: "activities"}),
		newRow(&benchmark{workload: "seq", name: "64", store: "sqlite", unit: "activities", bare: "bare/64/sqlite"})
	bare.Samples = []*Sample{sample(100_000), sample(50_000), nil}
	seq.Samples = []*Sample{sample(40_000), sample(30_000), sample(36_000)}
	seq.Errors = []string{"something broke"}
	peer := newRow(&benchmark{workload: "seq", name: "64", store: "sqlite", unit: "activities", peer: dbosPeer})
	peer.Samples = []*Sample{sample(300), sample(250), sample(350)}
	slower := newRow(&benchmark{workload: "seq", name: "64", store: "sqlite", unit: "activities", peer: riverPeer})
	slower.Samples = []*Sample{sample(299), sample(260), sample(290)}
	idle := newRow(&benchmark{workload: "fanout", name: "20", store: "postgres", unit: "activities", peer: durableTaskPeer, cannot: "a reason"})
	r := &Result{Rounds: 3, Rows: []*Row{bare, seq, peer, slower, idle}, Systems: []System{{"dbos", "v1", "as it comes"}},
		Probes: []Probe{{PerSecond: 4000, P50Ms: 0.25, P99Ms: 1}}}
	r.finish()
	// Rounds are compared one by one: 0.4 and 0.6, the third has no pair.
	if got, want := seq.Summary["of_bare"], (Band{Median: 0.5, Min: 0.4, Max: 0.6, N: 2}); got != want {
		t.Errorf("ratio %v, not %v", got, want)
	}
	if got, want := seq.Summary["rate"], (Band{Median: 36_000, Min: 30_000, Max: 40_000, N: 3}); got != want {
		t.Errorf("rate %v, not %v", got, want)
	}
	i := slices.IndexFunc(r.Targets, func(v Verdict) bool { return v.Row == "seq/64/sqlite" && v.Metric == "rate" })
	if i < 0 || !r.Targets[i].Met || r.Targets[i].Rounds != "2 of 3" {
		t.Errorf("verdicts: %+v", r.Targets)
	}
	var markdown, plain strings.Builder
	r.report().markdown(&markdown)
	if err := r.report().plain(&plain); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 64 ⚠ | durango | sqlite | FULL | 36,000 (30,000–40,000) | 0.50 (0.40–0.60) | 120 (103–133) |",
		"| 64 ⚠ | dbos | sqlite | FULL | 300 (250–350) |", "* fanout/20/postgres/durabletask: not run: a reason",
		"during 4 of 5 rows (marked ⚠) other processes", "**failed:** something broke",
		"| seq/64/sqlite | ≥ 35,000 activities/s | 36,000 (30,000–40,000) | 1.03 | yes | 2 of 3 |",
		"| dbos | v1 | as it comes |",
	} {
		if machineCPU() > 0 && !strings.Contains(markdown.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, markdown.String())
		}
		words := strings.Fields(strings.NewReplacer("|", " ", "**", "").Replace(want))
		if got := strings.Join(strings.Fields(plain.String()), " "); machineCPU() > 0 && !strings.Contains(got, strings.Join(words, " ")) {
			t.Errorf("the text has no %q:\n%s", words, plain.String())
		}
	}
	if r.failures() == nil {
		t.Error("a failed measurement is no failure of the run")
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	c, err := parse([]string{"-quick", "-workload", "seq, idle", "-store", "memory"})
	if err != nil || c.rounds != 1 || !slices.Equal(c.workloads, []string{"seq", "idle"}) || !slices.Equal(c.stores, []string{"memory"}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, b := range plan(c.workloads, c.stores, nil, quickSizes) {
		if b.workload != "seq" && b.workload != "idle" || b.store != "memory" {
			t.Errorf("%s was not asked for", b.id())
		}
	}
	if _, err := parse([]string{"-workload", "seqq", "-store", "disk"}); err == nil ||
		!strings.Contains(err.Error(), "seqq") || !strings.Contains(err.Error(), "disk") {
		t.Errorf("both mistakes should be named: %v", err)
	}
}

func TestFilesystemInMemory(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skip("no /dev/shm")
	}
	if name, inMemory := filesystem("/dev/shm"); name != "unknown" && !inMemory {
		t.Errorf("/dev/shm is %s", name)
	}
}

// TestLevels: a level reached again, as replay does, does not count.
func TestLevels(t *testing.T) {
	l := newLevels(2)
	l.reach(0, 1)
	l.reach(0, 1)
	done := make(chan error, 1)
	go func() { done <- l.await(t.Context(), 2) }()
	l.reach(1, 1)
	if err := <-done; err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.await(ended, 3); err == nil || !strings.Contains(err.Error(), "2 of 3") {
		t.Errorf("error %v", err)
	}
}
