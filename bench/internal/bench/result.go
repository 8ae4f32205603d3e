package bench

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// Result is a whole run; its JSON has every sample.
type Result struct {
	Machine Machine   `json:"machine"`
	Started time.Time `json:"started"`
	// Estimated is what was said to be the length of the run, Took what was.
	Estimated time.Duration `json:"estimated_ns"`
	Took      time.Duration `json:"took_ns"`
	Quick     bool          `json:"quick,omitempty"`
	Rounds    int           `json:"rounds"`
	Systems   []System      `json:"systems"`
	Probes    []Probe       `json:"probes"` // one before each round
	Rows      []*Row        `json:"rows"`
	Targets   []Verdict     `json:"targets"`
}

// System is what the rows measure, with what it was set to.
type System struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Settings string `json:"settings"`
}

// systems describes durango and the peers of a plan.
func systems(plan []*benchmark) []System {
	all := []System{{"durango", "this tree", "all defaults; SQLite: " + moduleVersion("zombiezen.com/go/sqlite") +
		" of zombiezen.com/go/sqlite"}}
	for _, p := range peers {
		if slices.ContainsFunc(plan, func(b *benchmark) bool { return b.peer == p }) {
			all = append(all, System{p.Name, moduleVersion(p.Module), p.Settings})
		}
	}
	if len(all) > 1 {
		all = append(all, System{"SQLite of the peers", moduleVersion("modernc.org/sqlite"), "modernc.org/sqlite, which all of them name"})
	}
	return all
}

// moduleVersion is that of a module in this program.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "unknown"
}

// Row is one benchmark with its rounds.
type Row struct {
	ID       string `json:"id"`
	Workload string `json:"workload"`
	Name     string `json:"name,omitempty"`
	Store    string `json:"store,omitempty"`
	// System is the peer; empty for durango and for loops without an engine.
	System string `json:"system,omitempty"`
	// Cannot says why a row has no samples.
	Cannot     string `json:"cannot,omitempty"`
	Durability string `json:"durability,omitempty"`
	Unit       string `json:"unit"`
	Against    string `json:"against,omitempty"`
	Bare       string `json:"bare,omitempty"`
	Whole      string `json:"whole,omitempty"`
	// Samples has one element for each round in which it ran, nil for one that
	// failed.
	Samples []*Sample `json:"samples"`
	// Took is how long all its measurements took, with what comes before and
	// after them.
	Took    time.Duration   `json:"took_ns"`
	Errors  []string        `json:"errors,omitempty"`
	Summary map[string]Band `json:"summary"`

	batch bool
}

// Band is the median of the rounds, with the lowest and the highest.
type Band struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

// Verdict says how a target was met.
type Verdict struct {
	Row      string `json:"row"`
	Metric   string `json:"metric"`
	Target   string `json:"target"`
	Measured *Band  `json:"measured"` // nil: not measured
	Met      bool   `json:"met"`
	Rounds   string `json:"rounds"` // in how many of them it was met
	Peers    string `json:"peers,omitempty"`
	Source   string `json:"source"`
	value    float64
}

func newRow(b *benchmark) *Row {
	r := &Row{ID: b.id(), Workload: b.workload, Name: b.name, Store: b.store, System: b.system(), Cannot: b.cannot,
		Unit: b.unit, Against: b.against, Bare: b.bare, Whole: b.whole, batch: b.batch}
	if b.store != "" {
		r.Durability = durability(b.store)
	}
	return r
}

var commonMetrics = []string{"rate", "wall_ms", "cpu_us", "allocs", "bytes", "turns", "transactions", "turns_per_tx", "statements", "trips", "other"}

