package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/providertest"
)

// world is a simulated cluster: its store, its nodes, and what is known of both
// that neither knows.
type world struct {
	t      *testing.T
	seed   uint64
	store  *memory.Store
	nodes  []*clusterNode
	gone   []*clusterNode
	down   bool        // the store is away
	calm   bool        // no node dies; what is done once is done once
	clerks chan string // completion tokens, for those who complete

	mu     sync.Mutex
	began  time.Time
	lasted time.Duration
	calls  int
	trace  uint64 // of all calls of the store, in their order

	joined   map[provider.NodeKey]int // in which order
	beaten   map[provider.NodeKey]bool
	recorded map[provider.TaskRef]bool
	sessions map[string]sessionUse
	said     map[provider.TaskRef]progress // by attempts
	extended map[provider.TaskRef]time.Time
	stored   map[provider.TaskRef]int // details, of all attempts
}

// sessionUse is who used a session last, and when.
type sessionUse struct {
	node provider.NodeKey
	at   time.Time
}

// progress is what an attempt has said, and when.
type progress struct {
	step int
	at   time.Time
}

const (
	simLease       = 5 * time.Second
	simSessionIdle = 20 * time.Second
)

// actor makes the generator of one actor: what it does depends on nobody else's
// drawing.
func (w *world) actor(name string, incarnation int) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()+uint64(incarnation)))
}

// upTo draws a duration to the nanosecond, so that no two waits end together.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) + 1 }

func (w *world) note(what string, ns ...int) {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, w.trace)
	_ = binary.Write(h, binary.LittleEndian, int64(time.Since(w.began)))
	_, _ = h.Write([]byte(what))
	for _, n := range ns {
		_ = binary.Write(h, binary.LittleEndian, int64(n))
	}
	w.trace = h.Sum64()
	w.calls++
	if *clusterTrace {
		fmt.Fprintln(os.Stderr, time.Since(w.began), what, ns)
	}
}

// witness is the store as one process sees it, behind a line that is slow,
// loses and breaks. It checks what the processes do to the store, in the order
// in which it happens.
type witness struct {
	*memory.Store
	w        *world
	name     string
	versions []string // of what is called versioned, here
}

// connect makes a process's way to the store: slow, and now and then it fails,
// once or for a while. Each method has a generator of its own, so that calls
// which begin together draw the same in any order.
func (w *world) connect(name string, incarnation int, l *line, versions []string) provider.Provider {
	var mu sync.Mutex
	generators := map[string]*rand.Rand{}
	var bad time.Time // until then
	travel := func(method string) (fails bool, luck float64, err error) {
		mu.Lock()
		r := generators[method]
		if r == nil {
			r = w.actor(name+" "+method, incarnation)
			generators[method] = r
		}
		d, chance, luck := upTo(r, 3*time.Millisecond), r.Float64(), r.Float64()
		fails = chance < .03 || time.Now().Before(bad) && chance < .7
		if chance < .007 && time.Now().After(bad) {
			bad = time.Now().Add(upTo(r, 1500*time.Millisecond))
		}
		mu.Unlock()
		time.Sleep(d)
		return fails && method != "Describe", luck, l.before(method)
	}
	var store provider.Provider = &witness{Store: w.store, w: w, name: name, versions: versions}
	if w.seed%5 == 0 {
		store = providertest.Version1(store) // a provider that has nothing optional
	}
	return providertest.Faulty(store, providertest.Faults{
		Before: func(method string) error {
			fails, luck, err := travel(method)
			w.mu.Lock()
			down := w.down
			w.mu.Unlock()
			switch {
			case err != nil || method == "Describe":
				return err
			case down || fails && luck < .5:
				return provider.ErrTransient
			case fails: // the request is lost
				return provider.ErrUnknownOutcome
			}
			return nil
		},
		After: func(method string) error {
			fails, _, err := travel(method)
			switch {
			case err != nil:
				return errors.Join(err, provider.ErrUnknownOutcome)
			case fails: // the reply is lost
				return provider.ErrUnknownOutcome
			}
			return nil
		},
	})
}

