package sqlite

import (
	"context"
	"slices"

	"github.com/durango-go/durango/provider"
)

// FinishTasks implements [provider.Provider].
func (s *Store) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	errs := make([]error, len(batch))
	r := request{n: len(batch)}
	for i := range batch {
		r.bytes += 200 + len(batch[i].Message) + len(batch[i].Failure) + len(batch[i].Details)
	}
	r.run = func(w *writer, i int) (err error) {
		errs[i], err = w.finish(node, &batch[i])
		return err
	}
	r.fail = func(i int, err error) { errs[i] = err }
	if err := s.w.submit(ctx, "finish tasks", &r); err != nil {
		return nil, err
	}
	return errs, nil
}

func (w *writer) finish(node provider.NodeKey, f *provider.TaskFinish) (refused, err error) {
	t, err := heldTask(w.c, node, f.TaskRef)
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		return provider.ErrStale, nil
	case tooLarge(f.Message, f.Failure, f.Details):
		return provider.ErrTooLarge, nil
	}
	if err := w.useSession(t.Session, node); err != nil {
		return nil, err
	}
	if f.Message == nil {
		if f.GiveBack && node != 0 {
			claimed, err := readTask(w.c, w.s, taskKey{f.Instance, f.Command})
			if err != nil {
				return nil, err
			}
			if claimed.ClaimedExpired() {
				claimed.Failure, claimed.Details = nil, nil // as they are
				return nil, w.releaseTask(&claimed)
			}
		}
		t.VisibleAt, t.Parked, t.Failure, t.Details = f.VisibleAt, f.Park, f.Failure, f.Details
		if f.GiveBack {
			t.Attempt--
		}
		return nil, w.releaseTask(t)
	}
	// A task row exists only while its instance is open and in the same
	// execution, so somebody waits for the message.
	e, err := w.entry(f.Instance)
	if err != nil {
		return nil, err
	}
	w.touch(e, changedState)
	if err := w.removeTask(e, f.Command); err != nil {
		return nil, err
	}
	if err := w.refer(e, f.Blobs); err != nil {
		return nil, err
	}
	_, err = w.put(e, &provider.Mail{Execution: f.Execution, Command: f.Command, Payload: f.Message})
	return nil, err
}

// heldTask returns the task if the node holds it under that attempt, else nil.
// What is parked is held by those outside, who come as node zero.
func heldTask(c *conn, node provider.NodeKey, ref provider.TaskRef) (*provider.Task, error) {
	t, err := taskState(c, taskKey{ref.Instance, ref.Command})
	switch {
	case err != nil || t == nil:
		return nil, err
	case t.Execution != ref.Execution || t.Attempt != ref.Attempt || t.Holder != node:
		return nil, nil
	case node == 0 && !t.Parked:
		return nil, nil
	}
	return t, nil
}

// ExtendTasks implements [provider.Provider]. It writes only what says
// something.
func (s *Store) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	held := make([]bool, len(batch))
	for i := range batch {
		if tooLarge(batch[i].Details) || tooLarge(batch[i].Failure) {
			return nil, provider.ErrTooLarge
		}
	}
	said := func(b provider.TaskBeat) bool { return b.Details != nil || b.Failure != nil }
	if !slices.ContainsFunc(batch, said) {
		err := s.read(ctx, "extend tasks", func(c *conn) error {
			for i := range batch {
				t, err := heldTask(c, node, batch[i].TaskRef)
				if err != nil {
					return err
				}
				held[i] = t != nil
			}
			return nil
		})
		return held, err
	}
	r := request{n: len(batch)}
	r.run = func(w *writer, i int) error {
		b := &batch[i]
		t, err := heldTask(w.c, node, b.TaskRef)
		if held[i] = t != nil; err != nil || !held[i] || !said(*b) {
			return err
		}
		st := w.c.query(qTaskDetails, int64(b.Instance), b.Command)
		bindBytes(st, 3, b.Details)
		bindBytes(st, 4, b.Failure)
		return run(st)
	}
	if err := s.w.submit(ctx, "extend tasks", &r); err != nil {
		return nil, err
	}
	return held, nil
}
