package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/pgtest"
	"github.com/durango-go/durango/provider"
)

// named adds an application name to the connection string.
func named(connString, name string) string {
	if strings.HasPrefix(connString, "postgres") {
		sep := "?"
		if strings.Contains(connString, "?") {
			sep = "&"
		}
		return connString + sep + "application_name=" + name
	}
	return connString + " application_name=" + name
}

// waiting waits until a connection of the application waits for a lock, and
// returns its process.
func waiting(t *testing.T, c *pgx.Conn, name string) (pid int64) {
	t.Helper()
	eventually(t, "a connection that waits", func() bool {
		pid = value(t, c, `SELECT coalesce(min(pid), 0) FROM pg_stat_activity
			WHERE application_name = $1 AND wait_event_type = 'Lock'`, name)
		return pid != 0
	})
	return pid
}

// holdID makes an ID in a transaction that stays open, so that a group that
// makes the same waits in its second trip, with everything sent.
func holdID(t *testing.T, s *Store, c *pgx.Conn, id string) {
	t.Helper()
	execute(t, c, "BEGIN")
	execute(t, c, in(s, "INSERT INTO schema.ids VALUES ($1, $2, 0, 1)"), s.textShard(id), id)
}

// A backend that is ended in the middle of a group has applied nothing, and
// the group is tried again.
func TestTerminatedBackend(t *testing.T) {
	schema := newSchema(t)
	s := openAt(t, named(server, "terminated"), Options{Schema: schema, LockTimeout: patience})
	holder, c := raw(t), raw(t)
	holdID(t, s, holder, "a")
	n := draft("a")
	done := make(chan error, 1)
	go func() {
		results, err := s.Create(context.Background(), 0, []provider.NewInstance{n})
		if err == nil {
			err = results[0].Err
		}
		done <- err
	}()
	first := waiting(t, c, "terminated")
	execute(t, c, "SELECT pg_terminate_backend($1)", first)
	eventually(t, "another attempt", func() bool { return waiting(t, c, "terminated") != first })
	execute(t, holder, "ROLLBACK")
	must(t, <-done)
	assert.Equal(t, value(t, c, in(s, "SELECT count(*) FROM schema.instances")), int64(1))
}

// A second instance of an ID that was made between the look and the write is
// found by the next look.
func TestRaceForAnID(t *testing.T) {
	schema := newSchema(t)
	s := openAt(t, named(server, "race"), Options{Schema: schema, LockTimeout: patience})
	holder, c := raw(t), raw(t)
	holdID(t, s, holder, "a")
	mine := draft("a")
	done := make(chan provider.CreateResult, 1)
	go func() {
		results, err := s.Create(context.Background(), 0, []provider.NewInstance{mine})
		if err != nil {
			results = []provider.CreateResult{{Err: err}}
		}
		done <- results[0]
	}()
	waiting(t, c, "race")
	// What held the ID goes, and another instance takes it before s does:
	// the holder turns into the winner.
	execute(t, holder, in(s, "DELETE FROM schema.ids WHERE id = 'a'"))
	theirs := draft("a")
	execute(t, holder, in(s, "INSERT INTO schema.ids VALUES ($1, 'a', $2, $3)"), s.textShard("a"), s.keyShard(theirs.Key), int64(theirs.Key))
	execute(t, holder, in(s, `INSERT INTO schema.instances SELECT $1, $2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0,
		0, 0, 0, 1, 0, 'a', 'flow', '1', '', NULL, NULL, NULL`), s.keyShard(theirs.Key), int64(theirs.Key))
	execute(t, holder, "COMMIT")
	r := <-done
	assert.True(t, errors.Is(r.Err, provider.ErrAlreadyExists), "%v", r.Err)
	assert.Equal(t, r.Key, theirs.Key)
}

// proxy stands between a store and the server, and can cut the connections.
type proxy struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	down  bool // new connections get nowhere
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	config, err := pgx.ParseConfig(server)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	network, address := pgNetwork(config)
	p := &proxy{Listener: l}
	t.Cleanup(func() { l.Close(); p.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial(network, address)
			if err != nil {
				c.Close()
				continue
			}
			p.mu.Lock()
			down := p.down
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			if down {
				c.Close()
				up.Close()
				continue
			}
			go pipe(up, c)
			go pipe(c, up)
		}
	}()
	return p
}

