package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango/provider"
)

// The tests here run this binary again, as other programs that use the file.
const roleVariable = "DURANGO_SQLITE_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := roles[role](os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var roles = map[string]func(path string) error{
	"open":   roleOpen,
	"commit": roleCommit,
	"join":   roleJoin,
}

// process starts this binary in a role. What it prints can be read from the
// reader, which ends when the process does.
func process(t *testing.T, role, path string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, bufio.NewReader(out)
}

func roleOpen(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	if _, err := s.Join(context.Background(), provider.NodeInfo{}); err != nil {
		return err
	}
	return s.Close()
}

// "Migrations started by ten processes at once succeed once."
func TestTenProcessesMigrateAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var all []*exec.Cmd
	for range 10 {
		cmd, _ := process(t, "open", path)
		all = append(all, cmd)
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process failed: %v", err)
		}
	}
	s := openAt(t, path, Options{})
	nodes, err := s.Nodes(t.Context())
	must(t, err)
	if len(nodes) != 10 {
		t.Errorf("%d of 10 nodes have joined", len(nodes))
	}
	for _, n := range nodes {
		if !n.Gone {
			t.Errorf("node %x lives, its process does not", n.Key)
		}
	}
}

// roleCommit creates an instance and commits turns for ever. It prints the
// instance's key and then the number of each turn when it is acknowledged.
func roleCommit(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	ctx := context.Background()
	node, err := s.Join(ctx, provider.NodeInfo{})
	if err != nil {
		return err
	}
	n := provider.NewInstance{Key: provider.NewKey(), ID: fmt.Sprint("of-", node), Name: "flow", Version: "1", Owned: true}
	if _, err := s.Create(ctx, node, []provider.NewInstance{n}); err != nil {
		return err
	}
	fmt.Println(int64(n.Key))
	for number := int64(1); ; number++ {
		results, err := s.Commit(ctx, node, []provider.Commit{turn(n.Key, number)})
		if err = errors.Join(err); err == nil {
			err = results[0].Err
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Println(number); err != nil {
			return err
		}
	}
}

// follow reads what a committing process prints until it has acknowledged
// enough, kills it and returns its instance and its last acknowledged turn.
func follow(t *testing.T, cmd *exec.Cmd, out *bufio.Reader, enough int64) (key provider.Key, acknowledged int64) {
	t.Helper()
	if _, err := fmt.Fscanln(out, &key); err != nil {
		t.Errorf("the process said nothing: %v", err)
		return 0, 0
	}
	for {
		line, err := out.ReadString('\n')
		if err == nil {
			fmt.Sscan(line, &acknowledged) // a line that is cut short acknowledges nothing
		}
		if errors.Is(err, io.EOF) {
			return key, acknowledged
		}
		if acknowledged >= enough {
			cmd.Process.Kill()
		}
	}
}

// What was acknowledged before a process was killed is there, and nothing
// half done.
func TestKilledProcessesLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path, Options{})
	for range 3 {
		cmd, out := process(t, "commit", path)
		key, acknowledged := follow(t, cmd, out, 50)
		turns, err := s.Turns(t.Context(), key, 1, 0)
		must(t, err)
		if n := int64(len(turns)); n < acknowledged || n > acknowledged+1 {
			t.Errorf("%d turns are there, %d were acknowledged", n, acknowledged)
		}
		in, err := s.Get(t.Context(), provider.Target{Key: key})
		must(t, err)
		if in.NextTurn != int64(len(turns))+1 {
			t.Errorf("the row says that turn %d is next, the history has %d", in.NextTurn, len(turns))
		}
	}
	c := raw(t, s)
	plan, err := explainFree(c, "PRAGMA integrity_check")
	must(t, err)
	if plan != "ok" {
		t.Errorf("integrity: %s", plan)
	}
}

// explainFree returns the first column of all rows of a statement.
func explainFree(c *conn, q string) (string, error) {
	st, _, err := c.PrepareTransient(q)
	if err != nil {
		return "", err
	}
	defer st.Finalize()
	var lines []string
	for {
		found, err := st.Step()
		if err != nil || !found {
			return strings.Join(lines, "\n"), err
		}
		lines = append(lines, st.ColumnText(0))
	}
}

func TestProcessesShareTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path, Options{})
	node := join(t, s)
	key := create(t, s, node, "mine")
	type result struct {
		key          provider.Key
		acknowledged int64
	}
	results := make([]result, 3)
	var wg sync.WaitGroup
	for i := range results {
		cmd, out := process(t, "commit", path)
		wg.Go(func() { results[i].key, results[i].acknowledged = follow(t, cmd, out, 100) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	n := int64(1)
	for running := true; running; n++ {
		must(t, commit(t, s, node, turn(key, n)))
		select {
		case <-done:
			running = false
		default:
		}
	}
	for _, r := range append(results, result{key, n - 1}) {
		turns, err := s.Turns(t.Context(), r.key, 1, 0)
		must(t, err)
		if got := int64(len(turns)); r.acknowledged == 0 || got < r.acknowledged || got > r.acknowledged+1 {
			t.Errorf("instance %d: %d turns are there, %d were acknowledged", r.key, got, r.acknowledged)
		}
	}
}

// roleJoin joins and waits to be killed.
func roleJoin(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	node, err := s.Join(context.Background(), provider.NodeInfo{})
	if err != nil {
		return err
	}
	fmt.Println(int64(node))
	select {}
}

// "On SQLite each node also holds an operating-system file lock; whoever can
// take it may declare death at once"
func TestANodeIsGoneWhenItsProcessEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path, Options{})
	me, here := join(t, s), join(t, openAt(t, path, Options{}))
	cmd, out := process(t, "join", path)
	var there provider.NodeKey
	_, err := fmt.Fscanln(out, &there)
	must(t, err)

	gone := func(node provider.NodeKey) bool {
		t.Helper()
		pulse, err := s.Heartbeat(t.Context(), me)
		must(t, err)
		for _, n := range pulse.Nodes {
			if n.Key == node {
				return n.Gone
			}
		}
		t.Fatalf("node %x is not a member", node)
		return false
	}
	for range 3 { // asking must not take the lock away
		if gone(me) || gone(here) || gone(there) {
			t.Fatal("a node that lives is reported gone")
		}
	}
	must(t, cmd.Process.Kill())
	cmd.Wait()
	if !gone(there) || gone(me) || gone(here) {
		t.Error("not exactly the node whose process was killed is gone")
	}
	r, err := s.Bury(t.Context(), provider.Burial{Node: there, Force: true})
	must(t, err)
	if _, err := os.Stat(lockPath(s.file, there)); !r.Done || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the burial: done %v, lock file %v", r.Done, err)
	}
	_, err = s.Bury(t.Context(), provider.Burial{Node: me, Force: true})
	must(t, err)
	if _, err := os.Stat(lockPath(s.file, me)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock file of a node that left: %v", err)
	}
}

// A node of a handle that was closed is gone, although its process lives.
func TestANodeIsGoneWhenItsStoreIsClosed(t *testing.T) {
	s := open(t, Options{})
	other := openAt(t, s.name, Options{})
	node := join(t, other)
	must(t, other.Close())
	nodes, err := s.Nodes(t.Context())
	must(t, err)
	if len(nodes) != 1 || nodes[0].Key != node || !nodes[0].Gone {
		t.Errorf("nodes: %v", nodes)
	}
}

// Another process that holds the write lock for a while costs time and
// nothing else.
func TestALockThatIsReleasedInTimeIsWaitedFor(t *testing.T) {
	s := open(t, Options{BusyTimeout: time.Minute})
	node := join(t, s)
	key := create(t, s, node, "a")
	c := raw(t, s)
	must(t, executeAll(c.Conn, "BEGIN IMMEDIATE"))
	done := make(chan error)
	go func() { done <- commit(t, s, node, turn(key, 1)) }()
	for started := false; !started; { // until the leader is at work
		s.w.mu.Lock()
		started = s.w.leading && s.w.first == nil
		s.w.mu.Unlock()
	}
	must(t, executeAll(c.Conn, "COMMIT"))
	must(t, <-done)
}
