package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// noisy is how many CPUs others may use before a row is marked.
const noisy = 0.15

// report is what a run has to say to people.
func (r *Result) report() *document {
	d := &document{}
	r.describe(d)
	for _, workload := range workloadNames {
		rows := slices.DeleteFunc(slices.Clone(r.Rows), func(row *Row) bool { return row.Workload != workload })
		if len(rows) > 0 {
			describeWorkload(d, workload, rows)
		}
	}
	r.describeTargets(d)
	return d
}

func (r *Result) describe(d *document) {
	m := r.Machine
	d.heading(1, "durango benchmarks, "+r.Started.Format("2006-01-02 15:04 MST"))
	d.paragraph("%s, %d cores (GOMAXPROCS %d), %s, %s, %s. Load average before: %s. Median of %s; in brackets the lowest and the highest.",
		m.CPU, m.Cores, m.GOMAXPROCS, m.Kernel, m.Go, m.Filesystem, orDash(m.LoadBefore), plural(r.Rounds, "interleaved round"))
	if m.PostgreSQL != "" {
		d.paragraph("PostgreSQL %s.", m.PostgreSQL)
	}
	var p50, p99, rate []float64
	for _, p := range r.Probes {
		if p.Error == "" {
			p50, p99, rate = append(p50, p.P50Ms), append(p99, p.P99Ms), append(rate, p.PerSecond)
		}
	}
	if len(p50) > 0 {
		d.paragraph("Disk: fdatasync of a growing file, %s per second, p50 %s ms, p99 %s ms (before each round).",
			showBand(band(rate)), showBand(band(p50)), showBand(band(p99)))
	}
	if r.Took > 0 {
		d.paragraph("The run took %s; %s had been estimated.", r.Took.Round(time.Second), r.Estimated.Round(10*time.Second))
	}
	if r.Quick {
		d.paragraph("**Quick run: it shows that everything works. Its windows are too short for figures.**")
	}
	var marked int
	for _, row := range r.Rows {
		if row.Summary["other"].Median > noisy {
			marked++
		}
	}
	switch {
	case machineCPU() == 0:
		d.paragraph("What else ran on the machine is not known here.")
	case marked > 0:
		d.paragraph("**Noise: during %d of %d rows (marked ⚠) other processes used more than %g CPUs in the median. "+
			"Trust ratios of neighbours, not absolute figures.** On PostgreSQL the server is one of them.", marked, len(r.Rows), noisy)
	default:
		d.paragraph("Other processes used less than %g CPUs in the median of every row.", noisy)
	}
	if len(r.Systems) > 0 {
		d.heading(2, "systems")
		rows := [][]string{{"system", "version", "settings"}}
		for _, s := range r.Systems {
			rows = append(rows, []string{s.Name, s.Version, s.Settings})
		}
		d.grid(3, rows)
	}
}

var ratioNames = map[string]string{"nodes": "of 1 node", "long": "of seq ×1", "evict": "of hot"}

var percentiles = []struct{ title, suffix string }{{"p50", "_p50_ms"}, {"p99", "_p99_ms"}, {"p99.9", "_p999_ms"}}

// waits tells whether nothing is done in a workload.
func waits(workload string) bool { return workload == "idle" || workload == "memory" }

// inColumns tells whether a figure of a workload has a column of its own.
func inColumns(workload, name string) bool {
	times := "latency"
	if workload == "timer" {
		times = "late"
	}
	return name == "slowest_100ms" || slices.ContainsFunc(percentiles, func(p struct{ title, suffix string }) bool { return name == times+p.suffix })
}

// column is one column of a workload's table.
type column struct {
	title string
	cell  func(*Row) string
}

func columns(workload string, rows []*Row) []column {
	spread := func(metric string) func(*Row) string { return func(r *Row) string { return r.cell(metric) } }
	short := func(metric string) func(*Row) string { return func(r *Row) string { return r.short(metric) } }
	all := []column{
		{"case", func(r *Row) string {
			if r.Summary["other"].Median > noisy {
				return orDash(r.Name) + " ⚠"
			}
			return orDash(r.Name)
		}},
		{"system", (*Row).system},
		{"store", func(r *Row) string { return orDash(r.Store) }},
		{"durability", func(r *Row) string { return orDash(r.Durability) }},
	}
	if !waits(workload) {
		all = append(all, column{rows[0].Unit + "/s", spread("rate")})
		if slices.ContainsFunc(rows, func(r *Row) bool { return r.batch }) {
			all = append(all, column{"wall ms", spread("wall_ms")})
		}
		if name := ratioNames[workload]; name != "" {
			all = append(all, column{name, spread("ratio")})
		}
		all = append(all, column{"of bare loop", spread("of_bare")})
		if workload == "seq" {
			all = append(all, column{"of the same rows", spread("of_rows")})
		}
		all = append(all, column{"of best peer", spread("of_best_peer")})
		times := "latency"
		if workload == "timer" {
			times = "late"
		}
		for _, p := range percentiles {
			all = append(all, column{times + " " + p.title + " ms", spread(times + p.suffix)})
		}
		all = append(all, column{"slowest 100 ms", spread("slowest_100ms")},
			column{"CPU µs", short("cpu_us")}, column{"allocs", short("allocs")}, column{"bytes", short("bytes")},
			column{"turns", short("turns")}, column{"turns/tx", short("turns_per_tx")}, column{"statements", short("statements")},
			column{"trips", short("trips")})
	}
	return append(all, column{"noise", short("other")}, column{"other", (*Row).others})
}

