// Command generated runs an orchestration whose handles are generated: the
// directives above functions are all there is, and durango gen writes the rest
// to durango_gen.go.
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

//go:generate go run github.com/durango-go/durango/cmd/durango gen

// Payments is what the methods that are activities share.
type Payments struct{ Currency string }

// Charge takes money from a card.
//
//durango:activity name=charge-card tags=billing
func (p *Payments) Charge(_ context.Context, cents int) (string, error) {
	return fmt.Sprintf("%d.%02d %s", cents/100, cents%100, p.Currency), nil
}

//durango:activity
func sendReceipt(_ context.Context, amount string) (string, error) {
	return "receipt over " + amount, nil
}

// buy is how it was in the beginning. What was started then ends like that.
//
//durango:orchestration
func buy(ctx *durango.Context, cents int) (string, error) {
	return ChargeActivity.Call(ctx, cents)
}

// buyV2 also sends a receipt.
//
//durango:orchestration name=buy version=2.0.0
func buyV2(ctx *durango.Context, cents int) (string, error) {
	amount, err := ChargeActivity.Call(ctx, cents)
	if err != nil {
		return "", err
	}
	return sendReceiptActivity.Call(ctx, amount)
}

func main() {
	dir, err := os.MkdirTemp("", "generated-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "generated.db"))
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
	RegisterAll(rt, &Payments{Currency: "EUR"})

	ctx, stop := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()

	for i, version := range []string{"1.0.0", "2.0.0"} {
		if err = order(ctx, out, rt.Client(), fmt.Sprintf("order-%d", i+1), version); err != nil {
			break
		}
	}
	stop()
	return errors.Join(err, <-node)
}

func order(ctx context.Context, out io.Writer, client *durango.Client, id, version string) error {
	purchase, err := buyOrchestration.With(durango.CallOptions{Version: version}).Start(ctx, client, id, 990)
	if err != nil {
		return err
	}
	text, err := purchase.Wait(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %s\n", version, text)
	return err
}
