package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/durango-go/durango/provider"
)

// write makes the second trip: everything that the items changed, table by
// table, and the end of the transaction.
func (t *txn) write(ctx context.Context, x *tx) error {
	trip := t.s.trip()
	if len(t.touched) > 0 || len(t.sessions) > 0 {
		slices.SortFunc(t.touched, func(a, b *entry) int {
			return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(a.Key, b.Key))
		})
		t.writeRows(trip)
		t.writeHistory(trip)
		t.writeMail(trip)
		t.writePublished(trip)
		t.writeTasks(trip)
		t.writeBlobs(trip)
		t.writeSessions(trip)
		t.writeNew(trip)
	}
	return x.commit(ctx, trip)
}

// rowColumns are rows of instances as arrays.
type rowColumns struct {
	shards                                                                            []int32
	keys, nextTurns, mailboxSeqs, readSeqs, dueAts, lastCommits, updatedAts           []int64
	owners, wakeAts, notBefores, executions, historyFroms, attempts, failedAts        []int64
	closedAts, customStatusTurns, createdAts, parentKeys, parentExecutions, parentCmd []int64
	statuses, extras                                                                  []int16
	names, versions, ids, parentIDs                                                   []string
	failures, customStatuses, outcomes                                                [][]byte
}

func (c *rowColumns) addTurn(e *entry) {
	c.shards, c.keys = append(c.shards, e.shard), append(c.keys, int64(e.Key))
	c.nextTurns = append(c.nextTurns, e.NextTurn)
	c.mailboxSeqs, c.readSeqs = append(c.mailboxSeqs, e.MailboxSeq), append(c.readSeqs, e.ReadSeq)
	c.dueAts, c.lastCommits = append(c.dueAts, e.DueAt), append(c.lastCommits, e.LastCommit)
	c.updatedAts = append(c.updatedAts, e.UpdatedAt)
}

func (c *rowColumns) addState(e *entry) {
	c.addTurn(e)
	c.owners, c.wakeAts = append(c.owners, int64(e.Owner)), append(c.wakeAts, e.WakeAt)
	c.notBefores, c.executions = append(c.notBefores, e.NotBefore), append(c.executions, e.Execution)
	c.historyFroms, c.attempts = append(c.historyFroms, e.HistoryFrom), append(c.attempts, e.Attempts)
	c.failedAts, c.closedAts = append(c.failedAts, e.FailedAt), append(c.closedAts, e.ClosedAt)
	c.customStatusTurns = append(c.customStatusTurns, e.CustomStatusTurn)
	c.statuses, c.extras = append(c.statuses, int16(e.Status)), append(c.extras, e.extras)
	c.names, c.versions = append(c.names, e.Name), append(c.versions, e.Version)
	c.failures, c.customStatuses = append(c.failures, e.failure), append(c.customStatuses, e.CustomStatus)
	c.outcomes = append(c.outcomes, e.Outcome)
}

func (c *rowColumns) addNew(e *entry) {
	c.addState(e)
	c.ids, c.createdAts = append(c.ids, e.ID), append(c.createdAts, e.CreatedAt)
	c.parentKeys, c.parentIDs = append(c.parentKeys, int64(e.Parent.Key)), append(c.parentIDs, e.Parent.ID)
	c.parentExecutions = append(c.parentExecutions, e.Parent.Execution)
	c.parentCmd = append(c.parentCmd, e.Parent.Command)
}

// turn, state and all are the arguments of the statements of these rows.
func (c *rowColumns) turn() []any {
	return []any{c.shards, c.keys, c.nextTurns, c.mailboxSeqs, c.readSeqs, c.dueAts, c.lastCommits, c.updatedAts}
}

func (c *rowColumns) state() []any {
	return append(c.turn(), c.owners, c.wakeAts, c.notBefores, c.executions, c.historyFroms, c.attempts, c.failedAts,
		c.closedAts, c.customStatusTurns, c.statuses, c.extras, c.names, c.versions, c.failures, c.customStatuses, c.outcomes)
}

func (c *rowColumns) all() []any {
	return append(c.state(), c.ids, c.createdAts, c.parentKeys, c.parentIDs, c.parentExecutions, c.parentCmd)
}

func (t *txn) writeRows(trip *trip) {
	var turns, states rowColumns
	for _, e := range t.touched {
		switch {
		case e.changed&made != 0:
		case e.changed&changedState != 0:
			states.addState(e)
		case e.changed&changedTurn != 0:
			turns.addTurn(e)
		}
	}
	if len(turns.keys) > 0 {
		trip.add(qInstancesTurn, turns.turn()...)
	}
	if len(states.keys) > 0 {
		trip.add(qInstancesState, states.state()...)
	}
}

