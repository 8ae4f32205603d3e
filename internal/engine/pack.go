package engine

import (
	"slices"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// What is large is compressed on its way to the store, by whoever made it and
// not by the one goroutine that writes. Whoever decodes it (package history)
// reads both forms, and the engine hands on either in memory.

// defaultCompression is the size from which packing pays: below it takes about
// a tenth of a sync for a few hundred bytes of a page that is written anyway.
const defaultCompression = 4 << 10

// newPacker returns the packer for an option that is zero for its default and
// negative for off.
func newPacker(threshold int) *history.Packer {
	if threshold == 0 {
		threshold = defaultCompression
	}
	return history.NewPacker(threshold)
}

// packCommit packs what x's commit brings to the store, once.
func (e *Engine) packCommit(x *execution) {
	s := x.turn
	if s.packed {
		return
	}
	s.packed = true
	p, c := e.client.packer, &s.commit
	if c.Turn != nil {
		c.Turn.Events = p.Pack(c.Turn.Events)
	}
	c.Outcome = p.Pack(c.Outcome)
	for i := range c.Messages {
		c.Messages[i].Payload = p.Pack(c.Messages[i].Payload)
	}
	for i := range c.Children {
		c.Children[i].Start = p.Pack(c.Children[i].Start)
	}
	for i := range c.Tasks {
		c.Tasks[i].Payload, c.Tasks[i].Failure = p.Pack(c.Tasks[i].Payload), p.Pack(c.Tasks[i].Failure)
	}
	for i := range c.Replies {
		c.Replies[i].Payload = p.Pack(c.Replies[i].Payload)
	}
	for i := range c.Values {
		c.Values[i].Payload = p.PackRaw(c.Values[i].Payload)
	}
}

// packStart packs what a new instance begins with. The caller keeps what is his:
// an attempt that he has given up may still be on its way with it.
func (c *Client) packStart(n *provider.NewInstance) {
	n.Start = c.packer.Pack(n.Start)
	n.With = slices.Clone(n.With)
	for i := range n.With {
		n.With[i].Payload = c.packer.Pack(n.With[i].Payload)
	}
}

// packFinish packs the end of a task.
func (c *Client) packFinish(f provider.TaskFinish) provider.TaskFinish {
	f.Message, f.Failure = c.packer.Pack(f.Message), c.packer.Pack(f.Failure)
	return f
}
