// Package fulfil is the fulfilment of an order as a durable orchestration:
// reserve the stock, ask a person if the amount is large, charge the card, ship,
// tell the customer; and undo what was done when something fails.
//
// The function [fulfil] is ordinary Go. A crash between any two of its lines,
// or in the middle of one, costs time and nothing else.
package fulfil

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/durango-go/durango"
)

// Item is a line of an order.
type Item struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Cents    int64  `json:"cents"` // each
}

// Order is what a customer wants.
type Order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	City     string `json:"city"`
	Card     string `json:"card"`
	Items    []Item `json:"items"`
}

// Total is the amount to charge, in cents.
func (o Order) Total() (cents int64) {
	for _, i := range o.Items {
		cents += int64(i.Quantity) * i.Cents
	}
	return cents
}

// Input is an order with the rules that apply to it. They are part of the
// input, and not constants, so that changing them does not change what a
// running order replays.
type Input struct {
	Order Order `json:"order"`
	// ApproveAbove is the total in cents above which a person must approve,
	// ApproveWithin how long that person has.
	ApproveAbove  int64         `json:"approve_above"`
	ApproveWithin time.Duration `json:"approve_within"`
}

// Outcome is how an order ended.
type Outcome string

// The outcomes.
const (
	Shipped Outcome = "shipped"
	Refused Outcome = "refused" // no stock, no money, no approval, no address
	Expired Outcome = "expired" // nobody approved in time
)

// Result is the output of the orchestration.
type Result struct {
	Outcome  Outcome `json:"outcome"`
	Reason   string  `json:"reason,omitempty"`
	Tracking string  `json:"tracking,omitempty"`
}

// Approval is a person's decision.
type Approval struct {
	By string `json:"by"`
	OK bool   `json:"ok"`
}

// Charge asks for money, Notice for a letter to the customer.
type (
	Charge struct {
		Order string `json:"order"`
		Card  string `json:"card"`
		Cents int64  `json:"cents"`
	}
	Notice struct {
		Order    string `json:"order"`
		Customer string `json:"customer"`
		Result   Result `json:"result"`
	}
)

// What reaches the store, in one place.
var (
	Fulfil = durango.NewOrchestration[Input, Result]("fulfil")

	Reserve = durango.NewActivity[Order, durango.None]("reserve-stock")
	Release = durango.NewActivity[Order, durango.None]("release-stock")
	// The gateway is flaky, and a charge is safe to repeat because it carries an
	// idempotency key; so it is tried again, quickly at first.
	ChargeCard = durango.NewActivity[Charge, string]("charge-card").With(durango.CallOptions{
		StartToClose: 5 * time.Second,
		Retry: &durango.RetryPolicy{
			MaxAttempts: 50, Initial: 20 * time.Millisecond, Max: 500 * time.Millisecond, Jitter: 0.2,
			NonRetryable: []string{Declined.Name()},
		},
	})
	Refund = durango.NewActivity[Order, durango.None]("refund")
	Ship   = durango.NewActivity[Order, string]("ship")
	Notify = durango.NewActivity[Notice, durango.None]("notify-customer")

	Approved = durango.NewSignal[Approval]("approved")

	OutOfStock  = durango.NewError[string]("out-of-stock")  // the SKU
	Declined    = durango.NewError[string]("card-declined") // the gateway's reason
	Unreachable = durango.NewError[string]("unreachable")   // the city
)

// Services are the systems that the activities talk to. Each call is made at
// least once, so each must be safe to repeat, with the key of durango.Info(ctx)
// for example. Release and Refund undo what was done for the order, if anything
// was.
type Services interface {
	Reserve(context.Context, Order) (durango.None, error)
	Release(context.Context, Order) (durango.None, error)
	Charge(context.Context, Charge) (receipt string, err error)
	Refund(context.Context, Order) (durango.None, error)
	Ship(context.Context, Order) (tracking string, err error)
	Notify(context.Context, Notice) (durango.None, error)
}

// Register makes the orchestration and its activities known to a node.
func Register(rt *durango.Runtime, s Services) {
	rt.Register(
		Fulfil.Bind(fulfil),
		Reserve.Bind(s.Reserve), Release.Bind(s.Release),
		ChargeCard.Bind(s.Charge), Refund.Bind(s.Refund),
		Ship.Bind(s.Ship), Notify.Bind(s.Notify),
	)
}

// fulfil runs one order to its one outcome, and tells the customer.
func fulfil(ctx *durango.Context, in Input) (Result, error) {
	tracking, err := deliver(ctx, in)
	r, err := conclude(tracking, err)
	if err != nil {
		return Result{}, err
	}
	// Detached: also a customer whose order was canceled is told.
	_, err = Notify.Call(ctx.Detach(), Notice{Order: in.Order.ID, Customer: in.Order.Customer, Result: r})
	return r, err
}

var (
	errExpired  = errors.New("nobody approved in time")
	errRejected = errors.New("not approved")
)

// deliver takes the steps, each with its undoing, which is registered before
// the step is taken: a step that failed may have had its effect all the same.
// Also a canceled order is undone, and what a crash interrupts goes on.
func deliver(ctx *durango.Context, in Input) (tracking string, err error) {
	o := in.Order
	return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
		durango.Undo(saga, Release, o)
		if _, err := Reserve.Call(ctx, o); err != nil {
			return "", err
		}
		if o.Total() > in.ApproveAbove {
			if err := approval(ctx, in.ApproveWithin); err != nil {
				return "", err
			}
		}
		durango.Undo(saga, Refund, o)
		if _, err := ChargeCard.Call(ctx, Charge{Order: o.ID, Card: o.Card, Cents: o.Total()}); err != nil {
			return "", err
		}
		return Ship.Call(ctx, o)
	})
}

// approval waits for a person, but not for ever.
func approval(ctx *durango.Context, within time.Duration) error {
	if err := ctx.SetStatus("waiting for approval"); err != nil {
		return err
	}
	approved, expired := Approved.Next(ctx), ctx.After(within)
	switch ctx.Race(approved, expired) {
	case approved:
		a, err := approved.Await(ctx)
		if err != nil {
			return err
		}
		if !a.OK {
			return fmt.Errorf("%w by %s", errRejected, a.By)
		}
		return ctx.SetStatus("approved by " + a.By)
	case expired:
		return errExpired
	}
	return ctx.Err() // canceled
}

// conclude says which outcome an error stands for. One that it does not know,
// or that left something behind, fails the instance, for a person to look at.
func conclude(tracking string, err error) (Result, error) {
	if err == nil {
		return Result{Outcome: Shipped, Tracking: tracking}, nil
	}
	if errors.Is(err, durango.ErrNotCompensated) {
		return Result{}, err
	}
	if sku, ok := OutOfStock.From(err); ok {
		return Result{Outcome: Refused, Reason: sku + " is out of stock"}, nil
	}
	if reason, ok := Declined.From(err); ok {
		return Result{Outcome: Refused, Reason: "card declined: " + reason}, nil
	}
	if city, ok := Unreachable.From(err); ok {
		return Result{Outcome: Refused, Reason: "nobody delivers to " + city}, nil
	}
	switch {
	case errors.Is(err, errExpired):
		return Result{Outcome: Expired, Reason: err.Error()}, nil
	case errors.Is(err, errRejected):
		return Result{Outcome: Refused, Reason: err.Error()}, nil
	case errors.Is(err, durango.ErrCanceled):
		return Result{Outcome: Refused, Reason: err.Error()}, nil
	}
	return Result{}, err
}
