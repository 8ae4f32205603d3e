//go:build unix

package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrNoPooler is what StartPooler returns where PgBouncer is not installed.
var ErrNoPooler = errors.New("pgtest: no pgbouncer: install it (scripts/ensure-deps.sh)")

// Pooler is a running PgBouncer.
type Pooler struct {
	process Server
}

// StartPooler starts a PgBouncer on a free port of the loopback interface. It
// lends connections to the server at host, which may be the directory of a
// socket, and port by the transaction, and logs in as the user that Start
// makes. Settings, as "name=value", come on top. The caller must Stop it; on
// Linux it also ends with the process.
func StartPooler(host string, port int, settings ...string) (*Pooler, error) {
	path, err := exec.LookPath("pgbouncer")
	if err != nil { // the PATH of an ordinary account may lack its place
		path = "/usr/sbin/pgbouncer"
		if _, err := os.Stat(path); err != nil {
			return nil, ErrNoPooler
		}
	}
	cred, err := account() // it refuses to run as root, too
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	p := &Pooler{process: Server{dir: dir, cred: cred}}
	if err := p.start(path, host, port, settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return p, nil
}

func (p *Pooler) start(path, host string, port int, settings []string) (err error) {
	s := &p.process
	if s.port, err = freePort(); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	config := append([]string{
		"[databases]",
		fmt.Sprintf("* = host=%s port=%d user=%s", host, port, superuser),
		"[pgbouncer]",
		"pool_mode = transaction", "auth_type = any", "listen_addr = 127.0.0.1",
		fmt.Sprintf("listen_port = %d", s.port), "unix_socket_dir =", "max_client_conn = 200",
	}, settings...)
	file := filepath.Join(s.dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o644); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	if s.cred != nil {
		if err := os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
	}
	return s.run(exec.Command(path, file), "process up: PgBouncer")
}

// ConnString is the URL of the server's database, through the pooler.
func (p *Pooler) ConnString() string { return p.process.ConnString() }

// Log returns the last lines that the pooler logged.
func (p *Pooler) Log() string { return p.process.Log() }

// Stop ends the pooler, whatever its clients are doing, and removes its files.
func (p *Pooler) Stop() error {
	return errors.Join(p.process.shutDown(syscall.SIGTERM), os.RemoveAll(p.process.dir))
}
