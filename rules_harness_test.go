package durango_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// severed is a node's connection to a store that other nodes share. It can be
// cut, for good as if the process had ended, or for a while.
type severed struct {
	*memory.Store
	cut atomic.Bool
}

func (s *severed) err() error {
	if s.cut.Load() {
		return provider.ErrTransient
	}
	return nil
}

func (s *severed) Heartbeat(ctx context.Context, n provider.NodeKey) (provider.Pulse, error) {
	if err := s.err(); err != nil {
		return provider.Pulse{}, err
	}
	return s.Store.Heartbeat(ctx, n)
}

func (s *severed) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	if err := s.err(); err != nil {
		return provider.BuryResult{}, err
	}
	return s.Store.Bury(ctx, b)
}

func (s *severed) Claim(ctx context.Context, r provider.ClaimRequest) (provider.ClaimReply, error) {
	if err := s.err(); err != nil {
		return provider.ClaimReply{}, err
	}
	return s.Store.Claim(ctx, r)
}

func (s *severed) Commit(ctx context.Context, n provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.Commit(ctx, n, batch)
}

func (s *severed) ClaimTasks(ctx context.Context, c provider.TaskClaim) (provider.TaskClaimReply, error) {
	if err := s.err(); err != nil {
		return provider.TaskClaimReply{}, err
	}
	return s.Store.ClaimTasks(ctx, c)
}

func (s *severed) FinishTasks(ctx context.Context, n provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.FinishTasks(ctx, n, batch)
}

func (s *severed) ExtendTasks(ctx context.Context, n provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.ExtendTasks(ctx, n, batch)
}

// historyOf returns the history of an instance.
func historyOf(t *testing.T, c *durango.Client, id string) (deliveries, commands []history.Event) {
	t.Helper()
	people := c.Store().(provider.Inspector)
	row, err := people.Get(context.Background(), provider.Target{ID: id})
	assert.NoError(t, err)
	turns, err := people.Turns(context.Background(), row.Key, 1, 0)
	assert.NoError(t, err)
	for _, turn := range turns {
		ds, cs, err := history.DecodeTurn(turn.Events)
		assert.NoError(t, err)
		deliveries, commands = append(deliveries, ds...), append(commands, cs...)
	}
	return deliveries, commands
}

// count counts the events of a kind.
func count(events []history.Event, kind history.Kind) (n int) {
	for i := range events {
		if events[i].Kind == kind {
			n++
		}
	}
	return n
}

// remove deletes an instance, also one that has not ended.
func remove(t *testing.T, c *durango.Client, id string) {
	t.Helper()
	assert.NoError(t, c.Store().(provider.Inspector).Delete(context.Background(), provider.Target{ID: id}, true))
}
