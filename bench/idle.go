package main

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
		build := exec.Command("go", "build", "-o", p.path, "./idle")
		build.Dir = filepath.Dir(source)
		if out, err := build.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("build ./idle: %w: %s", err, tail(out))
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

// runWaiting measures a node of its own with n waiting instances: in memory,
// or given up by it.
func runWaiting(e *env, n int, hot bool) (*Sample, error) {
	program, err := buildIdle()
	if err != nil {
		return nil, err
	}
	o := quiet.Orders{Store: e.store, File: filepath.Join(e.dir, "idle.db"), Schema: filepath.Base(e.dir), Instances: n, Hot: hot,
		Release: e.IdleRelease, Settle: e.IdleSettle, Window: e.IdleWindow, Timeout: e.Timeout}
	if hot || n == 0 {
		o.Settle = time.Second
	}
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
	s := &Sample{Steps: int64(max(n, 1)), Wall: r.Wall, CPU: r.CPU, Other: -1}
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
