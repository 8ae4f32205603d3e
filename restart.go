package durango

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
)

// maxVacate bounds how often a start makes room for itself. It is only so often
// that others have the ID again before it has.
const maxVacate = 16

// createAs creates an instance. If the ID is taken it does what the policy says;
// what is there then is in the result, as from the store.
func (c *Client) createAs(ctx context.Context, n provider.NewInstance, policy IfExists) (provider.CreateResult, error) {
	if policy <= Reuse {
		return c.create(ctx, n)
	}
	store, err := c.inspector(ctx) // now, and not only on the day when the ID is taken
	if err != nil {
		return provider.CreateResult{}, err
	}
	for range maxVacate {
		r, err := c.create(ctx, n)
		switch {
		case err != nil || !errors.Is(r.Err, provider.ErrAlreadyExists):
			return r, err
		case len(r.Sent) > 0 && !errors.Is(r.Sent[0].Err, provider.ErrNotOpen):
			return r, nil // who is there has the message
		}
		vacated, err := c.vacate(ctx, store, provider.Target{Key: r.Key, ID: n.ID}, policy)
		if err != nil || !vacated {
			return r, err
		}
	}
	return c.create(ctx, n)
}

// vacate deletes the instance that has an ID, and reports whether it may be free
// now. It touches no other instance that has come to have the ID meanwhile,
// because the target has the key.
func (c *Client) vacate(ctx context.Context, store provider.Inspector, t provider.Target, policy IfExists) (bool, error) {
	old, err := store.Get(ctx, t)
	switch {
	case errors.Is(err, provider.ErrNotFound): // somebody was quicker
		return true, nil
	case err != nil:
		return false, fromStore(err)
	case old.Status.Open() && policy != Replace, old.Status == provider.Completed && policy == RestartFailed:
		return false, nil
	case old.Status.Open():
		if err := c.terminate(ctx, store, &old, "replaced"); err != nil && !errors.Is(err, ErrNotRunning) && !errors.Is(err, ErrNotFound) {
			return false, err
		}
	}
	err = c.remove(ctx, store, &old, true)
	if errors.Is(err, ErrNotFound) || errors.Is(err, provider.ErrInvalid) {
		err = nil // somebody was quicker, or has requeued a dead letter: look again
	}
	return err == nil, err
}

// remove deletes an instance that has ended, so that its ID can be used again:
// with the children that have derived IDs, which it would use again too, and
// with theirs. Those of them that are open are terminated, or, without end, an
// error before anything is deleted. The instance goes last: what is interrupted
// can be repeated. A dead letter that is requeued meanwhile may find its children
// gone, and is told so when it awaits them.
func (c *Client) remove(ctx context.Context, store provider.Inspector, i *provider.Instance, end bool) error {
	children, err := c.derived(ctx, store, i, end, nil)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := store.Delete(ctx, child, false); err != nil && !errors.Is(err, provider.ErrNotFound) {
			return fromStore(err)
		}
	}
	return fromStore(store.Delete(ctx, provider.Target{Key: i.Key, ID: i.ID}, false))
}

// derived appends the descendants of an ended instance that have derived IDs,
// children before their parents. Children of an instance that had the ID before
// and has been deleted alone are among them.
func (c *Client) derived(ctx context.Context, store provider.Inspector, i *provider.Instance, end bool, all []provider.Target) ([]provider.Target, error) {
	ours := map[provider.Key]bool{i.Key: true}
	for q := (provider.Query{Parent: i.ID}); ; {
		page, err := store.List(ctx, q)
		if err != nil {
			return nil, fromStore(err)
		}
		for j := range page.Instances {
			child := &page.Instances[j]
			if !hasDerivedID(child) {
				continue
			}
			parent := child.Parent.Key
			mine, known := ours[parent]
			if !known {
				_, err := store.Get(ctx, provider.Target{Key: parent})
				if mine = errors.Is(err, provider.ErrNotFound); err != nil && !mine {
					return nil, fromStore(err)
				}
				ours[parent] = mine
			}
			if !mine {
				continue
			}
			if child.Status.Open() {
				if !end {
					return nil, &storeError{ErrNotEnded, fmt.Errorf("its child %q has not ended, and would have the ID of another child; terminate it first", child.ID)}
				}
				err := c.terminate(ctx, store, child, "its parent was replaced")
				if errors.Is(err, ErrNotFound) {
					continue
				}
				if err != nil && !errors.Is(err, ErrNotRunning) {
					return nil, err
				}
			}
			if all, err = c.derived(ctx, store, child, end, all); err != nil {
				return nil, err
			}
			all = append(all, provider.Target{Key: child.Key, ID: child.ID})
		}
		if q.After = page.Next; q.After == 0 {
			return all, nil
		}
	}
}

// hasDerivedID reports whether an instance has an ID that its parent gives to a
// child without one; see childID.
func hasDerivedID(i *provider.Instance) bool {
	number, ok := strings.CutPrefix(i.ID, i.Parent.ID+"/"+strconv.FormatInt(i.Parent.Execution, 10)+".")
	n, err := strconv.ParseInt(number, 10, 64)
	return ok && err == nil && strconv.FormatInt(n, 10) == number
}

// terminate ends an open instance and tells its parent, and those who wait here.
func (c *Client) terminate(ctx context.Context, store provider.Inspector, i *provider.Instance, reason string) error {
	f := &history.Failure{Code: CodeTerminated, Message: "terminated", Final: true}
	if reason != "" {
		f.Message += ": " + reason
	}
	final := history.Event{Kind: history.Failed, Failure: f}
	outcome := history.AppendMessage(nil, &final)
	var notify []byte
	if i.Parent.Key != 0 {
		notice := engine.Notice(&final, i.Parent.Command)
		notify = history.AppendMessage(nil, &notice)
	}
	if err := store.Terminate(ctx, provider.Target{Key: i.Key, ID: i.ID}, outcome, notify); err != nil {
		return ofInstance(err)
	}
	c.c.Terminated(i.Key, outcome)
	return nil
}
