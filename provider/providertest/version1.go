package providertest

import (
	"context"
	"slices"

	"github.com/durango-go/durango/provider"
)

// Version1 returns p as a provider that was written against version 1 of the
// contract and has nothing since: none of the optional interfaces, none of the
// capabilities, and no other version. It shows what an engine does without
// them; and that it compiles shows that Provider has not grown.
//
// It is for a store of one process. What p has, others see in p.
func Version1(p provider.Provider) provider.Provider { return &version1{p} }

// version1 embeds nothing: each method is one that version 1 had.
type version1 struct{ p provider.Provider }

func (v *version1) Describe(ctx context.Context) (provider.Description, error) {
	d, err := v.p.Describe(ctx)
	return provider.Description{
		Name: d.Name, Version: d.Version, Contract: provider.Range{Min: 1, Max: 1, Preferred: 1},
		Durability: d.Durability, MaxEventSize: d.MaxEventSize, Now: d.Now,
	}, err
}

func (v *version1) Join(ctx context.Context, info provider.NodeInfo) (provider.NodeKey, error) {
	return v.p.Join(ctx, info)
}

func (v *version1) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	pulse, err := v.p.Heartbeat(ctx, node)
	for i := range pulse.Nodes {
		pulse.Nodes[i].Gone = false // it does not detect that a process has ended
	}
	return pulse, err
}

func (v *version1) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	return v.p.Bury(ctx, b)
}

func (v *version1) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	return v.p.Create(ctx, node, batch)
}

func (v *version1) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	return v.p.Send(ctx, unhastened(batch))
}

func (v *version1) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	return v.p.Claim(ctx, req)
}

func (v *version1) Load(ctx context.Context, batch []provider.LoadRequest) ([]provider.Loaded, error) {
	return v.p.Load(ctx, batch)
}

func (v *version1) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Messages = unhastened(batch[i].Messages)
	}
	return v.p.Commit(ctx, node, batch)
}

// unhastened are messages as version 1 had them.
func unhastened(batch []provider.Message) []provider.Message {
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Hasten = false
	}
	return batch
}

func (v *version1) Definitions(ctx context.Context) ([]provider.Definition, error) {
	return v.p.Definitions(ctx)
}

func (v *version1) Owned(ctx context.Context, node provider.NodeKey) (provider.Holdings, error) {
	return v.p.Owned(ctx, node)
}

func (v *version1) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	return v.p.ClaimTasks(ctx, req)
}

func (v *version1) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	return v.p.FinishTasks(ctx, node, batch)
}

func (v *version1) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	return v.p.ExtendTasks(ctx, node, batch)
}

func (v *version1) Outcomes(ctx context.Context, targets []provider.Target) ([]provider.Outcome, error) {
	return v.p.Outcomes(ctx, targets)
}

func (v *version1) Lookup(ctx context.Context, batch []provider.Lookup) ([]provider.Finding, error) {
	return v.p.Lookup(ctx, batch)
}

// Watch announces nothing.
func (v *version1) Watch(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

func (v *version1) Close() error { return v.p.Close() }
