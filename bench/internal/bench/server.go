package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/bench/internal/quiet"
	"github.com/durango-go/durango/internal/pgtest"
	"github.com/durango-go/durango/provider/postgres"
)

// serverVariable names a PostgreSQL server to measure on, instead of one that
// the run starts for itself. Child processes get it too.
const serverVariable = quiet.ServerVariable

// connectTimeout bounds the wait for the server.
const connectTimeout = 30 * time.Second

// serverSettings are those of a server in production on a machine of this size:
// everything is flushed.
var serverSettings = []string{
	"fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=512MB", "max_wal_size=4GB", "max_connections=100",
}

var server struct {
	sync.Mutex
	own  *pgtest.Server
	conn string
}

// connString returns the server's, starting one if there is none.
func connString() (string, error) {
	server.Lock()
	defer server.Unlock()
	if server.conn == "" {
		server.conn = os.Getenv(serverVariable)
	}
	if server.conn == "" {
		s, err := pgtest.Start(serverSettings...)
		if err != nil {
			return "", fmt.Errorf("start PostgreSQL: %w", err)
		}
		server.own, server.conn = s, s.SocketString()
	}
	return server.conn, nil
}

// describeServer returns the version of the server and the settings that decide
// about durability and memory.
func describeServer(ctx context.Context) (string, error) {
	conn, err := connString()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, conn)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	var text string
	err = c.QueryRow(ctx, `SELECT current_setting('server_version') || ': ' || string_agg(name || '=' || current_setting(name), ', ' ORDER BY name)
FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'max_wal_size', 'shared_buffers', 'synchronous_commit', 'wal_sync_method')`).Scan(&text)
	return text, err
}

// stopServer stops the server of the run, if there is one.
func stopServer() error {
	server.Lock()
	defer server.Unlock()
	if server.own == nil {
		return nil
	}
	err := server.own.Stop()
	server.own, server.conn = nil, ""
	return err
}

// openPostgres opens a schema of the measurement's own: its directory names it.
func (e *env) openPostgres() (*postgres.Store, error) {
	conn, err := connString()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e), e.Timeout+connectTimeout)
	defer cancel()
	s, err := postgres.Open(ctx, conn, postgres.Options{Schema: filepath.Base(e.dir), NoSync: e.store == "postgres-nosync"})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open PostgreSQL: %w", err), e.Err())
	}
	return s, nil
}
