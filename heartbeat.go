package durango

import (
	"context"
	"fmt"

	"github.com/durango-go/durango/internal/engine"
)

// Heartbeat is a sign of life from an activity. An attempt whose handle has
// [CallOptions.Heartbeat] and that is silent for longer fails with
// [ErrTimeout]. details, unless they are a [None], are handed to the next
// attempt if there is one, which finds them with [HeartbeatDetails]: where the
// work stands, for example. With a Heartbeat limit they outlive the node, by
// which they are stored about once a second; the last of them may be missing
// then. An activity that has called [CompleteLater] and returned is heard of
// through [Client.Heartbeat].
//
// The error is ctx's when the activity is to stop, or of details that cannot
// be encoded, or are too large ([Limits], ActivityOutput).
func Heartbeat[T any](ctx context.Context, details T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a := engine.AttemptFrom(ctx)
	if a == nil {
		return nil // a test that calls the function
	}
	said, err := encodeCall(codecFrom(ctx), "heartbeat of activity", a.Name, &details)
	if err != nil {
		return err
	}
	if env := environmentFrom(ctx); env != nil {
		env.bounds.count(&sizedHeartbeat, len(said))
		if err := env.bounds.measure(&sizedHeartbeat, a.Name, nil, len(said)); err != nil {
			return fmt.Errorf("heartbeat: %w", err)
		}
	}
	a.Beat(said)
	return nil
}

// HeartbeatDetails returns what an earlier attempt said last with [Heartbeat];
// ok is false if none did. Its error matches [ErrDecode].
func HeartbeatDetails[T any](ctx context.Context) (details T, ok bool, err error) {
	a := engine.AttemptFrom(ctx)
	if a == nil || a.Details == nil {
		return details, false, nil
	}
	if err := decode(codecFrom(ctx), a.Details, &details); err != nil {
		return *new(T), false, decodeError[T]("heartbeat of activity "+a.Name, err)
	}
	return details, true, nil
}
