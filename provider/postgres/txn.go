package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// txn is the transaction of a group: what was locked and read, changed here as
// if one item came after the other, and then written as a whole.
type txn struct {
	s       *Store
	now     int64
	members map[provider.NodeKey]bool
	entries map[provider.Key]*entry
	byID    map[string]*entry
	seen    map[messageID]bool
	tasks   map[taskID]*task
	// touched are the entries to be written, in the order of the first change.
	touched  []*entry
	sessions map[session]bool // that were used
	defs     map[provider.Definition]bool
	// apart is set when something is missing that only this combination of
	// items needs.
	apart bool
	// loud is set when others may want to know.
	loud bool
}

func newTxn(s *Store) *txn {
	return &txn{s: s, entries: map[provider.Key]*entry{}, byID: map[string]*entry{}}
}

// entry is a row of instances with what happens to it and to what belongs to
// it. CustomStatus, TurnFailure and Outcome are what will be written, not what
// is there.
type entry struct {
	provider.Instance
	shard   int32
	extras  int16
	changed change

	// What the store has, where it matters for what is deleted.
	storedRead, storedMail int64

	mail        []provider.Mail // new
	turns       []provider.Turn
	messageIDs  []string
	forget      bool // message IDs
	values      []provider.Value
	replies     []provider.Reply
	dropReplies int64
	failure     []byte
	blobs       []provider.BlobAddress

	clearTasks  bool // before tasks are added
	addTasks    []newTask
	updateTasks []*task
	removeTasks []taskID
}

type newTask struct {
	execution int64
	*provider.NewTask
}

// What an instance may have beside its row.
const (
	hasTasks      = 1
	hasMessageIDs = 2
)

// change says which columns differ from the store, so that what is indexed is
// only written when it has to be.
type change uint8

const (
	changedTasks change = 1 << iota // nothing of the row
	changedTurn                     // what every turn changes
	changedState                    // the rest
	made                            // the row does not exist yet
)

func (t *txn) touch(e *entry, c change) {
	if e.changed == 0 {
		t.touched = append(t.touched, e)
	}
	e.changed |= c
}

// session is used by a node.
type session struct {
	name string
	node provider.NodeKey
}

// task is a row of tasks without its payloads: Failure and Details are what
// will be written, not what is there.
type task struct {
	provider.Task
	id          taskID
	changed     bool
	rescheduled bool // VisibleAt, and with it the time at which it expires
}

// read makes the first trip: it locks in order, and reads what is locked.
func (t *txn) read(ctx context.Context, x *tx, n *needs) error {
	return x.begin(ctx, func(trip *trip) {
		if len(n.nodes) > 0 {
			t.members = map[provider.NodeKey]bool{}
			nodes := distinct(n.nodes)
			shards := make([]int32, len(nodes))
			for i, k := range nodes {
				shards[i] = t.s.nodeShard(k)
			}
			trip.each(qNodesLock, func(rows pgx.Rows) error {
				var k provider.NodeKey
				err := rows.Scan(&k)
				t.members[k] = true
				return err
			}, shards, numbers(nodes))
		}
		t.lockInstances(trip, n)
		if len(n.messageIDs)+len(n.messageIDsTo) > 0 {
			t.readMessageIDs(trip, n)
		}
		if len(n.tasks) > 0 {
			t.lockTasks(trip, n)
		}
		trip.each(qClock, one(&t.now))
	})
}

func (t *txn) lockInstances(trip *trip, n *needs) {
	scan := func(rows pgx.Rows) error {
		e := &entry{}
		if err := rows.Scan(e.columns()...); err != nil {
			return err
		}
		e.shard = t.s.keyShard(e.Key)
		e.storedRead, e.storedMail = e.ReadSeq, e.MailboxSeq
		t.entries[e.Key], t.byID[e.ID] = e, e
		return nil
	}
	keys := distinct(n.keys)
	if len(n.ids)+len(n.endKeys) == 0 {
		trip.each(qInstancesLock, scan, t.s.keyShards(keys), numbers(keys))
		return
	}
	ids, endKeys, endIDs := distinct(n.ids), distinct(n.endKeys), distinct(n.endIDs)
	trip.each(qInstancesLockAny, scan, t.s.keyShards(keys), numbers(keys), t.s.textShards(ids), ids, t.s.shards,
		t.s.keyShards(endKeys), numbers(endKeys), t.s.textShards(endIDs), endIDs)
}

