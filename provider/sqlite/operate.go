package sqlite

import (
	"context"
	"fmt"

	"github.com/durango-go/durango/provider"
)

// Terminate implements [provider.Inspector].
func (s *Store) Terminate(ctx context.Context, t provider.Target, outcome, notify []byte) error {
	return s.operate(ctx, "terminate", t, func(w *writer, e *entry) (refused, err error) {
		if tooLarge(outcome, notify) {
			return provider.ErrTooLarge, nil
		}
		return nil, w.terminate(e, outcome, notify)
	})
}

// Suspend implements [provider.Inspector].
func (s *Store) Suspend(ctx context.Context, t provider.Target) error {
	return s.operate(ctx, "suspend", t, func(w *writer, e *entry) (refused, err error) {
		w.suspend(e)
		return nil, nil
	})
}

// Resume implements [provider.Inspector].
func (s *Store) Resume(ctx context.Context, t provider.Target) error {
	return s.operate(ctx, "resume", t, func(w *writer, e *entry) (refused, err error) {
		w.resume(e)
		return nil, nil
	})
}

// Hold implements [provider.Holder].
func (s *Store) Hold(ctx context.Context, t provider.Target, reason string) error {
	return s.operate(ctx, "hold", t, func(w *writer, e *entry) (refused, err error) {
		switch {
		case reason != "" && e.Status.Runnable():
			e.FailedAt = w.now
			w.suspend(e)
			return nil, w.noteFailure(e, reason)
		case reason == "" && e.Status == provider.Suspended:
			w.resume(e)
			e.FailedAt = 0
		}
		return nil, nil
	})
}

func (w *writer) suspend(e *entry) {
	e.Status, e.Owner, e.UpdatedAt = provider.Suspended, 0, w.now
	w.touch(e, changedOwner)
	w.wake(e)
}

func (w *writer) resume(e *entry) {
	e.Resume(w.now)
	w.touch(e, changedState)
	w.wake(e)
}

// Amend implements [provider.Amender].
func (s *Store) Amend(ctx context.Context, a provider.Amendment) error {
	var refused error
	err := s.w.submit(ctx, "amend", &request{n: 1, bytes: len(a.Failure), run: func(w *writer, _ int) error {
		refused = nil
		e, err := w.find(a.To)
		switch {
		case err != nil:
			return err
		case e == nil:
			refused = s.notFound("amend", a.To)
			return nil
		case !a.Fits(&e.Instance):
			refused = fmt.Errorf("sqlite: amend %s: %w", e.ID, provider.ErrConflict)
			return nil
		}
		return w.amend(e, &a)
	}})
	if err != nil {
		return err
	}
	return refused
}

func (w *writer) amend(e *entry, a *provider.Amendment) error {
	e.UpdatedAt = w.now
	w.touch(e, changedTurn)
	if a.Failure != "" {
		if err := w.noteFailure(e, a.Failure); err != nil {
			return err
		}
	}
	if !a.Resume {
		return nil
	}
	if e.DeadLetter() {
		e.DueAt, e.ClosedAt, e.outcome = 0, 0, nil
		w.touch(e, changedEnd)
	}
	w.resume(e)
	return nil
}

// operate runs f on an open instance.
func (s *Store) operate(ctx context.Context, op string, t provider.Target, f func(w *writer, e *entry) (refused, err error)) error {
	var refused error
	err := s.w.submit(ctx, op, &request{n: 1, run: func(w *writer, _ int) error {
		e, err := w.find(t)
		switch {
		case err != nil:
			return err
		case e == nil:
			refused = s.notFound(op, t)
			return nil
		case !e.Status.Open():
			refused = fmt.Errorf("sqlite: %s %s: %w", op, e.ID, provider.ErrNotOpen)
			return nil
		}
		if refused, err = f(w, e); refused != nil {
			refused = fmt.Errorf("sqlite: %s %s: %w", op, e.ID, refused)
		}
		return err
	}})
	if err != nil {
		return err
	}
	return refused
}

// Delete implements [provider.Inspector].
func (s *Store) Delete(ctx context.Context, t provider.Target, force bool) error {
	var refused error
	err := s.w.submit(ctx, "delete", &request{n: 1, run: func(w *writer, _ int) error {
		e, err := w.find(t)
		switch {
		case err != nil:
			return err
		case e == nil:
			refused = s.notFound("delete", t)
			return nil
		case e.Status.Open() && !force:
			refused = fmt.Errorf("sqlite: delete %s: %w: it is open", e.ID, provider.ErrInvalid)
			return nil
		}
		refused = nil
		return w.delete(e)
	}})
	if err != nil {
		return err
	}
	return refused
}

// delete removes an instance with everything that belongs to it.
func (w *writer) delete(e *entry) error {
	if err := w.flush(); err != nil { // it may have been changed in this group
		return err
	}
	if err := w.deleteHistory(e); err != nil {
		return err
	}
	if err := w.deleteTasks(e); err != nil {
		return err
	}
	if err := w.unrefer(e); err != nil {
		return err
	}
	clear := []statement{qMessageIdDelete, qNotesDelete, qCursorDelete, qInstanceDelete}
	if e.extras&hasValues != 0 {
		clear = append(clear, qValueClear)
	}
	if e.extras&hasReplies != 0 {
		clear = append(clear, qReplyClear)
	}
	for _, q := range clear {
		if err := w.c.exec(q, int64(e.Key)); err != nil {
			return err
		}
	}
	delete(w.cache, e.Key)
	delete(w.byID, e.ID)
	return w.c.exec(qMessageConsume, int64(e.Key), e.MailboxSeq)
}
