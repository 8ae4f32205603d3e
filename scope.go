package durango

import (
	"strings"
	"time"

	"github.com/durango-go/durango/provider"
)

// CancelFunc ends what a context scopes; see [Context.WithCancel]. The parts of
// a reason are joined by ": " and show in the text of the error. Calling it
// again does nothing.
type CancelFunc func(reason ...string)

// WithCancel returns a context that ends with ctx or when cancel is called:
// activities, timers and children that were asked for with it and are not done
// are withdrawn, coroutines begun with it are told, and what waits with it
// returns [ErrCanceled]. What was asked for and canceled in one turn never
// starts. Calling cancel when the work has ended lets go of what is left:
//
//	part, cancel := ctx.WithCancel()
//	defer cancel()
func (ctx *Context) WithCancel() (*Context, CancelFunc) {
	scope := ctx.scope.Child()
	return &Context{ctx.x, scope}, func(reason ...string) {
		scope.Cancel(strings.Join(reason, ": "))
	}
}

// WithTimeout is WithCancel with a limit: when d has passed, by the store's
// clock, the context ends, and what waits with it returns an error that matches
// [ErrTimeout] and not [ErrCanceled]. The limit is a durable timer, which cancel
// withdraws, so it outlives restarts; without a call of cancel it goes on after
// the work. A d that is not positive has passed at once.
func (ctx *Context) WithTimeout(d time.Duration) (*Context, CancelFunc) {
	inner, cancel := ctx.WithCancel()
	reason := "timed out after " + d.String()
	if d > 0 {
		inner.scope.ExpireAt(ctx.in(d), reason)
	} else {
		inner.scope.Expire(reason)
	}
	return inner, cancel
}

// Detach returns a context that no request to cancel and no timeout reaches. It
// is for compensation: what must still be done when the instance has been
// canceled.
func (ctx *Context) Detach() *Context {
	return &Context{ctx.x, ctx.x.m.Detached()}
}

// Err returns nil, or once ctx has ended an error that matches [ErrCanceled],
// with the reason in its text, or [ErrTimeout] if the limit of WithTimeout has
// passed.
func (ctx *Context) Err() error {
	if !ctx.scope.Canceled() {
		return nil
	}
	return ended(ctx.scope)
}

// in is the time d from now.
func (ctx *Context) in(d time.Duration) int64 {
	at := ctx.x.m.Now()
	if d > 0 {
		if at += int64(d); at < 0 { // beyond what a timestamp holds
			at = provider.Never
		}
	}
	return at
}

// ended is the error of a scope that was canceled, or of an op, which keeps why
// its own scope was.
func ended(s interface {
	Expired() bool
	Reason() string
}) error {
	if s.Expired() {
		return &Error{Code: CodeTimeout, Message: s.Reason(), Type: timeoutOfContext}
	}
	return canceledError(s.Reason())
}

// timeoutOfContext is the [Error.Type] of an expired context, as
// "start-to-close" is that of an activity.
const timeoutOfContext = "context"
