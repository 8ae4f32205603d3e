package durango

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
)

// Call starts a child and waits for its output. A child is an instance of its
// own, called parent/execution.n unless the handle says otherwise, for the nth
// child that an execution starts without an ID. An ID that is taken is an error
// that matches [ErrAlreadyExists]. What happens to the child when its parent
// ends is [CallOptions.OnParentClose].
func (o Orchestration[In, Out]) Call(ctx *Context, in In) (Out, error) {
	op, err := o.child(ctx, &in)
	if err != nil {
		return *new(Out), err
	}
	return awaitResult[Out](ctx, o.d, op)
}

// Go starts a child and returns the future of its output; see Call.
func (o Orchestration[In, Out]) Go(ctx *Context, in In) *Future[Out] {
	op, err := o.child(ctx, &in)
	return resultFuture[Out](o.d, op, err)
}

// StartFrom starts an instance that has no parent from an orchestration; it
// begins with the commit of the turn, and outlives the one that started it.
// err is about the call itself. refused is a future that fails with
// [ErrAlreadyExists] if the ID is taken, unless the handle says [Reuse], and
// otherwise never becomes ready.
func (o Orchestration[In, Out]) StartFrom(ctx *Context, id string, in In) (refused *Future[None], err error) {
	if id == "" {
		id = o.d.or().opts.ID
	}
	e, err := o.childEvent(ctx.x, &in)
	if err == nil && o.d.opts.IfExists > Reuse {
		err = invalid("orchestration option", "IfExists", "an orchestration starts nothing in another's place; only Fail and Reuse")
	}
	if err == nil {
		err = checkID(id)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = ctx.fits(&sizedOrchestrationInput, o.d.name, o.d.limits, len(e.Payload))
	}
	if err != nil {
		return nil, fmt.Errorf("start orchestration %q: %w", o.Name(), err)
	}
	e.Target, e.Detached, e.Close = id, true, history.CloseAbandon
	op := ctx.scope.Emit(e)
	if o.d.opts.IfExists == Reuse && !op.Canceled() {
		return &Future[None]{src: ctx.x.m.NewGate()}, nil
	}
	return &Future[None]{src: op, d: o.d}, nil
}

func (o Orchestration[In, Out]) child(ctx *Context, in *In) (*replay.Op, error) {
	if d := o.d.or(); d.problem == nil && d.opts.IfExists != Fail {
		return nil, fmt.Errorf("call orchestration %q: %w", o.Name(),
			invalid("orchestration option", "IfExists", "it is for the starts of clients: a child is its parent's alone"))
	}
	e, err := o.childEvent(ctx.x, in)
	if err == nil {
		if e.Target = o.d.opts.ID; e.Target == "" {
			e.Target = ctx.x.childID()
		}
		err = checkID(e.Target)
	}
	if err == nil {
		err = ctx.fits(&sizedOrchestrationInput, o.d.name, o.d.limits, len(e.Payload))
	}
	if err != nil {
		return nil, fmt.Errorf("call orchestration %q: %w", o.Name(), err)
	}
	return ctx.scope.Emit(e), nil
}

func (o Orchestration[In, Out]) childEvent(x *execution, in *In) (history.Event, error) {
	d := o.d.or()
	if err := d.startable(); err != nil {
		return history.Event{}, err
	}
	payload, blobs, err := encodeIn(x, "input of orchestration", d.name, in)
	if err != nil {
		return history.Event{}, err
	}
	e := history.Event{
		Kind: history.ChildStarted, Name: d.name, Version: d.opts.Version, Payload: payload, Blobs: blobs,
		Close: history.ClosePolicy(d.opts.OnParentClose), Time: toNano(d.opts.StartAt),
	}
	return e, nil
}

// childID names the next child that was given no name.
func (x *execution) childID() string {
	x.children++
	b := append([]byte(x.info.ID), '/')
	b = append(strconv.AppendInt(b, x.info.Execution, 10), '.')
	return string(strconv.AppendInt(b, x.children, 10))
}

// errContinued is what ContinueAsNew returns for the orchestration to return.
var errContinued = errors.New("the orchestration continues as new; return this error")

// ContinueAsNew ends the execution and begins the next one with a fresh
// history. Its results are for the orchestration to return at once; returning
// anything else fails the turn:
//
//	return Fulfil.ContinueAsNew(ctx, next)
//
// Unconsumed signals and the custom status go on, unfinished activities are
// canceled. The version is chosen again unless the handle names one. An
// instance that was asked to cancel does not continue: the error is
// [ErrCanceled].
func (o Orchestration[In, Out]) ContinueAsNew(ctx *Context, in In) (Out, error) {
	d := o.d.or()
	if d.problem != nil {
		return *new(Out), fmt.Errorf("continue as new: %w", d.problem)
	}
	if d.name != ctx.x.info.Name {
		ctx.x.fail(fmt.Errorf("orchestration %q cannot continue as new as %q", ctx.x.info.Name, d.name))
	}
	version := d.opts.Version
	if version == SameVersion {
		version = ctx.x.info.Version
	}
	return continueAsNew[Out](ctx, &in, version, d.limits)
}

// ContinueAsNew is the method of the same name for an orchestration that
// cannot mention its own handle, as one made by [DefineOrchestration]. The
// types are checked when it is called: others than those of the orchestration
// fail the turn.
func ContinueAsNew[Out, In any](ctx *Context, in In) (Out, error) {
	x := ctx.x
	if in, out := reflect.TypeFor[In](), reflect.TypeFor[Out](); in != x.in || out != x.out {
		x.fail(fmt.Errorf("orchestration %q is a func(*Context, %v) (%v, error) and cannot continue as new as a func(*Context, %v) (%v, error)",
			x.info.Name, x.in, x.out, in, out))
	}
	return continueAsNew[Out](ctx, &in, "", x.own)
}

func continueAsNew[Out, In any](ctx *Context, in *In, version string, own *Limits) (Out, error) {
	var none Out
	if root := ctx.x.m.Root(); root.Canceled() {
		return none, canceledError(root.Reason())
	}
	payload, blobs, err := encodeIn(ctx.x, "input of orchestration", ctx.x.info.Name, in)
	if err != nil {
		return none, err
	}
	if err := ctx.fits(&sizedOrchestrationInput, ctx.x.info.Name, own, len(payload)); err != nil {
		return none, fmt.Errorf("continue as new: %w", err)
	}
	ctx.x.m.Continue()
	ctx.x.next = &history.Event{Kind: history.ContinuedAsNew, Version: version, Payload: payload, Blobs: blobs, Header: ctx.x.header}
	return none, errContinued
}
