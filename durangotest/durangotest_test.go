package durangotest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

var (
	charge  = durango.NewActivity[int, string]("charge")
	remind  = durango.NewActivity[string, durango.None]("remind")
	paid    = durango.NewSignal[string]("paid")
	invoice = durango.NewOrchestration[int, string]("invoice")
)

// bill waits a month for its payment and reminds once.
func bill(ctx *durango.Context, cents int) (string, error) {
	receipt, err := charge.Call(ctx, cents)
	if err != nil {
		return "", err
	}
	payment, late := paid.Next(ctx), ctx.After(30*24*time.Hour)
	if ctx.Select(payment, late) == late {
		if _, err := remind.Call(ctx, receipt); err != nil {
			return "", err
		}
	}
	by, err := payment.Await(ctx)
	return receipt + " by " + by, err
}

var billing = []durango.Registrable{
	invoice.Bind(bill),
	charge.Bind(func(_ context.Context, cents int) (string, error) { return "receipt", nil }),
	remind.Bind(func(context.Context, string) (durango.None, error) {
		return durango.None{}, errors.New("no mail in tests")
	}),
}

func TestRunInVirtualTime(t *testing.T) {
	began := time.Now()
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		reminded := time.Time{}
		e.Replace(remind.Bind(func(context.Context, string) (durango.None, error) {
			reminded = time.Now()
			return durango.None{}, nil
		}))
		start := time.Now()
		run := durangotest.Start(e, invoice, "a", 100)
		e.After(31*24*time.Hour, func() {
			if err := paid.Send(e.Context(), e.Client(), "a", "ann"); err != nil {
				t.Error(err)
			}
		})
		assert.Equal(t, durangotest.Wait(e, run), "receipt by ann")
		assert.Equal(t, reminded.Sub(start), 30*24*time.Hour)
		assert.Equal(t, time.Since(start), 31*24*time.Hour)
		e.CheckReplay()
	}, billing...)
	assert.True(t, time.Since(began) < 5*time.Second, "a month took %s", time.Since(began))
}
