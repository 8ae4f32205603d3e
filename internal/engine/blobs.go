package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// keep stores the contents that a turn refers to. Trouble of their store is no
// more trouble of an orchestration than that of the other: it is waited for,
// and the watchdog leaves the turn alone meanwhile, because its code has
// returned.
func (e *Engine) keep(x *execution, contents []replay.Content) error {
	x.mu.Lock()
	x.turn.began = time.Time{}
	x.mu.Unlock()
	x.turn.kept = nil
	for i := range contents {
		c := &contents[i]
		for delay := time.Millisecond; ; delay = min(2*delay, maxPause) {
			err := e.o.PutBlob(e.ctx, c.Address, c.Bytes)
			if err == nil {
				x.turn.kept = append(x.turn.kept, c.Address)
				break
			}
			switch {
			case errors.Is(err, provider.ErrTooLarge):
				return &limitError{fmt.Sprintf("turn %d: blob %s of %d bytes is more than its store takes", x.nextTurn, c.Address, len(c.Bytes))}
			case e.ctx.Err() != nil || e.draining.Load():
				return errUnversioned // somebody else takes the turn
			}
			e.o.Logger.Warn("blob will be put again", "instance", x.id, "blob", c.Address.String(), "error", err)
			e.pause(delay)
		}
	}
	return nil
}

// refer lists the blobs that an instance comes to refer to by a turn.
func (e *Engine) refer(x *execution, commands []history.Event) (blobs []history.BlobAddress) {
	for _, events := range [][]history.Event{x.turn.events, commands} {
		for i := range events {
			blobs = append(blobs, events[i].Blobs...)
		}
	}
	blobs = append(blobs, x.turn.kept...)
	x.turn.kept = nil
	if len(blobs) > 1 {
		slices.SortFunc(blobs, func(a, b history.BlobAddress) int { return slices.Compare(a[:], b[:]) })
		blobs = slices.Compact(blobs)
	}
	return blobs
}

// sweeps has blobs deleted that nobody refers to. Nodes do it each for itself,
// which is safe, and at different times, which is enough.
func (e *Engine) sweeps(ctx context.Context) {
	if e.o.SweepBlobs == nil {
		return
	}
	for e.await(ctx, nil, time.Duration(after(int64(e.o.SweepInterval/2), e.o.random(int64(e.o.SweepInterval))))) {
		if err := e.o.SweepBlobs(ctx); err != nil && ctx.Err() == nil {
			e.o.Logger.Warn("blobs could not be swept", "error", err)
		}
	}
}
