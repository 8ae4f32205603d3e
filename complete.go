package durango

import (
	"context"
	"encoding/json"
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
// fails the attempt. One that still runs when its node shuts down is canceled
// and begun again like any other, as the same attempt and with the same token,
// which is answered with [ErrNotRunning] until that has called CompleteLater.
//
//	func approve(ctx context.Context, o Order) (Approval, error) {
//		token, err := durango.CompleteLater(ctx)
//		if err != nil {
//			return Approval{}, err
//		}
//		return Approval{}, mail.Ask(o.Manager, token)
//	}
//
// Give such an activity a StartToClose, unless it may wait for ever. With a
// Heartbeat limit ([CallOptions]) it has to be heard of: as long as the function
// runs by its own [Heartbeat], and from its return by [Client.Heartbeat].
//
// The token says which attempt it is of and is not secret: whoever can reach the
// store can make it up, so a door to the outside needs a lock of its own.
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
	return engine.Token(t.Ref(), t.Name)
}

// Complete completes an activity that called [CompleteLater]. It is
// [Client.Complete] with the type of the result checked, and that the token is one
// of this activity: its error matches [ErrInvalid] otherwise. A [json.RawMessage]
// may be any activity's result.
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
		err = c.parked(ctx, CallComplete, token, func(ctx context.Context) error {
			if _, raw := any(out).(*json.RawMessage); name != "" && !raw && !engine.TokenOf(token, name) {
				return invalid("completion token", token, fmt.Sprintf("it is not of activity %q", name))
			}
			return c.c.Complete(ctx, token, payload, blobs)
		})
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
	err := c.parked(ctx, CallComplete, token, func(ctx context.Context) error { return c.c.Fail(ctx, token, failure) })
	if err != nil {
		return fmt.Errorf("fail activity: %w", err)
	}
	return nil
}

// Heartbeat is a sign of life of an activity that called [CompleteLater], from
// whoever works on it: what [Heartbeat] is inside of an activity. It counts as
// such from when the function of the activity has returned. details, unless
// they are nil or a [None], are handed to the next attempt if there is one.
//
// The error matches [ErrNotRunning] when the activity is to stop, since it has
// been completed, failed or canceled or its time is over; [ErrInvalid] when the
// token is none; [ErrTooLarge] when the details are over a limit ([Limits],
// ActivityOutput); and [ErrNotSupported] when the store is no
// [provider.Inspector].
func (c *Client) Heartbeat(ctx context.Context, token string, details any) error {
	var said []byte
	var err error
	if _, none := details.(None); details != nil && !none {
		said, err = encodeCall(c.codecOf(), "heartbeat of activity", "", &details)
	}
	if err == nil {
		err = c.fits(ctx, &sizedHeartbeat, "", nil, len(said))
	}
	if err == nil {
		err = c.parked(ctx, CallHeartbeat, token, func(ctx context.Context) error { return c.c.Beat(ctx, token, said) })
	}
	if err = c.sizeError(ctx, err, &sizedHeartbeat, "", len(said)); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return nil
}

// parked makes a call for a token.
func (c *Client) parked(ctx context.Context, kind CallKind, token string, call func(context.Context) error) error {
	if c == nil {
		return errNoClient
	}
	if _, err := engine.ParseToken(token); err != nil {
		return invalid("completion token", token, err.Error())
	}
	err := c.intercept(ctx, &ClientCall{Kind: kind}, call)
	if errors.Is(err, provider.ErrStale) {
		return &Error{Code: CodeNotRunning, Message: "the activity is over"}
	}
	return fromStore(err)
}
