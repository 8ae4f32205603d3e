package crash

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/pgtest"
)

// postgreSQL is a server of the test's own. It flushes as one in production
// does: what it has acknowledged must be there after a kill.
type postgreSQL struct{ *pgtest.Server }

func startPostgres(t *testing.T) (*place, *postgreSQL) {
	t.Helper()
	s, err := pgtest.Start("max_connections=200", "fsync=on", "synchronous_commit=on")
	assert.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Stop()) })
	return at(t, t.TempDir(), s.ConnString()), &postgreSQL{s}
}

// cut ends a third of the connections, whatever they are doing.
func (s *postgreSQL) cut(t *testing.T, random *rand.Rand) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.ConnString())
	if err != nil {
		return // it is starting again
	}
	defer c.Close(ctx)
	_, _ = c.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND (pid + $1) % 3 = 0`, random.IntN(3))
}

func (s *postgreSQL) restart(t *testing.T) {
	t.Helper()
	assert.NoError(t, s.Kill())
	assert.NoError(t, s.Restart())
}

// DESIGN 11, as on a file: the server is killed too, and its connections cut.
func TestChaosOnPostgreSQL(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	p, s := startPostgres(t)
	runChaos(t, p, s, 4)
}
