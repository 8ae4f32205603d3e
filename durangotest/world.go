package durangotest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// world is the store of one test, with what makes virtual time cheap: it says
// when it has changed, so that nobody has to look again and again. In a bubble
// of testing/synctest each look costs what it costs in reality, and a month of
// them takes minutes.
//
// It is a provider like any other, around the reference implementation; the
// engine does not know that it is being tested.
type world struct {
	*memory.Store

	// failed is told of every turn failure that has been recorded. It is set
	// before the world is used.
	failed func(id, text string)

	mu      sync.Mutex
	changed chan struct{} // closed by the next change
	gone    map[provider.NodeKey]bool
	served  map[provider.TaskFilter]bool // what a node has asked for
	closed  bool
}

func newWorld() *world {
	return &world{
		Store: memory.Open(), changed: make(chan struct{}),
		failed: func(string, string) {},
		gone:   map[provider.NodeKey]bool{},
		served: map[provider.TaskFilter]bool{},
	}
}

// change wakes everyone who waits for a change.
func (w *world) change() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
}

// changes returns a channel that the next change closes, and whether there
// will be any.
func (w *world) changes() (<-chan struct{}, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed, !w.closed
}

// Close ends all waiting. It does not close the store, which is looked at
// after the test.
func (w *world) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.change()
	return nil
}

// cut says that the process of a node has ended.
func (w *world) cut(node provider.NodeKey) {
	w.mu.Lock()
	w.gone[node] = true
	w.mu.Unlock()
}

// Describe implements [provider.Provider].
func (w *world) Describe(ctx context.Context) (provider.Description, error) {
	d, err := w.Store.Describe(ctx)
	d.Capabilities.Watch, d.Capabilities.DetectsExit = true, true
	return d, err
}

// Watch announces every change.
func (w *world) Watch(ctx context.Context, notify func()) error {
	changed, _ := w.changes()
	for {
		select {
		case <-changed:
			changed, _ = w.changes() // before the news are read, so that none is missed
			notify()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Heartbeat tells which nodes have been cut off, so that another takes over
// at once.
func (w *world) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	p, err := w.Store.Heartbeat(ctx, node)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range p.Nodes {
		p.Nodes[i].Gone = w.gone[p.Nodes[i].Key]
	}
	return p, err
}

// Outcomes answers when there is something new to say: when one of the
// instances has ended or is quarantined, or the store has changed, or ctx ends. Who asks polls,
// and could not have learned anything earlier.
func (w *world) Outcomes(ctx context.Context, targets []provider.Target) ([]provider.Outcome, error) {
	changed, open := w.changes()
	outcomes, err := w.Store.Outcomes(ctx, targets)
	if err != nil {
		return outcomes, err
	}
	for _, o := range outcomes {
		if !o.Status.Open() || o.Status == provider.Quarantined {
			return outcomes, nil
		}
	}
	if !open { // nobody will change anything: who still waits, waits for ever
		changed = nil
	}
	select {
	case <-changed:
	case <-ctx.Done():
	}
	return w.Store.Outcomes(context.WithoutCancel(ctx), targets)
}

// after announces a change unless there was none.
func after[T any](w *world, v T, err error) (T, error) {
	if err == nil {
		w.change()
	}
	return v, err
}

// Create implements [provider.Provider].
func (w *world) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	r, err := w.Store.Create(ctx, node, batch)
	return after(w, r, err)
}

// Send implements [provider.Provider].
func (w *world) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	r, err := w.Store.Send(ctx, batch)
	return after(w, r, err)
}

// Commit implements [provider.Provider], and notices turns that failed.
func (w *world) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	results, err := w.Store.Commit(ctx, node, batch)
	for i := range results {
		c := &batch[i]
		if f := provider.ParseTurnFailure(c.Failure); c.Failure != "" && !f.Trial && results[i].Err == nil {
			row, _ := w.Get(context.WithoutCancel(ctx), provider.Target{Key: c.Key})
			w.failed(row.ID, f.Message)
		}
	}
	return after(w, results, err)
}

// ClaimTasks notes what nodes serve.
func (w *world) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	w.mu.Lock()
	for _, f := range req.Filters {
		w.served[f] = true
	}
	w.mu.Unlock()
	return w.Store.ClaimTasks(ctx, req)
}

// serves reports whether a node has asked for tasks like this one.
func (w *world) serves(t *provider.Task) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.served[provider.TaskFilter{Name: t.Name, Pool: t.Pool}]
}

// FinishTasks implements [provider.Provider].
func (w *world) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	r, err := w.Store.FinishTasks(ctx, node, batch)
	return after(w, r, err)
}

// Bury implements [provider.Provider].
func (w *world) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	r, err := w.Store.Bury(ctx, b)
	return after(w, r, err)
}

// Terminate implements [provider.Inspector].
func (w *world) Terminate(ctx context.Context, t provider.Target, outcome, notify []byte) error {
	_, err := after(w, 0, w.Store.Terminate(ctx, t, outcome, notify))
	return err
}

