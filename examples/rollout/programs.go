package main

import (
	"context"

	"github.com/durango-go/durango"
)

var (
	Ship = durango.NewOrchestration[string, string]("ship")
	Pack = durango.NewActivity[string, string]("pack")
	Wrap = durango.NewActivity[string, string]("wrap")
	Paid = durango.NewSignal[durango.None]("paid")
)

// programs are the old program and the new one: what each registers.
var programs = map[string][]durango.Registrable{
	"old": {Ship.Bind(oldShip), Pack.Bind(pack)},
	// The new one still has the version of what is under way.
	"new": {Ship.Bind(patchedShip), Ship.BindVersion("2.0.0", newShip), Pack.Bind(pack), Wrap.Bind(wrap)},
}

// oldShip is version 1.0.0 as the old program has it: it packs, and then waits
// for the money.
func oldShip(ctx *durango.Context, order string) (string, error) {
	parcel, err := Pack.Call(ctx, order)
	if err != nil {
		return "", err
	}
	return parcel, payment(ctx, "waits with "+parcel)
}

// patchedShip is version 1.0.0 as the new program has it. Between two versions
// a patch is the smaller step: instances that have passed this point already go
// on as they were, others take the new branch.
func patchedShip(ctx *durango.Context, order string) (string, error) {
	parcel, err := Pack.Call(ctx, order)
	if err == nil && ctx.Patched("gift-wrap") {
		parcel, err = Wrap.Call(ctx, parcel)
	}
	if err != nil {
		return "", err
	}
	return parcel, payment(ctx, "waits with "+parcel)
}

// newShip is version 2.0.0: money first.
func newShip(ctx *durango.Context, order string) (string, error) {
	if err := payment(ctx, "waits before it packs"); err != nil {
		return "", err
	}
	return Pack.Call(ctx, order)
}

func payment(ctx *durango.Context, status string) error {
	if err := ctx.SetStatus(status + ", as version " + ctx.Info().Version); err != nil {
		return err
	}
	_, err := Paid.Next(ctx).Await(ctx)
	return err
}

func pack(_ context.Context, order string) (string, error) { return "parcel " + order, nil }

func wrap(_ context.Context, parcel string) (string, error) { return "gift-wrapped " + parcel, nil }
