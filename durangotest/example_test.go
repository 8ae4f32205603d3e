package durangotest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
)

// The program under test: it charges a card when somebody approves within a
// day.
var (
	ChargeCard = durango.NewActivity[int, string]("charge-card")
	Approved   = durango.NewSignal[string]("approved")
	Fulfil     = durango.NewOrchestration[int, string]("fulfil")
)

func fulfil(ctx *durango.Context, cents int) (string, error) {
	approved, expired := Approved.Next(ctx), ctx.After(24*time.Hour)
	if ctx.Select(approved, expired) != approved {
		return "", errors.New("nobody approved")
	}
	by, err := approved.Await(ctx)
	if err != nil {
		return "", err
	}
	receipt, err := ChargeCard.Call(ctx, cents)
	return receipt + ", approved by " + by, err
}

func chargeCard(context.Context, int) (string, error) { return "", errors.New("no network in tests") }

// definitions is what the program registers.
var definitions = []durango.Registrable{Fulfil.Bind(fulfil), ChargeCard.Bind(chargeCard)}

// The examples are tests; TestExamples runs them.
var examples []func(t *testing.T)

func ExampleRun() {
	testApproval := func(t *testing.T) {
		durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
			e.Replace(ChargeCard.Bind(func(context.Context, int) (string, error) { return "r-1", nil }))

			order := durangotest.Start(e, Fulfil, "order-42", 990)
			e.After(23*time.Hour, func() {
				if err := Approved.Send(e.Context(), e.Client(), "order-42", "ann"); err != nil {
					t.Error(err)
				}
			})
			if got := durangotest.Wait(e, order); got != "r-1, approved by ann" {
				t.Errorf("got %q", got)
			}
			e.CheckReplay()
		}, definitions...)
	}
	examples = append(examples, testApproval)
}

func ExampleCrashEverywhere() {
	testSurvivesCrashes := func(t *testing.T) {
		durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
			e.Replace(ChargeCard.Bind(func(ctx context.Context, cents int) (string, error) {
				e.EffectOnce(ctx, cents) // the bank heeds idempotency keys
				return "r-1", nil
			}))
			order := durangotest.Start(e, Fulfil, "order-42", 990)
			if err := Approved.Send(e.Context(), e.Client(), "order-42", "ann"); err != nil {
				t.Fatal(err)
			}
			durangotest.Wait(e, order)
		}, definitions...)
	}
	examples = append(examples, testSurvivesCrashes)
}

func ExampleReplay() {
	testSavedHistories := func(t *testing.T) {
		// durango show month-1 --export testdata/month.json
		durangotest.Replay(t, "testdata/*.json", monthWith(time.Millisecond, "step")...)
	}
	examples = append(examples, testSavedHistories)
}

func TestExamples(t *testing.T) {
	ExampleRun()
	ExampleCrashEverywhere()
	ExampleReplay()
	for _, example := range examples {
		example(t)
	}
}
