// Command order fulfils a few orders with a shop that exists in memory only.
// The orchestration is in package fulfil; 'durango demo' runs the same one while
// its process is killed again and again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/examples/order/fulfil"
	"github.com/durango-go/durango/provider/sqlite"
)

// shop is the warehouse, the bank and the post office.
type shop struct {
	mu       sync.Mutex
	stock    map[string]int
	reserved map[string][]fulfil.Item // by order
	paid     map[string]int64         // by order
	receipts map[string]string
	attempts map[string]int
	said     []string
}

// once runs do unless it has run under the idempotency key of ctx: activities
// run at least once, and this makes their effects happen once.
func (s *shop) once(ctx context.Context, do func() (string, error)) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := durango.Info(ctx).IdempotencyKey
	if receipt, ok := s.receipts[key]; ok {
		return receipt, nil
	}
	receipt, err := do()
	if err == nil {
		s.receipts[key] = receipt
	}
	return receipt, err
}

func (s *shop) Reserve(ctx context.Context, o fulfil.Order) (none durango.None, err error) {
	_, err = s.once(ctx, func() (string, error) {
		for _, i := range o.Items {
			if s.stock[i.SKU] < i.Quantity {
				return "", fulfil.OutOfStock.New(i.SKU)
			}
		}
		for _, i := range o.Items {
			s.stock[i.SKU] -= i.Quantity
		}
		s.reserved[o.ID] = o.Items
		return "reserved", nil
	})
	return none, err
}

func (s *shop) Release(ctx context.Context, o fulfil.Order) (none durango.None, err error) {
	_, err = s.once(ctx, func() (string, error) {
		for _, i := range s.reserved[o.ID] {
			s.stock[i.SKU] += i.Quantity
		}
		delete(s.reserved, o.ID)
		return "released", nil
	})
	return none, err
}

// Charge works at the second attempt, to show the first being repeated.
func (s *shop) Charge(ctx context.Context, c fulfil.Charge) (string, error) {
	return s.once(ctx, func() (string, error) {
		if s.attempts[c.Order]++; s.attempts[c.Order] == 1 {
			return "", errors.New("the bank does not answer")
		}
		if c.Card == "stolen" {
			return "", fulfil.Declined.New("the card is stolen")
		}
		s.paid[c.Order] += c.Cents
		return "receipt", nil
	})
}

func (s *shop) Refund(ctx context.Context, o fulfil.Order) (none durango.None, err error) {
	_, err = s.once(ctx, func() (string, error) {
		delete(s.paid, o.ID)
		return "refunded", nil
	})
	return none, err
}

func (s *shop) Ship(ctx context.Context, o fulfil.Order) (string, error) {
	return s.once(ctx, func() (string, error) {
		if o.City == "Atlantis" {
			return "", fulfil.Unreachable.New(o.City)
		}
		return "parcel-" + o.ID, nil
	})
}

func (s *shop) Notify(ctx context.Context, n fulfil.Notice) (none durango.None, err error) {
	_, err = s.once(ctx, func() (string, error) {
		s.said = append(s.said, fmt.Sprintf("Dear %s, your order is %s.", n.Customer, n.Result.Outcome))
		return "told", nil
	})
	return none, err
}

func main() {
	dir, err := os.MkdirTemp("", "order-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "orders.db"))
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
	s := &shop{
		stock: map[string]int{"mug": 10, "chair": 10, "piano": 2}, reserved: map[string][]fulfil.Item{},
		paid: map[string]int64{}, receipts: map[string]string{}, attempts: map[string]int{},
	}
	fulfil.Register(rt, s)

	ctx, stop := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()
	err = sell(ctx, out, rt.Client())
	stop()
	if err = errors.Join(err, <-node); err != nil {
		return err
	}
	fmt.Fprintf(out, "left: %d mugs, %d chairs, %d pianos; %d orders are paid; %d customers were told\n",
		s.stock["mug"], s.stock["chair"], s.stock["piano"], len(s.paid), len(s.said))
	return nil
}

func sell(ctx context.Context, out io.Writer, client *durango.Client) error {
	mug, piano := fulfil.Item{SKU: "mug", Quantity: 2, Cents: 12_00}, fulfil.Item{SKU: "piano", Quantity: 1, Cents: 4000_00}
	orders := []fulfil.Order{
		{ID: "a", Customer: "Ada", City: "Lisbon", Card: "good", Items: []fulfil.Item{mug}},
		{ID: "b", Customer: "Bob", City: "Oslo", Card: "stolen", Items: []fulfil.Item{mug}},
		{ID: "c", Customer: "Cid", City: "Rome", Card: "good", Items: []fulfil.Item{{SKU: "mug", Quantity: 99, Cents: 12_00}}},
		{ID: "d", Customer: "Dee", City: "Atlantis", Card: "good", Items: []fulfil.Item{mug}},
		{ID: "e", Customer: "Eve", City: "Paris", Card: "good", Items: []fulfil.Item{piano}}, // approved
		{ID: "f", Customer: "Fay", City: "Paris", Card: "good", Items: []fulfil.Item{piano}}, // nobody answers
	}
	var runs []*durango.Run[fulfil.Result]
	for _, o := range orders {
		r, err := fulfil.Fulfil.Start(ctx, client, o.ID, fulfil.Input{Order: o, ApproveAbove: 2000_00, ApproveWithin: time.Second})
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	if err := fulfil.Approved.Send(ctx, client, "e", fulfil.Approval{By: "Max", OK: true}); err != nil {
		return err
	}
	for i, r := range runs {
		result, err := r.Wait(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s %s%s\n", orders[i].Customer, result.Outcome, result.Tracking, result.Reason)
	}
	return nil
}