func (t *txn) writeHistory(trip *trip) {
	var shards, deliveries, commands []int32
	var keys, numbers, executions, commits, times []int64
	var events [][]byte
	for _, e := range t.touched {
		for i := range e.turns {
			h := &e.turns[i]
			shards, keys, numbers = append(shards, e.shard), append(keys, int64(e.Key)), append(numbers, h.Number)
			executions, commits, times = append(executions, h.Execution), append(commits, h.CommitID), append(times, h.Time)
			deliveries, commands = append(deliveries, int32(h.Deliveries)), append(commands, int32(h.Commands))
			events = append(events, h.Events)
		}
	}
	if len(keys) > 0 {
		trip.add(qHistoryInsert, shards, keys, numbers, executions, commits, times, deliveries, commands, events)
	}
}

func (t *txn) writeMail(trip *trip) {
	var shards, readShards, idShards, forgetShards []int32
	var keys, seqs, executions, commands, readKeys, behind, upto, idKeys, forget []int64
	var refused []int16
	var payloads [][]byte
	var ids []string
	for _, e := range t.touched {
		for i := range e.mail {
			m := &e.mail[i]
			shards, keys, seqs = append(shards, e.shard), append(keys, int64(e.Key)), append(seqs, m.Seq)
			executions, commands = append(executions, m.Execution), append(commands, m.Command)
			refused, payloads = append(refused, int16(m.Refused)), append(payloads, m.Payload)
		}
		if e.changed&made == 0 && e.ReadSeq > e.storedRead && e.storedMail > e.storedRead {
			readShards, readKeys = append(readShards, e.shard), append(readKeys, int64(e.Key))
			behind, upto = append(behind, e.storedRead), append(upto, e.ReadSeq)
		}
		for _, id := range e.messageIDs {
			idShards, idKeys, ids = append(idShards, e.shard), append(idKeys, int64(e.Key)), append(ids, id)
		}
		if e.forget {
			forgetShards, forget = append(forgetShards, e.shard), append(forget, int64(e.Key))
		}
	}
	if len(readKeys) > 0 {
		trip.add(qMessagesConsume, readShards, readKeys, behind, upto)
	}
	if len(keys) > 0 {
		trip.add(qMessagesInsert, shards, keys, seqs, executions, commands, refused, payloads)
	}
	if len(forget) > 0 {
		trip.add(qMessageIDsClear, forgetShards, forget)
	}
	if len(ids) > 0 {
		trip.add(qMessageIDsInsert, idShards, idKeys, ids)
	}
}

func (t *txn) writePublished(trip *trip) {
	var setShards, goneShards, dropShards, shards []int32
	var setKeys, goneKeys, dropKeys, dropBefore, keys, storedAts []int64
	var setNames, goneNames, ids []string
	var set, payloads [][]byte
	for _, e := range t.touched {
		last := map[string][]byte{} // one statement cannot set a value twice
		for _, v := range e.values {
			last[v.Name] = v.Payload
		}
		for name, payload := range last {
			if payload == nil {
				goneShards, goneKeys, goneNames = append(goneShards, e.shard), append(goneKeys, int64(e.Key)), append(goneNames, name)
				continue
			}
			setShards, setKeys = append(setShards, e.shard), append(setKeys, int64(e.Key))
			setNames, set = append(setNames, name), append(set, payload)
		}
		if e.dropReplies > 0 {
			dropShards, dropKeys = append(dropShards, e.shard), append(dropKeys, int64(e.Key))
			dropBefore = append(dropBefore, e.dropReplies)
		}
		for _, r := range e.replies {
			shards, keys, ids = append(shards, e.shard), append(keys, int64(e.Key)), append(ids, r.ID)
			storedAts, payloads = append(storedAts, t.now), append(payloads, r.Payload)
		}
	}
	if len(setKeys) > 0 {
		trip.add(qValuesSet, setShards, setKeys, setNames, set)
	}
	if len(goneKeys) > 0 {
		trip.add(qValuesRemove, goneShards, goneKeys, goneNames)
	}
	if len(dropKeys) > 0 {
		trip.add(qRepliesDrop, dropShards, dropKeys, dropBefore)
	}
	if len(keys) > 0 {
		trip.add(qRepliesInsert, shards, keys, ids, storedAts, payloads)
	}
}

