package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// Machine is where the figures come from.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	Filesystem string `json:"filesystem"`
	InMemory   bool   `json:"filesystem_in_memory,omitempty"`
	// LoadBefore is the load average of 1, 5 and 15 minutes before the run;
	// empty where that is not known.
	LoadBefore string `json:"load_before,omitempty"`
	// PostgreSQL is the server's version and what decides about durability;
	// empty without a server.
	PostgreSQL string `json:"postgresql,omitempty"`
}

func describeMachine(dir string) Machine {
	fs, inMemory := filesystem(dir)
	return Machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0), Kernel: kernel(),
		Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Filesystem: fs, InMemory: inMemory, LoadBefore: loadAverage(),
	}
}

// Probe is what a flush costs at the moment.
type Probe struct {
	PerSecond float64 `json:"flushes_per_s"`
	P50Ms     float64 `json:"p50_ms"`
	P99Ms     float64 `json:"p99_ms"`
	Error     string  `json:"error,omitempty"`
}

// probeDisk appends pages to a file and flushes each, as a store with one
// writer in flight does.
func probeDisk(dir string) (p Probe) {
	const flushes = 300
	f, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		return Probe{Error: err.Error()}
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4096)
	times := make([]time.Duration, flushes)
	start := time.Now()
	for i := range times {
		began := time.Now()
		if _, err = f.Write(page); err == nil {
			err = dataSync(f)
		}
		if err != nil {
			return Probe{Error: err.Error()}
		}
		times[i] = time.Since(began)
	}
	p.PerSecond = flushes / time.Since(start).Seconds()
	slices.Sort(times)
	p.P50Ms, p.P99Ms = ms(quantile(times, 0.5)), ms(quantile(times, 0.99))
	return p
}
