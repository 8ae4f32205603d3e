package sqlite

import (
	"fmt"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// schema1 makes a file as the first version of the schema had it, with one
// running instance that has a custom status, a task without a session, one of
// a session, and one that is held.
func schema1(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store.db")
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	must(t, err)
	script, err := migrations.ReadFile("migrations/0001.sql")
	must(t, err)
	for _, text := range []string{string(script), fmt.Sprintf("PRAGMA application_id = %d", applicationID), "PRAGMA user_version = 1", `
		INSERT INTO nodes VALUES (77, 0, 0, 1, 'old', '0');
		INSERT INTO definitions VALUES (1, 'flow', '1'), (2, 'ended', '1');
		INSERT INTO kinds VALUES (1, 'charge', '');
		INSERT INTO instances VALUES
			(500, 77, 1, 9223372036854775807, 2, 1, 1, 0, 0, 3, 1, 0, 0, 10, 0, 0, 0, 'a', NULL, NULL),
			(501, 0, 2, 9223372036854775807, 3, 1, 1, 0, 0, 0, 1, 0, 20, 10, 0, 0, 0, 'b', NULL, x'01');
		INSERT INTO cursors VALUES (500, 3, 1, 1, 9223372036854775807, 12, 2, 0, 15), (501, 2, 1, 1, 0, 13, 0, 0, 20);
		INSERT INTO notes VALUES (500, x'0102', NULL), (501, NULL, 'failed once');
		INSERT INTO history VALUES (1, 500, 1, 1, 0, 0, 11, 0, 1, 1, x'01'), (2, 500, 2, 1, 1, 0, 12, 0, 1, 1, x'02');
		INSERT INTO tasks VALUES
			(500, 1, 1, 1, 0, 5, 0, 0, 4, '', x'0A', NULL, NULL),
			(500, 2, 1, 1, 0, 6, 1, 0, 4, 's', x'0B', x'0C', x'0D'),
			(500, 3, 1, 1, 77, 7, 1, 8, 4, 's', NULL, NULL, NULL);
	`} {
		must(t, executeAll(c, text))
	}
	must(t, c.Close())
	return path
}

// A store of an older version goes on as if this one had made it.
func TestAnOlderSchemaIsMigrated(t *testing.T) {
	s := openAt(t, schema1(t), Options{})
	version, err := raw(t, s).pragmaInt("user_version")
	must(t, err)
	assert.Equal(t, version, int64(3))

	a, err := s.Get(t.Context(), provider.Target{ID: "a"})
	must(t, err)
	assert.Equal(t, a.CustomStatus, []byte{1, 2})
	assert.Equal(t, a.CustomStatusTurn, int64(2))
	b, err := s.Get(t.Context(), provider.Target{ID: "b"})
	must(t, err)
	assert.Equal(t, b.CustomStatusTurn, int64(0))
	defs, err := s.Definitions(t.Context())
	must(t, err)
	assert.Equal(t, defs, []provider.Definition{{Name: "flow", Version: "1"}})

	tasks, err := s.Tasks(t.Context(), 500)
	must(t, err)
	task := func(command, visibleAt, attempt int64, session string, payload, failure, details []byte) provider.Task {
		return provider.Task{Instance: 500, InstanceID: "a", Execution: 1, NewTask: provider.NewTask{Command: command,
			Name: "charge", Session: session, Attempt: attempt, VisibleAt: visibleAt, ScheduledAt: 4,
			Payload: payload, Failure: failure, Details: details}}
	}
	held := task(3, 7, 1, "s", nil, nil, nil)
	held.Holder, held.HeldSince = 77, 8
	assert.Equal(t, tasks, []provider.Task{
		task(1, 5, 0, "", []byte{10}, nil, nil), task(2, 6, 1, "s", []byte{11}, []byte{12}, []byte{13}), held,
	})

	// The task of the session waits where those of closed sessions do.
	node := join(t, s)
	claimed := claimTasks(t, s, provider.TaskClaim{Node: node, Filters: charges, Limit: 9})
	assert.Equal(t, commands(claimed), []int64{1})
	claimed = claimTasks(t, s, provider.TaskClaim{Node: node, Filters: charges, Limit: 9, MaxSessions: 1})
	assert.Equal(t, commands(claimed), []int64{2})
	// What the old version held returns to the session that another has now.
	_, err = s.Bury(t.Context(), provider.Burial{Node: 77, Force: true})
	must(t, err)
	assert.Equal(t, commands(claimTasks(t, s, provider.TaskClaim{Node: join(t, s), Filters: charges, Limit: 9, MaxSessions: 9})), []int64(nil))
	assert.Equal(t, commands(claimTasks(t, s, provider.TaskClaim{Node: node, Filters: charges, Limit: 9})), []int64{3})
	must(t, s.Terminate(t.Context(), provider.Target{ID: "a"}, nil, nil))
	assert.Equal(t, count(t, s, "session_tasks"), int64(0))
}

// "PRAGMA user_version" is raised once, by whoever comes first; the same file
// opened again is left alone.
func TestAMigratedFileIsOpenedAgain(t *testing.T) {
	path := schema1(t)
	for range 2 {
		s, err := Open(path)
		must(t, err)
		_, err = s.Get(t.Context(), provider.Target{ID: "a"})
		must(t, err)
		must(t, s.Close())
	}
	_, err := OpenWith(schema1(t), Options{ReadOnly: true})
	is(t, err, provider.ErrReadOnly, "")
}
