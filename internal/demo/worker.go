package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/examples/order/fulfil"
	"github.com/durango-go/durango/provider/sqlite"
)

// The files of a run, in its directory.
const (
	storeFile  = "orders.db"    // durango's store
	ledgerFile = "ledger.jsonl" // what the outside world saw
	ordersFile = "orders.json"  // what was placed
)

// work is the worker process: a node with the fulfilment of orders, whose
// activities talk to the world. It stops when its standard input ends, which
// is when its parent has died.
func work(ctx context.Context, dir string, number int, seed uint64, pace float64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it
		stop()
	}()
	stock, err := loadStock()
	if err != nil {
		return err
	}
	ledger, past, err := openLedger(filepath.Join(dir, ledgerFile))
	if err != nil {
		return err
	}
	store, err := sqlite.Open(filepath.Join(dir, storeFile))
	if err != nil {
		return errors.Join(err, ledger.close())
	}
	rt, err := durango.New(store, durango.Options{
		Name:   "worker-" + strconv.Itoa(number),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err == nil {
		fulfil.Register(rt, newWorld(ledger, past, stock, seed, pace))
		err = rt.Run(ctx)
	}
	return errors.Join(err, store.Close(), ledger.close())
}

// process is a running worker as its parent sees it.
type process struct {
	number int
	pid    int
	cmd    *exec.Cmd
	stdin  io.Closer
	log    *os.File
	ended  chan struct{}
	err    error
}

// spawn starts this program again as a worker.
func spawn(s *settings, dir string, number int) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "worker.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	cmd := exec.Command(self, "demo", "worker", "--dir", dir, "--number", strconv.Itoa(number),
		"--seed", strconv.FormatUint(s.seed, 10), "--pace", strconv.FormatFloat(s.pace, 'g', -1, 64))
	cmd.Stderr = log
	p := &process{number: number, cmd: cmd, log: log, ended: make(chan struct{})}
	// The pipe ends with this process, however it ends.
	if p.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start worker: %w", err), log.Close())
	}
	p.pid = cmd.Process.Pid
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// crashed is the error of a process that ended by itself.
func (p *process) crashed() error {
	return fmt.Errorf("worker %d ended by itself (%w); run with --keep and see worker.log", p.number, p.err)
}

// kill ends the process without a warning (SIGKILL) and waits until it is gone.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.ended
	return errors.Join(err, p.log.Close())
}

// stop asks the process to drain and waits for its end.
func (p *process) stop(ctx context.Context) error {
	_ = p.stdin.Close() // that is how it is asked
	select {
	case <-p.ended:
		return errors.Join(p.err, p.log.Close())
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.kill())
	}
}
