package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	ends := quarantinesKiller(t, onSQLite(t), killer[string]{exits, "crash exits", 9, "instance quarantined"}, endless)
	t.Logf("it ended %d processes", ends)
}

// killer is an orchestration that ends processes, what that is known by, their
// exit code, and what they say.
type killer[Out any] struct {
	orchestration durango.Orchestration[durango.None, Out]
	fingerprint   string
	exit          int
	says          string
}

// quarantinesKiller runs a killer beside 63 others, on as many processes as it
// takes, and returns how many it has ended.
func quarantinesKiller[Out any](t *testing.T, p *place, k killer[Out], lease string) (ends int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	said, err := os.Create(filepath.Join(p.dir, "stderr"))
	assert.NoError(t, err)
	defer said.Close()
	p.stderr = said
	client := durango.NewClient(p.store)
	runs := []*durango.Run[[]string]{}
	for i := range 63 {
		if i == 10 {
			_, err := k.orchestration.Start(ctx, client, "killer", durango.None{})
			assert.NoError(t, err)
		}
		run, err := chain.Start(ctx, client, fmt.Sprint("chain-", i), 3)
		assert.NoError(t, err)
		runs = append(runs, run)
	}
	var last *process
	var ended chan struct{}
	for last == nil {
		w := spawn(t, p, lease)
		ended = make(chan struct{})
		go func(ended chan struct{}) { _ = w.cmd.Wait(); close(ended) }(ended)
		for watching := true; watching; {
			select {
			case <-ended:
				assert.Equal(t, w.cmd.ProcessState.ExitCode(), k.exit)
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
	assert.Equal(t, q.Fingerprint, k.fingerprint)
	assert.Equal(t, q.Failures, int64(5))
	page, err := p.store.List(ctx, provider.Query{Statuses: []provider.Status{provider.Quarantined}})
	assert.NoError(t, err)
	assert.Equal(t, len(page.Instances), 1, "nobody else")
	text, err := os.ReadFile(said.Name())
	assert.NoError(t, err)
	assert.Contains(t, string(text), k.says)
	_ = last.cmd.Process.Kill()
	<-ended
	return ends
}
