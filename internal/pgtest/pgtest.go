//go:build unix

// Package pgtest starts a private PostgreSQL server for tests: in a directory
// of its own, on a free port of the loopback interface and a socket in that
// directory, with settings for a small machine. It needs the server's
// binaries (scripts/ensure-deps.sh). A pooler can be put in front of it.
package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is a running server.
type Server struct {
	dir    string
	port   int
	cred   *syscall.Credential // of the account that runs it; nil: ours
	cmd    *exec.Cmd
	exited chan struct{}
	log    tail
}

const (
	startPatience = 60 * time.Second
	stopPatience  = 30 * time.Second
	superuser     = "durango"
)

// Start makes a database cluster and starts a server on it. Settings, as
// "name=value", come on top of the package's own. The caller must Stop it; on
// Linux it also ends with the process.
func Start(settings ...string) (*Server, error) {
	cred, err := account()
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	dir, err := os.MkdirTemp("", "pgtest") // a socket's path must be short
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	s := &Server{dir: dir, cred: cred}
	if err := s.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("pgtest: %w", err), os.RemoveAll(dir))
	}
	if err := s.Restart(settings...); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// account returns the account to run the server under: it refuses to run as
// root.
func account() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("the server refuses to run as root, and there is no account postgres or nobody")
}

// binary finds a program of the server: in the PATH, or where Debian has it.
func binary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path) // it looks for its files beside itself
	}
	paths, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(paths) == 0 {
		return "", fmt.Errorf("no %s: install PostgreSQL (scripts/ensure-deps.sh)", name)
	}
	slices.Sort(paths)
	return paths[len(paths)-1], nil
}

// create makes the cluster.
func (s *Server) create() error {
	if s.cred != nil {
		if err := os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return err
		}
	}
	initdb, err := binary("initdb")
	if err != nil {
		return err
	}
	cmd := exec.Command(initdb, "--pgdata="+s.data(), "--username="+superuser, "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	cmd.Dir, cmd.SysProcAttr = s.dir, s.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Credential: s.cred}
	endWithParent(attr)
	return attr
}

// Restart starts the server, after having stopped it if it runs. The
// connection string stays the same.
func (s *Server) Restart(settings ...string) error {
	if err := s.shutDown(syscall.SIGINT); err != nil {
		return err
	}
	if s.port == 0 {
		port, err := freePort()
		if err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
		s.port = port
	}
	postgres, err := binary("postgres")
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	args := []string{"-D", s.data()}
	for _, set := range append([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port), "unix_socket_directories=" + s.dir,
		"max_connections=200", "shared_buffers=64MB", "max_wal_size=512MB", "max_prepared_transactions=0",
		"max_wal_senders=0", "wal_level=minimal", "autovacuum_naptime=10s",
	}, settings...) {
		args = append(args, "-c", set)
	}
	return s.run(exec.Command(postgres, args...), "database system is ready to accept connections")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// run starts the server and waits until it accepts connections, which it logs.
func (s *Server) run(cmd *exec.Cmd, up string) error {
	logs, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	cmd.Dir, cmd.SysProcAttr = s.dir, s.attributes()
	started, ready := make(chan error, 1), make(chan struct{})
	s.cmd, s.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) {
		defer close(exited)
		stayOnThread() // it ends with the thread that started it
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.log.follow(logs, up, ready)
		_ = cmd.Wait()
	}(s.exited)
	if err := <-started; err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	select {
	case <-ready:
		return nil
	case <-s.exited:
		return fmt.Errorf("pgtest: the server ended: %s", s.log.String())
	case <-time.After(startPatience):
		_ = s.shutDown(syscall.SIGQUIT)
		return fmt.Errorf("pgtest: the server is not ready after %v: %s", startPatience, s.log.String())
	}
}

// ConnString is the URL of the server's database, over TCP.
func (s *Server) ConnString() string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", superuser, s.port)
}

// SocketString is the same over the socket, which is faster.
func (s *Server) SocketString() string {
	return fmt.Sprintf("host=%s port=%d user=%s dbname=postgres", s.dir, s.port, superuser)
}

// Log returns the last lines that the server logged.
func (s *Server) Log() string { return s.log.String() }

// Kill ends the server as a crash would: nothing is written any more.
func (s *Server) Kill() error { return s.shutDown(syscall.SIGQUIT) }

// Stop ends the server and removes its files.
func (s *Server) Stop() error {
	return errors.Join(s.shutDown(syscall.SIGINT), os.RemoveAll(s.dir))
}

// shutDown ends the server with a signal; harder if that takes too long. See
// https://www.postgresql.org/docs/current/server-shutdown.html
func (s *Server) shutDown(signal os.Signal) error {
	if s.cmd == nil {
		return nil
	}
	for _, sig := range []os.Signal{signal, syscall.SIGQUIT, syscall.SIGKILL} {
		select {
		case <-s.exited:
			s.cmd = nil
			return nil
		default:
		}
		_ = s.cmd.Process.Signal(sig)
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		select {
		case <-s.exited:
		case <-ctx.Done():
		}
		cancel()
	}
	select {
	case <-s.exited:
		s.cmd = nil
		return nil
	default:
		return errors.New("pgtest: the server does not end")
	}
}

// follow reads the log until its end, and closes ready at the line that says up.
func (t *tail) follow(logs io.Reader, up string, ready chan struct{}) {
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		t.add(line)
		if ready != nil && strings.Contains(line, up) {
			close(ready)
			ready = nil
		}
	}
	_, _ = io.Copy(io.Discard, logs)
}
