package bench

import (
	"runtime"
	"slices"
	"time"

	"github.com/durango-go/durango/bench/internal/usage"
)

// Sample is one measurement.
type Sample struct {
	Steps  int64         `json:"steps"`
	Wall   time.Duration `json:"wall_ns"`
	CPU    time.Duration `json:"cpu_ns"` // of this process, user and system
	Allocs uint64        `json:"allocs"`
	Bytes  uint64        `json:"alloc_bytes"`
	// Other is how many CPUs anything but this process used meanwhile;
	// negative where that is not known.
	Other float64 `json:"other_cpus"`
	// Store is what the store's writer did, nil for a store that does not
	// count.
	Store *Counts `json:"store,omitempty"`
	Extra []Value `json:"extra,omitempty"`
	// Latencies are the percentiles of the calls, 0 to 100, in ms.
	Latencies []float64 `json:"latency_percentiles_ms,omitempty"`
	// Curve is what a step cost, in µs, by the steps before it.
	Curve []Point  `json:"cost_by_length,omitempty"`
	Notes []string `json:"notes,omitempty"`
}

// Point is one of a curve.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Value is a figure that only one workload has.
type Value struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

func (s *Sample) add(name string, v float64) { s.Extra = append(s.Extra, Value{name, v}) }

// addVolume adds the bytes that activities were given and returned, in MiB/s.
func (s *Sample) addVolume(bytes int) { s.add("mib_per_s", s.rate()*2*float64(bytes)/(1<<20)) }

// addTimes adds percentiles and the maximum, in ms.
func (s *Sample) addTimes(prefix string, times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	s.add(prefix+"_p50_ms", ms(quantile(times, 0.5)))
	s.add(prefix+"_p99_ms", ms(quantile(times, 0.99)))
	s.add(prefix+"_p999_ms", ms(quantile(times, 0.999)))
	s.add(prefix+"_max_ms", ms(times[len(times)-1]))
}

// addLatencies adds those of the calls of a window, and how they spread.
func (s *Sample) addLatencies(times []time.Duration) {
	s.addTimes("latency", times) // sorts
	if len(times) == 0 {
		return
	}
	for i := range 101 {
		s.Latencies = append(s.Latencies, ms(quantile(times, float64(i)/100)))
	}
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// rate is steps per second.
func (s *Sample) rate() float64 { return float64(s.Steps) / s.Wall.Seconds() }

// metric returns a figure by the name that targets and the report use.
func (s *Sample) metric(name string) (float64, bool) {
	n := float64(s.Steps)
	switch name {
	case "rate":
		return s.rate(), true
	case "wall_ms":
		return ms(s.Wall), true
	case "cpu_us":
		return float64(s.CPU) / 1e3 / n, true
	case "allocs":
		return float64(s.Allocs) / n, true
	case "bytes":
		return float64(s.Bytes) / n, true
	case "other":
		return s.Other, s.Other >= 0
	case "others_cpu_us": // on PostgreSQL, the server's
		return s.Other * s.Wall.Seconds() * 1e6 / n, s.Other >= 0
	}
	if c := s.Store; c != nil {
		switch name {
		case "turns":
			return float64(c.Commits) / n, true
		case "transactions":
			return float64(c.Transactions) / n, true
		case "turns_per_tx":
			return float64(c.Commits) / float64(max(1, c.Transactions)), c.Transactions > 0
		case "statements":
			return float64(c.Statements) / n, c.Statements > 0
		case "trips":
			return float64(c.Trips) / n, c.Trips > 0
		}
	}
	for _, v := range s.Extra {
		if v.Name == name {
			return v.Value, true
		}
	}
	return 0, false
}

// quantile returns the q-th quantile of sorted values, the nearest one.
func quantile[T any](sorted []T, q float64) T {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// median returns the median; the mean of the two in the middle when they are
// even in number. It does not change v.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// meter takes the readings at both ends of a measurement.
type meter struct {
	store  *store
	counts Counts
	mem    runtime.MemStats
	cpu    time.Duration
	all    time.Duration
	start  time.Time
	base   int64
	steps  func() int64
}

// begin starts a measurement. steps reads how many steps have been done.
func begin(st *store, steps func() int64) *meter {
	m := &meter{store: st, steps: steps}
	runtime.ReadMemStats(&m.mem)
	if st.counters != nil {
		m.counts = st.counters()
	}
	m.all = machineCPU()
	m.cpu = usage.CPU()
	m.base = steps()
	m.start = time.Now()
	return m
}

func (m *meter) end() *Sample {
	s := &Sample{Wall: time.Since(m.start), Steps: m.steps() - m.base}
	s.CPU = usage.CPU() - m.cpu
	s.Other = -1
	if all := machineCPU() - m.all; m.all > 0 {
		s.Other = max(0, (all-s.CPU).Seconds()/s.Wall.Seconds())
	}
	if m.store.counters != nil {
		c := m.store.counters().minus(m.counts)
		s.Store = &c
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	s.Allocs, s.Bytes = mem.Mallocs-m.mem.Mallocs, mem.TotalAlloc-m.mem.TotalAlloc
	return s
}
