package durango

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// Orchestration is the handle of an orchestration: a durable name with the
// types of its input and output. Clients start it, other orchestrations call
// it; a node that is to run it registers what [Orchestration.Bind] returns.
//
// NewOrchestration[json.RawMessage, json.RawMessage](name) is the untyped
// handle of any orchestration.
type Orchestration[In, Out any] struct{ d *declaration }

// NewOrchestration declares an orchestration. The name is what the store keeps:
// at most 255 bytes without control characters, and not beginning with
// "durango/".
func NewOrchestration[In, Out any](name string) Orchestration[In, Out] {
	return Orchestration[In, Out]{declare("orchestration", name)}
}

// DefineOrchestration declares an orchestration and binds it, in one line. One
// that refers to itself is declared with [NewOrchestration] and bound with
// [Orchestration.Bind]: a package-level variable must not mention itself.
func DefineOrchestration[In, Out any](name string, fn func(*Context, In) (Out, error)) BoundOrchestration[In, Out] {
	return NewOrchestration[In, Out](name).Bind(fn)
}

// Name returns the declared name.
func (o Orchestration[In, Out]) Name() string { return o.d.or().name }

// With returns a copy of the handle with c's non-zero fields put over the
// handle's own.
func (o Orchestration[In, Out]) With(c CallOptions) Orchestration[In, Out] {
	return Orchestration[In, Out]{o.d.with(c)}
}

// Bind names the function that runs version 1.0.0 of the orchestration. It
// must be deterministic: everything that can differ between two runs (time,
// randomness, I/O, other goroutines, the order of a map) goes through ctx or
// an activity.
func (o Orchestration[In, Out]) Bind(fn func(*Context, In) (Out, error)) BoundOrchestration[In, Out] {
	return o.BindVersion(DefaultVersion, fn)
}

// BindVersion names the function that runs one version, as in "2.0.0".
// Executions keep the version they started with; several versions may be
// registered side by side.
func (o Orchestration[In, Out]) BindVersion(version string, fn func(*Context, In) (Out, error)) BoundOrchestration[In, Out] {
	return BoundOrchestration[In, Out]{Orchestration: o, version: version, fn: fn}
}

// Start starts an instance and returns its run. When the ID is taken it
// returns the run that has it, with an error that matches [ErrAlreadyExists]
// unless the handle says otherwise ([CallOptions.IfExists]). A call that failed
// for another reason may be repeated with the same ID; with [Restart] and its
// like the repetition may find that the first call has started an instance, and
// start another after it.
func (o Orchestration[In, Out]) Start(ctx context.Context, s Sender, id string, in In) (*Run[Out], error) {
	d := o.d.or()
	if id == "" {
		id = d.opts.ID
	}
	var run *Run[Out]
	var err error
	if !senderOr(s).client().intercepted() {
		run, err = o.start(ctx, s, d, id, &in, nil)
	} else {
		run, err = o.startIntercepted(ctx, s, d, id, &in)
	}
	if err != nil {
		return run, fmt.Errorf("start orchestration %q: %w", d.name, err)
	}
	return run, nil
}

var errNothingStarted = errors.New("an interceptor says that nothing failed, but nothing was started")

// startIntercepted is start inside of the client's interceptors.
func (o Orchestration[In, Out]) startIntercepted(ctx context.Context, s Sender, d *declaration, id string, in *In) (run *Run[Out], err error) {
	call := &ClientCall{Kind: CallStart, Name: d.name, Instance: id}
	err = s.client().intercept(ctx, call, func(ctx context.Context) (err error) {
		run, err = o.start(ctx, s, d, id, in, call.Header)
		return err
	})
	if err == nil && run == nil {
		err = errNothingStarted
	}
	return run, err
}

func (o Orchestration[In, Out]) start(ctx context.Context, s Sender, d *declaration, id string, in *In, header map[string]string) (*Run[Out], error) {
	s = senderOr(s)
	n, err := newInstance(ctx, s.client(), d, id, in, header)
	if err != nil {
		return nil, err
	}
	res, err := s.createAs(ctx, n, d.opts.IfExists)
	if err == nil {
		err = s.client().sizeError(ctx, res.Err, &sizedOrchestrationInput, d.name, len(n.Start))
	}
	run := &Run[Out]{c: s.client(), t: provider.Target{Key: res.Key, ID: id}}
	switch {
	case err == nil:
		return run, nil
	case errors.Is(err, provider.ErrAlreadyExists) && d.opts.IfExists == Reuse:
		return run, run.isOf(ctx, d.name)
	case errors.Is(err, provider.ErrAlreadyExists):
		return run, &AlreadyExistsError{ID: id}
	}
	return nil, fmt.Errorf("instance %q: %w", id, fromStore(err))
}

// isOf fails if the instance is of another orchestration, whose output would be
// read as this one's. It does not look if the store cannot be inspected.
func (r *Run[T]) isOf(ctx context.Context, name string) error {
	store, err := r.c.inspector(ctx)
	if err != nil {
		return nil
	}
	i, err := store.Get(ctx, r.t)
	switch {
	case errors.Is(err, provider.ErrNotFound): // it has been deleted since
		return nil
	case err != nil:
		return fmt.Errorf("instance %q: %w", r.t.ID, fromStore(err))
	case i.Name != name:
		return &AlreadyExistsError{ID: r.t.ID, Name: i.Name}
	}
	return nil
}

