// Command fanout counts the words of many texts at once: one activity for each
// text, run in parallel, joined at the end.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

var countWords = durango.DefineActivity("count-words", func(_ context.Context, text string) (int, error) {
	time.Sleep(20 * time.Millisecond) // as if it were a long text
	return len(strings.Fields(text)), nil
})

// Report is what the count of many texts comes to.
type Report struct {
	Texts, Words int
	Longest      int // index of the longest text
}

var countAll = durango.DefineOrchestration("count-all", func(ctx *durango.Context, texts []string) (Report, error) {
	// Go schedules and does not wait.
	futures := make([]*durango.Future[int], len(texts))
	for i, text := range texts {
		futures[i] = countWords.Go(ctx, text)
	}
	// All returns the results in the order of the futures, whatever the order
	// in which they came. At the first error it would cancel the others.
	counts, err := durango.All(ctx, futures...)
	if err != nil {
		return Report{}, err
	}
	report := Report{Texts: len(texts)}
	for i, n := range counts {
		report.Words += n
		if n > counts[report.Longest] {
			report.Longest = i
		}
	}
	return report, nil
})

func main() {
	dir, err := os.MkdirTemp("", "fanout-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "fanout.db"))
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
	rt.Register(countWords, countAll)

	ctx, stop := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()
	err = count(ctx, out, rt.Client())
	stop()
	return errors.Join(err, <-node)
}

func count(ctx context.Context, out io.Writer, client *durango.Client) error {
	texts := make([]string, 100)
	for i := range texts {
		texts[i] = strings.Repeat("word ", i*37%100)
	}
	counting, err := countAll.Start(ctx, client, "count-1", texts)
	if err != nil {
		return err
	}
	r, err := counting.Wait(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d texts have %d words; text %d is the longest\n", r.Texts, r.Words, r.Longest)
	return err
}
