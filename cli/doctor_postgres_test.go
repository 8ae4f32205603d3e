package cli_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/pgtest"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/postgres"
)

// rules let everybody in, but one role that has a password. See
// https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
const rules = "host all secretive 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"

// The scripts in testdata/postgres are the specification of the command line
// over a server. Each has a database of its own, $DURANGO_STORE.
func TestPostgresScripts(t *testing.T) {
	// The account that runs the server must be able to read it.
	file, err := os.CreateTemp("", "durango-hba")
	assert.NoError(t, err)
	t.Cleanup(func() { os.Remove(file.Name()) })
	_, err = file.WriteString(rules)
	assert.NoError(t, err)
	assert.NoError(t, file.Chmod(0o644))
	assert.NoError(t, file.Close())
	server, err := pgtest.Start("hba_file=" + file.Name())
	assert.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Stop()) })

	// A port on which nobody listens.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NoError(t, err)
	assert.NoError(t, l.Close())

	t.Run("scripts", func(t *testing.T) { // ends before the server
		testscript.Run(t, testscript.Params{
			Dir:  "testdata/postgres",
			Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "sql": sql, "join": join},
			Setup: func(env *testscript.Env) error {
				store, err := database(server, filepath.Base(env.WorkDir))
				_, rest, _ := strings.Cut(store, "@")
				address, _, _ := strings.Cut(rest, "/")
				env.Setenv("DURANGO_STORE", store)
				env.Setenv("SERVER", rest) // with the database
				env.Setenv("ADDRESS", address)
				env.Setenv("NOBODY", l.Addr().String())
				env.Setenv("GORACE", "atexit_sleep_ms=0")
				return err
			},
		})
	})
}

// database makes a database and returns its URL.
func database(server *pgtest.Server, name string) (string, error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, server.ConnString())
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return strings.Replace(server.ConnString(), "/postgres?", "/"+name+"?", 1), err
}

// sql STATEMENT… executes statements on a connection of their own, which stays
// open until the script ends.
func sql(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, ts.Getenv("DURANGO_STORE"))
	ts.Check(err)
	ts.Defer(func() { c.Close(ctx) })
	for _, text := range args {
		_, err := c.Exec(ctx, text)
		ts.Check(err)
	}
}

// join NAME adds a node that never beats.
func join(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	s, err := postgres.Open(ctx, ts.Getenv("DURANGO_STORE"), postgres.Options{})
	ts.Check(err)
	_, err = s.Join(ctx, provider.NodeInfo{Name: args[0], PID: 4711})
	ts.Check(err)
	ts.Check(s.Close())
}
