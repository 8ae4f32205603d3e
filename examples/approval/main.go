// Command approval waits for people: a holiday is granted when the manager says
// so, and refused when nobody answers in time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

// Holiday is a request for days off.
type Holiday struct {
	Who    string
	Days   int
	Within time.Duration // the time for an answer
}

// Answer is the manager's.
type Answer struct {
	By string
	OK bool
}

var (
	Ask      = durango.NewOrchestration[Holiday, string]("ask-for-holiday")
	Answered = durango.NewSignal[Answer]("answered")
)

func ask(ctx *durango.Context, h Holiday) (string, error) {
	// What a client reads as the custom status while this waits.
	if err := ctx.SetStatus(fmt.Sprintf("%s wants %d days", h.Who, h.Days)); err != nil {
		return "", err
	}
	answered, expired := Answered.Next(ctx), ctx.After(h.Within)
	switch ctx.Race(answered, expired) { // returns the one that came first; a timer that lost is withdrawn
	case answered:
		a, err := answered.Await(ctx)
		if err != nil {
			return "", err
		}
		if !a.OK {
			return fmt.Sprintf("%s stays: %s said no", h.Who, a.By), nil
		}
		return fmt.Sprintf("%s goes: %s said yes", h.Who, a.By), nil
	case expired:
		return h.Who + " stays: nobody answered", nil
	default: // canceled
		return "", ctx.Err()
	}
}

func main() {
	dir, err := os.MkdirTemp("", "approval-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "approval.db"))
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
	rt.Register(Ask.Bind(ask))

	ctx, stop := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()
	err = holidays(ctx, out, rt.Client())
	stop()
	return errors.Join(err, <-node)
}

func holidays(ctx context.Context, out io.Writer, client *durango.Client) error {
	requests := []Holiday{{"Ann", 5, time.Hour}, {"Bob", 30, time.Hour}, {"Cid", 2, time.Second}, {"Dee", 1, time.Hour}}
	var runs []*durango.Run[string]
	for _, h := range requests {
		r, err := Ask.Start(ctx, client, "holiday-"+h.Who, h)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	// A signal may be sent before anybody waits for it: it is kept.
	if err := Answered.Send(ctx, client, "holiday-Ann", Answer{By: "Max", OK: true}); err != nil {
		return err
	}
	if err := Answered.Send(ctx, client, "holiday-Bob", Answer{By: "Max", OK: false}); err != nil {
		return err
	}
	// Nobody answers Cid. Dee finds another way.
	if err := runs[3].Cancel(ctx, "Dee is ill"); err != nil {
		return err
	}
	for i, r := range runs {
		text, err := r.Wait(ctx)
		switch {
		case errors.Is(err, durango.ErrCanceled):
			text = requests[i].Who + " asks no more: " + err.Error()
		case err != nil:
			return err
		}
		fmt.Fprintln(out, text)
	}
	return nil
}
