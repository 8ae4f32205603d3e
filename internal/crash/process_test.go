package crash

import (
	"bufio"
	"cmp"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/durango-go/durango/internal/assert"
)

// process is a worker that can be killed.
type process struct {
	cmd   *exec.Cmd
	ready chan struct{}
}

func spawn(t *testing.T, p *place, lease string) *process {
	t.Helper()
	return spawnBinary(t, os.Args[0], p, lease)
}

func spawnBinary(t *testing.T, binary string, p *place, lease string, env ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, "-test.run=^$")
	cmd.Env = append(append(os.Environ(), envStore+"="+p.url, envLedger+"="+p.ledger(), envLease+"="+lease), env...)
	cmd.Stderr = cmp.Or(p.stderr, os.Stderr)
	out, err := cmd.StdoutPipe()
	assert.NoError(t, err)
	assert.NoError(t, cmd.Start())
	w := &process{cmd: cmd, ready: make(chan struct{})}
	go func() {
		s := bufio.NewScanner(out)
		for s.Scan() {
			if s.Text() == "ready" {
				close(w.ready)
			}
		}
	}()
	t.Cleanup(func() { w.kill() })
	return w
}

// kill ends the process without a word and waits until it is gone.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGKILL)
		_ = p.cmd.Wait()
	}
}

// waitReady waits until the process has opened its store.
func (p *process) waitReady(t *testing.T) {
	t.Helper()
	select {
	case <-p.ready:
	case <-time.After(30 * time.Second):
		t.Fatal("a worker did not start")
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	assert.NoError(t, p.cmd.Process.Signal(s))
}

// drain asks the process to end, and returns how long that took.
func (p *process) drain(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	p.signal(t, syscall.SIGTERM)
	_ = p.cmd.Wait()
	assert.Equal(t, p.cmd.ProcessState.ExitCode(), 0, "a worker's exit")
	return time.Since(began)
}