// clusterNode is a node of a simulated cluster, with the line that connects it
// to the store.
type clusterNode struct {
	e      *Engine
	cancel context.CancelFunc
	done   chan struct{}
	line   *line
}

// locked makes a generator one for several goroutines.
func locked(r *rand.Rand) func(n int64) int64 {
	var mu sync.Mutex
	return func(n int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Int64N(n)
	}
}

// join begins a node in the place of slot.
func (w *world) join(slot, incarnation int) *clusterNode {
	n := &clusterNode{line: &line{}, done: make(chan struct{})}
	name := fmt.Sprint("node ", slot)
	versions := simVersions[slot]
	e, err := New(w.connect(name, incarnation, n.line, versions), Options{
		Logger: quiet(), Lease: simLease, MaxHot: 8, MaxActivities: 6, MinPrefetch: 2, MaxPrefetch: 8, InboxSize: 4,
		IdleRelease: 300 * time.Millisecond, MinBackoff: 100 * time.Millisecond, DrainTimeout: 2 * time.Second,
		random:      locked(w.actor(name, incarnation)),
		MaxSessions: 3, SessionIdle: simSessionIdle, minAhead: 1 + slot%2,
	})
	assert.NoError(w.t, err)
	n.e = e
	var os []Orchestration
	for name, code := range clusterPrograms {
		os = append(os, Orchestration{Name: name, Version: "1.0.0", Code: code})
	}
	for name, code := range simPrograms {
		os = append(os, Orchestration{Name: name, Version: "1.0.0", Code: code})
	}
	for _, v := range versions {
		os = append(os, Orchestration{Name: "versioned", Version: v, Code: versioned(v)})
	}
	e.Register(os, w.activities())
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { defer close(n.done); _ = e.Run(ctx) }()
	return n
}

func (s *witness) Join(ctx context.Context, info provider.NodeInfo) (provider.NodeKey, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	key, err := s.Store.Join(ctx, info)
	s.w.joined[key] = len(s.w.joined)
	s.w.note(s.name + " join")
	return key, err
}

func (s *witness) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	p, err := s.Store.Heartbeat(ctx, node)
	s.w.beaten[node] = true
	slices.SortFunc(p.Nodes, func(a, b provider.NodeView) int { return s.w.joined[a.Key] - s.w.joined[b.Key] })
	s.w.note(s.name+" beat", len(p.Nodes))
	return p, err
}

func (s *witness) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	lived := s.w.beaten[b.Node] && s.w.alive(b.Node) // not one whose reply to Join was lost
	r, err := s.Store.Bury(ctx, b)
	if s.w.calm && !b.Force && lived && !s.w.alive(b.Node) {
		s.w.t.Errorf("%s buries a node, and none has died", s.name)
	}
	s.w.note(s.name+" bury", r.Instances, r.Tasks)
	return r, err
}

func (s *witness) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	r, err := s.Store.Create(ctx, node, batch)
	for i := range r {
		if c := batch[i].First; c != nil && r[i].Err == nil && r[i].First.Err == nil {
			s.w.committed(s, c)
		}
		s.w.note(s.name + " create " + batch[i].ID)
	}
	return r, err
}

func (s *witness) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.note(s.name+" send", len(batch))
	return s.Store.Send(ctx, batch)
}

func (s *witness) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	r, err := s.Store.Claim(ctx, req)
	s.w.note(s.name+" claim", req.Limit, len(r.Claimed), len(r.Mail))
	for i := range r.Claimed {
		s.w.note(r.Claimed[i].ID)
	}
	return r, err
}

func (s *witness) Commit(ctx context.Context, node provider.NodeKey, batch []provider.Commit) ([]provider.CommitResult, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	r, err := s.Store.Commit(ctx, node, batch)
	s.w.note(s.name+" commit", len(batch))
	for i := range r {
		c := &batch[i]
		s.w.note(c.Name, int(c.Expect), int(c.ReadSeq), len(c.Tasks), len(c.Messages), int(c.DueAt), len(r[i].Children))
		if r[i].Err == nil {
			s.w.committed(s, c)
		}
	}
	return r, err
}

