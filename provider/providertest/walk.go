package providertest

import (
	"errors"
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
	shown map[provider.Key]*shown
}

type heldTask struct {
	node    provider.NodeKey // zero: parked
	ref     provider.TaskRef
	expired bool
}

// walkReplies is how many requests there are to answer.
const walkReplies = 3

// shown is what an instance must have published.
type shown struct {
	values, replies map[string]string
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
	w := &walker{harness: h, rng: rand.New(rand.NewPCG(seed, 0)), turns: map[provider.Key]int64{}, shown: map[provider.Key]*shown{}}
	w.nodes = append(w.nodes, h.join(), h.join())
	actions := []struct {
		weight int
		do     func()
	}{
		{3, w.makeInstance}, {6, w.makeMail}, {6, w.makeClaim}, {14, w.makeCommit}, {2, w.repeatCommit},
		{4, w.takeTasks}, {5, w.endTask}, {2, w.operate}, {1, w.bury}, {1, w.addNode},
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
	for range w.rng.IntN(3) {
		n.With = append(n.With, w.message())
	}
	w.create(pick(w, w.nodes), n)
	w.keys = append(w.keys, n.Key)
}

func (w *walker) message() provider.Message {
	m := provider.Message{Payload: []byte("m" + itoa(w.step))}
	if len(w.keys) > 0 {
		m.To.Key = pick(w, w.keys)
	}
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
	w.applied(&c, r)
}

// applied notes what a commit has done that succeeded for the first time.
func (w *walker) applied(c *provider.Commit, r provider.CommitResult) {
	if c.Turn != nil {
		w.turns[c.Key]++
	}
	for i, child := range r.Children {
		if child.Err == nil {
			w.keys = append(w.keys, c.Children[i].Key)
		}
	}
	s := w.shown[c.Key]
	if s == nil {
		s = &shown{values: map[string]string{}, replies: map[string]string{}}
		w.shown[c.Key] = s
	}
	for _, v := range c.Values {
		s.values[v.Name] = string(v.Payload)
		if v.Payload == nil {
			delete(s.values, v.Name)
		}
	}
	if c.DropReplies == provider.Never {
		clear(s.replies)
	}
	for _, r := range c.Replies {
		if _, answered := s.replies[r.ID]; !answered {
			s.replies[r.ID] = string(r.Payload)
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
		switch {
		case w.chance(20):
			c.Status = provider.Quarantined
		case w.chance(10): // a dead letter
			c.Status, c.Outcome, c.DueAt = provider.Failed, []byte("over"), provider.Never
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
		c.Tasks = append(c.Tasks, w.task())
	}
	w.publishIn(&c)
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

// task makes a task: in a session, with little time, or parked, or none of it.
func (w *walker) task() provider.NewTask {
	t := job(int64(1 + w.rng.IntN(5)))
	if w.chance(40) {
		t.Session = "s" + itoa(w.rng.IntN(3))
	}
	switch w.rng.IntN(6) {
	case 0:
		t.CloseBy = 1000
	case 1:
		t.VisibleAt, t.StartWithin = 1000, 500
	case 2:
		t.Parked, t.VisibleAt = true, []int64{1000, provider.Never}[w.rng.IntN(2)]
	}
	return t
}

// publishIn adds values and replies to a commit, each name at most once.
func (w *walker) publishIn(c *provider.Commit) {
	for i := range w.rng.IntN(3) {
		v := value("v"+itoa(i), itoa(w.step))
		if w.chance(30) {
			v.Payload = nil
		}
		c.Values = append(c.Values, v)
	}
	if w.chance(30) {
		c.Replies = append(c.Replies, reply("r"+itoa(w.rng.IntN(walkReplies)), itoa(w.step)))
	}
	if w.chance(5) {
		c.DropReplies = provider.Never
	}
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
		w.applied(&w.last.commit, results[0])
	}
}

func (w *walker) takeTasks() {
	node := w.anyNode()
	reply, err := w.ClaimTasks(w.ctx, provider.TaskClaim{
		Node: node, Filters: []provider.TaskFilter{charge}, Limit: 2,
		MaxSessions: w.rng.IntN(3), SessionIdle: []int64{0, 1, hour}[w.rng.IntN(3)],
	})
	if err != nil {
		w.is(err, provider.ErrNodeGone, "claim tasks")
		return
	}
	for _, t := range reply.Tasks {
		w.tasks = append(w.tasks, heldTask{node, t.Ref(), t.Expired})
	}
}

// parkTask notes a parked task, for those outside to finish.
func (w *walker) parkTask() {
	if len(w.keys) == 0 {
		return
	}
	for _, t := range w.taskRows(pick(w, w.keys)) {
		if t.Parked {
			w.tasks = append(w.tasks, heldTask{ref: t.Ref()})
		}
	}
}

func (w *walker) endTask() {
	w.parkTask()
	if len(w.tasks) == 0 {
		return
	}
	t := pick(w, w.tasks)
	f := provider.TaskFinish{TaskRef: t.ref, GiveBack: w.chance(30)}
	switch {
	case w.chance(60):
		f.Message = []byte("result")
	case w.chance(40):
		f.Park, f.VisibleAt = true, []int64{1000, provider.Never}[w.rng.IntN(2)]
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
	amender, _ := w.store.(provider.Amender)
	holder, _ := w.store.(provider.Holder)
	switch n := w.rng.IntN(13); {
	case n >= 10 && holder != nil:
		w.hold(holder, t)
	case n >= 8 && n < 10 && amender != nil:
		err = amender.Amend(w.ctx, provider.Amendment{To: t, Failure: "amended", Resume: w.chance(70)})
		if errors.Is(err, provider.ErrConflict) {
			err = nil // it runs, or has ended
		}
	case n == 0:
		err = w.Terminate(w.ctx, t, []byte("stopped"), []byte("told"))
	case n <= 2:
		err = w.Suspend(w.ctx, t)
	case n <= 6:
		err = w.Resume(w.ctx, t)
	case n == 7:
		w.ok(w.Delete(w.ctx, t, true), "delete")
		delete(w.turns, t.Key)
		delete(w.shown, t.Key)
		w.keys = append(w.keys[:i], w.keys[i+1:]...)
	}
	if err != nil {
		w.is(err, provider.ErrNotOpen, "operator")
	}
}

// hold suspends an instance with a reason, or lifts that, and compares the row
// with what was to become of it.
func (w *walker) hold(holder provider.Holder, t provider.Target) {
	reason := ""
	if w.chance(60) {
		reason = "held in step " + itoa(w.step)
	}
	before := w.row(t.Key)
	err := holder.Hold(w.ctx, t, reason)
	after := w.row(t.Key)
	if !before.Status.Open() {
		w.is(err, provider.ErrNotOpen, "hold of the ended")
		w.same("row of the ended", after, before)
		return
	}
	w.ok(err, "hold")
	switch {
	case reason != "" && before.Status.Runnable():
		w.same("held", []any{after.Status, after.Owner, after.TurnFailure, after.FailedAt > 0},
			[]any{provider.Suspended, provider.NodeKey(0), reason, true})
	case reason == "" && before.Status == provider.Suspended:
		w.same("lifted", []any{after.Status.Runnable(), after.TurnFailure, after.FailedAt, after.Attempts},
			[]any{true, "", int64(0), int64(0)})
	default:
		w.same("row that is left alone", after, before)
	}
}
