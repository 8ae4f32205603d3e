package durangotest_test

import (
	"context"

	"github.com/durango-go/durango"
)

// Each step adds a letter to what it is given.
var (
	reserve = adds("reserve", "r")
	check   = adds("check", "k")
	debit   = adds("charge", "c")
	capture = adds("capture", "C")
	ship    = adds("ship", "s")
	settled = durango.NewSignal[durango.None]("paid")
	order   = durango.NewOrchestration[string, string]("order")

	// payment does as a child what charge does.
	payment = durango.DefineOrchestration("charge", func(_ *durango.Context, in string) (string, error) { return in + "P", nil })
)

func adds(name, letter string) durango.BoundActivity[string, string] {
	return durango.DefineActivity(name, func(_ context.Context, in string) (string, error) { return in + letter, nil })
}

func orderOld(ctx *durango.Context, in string) (string, error) {
	in, _ = reserve.Call(ctx, in)
	in, _ = debit.Call(ctx, in)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderInserted(ctx *durango.Context, in string) (string, error) {
	in, _ = reserve.Call(ctx, in)
	in, _ = check.Call(ctx, in)
	in, _ = debit.Call(ctx, in)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderInsertedPatched(ctx *durango.Context, in string) (string, error) {
	in, _ = reserve.Call(ctx, in)
	if ctx.Patched("add-check") {
		in, _ = check.Call(ctx, in)
	}
	in, _ = debit.Call(ctx, in)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderRemoved(ctx *durango.Context, in string) (string, error) {
	in, _ = debit.Call(ctx, in)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderRemovedPatched(ctx *durango.Context, in string) (string, error) {
	if !ctx.Patched("drop-reserve") {
		in, _ = reserve.Call(ctx, in)
	}
	in, _ = debit.Call(ctx, in)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderReordered(ctx *durango.Context, in string) (string, error) {
	in, _ = debit.Call(ctx, in)
	in, _ = reserve.Call(ctx, in)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderReorderedPatched(ctx *durango.Context, in string) (string, error) {
	if ctx.Patched("reorder-charge") {
		in, _ = debit.Call(ctx, in)
		in, _ = reserve.Call(ctx, in)
	} else {
		in, _ = reserve.Call(ctx, in)
		in, _ = debit.Call(ctx, in)
	}
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderRenamed(ctx *durango.Context, in string) (string, error) {
	in, _ = reserve.Call(ctx, in)
	in, _ = capture.Call(ctx, in)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderRenamedPatched(ctx *durango.Context, in string) (string, error) {
	in, _ = reserve.Call(ctx, in)
	if ctx.Patched("rename-capture") {
		in, _ = capture.Call(ctx, in)
	} else {
		in, _ = debit.Call(ctx, in)
	}
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderChanged(ctx *durango.Context, in string) (string, error) {
	in, _ = reserve.Call(ctx, in)
	in, _ = payment.Call(ctx, in)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderChangedPatched(ctx *durango.Context, in string) (string, error) {
	in, _ = reserve.Call(ctx, in)
	if ctx.Patched("change-charge") {
		in, _ = payment.Call(ctx, in)
	} else {
		in, _ = debit.Call(ctx, in)
	}
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

func orderSooner(ctx *durango.Context, in string) (string, error) {
	reserved, charged := reserve.Go(ctx, in), debit.Go(ctx, in)
	r, _ := reserved.Await(ctx)
	c, _ := charged.Await(ctx)
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, r+c)
	return in, ctx.Err()
}

func orderSoonerPatched(ctx *durango.Context, in string) (string, error) {
	reserved := reserve.Go(ctx, in)
	if ctx.Patched("reorder-charge") {
		charged := debit.Go(ctx, in)
		r, _ := reserved.Await(ctx)
		c, _ := charged.Await(ctx)
		in = r + c
	} else {
		in, _ = reserved.Await(ctx)
		in, _ = debit.Call(ctx, in)
	}
	_, _ = settled.Next(ctx).Await(ctx)
	in, _ = ship.Call(ctx, in)
	return in, ctx.Err()
}

// orderList begins the steps in an order that is not in the code.
func orderList(steps ...durango.BoundActivity[string, string]) func(ctx *durango.Context, in string) (string, error) {
	return func(ctx *durango.Context, in string) (string, error) {
		var futures []*durango.Future[string]
		for _, step := range steps {
			futures = append(futures, step.Go(ctx, in))
		}
		_, _ = settled.Next(ctx).Await(ctx)
		for _, f := range futures {
			got, _ := f.Await(ctx)
			in += got
		}
		return in, ctx.Err()
	}
}

func orderListPatched(ctx *durango.Context, in string) (string, error) {
	if ctx.Patched("reorder-charge") {
		return orderList(debit, reserve)(ctx, in)
	}
	return orderList(reserve, debit)(ctx, in)
}

// orderMap begins the steps in an order that nobody knows.
func orderMap(ctx *durango.Context, in string) (string, error) {
	steps := map[string]durango.BoundActivity[string, string]{
		"a": reserve, "b": check, "c": debit, "d": capture, "e": ship,
	}
	for _, step := range steps {
		step.Go(ctx, in)
	}
	_, _ = settled.Next(ctx).Await(ctx)
	return in, ctx.Err()
}

// orderFlag goes by something that nobody records, as if it were a clock.
func orderFlag(day func() bool) func(ctx *durango.Context, in string) (string, error) {
	return func(ctx *durango.Context, in string) (string, error) {
		if day() {
			in, _ = reserve.Call(ctx, in)
		} else {
			_ = ctx.Sleep(1)
		}
		_, _ = settled.Next(ctx).Await(ctx)
		return in, ctx.Err()
	}
}
