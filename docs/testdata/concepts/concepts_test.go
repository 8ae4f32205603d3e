package concepts

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
)

func check(t *testing.T, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// The snippets do what the page says, also when the process crashes.
func TestConcepts(t *testing.T) {
	packer := durango.DefineOrchestration("packer", func(ctx *durango.Context, o Order) (string, error) {
		if err := ctx.SetStatus("begun"); err != nil {
			return "", err
		}
		if err := ctx.Sleep(time.Minute); err != nil {
			return "", err
		}
		return packing(ctx, o)
	})
	asker := durango.DefineOrchestration("asker", another)
	copier := durango.DefineOrchestration("copier", func(ctx *durango.Context, n int) (int, error) {
		return Copy.Call(ctx, make([]string, n))
	})
	reserve := Reserve.Bind(func(ctx context.Context, o Order) (string, error) {
		time.Sleep(time.Hour)
		return "receipt " + o.ID, nil
	})
	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
		ctx, c := e.Context(), e.Client()
		for range 2 {
			if err := approve(ctx, c, "form-1", Order{ID: "1"}, "ann"); err != nil && !errors.Is(err, durango.ErrNotRunning) {
				t.Fatal(err)
			}
		}
		check(t, durangotest.Wait(e, Fulfil.Run(c, "order-1")), "approved by ann")

		run := durangotest.Start(e, packer.Orchestration, "order-2", Order{ID: "2"})
		now, err := stage(ctx, c, "2")
		check(t, fmt.Sprint(now, err), "not begun<nil>")
		time.Sleep(30 * time.Minute)
		now, err = stage(ctx, c, "2")
		check(t, fmt.Sprint(now, err), "packing<nil>")
		check(t, durangotest.Wait(e, durangotest.Start(e, asker.Orchestration, "asker", "order-2")), true)
		if err := watch(ctx, run); err != nil {
			t.Fatal(err)
		}
		check(t, durangotest.Wait(e, run), "receipt 2")

		sold := durangotest.Start(e, Sale, "sale", 100)
		_, err = reprice(ctx, c, "sale", "r-1", 1000)
		d, ok := Declined.From(err)
		check(t, fmt.Sprint(d.Reason, ok), "more than twice as muchtrue")
		for range 2 {
			got, err := reprice(ctx, c, "sale", "r-2", 150)
			check(t, fmt.Sprint(got, err), "receipt 150<nil>")
		}
		if err := Shipped.Send(ctx, c, "sale", durango.None{}); err != nil {
			t.Fatal(err)
		}
		check(t, durangotest.Wait(e, sold), 150)
		check(t, durangotest.Wait(e, durangotest.Start(e, copier.Orchestration, "copier", 7)), 7)
	}, packer, asker, copier, reserve, Copy.Bind(copyFiles), Fulfil.Bind(fulfil), Sale.Bind(sale))
}