// committed checks a turn that stands now.
func (w *world) committed(s *witness, c *provider.Commit) {
	if c.Turn == nil {
		return
	}
	deliveries, _, err := history.DecodeTurn(c.Turn.Events)
	if err != nil {
		w.t.Errorf("turn of %d cannot be decoded: %v", c.Key, err)
	}
	for _, d := range deliveries {
		if d.Ref != 0 {
			w.recorded[provider.TaskRef{Instance: c.Key, Execution: c.Turn.Execution, Command: d.Ref}] = true
		}
	}
	if c.Name == "versioned" && c.Execution == c.Turn.Execution && !slices.Contains(s.versions, c.Version) {
		w.t.Errorf("%s, which has %v, took a turn of version %q", s.name, s.versions, c.Version)
	}
}

// task is what identifies a task over all its attempts.
func taskOf(ref provider.TaskRef) provider.TaskRef {
	ref.Attempt = 0
	return ref
}

func (s *witness) ClaimTasks(ctx context.Context, req provider.TaskClaim) (provider.TaskClaimReply, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	r, err := s.Store.ClaimTasks(ctx, req)
	w.note(s.name+" claim tasks", req.Limit, len(r.Tasks))
	for i := range r.Tasks {
		t := &r.Tasks[i]
		w.note(t.InstanceID, int(t.Command), int(t.Attempt))
		if w.recorded[taskOf(t.Ref())] {
			w.t.Errorf("%s: command %d of %s is dispatched though it has its result", s.name, t.Command, t.InstanceID)
		}
		if t.Details != nil || w.stored[taskOf(t.Ref())] > 0 {
			if step, _ := strconv.Atoi(string(t.Details)); step < w.stored[taskOf(t.Ref())] {
				w.t.Errorf("attempt %d of %s begins with details %q, %d was stored", t.Attempt, t.InstanceID, t.Details, w.stored[taskOf(t.Ref())])
			}
		}
		if t.Session == "" || t.Expired {
			continue
		}
		last, used := w.sessions[t.Session]
		if used && last.node != req.Node && time.Since(last.at) <= simSessionIdle && w.alive(last.node) {
			w.t.Errorf("session %s is on a second node, and the first lives", t.Session)
		}
		w.sessions[t.Session] = sessionUse{req.Node, time.Now()}
	}
	return r, err
}

func (w *world) alive(node provider.NodeKey) bool {
	all, err := w.store.Nodes(context.Background())
	assert.NoError(w.t, err)
	return slices.ContainsFunc(all, func(v provider.NodeView) bool { return v.Key == node })
}

func (s *witness) FinishTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskFinish) ([]error, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	errs, err := s.Store.FinishTasks(ctx, node, batch)
	w.note(s.name+" finish", len(batch))
	seen := map[provider.TaskRef]bool{}
	for i := range errs {
		ref := batch[i].TaskRef
		if seen[taskOf(ref)] {
			w.t.Errorf("%s: command %d of %d is finished twice in one batch", s.name, ref.Command, ref.Instance)
		}
		seen[taskOf(ref)] = true
		if errs[i] == nil && batch[i].Message != nil {
			w.recorded[taskOf(ref)] = true
		}
		if errs[i] == nil && batch[i].Details != nil {
			w.keep(ref, batch[i].Details)
		}
	}
	return errs, err
}

func (s *witness) ExtendTasks(ctx context.Context, node provider.NodeKey, batch []provider.TaskBeat) ([]bool, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	still, err := s.Store.ExtendTasks(ctx, node, batch)
	w.note(s.name+" extend", len(batch))
	for i := range still {
		ref := batch[i].TaskRef
		if !still[i] {
			continue
		}
		if batch[i].Details != nil {
			w.keep(ref, batch[i].Details)
		}
		// What was said before an earlier heartbeat has come with this one, if
		// not with that.
		said, before := w.said[ref], w.extended[ref]
		if !before.IsZero() && said.at.Before(before) && w.stored[taskOf(ref)] < said.step {
			w.t.Errorf("the node of command %d of %d beats again, and %d, said before, is not stored", ref.Command, ref.Instance, said.step)
		}
		w.extended[ref] = time.Now()
	}
	return still, err
}

