package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNoFailover is what StartPair returns where pg_auto_failover is not
// installed.
var ErrNoFailover = errors.New("pgtest: no pg_autoctl: install pg_auto_failover (scripts/ensure-deps.sh)")

// Pair is a primary and a synchronous standby that takes its place when it
// dies: pg_auto_failover with one monitor and two nodes, see
// https://pg-auto-failover.readthedocs.io. It notices a death in about seven
// seconds, where the default is 20 to 30.
type Pair struct {
	dir     string
	base    Server // the account and the directory of all
	monitor *keeper
	nodes   [2]*keeper
}

// keeper is a pg_autoctl process and the server that it keeps running.
type keeper struct {
	Server
	data string
}

const (
	pairPatience = time.Minute
	pairMonitor  = "autoctl_node"
	pairSettings = `
pgautofailover.health_check_period = 1000
pgautofailover.health_check_timeout = 1000
pgautofailover.health_check_max_retries = 2
pgautofailover.health_check_retry_delay = 500
pgautofailover.node_considered_unhealthy_timeout = 5000
pgautofailover.primary_demote_timeout = 5000
`
)

// StartPair starts a pair and waits until its standby is synchronous. The caller
// must Stop it; on Linux it also ends with the process.
func StartPair() (*Pair, error) {
	if _, err := exec.LookPath("pg_autoctl"); err != nil {
		return nil, ErrNoFailover
	}
	cred, err := account()
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	p := &Pair{dir: dir, base: Server{dir: dir, cred: cred}}
	if err := p.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("pgtest: %w", err), p.Stop())
	}
	return p, nil
}

func (p *Pair) start() error {
	if p.base.cred != nil {
		if err := os.Chown(p.dir, int(p.base.cred.Uid), int(p.base.cred.Gid)); err != nil {
			return err
		}
	}
	var err error
	if p.monitor, err = p.keeper("monitor"); err != nil {
		return err
	}
	// It is made first and started then: only its file can say where it listens
	// and how soon it notices.
	if err := p.autoctl("create", "monitor", "--pgdata", p.monitor.data, "--pgport", strconv.Itoa(p.monitor.port),
		"--hostname", "127.0.0.1", "--auth", "trust", "--no-ssl"); err != nil {
		return err
	}
	if err := p.autoctl("config", "set", "postgresql.listen_addresses", "127.0.0.1", "--pgdata", p.monitor.data); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(p.monitor.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(pairSettings)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := p.keep(p.monitor, "run", "--pgdata", p.monitor.data); err != nil {
		return err
	}
	for i := range p.nodes {
		k, err := p.keeper(fmt.Sprint("node", i))
		if err != nil {
			return err
		}
		p.nodes[i] = k
		if err := p.keep(k, "create", "postgres", "--pgdata", k.data, "--pgport", strconv.Itoa(k.port), "--name", fmt.Sprint("node", i),
			"--listen", "127.0.0.1", "--hostname", "127.0.0.1", "--auth", "trust", "--no-ssl", "--username", superuser, "--dbname", "postgres",
			"--monitor", p.monitorString(), "--run"); err != nil {
			return err
		}
	}
	return p.WaitSynchronous()
}

func (p *Pair) keeper(name string) (*keeper, error) {
	port, err := freePort()
	return &keeper{Server: Server{dir: p.dir, cred: p.base.cred, port: port}, data: filepath.Join(p.dir, name)}, err
}

func (p *Pair) monitorString() string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/pg_auto_failover", pairMonitor, p.monitor.port)
}

