package providertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"

	"github.com/durango-go/durango/provider"
)

// walkSeed names the environment variable that repeats one walk.
const walkSeed = "PROVIDERTEST_SEED"

var walkCases = []testCase{
	{"ARandomWalkKeepsTheInvariants", func(h *harness) {
		seed := rand.Uint64()
		if s := os.Getenv(walkSeed); s != "" {
			n, err := strconv.ParseUint(s, 10, 64)
			h.ok(err, walkSeed)
			seed = n
		}
		h.walk(seed, 400)
	}},
	{"AFixedWalkKeepsTheInvariants", func(h *harness) { h.walk(1, 250) }},
	{"AnotherFixedWalkKeepsTheInvariants", func(h *harness) { h.walk(2, 250) }},
}

// walker takes random steps: nodes that come and die, instances that run,
// fail, continue as new, end, are suspended and deleted, tasks, late and
// repeated calls of all of them.
type walker struct {
	*harness
	rng   *rand.Rand
	step  int
	nodes []provider.NodeKey // the living
	dead  []provider.NodeKey
	keys  []provider.Key
	turns map[provider.Key]int64 // commits acknowledged
	tasks []heldTask             // claimed, perhaps long lost
	last  *sentCommit
}

type heldTask struct {
	node provider.NodeKey
	ref  provider.TaskRef
}

type sentCommit struct {
	node   provider.NodeKey
	commit provider.Commit
}

func (h *harness) walk(seed uint64, steps int) {
	h.Helper()
	h.Cleanup(func() {
		if h.Failed() {
			h.Logf("repeat with %s=%d", walkSeed, seed)
		}
	})
	w := &walker{harness: h, rng: rand.New(rand.NewPCG(seed, 0)), turns: map[provider.Key]int64{}}
	w.nodes = append(w.nodes, h.join(), h.join())
	actions := []struct {
		weight int
		do     func()
	}{
		{3, w.makeInstance}, {6, w.makeMail}, {6, w.makeClaim}, {14, w.makeCommit}, {2, w.repeatCommit},
		{4, w.takeTasks}, {4, w.endTask}, {2, w.operate}, {1, w.bury}, {1, w.addNode},
	}
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	for w.step = 1; w.step <= steps && !h.Failed(); w.step++ {
		n := w.rng.IntN(total)
		for _, a := range actions {
			if n -= a.weight; n < 0 {
				a.do()
				break
			}
		}
		w.check()
	}
}

func pick[T any](w *walker, items []T) T { return items[w.rng.IntN(len(items))] }

func (w *walker) chance(percent int) bool { return w.rng.IntN(100) < percent }

func (w *walker) addNode() {
	if len(w.nodes) < 4 {
		w.nodes = append(w.nodes, w.join())
	}
}

func (w *walker) bury() {
	if len(w.nodes) < 2 {
		return
	}
	i := w.rng.IntN(len(w.nodes))
	w.dead = append(w.dead, w.nodes[i])
	w.kill(w.nodes[i])
	w.nodes = append(w.nodes[:i], w.nodes[i+1:]...)
}

// anyNode is sometimes a dead one.
func (w *walker) anyNode() provider.NodeKey {
	if len(w.dead) > 0 && w.chance(10) {
		return pick(w, w.dead)
	}
	return pick(w, w.nodes)
}

func (w *walker) makeInstance() {
	if len(w.keys) >= 10 {
		return
	}
	n := draft("walk-" + itoa(w.step))
	n.Owned = w.chance(50)
	if w.chance(15) {
		n.NotBefore = w.now() + hour
	}
	if len(w.keys) > 0 && w.chance(50) {
		n.Parent = provider.ParentLink{Key: pick(w, w.keys), ID: "p", Execution: 1, Command: 3}
	}
	w.create(pick(w, w.nodes), n)
	w.keys = append(w.keys, n.Key)
}

func (w *walker) message() provider.Message {
	m := to(pick(w, w.keys), "m"+itoa(w.step))
	if w.chance(30) {
		m.ID = "id-" + itoa(w.rng.IntN(5))
	}
	if w.chance(10) {
		m.To = provider.Target{ID: "nobody"}
	}
	if w.chance(50) {
		m.FromCommand, m.Refusal = 2, []byte("refused")
	}
	m.Execution, m.Command = 1, int64(w.rng.IntN(4))
	return m
}

func (w *walker) makeMail() {
	if len(w.keys) == 0 {
		return
	}
	var batch []provider.Message
	for range 1 + w.rng.IntN(4) {
		batch = append(batch, w.message())
	}
	_, err := w.Send(w.ctx, batch)
	w.ok(err, "send")
}

