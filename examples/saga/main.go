// Command saga books trips: a flight, a hotel and a car each. When one of them
// cannot be had, or the traveller changes their mind, what has been booked is
// given back, the last booking first.
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

// Booking is one of the things that a trip consists of.
type Booking struct{ Who, What string }

var (
	Travel = durango.NewOrchestration[string, string]("travel")
	Book   = durango.NewActivity[Booking, string]("book")        // returns its number
	Return = durango.NewActivity[string, durango.None]("return") // takes the number
	Paid   = durango.NewSignal[durango.None]("paid")
	Gone   = durango.NewError[string]("sold-out") // what there is none left of
)

func travel(ctx *durango.Context, who string) (string, error) {
	return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
		for _, what := range []string{"flight", "hotel", "car"} {
			number, err := Book.Call(ctx, Booking{who, what})
			if err != nil {
				return "", err // which undoes what was booked before
			}
			durango.Undo(saga, Return, number)
		}
		if err := ctx.SetStatus("waiting for the money"); err != nil {
			return "", err
		}
		// To be canceled here is a failure like any other. What undoes runs all
		// the same: no request to cancel reaches it.
		if _, err := Paid.Next(ctx).Await(ctx); err != nil {
			return "", err
		}
		return who + " travels", nil
	})
}

// agency is where the bookings are made. It says what it does.
type agency struct{ out io.Writer }

func (a agency) book(_ context.Context, b Booking) (string, error) {
	if b.Who == "Bob" && b.What == "car" {
		return "", Gone.New(b.What)
	}
	number := b.What + "-" + b.Who
	_, err := fmt.Fprintln(a.out, "  booked", number)
	return number, err
}

func (a agency) giveBack(_ context.Context, number string) (none durango.None, err error) {
	_, err = fmt.Fprintln(a.out, "  gave back", number)
	return none, err
}

func main() {
	dir, err := os.MkdirTemp("", "saga-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "saga.db"))
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
	a := agency{out}
	rt.Register(Travel.Bind(travel), Book.Bind(a.book), Return.Bind(a.giveBack))

	ctx, stop := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()
	err = trips(ctx, out, rt.Client())
	stop()
	return errors.Join(err, <-node)
}

func trips(ctx context.Context, out io.Writer, client *durango.Client) error {
	for _, who := range []string{"Ann", "Bob", "Cid"} {
		trip, err := Travel.Start(ctx, client, "trip-"+who, who)
		if err != nil {
			return err
		}
		switch who {
		case "Ann":
			err = Paid.Send(ctx, client, trip.ID(), durango.None{})
		case "Cid": // changes their mind when everything is booked
			if _, err = trip.NextStatus(ctx, 0); err == nil {
				err = trip.Cancel(ctx, "Cid is ill")
			}
		}
		if err != nil {
			return err
		}
		text, err := trip.Wait(ctx)
		if what, ok := Gone.From(err); ok {
			text = fmt.Sprintf("%s stays at home: no %s is left", who, what)
		} else if errors.Is(err, durango.ErrCanceled) {
			text = fmt.Sprintf("%s stays at home: %v", who, err)
		} else if err != nil {
			return err
		}
		fmt.Fprintln(out, text)
	}
	return nil
}
