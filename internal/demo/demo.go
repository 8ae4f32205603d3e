// Package demo is the demonstration of the durango command: orders are
// fulfilled by a worker process that is killed again and again, and an
// independent ledger proves that nothing was lost and nothing done twice.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/examples/order/fulfil"
	"github.com/durango-go/durango/provider/sqlite"
)

// settings are what the command line says.
type settings struct {
	orders, kills int
	seed          uint64
	pace          float64
	dir           string
	keep          bool
	timeout       time.Duration
	out           io.Writer
	terminal      bool
}

const (
	approveAbove  = 500_00 // cents
	approveWithin = 5 * time.Second
	burst         = 6
	perOrder      = 100 * time.Millisecond
	perKill       = 1500 * time.Millisecond // for the worker to come up and have work in hand
)

// scaled is d at the pace of the run.
func (s *settings) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * s.pace)
}

// window is the time over which orders are placed and workers killed.
func (s *settings) window() time.Duration {
	return max(s.scaled(time.Duration(s.orders)*perOrder), time.Duration(s.kills)*perKill)
}

// run is one demonstration.
type run struct {
	*settings
	tasks  []task
	client *durango.Client
	board  *board
	ledger string

	mu      sync.Mutex
	results map[string]fulfil.Result
}

// start runs the demonstration and returns an error when the proof fails.
func start(ctx context.Context, s *settings) (err error) {
	tasks, err := loadOrders(s.orders)
	if err != nil {
		return err
	}
	dir, temporary := s.dir, s.dir == ""
	if temporary {
		if dir, err = os.MkdirTemp("", "durango-demo-"); err != nil {
			return err
		}
	} else if err := emptyDir(dir); err != nil {
		return err
	}
	if temporary && !s.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := writeFile(filepath.Join(dir, ordersFile), tasks); err != nil {
		return err
	}
	store, err := sqlite.Open(filepath.Join(dir, storeFile))
	if err != nil {
		return err
	}
	r := &run{
		settings: s, tasks: tasks, client: durango.NewClient(store), results: map[string]fulfil.Result{},
		ledger: filepath.Join(dir, ledgerFile), board: newBoard(s, dir),
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	kills, err := r.play(ctx, dir)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the proof says which orders have not ended
	}
	err = errors.Join(err, store.Close())
	r.board.close()
	if err != nil {
		return err
	}
	return r.conclude(dir, kills)
}

// emptyDir makes a directory, or accepts one in which nothing would be mixed
// up with this run.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		return fmt.Errorf("%s is not empty; name another directory, or remove it", dir)
	}
	return nil
}

// play places the orders, kills the worker, and waits until all orders have
// ended.
func (r *run) play(ctx context.Context, dir string) (kills int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	worker, err := spawn(r.settings, dir, 1)
	if err != nil {
		return 0, err
	}
	r.board.say("worker 1 started, process %d", worker.pid)

	var watching, playing sync.WaitGroup
	watch, endWatch := context.WithCancel(ctx)
	watching.Go(func() { r.follow(watch) })
	over := make(chan struct{})
	playing.Go(func() {
		defer close(over)
		if perr := r.place(ctx); perr != nil {
			cancel(perr)
		}
	})
	playing.Go(func() {
		var kerr error
		if worker, kills, kerr = r.killer(ctx, dir, worker); kerr != nil {
			cancel(kerr)
			return
		}
		select {
		case <-worker.ended:
			cancel(worker.crashed())
		case <-over:
		}
	})
	playing.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	endWatch()
	watching.Wait()
	if err != nil {
		return kills, errors.Join(err, ignoreKilled(worker.kill()))
	}
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer stop()
	if err := worker.stop(drain); err != nil {
		return kills, fmt.Errorf("stop worker %d: %w", worker.number, err)
	}
	return kills, nil
}

