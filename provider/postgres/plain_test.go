package postgres

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// A plain turn is written without a look at its row. Whatever anybody has done to
// the row, or to the node, in the meantime is found nevertheless.
func TestPlainTurns(t *testing.T) {
	const of = " WHERE shard = $1 AND key = $2"
	message := func(m provider.Message) func(t *testing.T, other *Store, c *pgx.Conn, k provider.Key, node provider.NodeKey) {
		return func(t *testing.T, other *Store, _ *pgx.Conn, k provider.Key, _ provider.NodeKey) {
			m.To = provider.Target{Key: k}
			r, err := other.Send(t.Context(), []provider.Message{m})
			must(t, err)
			must(t, r[0].Err)
		}
	}
	set := func(what string) func(t *testing.T, other *Store, c *pgx.Conn, k provider.Key, node provider.NodeKey) {
		return func(t *testing.T, other *Store, c *pgx.Conn, k provider.Key, _ provider.NodeKey) {
			execute(t, c, in(other, "UPDATE schema.instances SET "+what+of), other.keyShard(k), int64(k))
		}
	}
	end := func(c *provider.Commit) { c.Status, c.Outcome = provider.Completed, []byte("done") }
	for name, tc := range map[string]struct {
		meanwhile func(t *testing.T, other *Store, c *pgx.Conn, k provider.Key, node provider.NodeKey)
		next      func(c *provider.Commit)
		err       error
		mail      int64  // the mailbox that the node is told of
		plain     bool   // it was one trip
		finally   string // true of the row
	}{
		"nothing":       {plain: true, mail: 1, finally: "next_turn = 3 AND last_commit = 2 AND status = 2 AND owner <> 0 AND closed_at = 0"},
		"end":           {next: end, plain: true, mail: 1, finally: "next_turn = 3 AND status = 3 AND owner = 0 AND closed_at > 0 AND outcome = 'done'"},
		"mail":          {meanwhile: message(provider.Message{Payload: []byte("m")}), mail: 2, finally: "next_turn = 3 AND mailbox_seq = 2 AND read_seq = 1"},
		"mail, end":     {meanwhile: message(provider.Message{Payload: []byte("m")}), next: end, mail: 2, finally: "mailbox_seq = 2 AND read_seq = 2"},
		"read by it":    {meanwhile: message(provider.Message{Payload: []byte("m")}), next: func(c *provider.Commit) { c.ReadSeq = 2 }, mail: 2, finally: "read_seq = 2"},
		"termination":   {meanwhile: message(provider.Message{Terminate: true}), err: provider.ErrConflict, finally: "next_turn = 2"},
		"another owner": {meanwhile: set("owner = 4711"), err: provider.ErrConflict, finally: "next_turn = 2"},
		"another turn":  {meanwhile: set("next_turn = 7"), err: provider.ErrConflict, finally: "next_turn = 7"},
		"attempts":      {meanwhile: set("attempts = 3"), mail: 1, finally: "attempts = 0"},
		"a failure":     {meanwhile: set("failed_at = 3"), mail: 1, finally: "failed_at = 0"},
		"a pause":       {meanwhile: set("not_before = 7"), mail: 1, finally: "not_before = 0"},
		"a wake-up":     {meanwhile: set("wake_at = 7"), mail: 1, finally: "wake_at = 9223372036854775807"},
		"old mail":      {meanwhile: set("mailbox_seq = 0, read_seq = 0"), err: provider.ErrInvalid, finally: "next_turn = 2"},
		"unseen mail":   {meanwhile: set("mailbox_seq = 2"), mail: 2, finally: "mailbox_seq = 2 AND read_seq = 1"},
		"unread mail":   {meanwhile: set("read_seq = 0"), mail: 1, finally: "read_seq = 1"},
		"a suspension":  {meanwhile: set("status = 7"), mail: 1, finally: "status = 2"},
		"extras":        {meanwhile: set("extras = 1"), next: end, mail: 1, finally: "extras = 0"},
		"another life":  {meanwhile: set("execution = 7"), mail: 1, finally: "execution = 1 AND next_turn = 3"},
		"dead node": {func(t *testing.T, other *Store, c *pgx.Conn, _ provider.Key, node provider.NodeKey) {
			execute(t, c, in(other, "UPDATE schema.nodes SET dead = true"+of), other.nodeShard(node), int64(node))
		}, nil, provider.ErrNodeGone, 0, false, "next_turn = 2"},
		"burial": {func(t *testing.T, other *Store, _ *pgx.Conn, _ provider.Key, node provider.NodeKey) {
			_, err := other.Bury(t.Context(), provider.Burial{Node: node, Force: true})
			must(t, err)
		}, nil, provider.ErrNodeGone, 0, false, "next_turn = 2 AND owner = 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{})
			other := openAt(t, server, Options{Schema: s.options.Schema})
			c := raw(t)
			node := join(t, s)
			k := create(t, s, node, "a")
			must(t, commit(t, s, node, turn(k, 1)))
			if tc.meanwhile != nil {
				tc.meanwhile(t, other, c, k, node)
			}
			next := turn(k, 2)
			if tc.next != nil {
				tc.next(&next)
			}
			before := s.Counters()
			results, err := s.Commit(t.Context(), node, []provider.Commit{next})
			if err == nil {
				err = results[0].Err
			}
			if !errors.Is(err, tc.err) {
				t.Fatalf("%v, not %v", err, tc.err)
			}
			if err == nil {
				assert.Equal(t, results[0].MailboxSeq, tc.mail, "mailbox")
			}
			if trips := s.Counters().GroupTrips - before.GroupTrips; (trips == 1) != tc.plain {
				t.Errorf("%d trips", trips)
			}
			if value(t, c, in(s, "SELECT count(*) FROM schema.instances"+of+" AND "+tc.finally), s.keyShard(k), int64(k)) != 1 {
				t.Errorf("the row is not %s", tc.finally)
			}
			turns := value(t, c, in(s, "SELECT count(*) FROM schema.history"+of), s.keyShard(k), int64(k))
			want := int64(2)
			if err != nil {
				want = 1
			}
			assert.Equal(t, turns, want, "turns")
			if err == nil && next.Status.Open() { // its reply might have been lost
				again, err := s.Commit(t.Context(), node, []provider.Commit{next})
				must(t, err)
				must(t, again[0].Err)
				assert.Equal(t, value(t, c, in(s, "SELECT count(*) FROM schema.history"+of), s.keyShard(k), int64(k)), want, "turns, repeated")
			}
		})
	}
}

// One of a group that is not as expected does not hold up the others.
func TestPlainTurnsInGroups(t *testing.T) {
	s := open(t, Options{})
	other := openAt(t, server, Options{Schema: s.options.Schema})
	node := join(t, s)
	var batch []provider.Commit
	for i := range 10 {
		k := create(t, s, node, fmt.Sprint("g", i))
		must(t, commit(t, s, node, turn(k, 1)))
		batch = append(batch, turn(k, 2))
	}
	r, err := other.Send(t.Context(), []provider.Message{
		{To: provider.Target{Key: batch[3].Key}, Payload: []byte("m")}, {To: provider.Target{Key: batch[5].Key}, Terminate: true},
	})
	must(t, err)
	must(t, errors.Join(r[0].Err, r[1].Err))
	results, err := s.Commit(t.Context(), node, batch)
	must(t, err)
	for i, r := range results {
		switch i {
		case 5:
			assert.True(t, errors.Is(r.Err, provider.ErrConflict), "a turn of what has been terminated: %v", r.Err)
		case 3:
			assert.Equal(t, r, provider.CommitResult{MailboxSeq: 2})
		default:
			assert.Equal(t, r, provider.CommitResult{MailboxSeq: 1})
		}
	}
}
