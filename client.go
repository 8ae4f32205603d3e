package durango

import (
	"context"
	"errors"
	"fmt"

	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"

	"github.com/google/uuid"
)

// Client starts instances and talks to them. It is safe for concurrent use and
// needs no closing. [Runtime.Client] returns one that starts instances on its
// own node without a detour; one made by [NewClient] needs only the store.
type Client struct {
	c      *engine.Client
	codec  Codec // nil: the default
	bounds *bounds
	blobs  *blobs
	// The first is the outermost.
	interceptors []wrapper[context.Context, *ClientCall]
}

// NewClient returns a client of a store. No node needs to run in this process,
// or at all: what is started waits for one. It panics if there is no store.
func NewClient(store provider.Provider) *Client {
	return NewClientWith(store, ClientOptions{})
}

// ClientOptions tune a [Client]. The zero value of each field stands for the
// default it names.
type ClientOptions struct {
	// Codec is that of the nodes which run what the client starts; see
	// [Options.Codec]. Default: [JSON].
	Codec Codec
	// Interceptors are around the calls of the client.
	Interceptors []Interceptor
	// Limits are those of what the client hands over: the inputs of instances,
	// signals, requests, results of activities. They are the client's own; a
	// runtime's client has the runtime's. The store's limit is asked for by the
	// first call that hands over more than 256 KiB.
	Limits Limits
	// Compression is the size in bytes from which what the client sends is
	// compressed; see [Options.Compression]. Default 4 KiB; negative: never.
	Compression int
	// Blobs say where the contents of Blobs are kept: as for the nodes, see
	// [Options.Blobs].
	Blobs BlobOptions
}

// NewClientWith is NewClient with options. It panics if there is no store or a
// limit is negative.
func NewClientWith(store provider.Provider, o ClientOptions) *Client {
	if store == nil {
		panic(errors.New("durango: new client: the store is nil"))
	}
	if err := o.Limits.problem("client options"); err != nil {
		panic(fmt.Errorf("durango: new client: %w", err))
	}
	return newClient(engine.NewClient(store, o.Compression), o, newBounds(o.Limits, nil), newBlobs(store, o.Codec, o.Blobs))
}

func newClient(c *engine.Client, o ClientOptions, b *bounds, blobs *blobs) *Client {
	return &Client{c: c, bounds: b, codec: custom(o.Codec), blobs: blobs, interceptors: wrappers(o.Interceptors,
		func(i *Interceptor) func(context.Context, *ClientCall, func(context.Context) error) error {
			return i.Client
		})}
}

// codecOf returns the client's codec; nil, the default, for a nil client.
func (c *Client) codecOf() Codec {
	if c == nil {
		return nil
	}
	return c.codec
}

// Store returns the store that the client talks to, or nil for a nil client.
func (c *Client) Store() provider.Provider {
	if c == nil {
		return nil
	}
	return c.c.Store()
}

// Sender is what starts and sends: a [*Client].
type Sender interface {
	createAs(context.Context, provider.NewInstance, IfExists) (provider.CreateResult, error)
	send(context.Context, provider.Message) (provider.SendResult, error)
	client() *Client
}

// errNoClient is what a nil *Client answers, as ClientFrom returns it outside
// an activity.
var errNoClient = errors.New("the client is nil")

func senderOr(s Sender) Sender {
	if s == nil {
		return (*Client)(nil)
	}
	return s
}

func (c *Client) create(ctx context.Context, n provider.NewInstance) (provider.CreateResult, error) {
	if c == nil {
		return provider.CreateResult{}, errNoClient
	}
	r, err := c.c.Start(ctx, n)
	return r, fromStore(err)
}

func (c *Client) send(ctx context.Context, m provider.Message) (provider.SendResult, error) {
	if c == nil {
		return provider.SendResult{}, errNoClient
	}
	r, err := c.c.Send(ctx, m)
	return r, fromStore(err)
}

func (c *Client) client() *Client { return c }

func (c *Client) wait(ctx context.Context, t provider.Target, o WaitOptions) (provider.Outcome, error) {
	if c == nil {
		return provider.Outcome{}, errNoClient
	}
	wait := c.c.Wait
	if o.UntilQuarantined {
		wait = c.c.WaitOrStopped
	}
	outcome, err := wait(ctx, t)
	return outcome, fromStore(err)
}

func (c *Client) inspector(ctx context.Context) (provider.Inspector, error) {
	if c == nil {
		return nil, errNoClient
	}
	i, err := c.c.Inspector(ctx)
	return i, fromStore(err)
}

// NewID returns a new instance ID, a UUIDv7 from crypto/rand, for those who
// have no better one. Inside an orchestration use [Context.NewID], which is
// recorded.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }
