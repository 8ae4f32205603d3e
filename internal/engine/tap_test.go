package engine

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// tap is a store that a test listens to and meddles with. A hook gets what
// the node passed and the call itself; nil leaves the call alone.
type tap struct {
	*memory.Store
	onCommit func(provider.NodeKey, []provider.Commit, func() ([]provider.CommitResult, error)) ([]provider.CommitResult, error)
	onCreate func([]provider.NewInstance, func() ([]provider.CreateResult, error)) ([]provider.CreateResult, error)
	onSend   func([]provider.Message, func() ([]provider.SendResult, error)) ([]provider.SendResult, error)
	onClaim  func(provider.ClaimReply, error) (provider.ClaimReply, error)
	onTasks  func(provider.TaskClaimReply, error) (provider.TaskClaimReply, error)
	onFinish func([]provider.TaskFinish, func() ([]error, error)) ([]error, error)
	onExtend func([]provider.TaskBeat, func() ([]bool, error)) ([]bool, error)
	onDefine func() error // before Definitions
	noClaims atomic.Bool  // this node's claims fail

	line line

	mu      sync.Mutex
	commits []seen
}

// seen is a commit as the node passed it.
type seen struct {
	node provider.NodeKey
	provider.Commit
	group int   // how many were passed with it
	err   error // of the whole call
}

func tapped() *tap { return &tap{Store: memory.Open()} }

func (p *tap) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	copies := make([]seen, len(batch))
	for i := range batch {
		copies[i] = seen{node: node, Commit: copyCommit(&batch[i]), group: len(batch)}
	}
	do := func() ([]provider.CommitResult, error) { return p.Store.Commit(ctx, node, batch) }
	err := p.line.before("Commit")
	var r []provider.CommitResult
	switch {
	case err != nil:
	case p.onCommit != nil:
		r, err = p.onCommit(node, batch, do)
	default:
		r, err = do()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range copies {
		copies[i].err = err
	}
	p.commits = append(p.commits, copies...)
	return r, err
}

// copyCommit copies what a node may use again after the call.
func copyCommit(c *provider.Commit) provider.Commit {
	d := *c
	if c.Turn != nil {
		turn := *c.Turn
		turn.Events = bytes.Clone(turn.Events)
		d.Turn = &turn
	}
	d.Tasks, d.Children = slices.Clone(c.Tasks), slices.Clone(c.Children)
	d.Messages, d.CancelTasks = slices.Clone(c.Messages), slices.Clone(c.CancelTasks)
	return d
}

// of lists the commits of one instance, in order.
func (p *tap) of(k provider.Key) (out []seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.commits {
		if c.Key == k {
			out = append(out, c)
		}
	}
	return out
}

func (p *tap) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	do := func() ([]provider.CreateResult, error) { return p.Store.Create(ctx, node, batch) }
	if err := p.line.before("Create"); err != nil {
		return nil, err
	}
	if p.onCreate != nil {
		return p.onCreate(batch, do)
	}
	return do()
}

func (p *tap) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	do := func() ([]provider.SendResult, error) { return p.Store.Send(ctx, batch) }
	if p.onSend != nil {
		return p.onSend(batch, do)
	}
	return do()
}

func (p *tap) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	if err := p.line.before("Claim"); err != nil {
		return provider.ClaimReply{}, err
	}
	if p.noClaims.Load() {
		return provider.ClaimReply{}, provider.ErrTransient
	}
	r, err := p.Store.Claim(ctx, req)
	if p.onClaim != nil {
		return p.onClaim(r, err)
	}
	return r, err
}

func (p *tap) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	if err := p.line.before("ClaimTasks"); err != nil {
		return provider.TaskClaimReply{}, err
	}
	r, err := p.Store.ClaimTasks(ctx, req)
	if p.onTasks != nil {
		return p.onTasks(r, err)
	}
	return r, err
}

func (p *tap) Definitions(ctx context.Context) ([]provider.Definition, error) {
	if p.onDefine != nil {
		if err := p.onDefine(); err != nil {
			return nil, err
		}
	}
	return p.Store.Definitions(ctx)
}

func (p *tap) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	if err := p.line.before("FinishTasks"); err != nil {
		return nil, err
	}
	do := func() ([]error, error) { return p.Store.FinishTasks(ctx, node, batch) }
	if p.onFinish != nil {
		return p.onFinish(batch, do)
	}
	return do()
}

func (p *tap) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	if err := p.line.before("ExtendTasks"); err != nil {
		return nil, err
	}
	do := func() ([]bool, error) { return p.Store.ExtendTasks(ctx, node, batch) }
	if p.onExtend != nil {
		return p.onExtend(batch, do)
	}
	return do()
}

func (p *tap) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	if err := p.line.before("Heartbeat"); err != nil {
		return provider.Pulse{}, err
	}
	return p.Store.Heartbeat(ctx, node)
}

func (p *tap) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	if err := p.line.before("Bury"); err != nil {
		return provider.BuryResult{}, err
	}
	return p.Store.Bury(ctx, b)
}

// kill cuts whoever uses this tap off for good, as if its process had ended.
func (p *tap) kill() {
	p.line.mu.Lock()
	defer p.line.mu.Unlock()
	p.line.dead = true
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// within waits, in virtual time, for the end of an instance.
func within(t *testing.T, d time.Duration, store provider.Provider, target provider.Target) history.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	o, err := NewClient(store, 0).Wait(ctx, target)
	if err != nil {
		row, _ := store.(provider.Inspector).Get(context.Background(), target)
		t.Fatalf("%s did not end within %s: %v\n%+v", target.ID, d, err, row)
	}
	ev, err := history.DecodeMessage(o.Payload)
	assert.NoError(t, err)
	return ev
}

func rowOf(t *testing.T, store provider.Provider, target provider.Target) provider.Instance {
	t.Helper()
	row, err := store.(provider.Inspector).Get(context.Background(), target)
	assert.NoError(t, err)
	return row
}

// failure waits until a turn of the instance has failed, and returns the row.
func failure(t *testing.T, store provider.Provider, target provider.Target, parts ...string) provider.Instance {
	t.Helper()
	var row provider.Instance
	until(t, "a turn failure", func() bool { row = rowOf(t, store, target); return row.TurnFailure != "" })
	for _, part := range parts {
		if !strings.Contains(row.TurnFailure, part) {
			t.Fatalf("the turn failure lacks %q: %s", part, row.TurnFailure)
		}
	}
	return row
}

// schedule emits an activity without waiting for it.
func schedule(m *replay.Machine, name, input string) *replay.Op {
	return m.Emit(history.Event{Kind: history.ActivityScheduled, Name: name, Payload: []byte(input)})
}

// collect waits for all ops, and joins their results in order.
func collect(m *replay.Machine, ops ...*replay.Op) string {
	out := ""
	for _, op := range ops {
		_, answer := m.Wait(op)
		if answer.Failure != nil {
			out += "!" + answer.Failure.Message
		}
		out += string(answer.Payload)
	}
	return out
}

// awaitSignals waits for n signals and joins them.
func awaitSignals(m *replay.Machine, name string, n int) string {
	out := ""
	for range n {
		_, s := m.Wait(m.Signals(name))
		out += string(s.Payload)
	}
	return out
}

// ran counts the attempts of activities.
type ran struct {
	mu       sync.Mutex
	attempts map[string][]int64 // by input
}

func (r *ran) note(a *Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attempts == nil {
		r.attempts = map[string][]int64{}
	}
	r.attempts[string(a.Input)] = append(r.attempts[string(a.Input)], a.Number)
}

func (r *ran) of(input string) []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.attempts[input])
}