func (t *txn) writeTasks(trip *trip) {
	var updated, removed taskColumns
	var holders, attempts []int64
	var visibleAts, expires []*int64
	var parked []bool
	var failures, details [][]byte
	var clearShards []int32
	var clears []int64
	for _, e := range t.touched {
		if e.clearTasks {
			clearShards, clears = append(clearShards, e.shard), append(clears, int64(e.Key))
		} else {
			for _, k := range e.updateTasks {
				if t.tasks[k.id] == nil {
					continue // removed since
				}
				updated.add(e.shard, k.id)
				holders, attempts, parked = append(holders, int64(k.Holder)), append(attempts, k.Attempt), append(parked, k.Parked)
				failures, details = append(failures, k.Failure), append(details, k.Details)
				var visibleAt, expire *int64
				if k.rescheduled {
					at := k.ComputeExpiresAt()
					visibleAt, expire = &k.VisibleAt, &at
				}
				visibleAts, expires = append(visibleAts, visibleAt), append(expires, expire)
			}
		}
		for _, id := range e.removeTasks {
			removed.add(e.shard, id)
		}
	}
	if len(holders) > 0 {
		trip.add(qTasksUpdate, updated.shards, updated.keys, updated.executions, updated.commands,
			holders, attempts, visibleAts, expires, parked, failures, details)
	}
	if len(removed.keys) > 0 {
		trip.add(qTasksDelete, removed.shards, removed.keys, removed.executions, removed.commands)
	}
	if len(clears) > 0 {
		trip.add(qTasksClear, clearShards, clears)
	}
	t.insertTasks(trip)
}

func (t *txn) insertTasks(trip *trip) {
	var ids taskColumns
	var attempts, visibleAts, expires, scheduledAts, startWithins, closeBys []int64
	var sessionShards []int32
	var parked []bool
	var names, pools, sessions []string
	var payloads, failures, details [][]byte
	for _, e := range t.touched {
		for _, k := range e.addTasks {
			ids.add(e.shard, taskID{e.Key, k.execution, k.Command})
			attempts, visibleAts = append(attempts, k.Attempt), append(visibleAts, k.VisibleAt)
			expires, scheduledAts = append(expires, k.ComputeExpiresAt()), append(scheduledAts, k.ScheduledAt)
			startWithins, closeBys = append(startWithins, k.StartWithin), append(closeBys, k.CloseBy)
			sessionShards, parked = append(sessionShards, t.s.textShard(k.Session)), append(parked, k.Parked)
			names, pools, sessions = append(names, k.Name), append(pools, k.Pool), append(sessions, k.Session)
			payloads, failures, details = append(payloads, k.Payload), append(failures, k.Failure), append(details, k.Details)
		}
	}
	if len(names) > 0 {
		trip.add(qTasksInsert, ids.shards, ids.keys, ids.executions, ids.commands, attempts, visibleAts, expires,
			scheduledAts, startWithins, closeBys, sessionShards, parked, names, pools, sessions, payloads, failures, details)
	}
}

func (t *txn) writeSessions(trip *trip) {
	if len(t.sessions) == 0 {
		return
	}
	var names []string
	var nodes []int64
	for used := range t.sessions {
		names, nodes = append(names, used.name), append(nodes, int64(used.node))
	}
	shards := t.s.textShards(names)
	trip.add(qSessionsLock, shards, names, nodes)
	trip.add(qSessionsUse, shards, names, nodes, t.now)
}

// writeNew makes rows that others may be making, too: whoever comes second
// waits for the first to commit, and then fails. One order keeps two from
// waiting for each other.
func (t *txn) writeNew(trip *trip) {
	if len(t.defs) > 0 {
		defs := make([]provider.Definition, 0, len(t.defs))
		for d := range t.defs {
			defs = append(defs, d)
		}
		slices.SortFunc(defs, func(a, b provider.Definition) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
		})
		var names, versions []string
		for _, d := range defs {
			names, versions = append(names, d.Name), append(versions, d.Version)
		}
		trip.add(qDefinitionsInsert, t.s.textShards(names), names, versions)
	}
	var fresh []*entry
	for _, e := range t.touched {
		if e.changed&made != 0 {
			fresh = append(fresh, e)
		}
	}
	if len(fresh) == 0 {
		return
	}
	var rows rowColumns
	for _, e := range fresh {
		rows.addNew(e)
	}
	slices.SortFunc(fresh, func(a, b *entry) int { return cmp.Compare(a.ID, b.ID) })
	ids, shards, keys := make([]string, len(fresh)), make([]int32, len(fresh)), make([]int64, len(fresh))
	for i, e := range fresh {
		ids[i], shards[i], keys[i] = e.ID, e.shard, int64(e.Key)
	}
	trip.add(qIDsInsert, t.s.textShards(ids), ids, shards, keys)
	trip.add(qInstancesInsert, rows.all()...)
}
