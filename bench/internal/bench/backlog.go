package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/durango-go/durango/provider"
)

// backlogClaims is how many instances are claimed among those that sleep.
const backlogClaims = 200

// runBacklog measures what a store asks for while n instances sleep: a claim
// that finds nothing, one that finds the only instance that is due, its commit,
// and a page of the list. None of it may depend on n.
func runBacklog(e *env, n int) (_ *Sample, err error) {
	st, err := e.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	inspector, ok := st.Provider.(provider.Inspector)
	if !ok {
		return nil, errors.New("the store cannot be inspected")
	}
	node, err := st.Join(e, provider.NodeInfo{Name: "backlog"})
	if err != nil {
		return nil, err
	}
	d, err := st.Describe(e)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := fill(e, st, d.Now, n, "sleeper"); err != nil {
		return nil, err
	}
	filled := time.Since(began)
	definitions := []provider.Definition{{Name: "sleeper"}, {Name: "sleeper", Version: "1.0.0"}}
	done := int64(0)
	m := begin(st, func() int64 { return done })
	var idle, claims, commits, lists []time.Duration
	timed := func(into *[]time.Duration, call func() error) error {
		at := time.Now()
		err := call()
		*into = append(*into, time.Since(at))
		return err
	}
	for i := range backlogClaims {
		req := provider.ClaimRequest{Node: node, Definitions: definitions, Limit: 16}
		if err := timed(&idle, func() error { return claimed(e, st, req, 0, nil) }); err != nil {
			return nil, err
		}
		one := provider.NewInstance{Key: provider.NewKey(), ID: fmt.Sprint("due-", i), Name: "sleeper", Version: "1.0.0", Start: make([]byte, 100)}
		if err := create(e, st, 0, []provider.NewInstance{one}); err != nil {
			return nil, err
		}
		if err := timed(&claims, func() error { return claimed(e, st, req, 1, &one) }); err != nil {
			return nil, err
		}
		c := provider.Commit{Key: one.Key, CommitID: int64(i + 1), Expect: 1, ReadSeq: 1, Status: provider.Completed, Execution: 1,
			Name: "sleeper", Version: "1.0.0", HistoryFrom: 1, DueAt: provider.Never, Outcome: []byte("done"),
			Turn: &provider.Turn{Number: 1, Execution: 1, CommitID: int64(i + 1), Time: d.Now, Deliveries: 1, Commands: 1, Events: make([]byte, 100)}}
		err := timed(&commits, func() error {
			r, err := st.Commit(e, node, []provider.Commit{c})
			if err == nil {
				err = r[0].Err
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		err = timed(&lists, func() error {
			_, err := inspector.List(e, provider.Query{Statuses: []provider.Status{provider.Pending}, Limit: 100})
			return err
		})
		if err != nil {
			return nil, err
		}
		done++
	}
	s := m.end()
	s.add("filled_per_s", float64(n)/filled.Seconds())
	s.addTimes("idle_claim", idle)
	s.addTimes("claim", claims)
	s.addTimes("commit", commits)
	s.addTimes("list", lists)
	return s, nil
}

func create(e *env, st *store, node provider.NodeKey, batch []provider.NewInstance) error {
	results, err := st.Create(e, node, batch)
	for i := range results {
		err = errors.Join(err, results[i].Err)
	}
	return err
}

// claimed makes a claim that must find so many instances, and this one.
func claimed(e *env, st *store, req provider.ClaimRequest, want int, one *provider.NewInstance) error {
	r, err := st.Claim(e, req)
	if err != nil {
		return err
	}
	if len(r.Claimed) != want || one != nil && r.Claimed[0].Key != one.Key {
		return fmt.Errorf("%d instances claimed, not %d", len(r.Claimed), want)
	}
	return nil
}
