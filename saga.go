package durango

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
)

// Saga collects how to undo what an orchestration has done. It is made by
// [RunSaga] and belongs to it.
type Saga struct {
	ctx   *Context
	undo  []func(*Context) error
	ended bool
	err   error // what it ended with
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
//
// An execution does not end while a saga in one of its coroutines is under way,
// though nobody waits for that coroutine any more. When the orchestration has
// returned, however it did, ctx ends for such a saga with [ErrCanceled], as it
// does for one that begins after that, and the execution waits until all have
// ended; a saga whose context is detached goes on to its own end. The instance
// then ends as the orchestration said, unless one of them was not compensated:
// then it fails, with a CompensationError whose Cause is what the orchestration
// returned.
func RunSaga[T any](ctx *Context, steps func(*Saga) (T, error)) (T, error) {
	ctx.x.m.Now() // only the running coroutine may touch what follows
	s := &Saga{ctx: ctx}
	ctx.x.sagas.begin(s)
	defer ctx.x.sagas.end(s)
	v, err := steps(s)
	if err != nil && !errors.Is(err, errContinued) {
		err = s.compensate(err)
	}
	s.ended, s.err = true, err
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
// too; afterwards it would never run, and fails the turn, and so does nil.
func (s *Saga) Add(undo func(*Context) error) {
	if undo == nil {
		s.ctx.x.fail(errors.New("a compensation that is nil was registered"))
	}
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

// sagas are those of an execution that are under way, the oldest first.
type sagas struct {
	open []*Saga
	// left: the orchestration has returned. idle, unless nil, opens when none is
	// under way any more.
	left bool
	idle *replay.Gate
	// failed are the errors of those that were not compensated since.
	failed []error
}

func (l *sagas) begin(s *Saga) {
	l.open = append(l.open, s)
	if l.left {
		s.withdraw()
	}
}

// end also comes for a saga of which the code recovered a panic.
func (l *sagas) end(s *Saga) {
	at := slices.Index(l.open, s)
	l.open = slices.Delete(l.open, at, at+1)
	if !l.left {
		return
	}
	if errors.Is(s.err, ErrNotCompensated) {
		// That of a saga within this one is part of this one's.
		l.failed = slices.DeleteFunc(l.failed, func(inner error) bool { return errors.Is(s.err, inner) })
		l.failed = append(l.failed, s.err)
	}
	if len(l.open) == 0 && l.idle != nil {
		l.idle.Open()
	}
}

func (s *Saga) withdraw() { s.ctx.scope.Withdraw("the orchestration has returned") }

// leave waits, when the orchestration has returned, until no saga is under way.
// It returns the errors of those that were not compensated, or nil. A history
// that was recorded when nobody waited ends as it did.
func (l *sagas) leave(m *replay.Machine, end history.Kind) []error {
	if len(l.open) == 0 || m.EndsWith(end) {
		return nil
	}
	l.left = true
	for _, s := range slices.Clone(l.open) {
		s.withdraw()
	}
	for len(l.open) > 0 {
		l.idle = m.NewGate()
		m.Wait(l.idle)
	}
	return l.failed
}

// abandoned is the error of an execution of which sagas were not compensated
// after the orchestration had returned err.
func abandoned(end history.Kind, err error, failed []error) error {
	switch end {
	case history.Completed:
		err = errors.New("the orchestration had returned its output")
	case history.ContinuedAsNew:
		err = errors.New("the orchestration had continued as new")
	}
	e := &CompensationError{Cause: err}
	for _, err := range failed {
		if saga := (*CompensationError)(nil); errors.As(err, &saga) {
			e.Failed = append(e.Failed, saga.Failed...)
		} else {
			e.Failed = append(e.Failed, err)
		}
	}
	return e
}