// keep notes details that the store has now.
func (w *world) keep(ref provider.TaskRef, details []byte) {
	step, err := strconv.Atoi(string(details))
	if err != nil {
		return
	}
	if step < w.stored[taskOf(ref)] {
		w.t.Errorf("details of command %d of %d go back from %d to %d", ref.Command, ref.Instance, w.stored[taskOf(ref)], step)
	}
	w.stored[taskOf(ref)] = step
}

// fits reports whether a version is one that was asked for.
func fits(version, asked string) bool {
	if asked == "" || asked == version {
		return true
	}
	c, err := semver.NewConstraint(asked)
	if err != nil {
		return false
	}
	v, err := semver.StrictNewVersion(version)
	return err == nil && c.Check(v)
}

// simulate runs one seed.
func (w *world) simulate(t *testing.T) {
	w.t, w.began, w.store, w.calm = t, time.Now(), memory.Open(), w.seed%3 == 0
	w.store.ClockOffset = time.Duration(int64(w.seed%4)-1) * time.Hour
	w.joined, w.recorded = map[provider.NodeKey]int{}, map[provider.TaskRef]bool{}
	w.sessions, w.stored = map[string]sessionUse{}, map[provider.TaskRef]int{}
	w.beaten = map[provider.NodeKey]bool{}
	w.clerks = make(chan string, 1000)
	w.said, w.extended = map[provider.TaskRef]progress{}, map[provider.TaskRef]time.Time{}
	for slot := range simVersions {
		w.nodes = append(w.nodes, w.join(slot, 0))
	}
	defer func() {
		for _, n := range append(w.nodes, w.gone...) {
			n.cancel()
			<-n.done
		}
		w.lasted = time.Since(w.began)
		t.Logf("trace %016x of %d calls in %v; repeat with: go test ./internal/engine -run TestClusterSurvives -cluster.seed %d",
			w.trace, w.calls, w.lasted, w.seed)
	}()
	c := newSimClients(w)
	c.begin()
	w.faults()
	c.finish()
	synctest.Wait()
}

// faults makes trouble.
func (w *world) faults() {
	r := w.actor("faults", 0)
	for i := 1; i <= 12; i++ {
		time.Sleep(upTo(r, 3*time.Second))
		slot := r.IntN(len(w.nodes))
		n := w.nodes[slot]
		what := r.IntN(6)
		if w.calm && what < 2 {
			continue
		}
		switch what {
		case 0: // killed, or cut off for good and not aware of it
			n.line.mu.Lock()
			n.line.dead = true
			n.line.mu.Unlock()
			if r.IntN(2) == 0 {
				n.cancel()
			}
			w.gone = append(w.gone, n)
			w.replace(slot, i)
		case 1: // stopped, for less or for more than a lease
			held := make(chan struct{})
			n.line.mu.Lock()
			n.line.held = held
			n.line.mu.Unlock()
			time.Sleep(time.Second + upTo(r, 12*time.Second))
			n.line.mu.Lock()
			n.line.held = nil
			n.line.mu.Unlock()
			close(held)
		case 2: // shut down
			n.cancel()
			<-n.done
			w.replace(slot, i)
		case 3: // the store is away
			w.mu.Lock()
			w.down = true
			w.mu.Unlock()
			time.Sleep(upTo(r, 8*time.Second))
			w.mu.Lock()
			w.down = false
			w.mu.Unlock()
		default: // nothing
		}
	}
}

func (w *world) replace(slot, incarnation int) {
	n := w.join(slot, incarnation)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[slot] = n
}

// describe tells what the nodes believe of an instance.
func (w *world) describe(k provider.Key) string {
	out := ""
	for i, n := range w.nodes {
		x := n.e.lookup(k)
		if x == nil {
			out += fmt.Sprintf("node %d (%d): unknown\n", i, n.e.nodeKey())
			continue
		}
		x.mu.Lock()
		out += fmt.Sprintf("node %d (%d): state %d node %d turn %d inbox %d local %d extra %d mail %d/%d need %v timer %d\n", i, n.e.nodeKey(),
			x.state, x.node, x.nextTurn, len(x.inbox), len(x.local), len(x.extra), x.readSeq, x.mailSeen, x.needMail, x.nextTimer)
		x.mu.Unlock()
	}
	return out
}
