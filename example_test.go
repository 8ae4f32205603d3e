package durango_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/sqlite"
)

type Purchase struct {
	Item  string
	Cents int
}

type Approval struct{ By string }

type Decline struct{ Reason string }

var (
	ChargeCard = durango.NewActivity[Purchase, string]("charge-card")
	Fulfil     = durango.NewOrchestration[Purchase, string]("fulfil")
	Approved   = durango.NewSignal[Approval]("approved")
	Declined   = durango.NewError[Decline]("card-declined")
)

func chargeCard(ctx context.Context, p Purchase) (string, error) {
	if p.Cents > 100_000 {
		return "", Declined.New(Decline{Reason: "over the limit"})
	}
	// durango.Info(ctx).IdempotencyKey is the same in every attempt.
	return fmt.Sprintf("%d cents for %s", p.Cents, p.Item), nil
}

func fulfil(ctx *durango.Context, p Purchase) (string, error) {
	approved, expired := Approved.Next(ctx), ctx.After(24*time.Hour)
	switch ctx.Select(approved, expired) { // returns the winner
	case approved:
	case expired:
		return "", errors.New("nobody approved")
	default: // canceled: nobody won
		return "", ctx.Err()
	}
	by, err := approved.Await(ctx)
	if err != nil {
		return "", err
	}
	receipt, err := ChargeCard.Call(ctx, p)
	if d, ok := Declined.From(err); ok {
		return "declined: " + d.Reason, nil
	}
	return receipt + ", approved by " + by.By, err
}

func sell(ctx context.Context) error {
	store, err := sqlite.Open("orders.db")
	if err != nil {
		return err
	}
	defer store.Close()
	rt, err := durango.New(store, durango.Options{})
	if err != nil {
		return err
	}
	rt.Register(ChargeCard.Bind(chargeCard), Fulfil.Bind(fulfil))

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- rt.Run(ctx) }() // blocks until ctx ends, then drains

	order, err := Fulfil.Start(ctx, rt.Client(), "order-42", Purchase{Item: "tea", Cents: 990})
	if err != nil {
		return err
	}
	if err := Approved.Send(ctx, rt.Client(), "order-42", Approval{By: "ann"}); err != nil {
		return err
	}
	receipt, err := order.Wait(ctx)
	fmt.Println(receipt, err)

	stop()
	return <-ended
}

func Example() {
	defer inTempDir()()
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if err := sell(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: 990 cents for tea, approved by ann <nil>
}

// inTempDir changes to a new directory, and back.
func inTempDir() (back func()) {
	old, err := os.Getwd()
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "durango")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.Chdir(dir); err != nil {
		log.Fatal(err)
	}
	return func() {
		if err := errors.Join(os.Chdir(old), os.RemoveAll(dir)); err != nil {
			log.Fatal(err)
		}
	}
}

func ExampleAll() {
	square := durango.DefineActivity("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	squares := durango.DefineOrchestration("squares", func(ctx *durango.Context, n int) ([]int, error) {
		var parts []*durango.Future[int]
		for i := range n {
			parts = append(parts, square.Go(ctx, i))
		}
		return durango.All(ctx, parts...)
	})
	rt, err := durango.New(memory.Open(), durango.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	rt.Register(square, squares)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- rt.Run(ctx) }()

	run, err := squares.Start(ctx, rt.Client(), "squares", 5)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(run.Wait(ctx))
	stop()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	// Output: [0 1 4 9 16] <nil>
}
