package bench

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const plotWidth, plotHeight = 18 * vg.Centimeter, 12 * vg.Centimeter

// writePlots draws, for each workload with so many in flight and each store,
// throughput by the number in flight, and for each such number how the latencies
// spread; for each store, what a step costs by the length of the history, and
// the memory by the number of waiting instances.
func writePlots(dir string, r *Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, workload := range []string{"seq", "hello", "fanout"} {
		for _, store := range storeNames {
			rows := r.plotted(workload, store)
			if len(rows) == 0 {
				continue
			}
			if err := drawThroughput(filepath.Join(dir, "throughput-"+workload+"-"+store+".svg"), rows); err != nil {
				return err
			}
			for _, n := range inFlights(rows) {
				path := filepath.Join(dir, "latency-"+workload+"-"+strconv.Itoa(n)+"-"+store+".svg")
				if err := drawLatencies(path, rows, n); err != nil {
					return err
				}
			}
		}
	}
	for _, store := range storeNames {
		if err := drawCosts(filepath.Join(dir, "history-"+store+".svg"), r.of("long", store)); err != nil {
			return err
		}
		if err := drawMemory(filepath.Join(dir, "memory-"+store+".svg"), r.of("memory", store)); err != nil {
			return err
		}
	}
	return nil
}

// of are the rows of a workload on a store that have samples.
func (r *Result) of(workload, store string) (rows []*Row) {
	for _, row := range r.Rows {
		if row.Workload == workload && row.Store == store && row.Summary["rate"].N > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// plotted are the rows of a workload that have figures, with the bare loops
// beside seq.
func (r *Result) plotted(workload, store string) (rows []*Row) {
	for _, row := range r.Rows {
		same := row.Workload == workload || workload == "seq" && row.Workload == "bare"
		if same && row.Store == store && row.Summary["rate"].N > 0 && row.Summary["rate"].Median > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// inFlight is the number in the row's name.
func (row *Row) inFlight() int {
	n, _ := strconv.Atoi(row.Name)
	return n
}

func inFlights(rows []*Row) (all []int) {
	for _, row := range rows {
		all = append(all, row.inFlight())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

const bareName = "bare loop"

// line is one system in a plot.
type line struct {
	system string
	rows   []*Row // by the number in flight
}

func lines(rows []*Row) (all []*line) {
	for _, row := range rows {
		name := row.system()
		if row.Workload == "bare" {
			name = bareName
		}
		i := slices.IndexFunc(all, func(l *line) bool { return l.system == name })
		if i < 0 {
			i, all = len(all), append(all, &line{system: name})
		}
		all[i].rows = append(all[i].rows, row)
	}
	for _, l := range all {
		slices.SortFunc(l.rows, func(a, b *Row) int { return cmp.Compare(a.inFlight(), b.inFlight()) })
	}
	slices.SortFunc(all, func(a, b *line) int { return cmp.Compare(a.style(), b.style()) })
	return all
}

// style numbers colour, dashes and shape, so that a system looks the same in
// all plots.
func (l *line) style() int {
	return slices.Index(append([]string{"durango", bareName}, peerNames()...), l.system)
}

// newPlot has logarithmic axes: systems differ by orders of magnitude.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding, p.Legend.XOffs, p.Title.Padding = vg.Millimeter, 2*vg.Millimeter, 3*vg.Millimeter
	p.Add(plotter.NewGrid())
	return p
}

func logarithmic(a *plot.Axis, low, high float64) {
	// With some room, also where there is only one value.
	a.Min, a.Max, a.Scale, a.Tick.Marker = low/1.5, high*1.5, plot.LogScale{}, plot.LogTicks{Prec: -1}
}

// medians are points with the lowest and the highest round.
type medians struct {
	plotter.XYs
	plotter.YErrors
}

func drawThroughput(path string, rows []*Row) error {
	unit := rows[len(rows)-1].Unit
	p := newPlot(rows[len(rows)-1].Workload+" on "+rows[0].Store+", "+rows[0].Durability, "in flight", unit+" per second")
	low, high := rows[0].Summary["rate"].Min, rows[0].Summary["rate"].Max
	for _, l := range lines(rows) {
		i := l.style()
		var m medians
		for _, row := range l.rows {
			b := row.Summary["rate"]
			low, high = min(low, b.Min), max(high, b.Max)
			m.XYs = append(m.XYs, plotter.XY{X: float64(row.inFlight()), Y: b.Median})
			m.YErrors = append(m.YErrors, struct{ Low, High float64 }{b.Median - b.Min, b.Max - b.Median})
		}
		drawn, points, err := plotter.NewLinePoints(m)
		if err != nil {
			return err
		}
		spread, err := plotter.NewYErrorBars(m)
		if err != nil {
			return err
		}
		drawn.Color, drawn.Dashes = plotutil.Color(i), plotutil.Dashes(i)
		points.Color, points.Shape, spread.Color = plotutil.Color(i), plotutil.Shape(i), plotutil.Color(i)
		p.Add(drawn, points, spread)
		p.Legend.Add(l.system, drawn, points)
	}
	all := inFlights(rows)
	logarithmic(&p.X, float64(all[0]), float64(all[len(all)-1]))
	var ticks plot.ConstantTicks
	for _, n := range all {
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: strconv.Itoa(n)})
	}
	p.X.Tick.Marker = ticks
	logarithmic(&p.Y, low, high*5) // room for the legend
	return save(p, path)
}

// drawLatencies draws the share of calls that took at most so long; for several
// rounds, the median of each percentile. Without any it draws nothing.
func drawLatencies(path string, rows []*Row, n int) error {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r *Row) bool { return r.inFlight() != n || r.latencies() == nil })
	if len(rows) == 0 {
		return nil
	}
	p := newPlot(strings.Join([]string{rows[0].Workload, strconv.Itoa(n), "in flight on", rows[0].Store + ",", rows[0].Durability}, " "),
		"latency from the start to the result, ms", "share of calls")
	low, high := rows[0].latencies()[0], 0.0
	for _, l := range lines(rows) {
		i := l.style()
		var points plotter.XYs
		for percent, v := range l.rows[0].latencies() {
			v = max(v, 1e-3)
			low, high = min(low, v), max(high, v)
			points = append(points, plotter.XY{X: v, Y: float64(percent) / 100})
		}
		drawn, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		drawn.Color, drawn.Dashes = plotutil.Color(i), plotutil.Dashes(i)
		p.Add(drawn)
		p.Legend.Add(l.system, drawn)
	}
	logarithmic(&p.X, max(low, 1e-3), high)
	p.Y.Min, p.Y.Max = 0, 1
	return save(p, path)
}

// latencies are the medians of each percentile over the rounds that have them.
func (row *Row) latencies() (v []float64) {
	var rounds [][]float64
	for _, s := range row.Samples {
		if s != nil && s.Latencies != nil {
			rounds = append(rounds, s.Latencies)
		}
	}
	if rounds == nil {
		return nil
	}
	for i := range rounds[0] {
		var at []float64
		for _, r := range rounds {
			at = append(at, r[i])
		}
		v = append(v, median(at))
	}
	return v
}

func save(p *plot.Plot, path string) error {
	c := vgsvg.New(plotWidth, plotHeight)
	p.Draw(draw.New(c))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = c.WriteTo(f)
	return errors.Join(err, f.Close())
}
