package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// lendable reports whether a mode leaves nothing on a connection. Describing a
// statement before it is executed, without keeping it, is no such mode: it may
// execute what another client has described.
func lendable(mode pgx.QueryExecMode) bool {
	switch mode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeSimpleProtocol:
		return true
	}
	return false
}

// checkPooler fails if a pooler lends connections by the transaction to a
// store that is not prepared for it. Such a store would leave its settings to
// others, take theirs, and hear nothing.
func (s *Store) checkPooler(ctx context.Context) error {
	var missing []string
	if !lendable(s.config.DefaultQueryExecMode) {
		missing = append(missing, "default_query_exec_mode=exec in the connection string")
	}
	if !s.options.NoListen {
		missing = append(missing, "the option NoListen")
	}
	if len(missing) == 0 {
		return nil
	}
	lent, err := lentByTransaction(ctx, s.config)
	if err != nil || !lent {
		return err
	}
	return fmt.Errorf("%w: a pooler lends the connections by the transaction, which needs %s",
		provider.ErrInvalid, strings.Join(missing, " and "))
}

// probes is how often it is looked whether connections change hands. Other
// clients can hide it from one look, not from many.
const probes = 10

// lentByTransaction reports whether it has seen connections change hands: one
// has the backend of another that is still open, or another than it had. A
// server whose process is the one that the connection was promised is asked
// nothing more; poolers make up their own.
func lentByTransaction(ctx context.Context, config *pgx.ConnConfig) (bool, error) {
	connect := func() (*pgx.Conn, func(), error) {
		c, err := pgx.ConnectConfig(ctx, config.Copy())
		if err != nil {
			return nil, nil, err
		}
		return c, func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackPatience)
			defer cancel()
			_ = c.Close(ctx)
		}, nil
	}
	a, closeA, err := connect()
	if err != nil {
		return false, err
	}
	defer closeA()
	first, err := backend(ctx, a)
	if err != nil || first == 0 || first == int64(a.PgConn().PID()) {
		return false, err
	}
	b, closeB, err := connect()
	if err != nil {
		return false, err
	}
	defer closeB()
	for range probes {
		other, err := backend(ctx, b)
		if err != nil {
			return false, err
		}
		again, err := backend(ctx, a)
		if err != nil {
			return false, err
		}
		if other == first || again != first {
			return true, nil
		}
	}
	return false, nil
}

// backend returns the process that serves a connection, or 0 where a server
// does not say.
func backend(ctx context.Context, c *pgx.Conn) (pid int64, err error) {
	err = c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid)
	if err != nil && answered(err) && !fatal(err) {
		return 0, nil
	}
	return pid, err
}
