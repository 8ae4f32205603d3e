// Command temporal is the command bench with one peer more: Temporal, whose
// server, worker and client run in one process. It is a module of its own
// because the server brings some 200 others with it and takes long to build.
package main

import "github.com/durango-go/durango/bench/internal/bench"

func main() { bench.Main(remote, local) }