func (w *walker) makeClaim() {
	node := w.anyNode()
	_, err := w.Claim(w.ctx, provider.ClaimRequest{Node: node, Definitions: []provider.Definition{flow}, Limit: 1 + w.rng.IntN(3)})
	if err != nil {
		w.is(err, provider.ErrNodeGone, "claim")
	}
}

func (w *walker) makeCommit() {
	if len(w.keys) == 0 {
		return
	}
	key := pick(w, w.keys)
	row := w.row(key)
	node := row.Owner
	if node == 0 || w.chance(10) {
		node = w.anyNode() // a zombie
	}
	c := w.commitOf(&row)
	valid := node == row.Owner && c.Expect == row.NextTurn
	w.last = &sentCommit{node, c}
	results, err := w.Commit(w.ctx, node, []provider.Commit{c})
	if errors.Is(err, provider.ErrNodeGone) {
		w.same("refused although the owner", valid, false)
		return
	}
	w.ok(err, "commit")
	r := results[0]
	if !valid {
		w.is(r.Err, provider.ErrConflict, "commit of a zombie")
		return
	}
	w.ok(r.Err, "commit")
	if c.Turn != nil {
		w.turns[key]++
	}
	for i, child := range r.Children {
		if child.Err == nil {
			w.keys = append(w.keys, c.Children[i].Key)
		}
	}
}

func (w *walker) commitOf(row *provider.Instance) provider.Commit {
	c := beside(row)
	if w.chance(10) {
		c.Expect--
	}
	if row.Unread() {
		c.ReadSeq = row.ReadSeq + w.rng.Int64N(row.MailboxSeq-row.ReadSeq+1)
	}
	c.DueAt = []int64{0, provider.Never, row.CreatedAt + hour}[w.rng.IntN(3)]
	c.Release = w.chance(40)
	if w.chance(15) { // a failure
		c.Release, c.Failure, c.Charge = true, "no", w.chance(50)
		c.NotBefore = []int64{0, row.CreatedAt + hour}[w.rng.IntN(2)]
		if w.chance(20) {
			c.Status = provider.Quarantined
		}
		return c
	}
	if w.chance(80) {
		c.Turn = &provider.Turn{Number: c.Expect, Execution: row.Execution, CommitID: c.CommitID, Events: []byte("events")}
		c.Status = provider.Running
	}
	for range w.rng.IntN(3) {
		c.Messages = append(c.Messages, w.message())
	}
	for range w.rng.IntN(3) {
		c.Tasks = append(c.Tasks, job(int64(1+w.rng.IntN(5))))
	}
	if w.chance(20) {
		c.CancelTasks = []int64{int64(1 + w.rng.IntN(5))}
	}
	if w.chance(10) && len(w.keys) < 10 {
		child := draft("walk-" + itoa(w.rng.IntN(w.step)+1)) // sometimes taken
		child.Owned, child.Command, child.Refusal = w.chance(50), 2, []byte("taken")
		child.Parent = provider.ParentLink{Key: row.Key, ID: row.ID, Execution: row.Execution, Command: 2}
		c.Children = []provider.NewInstance{child}
	}
	switch {
	case c.Turn == nil:
	case w.chance(10):
		c.Execution, c.HistoryFrom, c.DueAt = row.Execution+1, c.Expect, 0
	case w.chance(8):
		c.Status, c.Outcome = provider.Completed, []byte("out")
	}
	return c
}

func (w *walker) repeatCommit() {
	if w.last == nil {
		return
	}
	before, err := w.Get(w.ctx, provider.Target{Key: w.last.commit.Key})
	results, cerr := w.Commit(w.ctx, w.last.node, []provider.Commit{w.last.commit})
	switch {
	case errors.Is(cerr, provider.ErrNodeGone):
	case cerr != nil:
		w.ok(cerr, "repeated commit")
	case errors.Is(err, provider.ErrNotFound):
		w.is(results[0].Err, provider.ErrNotFound, "repeated commit of the deleted")
	case before.LastCommit == w.last.commit.CommitID:
		w.ok(results[0].Err, "repeated commit")
		w.same("row after a repeated commit", w.row(before.Key), before)
	case results[0].Err == nil: // refused at first, and the node owns it now
		if w.last.commit.Turn != nil {
			w.turns[before.Key]++
		}
		for i, child := range results[0].Children {
			if child.Err == nil {
				w.keys = append(w.keys, w.last.commit.Children[i].Key)
			}
		}
	}
}