// Suspend implements [provider.Inspector].
func (w *world) Suspend(ctx context.Context, t provider.Target) error {
	_, err := after(w, 0, w.Store.Suspend(ctx, t))
	return err
}

// Amend implements [provider.Amender].
func (w *world) Amend(ctx context.Context, a provider.Amendment) error {
	_, err := after(w, 0, w.Store.Amend(ctx, a))
	return err
}

// Resume implements [provider.Inspector].
func (w *world) Resume(ctx context.Context, t provider.Target) error {
	_, err := after(w, 0, w.Store.Resume(ctx, t))
	return err
}

// Hold implements [provider.Holder].
func (w *world) Hold(ctx context.Context, t provider.Target, reason string) error {
	_, err := after(w, 0, w.Store.Hold(ctx, t, reason))
	return err
}

// Delete implements [provider.Inspector].
func (w *world) Delete(ctx context.Context, t provider.Target, force bool) error {
	_, err := after(w, 0, w.Store.Delete(ctx, t, force))
	return err
}

// outlook is what a node with certain definitions has before it.
type outlook struct {
	// busy: a node holds something.
	busy bool
	// patience is how many naps a node has to take what is due; zero: nothing is.
	patience int
	// next is the time until something that waits becomes due; nearly for ever
	// when nothing will by itself.
	next time.Duration
}

func (w *world) outlook(known map[durango.Definition]bool) (o outlook) {
	now := time.Now().UnixNano()
	next := provider.Never
	at := func(t int64, naps int) {
		if t <= now {
			o.patience = max(o.patience, naps)
		} else {
			next = min(next, t)
		}
	}
	for _, row := range w.instances(provider.Pending, provider.Running) {
		o.busy = o.busy || row.Owner != 0
		if row.Owner == 0 && runs(known, &row) {
			at(row.WakeAt, patience)
		}
		tasks, _ := w.Tasks(context.Background(), row.Key) // an open memory store does not fail
		for _, t := range tasks {
			o.busy = o.busy || t.Holder != 0 || running(&t)
			if t.Holder != 0 {
				continue
			}
			at(t.ComputeExpiresAt(), patience)
			if !t.Parked && (known[durango.Definition{Kind: "activity", Name: t.Name}] || strings.HasPrefix(t.Name, "durango/")) {
				naps := patience
				if w.serves(&t) {
					naps = longPatience
				}
				at(t.VisibleAt, naps)
			}
		}
	}
	o.next = time.Duration(next - now)
	return o
}

// running reports whether a task is that of a function that has called
// [durango.CompleteLater] and has not returned: until then its row says that it
// was lost, for whoever finds it after its node has died, and the time until
// which it may wait otherwise.
func running(t *provider.Task) bool {
	if !t.Parked {
		return false
	}
	e, err := history.DecodeMessage(t.Failure)
	return err == nil && e.Time != 0 && e.Failure != nil && e.Failure.Code == durango.CodeWorkerLost
}

// runs reports whether a node with these definitions would claim an instance.
func runs(known map[durango.Definition]bool, row *provider.Instance) bool {
	ranges := false
	for d := range known {
		if d.Kind == "orchestration" && d.Name == row.Name {
			if d.Version == row.Version || row.Version == "" {
				return true
			}
			ranges = true
		}
	}
	if !ranges {
		return false
	}
	fits, err := semver.NewConstraint(row.Version)
	if err != nil {
		return false
	}
	for d := range known {
		if d.Kind == "orchestration" && d.Name == row.Name {
			if v, bad := semver.StrictNewVersion(d.Version); bad == nil && fits.Check(v) {
				return true
			}
		}
	}
	return false
}

// instances returns the instances that have one of the statuses, or all, in
// the order of their creation.
func (w *world) instances(statuses ...provider.Status) []provider.Instance {
	page, _ := w.List(context.Background(), provider.Query{Statuses: statuses, Limit: 1 << 30})
	rows := page.Instances
	for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
		rows[i], rows[j] = rows[j], rows[i]
	}
	return rows
}

// history reads the turns of an instance.
func (w *world) history(key provider.Key) ([]history.Turn, error) {
	rows, err := w.Turns(context.Background(), key, 1, 0)
	if err != nil {
		return nil, err
	}
	turns := make([]history.Turn, len(rows))
	for i := range rows {
		if turns[i], err = decodeTurn(&rows[i]); err != nil {
			return nil, err
		}
	}
	return turns, nil
}

func decodeTurn(row *provider.Turn) (history.Turn, error) {
	deliveries, commands, err := history.DecodeTurn(row.Events)
	if err != nil {
		return history.Turn{}, fmt.Errorf("turn %d: %w", row.Number, err)
	}
	return history.Turn{
		Number: row.Number, Execution: row.Execution, CommitID: row.CommitID, Time: row.Time,
		Deliveries: deliveries, Commands: commands,
	}, nil
}

var errCut = errors.New("the connection to the store has been cut")
