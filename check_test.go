package durango_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/sqlite"
)

// Five orchestrations, each of which doubles a number, waits to be let go, and
// doubles again.
var (
	goOn    = durango.NewSignal[durango.None]("go-on")
	halve   = durango.DefineActivity("halve", func(_ context.Context, n int) (int, error) { return n / 2, nil })
	checked = []durango.Orchestration[int, int]{
		durango.NewOrchestration[int, int]("c-same"), durango.NewOrchestration[int, int]("c-patched"),
		durango.NewOrchestration[int, int]("c-inserted"), durango.NewOrchestration[int, int]("c-removed"),
		durango.NewOrchestration[int, int]("c-renamed"),
	}
	unsafe = []string{"c-inserted", "c-removed", "c-renamed"}
)

func checkedOld(ctx *durango.Context, n int) (int, error) {
	n, _ = double.Call(ctx, n)
	_, err := goOn.Next(ctx).Await(ctx)
	if err != nil {
		return 0, err
	}
	return double.Call(ctx, n)
}

// deployed is what is deployed: everything as it was, or with a safe change and
// three that are not, or those repaired.
func deployed(stage string) []durango.Registrable {
	ds := []durango.Registrable{double, halve}
	for _, o := range checked {
		code := checkedOld
		if stage != "old" {
			code = checkedNew(o.Name(), stage == "repaired")
		}
		ds = append(ds, o.Bind(code))
	}
	return ds
}

func checkedNew(name string, repaired bool) func(*durango.Context, int) (int, error) {
	return func(ctx *durango.Context, n int) (int, error) {
		newer := func(id string) bool { return !repaired || ctx.Patched(id) }
		switch {
		case name == "c-inserted" && newer("add-halve"):
			n, _ = halve.Call(ctx, n)
			n, _ = double.Call(ctx, n)
		case name == "c-removed" && newer("drop-double"):
		case name == "c-renamed" && newer("rename-halve"):
			n, _ = halve.Call(ctx, n)
		case name == "c-patched" && ctx.Patched("halved"):
			n, _ = halve.Call(ctx, n)
		default:
			n, _ = double.Call(ctx, n)
		}
		if _, err := goOn.Next(ctx).Await(ctx); err != nil {
			return 0, err
		}
		return double.Call(ctx, n)
	}
}

// checkedNode returns a runtime with a program, and what runs it until it is called.
func checkedNode(t *testing.T, store provider.Provider, o durango.Options, ds []durango.Registrable) (rt *durango.Runtime, run func() (stop func())) {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	rt, err := durango.New(store, o)
	assert.NoError(t, err)
	rt.Register(ds...)
	return rt, func() func() {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- rt.Run(ctx) }()
		return func() { cancel(); assert.NoError(t, <-done) }
	}
}

// An upgrade gate: "replay every open history in the store against the
// registered code before it takes work, without writing": the report names
// exactly what the new code cannot go on with. With SuspendIncompatible exactly
// these are suspended, and they go on once the code has been repaired.
func TestCheckFindsExactlyWhatCannotGoOn(t *testing.T) {
	const each = 80
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	store, err := sqlite.OpenWith(filepath.Join(t.TempDir(), "check.db"), sqlite.Options{Synchronous: sqlite.Normal})
	assert.NoError(t, err)
	defer store.Close()
	inspector := provider.Inspector(store)

	rt, run := checkedNode(t, store, durango.Options{}, deployed("old"))
	stop := run()
	var runs []*durango.Run[int]
	for i := range each {
		for _, o := range checked {
			r, err := o.Start(ctx, rt.Client(), fmt.Sprintf("%s-%03d", o.Name(), i), 4)
			assert.NoError(t, err)
			runs = append(runs, r)
		}
	}
	for _, r := range runs { // until the first step is recorded
		for {
			info, err := r.Status(ctx)
			assert.NoError(t, err)
			if info.Turns >= 2 {
				break
			}
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				t.Fatal("they do not get to wait")
			}
		}
	}
	stop()

	rt, _ = checkedNode(t, store, durango.Options{}, deployed("old"))
	report, err := rt.Check(ctx, durango.CheckOptions{})
	assert.NoError(t, err)
	assert.True(t, report.Compatible == 5*each && report.Incompatible+report.Unknown+report.Skipped == 0, report)
	assert.Equal(t, len(report.Groups), 5)

	before := rows(t, inspector)
	rt, _ = checkedNode(t, store, durango.Options{}, deployed("new"))
	var incompatible []string
	report, err = rt.Check(ctx, durango.CheckOptions{MaxFindings: 3, Concurrency: 3, Each: func(f *durango.Finding) error {
		if f.Verdict == durango.Incompatible {
			assert.ErrorIs(t, f.Err, durango.ErrNondeterminism)
			incompatible = append(incompatible, f.ID)
		}
		return nil
	}})
	assert.NoError(t, err)
	assert.Equal(t, rows(t, inspector), before) // it has written nothing
	assert.True(t, report.Compatible == 2*each && report.Incompatible == 3*each && report.Unknown == 0, report)
	var want []string
	for _, r := range runs {
		if slices.Contains(unsafe, r.ID()[:len(r.ID())-4]) {
			want = append(want, r.ID())
		}
	}
	slices.Sort(want)
	slices.Sort(incompatible)
	assert.Equal(t, incompatible, want)
	causes := map[string]durango.Cause{}
	for _, g := range report.Groups {
		bad := slices.Contains(unsafe, g.Name)
		assert.True(t, (g.Incompatible == each) == bad && (g.Compatible == each) == !bad, g)
		assert.True(t, len(g.Findings) == 0 || bad && len(g.Findings) == 3, g)
		for _, f := range g.Findings {
			causes[g.Name] = assert.ErrorAs[*durango.ReplayError](t, f.Err).Explanation.Cause
		}
	}
	assert.Equal(t, causes, map[string]durango.Cause{
		"c-inserted": durango.CauseInserted, "c-removed": durango.CauseRemoved, "c-renamed": durango.CauseRenamed,
	})

	// A node that checks suspends exactly these; an operator has suspended
	// another one, and a check does not resume that.
	assert.NoError(t, inspector.Suspend(ctx, provider.Target{ID: "c-same-000"}))
	_, run = checkedNode(t, store, durango.Options{SuspendIncompatible: true}, deployed("new"))
	stop = run()
	for _, r := range runs {
		assert.NoError(t, goOn.Send(ctx, durango.NewClient(store), r.ID(), durango.None{}))
	}
	for _, r := range runs {
		if slices.Contains(want, r.ID()) || r.ID() == "c-same-000" {
			continue
		}
		got, err := r.Wait(ctx)
		assert.NoError(t, err)
		assert.Equal(t, got, 16)
	}
	stop()
	var suspended []string
	for _, row := range rows(t, inspector) {
		if row.Status == provider.Suspended {
			suspended = append(suspended, row.ID)
			assert.True(t, row.ID == "c-same-000" ||
				strings.HasPrefix(row.TurnFailure, "suspended, because it does not replay: ") && strings.Contains(row.TurnFailure, "likely cause: "), row.TurnFailure)
		}
	}
	slices.Sort(suspended)
	assert.Equal(t, suspended, append(slices.Clone(want), "c-same-000"))

	_, run = checkedNode(t, store, durango.Options{SuspendIncompatible: true}, deployed("repaired"))
	stop = run()
	for _, r := range runs {
		if r.ID() == "c-same-000" {
			info, err := r.Status(ctx)
			assert.NoError(t, err)
			assert.Equal(t, info.Status, durango.StatusSuspended)
			continue
		}
		got, err := r.Wait(ctx)
		assert.NoError(t, err)
		assert.Equal(t, got, 16) // the way it had begun
	}
	stop()
}

