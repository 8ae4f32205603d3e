// Command idle measures what a node costs while its instances wait, in a
// process that has nothing else in memory. It reads its orders from standard
// input and writes its report to standard output, both as JSON; bench starts
// it.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/durango-go/durango/bench/internal/quiet"
)

func main() {
	var o quiet.Orders
	r := &quiet.Report{}
	err := json.NewDecoder(os.Stdin).Decode(&o)
	if err == nil {
		r, err = quiet.Measure(&o)
	}
	if err != nil {
		r = &quiet.Report{Error: err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}
