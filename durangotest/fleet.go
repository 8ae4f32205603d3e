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

	// stuck is called when activities have run for so many naps and nothing else
	// has happened.
	stuck   func()
	tooLong int

	cut sync.WaitGroup // nodes that have been cut off and come to their end
}

// node is a running node.
type node struct {
	rt   *durango.Runtime
	line *line
	stop context.CancelFunc
	done chan struct{}
}

func newFleet(w *world, t *tap, logger *slog.Logger, definitions []durango.Registrable) *fleet {
	return &fleet{
		world: w, tap: t, logger: logger, lock: make(chan struct{}, 1), definitions: latest(nil, definitions), tooLong: tooLong,
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
	o.Logger = slog.New(nodeHandler{Handler: f.logger.Handler(), line: l})
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
	still, ignored := 0, 0 // naps without a change, and those of them in which something was due
	for ctx.Err() == nil {
		changed, _ := f.world.changes()
		o := f.world.outlook(f.known())
		if o.busy || ignored < o.patience || o.next <= nap {
			still = f.work(ctx, changed, still)
			if ignored++; still == 0 || o.patience == 0 {
				ignored = 0
			}
			continue
		}
		f.lock <- struct{}{}
		halted := f.halt()
		<-f.lock
		// A node that leaves changes the store: look again.
		if !halted && f.rest(ctx, changed, o.next) {
			still, ignored = 0, 0
		}
	}
}

const (
	// nap is the time between looks at whether a node still has anything to do.
	nap = time.Second
	// patience is how many naps a node has to take what is due. What it has not
	// taken by then is not for it: an activity in another pool, for example.
	patience = 10
	// longPatience is how many it has for what it serves, and so must hold back:
	// for its rate, or until a session closes. It is a day, and a few seconds of
	// real time.
	longPatience = 24 * 3600
	// tooLong is how many naps activities may run without anything happening.
	// It is 30 days, and nearly a minute of real time.
	tooLong = 30 * 24 * 3600
)

// work lets a node run for a nap. It returns how many naps have passed without
// a change.
func (f *fleet) work(ctx context.Context, changed <-chan struct{}, still int) int {
	var severed <-chan struct{}
	if n := f.ensure(); n != nil {
		severed = n.line.cut
	}
	t := time.NewTimer(nap)
	defer t.Stop()
	select {
	case <-severed:
		return 0
	case <-t.C:
	case <-ctx.Done():
	}
	select {
	case <-changed:
		return 0
	default:
	}
	if still++; still == f.tooLong {
		f.stuck()
	}
	return still
}

// rest waits until there is something to do. It reports whether there is, and
// not only ctx has ended.
func (f *fleet) rest(ctx context.Context, changed <-chan struct{}, next time.Duration) bool {
	var due <-chan time.Time
	if next < forever { // else let a test in which all wait be seen to hang
		t := time.NewTimer(next)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-changed:
	case <-due:
	case <-ctx.Done():
		return false
	}
	return true
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

// halt shuts the node down and reports whether there was one. One that has been cut off comes
// to its end by itself: nobody may have to wait for it. The caller has the lock.
func (f *fleet) halt() bool {
	n := f.node
	if n == nil {
		return false
	}
	f.node = nil
	n.stop()
	if n.line.alive() {
		<-n.done
	} else {
		f.cut.Go(func() { <-n.done })
	}
	return true
}
