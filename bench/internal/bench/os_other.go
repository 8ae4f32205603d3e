//go:build !linux

package bench

import (
	"os"
	"runtime"
	"time"
)

// Elsewhere the workloads run and are timed; what only Linux is asked for here
// reads as zero or unknown.

func machineCPU() time.Duration        { return 0 }
func cpuModel() string                 { return "unknown CPU" }
func kernel() string                   { return runtime.GOOS }
func filesystem(string) (string, bool) { return "unknown", false }
func dataSync(f *os.File) error        { return f.Sync() }

func loadAverage() string { return "" }