// columns are the destinations of state_columns.
func (e *entry) columns() []any {
	return []any{&e.Key, &e.ID, &e.Name, &e.Version, &e.Status, &e.Execution, &e.NextTurn, &e.HistoryFrom, &e.MailboxSeq,
		&e.ReadSeq, &e.DueAt, &e.NotBefore, &e.WakeAt, &e.Owner, &e.Attempts, &e.LastCommit, &e.Parent.Key, &e.Parent.ID,
		&e.Parent.Execution, &e.Parent.Command, &e.CreatedAt, &e.UpdatedAt, &e.ClosedAt, &e.FailedAt,
		&e.CustomStatusTurn, &e.extras}
}

func (t *txn) readMessageIDs(trip *trip, n *needs) {
	t.seen = map[messageID]bool{}
	var keys []provider.Key
	var ids, to, idsTo []string
	for _, m := range n.messageIDs {
		keys, ids = append(keys, m.key), append(ids, m.id)
	}
	for _, m := range n.messageIDsTo {
		to, idsTo = append(to, m.to), append(idsTo, m.id)
	}
	trip.each(qMessageIDsGet, func(rows pgx.Rows) error {
		var m messageID
		err := rows.Scan(&m.key, &m.id)
		t.seen[m] = true
		return err
	}, t.s.keyShards(keys), numbers(keys), ids, t.s.textShards(to), to, idsTo)
}

func (t *txn) lockTasks(trip *trip, n *needs) {
	t.tasks = map[taskID]*task{}
	slices.SortFunc(n.tasks, compareTaskIDs)
	ids := newTaskColumns(t.s, slices.Compact(n.tasks))
	trip.each(qTasksLock, func(rows pgx.Rows) error {
		k := &task{}
		err := rows.Scan(&k.id.key, &k.id.execution, &k.id.command, &k.Holder, &k.HeldSince, &k.Attempt, &k.Parked,
			&k.VisibleAt, &k.StartWithin, &k.CloseBy, &k.Session)
		t.tasks[k.id] = k
		return err
	}, ids.shards, ids.keys, ids.executions, ids.commands)
}

// taskColumns are task IDs as arrays.
type taskColumns struct {
	shards               []int32
	keys                 []int64
	executions, commands []int64
}

func newTaskColumns(s *Store, ids []taskID) (c taskColumns) {
	for _, id := range ids {
		c.add(s.keyShard(id.key), id)
	}
	return c
}

func (c *taskColumns) add(shard int32, id taskID) {
	c.shards, c.keys = append(c.shards, shard), append(c.keys, int64(id.key))
	c.executions, c.commands = append(c.executions, id.execution), append(c.commands, id.command)
}

// find returns the instance that a target names, or nil.
func (t *txn) find(to provider.Target) *entry {
	if to.Key == 0 {
		return t.byID[to.ID]
	}
	e := t.entries[to.Key]
	if e == nil || to.ID != "" && to.ID != e.ID {
		return nil
	}
	return e
}

// wake recomputes WakeAt after a change of what decides it.
func (t *txn) wake(e *entry) {
	at := e.ComputeWakeAt(t.now)
	if e.Owner != 0 && at < provider.Never && e.WakeAt <= t.now {
		return // seen by its owner already: leave the index alone
	}
	if at != e.WakeAt {
		e.WakeAt = at
		t.touch(e, changedState)
	}
}

// after is called when the group has been committed.
func (t *txn) after() {
	for d := range t.defs {
		t.s.definitions.Store(d, true)
	}
	t.s.settled.note(t.s, t.touched)
	if t.loud {
		t.s.announce()
	}
}
