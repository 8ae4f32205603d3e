package durango

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/durango-go/durango/provider"
)

// CustomStatus is what an orchestration published with [Context.SetStatus].
type CustomStatus struct {
	// Turn is the number of the turn that published it: a later status has a
	// higher one.
	Turn    int64
	payload []byte
	codec   Codec
}

// Decode decodes the status into what v points to.
func (s CustomStatus) Decode(v any) error {
	codec := s.codec
	if codec == nil {
		codec = JSON
	}
	if err := codec.Decode(s.payload, v); err != nil {
		return &DecodeError{What: "custom status", Type: fmt.Sprintf("%T", v), Err: err}
	}
	return nil
}

// NextStatus waits for a custom status that was published by a later turn than
// after; zero waits for any. Of several that follow quickly one another only the
// last may be seen. The error matches [ErrNotRunning] when the instance has
// ended without another.
func (r *Run[T]) NextStatus(ctx context.Context, after int64) (CustomStatus, error) {
	f, err := r.c.await(ctx, provider.Lookup{To: r.t, Kind: provider.LookupStatus}, after)
	if err == nil && !f.Found {
		err = ErrNotRunning
	}
	if err != nil {
		return CustomStatus{}, fmt.Errorf("next status of instance %q: %w", r.t.ID, err)
	}
	return CustomStatus{Turn: f.Turn, payload: f.Payload, codec: r.c.codecOf()}, nil
}

// Statuses ranges over the custom statuses as they change, beginning with the
// present one, until the instance ends or ctx does; the latter is the last
// error.
//
//	for status, err := range run.Statuses(ctx) {
func (r *Run[T]) Statuses(ctx context.Context) iter.Seq2[CustomStatus, error] {
	return func(yield func(CustomStatus, error) bool) {
		for after := int64(0); ; {
			s, err := r.NextStatus(ctx, after)
			switch {
			case errors.Is(err, ErrNotRunning):
				return
			case err != nil:
				yield(CustomStatus{}, err)
				return
			case !yield(s, nil):
				return
			}
			after = s.Turn
		}
	}
}