// rows lists all instances as they are stored.
func rows(t *testing.T, inspector provider.Inspector) (all []provider.Instance) {
	t.Helper()
	for q := (provider.Query{}); ; {
		page, err := inspector.List(t.Context(), q)
		assert.NoError(t, err)
		all = append(all, page.Instances...)
		if q.After = page.Next; q.After == 0 {
			return all
		}
	}
}

// Unknown is what is not registered here, what is pinned to a version that is
// not, and what cannot be decoded.
func TestCheckKnowsWhatItDoesNotKnow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	store := memory.Open()
	defer store.Close()
	client := durango.NewClient(store)
	o := checked[0]
	start := func(id, version string) {
		_, err := o.With(durango.CallOptions{Version: version}).Start(ctx, client, id, 4)
		assert.NoError(t, err)
	}
	start("range", ">=1 <2")
	start("later", "2.0.0")
	_, err := checked[1].Start(ctx, client, "unregistered", 4)
	assert.NoError(t, err)
	start("broken", "1.0.0")

	// A turn that nobody can read, as a later program may have written.
	node, err := store.Join(ctx, provider.NodeInfo{Name: "later"})
	assert.NoError(t, err)
	row, err := store.Get(ctx, provider.Target{ID: "broken"})
	assert.NoError(t, err)
	claim, err := store.Claim(ctx, provider.ClaimRequest{Node: node, Limit: 10, Definitions: []provider.Definition{{Name: o.Name(), Version: "1.0.0"}}})
	assert.NoError(t, err)
	assert.True(t, len(claim.Claimed) == 1, claim)
	results, err := store.Commit(ctx, node, []provider.Commit{{
		Key: row.Key, CommitID: 1, Expect: 1, Status: provider.Running, Execution: 1, Name: row.Name, Version: row.Version,
		HistoryFrom: 1, DueAt: provider.Never, Release: true, Turn: &provider.Turn{Number: 1, Execution: 1, CommitID: 1, Events: []byte{250, 1, 2}},
	}})
	assert.NoError(t, err)
	assert.NoError(t, results[0].Err)

	rt, _ := checkedNode(t, store, durango.Options{}, []durango.Registrable{double, o.Bind(checkedOld)})
	report, err := rt.Check(ctx, durango.CheckOptions{})
	assert.NoError(t, err)
	found := map[string]error{}
	for _, g := range report.Groups {
		for _, f := range g.Findings {
			assert.Equal(t, f.Verdict, durango.Unknown)
			found[f.ID] = f.Err
		}
	}
	assert.True(t, report.Compatible == 1 && report.Unknown == 3 && len(found) == 3, report)
	assert.ErrorIs(t, found["later"], durango.ErrNotRegistered)
	assert.ErrorIs(t, found["unregistered"], durango.ErrNotRegistered)
	assert.True(t, found["broken"] != nil && !errors.Is(found["broken"], durango.ErrNotRegistered), found["broken"])

	// A sample, a filter, an Each that has enough.
	report, err = rt.Check(ctx, durango.CheckOptions{Name: o.Name(), IDPrefix: "la"})
	assert.NoError(t, err)
	assert.True(t, report.Compatible == 0 && report.Unknown == 1, report)
	start("range2", ">=1 <2")
	report, err = rt.Check(ctx, durango.CheckOptions{Sample: 1})
	assert.NoError(t, err)
	assert.True(t, report.Skipped == 1 && report.Compatible == 1 && report.Unknown == 3, report)
	enough := errors.New("enough")
	_, err = rt.Check(ctx, durango.CheckOptions{Each: func(*durango.Finding) error { return enough }})
	assert.ErrorIs(t, err, enough)
}
