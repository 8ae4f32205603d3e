package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
)

// drawCosts draws what a step costs by the steps before it: of each system the
// longest orchestration. Without any it draws nothing.
func drawCosts(path string, rows []*Row) error {
	longest := map[string]*Row{}
	var names []string
	for _, row := range rows {
		if row.curve() == nil {
			continue
		}
		if other := longest[row.system()]; other == nil {
			names = append(names, row.system())
		} else if other.inFlight() >= row.inFlight() {
			continue
		}
		longest[row.system()] = row
	}
	if len(names) == 0 {
		return nil
	}
	p := newPlot("cost by the length of the history, on "+rows[0].Store+", "+rows[0].Durability,
		"steps before", "µs per step")
	steps, costs := bounds{}, bounds{}
	for _, name := range names {
		i := (&line{system: name}).style()
		points := plotter.XYs{}
		for _, v := range longest[name].curve() {
			steps.add(v.X)
			costs.add(v.Y)
			points = append(points, plotter.XY(v))
		}
		drawn, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		drawn.Color, drawn.Dashes = plotutil.Color(i), plotutil.Dashes(i)
		marks.Color, marks.Shape = plotutil.Color(i), plotutil.Shape(i)
		p.Add(drawn, marks)
		p.Legend.Add(name, drawn, marks)
	}
	p.X.Min, p.X.Max, p.X.Tick.Marker = 0, steps.max*1.02, wholeTicks
	logarithmic(&p.Y, costs.min, costs.max*3) // room for the legend
	return save(p, path)
}

// bounds are the least and the greatest of what was added.
type bounds struct{ min, max float64 }

func (b *bounds) add(v float64) {
	if b.max == 0 {
		b.min = v
	}
	b.min, b.max = min(b.min, v), max(b.max, v)
}

// curve is the median of the rounds at each point.
func (row *Row) curve() (points []Point) {
	at := map[float64][]float64{}
	for _, s := range row.Samples {
		if s == nil {
			continue
		}
		for _, p := range s.Curve {
			at[p.X] = append(at[p.X], p.Y)
		}
	}
	for x, y := range at {
		points = append(points, Point{x, median(y)})
	}
	slices.SortFunc(points, func(a, b Point) int {
		if a.X < b.X {
			return -1
		}
		return 1
	})
	return points
}

// drawMemory draws the resident memory by the number of waiting instances: hot
// and cold, as it is and after what is not used was returned. Without any
// row it draws nothing.
func drawMemory(path string, rows []*Row) error {
	if len(rows) == 0 {
		return nil
	}
	p := newPlot("memory of a node by waiting instances, on "+rows[0].Store, "waiting instances", "MiB")
	p.Y.Min = 0
	high := bounds{}
	for i, kind := range []struct{ name, rows, metric string }{
		{"hot", "hot", "rss_mib"}, {"hot, collected", "hot", "rss_collected_mib"},
		{"cold", "cold", "rss_mib"}, {"cold, collected", "cold", "rss_collected_mib"},
	} {
		var points plotter.XYs
		for _, row := range rows {
			n, is := waitingInstances(row.Name, kind.rows)
			if b, ok := row.Summary[kind.metric]; ok && is {
				high.add(b.Median)
				points = append(points, plotter.XY{X: float64(n), Y: b.Median})
			}
		}
		if len(points) == 0 {
			continue
		}
		drawn, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		drawn.Color, drawn.Dashes = plotutil.Color(i), plotutil.Dashes(i)
		marks.Color, marks.Shape = plotutil.Color(i), plotutil.Shape(i)
		p.Add(drawn, marks)
		p.Legend.Add(kind.name, drawn, marks)
	}
	p.Y.Max = high.max * 1.4 // room for the legend
	p.X.Tick.Marker = wholeTicks
	return save(p, path)
}

// wholeTicks are labelled with whole numbers.
var wholeTicks = plot.TickerFunc(func(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = thousands(int64(ticks[i].Value))
		}
	}
	return ticks
})

// waitingInstances reads the name of a row of memory. No instances are of both
// kinds.
func waitingInstances(name, kind string) (n int, is bool) {
	if name == "none" {
		return 0, true
	}
	number, is := strings.CutPrefix(name, kind+" ")
	n, err := strconv.Atoi(number)
	if is && err != nil {
		panic(fmt.Sprintf("row %q has no number", name))
	}
	return n, is
}
