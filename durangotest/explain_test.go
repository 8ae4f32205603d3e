package durangotest_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

type orderFunc = func(*durango.Context, string) (string, error)

// steps is what all orders call, with the order itself.
func steps(fn orderFunc) []durango.Registrable {
	return []durango.Registrable{reserve, check, debit, capture, ship, payment, order.Bind(fn)}
}

// recorded returns the history of an instance.
func recorded(t *testing.T, e *durangotest.Env, id string) []history.Turn {
	t.Helper()
	inspector := e.Client().Store().(provider.Inspector)
	row, err := inspector.Get(e.Context(), provider.Target{ID: id})
	assert.NoError(t, err)
	rows, err := inspector.Turns(e.Context(), row.Key, 1, 0)
	assert.NoError(t, err)
	turns := make([]history.Turn, len(rows))
	for i, r := range rows {
		turns[i] = history.Turn{Number: r.Number, Execution: r.Execution, CommitID: r.CommitID, Time: r.Time}
		turns[i].Deliveries, turns[i].Commands, err = history.DecodeTurn(r.Events)
		assert.NoError(t, err)
	}
	return turns
}

// difference replays a history with other code and returns where they part.
func difference(t *testing.T, turns []history.Turn, fn orderFunc) *durango.ReplayError {
	t.Helper()
	rt, err := durango.New(memory.Open(), durango.Options{Logger: slog.New(slog.DiscardHandler)})
	assert.NoError(t, err)
	rt.Register(steps(fn)...)
	_, err = rt.Replay(context.Background(), turns)
	assert.ErrorIs(t, err, durango.ErrNondeterminism)
	where := assert.ErrorAs[*durango.ReplayError](t, err)
	assert.True(t, where.Explanation != nil, "no explanation")
	assert.True(t, !strings.Contains(err.Error(), "\n"), "the error has lines: %v", err)
	return where
}

// DESIGN 4.4: "The first difference is a nondeterminism error that shows: the
// recorded command, the emitted one, the turn, and the line of user code that
// emitted it." Its explanation names the likely cause, and the branch with
// which what has passed the point goes on as it was and the rest takes the new
// way: testdata/explain has one text for each cause.
func TestExplanationsAndTheirBranches(t *testing.T) {
	for _, tt := range []struct {
		name              string
		old, new, patched orderFunc
		cause             durango.Cause
		was, is           string
	}{
		{"inserted", orderOld, orderInserted, orderInsertedPatched, durango.CauseInserted, "rcs", "rkcs"},
		{"removed", orderOld, orderRemoved, orderRemovedPatched, durango.CauseRemoved, "rcs", "cs"},
		{"reordered", orderOld, orderReordered, orderReorderedPatched, durango.CauseReordered, "rcs", "crs"},
		{"renamed", orderOld, orderRenamed, orderRenamedPatched, durango.CauseRenamed, "rcs", "rCs"},
		{"changed", orderOld, orderChanged, orderChangedPatched, durango.CauseChanged, "rcs", "rPs"},
		{"sooner", orderOld, orderSooner, orderSoonerPatched, durango.CauseReordered, "rcs", "rcs"},
		{"list", orderList(reserve, debit), orderList(debit, reserve), orderListPatched, durango.CauseMapOrder, "rc", "cr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				e.AllowTurnFailures()
				begun := durangotest.Start(e, order, "old", "")
				e.Settle()
				turns := recorded(t, e, "old")
				x := difference(t, turns, tt.new).Explanation
				assert.Equal(t, x.Cause, tt.cause)
				golden(t, tt.name, x.String())
				assert.Contains(t, x.String(), "ctx.Patched(\""+x.Patch+"\")", strings.ReplaceAll(strings.TrimSuffix(x.Branch, "\n"), "\n", "\n\t"))
				source, err := os.ReadFile("explain_code_test.go")
				assert.NoError(t, err)
				assert.Contains(t, string(source), "ctx.Patched(\""+x.Patch+"\")") // what is tested below

				e.Replace(steps(tt.patched)...)
				e.CheckReplay()
				later := durangotest.Start(e, order, "new", "")
				for _, run := range []*durango.Run[string]{begun, later} {
					assert.NoError(t, settled.Send(e.Context(), e.Client(), run.ID(), durango.None{}))
				}
				assert.Equal(t, durangotest.Wait(e, begun), tt.was)
				assert.Equal(t, durangotest.Wait(e, later), tt.is)
				e.CheckReplay()
			}, steps(tt.old)...)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "explain", name+".txt")
	if *update {
		assert.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		assert.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	assert.NoError(t, err)
	assert.Equal(t, got, string(want))
}

// What differs from run to run is seen by running it again.
func TestExplanationsOfWhatIsNotDeterministic(t *testing.T) {
	calls := 0
	flag := orderFlag(func() bool { calls++; return calls%2 == 1 })
	for _, tt := range []struct {
		name  string
		code  orderFunc
		cause durango.Cause
	}{
		{"map", orderMap, durango.CauseMapOrder},
		{"clock", flag, durango.CauseUnstable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				e.AllowTurnFailures()
				durangotest.Start(e, order, "old", "")
				e.Settle()
				turns := recorded(t, e, "old")
				rt, err := durango.New(memory.Open(), durango.Options{Logger: slog.New(slog.DiscardHandler)})
				assert.NoError(t, err)
				rt.Register(steps(tt.code)...)
				for range 200 { // it may happen to do the same
					if _, err = rt.Replay(e.Context(), turns[:1]); err != nil {
						break
					}
				}
				assert.ErrorIs(t, err, durango.ErrNondeterminism)
				x := assert.ErrorAs[*durango.ReplayError](t, err).Explanation
				assert.Equal(t, x.Cause, tt.cause, "%s", x)
				if tt.cause == durango.CauseUnstable {
					golden(t, tt.name, x.String())
					assert.Equal(t, x.Branch, "")
				}
			}, steps(tt.code)...)
		})
	}
}
