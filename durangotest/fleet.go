package durangotest

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/durango-go/durango"
)

// fleet runs one node at a time on a world: while there is something to do.
// When all wait, the node shuts down, as one does in a deployment, and the
// next one starts when the earliest timer is due or the world changes. A node
// that has nothing to do looks at its clock every second; this is how a month
// of that is skipped. What is more, whoever wakes up after a pause is rebuilt
// from its history, so every test is one of replay.
type fleet struct {
	world   *world
	tap     *tap
	logger  *slog.Logger
	options durango.Options

	// lock holds one token while a node starts or shuts down. It is a channel
	// because who waits for a mutex stops the time in a bubble, which a node
	// needs to shut down.
	lock        chan struct{}
	definitions map[durango.Definition]durango.Registrable
	node        *node // the one that runs, or nil

	cut sync.WaitGroup // nodes that have been cut off and come to their end
}

// node is a running node.
type node struct {
	rt   *durango.Runtime
	line *line
	stop context.CancelFunc
	done chan struct{}
}

// nap is the time between looks at whether the node still has anything to do.
const nap = time.Second

func newFleet(w *world, t *tap, logger *slog.Logger, definitions []durango.Registrable) *fleet {
	return &fleet{
		world: w, tap: t, logger: logger, lock: make(chan struct{}, 1), definitions: latest(nil, definitions),
		// What waits is given up soon, so that the node may rest.
		options: durango.Options{Name: "durangotest", Logger: logger, IdleRelease: nap},
	}
}

// latest adds definitions, each in the place of an earlier one that says the
// same.
func latest(to map[durango.Definition]durango.Registrable, definitions []durango.Registrable) map[durango.Definition]durango.Registrable {
	if to == nil {
		to = make(map[durango.Definition]durango.Registrable, len(definitions))
	}
	for _, d := range definitions {
		to[d.Definition()] = d
	}
	return to
}

// replace lets the node shut down and has the next one run other definitions.
func (f *fleet) replace(definitions []durango.Registrable) {
	f.lock <- struct{}{}
	latest(f.definitions, definitions)
	f.halt()
	<-f.lock
	f.world.change() // whoever was to be woken by it may have another reason now
}

// runtime makes a runtime with everything defined.
func (f *fleet) runtime(l *line) (*durango.Runtime, error) {
	o := f.options
	o.Logger = slog.New(lineHandler{f.logger.Handler(), l})
	rt, err := durango.New(l, o)
	if err != nil {
		return nil, err
	}
	rt.Register(slices.Collect(maps.Values(f.definitions))...)
	return rt, nil
}

// run runs nodes until ctx ends.
func (f *fleet) run(ctx context.Context) {
	defer f.cut.Wait()
	defer func() {
		f.lock <- struct{}{}
		f.halt()
		<-f.lock
	}()
	for ctx.Err() == nil {
		changed, _ := f.world.changes()
		rest := f.world.quiet(f.known())
		var severed <-chan struct{}
		if rest > nap {
			f.lock <- struct{}{}
			f.halt()
			<-f.lock
		} else {
			rest = nap
			if n := f.ensure(); n != nil {
				changed, severed = nil, n.line.cut
			}
		}
		t := time.NewTimer(rest)
		if rest > forever { // so that a test in which all wait is seen to hang
			t.Stop()
		}
		select {
		case <-changed:
		case <-severed:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// forever is longer than any timer of a test.
const forever = 200 * 365 * 24 * time.Hour

func (f *fleet) known() map[durango.Definition]bool {
	f.lock <- struct{}{}
	defer func() { <-f.lock }()
	known := make(map[durango.Definition]bool, len(f.definitions))
	for d := range f.definitions {
		known[d] = true
	}
	return known
}

// ensure returns the running node, which it starts if there is none.
func (f *fleet) ensure() *node {
	f.lock <- struct{}{}
	defer func() { <-f.lock }()
	if n := f.node; n != nil && n.line.alive() {
		return n
	}
	f.halt()
	l := newLine(f.world, f.tap)
	rt, err := f.runtime(l)
	if err != nil {
		f.logger.Error("the node cannot start", "error", err)
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	n := &node{rt: rt, line: l, stop: stop, done: make(chan struct{})}
	f.node = n
	go func() {
		defer close(n.done)
		if err := rt.Run(ctx); err != nil && l.alive() {
			f.logger.Error("the node failed", "error", err)
		}
	}()
	return n
}

// halt shuts the node down, if there is one. One that has been cut off comes
// to its end by itself: nobody may have to wait for it. The caller has the lock.
func (f *fleet) halt() {
	n := f.node
	if n == nil {
		return
	}
	f.node = nil
	n.stop()
	if n.line.alive() {
		<-n.done
		return
	}
	f.cut.Go(func() { <-n.done })
}

// lineHandler drops what a node logs that has been cut off: nobody would hear
// it.
type lineHandler struct {
	slog.Handler
	line *line
}

func (h lineHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.line.alive() && h.Handler.Enabled(ctx, l)
}

func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lineHandler{h.Handler.WithAttrs(attrs), h.line}
}

func (h lineHandler) WithGroup(name string) slog.Handler {
	return lineHandler{h.Handler.WithGroup(name), h.line}
}
