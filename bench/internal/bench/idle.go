package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/durango-go/durango/bench/internal/quiet"
)

const idlePackage = "github.com/durango-go/durango/bench/idle"

// idleProgram is the program that measures waiting instances, built when it is
// first asked for: in this one the peers would be in memory too.
var idleProgram struct {
	sync.Once
	path string
	err  error
}

func buildIdle() (string, error) {
	p := &idleProgram
	p.Do(func() {
		_, source, _, ok := runtime.Caller(0)
		if !ok {
			p.err = errors.New("the sources of this program are not known")
			return
		}
		dir, err := os.MkdirTemp("", "durango-idle-")
		if err != nil {
			p.err = err
			return
		}
		p.path = filepath.Join(dir, "idle")
		build := exec.Command("go", "build", "-o", p.path, idlePackage)
		build.Dir = filepath.Dir(source)
		if out, err := build.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("build %s: %w: %s", idlePackage, err, tail(out))
		}
	})
	return p.path, p.err
}

// removeIdle removes the program, if it was built.
func removeIdle() error {
	if idleProgram.path == "" {
		return nil
	}
	return os.RemoveAll(filepath.Dir(idleProgram.path))
}

// runIdle measures a node as it comes.
func runIdle(e *env) (*Sample, error) {
	return runWaiting(e, quiet.Orders{Instances: e.Idle, Release: e.IdleRelease, Settle: e.IdleSettle, Window: e.IdleWindow})
}

// runMemory measures one that keeps its n instances in memory, or none of them.
func runMemory(e *env, n int, hot bool) (*Sample, error) {
	o := quiet.Orders{Instances: n, MaxHot: 1, Release: min(time.Second, e.IdleSettle/3), Settle: min(4*time.Second, e.IdleSettle), Window: e.Window}
	if hot {
		o.MaxHot, o.Release, o.Settle = n+100, 24*time.Hour, min(time.Second, e.IdleSettle)
	}
	return runWaiting(e, o)
}

func runWaiting(e *env, o quiet.Orders) (*Sample, error) {
	program, err := buildIdle()
	if err != nil {
		return nil, err
	}
	o.Store, o.File, o.Schema, o.Timeout = e.store, filepath.Join(e.dir, "idle.db"), filepath.Base(e.dir), e.Timeout
	orders, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(e, program)
	if onPostgres(e.store) {
		conn, err := connString()
		if err != nil {
			return nil, err
		}
		cmd.Env = append(os.Environ(), quiet.ServerVariable+"="+conn)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(string(orders)), &stdout, &stderr
	all, began := machineCPU(), time.Now()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("idle: %w: %s", err, tail(stderr.Bytes()))
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	var r quiet.Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("idle: %w", err)
	}
	if r.Error != "" {
		return nil, fmt.Errorf("idle: %s", r.Error)
	}
	s := &Sample{Steps: int64(max(o.Instances, 1)), Wall: r.Wall, CPU: r.CPU, Other: -1}
	if all > 0 {
		s.Other = max(0, (machineCPU()-all-used).Seconds()/time.Since(began).Seconds())
	}
	s.add("rss_mib", r.RSS)
	s.add("rss_collected_mib", r.RSSCollected)
	s.add("heap_mib", r.Heap)
	s.add("rss_empty_mib", r.RSSEmpty)
	s.add("cpu_percent", 100*r.CPU.Seconds()/r.Wall.Seconds())
	if r.Queries >= 0 {
		s.add("queries_per_s", float64(r.Queries)/r.Wall.Seconds())
		s.add("writes_per_s", float64(r.Writes)/r.Wall.Seconds())
	}
	if r.Warnings > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%d warnings logged", r.Warnings))
	}
	return s, nil
}
