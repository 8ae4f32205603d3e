package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// noisy is how many CPUs others may use before a row is marked.
const noisy = 0.15

// writeMarkdown writes the report for people.
func writeMarkdown(w io.Writer, r *Result) {
	writeMachine(w, r)
	for _, workload := range workloadNames {
		rows := slices.DeleteFunc(slices.Clone(r.Rows), func(row *Row) bool { return row.Workload != workload })
		if len(rows) > 0 {
			writeWorkload(w, workload, rows)
		}
	}
	writeTargets(w, r)
}

func writeMachine(w io.Writer, r *Result) {
	m := r.Machine
	fmt.Fprintf(w, "# durango benchmarks, %s\n\n", r.Started.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(w, "%s, %d cores (GOMAXPROCS %d), %s, %s, %s. Median of %s; in brackets the lowest and the highest.\n",
		m.CPU, m.Cores, m.GOMAXPROCS, m.Kernel, m.Go, m.Filesystem, plural(r.Rounds, "interleaved round"))
	var p50, p99, rate []float64
	for _, p := range r.Probes {
		if p.Error == "" {
			p50, p99, rate = append(p50, p.P50Ms), append(p99, p.P99Ms), append(rate, p.PerSecond)
		}
	}
	if len(p50) > 0 {
		fmt.Fprintf(w, "Disk: fdatasync of a growing file, %s per second, p50 %s ms, p99 %s ms (before each round).\n",
			showBand(band(rate)), showBand(band(p50)), showBand(band(p99)))
	}
	if r.Quick {
		fmt.Fprintln(w, "\n**Quick run: it shows that everything works. Its windows are too short for figures.**")
	}
	var marked int
	for _, row := range r.Rows {
		if row.Summary["other"].Median > noisy {
			marked++
		}
	}
	switch {
	case machineCPU() == 0:
		fmt.Fprintln(w, "What else ran on the machine is not known here.")
	case marked > 0:
		fmt.Fprintf(w, "\n**Noise: during %d of %d rows (marked ⚠) other processes used more than %g CPUs in the median. "+
			"Trust ratios of neighbours, not absolute figures.**\n", marked, len(r.Rows), noisy)
	default:
		fmt.Fprintf(w, "Other processes used less than %g CPUs in the median of every row.\n", noisy)
	}
}

var ratioNames = map[string]string{"seq": "of bare", "long": "of seq ×1", "evict": "of hot"}

func writeWorkload(w io.Writer, workload string, rows []*Row) {
	unit := rows[0].Unit
	fmt.Fprintf(w, "\n## %s\n\n", workload)
	batch := slices.ContainsFunc(rows, func(r *Row) bool { return r.batch })
	header := []string{"case", "store", "durability"}
	if workload != "idle" {
		header = append(header, unit+"/s")
		if batch {
			header = append(header, "wall ms")
		}
		if name := ratioNames[workload]; name != "" {
			header = append(header, name)
		}
		header = append(header, "CPU µs", "allocs", "bytes", "turns", "turns/tx", "statements")
	}
	header = append(header, "noise", "other")
	fmt.Fprintln(w, "| "+strings.Join(header, " | ")+" |")
	fmt.Fprintln(w, "|---|---|---|"+strings.Repeat("---:|", len(header)-4)+"---|")
	for _, row := range rows {
		cells := []string{orDash(row.Name), orDash(row.Store), orDash(row.Durability)}
		if row.Summary["other"].Median > noisy {
			cells[0] += " ⚠"
		}
		if workload != "idle" {
			cells = append(cells, row.cell("rate"))
			if batch {
				cells = append(cells, row.cell("wall_ms"))
			}
			if ratioNames[workload] != "" {
				cells = append(cells, row.cell("ratio"))
			}
			for _, m := range []string{"cpu_us", "allocs", "bytes", "turns", "turns_per_tx", "statements"} {
				cells = append(cells, row.short(m))
			}
		}
		cells = append(cells, row.short("other"), row.others())
		fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |")
	}
	if workload != "idle" {
		fmt.Fprintf(w, "\nCPU, allocations, turns and statements (of the store's writer) are per one of the %s; "+
			"noise is how many CPUs other processes used.\n", unit)
	}
	if workload == "bare" {
		for _, row := range rows {
			if limit, ok := designLimits[row.ID]; ok && row.Summary["rate"].N > 0 {
				fmt.Fprintf(w, "%s: %s × the design's %s.\n", row.ID, number(row.Summary["rate"].Median/limit), number(limit))
			}
		}
	}
	for _, row := range rows {
		for _, text := range row.remarks() {
			fmt.Fprintf(w, "\n* %s: %s\n", row.ID, text)
		}
	}
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
		parts = append(parts, strings.ReplaceAll(name, "_", " ")+" "+number(row.Summary[name].Median))
	}
	return orDash(strings.Join(parts, ", "))
}

// remarks are failures, and notes of rounds, each once.
func (row *Row) remarks() []string {
	var all []string
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

func writeTargets(w io.Writer, r *Result) {
	if len(r.Targets) == 0 {
		return
	}
	fmt.Fprintf(w, "\n## targets\n\n| row | target | measured | of target | met | rounds | best Go peers | source |\n"+
		"|---|---|---:|---:|---|---|---|---|\n")
	for _, v := range r.Targets {
		measured, of, met := "–", "–", "not measured"
		if v.Measured != nil {
			measured = showBand(*v.Measured)
			of = number(v.Measured.Median / v.value)
			if met = "**no**"; v.Met {
				met = "yes"
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", v.Row, v.Target, measured, of, met, orDash(v.Rounds), orDash(v.Peers), v.Source)
	}
	fmt.Fprintln(w, "\nThe peers were measured elsewhere, at their defaults; durability in brackets where it is less than FULL.")
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
