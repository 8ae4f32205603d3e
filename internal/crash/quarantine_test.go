package crash

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// exits ends its process, as a fatal error of the runtime does.
var exits = durango.NewOrchestration[durango.None, string]("exits")

func runExits(*durango.Context, durango.None) (string, error) {
	os.Exit(9)
	return "", nil
}

// DESIGN 8.6: "No innocents". An orchestration that ends the process of its
// worker is quarantined after five such ends, and everything that was claimed
// beside it completes.
func TestAnOrchestrationThatEndsItsProcessIsQuarantined(t *testing.T) {
	p := onSQLite(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client := durango.NewClient(p.store)
	runs := []*durango.Run[[]string]{}
	for i := range 63 {
		if i == 10 {
			_, err := exits.Start(ctx, client, "killer", durango.None{})
			assert.NoError(t, err)
		}
		run, err := chain.Start(ctx, client, fmt.Sprint("chain-", i), 3)
		assert.NoError(t, err)
		runs = append(runs, run)
	}
	ends := 0
	var last *process
	var ended chan struct{}
	for last == nil {
		w := spawn(t, p, endless)
		ended = make(chan struct{})
		go func(ended chan struct{}) { _ = w.cmd.Wait(); close(ended) }(ended)
		for watching := true; watching; {
			select {
			case <-ended:
				assert.Equal(t, w.cmd.ProcessState.ExitCode(), 9)
				ends++
				assert.True(t, ends < 10, "the killer has ended %d processes", ends)
				watching = false
			case <-time.After(20 * time.Millisecond):
				row, err := p.store.Get(ctx, provider.Target{ID: "killer"})
				assert.NoError(t, err)
				if row.Status == provider.Quarantined {
					last, watching = w, false
				}
			}
		}
	}
	for _, run := range runs {
		out, err := run.Wait(ctx)
		assert.NoError(t, err)
		assert.Equal(t, len(out), 3)
	}
	q, err := client.Quarantine(ctx, "killer")
	assert.NoError(t, err)
	assert.Equal(t, q.Fingerprint, "crash exits")
	assert.Equal(t, q.Failures, int64(5))
	page, err := p.store.List(ctx, provider.Query{Statuses: []provider.Status{provider.Quarantined}})
	assert.NoError(t, err)
	assert.Equal(t, len(page.Instances), 1, "nobody else")
	t.Logf("the killer ended %d processes", ends)
	_ = last.cmd.Process.Kill()
	<-ended
}
