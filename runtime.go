package durango

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"

	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
)

// Runtime is a node: it runs the orchestrations and activities registered with
// it, on a store that other nodes may share.
type Runtime struct {
	engine *engine.Engine
	env    *environment
	gated  bool // Options.SuspendIncompatible

	mu      sync.Mutex
	names   map[string]bool // what is registered
	running bool
}

// New returns a node on store. It reports everything that is wrong with the
// options, and a store that does not speak a common version of the contract.
// The store stays the caller's to close, after Run has returned.
func New(store provider.Provider, o Options) (*Runtime, error) {
	if store == nil {
		return nil, errors.New("new runtime: the store is nil")
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("new runtime: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	blobs := newBlobs(store, o.Codec, o.Blobs)
	if o.Blobs.Store != nil && blobs.keeper == nil {
		return nil, fmt.Errorf("new runtime: %w", blobs.lacking("Options.Blobs with a store"))
	}
	e, err := engine.New(store, o.engine(blobs))
	if err != nil {
		return nil, fmt.Errorf("new runtime: %w", fromStore(err))
	}
	if o.SuspendIncompatible {
		ctx := context.Background() // New has described the store
		_, err := e.Client().Inspector(ctx)
		if err == nil {
			_, err = e.Client().Holder(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("new runtime: SuspendIncompatible: %w", fromStore(err))
		}
	}
	e.Register(nil, builtin())
	return &Runtime{engine: e, env: newEnvironment(e, &o, blobs), gated: o.SuspendIncompatible, names: map[string]bool{}}, nil
}

func newEnvironment(e *engine.Engine, o *Options, blobs *blobs) *environment {
	env := &environment{logger: o.Logger, codec: custom(o.Codec), blobs: blobs}
	if c, ok := o.Codec.(interface{ Same(a, b []byte) bool }); ok {
		env.same = c.Same
	}
	env.activities = wrappers(o.Interceptors, func(i *Interceptor) func(context.Context, ActivityInfo, func(context.Context) error) error {
		return i.Activity
	})
	env.orchestrations = wrappers(o.Interceptors, func(i *Interceptor) func(*Context, InstanceInfo, func(*Context) error) error {
		return i.Orchestration
	})
	env.bounds = newBounds(o.Limits, nil)
	var c *engine.Client
	if e != nil {
		c = e.Client()
		env.bounds = newBounds(o.Limits, e.Sizes()).stored(e.MaxEventSize())
	}
	env.client = newClient(c, ClientOptions{Codec: o.Codec, Interceptors: o.Interceptors}, env.bounds, blobs)
	return env
}

// environment is what the definitions of a runtime share. It does not change.
type environment struct {
	logger *slog.Logger
	codec  Codec                  // nil: the default
	same   func(a, b []byte) bool // the codec's, or nil
	client *Client
	bounds *bounds
	blobs  *blobs
	// Of the interceptors, with the first as the outermost.
	activities     []wrapper[context.Context, ActivityInfo]
	orchestrations []wrapper[*Context, InstanceInfo]
}

// within returns an environment with the limits of a handle.
func (env *environment) within(own *Limits) *environment {
	if own == nil {
		return env
	}
	n := *env
	n.bounds = env.bounds.over(own)
	return &n
}

// moduleVersion is the version of durango built into the program, or empty.
var moduleVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	const path = "github.com/durango-go/durango"
	if info.Main.Path == path {
		return info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
})

// Registrable is a handle with its function: a [BoundActivity] or a
// [BoundOrchestration]. A handle alone is none, so that registering it does
// not compile.
type Registrable interface {
	// Definition says what is defined. Of two definitions that say the same,
	// only one can be registered with a Runtime.
	Definition() Definition

	register(*registry)
}

// Definition says what a handle with its function defines.
type Definition struct {
	// Kind is "activity" or "orchestration".
	Kind, Name string
	// Version is an orchestration's; activities have none.
	Version string
}

// Register makes orchestrations and activities known to the node. It must be
// called before Run, as often as convenient. It panics, naming every problem,
// when a name, version or option is invalid or a definition is already there:
// these are errors of the program, found when it starts.
func (r *Runtime) Register(definitions ...Registrable) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reg := registry{taken: r.names, names: map[string]bool{}, env: r.env}
	if r.running {
		reg.problems = append(reg.problems, errors.New("the runtime is running"))
	}
	for i, d := range definitions {
		if d == nil {
			reg.problems = append(reg.problems, fmt.Errorf("definition %d is nil", i+1))
			continue
		}
		d.register(&reg)
	}
	if len(reg.problems) > 0 {
		panic(fmt.Errorf("durango: register: %w", errors.Join(reg.problems...)))
	}
	maps.Copy(r.names, reg.names)
	r.engine.Register(reg.orchestrations, reg.activities)
}

// registry collects what one call of Register has to say.
type registry struct {
	taken, names   map[string]bool // by earlier calls, and by this one
	env            *environment
	orchestrations []engine.Orchestration
	activities     []engine.Activity
	problems       []error
}

func (r *registry) problem(d *declaration, text string) {
	r.problems = append(r.problems, fmt.Errorf("%s %q: %s", d.what, d.name, text))
}

func (r *registry) activity(d *declaration, a engine.Activity) {
	if d.problem != nil {
		r.problems = append(r.problems, fmt.Errorf("activity %q: %w", d.name, d.problem))
	}
	if !r.claim("activity\x00" + d.name) {
		r.problem(d, "registered twice")
	}
	r.activities = append(r.activities, a)
}

func (r *registry) orchestration(d *declaration, o engine.Orchestration) {
	if d.problem != nil {
		r.problems = append(r.problems, fmt.Errorf("orchestration %q: %w", d.name, d.problem))
	}
	if err := checkVersion(o.Version); err != nil {
		r.problems = append(r.problems, fmt.Errorf("orchestration %q: %w", d.name, err))
	}
	if !r.claim("orchestration\x00" + d.name + "\x00" + o.Version) {
		r.problem(d, "version "+o.Version+" registered twice")
	}
	r.orchestrations = append(r.orchestrations, o)
}

func (r *registry) claim(key string) bool {
	free := !r.taken[key] && !r.names[key]
	r.names[key] = true
	return free
}

// Run runs the node until ctx ends, then stops claiming, lets running
// activities finish or gives them back, and returns nil. It returns an error
// when the node cannot join the store, or not make the check of
// [Options].SuspendIncompatible. It may be called once.
func (r *Runtime) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.running {
		r.mu.Unlock()
		return errors.New("run: the runtime has been run before")
	}
	r.running = true
	r.mu.Unlock()
	if r.gated {
		if err := r.gate(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // told to end before it had begun
			}
			return fmt.Errorf("run: %w", err)
		}
	}
	if err := r.engine.Run(ctx); err != nil {
		return fmt.Errorf("run: %w", fromStore(err))
	}
	return nil
}

// Store returns the store that the node works on.
func (r *Runtime) Store() provider.Provider { return r.engine.Client().Store() }

// Client returns a client that hands what it starts to this node while the
// node has room. It may be used before Run, and after.
func (r *Runtime) Client() *Client { return r.env.client }
