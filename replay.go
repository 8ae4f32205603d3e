package durango

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
)

// CodeNotRegistered is the code of [ErrNotRegistered].
const CodeNotRegistered = "durango/not-registered"

// ErrNotRegistered says that a history is of an orchestration, or of a version
// of one, that the runtime has no code for.
var ErrNotRegistered error = &sentinel{CodeNotRegistered, "no code is registered for it"}

// CodeNondeterminism is the code of [ErrNondeterminism].
const CodeNondeterminism = "durango/nondeterminism"

// ErrNondeterminism says that the code asks for something else than a history
// records.
var ErrNondeterminism error = &sentinel{CodeNondeterminism, "the code asks for something else than is recorded"}

// ReplayError says where a history and the code for it part. It matches
// [ErrNondeterminism] if the code asks for something else than is recorded.
type ReplayError struct {
	// Instance is the ID of the instance whose history it is, Execution its
	// generation, Turn the number of the turn.
	Instance        string
	Execution, Turn int64
	// Name and Version are the orchestration's, as recorded.
	Name, Version string
	// Err says what differs, with the line of code that did it; or how the code
	// failed; or it matches [ErrNotRegistered].
	Err error
	// Explanation says more about a difference. It is nil where there is none.
	Explanation *Explanation
}

func (e *ReplayError) Error() string {
	return fmt.Sprintf("replay turn %d of instance %q (execution %d, orchestration %q %s): %v",
		e.Turn, e.Instance, e.Execution, e.Name, e.Version, e.Err)
}

// Unwrap returns what went wrong.
func (e *ReplayError) Unwrap() error { return e.Err }

// Is makes a difference match [ErrNondeterminism].
func (e *ReplayError) Is(target error) bool {
	var differs *replay.NondeterminismError
	return target == ErrNondeterminism && errors.As(e.Err, &differs)
}

// Replay runs the code registered with r over recorded turns, and checks that
// it asks for what they record. It tells whether this program could go on with
// an instance that another wrote: before an upgrade, or in a test.
//
// The turns are those of one instance, in order. They begin with the first
// turn of an execution, may go on over several, and may end anywhere. Each
// execution runs under the version that it recorded. Nothing happens but the
// code's own computation: no activity runs, no store is read or written, the
// runtime need not run. ctx is looked at between turns.
//
// The first difference is returned, as a *[ReplayError] unless the turns
// themselves are no history. Warnings are about payloads, times and versions
// that the code would now give differently; since the recorded ones stand,
// that is no error, but unless a type has changed it means that the code is
// not deterministic.
func (r *Runtime) Replay(ctx context.Context, turns []history.Turn) (warnings []string, err error) {
	p := replayer{guess: true}
	defer func() { p.close() }()
	p.again = func(from int64) iter.Seq[*history.Turn] {
		return func(yield func(*history.Turn) bool) {
			for i := range turns {
				if turns[i].Number >= from && !yield(&turns[i]) {
					return
				}
			}
		}
	}
	for i := range turns {
		t := &turns[i]
		if err := ctx.Err(); err != nil {
			return p.warnings, fmt.Errorf("replay: %w", err)
		}
		if i > 0 && t.Number != turns[i-1].Number+1 {
			return p.warnings, fmt.Errorf("replay: turn %d follows turn %d: %w", t.Number, turns[i-1].Number, history.ErrCorrupt)
		}
		if err := p.turn(r, t); err != nil {
			return p.warnings, err
		}
	}
	p.close()
	return p.warnings, nil
}

// replayer is a replay under way.
type replayer struct {
	at       ReplayError // where it is
	m        *replay.Machine
	code     replay.Code
	first    int64 // turn of the execution
	warnings []string
	// again yields the turns from a number on, once more.
	again func(from int64) iter.Seq[*history.Turn]
	// guess lets an explanation run code with made-up results.
	guess bool
}

func (p *replayer) turn(r *Runtime, t *history.Turn) error {
	p.at.Turn = t.Number
	if p.m == nil || t.Execution != p.at.Execution {
		if p.m != nil {
			if end := p.m.Final(); end == nil || end.Kind != history.ContinuedAsNew {
				return p.fail(errors.New("another execution follows one that did not continue as new"))
			}
		}
		if err := p.begin(r, t); err != nil {
			return err
		}
	}
	err := p.m.Replay(t)
	if err == nil {
		return nil
	}
	var differs *replay.NondeterminismError
	if errors.As(err, &differs) {
		p.at.Explanation = explanation(replay.Explain(p.code, p.execution(), differs, p.guess))
	}
	return p.fail(err)
}

// execution yields the turns of the execution that is being replayed.
func (p *replayer) execution() iter.Seq[*history.Turn] {
	return func(yield func(*history.Turn) bool) {
		for t := range p.again(p.first) {
			if t.Execution != p.at.Execution || !yield(t) {
				return
			}
		}
	}
}

// begin makes the machine for the execution that t is the first turn of.
func (p *replayer) begin(r *Runtime, t *history.Turn) error {
	p.close()
	if len(t.Deliveries) == 0 || t.Deliveries[0].Kind != history.Started {
		return fmt.Errorf("replay: turn %d does not begin execution %d: %w", t.Number, t.Execution, history.ErrCorrupt)
	}
	started := &t.Deliveries[0]
	p.at = ReplayError{
		Instance: started.Target, Execution: t.Execution, Turn: t.Number, Name: started.Name, Version: started.Version,
	}
	r.mu.Lock()
	code := r.engine.Code(started.Name, started.Version)
	r.mu.Unlock()
	if code == nil {
		return p.fail(ErrNotRegistered)
	}
	p.m, p.code, p.first = replay.New(code), code, t.Number
	return nil
}

// close ends the execution's machine and keeps what it warned of.
func (p *replayer) close() {
	if p.m != nil {
		p.warnings = append(p.warnings, p.m.Warnings()...)
		p.m.Close()
		p.m = nil
	}
}

func (p *replayer) fail(err error) error {
	at := p.at
	at.Err = err
	return &at
}
