package durango

import (
	"context"

	"github.com/durango-go/durango/provider"
)

// look, await and request are how a client reads what instances publish.

func (c *Client) look(ctx context.Context, l provider.Lookup) (provider.Finding, error) {
	if c == nil {
		return provider.Finding{}, errNoClient
	}
	f, err := c.c.Look(ctx, l)
	return f, fromStore(err)
}

func (c *Client) await(ctx context.Context, l provider.Lookup, after int64) (provider.Finding, error) {
	if c == nil {
		return provider.Finding{}, errNoClient
	}
	f, err := c.c.Await(ctx, l, after)
	return f, fromStore(err)
}

func (c *Client) request(ctx context.Context, m provider.Message, id string) (provider.Finding, error) {
	if c == nil {
		return provider.Finding{}, errNoClient
	}
	f, err := c.c.Request(ctx, m, id)
	return f, fromStore(err)
}
