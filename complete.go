package durango

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
)

// CompleteLater leaves the completion of an activity to somebody else: a
// person, a webhook, another system. It returns a token, which is stored
// before it is handed out and good until the activity is completed, failed, or
// timed out, on whatever node and however long that takes. The function returns
// when it has passed the token on; then its result does not count, and an error
// fails the attempt.
//
//	func approve(ctx context.Context, o Order) (Approval, error) {
//		token, err := durango.CompleteLater(ctx)
//		if err != nil {
//			return Approval{}, err
//		}
//		return Approval{}, mail.Ask(o.Manager, token)
//	}
//
// Give such an activity a StartToClose, unless it may wait for ever. The token
// says which attempt it is of and is not secret: whoever can reach the store
// can make it up, so a door to the outside needs a lock of its own.
func CompleteLater(ctx context.Context) (token string, err error) {
	a := engine.AttemptFrom(ctx)
	if a == nil {
		return "", errors.New("complete later: ctx is not that of an activity")
	}
	if token, err = a.Park(ctx); err != nil {
		return "", fmt.Errorf("complete later: %w", fromStore(err))
	}
	return token, nil
}

// TokenOf returns the token that [CompleteLater] returned to a task, for tools
// that list the tasks of an instance with [provider.Inspector]. It is empty for
// a task that does not wait to be completed.
func TokenOf(t provider.Task) string {
	if !t.Parked {
		return ""
	}
	return engine.Token(t.Ref())
}

// Complete completes an activity that called [CompleteLater]. It is
// [Client.Complete] with the type of the result checked.
func (a Activity[In, Out]) Complete(ctx context.Context, c *Client, token string, out Out) error {
	return complete(ctx, c, token, &out, a.d.or().name, a.d.or().limits)
}

// Complete completes an activity that called [CompleteLater], with its result:
// a value of its output type. The error matches [ErrNotRunning] when nobody
// waits for the token any more, and [ErrInvalid] when it is none.
func (c *Client) Complete(ctx context.Context, token string, out any) error {
	return complete(ctx, c, token, &out, "", nil)
}

func complete[T any](ctx context.Context, c *Client, token string, out *T, name string, own *Limits) error {
	payload, blobs, err := encodeFor(ctx, c, "result of activity", name, out)
	if err == nil {
		err = c.fits(ctx, &sizedActivityOutput, name, own, len(payload))
	}
	if err == nil {
		err = c.parked(ctx, token, func(ctx context.Context) error { return c.c.Complete(ctx, token, payload, blobs) })
	}
	if err = c.sizeError(ctx, err, &sizedActivityOutput, name, len(payload)); err != nil {
		return fmt.Errorf("complete activity: %w", err)
	}
	return nil
}

// Fail fails an activity that called [CompleteLater]. It is tried again if its
// policy says so. Errors are as those of Complete.
func (c *Client) Fail(ctx context.Context, token string, cause error) error {
	if cause == nil {
		return fmt.Errorf("fail activity: %w", invalid("error", "", "it is nil; use Complete"))
	}
	failure := toFailure(c.codecOf(), cause)
	err := c.parked(ctx, token, func(ctx context.Context) error { return c.c.Fail(ctx, token, failure) })
	if err != nil {
		return fmt.Errorf("fail activity: %w", err)
	}
	return nil
}

// parked makes a call for a token.
func (c *Client) parked(ctx context.Context, token string, call func(context.Context) error) error {
	if c == nil {
		return errNoClient
	}
	if _, err := engine.ParseToken(token); err != nil {
		return invalid("completion token", token, err.Error())
	}
	err := c.intercept(ctx, &ClientCall{Kind: CallComplete}, call)
	if errors.Is(err, provider.ErrStale) {
		return &Error{Code: CodeNotRunning, Message: "the activity is over"}
	}
	return fromStore(err)
}