// ignoreKilled drops the error of killing what has ended by itself.
func ignoreKilled(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// place starts the orders over time, as customers would, and waits for their
// ends. Everything it does it does as a plain client of the store.
func (r *run) place(ctx context.Context) error {
	pause := r.window() / time.Duration(max(len(r.tasks), 1))
	failed := make(chan error, len(r.tasks))
	placed := 0
	for i, t := range r.tasks {
		if i == (len(r.tasks)-1)/burst*burst && r.board.awaitLast(ctx) != nil {
			break
		}
		go func() {
			err := r.order(ctx, t)
			if err != nil {
				r.board.last() // so that it is heard of
			}
			failed <- err
		}()
		placed++
		r.board.placing()
		// In bursts, so that a kill finds much to interrupt.
		if placed%burst == 0 && sleep(ctx, burst*pause) != nil {
			break
		}
	}
	var errs error
	for range placed {
		errs = errors.Join(errs, <-failed)
	}
	if ctx.Err() != nil {
		return ctx.Err() // all have the same to say
	}
	return errs
}

// order places one order, approves it if a person would, and waits for its
// end.
func (r *run) order(ctx context.Context, t task) error {
	o := t.Order
	in := fulfil.Input{Order: o, ApproveAbove: approveAbove, ApproveWithin: r.scaled(approveWithin)}
	handle, err := fulfil.Fulfil.Start(ctx, r.client, o.ID, in)
	if err != nil {
		return err
	}
	if t.Approval == "approve" || t.Approval == "reject" {
		if err := sleep(ctx, r.scaled(time.Duration(100+rand.IntN(900))*time.Millisecond)); err != nil {
			return err
		}
		decision := fulfil.Approval{By: "ann", OK: t.Approval == "approve"}
		if err := fulfil.Approved.Send(ctx, r.client, o.ID, decision); err != nil {
			return err
		}
	}
	result, err := handle.Wait(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", o.ID, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[o.ID] = result
	r.board.ended(result.Outcome)
	return nil
}

// killer kills the worker at varied moments of the window, always with
// requests in flight, and starts the next one. It returns the last worker.
func (r *run) killer(ctx context.Context, dir string, worker *process) (*process, int, error) {
	random := rand.New(rand.NewPCG(r.seed, 1))
	begin := time.Now()
	defer r.board.last()
	for k := range r.kills {
		share := (float64(k) + 0.3 + 0.6*random.Float64()) / float64(r.kills)
		at := begin.Add(time.Duration(share * float64(r.window())))
		if err := sleep(ctx, time.Until(at)); err != nil {
			return worker, k, err
		}
		if k == r.kills-1 {
			r.board.last()
		}
		busy, err := r.board.waitBusy(ctx, worker)
		if err != nil {
			return worker, k, err
		}
		if err := worker.kill(); err != nil {
			return worker, k, fmt.Errorf("kill worker %d: %w", worker.number, err)
		}
		r.board.killed(worker, busy)
		next, err := spawn(r.settings, dir, worker.number+1)
		if err != nil {
			return worker, k + 1, err
		}
		worker = next
		r.board.say("worker %d started, process %d", worker.number, worker.pid)
	}
	return worker, r.kills, nil
}

// follow reads the ledger as it grows, for the board.
func (r *run) follow(ctx context.Context) {
	t := tail{path: r.ledger}
	for {
		entries, err := t.next()
		if err != nil {
			r.board.say("%v", err)
			return
		}
		r.board.saw(entries)
		if sleep(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
}

// conclude reads the ledger afresh and proves from it.
func (r *run) conclude(dir string, kills int) error {
	entries, err := readLedger(r.ledger)
	if err != nil {
		return err
	}
	p := prove(r.tasks, entries, r.results)
	fmt.Fprintf(r.out, "\nThe ledger has %d lines. %d requests were cut off by a kill; %d came again and were recognized by their key.\n",
		len(entries), p.cut, p.absorbed)
	if r.keep || r.dir != "" {
		fmt.Fprintf(r.out, "Everything is in %s. Look inside:\n", dir)
		fmt.Fprintf(r.out, "  durango list --store sqlite:%s\n", filepath.Join(dir, storeFile))
		fmt.Fprintf(r.out, "  durango demo verify %s\n", dir)
	}
	return p.report(r.out, kills)
}

// report prints the summary, and the problems if there are any.
func (p *proof) report(out io.Writer, kills int) error {
	for _, text := range p.reasons() {
		fmt.Fprintln(out, "  wrong: "+text)
	}
	fmt.Fprintln(out, p.summary(kills))
	if n := len(p.problems); n > 0 {
		return fmt.Errorf("the proof failed: %d problems", n)
	}
	return nil
}

// sleep waits for d, or for ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
