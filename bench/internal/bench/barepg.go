package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// The bare loop on PostgreSQL writes what a plain turn writes in the portable
// transaction of the design: one trip locks the node and the instances, one
// writes and commits. These are the statements of provider/postgres, which a
// test compares.
const (
	pgNodes = `SELECT n.key FROM unnest($1::integer[], $2::bigint[]) AS w(shard, key)
JOIN schema.nodes n ON n.shard = w.shard AND n.key = w.key
WHERE NOT n.dead
ORDER BY n.shard, n.key
FOR KEY SHARE OF n`
	pgLock = `SELECT i.key, i.next_turn, i.owner FROM unnest($1::integer[], $2::bigint[]) AS w(shard, key)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key
ORDER BY i.shard, i.key
FOR UPDATE OF i`
	pgUpdate = `UPDATE schema.instances AS i
SET next_turn = w.next_turn, mailbox_seq = w.mailbox_seq, read_seq = w.read_seq, due_at = w.due_at,
	last_commit = w.last_commit, updated_at = w.updated_at
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
	AS w(shard, key, next_turn, mailbox_seq, read_seq, due_at, last_commit, updated_at)
WHERE i.shard = w.shard AND i.key = w.key`
	pgInsert = `INSERT INTO schema.history (shard, key, turn, execution, commit_id, time, deliveries, commands, events)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
	$7::integer[], $8::integer[], $9::bytea[])`
	pgShards = 16
)

// pgWriter writes the groups of a bare loop on one connection.
type pgWriter struct {
	ctx                         context.Context
	conn                        *pgx.Conn
	node                        int64
	nodes, lock, update, insert string
	events                      []byte
}

func (l *bareLoop) preparePostgres(e *env, inFlight int) ([]*bareFlow, error) {
	st, err := e.openPostgres()
	if err != nil {
		return nil, err
	}
	flows, node, err := populate(e, st, inFlight)
	if err = errors.Join(err, st.Close()); err != nil {
		return nil, err
	}
	w := &pgWriter{ctx: context.WithoutCancel(e), node: int64(node), events: l.events.step}
	config, err := pgx.ParseConfig(server.conn)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"} { // as the store has it
		config.RuntimeParams[name] = "off"
	}
	config.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	if w.conn, err = pgx.ConnectConfig(e, config); err != nil {
		return nil, err
	}
	schema := pgx.Identifier{filepath.Base(e.dir)}.Sanitize() + "."
	for query, text := range map[*string]string{&w.nodes: pgNodes, &w.lock: pgLock, &w.update: pgUpdate, &w.insert: pgInsert} {
		*query = strings.ReplaceAll(text, "schema.", schema)
	}
	l.writeGroup, l.end = w.write, func() error { return w.conn.Close(w.ctx) }
	return flows, nil
}

func pgShard(key int64) int32 { return int32(key % pgShards) }

func (w *pgWriter) write(group []*bareFlow) (statements int, err error) {
	n := len(group)
	shards, keys := make([]int32, n), make([]int64, n)
	for i, f := range group {
		shards[i], keys[i] = pgShard(f.key), f.key
	}
	var first pgx.Batch
	first.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	first.Queue(w.nodes, []int32{pgShard(w.node)}, []int64{w.node})
	first.Queue(w.lock, shards, keys)
	if err := w.trip(&first, 2, n); err != nil {
		return 0, err
	}
	now := time.Now().UnixNano()
	ints := make([][]int64, 8)
	for c := range ints {
		ints[c] = make([]int64, n)
	}
	next, one, zero, ids, times, turns := ints[0], ints[1], ints[2], ints[3], ints[4], ints[5]
	small, events := make([]int32, n), make([][]byte, n)
	for i, f := range group {
		next[i], one[i], ids[i], times[i], turns[i] = f.turn+1, 1, now+f.turn, now, f.turn
		small[i], events[i] = 1, w.events
	}
	var second pgx.Batch
	second.Queue(w.update, shards, keys, next, one, one, zero, ids, times)
	second.Queue(w.insert, shards, keys, turns, one, ids, times, small, small, events)
	second.Queue("COMMIT")
	return 6, w.trip(&second, -1, 0)
}

// trip sends a batch and reads its answers; that of statement counted must have
// want rows.
func (w *pgWriter) trip(b *pgx.Batch, counted, want int) error {
	r := w.conn.SendBatch(w.ctx, b)
	for i := range b.Len() {
		tag, err := r.Exec()
		if err != nil {
			return errors.Join(err, r.Close())
		}
		if i == counted && int(tag.RowsAffected()) != want {
			return errors.Join(fmt.Errorf("%d of %d instances are there", tag.RowsAffected(), want), r.Close())
		}
	}
	return r.Close()
}

// populate makes owned instances for a bare loop.
func populate(e *env, st provider.Provider, n int) (flows []*bareFlow, node provider.NodeKey, err error) {
	if node, err = st.Join(e, provider.NodeInfo{Name: "bare"}); err != nil {
		return nil, 0, err
	}
	batch := make([]provider.NewInstance, n)
	for i := range batch {
		key := provider.NewKey()
		batch[i] = provider.NewInstance{Key: key, ID: fmt.Sprintf("order-%08d", i), Name: "seq", Version: "1.0.0",
			Owned: true, Start: make([]byte, 100)}
		flows = append(flows, newFlow(int64(key)))
	}
	results, err := st.Create(e, node, batch)
	for i := range results {
		err = errors.Join(err, results[i].Err)
	}
	return flows, node, err
}
