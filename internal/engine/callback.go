package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/durango-go/durango/provider"
)

// The callback of a policy is owed by the node that quarantined the instance,
// and the row says so until it has returned. If that node is gone by then,
// another that has the policy takes over.

// callBack calls the callback of the policy for an instance that node owes it
// for. A callback that fails changes nothing: the instance stays quarantined.
func (e *Engine) callBack(ctx context.Context, key provider.Key, node provider.NodeKey, policy Policy) {
	inspector, err := e.client.Inspector(ctx)
	if err != nil || policy.Callback == nil {
		return
	}
	amender, err := e.client.Amender(ctx)
	if err != nil {
		return
	}
	row, f, err := e.owed(ctx, inspector, key, node)
	if err != nil {
		return
	}
	if err := runCallback(ctx, policy, &row); err != nil {
		if ctx.Err() != nil {
			return // this node is leaving; another calls back
		}
		e.o.Logger.Error("the callback of a quarantine failed; the instance stays quarantined", "instance", row.ID, "error", err)
	}
	f.Notify = 0
	e.insist(ctx, func() error {
		return amender.Amend(ctx, provider.Amendment{To: provider.Target{Key: key}, FailedAt: row.FailedAt, Failure: f.String()})
	})
}

var errNotOwed = errors.New("no callback is owed")

// owed reads an instance for which node owes a callback.
func (e *Engine) owed(ctx context.Context, inspector provider.Inspector, key provider.Key, node provider.NodeKey) (row provider.Instance, f provider.TurnFailure, err error) {
	err = e.insist(ctx, func() (err error) {
		row, err = inspector.Get(ctx, provider.Target{Key: key})
		return err
	})
	f = provider.ParseTurnFailure(row.TurnFailure)
	if err == nil && (row.Status != provider.Quarantined || f.Notify != node) {
		err = errNotOwed
	}
	return row, f, err
}

// insist repeats a call for as long as the store has passing trouble.
func (e *Engine) insist(ctx context.Context, call func() error) error {
	for delay := time.Millisecond; ; delay = min(2*delay, maxPause) {
		err := call()
		if err == nil || !retryable(err) || !e.await(ctx, nil, delay) {
			return err
		}
	}
}

// runCallback calls back once.
func runCallback(ctx context.Context, policy Policy, row *provider.Instance) (err error) {
	ctx, cancel := context.WithTimeout(ctx, policy.Timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- policy.Callback(ctx, row)
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return err
}

// callbacks takes over, now and then, the callbacks that nodes which are gone
// owe.
func (e *Engine) callbacks(ctx context.Context) {
	wanted := e.o.Policy.Callback != nil
	for _, versions := range e.orchestrations {
		for i := range versions {
			wanted = wanted || versions[i].Policy.Callback != nil
		}
	}
	if !wanted {
		return
	}
	inspector, err := e.client.Inspector(ctx)
	if err != nil {
		return
	}
	amender, err := e.client.Amender(ctx)
	if err != nil {
		return
	}
	var seen map[provider.NodeKey]bool
	for n := 0; e.await(ctx, nil, e.o.Lease); n++ {
		if n%missedDeaths == 0 {
			seen = nil
		}
		alive, err := e.takeOverCallbacks(ctx, inspector, amender, seen)
		if seen = alive; err != nil && ctx.Err() == nil {
			e.o.Logger.Warn("callbacks of quarantines could not be looked for", "error", err)
		}
	}
}

// missedDeaths is after how many looks at the nodes the quarantined are looked at
// whatever the nodes are: one may have come and died in between.
const missedDeaths = 20

// takeOverCallbacks looks at everything that is quarantined, unless all nodes
// that were seen before are alive: who is to call back does not change by itself.
// It returns which are, or nil with an error.
func (e *Engine) takeOverCallbacks(ctx context.Context, inspector provider.Inspector, amender provider.Amender, seen map[provider.NodeKey]bool) (map[provider.NodeKey]bool, error) {
	nodes, err := inspector.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	alive := map[provider.NodeKey]bool{}
	for _, n := range nodes {
		if !n.Gone && !n.Dead {
			alive[n.Key] = true
		}
	}
	died := seen == nil
	for k := range seen {
		died = died || !alive[k]
	}
	if !died {
		return alive, nil
	}
	q := provider.Query{Statuses: []provider.Status{provider.Quarantined}}
	for more := true; more; more = q.After != 0 {
		page, err := inspector.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Instances {
			row := &page.Instances[i]
			f := provider.ParseTurnFailure(row.TurnFailure)
			policy := e.policyOf(row.Name, row.Version)
			node := e.nodeKey()
			if f.Notify == 0 || alive[f.Notify] || policy.Callback == nil || node == 0 || e.resolve(row.Name, row.Version) == nil {
				continue
			}
			f.Notify = node
			err := amender.Amend(ctx, provider.Amendment{To: provider.Target{Key: row.Key}, FailedAt: row.FailedAt, Failure: f.String()})
			if err == nil {
				e.callBack(ctx, row.Key, node, policy)
			}
		}
		q.After = page.Next
	}
	return alive, nil
}
