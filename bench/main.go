// Command bench measures durango: throughput, latency, CPU, memory and what
// the store is asked to do, workload by workload, beside a bare loop that
// writes the same rows without an engine, and beside its Go peers.
package main

import "github.com/durango-go/durango/bench/internal/bench"

func main() { bench.Main() }
