package durango

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/internal/replay"
)

// Activity is the handle of an activity: a durable name with the types of its
// input and output. Orchestrations call it; a node that is to run it registers
// what [Activity.Bind] returns.
type Activity[In, Out any] struct{ d *declaration }

// NewActivity declares an activity. The name is what the store keeps: at most
// 255 bytes without control characters, and not beginning with "durango/".
func NewActivity[In, Out any](name string) Activity[In, Out] {
	return Activity[In, Out]{declare("activity", name)}
}

// DefineActivity declares an activity and binds it, in one line.
func DefineActivity[In, Out any](name string, fn func(context.Context, In) (Out, error)) BoundActivity[In, Out] {
	return NewActivity[In, Out](name).Bind(fn)
}

// Name returns the declared name.
func (a Activity[In, Out]) Name() string { return a.d.or().name }

// With returns a copy of the handle with o's non-zero fields put over the
// handle's own.
func (a Activity[In, Out]) With(o CallOptions) Activity[In, Out] {
	return Activity[In, Out]{a.d.with(o)}
}

// Bind names the function that runs the activity. It may do anything, and runs
// at least once. It gets a plain context.Context, which ends when the result of
// the attempt does not count any more; [context.Cause] says why:
//
//	ErrCanceled    the orchestration canceled the activity, or has ended; or it
//	               was completed from outside: there is no other attempt
//	ErrTimeout     the attempt's time is over, or it was silent for too long; the
//	               policy decides about another
//	ErrDraining    the node shuts down: the attempt begins again on the next
//	ErrWorkerLost  the node has lost it, as when it was declared dead or somebody
//	               has stopped the instance: another attempt may be under way
func (a Activity[In, Out]) Bind(fn func(context.Context, In) (Out, error)) BoundActivity[In, Out] {
	return BoundActivity[In, Out]{Activity: a, fn: fn}
}

// Call schedules the activity and waits for its result.
func (a Activity[In, Out]) Call(ctx *Context, in In) (Out, error) {
	op, err := a.schedule(ctx, &in)
	if err != nil {
		return *new(Out), err
	}
	return awaitResult[Out](ctx, a.d, op)
}

// Go schedules the activity and returns the future of its result.
func (a Activity[In, Out]) Go(ctx *Context, in In) *Future[Out] {
	op, err := a.schedule(ctx, &in)
	return resultFuture[Out](a.d, op, err)
}

func (a Activity[In, Out]) schedule(ctx *Context, in *In) (*replay.Op, error) {
	d := a.d.or()
	if d.problem != nil {
		return nil, fmt.Errorf("call activity %q: %w", d.name, d.problem)
	}
	payload, blobs, err := encodeIn(ctx.x, "input of activity", d.name, in)
	if err != nil {
		return nil, err
	}
	if err := ctx.fits(&sizedActivityInput, d.name, d.limits, len(payload)); err != nil {
		return nil, fmt.Errorf("call activity %q: %w", d.name, err)
	}
	e := history.Event{
		Kind: history.ActivityScheduled, Name: d.name, Payload: payload, Blobs: blobs,
		Pool: d.opts.Pool, Session: d.opts.Session, Policy: d.policy,
	}
	if d.opts.ScheduleToClose > 0 || d.opts.ScheduleToStart > 0 {
		e.Time = ctx.x.m.Now() // whoever recovers the activity counts from here
	}
	return ctx.scope.Emit(e), nil
}

// BoundActivity is an activity with its function. It is a handle, and can be
// registered.
type BoundActivity[In, Out any] struct {
	Activity[In, Out]
	fn func(context.Context, In) (Out, error)
}

// Definition says that this is an activity, and which.
func (b BoundActivity[In, Out]) Definition() Definition {
	return Definition{Kind: "activity", Name: b.Name()}
}

func (b BoundActivity[In, Out]) register(r *registry) {
	d := b.d.or()
	if b.fn == nil {
		r.problem(d, "it is bound to no function")
	}
	env := r.env.within(d.limits)
	r.activity(d, engine.Activity{
		Name: d.name, Pool: d.opts.Pool, MaxConcurrent: d.opts.MaxConcurrent, Rate: d.opts.MaxPerSecond,
		Run: func(ctx context.Context, a *engine.Attempt) ([]byte, *history.Failure) { return b.run(ctx, env, a) },
	})
}

// run is one attempt.
func (b BoundActivity[In, Out]) run(ctx context.Context, env *environment, a *engine.Attempt) (result []byte, failure *history.Failure) {
	defer func() {
		if p := recover(); p != nil {
			result, failure = nil, env.failure(a, panicFailure(p, debug.Stack()))
		}
	}()
	a.Env = env
	var out Out
	var err error
	if len(env.activities) == 0 {
		out, err = b.call(ctx, env, a)
	} else {
		out, err = b.intercepted(ctx, env, a)
	}
	if err != nil {
		return nil, env.failure(a, plainFailure(err))
	}
	var held held
	if result, held, err = encodeWith(env.blobs, env.codec, "output of activity", a.Name, &out); err == nil {
		env.bounds.count(&sizedActivityOutput, len(result))
		err = env.bounds.measure(&sizedActivityOutput, a.Name, nil, len(result))
	}
	if err == nil {
		if err = env.blobs.put(ctx, held); err != nil {
			return nil, toFailure(env.codec, err)
		}
		a.Blobs = held.blobs
	}
	if err != nil {
		failure = toFailure(env.codec, err)
		failure.Final = true
		return nil, failure
	}
	return result, nil
}

// failure is f as it is stored. The types that a policy names are looked for
// before the codec takes them away.
func (env *environment) failure(a *engine.Attempt, f *history.Failure) *history.Failure {
	if env.codec != nil && a.NonRetryable(f) {
		f.Final = true
	}
	return seal(env.codec, f)
}

func (b BoundActivity[In, Out]) call(ctx context.Context, env *environment, a *engine.Attempt) (Out, error) {
	var in In
	if err := decode(env.codec, a.Input, &in); err != nil {
		return *new(Out), NonRetryable(decodeError[In](fmt.Sprintf("input of activity %q", a.Name), err))
	}
	bind(env.blobs, &in)
	return b.fn(ctx, in)
}

// intercepted is call inside of the interceptors.
func (b BoundActivity[In, Out]) intercepted(ctx context.Context, env *environment, a *engine.Attempt) (out Out, err error) {
	err = intercept(env.activities, ctx, infoOf(a), func(ctx context.Context) (err error) {
		out, err = b.call(ctx, env, a)
		return err
	})
	return out, err
}

// maxStack bounds the stack kept of a panic.
const maxStack = 12 << 10

// panicFailure is a panic as it is stored. It may be retried, as the policy
// says; its cause is kept when it is an error.
func panicFailure(p any, stack []byte) *history.Failure {
	f := &history.Failure{Code: CodePanic, Message: shorten(fmt.Sprintf("panic: %v", p), maxMessage)}
	f.Detail, _ = json.Marshal(struct {
		Stack string `json:"stack"`
	}{shorten(string(stack), maxStack)})
	if err, ok := p.(error); ok {
		f.Cause = plainFailure(err)
	}
	return f
}
