package durango

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// Signal is the handle of a signal: a typed, named message to one instance.
// Signals wait in a durable mailbox until the instance consumes them, also if
// they were sent before it asked, and across continue-as-new; those of one
// name from one sender are consumed in the order in which they were sent.
type Signal[T any] struct {
	d  *declaration
	id string
}

// NewSignal declares a signal. The name is what the store keeps: at most 255
// bytes without control characters, and not beginning with "durango/".
func NewSignal[T any](name string) Signal[T] {
	return Signal[T]{d: declare("signal", name)}
}

// Name returns the declared name.
func (s Signal[T]) Name() string { return s.d.or().name }

// SendOptions change how a signal is sent.
type SendOptions struct {
	// ID makes sending safe to repeat: an instance accepts a signal with a
	// given name and ID once, for as long as it lives. Zero: every send counts.
	ID string
}

// With returns a copy of the handle that sends with o.
func (s Signal[T]) With(o SendOptions) Signal[T] {
	s.id = o.ID
	return s
}

// Next returns the future of the next signal. The signal is consumed by the
// Await or Select that returns it, and not before: a future that loses, or is
// dropped, takes nothing. A signal that does not decode into T is consumed
// with an error that matches [ErrDecode].
func (s Signal[T]) Next(ctx *Context) *Future[T] {
	d := s.d.or()
	if d.problem != nil {
		return settled[T](d.problem)
	}
	return &Future[T]{src: ctx.x.m.Signals(d.name), d: d}
}

// TryNext returns the next signal if there is one: ok says so. It does not wait,
// and consumes what it returns, also with an error that matches [ErrDecode].
// Once ctx has ended it consumes nothing and returns the error of
// [Context.Err].
func (s Signal[T]) TryNext(ctx *Context) (v T, ok bool, err error) {
	f := s.Next(ctx)
	if err := ctx.Err(); err != nil {
		return v, false, err
	}
	if !f.Ready() {
		return v, false, nil
	}
	v, err = f.Await(ctx)
	return v, f.src != nil, err
}

// All ranges over the signals as they come, until ctx ends; [Context.Err] says
// why it did. Each is consumed when the loop gets it, and not before; err is
// that of a signal that does not decode into T.
//
//	for v, err := range Deposits.All(ctx) {
func (s Signal[T]) All(ctx *Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			f := s.Next(ctx)
			if ctx.Select(f) == nil || !yield(f.value, f.err) {
				return
			}
			if f.src == nil { // a name that cannot be used
				return
			}
		}
	}
}

// Send sends a signal to an instance. It returns when the signal is stored. Its
// error matches [ErrNotFound] if there is no such instance and [ErrNotRunning]
// if it has ended.
func (s Signal[T]) Send(ctx context.Context, to Sender, instance string, v T) error {
	to = senderOr(to)
	var err error
	if c := to.client(); !c.intercepted() {
		err = s.send(ctx, to, instance, &v)
	} else {
		call := &ClientCall{Kind: CallSend, Name: s.Name(), Instance: instance}
		err = c.intercept(ctx, call, func(ctx context.Context) error { return s.send(ctx, to, instance, &v) })
	}
	if err != nil {
		return fmt.Errorf("send signal %q to instance %q: %w", s.Name(), cut(instance, 64), err)
	}
	return nil
}

func (s Signal[T]) send(ctx context.Context, to Sender, instance string, v *T) error {
	e, err := s.toSend(ctx, to.client(), instance, v)
	if err != nil {
		return err
	}
	res, err := to.send(ctx, provider.Message{
		To: provider.Target{ID: instance}, ID: s.messageID(), Payload: history.AppendMessage(nil, &e), Blobs: e.Blobs,
	})
	if err == nil {
		err = fromStore(to.client().sizeError(ctx, res.Err, &sizedSignal, s.Name(), len(e.Payload)))
	}
	return err
}

// toSend is what a client sends.
func (s Signal[T]) toSend(ctx context.Context, c *Client, instance string, v *T) (history.Event, error) {
	e, err := s.event(instance, v, encodeBy[T](ctx, c))
	if err == nil && s.id != "" {
		err = checkText("message ID", s.id, MaxIDLength)
	}
	if err == nil {
		err = c.fits(ctx, &sizedSignal, s.d.name, s.d.limits, len(e.Payload))
	}
	return e, err
}

// messageID is the signal's ID as the store knows it. That of another signal, or
// of an update, is never the same.
func (s Signal[T]) messageID() string {
	if s.id == "" {
		return ""
	}
	return strconv.Quote(s.d.name) + " " + s.id
}

// SendFrom sends a signal from an orchestration; it goes out with the turn.
// err is about the call itself. refused is a future that fails, with
// [ErrNotFound] or [ErrNotRunning], if nobody could receive the signal, and
// otherwise never becomes ready: select it beside the answer you wait for, or
// ignore it.
func (s Signal[T]) SendFrom(ctx *Context, instance string, v T) (refused *Future[None], err error) {
	e, err := s.event(instance, &v, func(verb, name string, v *T) ([]byte, []history.BlobAddress, error) {
		return encodeIn(ctx.x, verb, name, v)
	})
	if err == nil && s.id != "" {
		err = invalid("send option", "ID", "what an orchestration sends is sent once anyway")
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = ctx.fits(&sizedSignal, s.d.name, s.d.limits, len(e.Payload))
	}
	if err != nil {
		return nil, fmt.Errorf("send signal %q to instance %q: %w", s.Name(), cut(instance, 64), err)
	}
	e.Kind, e.Target = history.SignalSent, instance
	return &Future[None]{src: ctx.scope.Emit(e), d: s.d}, nil
}

func (s Signal[T]) event(instance string, v *T, encode encoder[T]) (history.Event, error) {
	d := s.d.or()
	if d.problem != nil {
		return history.Event{}, d.problem
	}
	if err := checkID(instance); err != nil {
		return history.Event{}, err
	}
	payload, blobs, err := encode("payload of signal", d.name, v)
	if err != nil {
		return history.Event{}, err
	}
	return history.Event{Kind: history.SignalReceived, Name: d.name, Payload: payload, Blobs: blobs}, nil
}
