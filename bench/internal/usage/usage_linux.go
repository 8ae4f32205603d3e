// Package usage says what this process uses.
package usage

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// CPU is its user and system time; zero where that is not known.
func CPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ResidentMiB is what it has in memory; zero where that is not known.
func ResidentMiB() float64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kib int64
	fmt.Sscan(rest, &kib)
	return float64(kib) / 1024
}
