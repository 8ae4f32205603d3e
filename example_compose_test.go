package durango_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/memory"
)

// runExample runs an orchestration and what it calls on a store in memory, and
// prints its outcome.
func runExample[In, Out any](in In, o durango.BoundOrchestration[In, Out], others ...durango.Registrable) {
	rt, err := durango.New(memory.Open(), durango.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	rt.Register(append(others, o)...)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- rt.Run(ctx) }()

	run, err := o.Start(ctx, rt.Client(), "example", in)
	if err != nil {
		log.Fatal(err)
	}
	if out, err := run.Wait(ctx); err != nil {
		fmt.Println("error:", err)
	} else {
		fmt.Println(out)
	}
	stop()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
}

func ExampleRunSaga() {
	bookFlight := durango.DefineActivity("book-flight", func(_ context.Context, to string) (string, error) {
		return "flight to " + to, nil
	})
	bookHotel := durango.DefineActivity("book-hotel", func(_ context.Context, in string) (string, error) {
		return "", errors.New("no room in " + in)
	})
	cancelFlight := durango.DefineActivity("cancel-flight", func(_ context.Context, flight string) (durango.None, error) {
		fmt.Println("canceled:", flight)
		return durango.None{}, nil
	})
	travel := durango.DefineOrchestration("travel", func(ctx *durango.Context, to string) (string, error) {
		return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
			flight, err := bookFlight.Call(ctx, to)
			if err != nil {
				return "", err
			}
			durango.Undo(saga, cancelFlight, flight)
			hotel, err := bookHotel.Call(ctx, to)
			if err != nil {
				return "", err
			}
			return flight + ", " + hotel, nil
		})
	})
	runExample("Durango", travel, bookFlight, bookHotel, cancelFlight)
	// Output:
	// canceled: flight to Durango
	// error: no room in Durango
}

func ExampleContext_Race() {
	fast := durango.DefineActivity("fast", func(context.Context, durango.None) (string, error) { return "fast", nil })
	slow := durango.DefineActivity("slow", func(ctx context.Context, _ durango.None) (string, error) {
		<-ctx.Done() // until somebody else has won
		return "", ctx.Err()
	})
	race := durango.DefineOrchestration("race", func(ctx *durango.Context, _ durango.None) (string, error) {
		a, b := slow.Go(ctx, durango.None{}), fast.Go(ctx, durango.None{})
		switch ctx.Race(a, b) {
		case a:
			return a.Await(ctx)
		case b:
			return b.Await(ctx)
		}
		return "", ctx.Err()
	})
	runExample(durango.None{}, race, fast, slow)
	// Output: fast
}

func ExampleContext_WithTimeout() {
	answers := durango.NewSignal[string]("answer")
	ask := durango.DefineOrchestration("ask", func(ctx *durango.Context, limit time.Duration) (string, error) {
		part, cancel := ctx.WithTimeout(limit)
		defer cancel()
		answer, err := answers.Next(part).Await(part)
		if errors.Is(err, durango.ErrTimeout) {
			return "no answer: " + err.Error(), nil // ctx goes on
		}
		return answer, err
	})
	runExample(50*time.Millisecond, ask)
	// Output: no answer: timed out after 50ms
}

func ExampleAsCompleted() {
	wait := durango.DefineOrchestration("wait", func(ctx *durango.Context, _ durango.None) (int, error) {
		sleeper := func(d time.Duration) *durango.Future[string] {
			return durango.Go(ctx, func(ctx *durango.Context) (string, error) { return d.String(), ctx.Sleep(d) })
		}
		sum := 0
		for i, r := range durango.AsCompleted(ctx, sleeper(60*time.Millisecond), sleeper(20*time.Millisecond), sleeper(0)) {
			if r.Err != nil {
				return 0, r.Err
			}
			ctx.Logger().Info("completed", "sleeper", r.Value)
			sum = sum*10 + i
		}
		return sum, nil
	})
	runExample(durango.None{}, wait)
	// Output: 210
}
