package providertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/durango-go/durango/provider"
)

// patience bounds a wait for what must happen soon.
const patience = 20 * time.Second

const hour = int64(time.Hour)

// store is what the suite needs of a provider.
type store interface {
	provider.Provider
	provider.Inspector
}

// harness is a store with shorthands for one case.
type harness struct {
	testing.TB
	store
	raw  provider.Provider // as the test has opened it
	cfg  Config
	ctx  context.Context
	caps provider.Capabilities
	max  int
}

func newHarness(tb testing.TB, cfg Config) *harness {
	tb.Helper()
	p := cfg.Open(tb)
	h := &harness{TB: tb, store: cfg.inspected(tb, p), raw: p, cfg: cfg, ctx: tb.Context()}
	tb.Cleanup(func() { _ = p.Close() })
	d, err := p.Describe(h.ctx)
	h.ok(err, "describe")
	h.caps, h.max = d.Capabilities, d.MaxEventSize
	return h
}

// inspected returns p as something that the suite can look into.
func (c Config) inspected(tb testing.TB, p provider.Provider) store {
	tb.Helper()
	if s, ok := p.(store); ok {
		return s
	}
	if c.Inspector == nil {
		tb.Fatalf("%T is no provider.Inspector; the suite needs Config.Inspector to look into it", p)
	}
	return struct {
		provider.Provider
		provider.Inspector
	}{p, c.Inspector(p)}
}

// on returns the harness over another handle of the same store.
func (h *harness) on(p provider.Provider) *harness {
	c := *h
	c.store, c.raw = h.cfg.inspected(h.TB, p), p
	return &c
}

// again opens another handle of the same store.
func (h *harness) again() *harness {
	h.Helper()
	if h.cfg.Again == nil {
		h.Fatal("a shared or persistent store needs Config.Again")
	}
	p := h.cfg.Again(h.TB, h.raw)
	h.Cleanup(func() { _ = p.Close() })
	return h.on(p)
}

// ok stops the case at an error.
func (h *harness) ok(err error, op string) {
	h.Helper()
	if err != nil {
		h.Fatalf("%s: %v", op, err)
	}
}

// is checks that err is the one the contract names.
func (h *harness) is(err, want error, op string) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Fatalf("%s: got error %v, want %v", op, err, want)
	}
}