// pipe copies until either side ends. The server's side is closed only when
// the server ends it: what it has received it executes.
func pipe(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func pgNetwork(c *pgx.ConnConfig) (network, address string) {
	if strings.HasPrefix(c.Host, "/") {
		return "unix", c.Host + "/.s.PGSQL." + itoa(int(c.Port))
	}
	return "tcp", net.JoinHostPort(c.Host, itoa(int(c.Port)))
}

// cut ends the connections for the store: it hears nothing any more. What it
// has sent still arrives, but not what it tries to send on new connections:
// the driver's request to cancel what was under way.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for _, c := range p.conns {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	p.conns = nil
}

// restore lets new connections through again.
func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// connString leads through the proxy.
func (p *proxy) connString(t *testing.T, name string) string {
	t.Helper()
	config, err := pgx.ParseConfig(server)
	must(t, err)
	host, port, err := net.SplitHostPort(p.Addr().String())
	must(t, err)
	return "host=" + host + " port=" + port + " user=" + config.User + " password='" + config.Password + "' dbname=" +
		config.Database + " sslmode=disable application_name=" + name
}

// A connection lost during commit leaves an unknown outcome, and the repeated
// call finds out.
func TestConnectionLostDuringCommit(t *testing.T) {
	schema := newSchema(t)
	p := newProxy(t)
	s := openAt(t, p.connString(t, "lost"), Options{Schema: schema, LockTimeout: patience, NoListen: true})
	holder, c := raw(t), raw(t)
	holdID(t, s, holder, "a")
	n := draft("a")
	done := make(chan error, 1)
	create := func() error {
		results, err := s.Create(context.Background(), 0, []provider.NewInstance{n})
		if err == nil {
			err = results[0].Err
		}
		return err
	}
	go func() { done <- create() }()
	waiting(t, c, "lost")
	p.cut()
	err := <-done
	assert.True(t, errors.Is(err, provider.ErrUnknownOutcome), "%v", err)
	assert.False(t, errors.Is(err, provider.ErrTransient), "which would say that nothing was applied")
	execute(t, holder, "ROLLBACK")
	eventually(t, "the commit that nobody hears of", func() bool {
		return value(t, c, in(s, "SELECT count(*) FROM schema.instances")) == 1
	})
	p.restore()
	must(t, create())
}

// A row that somebody else keeps locked is a passing failure, and soon: well
// below the lease.
func TestLockTimeout(t *testing.T) {
	s := open(t, Options{LockTimeout: 50 * time.Millisecond})
	node := join(t, s)
	key := create(t, s, node, "a")
	holder := raw(t)
	execute(t, holder, "BEGIN")
	execute(t, holder, in(s, "SELECT 1 FROM schema.instances WHERE key = $1 FOR UPDATE"), int64(key))
	err := commit(t, s, node, turn(key, 1))
	assert.True(t, errors.Is(err, provider.ErrTransient), "%v", err)
	// A burial does not wait for such a row.
	result, err := s.Bury(t.Context(), provider.Burial{Node: node, Force: true})
	must(t, err)
	assert.Equal(t, result, provider.BuryResult{})
	execute(t, holder, "ROLLBACK")
	result, err = s.Bury(t.Context(), provider.Burial{Node: node, Force: true})
	must(t, err)
	assert.Equal(t, result, provider.BuryResult{Instances: 1, Done: true})
}

