// Package shop has what most packages have: functions, methods, versions. It
// uses handles that exist only after generation.
package shop

import (
	"context"
	"errors"

	"github.com/durango-go/durango"
)

type Order struct{ Item string }

type receipt struct{ Cents int }

// ChargeCard takes the price of an order from a card.
//
// It uses durango.Info(ctx).IdempotencyKey:
//
//	POST /charges
//
//durango:activity tags=billing,cards
func ChargeCard(_ context.Context, o Order) (receipt, error) { return receipt{len(o.Item)}, nil }

//durango:activity name="ship it" var=Ship
func shipV2(context.Context, *Order) (durango.None, error) { return durango.None{}, nil }

// Fulfil is how orders were fulfilled first.
//
//durango:orchestration
func Fulfil(ctx *durango.Context, o Order) (string, error) {
	if _, err := ChargeCardActivity.Call(ctx, o); err != nil {
		return "", err
	}
	return "fulfilled", nil
}

// FulfilV2 ships, too.
//
//durango:orchestration name=fulfil version=1.10.0 tags=orders
func FulfilV2(ctx *durango.Context, o Order) (string, error) {
	_, err := Ship.Call(ctx, &o)
	return "", errors.Join(err, parent(ctx))
}

//durango:orchestration name=fulfil version=1.9.0
func fulfilBetween(*durango.Context, Order) (string, error) { return "", nil }

// parent refers to an orchestration's handle, and the orchestration to parent.
func parent(ctx *durango.Context) error {
	_, err := FulfilOrchestration.Call(ctx, Order{})
	return err
}

//durango:orchestration
func cleanUpHTTP(*durango.Context, durango.None) (durango.None, error) { return durango.None{}, nil }