// same checks that two values are equal.
func (h *harness) same(what string, got, want any) {
	h.Helper()
	if !reflect.DeepEqual(got, want) {
		h.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually polls until f is true.
func (h *harness) eventually(what string, f func() bool) {
	h.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			h.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// only returns the single item there must be.
func only[T any](h *harness, what string, items []T) T {
	h.Helper()
	if len(items) != 1 {
		h.Fatalf("%s: got %d, want 1", what, len(items))
	}
	return items[0]
}

// now reads the store's clock.
func (h *harness) now() int64 {
	h.Helper()
	d, err := h.Describe(h.ctx)
	h.ok(err, "describe")
	return d.Now
}

func (h *harness) join() provider.NodeKey {
	h.Helper()
	node, err := h.Join(h.ctx, provider.NodeInfo{Name: "host", PID: 7, Version: "v1"})
	h.ok(err, "join")
	return node
}

// kill buries a node.
func (h *harness) kill(node provider.NodeKey) provider.BuryResult {
	h.Helper()
	var sum provider.BuryResult
	for {
		r, err := h.Bury(h.ctx, provider.Burial{Node: node, Force: true})
		h.ok(err, "bury")
		sum.Instances += r.Instances
		sum.Tasks += r.Tasks
		if r.Done {
			sum.Done = true
			return sum
		}
	}
}

// flow is the definition that instances have unless a case says otherwise.
var flow = provider.Definition{Name: "flow", Version: "1.0.0"}

// draft makes a new instance that is not in the store yet.
func draft(id string) provider.NewInstance {
	return provider.NewInstance{
		Key: provider.NewKey(), ID: id, Name: flow.Name, Version: flow.Version, Start: []byte("start " + id),
	}
}

// create puts instances into the store.
func (h *harness) create(node provider.NodeKey, batch ...provider.NewInstance) {
	h.Helper()
	results, err := h.Create(h.ctx, node, batch)
	h.ok(err, "create")
	if len(results) != len(batch) {
		h.Fatalf("create: %d results for %d instances", len(results), len(batch))
	}
	for i, r := range results {
		h.ok(r.Err, "create "+batch[i].ID)
		h.same("key of "+batch[i].ID, r.Key, batch[i].Key)
	}
}

// fresh makes an unowned instance.
func (h *harness) fresh(id string) provider.Key {
	h.Helper()
	n := draft(id)
	h.create(0, n)
	return n.Key
}

// owned makes an instance that node owns.
func (h *harness) owned(node provider.NodeKey, id string) provider.Key {
	h.Helper()
	n := draft(id)
	n.Owned = true
	h.create(node, n)
	return n.Key
}

// asleep makes an unowned instance after its first turn, with no mail and
// nothing due.
func (h *harness) asleep(node provider.NodeKey, id string) provider.Key {
	h.Helper()
	key := h.owned(node, id)
	c := h.turn(key)
	c.Release, c.DueAt = true, provider.Never
	h.apply(node, c)
	return key
}

// ended makes an instance that has completed.
func (h *harness) ended(node provider.NodeKey, id string) provider.Key {
	h.Helper()
	key := h.owned(node, id)
	c := h.turn(key)
	c.Status, c.Outcome = provider.Completed, []byte("outcome of "+id)
	h.apply(node, c)
	return key
}

func (h *harness) row(key provider.Key) provider.Instance {
	h.Helper()
	row, err := h.Get(h.ctx, provider.Target{Key: key})
	h.ok(err, "get")
	return row
}

func commitID() int64 { return rand.Int64N(1<<62) + 1 }

// turn makes the commit of the next turn of an instance: it reads all mail,
// keeps the owner and asks for nothing.
func (h *harness) turn(key provider.Key) provider.Commit {
	h.Helper()
	row := h.row(key)
	c := beside(&row)
	c.Turn = &provider.Turn{
		Number: row.NextTurn, Execution: row.Execution, CommitID: c.CommitID, Time: row.CreatedAt + row.NextTurn,
		Deliveries: int(row.MailboxSeq - row.ReadSeq), Commands: 1, Events: []byte{1, 2, 3, byte(row.NextTurn)},
	}
	c.Status, c.ReadSeq = provider.Running, row.MailboxSeq
	return c
}

// beside makes a commit without a turn that changes nothing.
func beside(row *provider.Instance) provider.Commit {
	return provider.Commit{
		Key: row.Key, CommitID: commitID(), Expect: row.NextTurn, ReadSeq: row.ReadSeq,
		Status: row.Status, Execution: row.Execution, Name: row.Name, Version: row.Version,
		HistoryFrom: row.HistoryFrom, DueAt: row.DueAt,
	}
}

// release makes the commit that gives an instance up without a turn.
func (h *harness) release(key provider.Key) provider.Commit {
	h.Helper()
	row := h.row(key)
	c := beside(&row)
	c.Release = true
	return c
}

// commit commits one item and returns its result.
func (h *harness) commit(node provider.NodeKey, c provider.Commit) provider.CommitResult {
	h.Helper()
	results, err := h.Commit(h.ctx, node, []provider.Commit{c})
	h.ok(err, "commit")
	if len(results) != 1 {
		h.Fatalf("commit: %d results for 1 item", len(results))
	}
	return results[0]
}

// apply commits one item that must succeed.
func (h *harness) apply(node provider.NodeKey, c provider.Commit) provider.CommitResult {
	h.Helper()
	r := h.commit(node, c)
	h.ok(r.Err, "commit")
	return r
}

// send sends one message and returns its result.
func (h *harness) send(m provider.Message) provider.SendResult {
	h.Helper()
	results, err := h.Send(h.ctx, []provider.Message{m})
	h.ok(err, "send")
	if len(results) != 1 {
		h.Fatalf("send: %d results for 1 message", len(results))
	}
	return results[0]
}

// post sends a message that must be accepted.
func (h *harness) post(key provider.Key, payload string) provider.SendResult {
	h.Helper()
	r := h.send(to(key, payload))
	h.ok(r.Err, "send "+payload)
	return r
}

func to(key provider.Key, payload string) provider.Message {
	return provider.Message{To: provider.Target{Key: key}, Payload: []byte(payload)}
}

// mail returns all unread mail.
func (h *harness) mail(key provider.Key) []provider.Mail {
	h.Helper()
	mail, err := h.Mailbox(h.ctx, key, 1_000_000)
	h.ok(err, "mailbox")
	return mail
}

// letters returns the payloads of all unread mail.
func (h *harness) letters(key provider.Key) []string {
	h.Helper()
	letters := []string{}
	for _, m := range h.mail(key) {
		letters = append(letters, string(m.Payload))
	}
	return letters
}

// claim claims instances of flow.
func (h *harness) claim(node provider.NodeKey, limit int) provider.ClaimReply {
	h.Helper()
	reply, err := h.Claim(h.ctx, provider.ClaimRequest{Node: node, Definitions: []provider.Definition{flow}, Limit: limit})
	h.ok(err, "claim")
	return reply
}

func keysOf(rows []provider.Instance) []provider.Key {
	keys := []provider.Key{}
	for _, r := range rows {
		keys = append(keys, r.Key)
	}
	return keys
}

// load reads one instance whole.
func (h *harness) load(key provider.Key) provider.Loaded {
	h.Helper()
	l := h.loadPart(provider.LoadRequest{Key: key, MaxTurns: 100_000, MaxMail: 100_000, MaxBytes: 1 << 30})
	h.ok(l.Err, "load")
	return l
}

func (h *harness) loadPart(req provider.LoadRequest) provider.Loaded {
	h.Helper()
	loaded, err := h.Load(h.ctx, []provider.LoadRequest{req})
	h.ok(err, "load")
	if len(loaded) != 1 {
		h.Fatalf("load: %d results for 1 request", len(loaded))
	}
	return loaded[0]
}

func (h *harness) turns(key provider.Key) []provider.Turn {
	h.Helper()
	turns, err := h.Turns(h.ctx, key, 1, 1_000_000)
	h.ok(err, "turns")
	return turns
}

// job makes a task of the given command that is due.
func job(command int64) provider.NewTask {
	return provider.NewTask{Command: command, Name: "charge", Payload: []byte("input")}
}

var charge = provider.TaskFilter{Name: "charge"}

// claimTasks claims tasks named charge of the default pool.
func (h *harness) claimTasks(node provider.NodeKey, limit int) provider.TaskClaimReply {
	h.Helper()
	reply, err := h.ClaimTasks(h.ctx, provider.TaskClaim{Node: node, Filters: []provider.TaskFilter{charge}, Limit: limit})
	h.ok(err, "claim tasks")
	return reply
}

// working makes an instance, asleep, with one task that node holds.
func (h *harness) working(node provider.NodeKey, id string, command int64) (provider.Key, provider.Task) {
	h.Helper()
	key := h.owned(node, id)
	c := h.turn(key)
	c.Tasks, c.Release, c.DueAt = []provider.NewTask{job(command)}, true, provider.Never
	h.apply(node, c)
	claimed := h.claimTasks(node, 1).Tasks
	if len(claimed) != 1 || claimed[0].Instance != key {
		h.Fatalf("claim tasks: got %v, want the task of %s", claimed, id)
	}
	return key, claimed[0]
}

func (h *harness) finish(node provider.NodeKey, f provider.TaskFinish) error {
	h.Helper()
	errs, err := h.FinishTasks(h.ctx, node, []provider.TaskFinish{f})
	h.ok(err, "finish tasks")
	if len(errs) != 1 {
		h.Fatalf("finish tasks: %d results for 1 item", len(errs))
	}
	return errs[0]
}

func (h *harness) extend(node provider.NodeKey, b provider.TaskBeat) bool {
	h.Helper()
	held, err := h.ExtendTasks(h.ctx, node, []provider.TaskBeat{b})
	h.ok(err, "extend tasks")
	if len(held) != 1 {
		h.Fatalf("extend tasks: %d results for 1 item", len(held))
	}
	return held[0]
}

func (h *harness) taskRows(key provider.Key) []provider.Task {
	h.Helper()
	tasks, err := h.Tasks(h.ctx, key)
	h.ok(err, "tasks")
	return tasks
}

// stats counts what is in the store.
func (h *harness) stats() provider.Stats {
	h.Helper()
	s, err := h.Stats(h.ctx)
	h.ok(err, "stats")
	return s
}
