//go:build !linux

// Package usage says what this process uses.
package usage

import "time"

// CPU is its user and system time; zero where that is not known.
func CPU() time.Duration { return 0 }

// ResidentMiB is what it has in memory; zero where that is not known.
func ResidentMiB() float64 { return 0 }
