// Command temporal is the command bench with two peers more: Temporal with its
// activities and with its local ones, whose server, worker and client run in one process. It is a module of its own
// because the server brings some 200 others with it and takes long to build.
package main

import "github.com/durango-go/durango/bench/internal/bench"

func main() { bench.Main(remote, local) }
