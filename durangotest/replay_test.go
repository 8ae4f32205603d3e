package durangotest_test

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/cli"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

var update = flag.Bool("update", false, "write testdata/month.json anew")

var month = durango.NewOrchestration[int, int]("month")

// monthWith defines an orchestration that calls an activity, sleeps, and goes
// on as a new execution for as long as its input is positive.
func monthWith(sleep time.Duration, activity string) []durango.Registrable {
	act := durango.NewActivity[int, int](activity)
	return []durango.Registrable{
		act.Bind(func(_ context.Context, n int) (int, error) { return n + 1, nil }),
		month.Bind(func(ctx *durango.Context, n int) (int, error) {
			got, err := act.Call(ctx, n)
			if err != nil {
				return 0, err
			}
			if err := ctx.Sleep(sleep); err != nil {
				return 0, err
			}
			if n > 0 {
				return month.ContinueAsNew(ctx, n-1)
			}
			return got, nil
		}),
	}
}

// What "durango show ID --export" writes is what Replay reads. The same
// command wrote testdata/month.json, which stays as it is: histories that have
// been saved replay for ever.
func TestReplayOfExport(t *testing.T) {
	code := monthWith(time.Millisecond, "step")
	path := exported(t, durango.Options{Logger: slog.New(slog.DiscardHandler)}, code)
	if *update {
		b, err := os.ReadFile(path)
		assert.NoError(t, err)
		assert.NoError(t, os.WriteFile("testdata/month.json", b, 0o644))
	}
	durangotest.Replay(t, path, code...)
	durangotest.Replay(t, filepath.Join("testdata", "*.json"), code...)
}

// exported is the file that "durango show --export" writes of a month that a
// node with options has run.
func exported(t *testing.T, options durango.Options, code []durango.Registrable) (path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rt, err := durango.New(memory.Open(), options)
	assert.NoError(t, err)
	rt.Register(code...)
	work, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- rt.Run(work) }()
	run, err := month.Start(ctx, rt.Client(), "month-1", 1)
	assert.NoError(t, err)
	_, err = run.Wait(ctx)
	assert.NoError(t, err)
	stop()
	assert.NoError(t, <-ended)

	path = filepath.Join(t.TempDir(), "month.json")
	show := cli.Command(rt)
	show.SetArgs([]string{"show", "month-1", "--export", path})
	show.SetOut(&bytes.Buffer{})
	assert.NoError(t, show.ExecuteContext(ctx))
	return path
}

// Another duration is another payload: logged, and no failure.
func TestReplayToleratesPayloads(t *testing.T) {
	durangotest.Replay(t, "testdata/month.json", monthWith(time.Hour, "step")...)
}
