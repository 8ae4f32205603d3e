package postgres

import (
	"context"
	"fmt"

	"github.com/durango-go/durango/provider"
)

// Terminate implements [provider.Inspector].
func (s *Store) Terminate(ctx context.Context, to provider.Target, outcome, notify []byte) error {
	return s.operate(ctx, "terminate", to, func(t *txn, e *entry) error {
		if tooLarge(outcome, notify) {
			return provider.ErrTooLarge
		}
		t.terminate(e, outcome, notify)
		return nil
	})
}

// Suspend implements [provider.Inspector].
func (s *Store) Suspend(ctx context.Context, to provider.Target) error {
	return s.operate(ctx, "suspend", to, func(t *txn, e *entry) error {
		t.suspend(e)
		return nil
	})
}

// Resume implements [provider.Inspector].
func (s *Store) Resume(ctx context.Context, to provider.Target) error {
	return s.operate(ctx, "resume", to, func(t *txn, e *entry) error {
		t.resume(e)
		return nil
	})
}

// Hold implements [provider.Holder].
func (s *Store) Hold(ctx context.Context, to provider.Target, reason string) error {
	return s.operate(ctx, "hold", to, func(t *txn, e *entry) error {
		switch {
		case reason != "" && e.Status.Runnable():
			e.FailedAt, e.failure = t.now, []byte(reason)
			t.suspend(e)
		case reason == "" && e.Status == provider.Suspended:
			t.resume(e)
			e.FailedAt = 0
		}
		return nil
	})
}

func (t *txn) suspend(e *entry) {
	e.Status, e.Owner, e.UpdatedAt = provider.Suspended, 0, t.now
	t.touch(e, changedState)
	t.wake(e)
}

func (t *txn) resume(e *entry) {
	e.Resume(t.now)
	t.touch(e, changedState)
	t.wake(e)
}

// Amend implements [provider.Amender].
func (s *Store) Amend(ctx context.Context, a provider.Amendment) error {
	var refused error
	r := request{n: 1, bytes: len(a.Failure)}
	r.needs = func(n *needs, _ int) { n.target(a.To) }
	r.run = func(t *txn, _ int) {
		refused = nil
		e := t.find(a.To)
		switch {
		case e == nil:
			refused = s.notFound("amend", a.To)
			return
		case !a.Fits(&e.Instance):
			refused = fmt.Errorf("postgres: amend %s: %w", e.ID, provider.ErrConflict)
			return
		}
		t.amend(e, &a)
	}
	if err := s.submit(ctx, "amend", &r); err != nil {
		return err
	}
	return refused
}

func (t *txn) amend(e *entry, a *provider.Amendment) {
	e.UpdatedAt = t.now
	t.touch(e, changedState)
	if a.Failure != "" {
		e.failure = []byte(a.Failure)
	}
	if !a.Resume {
		return
	}
	t.loud = true
	if e.DeadLetter() {
		e.DueAt, e.ClosedAt = 0, 0
		e.Outcome = []byte{} // nil would leave it as it is
	}
	t.resume(e)
}

// operate runs f on an open instance.
func (s *Store) operate(ctx context.Context, op string, to provider.Target, f func(t *txn, e *entry) error) error {
	var refused error
	r := request{n: 1}
	r.needs = func(n *needs, _ int) { n.end(to) }
	r.run = func(t *txn, _ int) {
		e := t.find(to)
		switch {
		case e == nil:
			refused = s.notFound(op, to)
			return
		case !e.Status.Open():
			refused = fmt.Errorf("postgres: %s %s: %w", op, e.ID, provider.ErrNotOpen)
			return
		}
		t.loud = true
		if refused = f(t, e); refused != nil {
			refused = fmt.Errorf("postgres: %s %s: %w", op, e.ID, refused)
		}
	}
	if err := s.submit(ctx, op, &r); err != nil {
		return err
	}
	return refused
}

// Delete implements [provider.Inspector].
func (s *Store) Delete(ctx context.Context, to provider.Target, force bool) error {
	if err := s.ready(ctx, "delete"); err != nil {
		return err
	}
	var refused error
	err := s.transact(ctx, func(ctx context.Context, x *tx) error {
		refused = nil
		n := &needs{}
		n.target(to)
		t := newTxn(s)
		if err := t.read(ctx, x, n); err != nil {
			return err
		}
		e := t.find(to)
		switch {
		case e == nil:
			refused = s.notFound("delete", to)
			return nil // once rolls back
		case e.Status.Open() && !force:
			refused = fmt.Errorf("postgres: delete %s: %w: it is open", e.ID, provider.ErrInvalid)
			return nil
		}
		trip := s.trip()
		for _, q := range []statement{qHistoryDelete, qMessagesDelete, qMessageIDsDelete, qValuesDelete, qRepliesDelete,
			qTasksDeleteAll, qInstanceDelete} {
			trip.add(q, e.shard, int64(e.Key))
		}
		trip.add(qBlobRefsLeave, s.allShards, int64(e.Key))
		trip.add(qBlobRefsClear, s.allShards, int64(e.Key))
		trip.add(qIDDelete, s.textShard(e.ID), e.ID, int64(e.Key))
		return x.commit(ctx, trip)
	})
	if err == nil {
		err = refused
	} else {
		err = s.fail(ctx, "delete", err)
	}
	if err == nil {
		s.announce()
	}
	return err
}