// "Never block in a claim": what somebody else has locked is passed over, and
// the rest is claimed.
func TestClaimsPassOverLockedRows(t *testing.T) {
	s := open(t, Options{LockTimeout: 50 * time.Millisecond})
	node := join(t, s)
	locked, free := create(t, s, 0, "locked"), create(t, s, 0, "free")
	holder := raw(t)
	execute(t, holder, "BEGIN")
	execute(t, holder, in(s, "SELECT 1 FROM schema.instances WHERE key = $1 FOR UPDATE"), int64(locked))
	claim := provider.ClaimRequest{Node: node, Limit: 10, Definitions: []provider.Definition{{Name: "flow", Version: "1"}}}
	claimed := func() (keys []provider.Key) {
		reply, err := s.Claim(t.Context(), claim)
		must(t, err)
		for i := range reply.Claimed {
			keys = append(keys, reply.Claimed[i].Key)
		}
		return keys
	}
	assert.Equal(t, claimed(), []provider.Key{free})
	execute(t, holder, "ROLLBACK")
	assert.Equal(t, claimed(), []provider.Key{locked})

	c := turn(free, 1)
	c.Tasks = []provider.NewTask{{Command: 1, Name: "charge"}, {Command: 2, Name: "charge"}}
	must(t, commit(t, s, node, c))
	execute(t, holder, "BEGIN")
	execute(t, holder, in(s, "SELECT 1 FROM schema.tasks WHERE key = $1 AND command = 1 FOR UPDATE"), int64(free))
	tasks := func() (commands []int64) {
		reply, err := s.ClaimTasks(t.Context(), provider.TaskClaim{Node: node, Limit: 10, Filters: []provider.TaskFilter{{Name: "charge"}}})
		must(t, err)
		for i := range reply.Tasks {
			commands = append(commands, reply.Tasks[i].Command)
		}
		return commands
	}
	assert.Equal(t, tasks(), []int64{2})
	execute(t, holder, "ROLLBACK")
	assert.Equal(t, tasks(), []int64{1})
}

// A node that stops between the two trips does not keep its rows locked.
func TestStoppedBetweenTrips(t *testing.T) {
	s := open(t, Options{LockTimeout: 50 * time.Millisecond})
	node := join(t, s)
	key := create(t, s, node, "a")
	must(t, s.once(t.Context(), func(ctx context.Context, x *tx) error {
		tt := newTxn(s)
		must(t, tt.read(ctx, x, &needs{keys: []provider.Key{key}}))
		eventually(t, "the rows are free", func() bool { return commit(t, s, node, turn(key, 1)) == nil })
		return nil
	}))
}

// A caller that has given up is answered, and what had not begun is not done.
func TestCanceledInTheQueue(t *testing.T) {
	schema := newSchema(t)
	s := openAt(t, named(server, "queue"), Options{Schema: schema, LockTimeout: patience, Writers: 1})
	holder, c := raw(t), raw(t)
	holdID(t, s, holder, "a")
	done := make(chan error, 1)
	go func() {
		_, err := s.Create(context.Background(), 0, []provider.NewInstance{draft("a")})
		done <- err
	}()
	waiting(t, c, "queue")
	ctx, cancel := context.WithCancel(t.Context())
	queued := make(chan error, 1)
	go func() {
		_, err := s.Create(ctx, 0, []provider.NewInstance{draft("b")})
		queued <- err
	}()
	eventually(t, "queued", func() bool {
		s.groups.mu.Lock()
		defer s.groups.mu.Unlock()
		return len(s.groups.queue) == 1
	})
	cancel()
	err := <-queued
	assert.True(t, errors.Is(err, context.Canceled) && !errors.Is(err, provider.ErrUnknownOutcome), "%v", err)
	execute(t, holder, "ROLLBACK")
	must(t, <-done)
	assert.Equal(t, value(t, c, in(s, "SELECT count(*) FROM schema.instances")), int64(1))
}

// A server that crashes and comes back costs a pause and no acknowledged turn.
func TestServerCrash(t *testing.T) {
	if ours == nil {
		t.Skip("the server is not ours to kill")
	}
	private, err := pgtest.Start()
	must(t, err)
	defer func() { must(t, private.Stop()) }()
	s := openAt(t, private.ConnString(), Options{})
	node := join(t, s)
	key := create(t, s, node, "a")
	for n := range int64(20) {
		must(t, commit(t, s, node, turn(key, n+1)))
	}
	must(t, private.Kill())
	err = commit(t, s, node, turn(key, 21))
	assert.True(t, errors.Is(err, provider.ErrTransient) || errors.Is(err, provider.ErrUnknownOutcome), "%v", err)
	must(t, private.Restart())
	eventually(t, "the store works", func() bool { return commit(t, s, node, turn(key, 21)) == nil })
	turns, err := s.Turns(t.Context(), key, 1, 0)
	must(t, err)
	assert.Equal(t, len(turns), 21)
}