// finish computes what the samples say.
func (r *Result) finish() {
	for _, row := range r.Rows {
		row.Summary = map[string]Band{}
		for _, name := range append(slices.Clone(commonMetrics), row.extras()...) {
			if v := row.values(name); len(v) > 0 {
				row.Summary[name] = band(v)
			}
		}
		if v := r.ratios(row, r.row(row.Against)); len(v) > 0 {
			row.Summary["ratio"] = band(v)
		}
		if v := r.ratios(row, r.row(row.Bare)); len(v) > 0 {
			row.Summary["of_bare"] = band(v)
		}
		if v := r.ratios(row, r.row(row.Whole)); len(v) > 0 {
			row.Summary["of_rows"] = band(v)
		}
	}
	for _, row := range r.Rows {
		if v := r.ratios(row, r.bestPeer(row)); len(v) > 0 {
			row.Summary["of_best_peer"] = band(v)
		}
	}
	for _, t := range design {
		if row := r.row(t.row); row != nil {
			r.Targets = append(r.Targets, r.judge(&t, row))
		}
	}
}

func (r *Result) row(id string) *Row {
	for _, row := range r.Rows {
		if row.ID == id {
			return row
		}
	}
	return nil
}

// ratios are the rates of a row by those of the row it is compared with, round
// by round, because a round's rows share what disturbed it.
func (r *Result) ratios(row, other *Row) (v []float64) {
	if other == nil {
		return nil
	}
	for i, s := range row.Samples {
		if s != nil && i < len(other.Samples) && other.Samples[i] != nil {
			v = append(v, s.rate()/other.Samples[i].rate())
		}
	}
	return v
}

// bestPeer is the peer with the highest median rate at what the row measures,
// the bare queue included; nil if none was measured.
func (r *Result) bestPeer(row *Row) (best *Row) {
	for _, other := range r.Rows {
		if other.System == "" || other.Workload != row.Workload || other.Name != row.Name || other.Store != row.Store {
			continue
		}
		if rate := other.Summary["rate"]; rate.N > 0 && (best == nil || rate.Median > best.Summary["rate"].Median) {
			best = other
		}
	}
	return best
}

func (r *Result) judge(t *target, row *Row) Verdict {
	v := Verdict{Row: t.row, Metric: t.metric, Peers: t.peers, Source: "DESIGN 10, " + t.source, value: t.value}
	sign := "≥"
	if t.atMost {
		sign = "≤"
	}
	v.Target = fmt.Sprintf("%s %s %s", sign, number(t.value), t.unit)
	values := row.values(t.metric)
	switch t.metric {
	case "ratio":
		values = r.ratios(row, r.row(row.Against))
	case "of_bare":
		values = r.ratios(row, r.row(row.Bare))
	case "of_rows":
		values = r.ratios(row, r.row(row.Whole))
	}
	if len(values) == 0 {
		return v
	}
	met := func(x float64) bool { return t.atMost && x <= t.value || !t.atMost && x >= t.value }
	count := 0
	for _, x := range values {
		if met(x) {
			count++
		}
	}
	b := band(values)
	v.Measured, v.Met = &b, met(b.Median)
	v.Rounds = fmt.Sprintf("%d of %d", count, len(values))
	return v
}

// values are the rounds' values of a metric.
func (row *Row) values(metric string) (v []float64) {
	for _, s := range row.Samples {
		if s == nil {
			continue
		}
		if x, ok := s.metric(metric); ok {
			v = append(v, x)
		}
	}
	return v
}

// extras are the names of the row's own figures, in order.
func (row *Row) extras() (names []string) {
	for _, s := range row.Samples {
		if s == nil {
			continue
		}
		for _, v := range s.Extra {
			if !slices.Contains(names, v.Name) {
				names = append(names, v.Name)
			}
		}
	}
	return names
}

func band(v []float64) Band {
	return Band{Median: median(v), Min: slices.Min(v), Max: slices.Max(v), N: len(v)}
}

// failures are the measurements that could not be made.
func (r *Result) failures() error {
	var errs []error
	for _, row := range r.Rows {
		for _, text := range row.Errors {
			errs = append(errs, errors.New(text))
		}
	}
	return errors.Join(errs...)
}