func describeWorkload(d *document, workload string, rows []*Row) {
	d.heading(2, workload)
	all := columns(workload, rows)
	grid := make([][]string, 1+len(rows))
	for _, c := range all {
		grid[0] = append(grid[0], c.title)
		for i, row := range rows {
			grid[i+1] = append(grid[i+1], c.cell(row))
		}
	}
	d.grid(4, grid)
	if !waits(workload) {
		d.paragraph("CPU, allocations, turns, statements and trips (of the store's writer) are per one of the %s and of the process that runs "+
			"the system, not of PostgreSQL; noise is how many CPUs other processes used.", rows[0].Unit)
	}
	if slices.ContainsFunc(rows, func(r *Row) bool { return r.System != "" }) {
		d.paragraph("\"Of best peer\" is by the peer with the highest median in the same case on the same store, the queue included, round by round.")
	}
	if slices.ContainsFunc(rows, func(r *Row) bool { return r.Summary["slowest_100ms"].N > 0 }) {
		d.paragraph("\"Slowest 100 ms\" is what was done in the slowest tenth of a second of the window, as a share of the average: a stall, of a " +
			"checkpoint or of the machine, makes it small.")
	}
	if workload == "seq" {
		d.paragraph("\"Of bare loop\" is by the loop that makes steps alone, \"of the same rows\" by the one (bare-seq) that writes what seq does: " +
			"a birth, five steps and an end.")
	}
	if workload == "bare" {
		for _, row := range rows {
			if limit, ok := designLimits[row.ID]; ok && row.Summary["rate"].N > 0 {
				d.paragraph("%s: %s × the design's %s.", row.ID, number(row.Summary["rate"].Median/limit), number(limit))
			}
		}
	}
	for _, row := range rows {
		for _, text := range row.remarks() {
			d.paragraph("* %s: %s", row.ID, text)
		}
	}
}

// system names what ran.
func (row *Row) system() string {
	switch {
	case row.System != "":
		return row.System
	case row.Workload == "bare", row.Workload == "bare-seq":
		return "–"
	}
	return "durango"
}

func (row *Row) cell(metric string) string {
	b, ok := row.Summary[metric]
	if !ok {
		return "–"
	}
	return showBand(b)
}

func (row *Row) short(metric string) string {
	b, ok := row.Summary[metric]
	if !ok {
		return "–"
	}
	return number(b.Median)
}

// others are the row's own figures.
func (row *Row) others() string {
	var parts []string
	for _, name := range row.extras() {
		if inColumns(row.Workload, name) {
			continue
		}
		parts = append(parts, strings.ReplaceAll(name, "_", " ")+" "+number(row.Summary[name].Median))
	}
	return orDash(strings.Join(parts, ", "))
}

// remarks are why it did not run, failures, and notes of rounds, each once.
func (row *Row) remarks() []string {
	var all []string
	if row.Cannot != "" {
		all = append(all, "not run: "+row.Cannot)
	}
	for _, e := range row.Errors {
		all = append(all, "**failed:** "+e)
	}
	for _, s := range row.Samples {
		if s == nil {
			continue
		}
		for _, n := range s.Notes {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}

func (r *Result) describeTargets(d *document) {
	if len(r.Targets) == 0 {
		return
	}
	d.heading(2, "targets")
	rows := [][]string{{"row", "target", "measured", "of target", "met", "rounds", "peers in the design", "source"}}
	for _, v := range r.Targets {
		measured, of, met := "–", "–", "not measured"
		if v.Measured != nil {
			measured = showBand(*v.Measured)
			of = number(v.Measured.Median / v.value)
			if met = "**no**"; v.Met {
				met = "yes"
			}
		}
		rows = append(rows, []string{v.Row, v.Target, measured, of, met, orDash(v.Rounds), orDash(v.Peers), v.Source})
	}
	d.grid(8, rows)
	d.paragraph("The peers' figures of this table are the design's, measured elsewhere and at their defaults; durability in brackets where it is less than FULL.")
}

func showBand(b Band) string {
	if b.N < 2 {
		return number(b.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(b.Median), number(b.Min), number(b.Max))
}

// number shows three digits that mean something, and large numbers whole.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 100:
		return thousands(int64(math.Round(v)))
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.01:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprint(n, " ", what, "s")
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
