package durango

import (
	"errors"
	"fmt"
	"strings"
)

// Saga collects how to undo what an orchestration has done. It is made by
// [RunSaga] and belongs to it.
type Saga struct {
	ctx   *Context
	undo  []func(*Context) error
	ended bool
}

// RunSaga runs steps that are undone together. When steps returns an error,
// because one failed or ctx has ended, the compensations registered with
// [Undo] and [Saga.Add] run one after another, the last one registered first,
// each whether or not another failed, and RunSaga returns that error. They run
// detached, so that neither a request to cancel nor a timeout stops them. Those
// that failed are joined with the error, as a [*CompensationError].
//
//	return durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
//		flight, err := BookFlight.Call(ctx, trip)
//		if err != nil {
//			return "", err
//		}
//		durango.Undo(saga, CancelFlight, flight)
//		return BookHotel.Call(ctx, trip)
//	})
//
// A step that was canceled, or whose worker was lost, may have had its effect:
// where it matters, register its compensation before the step, and let it find
// out whether there is something to undo. Continuing as new is no failure.
func RunSaga[T any](ctx *Context, steps func(*Saga) (T, error)) (T, error) {
	s := &Saga{ctx: ctx}
	v, err := steps(s)
	if err != nil && !errors.Is(err, errContinued) {
		err = s.compensate(err)
	}
	s.ended = true
	return v, err
}

// Undo registers, for an activity or a child that has done something, the one
// that undoes it, with its input.
func Undo[In, Out any](s *Saga, h interface {
	Name() string
	Call(*Context, In) (Out, error)
}, in In) {
	s.Add(func(ctx *Context) error {
		if _, err := h.Call(ctx, in); err != nil {
			return fmt.Errorf("undo with %q: %w", h.Name(), err)
		}
		return nil
	})
}

// Add registers a compensation. It is given a detached context. One that is
// registered while the saga compensates, by a coroutine that came late, runs
// too; afterwards it would never run, and fails the turn.
func (s *Saga) Add(undo func(*Context) error) {
	if s.ended {
		s.ctx.x.fail(errors.New("a compensation was registered after its saga had ended; await every step before the saga returns"))
	}
	s.undo = append(s.undo, undo)
}

// compensate runs what is registered, and returns what the saga returns.
func (s *Saga) compensate(cause error) error {
	var failed []error
	for len(s.undo) > 0 {
		last := len(s.undo) - 1
		undo := s.undo[last]
		s.undo = s.undo[:last]
		if err := undo(s.ctx.Detach()); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return cause
	}
	return &CompensationError{Cause: cause, Failed: failed}
}

// CompensationError is the error of a saga that could not undo all it had done.
// It matches [ErrNotCompensated] and, with errors.Is and errors.As, everything
// it holds. An instance that returns it ends as Failed, also when it was asked
// to cancel: somebody has to look after what is left.
type CompensationError struct {
	// Cause is why the saga was undone.
	Cause error
	// Failed are the errors of the compensations, in the order in which they
	// ran.
	Failed []error
}

func (e *CompensationError) Error() string {
	var b strings.Builder
	b.WriteString(e.Cause.Error())
	for _, err := range e.Failed {
		b.WriteString("; not compensated: " + err.Error())
	}
	return b.String()
}

// Unwrap returns the cause and the errors of the compensations.
func (e *CompensationError) Unwrap() []error { return append([]error{e.Cause}, e.Failed...) }

// Is makes every CompensationError match [ErrNotCompensated].
func (e *CompensationError) Is(target error) bool { return target == ErrNotCompensated }

func (e *CompensationError) errorCode() string { return CodeNotCompensated }
