// Command update talks to a running instance: a shopping cart that takes
// requests and answers them, shows its total to whoever asks, and tells who
// watches how far it is.
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

// Line is a number of one product.
type Line struct {
	Product  string
	Quantity int
}

var (
	Shop    = durango.NewOrchestration[durango.None, string]("shop")
	Add     = durango.NewUpdate[Line, int]("add")       // answers the new total
	Pay     = durango.NewUpdate[int, string]("pay")     // answers the receipt
	Total   = durango.NewValue[int]("total")            // in cents
	Price   = durango.NewActivity[string, int]("price") // of a product, in cents
	Unknown = durango.NewError[string]("unknown-product")
)

func shop(ctx *durango.Context, _ durango.None) (string, error) {
	total := 0
	// Each request runs in a coroutine of its own, and its caller waits for
	// what it returns.
	Add.Handle(ctx, func(ctx *durango.Context, l Line) (int, error) {
		price, err := Price.Call(ctx, l.Product)
		if err != nil {
			return 0, err
		}
		total += price * l.Quantity
		return total, Total.Set(ctx, total)
	}, func(l Line) error {
		// What a validator refuses is answered, and leaves no trace.
		if l.Quantity < 1 {
			return fmt.Errorf("%d is not a quantity", l.Quantity)
		}
		return nil
	})
	paid := durango.NewChan[string](ctx, 1)
	Pay.Handle(ctx, func(ctx *durango.Context, cents int) (string, error) {
		if cents != total {
			return "", fmt.Errorf("it costs %d", total)
		}
		receipt := fmt.Sprintf("receipt over %d", cents)
		return receipt, paid.Send(ctx, receipt)
	})
	if err := ctx.SetStatus("open"); err != nil {
		return "", err
	}
	receipt, err := paid.Next(ctx).Await(ctx)
	if err != nil {
		return "", err // canceled
	}
	return receipt, ctx.SetStatus("paid")
}

func price(_ context.Context, product string) (int, error) {
	cents, ok := map[string]int{"tea": 990, "mug": 1200}[product]
	if !ok {
		return 0, Unknown.New(product, "there is no "+product)
	}
	return cents, nil
}

func main() {
	dir, err := os.MkdirTemp("", "update-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "update.db"))
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
	rt.Register(Shop.Bind(shop), Price.Bind(price))

	ctx, stop := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()
	err = buy(ctx, out, rt.Client())
	stop()
	return errors.Join(err, <-node)
}

func buy(ctx context.Context, out io.Writer, client *durango.Client) error {
	cart, err := Shop.Start(ctx, client, "cart-1", durango.None{})
	if err != nil {
		return err
	}
	// The statuses come as they change, without asking again and again, until
	// the instance has ended.
	for status, err := range cart.Statuses(ctx) {
		if err != nil {
			return err
		}
		var text string
		if err := status.Decode(&text); err != nil {
			return err
		}
		fmt.Fprintln(out, "the cart is", text)
		if text != "open" {
			continue
		}
		for _, l := range []Line{{"tea", 2}, {"mug", 0}, {"piano", 1}, {"mug", 1}} {
			total, err := Add.Call(ctx, client, cart.ID(), l)
			fmt.Fprintf(out, "add %d %s: %v\n", l.Quantity, l.Product, either(total, err))
		}
		// A value is there for every client, without running code.
		total, _, err := Total.Read(ctx, client, cart.ID())
		if err != nil {
			return err
		}
		for _, cents := range []int{1000, total} {
			receipt, err := Pay.Call(ctx, client, cart.ID(), cents)
			fmt.Fprintf(out, "pay %d: %v\n", cents, either(receipt, err))
		}
	}
	_, err = cart.Wait(ctx)
	return err
}

// either is an answer or the error instead of it.
func either(answer any, err error) any {
	if err != nil {
		return err
	}
	return answer
}
