// Command eternal shows an instance that never ends: a thermometer that takes
// readings for ever. After every few readings it continues as new, which
// begins a fresh history, so that it never grows long.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

// State is what one execution hands to the next.
type State struct {
	Readings int
	Highest  float64
}

const perExecution = 10

var (
	Watch   = durango.NewOrchestration[State, durango.None]("watch-temperature")
	Reading = durango.NewSignal[float64]("reading")
)

func watch(ctx *durango.Context, s State) (durango.None, error) {
	for range perExecution {
		degrees, err := Reading.Next(ctx).Await(ctx)
		if err != nil {
			return durango.None{}, err // canceled: the only way to stop
		}
		s.Readings++
		s.Highest = max(s.Highest, degrees)
		if err := ctx.SetStatus(s); err != nil {
			return durango.None{}, err
		}
	}
	// Readings that have come meanwhile are not lost: they go on, in order.
	return Watch.ContinueAsNew(ctx, s)
}

func main() {
	dir, err := os.MkdirTemp("", "eternal-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "eternal.db"))
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
	rt.Register(Watch.Bind(watch))

	ctx, stop := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()
	err = measure(ctx, out, rt.Client())
	stop()
	return errors.Join(err, <-node)
}

func measure(ctx context.Context, out io.Writer, client *durango.Client) error {
	kitchen := Watch.Run(client, "kitchen")
	for i := range 55 {
		// The first reading starts the instance, whoever sends it.
		degrees := 18 + float64(i%7)/2
		if _, err := durango.SendWithStart(ctx, client, kitchen.ID(), Watch, State{}, Reading, degrees); err != nil {
			return err
		}
	}
	// Every client can see how far it is.
	var state State
	for status, err := range kitchen.Statuses(ctx) {
		if err == nil {
			err = status.Decode(&state)
		}
		if err != nil {
			return err
		}
		if state.Readings == 55 {
			break
		}
	}
	if err := kitchen.Cancel(ctx, "enough"); err != nil {
		return err
	}
	if _, err := kitchen.Wait(ctx); !errors.Is(err, durango.ErrCanceled) {
		return fmt.Errorf("the instance ended with %w", err)
	}
	info, err := kitchen.Status(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s in execution %d: %d readings, at most %g degrees\n", info.Status, info.Execution, state.Readings, state.Highest)
	return err
}
