package durango

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// Update is the handle of an update: a request to a running instance that is
// validated, handled by its code, and answered. The caller waits for the
// answer.
type Update[In, Out any] struct {
	d  *declaration
	id string
}

// NewUpdate declares an update. The name is what the store keeps: at most 255
// bytes without control characters, and not beginning with "durango/".
func NewUpdate[In, Out any](name string) Update[In, Out] {
	return Update[In, Out]{d: declare("update", name)}
}

// Name returns the declared name.
func (u Update[In, Out]) Name() string { return u.d.or().name }

// With returns a copy of the handle that calls with o. With an ID a call can be
// repeated: an instance handles the request once, and answers again what it
// has answered, for at least a day. One ID is one request: with another update it
// is [ErrInvalid].
func (u Update[In, Out]) With(o SendOptions) Update[In, Out] {
	u.id = o.ID
	return u
}

// Handle has fn answer the requests of this kind, each in a coroutine of its
// own, for as long as the execution lasts. An orchestration calls it before it
// waits for anything: a request that comes while there is no handler is refused
// with [ErrNoHandler]. Another handler of the same name fails the turn, and so
// does a panic of fn. When the execution ends, also by continuing as new, requests
// that were not answered are, with [ErrNotRunning]; [Context.AwaitUpdates] waits
// for them before.
//
// The validators see a request before anything is recorded: the first error of
// one is the answer, and leaves no trace in the history. They may look at what
// the orchestration knows, and at ctx as far as reading goes ([Value.Get],
// [Context.Now]), and must change nothing. A panic in one is an answer too.
func (u Update[In, Out]) Handle(ctx *Context, fn func(*Context, In) (Out, error), validators ...func(In) error) {
	d, x := u.d.or(), ctx.x
	if d.problem != nil {
		x.fail(fmt.Errorf("handle update %q: %w", d.name, d.problem))
	}
	validate := func(e *history.Event) *history.Failure {
		var in In
		if err := decode(x.codec, e.Payload, &in); err != nil {
			return toFailure(x.codec, decodeError[In](fmt.Sprintf("request of update %q", d.name), err))
		}
		for _, valid := range validators {
			if err := valid(in); err != nil {
				return toFailure(x.codec, err)
			}
		}
		return nil
	}
	handle := func(e *history.Event) {
		var in In
		if err := decode(x.codec, e.Payload, &in); err != nil {
			x.fail(decodeError[In](fmt.Sprintf("the recorded request of update %q", d.name), err))
		}
		inner := &Context{x, ctx.scope.Child()}
		out, err := fn(inner, in)
		answer := history.Event{Kind: history.UpdateAnswered, Name: d.name, Text: e.Text}
		if err == nil {
			answer.Payload, answer.Blobs, err = encodeIn(x, "answer of update", d.name, &out)
		}
		if err == nil {
			err = inner.fits(&sizedAnswer, d.name, d.limits, len(answer.Payload))
		}
		if err != nil {
			answer.Payload = nil
		}
		answer.Failure = toFailure(x.codec, err)
		inner.scope.Emit(answer)
		inner.scope.Close()
	}
	if !x.m.Handle(d.name, validate, handle) {
		x.fail(fmt.Errorf("update %q has a handler already", d.name))
	}
}

// AwaitUpdates waits until every request that a handler has accepted is
// answered, those that come meanwhile included. An orchestration calls it before
// it continues as new or ends, where its callers are not to be told that it ended
// without an answer; a handler, which would wait for itself, does not. Requests
// are accepted until the end, also while it waits for sagas ([RunSaga]). When ctx
// ends before that it returns the error of [Context.Err].
func (ctx *Context) AwaitUpdates() error {
	return ctx.Until(func() bool {
		for range ctx.x.m.OpenUpdates {
			return false
		}
		return true
	})
}

// Call sends a request to an instance and waits for the answer. Its error is
// the handler's or a validator's, or matches [ErrNotFound] if there is no such
// instance, [ErrNotRunning] if it has ended or ends without an answer, or
// [ErrNoHandler]. When ctx ends first the request may still be handled; with
// [SendOptions.ID] it can be repeated. One that ErrNotRunning answered because the
// instance continued as new needs a new ID to be asked again.
func (u Update[In, Out]) Call(ctx context.Context, c *Client, instance string, in In) (Out, error) {
	call := &ClientCall{Kind: CallUpdate, Name: u.Name(), Instance: instance}
	var out Out
	err := c.intercept(ctx, call, func(ctx context.Context) (err error) {
		out, err = u.call(ctx, c, instance, in)
		return err
	})
	var answered *Error
	if err != nil && !errors.As(err, &answered) {
		err = fmt.Errorf("update %q of instance %q: %w", u.Name(), cut(instance, 64), err)
	}
	return out, err
}

func (u Update[In, Out]) call(ctx context.Context, c *Client, instance string, in In) (out Out, err error) {
	d, id := u.d.or(), u.id
	if d.problem != nil {
		return out, d.problem
	}
	if err := checkID(instance); err != nil {
		return out, err
	}
	if id == "" {
		id = NewID()
	} else if err := checkText("request ID", id, MaxIDLength); err != nil {
		return out, err
	}
	codec := c.codecOf()
	payload, blobs, err := encodeFor(ctx, c, "request of update", d.name, &in)
	if err != nil {
		return out, err
	}
	if err := c.fits(ctx, &sizedRequest, d.name, d.limits, len(payload)); err != nil {
		return out, err
	}
	request := history.Event{Kind: history.UpdateRequested, Name: d.name, Text: id, Payload: payload, Blobs: blobs}
	f, err := c.request(ctx, provider.Message{
		To: provider.Target{ID: instance}, ID: "durango/update/" + id, Payload: history.AppendMessage(nil, &request), Blobs: blobs,
	}, id)
	if err != nil {
		return out, c.sizeError(ctx, err, &sizedRequest, d.name, len(payload))
	}
	if !f.Found {
		return out, ErrNotRunning
	}
	answer, err := history.DecodeMessage(f.Payload)
	if err != nil {
		return out, fmt.Errorf("answer: %w", err)
	}
	if answer.Name != "" && answer.Name != d.name {
		return out, invalid("request ID", id, fmt.Sprintf("the instance has handled a request of update %q with it", answer.Name))
	}
	if answer.Failure != nil {
		return out, fromFailure(codec, answer.Failure)
	}
	if err := decode(codec, answer.Payload, &out); err != nil {
		return *new(Out), decodeError[Out](fmt.Sprintf("answer of update %q", d.name), err)
	}
	bind(c.blobs, &out)
	return out, nil
}
