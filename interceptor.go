package durango

import (
	"context"
	"errors"
	"slices"
)

// Interceptor is code around what a node runs and a client asks for: tracing,
// metrics, checks of who may do what. Each function is optional. It calls next,
// as a rule once, and returns its error or another; the value that next results
// in passes it unseen. A panic in it is one of the function that it is around.
//
// Of several interceptors the first is the outermost.
type Interceptor struct {
	// Activity is around one attempt of an activity. The context handed to next
	// is what the activity gets; it should be made from ctx.
	Activity func(ctx context.Context, info ActivityInfo, next func(context.Context) error) error
	// Orchestration is around the code of one execution. It runs again with
	// every replay, as that code does, and so is deterministic; [Context.Logger]
	// is silent meanwhile. The error of an execution that continues as new must
	// be returned; [ContinuesAsNew] recognizes it.
	Orchestration func(ctx *Context, info InstanceInfo, next func(*Context) error) error
	// Client is around each call of a client that changes something.
	Client func(ctx context.Context, call *ClientCall, next func(context.Context) error) error
}

// CallKind says what a client was called for.
type CallKind string

// The kinds of calls.
const (
	CallStart     CallKind = "start"
	CallSend      CallKind = "send"
	CallUpdate    CallKind = "update"
	CallCancel    CallKind = "cancel"
	CallTerminate CallKind = "terminate"
	CallRelease   CallKind = "release"
	CallRetry     CallKind = "retry"
	CallRequeue   CallKind = "requeue"
	CallPurge     CallKind = "purge"
	CallComplete  CallKind = "complete"
	CallHeartbeat CallKind = "heartbeat"
)

// ClientCall is what a client was called for.
type ClientCall struct {
	Kind CallKind
	// Name is that of the orchestration, signal or update; empty if the call has
	// none.
	Name string
	// Instance is the ID of the instance concerned.
	Instance string
	// Header may be filled when an instance starts, and means nothing otherwise.
	// It is stored with the instance, as it is and not by the [Codec], and is
	// given to its activities, to the instances it starts with theirs, and to
	// the executions it continues as: see [Info] and [Context.Header].
	Header map[string]string
}

// SetHeader adds a field to the header of a call.
func (c *ClientCall) SetHeader(name, value string) {
	if c.Header == nil {
		c.Header = map[string]string{}
	}
	c.Header[name] = value
}

// ContinuesAsNew reports whether err, which an orchestration returned, says that
// its execution goes on as the next one. To the outside that is no failure.
func ContinuesAsNew(err error) bool { return errors.Is(err, errContinued) }

// wrapper is a function of an interceptor.
type wrapper[C, I any] func(ctx C, info I, next func(C) error) error

// wrappers picks one function of each interceptor that has it.
func wrappers[C, I any](from []Interceptor, pick func(*Interceptor) func(C, I, func(C) error) error) []wrapper[C, I] {
	var list []wrapper[C, I]
	for i := range from {
		if w := pick(&from[i]); w != nil {
			list = append(list, w)
		}
	}
	return list
}

// intercept runs fn inside of ws.
func intercept[C, I any](ws []wrapper[C, I], ctx C, info I, fn func(C) error) error {
	for _, w := range slices.Backward(ws) {
		next := fn
		fn = func(ctx C) error { return w(ctx, info, next) }
	}
	return fn(ctx)
}

// intercept makes a call inside of the client's interceptors. A nil client has
// none.
func (c *Client) intercept(ctx context.Context, call *ClientCall, fn func(context.Context) error) error {
	if !c.intercepted() {
		return fn(ctx)
	}
	return intercept(c.interceptors, ctx, call, fn)
}

// intercepted spares a call its ClientCall.
func (c *Client) intercepted() bool { return c != nil && len(c.interceptors) > 0 }
