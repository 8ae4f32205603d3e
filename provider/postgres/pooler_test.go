package postgres

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/pgtest"
	"github.com/durango-go/durango/provider"
)

// newPooler starts a pooler that lends connections by the transaction, fewer
// than the stores ask for, so that they change hands all the time.
func newPooler(t *testing.T, host string, port int, settings ...string) *pgtest.Pooler {
	t.Helper()
	p, err := pgtest.StartPooler(host, port, append([]string{"default_pool_size = 5"}, settings...)...)
	if errors.Is(err, pgtest.ErrNoPooler) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Log())
		}
		must(t, p.Stop())
	})
	return p
}

// pooled starts a pooler in front of the server under test.
func pooled(t *testing.T, settings ...string) *pgtest.Pooler {
	t.Helper()
	if ours == nil {
		t.Skip("the pooler knows only the user of our own server")
	}
	config, err := pgx.ParseConfig(server)
	must(t, err)
	return newPooler(t, config.Host, int(config.Port), settings...)
}

// via is the connection string through the pooler, with a mode of the driver.
func via(p *pgtest.Pooler, mode string) string {
	return p.ConnString() + "&default_query_exec_mode=" + mode
}

// Behind a pooler that lends connections by the transaction a store keeps the
// whole contract.
func TestConformancePooled(t *testing.T) {
	p := pooled(t)
	// This mode sends values as text, which takes seconds for the largest when
	// the race detector looks on; meanwhile the server waits in a transaction.
	conformance(func() string { return via(p, "exec") },
		Options{NoListen: true, NoSync: true, MaxConns: minMaxConns, LockTimeout: patience}).Run(t)
}

// The other modes that leave nothing on a connection work as well.
func TestPoolerModes(t *testing.T) {
	p := pooled(t)
	for _, mode := range []string{"exec", "cache_describe", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			useEverything(t, openAt(t, via(p, mode), Options{Schema: newSchema(t), NoListen: true}))
		})
	}
}

// Who forgets what such a pooler needs is told, and has set nothing on
// connections that are others', too.
func TestPoolerRefused(t *testing.T) {
	for _, settings := range [][]string{nil, {"default_pool_size = 1"}, {"server_round_robin = 1"}} {
		p := pooled(t, settings...)
		others := make([]*pgx.Conn, 3) // have opened connections to the server
		for i := range others {
			c, err := pgx.Connect(t.Context(), via(p, "exec"))
			must(t, err)
			defer c.Close(t.Context())
			others[i] = c
		}
		for _, tt := range []struct {
			mode     string
			noListen bool
			want     []string
		}{
			{"cache_statement", false, []string{"default_query_exec_mode=exec", "NoListen"}},
			{"cache_statement", true, []string{"default_query_exec_mode=exec"}},
			{"describe_exec", true, []string{"default_query_exec_mode=exec"}},
			{"exec", false, []string{"NoListen"}},
		} {
			s, err := Open(t.Context(), via(p, tt.mode), Options{Schema: newSchema(t), NoListen: tt.noListen, NoSync: true})
			if err == nil {
				s.Close()
				t.Fatalf("%v: %s, NoListen %v: opened", settings, tt.mode, tt.noListen)
			}
			assert.True(t, errors.Is(err, provider.ErrInvalid), "%v", err)
			for _, want := range tt.want {
				assert.True(t, strings.Contains(err.Error(), want), "%v", err)
			}
		}
		for _, c := range others {
			assert.Equal(t, value(t, c, "SELECT count(*) FROM pg_settings WHERE name IN ('lock_timeout', 'synchronous_commit') AND source = 'session'"), int64(0))
		}
	}
}

// A pooler that lends connections for as long as they are open needs nothing.
func TestPoolerOfSessions(t *testing.T) {
	p := pooled(t, "pool_mode = session", "default_pool_size = 50")
	a := openAt(t, p.ConnString(), Options{Schema: newSchema(t)})
	b := openAt(t, p.ConnString(), a.options)
	heard := watch(t, b)
	<-heard
	useEverything(t, a)
	<-heard
}

// Each transaction brings its settings, and leaves none behind.
func TestPooledSettings(t *testing.T) {
	p := pooled(t, "default_pool_size = 1")
	s := openAt(t, via(p, "exec"), Options{Schema: newSchema(t), NoListen: true, NoSync: true, LockTimeout: 50 * time.Millisecond})
	settings := "SELECT current_setting('lock_timeout') || current_setting('idle_in_transaction_session_timeout') || current_setting('synchronous_commit')"
	now := func(c *pgx.Conn) (text string) {
		must(t, c.QueryRow(t.Context(), settings).Scan(&text))
		return text
	}
	must(t, s.once(t.Context(), func(ctx context.Context, x *tx) error {
		must(t, x.begin(ctx, func(*trip) {}))
		assert.Equal(t, now(x.c.Conn()), "50ms100msoff")
		return nil
	}))
	node := join(t, s)
	c, err := pgx.Connect(t.Context(), via(p, "exec"))
	must(t, err)
	defer c.Close(t.Context())
	assert.Equal(t, now(c), "00on")

	// A write of a single trip does not wait for ever, either.
	direct := raw(t)
	execute(t, direct, "BEGIN")
	execute(t, direct, in(s, "SELECT 1 FROM schema.nodes WHERE key = $1 FOR UPDATE"), int64(node))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = s.Heartbeat(ctx, node)
	assert.True(t, errors.Is(err, provider.ErrTransient), "%v", err)
	execute(t, direct, "ROLLBACK")
	_, err = s.Heartbeat(t.Context(), node)
	must(t, err)
}

// What the pooler says when it loses the server is no answer of the server: the
// commit may have been applied.
func TestPoolerLosesServer(t *testing.T) {
	if ours == nil {
		t.Skip("the pooler knows only the user of our own server")
	}
	between := newProxy(t)
	host, port, err := net.SplitHostPort(between.Addr().String())
	must(t, err)
	number, err := strconv.Atoi(port)
	must(t, err)
	p := newPooler(t, host, number, "server_login_retry = 1")
	s := openAt(t, named(via(p, "exec"), "loses"), Options{Schema: newSchema(t), LockTimeout: patience, NoListen: true})
	holder, c := raw(t), raw(t)
	holdID(t, s, holder, "a")
	n := draft("a")
	create := func() error {
		results, err := s.Create(context.Background(), 0, []provider.NewInstance{n})
		if err == nil {
			err = results[0].Err
		}
		return err
	}
	done := make(chan error, 1)
	go func() { done <- create() }()
	waiting(t, c, "loses")
	between.cut()
	err = <-done
	assert.True(t, errors.Is(err, provider.ErrUnknownOutcome), "%v", err)
	assert.False(t, errors.Is(err, provider.ErrTransient), "which would say that nothing was applied")
	execute(t, holder, "ROLLBACK")
	eventually(t, "the commit that nobody hears of", func() bool {
		return value(t, c, in(s, "SELECT count(*) FROM schema.instances")) == 1
	})
	between.restore()
	eventually(t, "the pooler is back", func() bool { return create() == nil })
}