// command is a call of pg_autoctl, which keeps its files in the directories of
// its user unless it is told otherwise.
func (p *Pair) command(args ...string) *exec.Cmd {
	cmd := exec.Command("pg_autoctl", args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = p.base.attributes()
	path := "/usr/bin:/bin"
	if ctl, err := binary("pg_ctl"); err == nil {
		path = filepath.Dir(ctl) + ":" + path
	}
	cmd.Env = []string{"PATH=" + path, "HOME=" + p.dir, "LC_ALL=C.UTF-8", "XDG_CONFIG_HOME=" + p.dir + "/config",
		"XDG_DATA_HOME=" + p.dir + "/data", "XDG_RUNTIME_DIR=" + p.dir + "/run"}
	return cmd
}

func (p *Pair) autoctl(args ...string) error {
	if out, err := p.command(args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pg_autoctl %s: %w: %s", strings.Join(args[:2], " "), err, out)
	}
	return nil
}

// keep starts a keeper, and waits until it has begun its work.
func (p *Pair) keep(k *keeper, args ...string) error {
	return k.run(p.command(args...), "Started pg_autoctl")
}

// ConnString is the URL of whichever server takes writes.
func (p *Pair) ConnString() string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write&connect_timeout=5",
		superuser, p.nodes[0].port, p.nodes[1].port)
}

// states asks the monitor for the reported and the assigned state of each node.
func (p *Pair) states() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, p.monitorString())
	if err != nil {
		return err.Error()
	}
	defer c.Close(ctx)
	var states *string
	if err := c.QueryRow(ctx, `SELECT string_agg(nodename || '=' || reportedstate || '/' || goalstate, ' ' ORDER BY nodename)
		FROM pgautofailover.node`).Scan(&states); err != nil || states == nil {
		return fmt.Sprint("no states: ", err)
	}
	return *states
}

// WaitSynchronous waits until one node is the primary and the other its
// synchronous standby: from then on what is acknowledged survives either.
func (p *Pair) WaitSynchronous() error {
	last := ""
	for end := time.Now().Add(pairPatience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		last = p.states()
		if strings.Contains(last, "=primary/primary") && strings.Contains(last, "=secondary/secondary") {
			return nil
		}
	}
	return fmt.Errorf("the pair is not in order: %s: %s", last, p.Log())
}

// primary returns the node that takes writes.
func (p *Pair) primary() (*keeper, error) {
	states := p.states()
	for i, k := range p.nodes {
		if strings.Contains(states, fmt.Sprintf("node%d=primary/", i)) {
			return k, nil
		}
	}
	return nil, fmt.Errorf("pgtest: no primary: %s", states)
}

// KillPrimary ends the primary and its keeper as the death of their machine
// would, and returns what starts them again: as the standby.
func (p *Pair) KillPrimary() (revive func() error, err error) {
	k, err := p.primary()
	if err != nil {
		return nil, err
	}
	return func() error { return p.keep(k, "run", "--pgdata", k.data) }, k.die()
}

// FreezePrimary stops all processes of the primary and its keeper: who is
// connected to it hears nothing, as if its machine had vanished from the
// network. It returns what lets them go on: as the standby, once they see what
// has happened.
func (p *Pair) FreezePrimary() (revive func() error, err error) {
	k, err := p.primary()
	if err != nil {
		return nil, err
	}
	pids := descendants(k.cmd.Process.Pid)
	for _, pid := range pids {
		err = errors.Join(err, syscall.Kill(pid, syscall.SIGSTOP))
	}
	return func() error {
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		return nil
	}, err
}

// die ends a keeper, all its processes and its server, in an order in which
// nobody starts anything again.
func (k *keeper) die() error {
	if k == nil || k.cmd == nil {
		return nil
	}
	for _, pid := range descendants(k.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return k.shutDown(syscall.SIGKILL)
}

// descendants returns a process and all that it has started, parents first.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, _ := os.ReadFile(file) // pid (name) state parent …
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 1 {
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// Log returns the last lines that the keepers logged.
func (p *Pair) Log() string {
	var b strings.Builder
	for _, k := range []*keeper{p.monitor, p.nodes[0], p.nodes[1]} {
		if k != nil {
			fmt.Fprintf(&b, "%s:\n%s\n", k.data, k.Server.Log())
		}
	}
	return b.String()
}

// Stop ends all and removes its files.
func (p *Pair) Stop() error {
	var errs []error
	for _, k := range []*keeper{p.nodes[0], p.nodes[1], p.monitor} {
		errs = append(errs, k.die())
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}
