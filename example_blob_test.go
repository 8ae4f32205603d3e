package durango_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/memory"
)

// A megabyte is stored once. What the orchestration passes on, and its history
// has, is a reference.
func ExampleBlob() {
	count := durango.DefineActivity("count", func(ctx context.Context, book durango.Blob) (int, error) {
		text, err := book.Bytes(ctx)
		return strings.Count(string(text), "whale"), err
	})
	read := durango.DefineOrchestration("read", func(ctx *durango.Context, book durango.Blob) (int, error) {
		return count.Call(ctx, book)
	})

	rt, err := durango.New(memory.Open(), durango.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	rt.Register(count, read)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- rt.Run(ctx) }()

	book := durango.BlobOf([]byte(strings.Repeat("the whale ", 100_000)))
	run, err := read.Start(ctx, rt.Client(), "moby-dick", book)
	if err != nil {
		log.Fatal(err)
	}
	whales, err := run.Wait(ctx)
	fmt.Println(whales, err)

	stop()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	// Output: 100000 <nil>
}
