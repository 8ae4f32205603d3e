// Command hello runs the smallest durable program: one orchestration that calls
// one activity three times.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

// An activity is an ordinary function. It may do anything, and its result is
// recorded.
var greet = durango.DefineActivity("greet", func(_ context.Context, name string) (string, error) {
	return "Hello, " + name + "!", nil
})

// An orchestration decides what happens. If the process dies anywhere in here,
// the next one goes on at the same place.
var greetAll = durango.DefineOrchestration("greet-all", func(ctx *durango.Context, names []string) (string, error) {
	var greetings []string
	for _, name := range names {
		g, err := greet.Call(ctx, name)
		if err != nil {
			return "", err
		}
		greetings = append(greetings, g)
	}
	return strings.Join(greetings, " "), nil
})

func main() {
	dir, err := os.MkdirTemp("", "hello-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "hello.db"))
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, path string) error {
	store, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer store.Close()
	rt, err := durango.New(store, durango.Options{})
	if err != nil {
		return err
	}
	rt.Register(greet, greetAll)

	// The node runs until its context ends.
	ctx, stop := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()

	err = talk(ctx, out, rt.Client())
	stop()
	return errors.Join(err, <-node)
}

// talk is the client's part. It could run in another process, with a client
// of the same store.
func talk(ctx context.Context, out io.Writer, client *durango.Client) error {
	hello, err := greetAll.Start(ctx, client, "hello-1", []string{"Ada", "Grace", "Barbara"})
	if err != nil {
		return err
	}
	text, err := hello.Wait(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, text)
	return err
}
