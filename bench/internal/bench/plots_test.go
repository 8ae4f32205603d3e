package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPlots: every system is in the plots that it has figures for, also with a
// single number in flight, a single round and no latencies.
func TestPlots(t *testing.T) {
	row := func(b *benchmark, latencies bool, rates ...int64) *Row {
		r := newRow(b)
		for _, n := range rates {
			s := &Sample{Steps: n, Wall: time.Second}
			if latencies {
				s.addLatencies([]time.Duration{time.Millisecond, 3 * time.Millisecond})
			}
			r.Samples = append(r.Samples, s)
		}
		return r
	}
	curve := func(b *benchmark, steps int) *Row {
		r := row(b, false, int64(steps))
		for i := range curvePoints {
			r.Samples[0].Curve = append(r.Samples[0].Curve, Point{float64(i * steps / curvePoints), 100 + float64(i)})
		}
		return r
	}
	memory := func(name string, mib float64) *Row {
		r := row(&benchmark{workload: "memory", name: name, store: "postgres", unit: "instances"}, false, 1)
		r.Samples[0].add("rss_mib", mib)
		r.Samples[0].add("rss_collected_mib", mib-1)
		return r
	}
	r := &Result{Rounds: 2, Rows: []*Row{
		curve(&benchmark{workload: "long", name: "1000", store: "sqlite"}, 1000),
		curve(&benchmark{workload: "long", name: "10000", store: "sqlite"}, 10_000),
		curve(&benchmark{workload: "long", name: "1000", store: "sqlite", peer: dbosPeer}, 1000),
		memory("none", 18), memory("hot 1000", 30), memory("cold 1000", 22),
		row(&benchmark{workload: "bare", name: "1", store: "sqlite", unit: "activities"}, false, 5000, 4000),
		row(&benchmark{workload: "seq", name: "1", store: "sqlite", unit: "activities"}, true, 3000, 3500),
		row(&benchmark{workload: "seq", name: "1", store: "sqlite", unit: "activities", peer: dbosPeer}, true, 20, 30),
		row(&benchmark{workload: "seq", name: "64", store: "sqlite", unit: "activities", peer: dbosPeer}, true, 200, 300),
		row(&benchmark{workload: "hello", name: "1", store: "postgres", unit: "orchestrations"}, false, 7),
		newRow(&benchmark{workload: "fanout", name: "20", store: "postgres", unit: "activities", peer: durableTaskPeer, cannot: "a reason"}),
	}}
	r.finish()
	dir := filepath.Join(t.TempDir(), "plots")
	if err := writePlots(dir, r); err != nil {
		t.Fatal(err)
	}
	var names []string
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	want := []string{"history-sqlite.svg", "latency-seq-1-sqlite.svg", "latency-seq-64-sqlite.svg", "memory-postgres.svg", "throughput-hello-postgres.svg", "throughput-seq-sqlite.svg"}
	if !slices.Equal(names, want) {
		t.Fatalf("files %q, not %q", names, want)
	}
	for file, texts := range map[string][]string{
		"throughput-seq-sqlite.svg": {"bare loop", "dbos", "durango", "seq on sqlite, FULL", "64"},
		"latency-seq-1-sqlite.svg":  {"dbos", "durango", "share of calls"},
		"history-sqlite.svg":        {"dbos", "durango", "µs per step"},
		"memory-postgres.svg":       {"hot", "cold, collected", "1,000", "MiB"},
	} {
		got := svgTexts(t, filepath.Join(dir, file))
		for _, text := range texts {
			if !slices.Contains(got, text) {
				t.Errorf("%s has no text %q: %q", file, text, got)
			}
		}
		if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "NaN") }) {
			t.Errorf("%s: not a number", file)
		}
	}
}

// svgTexts are the texts of a drawing, which must be well-formed.
func svgTexts(t *testing.T, path string) (texts []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if c, ok := token.(xml.CharData); ok {
			texts = append(texts, strings.TrimSpace(string(c)))
		}
	}
}
