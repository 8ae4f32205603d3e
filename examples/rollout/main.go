// Command rollout replaces a running program by its next version, with both
// working on one store for a while. What was begun under the old one ends as it
// began; what is begun later takes the new way.
//
// It starts the two programs as processes of its own; [programs] is what they
// differ in.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

func main() {
	if len(os.Args) == 3 {
		if err := serve(context.Background(), os.Args[1], os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "rollout-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "rollout.db"))
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}

// serve is what the two programs have in common. It goes on until its standard
// input ends.
func serve(ctx context.Context, program, path string) error {
	store, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer store.Close()
	rt, err := durango.New(store, durango.Options{Name: program})
	if err != nil {
		return err
	}
	rt.Register(programs[program]...)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	return rt.Run(ctx)
}

// launch starts a program and returns what stops it.
func launch(program, path string) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, program, path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return func() error { return errors.Join(stdin.Close(), cmd.Wait()) }, cmd.Start()
}

func run(ctx context.Context, out io.Writer, path string) (err error) {
	store, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer store.Close()
	client := durango.NewClient(store)

	stopOld, err := launch("old", path)
	if err != nil {
		return err
	}
	a, err := begin(ctx, out, client, Ship, "a")
	if err != nil {
		return errors.Join(err, stopOld())
	}
	// Only a program that has it can take an instance of a later version, so
	// this one waits, whatever the old one has to do.
	b, err := Ship.With(durango.CallOptions{Version: ">=2"}).Start(ctx, client, "b", "b")
	if err != nil {
		return errors.Join(err, stopOld())
	}
	stopNew, err := launch("new", path)
	if err != nil {
		return errors.Join(err, stopOld())
	}
	defer func() { err = errors.Join(err, stopNew()) }()
	if err := errors.Join(reached(ctx, out, b), stopOld()); err != nil {
		return err
	}
	fmt.Fprintln(out, "the old program has gone")

	// One that is begun now, under the version that the old program had too.
	c, err := begin(ctx, out, client, Ship.With(durango.CallOptions{Version: "1.0.0"}), "c")
	if err != nil {
		return err
	}
	// And one that does not say: it gets the highest.
	d, err := begin(ctx, out, client, Ship, "d")
	if err != nil {
		return err
	}
	for _, r := range []*durango.Run[string]{a, b, c, d} {
		if err := Paid.Send(ctx, client, r.ID(), durango.None{}); err != nil {
			return err
		}
		text, err := r.Wait(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s\n", r.ID(), text)
	}
	return nil
}

// begin starts an instance and waits until it waits to be paid.
func begin(ctx context.Context, out io.Writer, client *durango.Client, ship durango.Orchestration[string, string], id string) (*durango.Run[string], error) {
	r, err := ship.Start(ctx, client, id, id)
	if err != nil {
		return nil, err
	}
	return r, reached(ctx, out, r)
}

func reached(ctx context.Context, out io.Writer, r *durango.Run[string]) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	status, err := r.NextStatus(ctx, 0)
	if err != nil {
		return err
	}
	var text string
	if err := status.Decode(&text); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s\n", r.ID(), text)
	return nil
}
