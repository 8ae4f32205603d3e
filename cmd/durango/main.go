// Command durango starts, watches and steers instances in a store. It has no
// orchestrations of its own but those of its demonstration; a program that
// has some gets the same commands from package cli.
package main

import (
	"os"

	"github.com/durango-go/durango/cli"
	"github.com/durango-go/durango/internal/demo"
)

func main() {
	root := cli.Command(nil)
	root.AddCommand(demo.Command())
	os.Exit(cli.Execute(root, os.Args[1:]))
}
