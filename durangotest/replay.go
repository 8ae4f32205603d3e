package durangotest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// CheckReplay replays the histories of the instances with these IDs, or of all
// in the store, against the code that is defined now, and fails the test if
// that asks for anything else than what is recorded. Every prefix is replayed
// by itself, as it would be if the node had been restarted there. It can be
// called at any time, also while instances run.
//
// Since the code has just written what it replays, a payload or a time that
// comes out differently fails the test too: it means that something random, or
// a clock, or the order of a map, found its way into the orchestration.
func (e *Env) CheckReplay(ids ...string) {
	e.t.Helper()
	e.fleet.lock <- struct{}{}
	rt, err := e.fleet.runtime(newLine(e.world, nil))
	<-e.fleet.lock
	if err != nil {
		e.t.Fatalf("check replay: %v", err)
	}
	var rows []provider.Instance
	if len(ids) == 0 {
		rows = e.world.instances()
	}
	for _, id := range ids {
		row, err := e.world.Get(context.Background(), provider.Target{ID: id})
		if err != nil {
			e.t.Fatalf("check replay: instance %q: %v", id, err)
		}
		rows = append(rows, row)
	}
	for i := range rows {
		turns, err := e.world.history(rows[i].Key)
		if err == nil {
			err = replayPrefixes(rt, turns)
		}
		if err != nil {
			e.t.Errorf("check replay of instance %q: %v%s", rows[i].ID, err, explained(err))
		}
	}
}

// explained is what there is to say about a difference, below the error.
func explained(err error) string {
	var where *durango.ReplayError
	if !errors.As(err, &where) || where.Explanation == nil {
		return ""
	}
	return "\n\n" + where.Explanation.String()
}

// maxReplayed bounds the turns that are replayed of one execution. Prefixes are
// quadratic: up to some 1,400 turns all are replayed, of longer executions as
// many, evenly spread.
const maxReplayed = 1_000_000

// replayPrefixes replays every prefix of every execution.
func replayPrefixes(rt *durango.Runtime, turns []history.Turn) error {
	for len(turns) > 0 {
		n := 1
		for n < len(turns) && turns[n].Execution == turns[0].Execution {
			n++
		}
		step := max(1, n*n/2/maxReplayed)
		for end := 1; end <= n; end += step {
			if end+step > n {
				end = n // the whole, in any case
			}
			warnings, err := rt.Replay(context.Background(), turns[:end])
			if err != nil {
				return err
			}
			if len(warnings) > 0 {
				return fmt.Errorf("the orchestration is not deterministic: %s\n%s",
					strings.Join(warnings, "\n"), formatTurn(&turns[end-1]))
			}
		}
		turns = turns[n:]
	}
	return nil
}

// Replay checks that today's code still replays saved histories: files written
// by
//
//	durango show ID --export testdata/ID.json
//
// of instances as they were in production. files is a path, or a pattern as
// [filepath.Glob] has them, that matches one file at least. The test fails with
// the first difference of each file. What an upgrade changed in payloads is
// logged and does not fail the test: what is recorded stands.
//
// It is ReplayWith without options.
func Replay(t testing.TB, files string, definitions ...durango.Registrable) {
	t.Helper()
	ReplayWith(t, files, durango.Options{}, definitions...)
}

// ReplayWith is [Replay] for histories of nodes with these options: with a codec,
// with interceptors that wait or call something around an orchestration, or with
// other limits. Without a logger nothing is logged.
func ReplayWith(t testing.TB, files string, o durango.Options, definitions ...durango.Registrable) {
	t.Helper()
	paths, err := filepath.Glob(files)
	if err == nil && len(paths) == 0 {
		err = errors.New("no such file")
	}
	if err != nil {
		t.Fatalf("replay %s: %v", files, err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	rt, err := durango.New(memory.Open(), o)
	if err != nil {
		t.Fatalf("replay %s: %v", files, err)
	}
	rt.Register(slices.Collect(maps.Values(latest(nil, definitions)))...)
	for _, path := range paths {
		turns, err := readExport(path)
		if err == nil {
			var warnings []string
			warnings, err = rt.Replay(t.Context(), turns)
			for _, w := range warnings {
				t.Logf("replay %s: %s", path, w)
			}
		}
		if err != nil {
			t.Errorf("replay %s: %v%s", path, err, explained(err))
		}
	}
}

// exportFormat names the form of what durango show --export writes.
const exportFormat = "durango-history/1"

// export is what of an exported instance is needed to replay it.
type export struct {
	Format string `json:"format"`
	Turns  []struct {
		Number    int64     `json:"number"`
		Execution int64     `json:"execution"`
		Time      time.Time `json:"time"`
		CommitID  int64     `json:"commit_id,string"`
		Encoded   []byte    `json:"encoded"`
	} `json:"turns"`
}

func readExport(path string) ([]history.Turn, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var x export
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, err
	}
	if x.Format != exportFormat {
		return nil, fmt.Errorf("the format is %q, want %q", x.Format, exportFormat)
	}
	if len(x.Turns) == 0 {
		return nil, errors.New("the history has no turns")
	}
	turns := make([]history.Turn, len(x.Turns))
	for i := range x.Turns {
		row := &x.Turns[i]
		turns[i], err = decodeTurn(&provider.Turn{
			Number: row.Number, Execution: row.Execution, CommitID: row.CommitID, Time: row.Time.UnixNano(), Events: row.Encoded,
		})
		if err != nil {
			return nil, err
		}
	}
	return turns, nil
}