// newInstance is an instance to be created by a client.
func newInstance[In any](ctx context.Context, c *Client, d *declaration, id string, in *In, header map[string]string) (provider.NewInstance, error) {
	if err := d.startable(); err != nil {
		return provider.NewInstance{}, err
	}
	if err := checkID(id); err != nil {
		return provider.NewInstance{}, err
	}
	payload, blobs, err := encodeFor(ctx, c, "input of", d.name, in)
	if err == nil {
		err = c.fits(ctx, &sizedOrchestrationInput, d.name, d.limits, len(payload))
	}
	if err == nil {
		err = checkHeader(d.name, header)
	}
	if err != nil {
		return provider.NewInstance{}, err
	}
	started := history.Event{
		Kind: history.Started, Name: d.name, Version: d.opts.Version, Target: id, Payload: payload, Blobs: blobs, Header: header,
	}
	n := provider.NewInstance{
		ID: id, Name: d.name, Version: d.opts.Version,
		Start: history.AppendMessage(nil, &started), Blobs: blobs,
	}
	n.NotBefore = toNano(d.opts.StartAt)
	return n, nil
}

// Run returns the run of an instance that was started elsewhere. It does not
// look whether there is one.
func (o Orchestration[In, Out]) Run(c *Client, id string) *Run[Out] {
	return &Run[Out]{c: c, t: provider.Target{ID: id}}
}

// Startable is what instances can be started of: an [Orchestration], or a
// [BoundOrchestration].
type Startable[In, Out any] interface {
	Start(ctx context.Context, s Sender, id string, in In) (*Run[Out], error)
	handle() Orchestration[In, Out]
}

func (o Orchestration[In, Out]) handle() Orchestration[In, Out] { return o }

// BoundOrchestration is an orchestration with the function of one version. It
// is a handle, and can be registered.
type BoundOrchestration[In, Out any] struct {
	Orchestration[In, Out]
	version    string
	fn         func(*Context, In) (Out, error)
	quarantine QuarantinePolicy
}

// Definition says that this is an orchestration, and which version of which.
func (b BoundOrchestration[In, Out]) Definition() Definition {
	return Definition{Kind: "orchestration", Name: b.Name(), Version: b.version}
}

func (b BoundOrchestration[In, Out]) register(r *registry) {
	d := b.d.or()
	if b.fn == nil {
		r.problem(d, "it is bound to no function")
	}
	if err := b.quarantine.check(); err != nil {
		r.problem(d, err.Error())
	}
	r.orchestration(d, engine.Orchestration{Name: d.name, Version: b.version, Code: b.code(r.env), Policy: b.quarantine.engine()})
}

// code is the orchestration as the engine runs it: from the event that started
// an execution to the command that ends it. What it panics with fails the
// turn; the instance goes on once the program has been corrected.
func (b BoundOrchestration[In, Out]) code(env *environment) replay.Code {
	return func(m *replay.Machine, started *history.Event) history.Event {
		x := newExecution[In, Out](m, started, env)
		x.own = b.d.or().limits
		var in In
		if err := decode(x.codec, started.Payload, &in); err != nil {
			x.fail(decodeError[In](fmt.Sprintf("input of orchestration %q", started.Name), err))
		}
		if len(env.orchestrations) == 0 {
			out, err := b.fn(&x.root, in)
			return finish(x, &out, err)
		}
		return b.intercepted(x, in)
	}
}

// intercepted runs the code of an execution inside of the interceptors.
func (b BoundOrchestration[In, Out]) intercepted(x *execution, in In) history.Event {
	var out Out
	err := intercept(x.env.orchestrations, &x.root, x.info, func(ctx *Context) (err error) {
		out, err = b.fn(ctx, in)
		return err
	})
	return finish(x, &out, err)
}

// finish turns what an orchestration returned into the command that ends its
// execution, once no saga is under way.
func finish[Out any](x *execution, out *Out, err error) history.Event {
	final := history.Event{Kind: history.Failed}
	switch root := x.m.Root(); {
	case x.fatal != nil: // user code recovered it
		panic(x.fatal)
	case x.next != nil && !errors.Is(err, errContinued):
		panic(fmt.Errorf("orchestration %q called ContinueAsNew and returned something else (%T, %v); "+
			"return what ContinueAsNew returned", x.info.Name, *out, err))
	case x.next != nil:
		final = *x.next
	case err == nil:
		final.Kind = history.Completed
	case root.Canceled() && errors.Is(err, ErrCanceled) && !errors.Is(err, ErrNotCompensated):
		final = history.Event{Kind: history.Canceled, Text: root.Reason()}
	}
	if failed := x.sagas.leave(x.m, final.Kind); len(failed) > 0 {
		err = abandoned(final.Kind, err, failed)
		final = history.Event{Kind: history.Failed}
	}
	switch {
	case x.fatal != nil: // while sagas came to their end
		panic(x.fatal)
	case final.Kind == history.Failed:
		final.Failure = toFailure(x.codec, err)
	case final.Kind == history.Completed:
		if final.Payload, final.Blobs, err = encodeIn(x, "output of orchestration", x.info.Name, out); err != nil {
			panic(err)
		}
		if x.m.Live() {
			x.limit(&sizedOrchestrationOutput, len(final.Payload))
		}
	}
	return final
}
