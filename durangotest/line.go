package durangotest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/durango-go/durango/provider"
)

// line connects one node to the world, until it is cut for good. What comes
// behind the cut has not happened as far as anybody else can tell: the node
// might as well have been killed.
type line struct {
	*world
	tap *tap

	mu   sync.Mutex
	dead bool
	node provider.NodeKey
	cut  chan struct{} // closed when the line is cut
}

func newLine(w *world, t *tap) *line {
	return &line{world: w, tap: t, cut: make(chan struct{})}
}

func (l *line) alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.dead
}

// sever cuts the line.
func (l *line) sever() {
	l.mu.Lock()
	dead, node := l.dead, l.node
	l.dead = true
	l.mu.Unlock()
	if !dead {
		l.world.cut(node)
		close(l.cut)
	}
}

// through makes a call if the line stands.
func through[T any](l *line, call func() (T, error)) (T, error) {
	if !l.alive() {
		return *new(T), errCut
	}
	return call()
}

// write makes a call that changes the store, which is where the tap may cut
// the line.
func write[T any](l *line, what func() string, call func() (T, error)) (T, error) {
	return through(l, func() (T, error) {
		fate := l.tap.next(what)
		if fate == cutBefore {
			l.sever()
			return *new(T), errCut
		}
		v, err := call()
		if fate == cutAfter {
			l.sever()
			return *new(T), errCut
		}
		return v, err
	})
}

func (l *line) Describe(ctx context.Context) (provider.Description, error) {
	return through(l, func() (provider.Description, error) { return l.world.Describe(ctx) })
}

func (l *line) Join(ctx context.Context, info provider.NodeInfo) (provider.NodeKey, error) {
	return through(l, func() (provider.NodeKey, error) {
		key, err := l.world.Join(ctx, info)
		l.mu.Lock()
		l.node = key
		l.mu.Unlock()
		return key, err
	})
}

func (l *line) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	return through(l, func() (provider.Pulse, error) { return l.world.Heartbeat(ctx, node) })
}

func (l *line) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	return through(l, func() (provider.BuryResult, error) { return l.world.Bury(ctx, b) })
}

func (l *line) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	return write(l, func() string { return describeCreate(batch) }, func() ([]provider.CreateResult, error) {
		return l.world.Create(ctx, node, batch)
	})
}

func (l *line) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	return write(l, func() string { return describeSend(batch) }, func() ([]provider.SendResult, error) {
		return l.world.Send(ctx, batch)
	})
}

func (l *line) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	return through(l, func() (provider.ClaimReply, error) { return l.world.Claim(ctx, req) })
}

func (l *line) Load(ctx context.Context, batch []provider.LoadRequest) ([]provider.Loaded, error) {
	return through(l, func() ([]provider.Loaded, error) { return l.world.Load(ctx, batch) })
}

func (l *line) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	return write(l, func() string { return describeCommit(l.world, batch) }, func() ([]provider.CommitResult, error) {
		return l.world.Commit(ctx, node, batch)
	})
}

func (l *line) Owned(ctx context.Context, node provider.NodeKey) (provider.Holdings, error) {
	return through(l, func() (provider.Holdings, error) { return l.world.Owned(ctx, node) })
}

func (l *line) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	return through(l, func() (provider.TaskClaimReply, error) { return l.world.ClaimTasks(ctx, req) })
}

func (l *line) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	return write(l, func() string { return describeFinish(l.world, batch) }, func() ([]error, error) {
		return l.world.FinishTasks(ctx, node, batch)
	})
}

func (l *line) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	return through(l, func() ([]bool, error) { return l.world.ExtendTasks(ctx, node, batch) })
}

func (l *line) Outcomes(ctx context.Context, targets []provider.Target) ([]provider.Outcome, error) {
	return through(l, func() ([]provider.Outcome, error) { return l.world.Outcomes(ctx, targets) })
}

func (l *line) Definitions(ctx context.Context) ([]provider.Definition, error) {
	return through(l, func() ([]provider.Definition, error) { return l.world.Definitions(ctx) })
}

func (l *line) Lookup(ctx context.Context, batch []provider.Lookup) ([]provider.Finding, error) {
	found, err := through(l, func() ([]provider.Finding, error) { return l.world.Lookup(ctx, batch) })
	if errors.Is(err, errCut) {
		// The node asks again until it has come to its end. To code that reads a
		// value it would tell a final error, in a turn that nobody will commit.
		err = fmt.Errorf("%w: %w", provider.ErrTransient, err)
	}
	return found, err
}

// What an activity may do through its client beside the above.

func (l *line) Get(ctx context.Context, t provider.Target) (provider.Instance, error) {
	return through(l, func() (provider.Instance, error) { return l.world.Get(ctx, t) })
}

func (l *line) Terminate(ctx context.Context, t provider.Target, outcome, notify []byte) error {
	_, err := write(l, func() string { return "Terminate " + t.ID }, func() (struct{}, error) {
		return struct{}{}, l.world.Terminate(ctx, t, outcome, notify)
	})
	return err
}