func (w *walker) takeTasks() {
	node := w.anyNode()
	reply, err := w.ClaimTasks(w.ctx, provider.TaskClaim{Node: node, Filters: []provider.TaskFilter{charge}, Limit: 2})
	if err != nil {
		w.is(err, provider.ErrNodeGone, "claim tasks")
		return
	}
	for _, t := range reply.Tasks {
		w.tasks = append(w.tasks, heldTask{node, t.Ref()})
	}
}

func (w *walker) endTask() {
	if len(w.tasks) == 0 {
		return
	}
	t := pick(w, w.tasks)
	f := provider.TaskFinish{TaskRef: t.ref, GiveBack: w.chance(30)}
	if w.chance(60) {
		f.Message = []byte("result")
	}
	held := w.extend(t.node, provider.TaskBeat{TaskRef: t.ref})
	if err := w.finish(t.node, f); held {
		w.ok(err, "finish of a held task")
	} else {
		w.is(err, provider.ErrStale, "finish of a lost task")
	}
}

func (w *walker) operate() {
	if len(w.keys) == 0 {
		return
	}
	i := w.rng.IntN(len(w.keys))
	t := provider.Target{Key: w.keys[i]}
	var err error
	switch w.rng.IntN(8) {
	case 0:
		err = w.Terminate(w.ctx, t, []byte("stopped"), []byte("told"))
	case 1, 2:
		err = w.Suspend(w.ctx, t)
	case 3, 4, 5, 6:
		err = w.Resume(w.ctx, t)
	case 7:
		w.ok(w.Delete(w.ctx, t, true), "delete")
		delete(w.turns, t.Key)
		w.keys = append(w.keys[:i], w.keys[i+1:]...)
	}
	if err != nil {
		w.is(err, provider.ErrNotOpen, "operator")
	}
}

// check verifies what holds between any two calls.
func (w *walker) check() {
	living := map[provider.NodeKey]bool{0: true}
	for _, n := range w.nodes {
		living[n] = true
	}
	var unread, turns, tasks int64
	for _, key := range w.keys {
		row, mail, rows := w.row(key), w.mail(key), w.taskRows(key)
		history := w.harness.turns(key)
		unread, turns, tasks = unread+int64(len(mail)), turns+int64(len(history)), tasks+int64(len(rows))
		fail := func(format string, args ...any) {
			w.Errorf("step %d, %s: %s\nrow: %+v", w.step, row.ID, fmt.Sprintf(format, args...), row)
		}
		if row.MailboxSeq-row.ReadSeq != int64(len(mail)) {
			fail("%d messages are unread", len(mail))
		}
		for i, m := range mail {
			if m.Seq != row.ReadSeq+int64(i)+1 {
				fail("message %d is at place %d", m.Seq, i)
			}
		}
		if int64(len(history)) != row.NextTurn-1 || w.turns[key] != row.NextTurn-1 {
			fail("%d turns are stored, %d were acknowledged", len(history), w.turns[key])
		}
		for i, t := range history {
			if t.Number != int64(i+1) {
				fail("turn %d is at place %d", t.Number, i)
			}
		}
		if !living[row.Owner] {
			fail("the owner is dead")
		}
		if row.Owner != 0 && !row.Status.Runnable() {
			fail("owned, and cannot run")
		}
		if (row.ClosedAt != 0) == row.Status.Open() {
			fail("closed at does not fit the status")
		}
		if !row.Status.Open() && len(mail)+len(rows) != 0 {
			fail("ended with %d messages and %d tasks", len(mail), len(rows))
		}
		if !rightWakeAt(&row, w.now()) {
			fail("wake at is wrong")
		}
		for _, t := range rows {
			if t.Execution != row.Execution || !living[t.Holder] {
				fail("task %+v does not belong", t)
			}
		}
	}
	s := w.stats()
	w.same("unread mail counted", s.UnreadMail, unread)
	w.same("turns counted", s.Turns, turns)
	w.same("tasks counted", s.TaskWaiting+s.TaskHeld, tasks)
	w.same("nodes counted", s.Nodes, len(w.nodes))
}

// rightWakeAt reports whether WakeAt says what ComputeWakeAt means. The time
// at which mail came is not in the row, hence a range.
func rightWakeAt(row *provider.Instance, now int64) bool {
	switch {
	case !row.Status.Runnable(), row.Owner != 0 && !row.Unread():
		return row.WakeAt == provider.Never
	case row.Owner != 0:
		return row.WakeAt <= now
	case row.Unread():
		return row.WakeAt >= row.NotBefore && row.WakeAt <= max(now, row.NotBefore)
	}
	return row.WakeAt == max(row.DueAt, row.NotBefore)
}
