package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"
)

// workerVariable makes the program a node of its own. It holds the orders.
const workerVariable = "DURANGO_BENCH_WORKER"

type workerOrders struct {
	Dir, Store string
	Timeout    time.Duration // it ends by itself then
}

func isWorker() bool { return os.Getenv(workerVariable) != "" }

// workerMain is the process: it says when it works, and drains when its input
// ends.
func workerMain() int {
	var o workerOrders
	err := json.Unmarshal([]byte(os.Getenv(workerVariable)), &o)
	if err == nil {
		err = workUntilTold(&o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench worker:", err)
		return 1
	}
	return 0
}

func workUntilTold(o *workerOrders) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	return (&env{Context: ctx, dir: o.Dir, store: o.Store}).serve()
}

func (e *env) serve() (err error) {
	st, err := e.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	var done atomic.Int64
	n, err := startNode(e, st.Provider, durango.Options{}, seqFlow, slowFlow, countedNoop(&done))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	told := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(told) }()
	select {
	case <-told:
	case <-e.Done():
	}
	return n.stop()
}

// process is a node in a process of its own.
type process struct {
	cmd *exec.Cmd
	in  io.Closer
}

// workers starts nodes on the store of the measurement.
func (e *env) workers(n int) ([]*process, error) {
	var all []*process
	for range n {
		cmd, err := e.again(workerVariable, workerOrders{Dir: e.dir, Store: e.store, Timeout: e.Timeout})
		if err != nil {
			return all, err
		}
		cmd.Stderr = os.Stderr
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2); err != nil {
			return all, err
		}
		if err := cmd.Start(); err != nil {
			return all, err
		}
		all = append(all, &process{cmd, in})
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			return all, fmt.Errorf("a worker did not start: %q, %w", line, err)
		}
	}
	return all, nil
}

func (w *process) stop() error { return errors.Join(w.in.Close(), w.cmd.Wait()) }

func (w *process) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// withWorkers opens the store and runs f while nodes in processes of their own
// work.
func (e *env) withWorkers(n int, f func(*store, []*process) (*Sample, error)) (_ *Sample, err error) {
	st, err := e.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	all, err := e.workers(n)
	defer func() {
		for _, w := range all {
			if w.cmd.ProcessState == nil {
				err = errors.Join(err, w.stop())
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	return f(st, all)
}

// runNodes is seq with nodes in processes of their own, and a client that has
// none: so many orchestrations in flight for each node.
func runNodes(e *env, nodes, inFlight int) (*Sample, error) {
	return e.withWorkers(nodes, func(st *store, _ []*process) (*Sample, error) {
		client := durango.NewClient(st.Provider)
		var steps atomic.Int64
		return e.sustain(st, nodes*inFlight, steps.Load, func(i int64) error {
			run, err := seqFlow.Start(e, client, fmt.Sprintf("order-%08d", i), Step{Order: "4711"})
			if err == nil {
				_, err = run.Wait(e)
			}
			steps.Add(5)
			return err
		})
	})
}

// slowFlow takes ten steps with a rest before each: about two seconds.
var slowFlow = durango.DefineOrchestration("slow", func(ctx *durango.Context, s Step) (Step, error) {
	for i := range 10 {
		if err := ctx.Sleep(200 * time.Millisecond); err != nil {
			return s, err
		}
		if _, err := noop.Call(ctx, Step{Order: s.Order, N: i}); err != nil {
			return s, err
		}
	}
	return s, nil
})

// runRecover starts instances on two nodes, kills one of them a second later
// if it is told to, and waits until all have ended: the wall time is from then
// on.
func runRecover(e *env, kill bool) (*Sample, error) {
	return e.withWorkers(2, func(st *store, workers []*process) (*Sample, error) {
		client := durango.NewClient(st.Provider)
		runs := make([]*durango.Run[Step], e.Recover)
		err := forAll(len(runs), func(i int) (err error) {
			runs[i], err = slowFlow.Start(e, client, fmt.Sprintf("order-%06d", i), Step{Order: "4711"})
			return err
		})
		if err != nil {
			return nil, err
		}
		pause(e, time.Second)
		var ended atomic.Int64
		m := begin(st, ended.Load)
		if kill {
			workers[0].kill()
		}
		err = forAll(len(runs), func(i int) error {
			_, err := runs[i].Wait(e)
			ended.Add(1)
			return err
		})
		return m.end(), err
	})
}

// runIdleNodes counts what ten nodes that have nothing to do ask of the server
// while instances sleep.
func runIdleNodes(e *env, nodes int) (*Sample, error) {
	return e.withWorkers(nodes, func(st *store, _ []*process) (*Sample, error) {
		d, err := st.Describe(e)
		if err != nil {
			return nil, err
		}
		if err := fill(e, st, d.Now, e.IdleSleepers, "slow"); err != nil {
			return nil, err
		}
		conn, err := connString()
		if err != nil {
			return nil, err
		}
		c, err := pgx.Connect(e, conn)
		if err != nil {
			return nil, err
		}
		defer c.Close(context.WithoutCancel(e))
		transactions := func() (n int64, err error) {
			// A backend reports what it did within a second, or when it is idle.
			return n, c.QueryRow(e, "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()").Scan(&n)
		}
		pause(e, min(e.IdleSettle, 15*time.Second))
		m := begin(st, func() int64 { return 0 })
		before, err := transactions()
		if err != nil {
			return nil, err
		}
		pause(e, e.IdleWindow)
		after, err := transactions()
		if err != nil {
			return nil, err
		}
		s := m.end()
		s.Steps = int64(e.IdleSleepers)
		s.add("transactions_per_s", float64(after-before)/s.Wall.Seconds())
		s.add("cpu_percent", 100*s.Other)
		return s, nil
	})
}

// fill creates instances that begin tomorrow.
func fill(e *env, st *store, now int64, n int, name string) error {
	for made := 0; made < n; made += 1000 {
		batch := make([]provider.NewInstance, min(1000, n-made))
		for i := range batch {
			batch[i] = provider.NewInstance{Key: provider.NewKey(), ID: fmt.Sprintf("sleeper-%08d", made+i), Name: name,
				Version: "1.0.0", NotBefore: now + int64(24*time.Hour) + int64(made+i), Start: make([]byte, 100)}
		}
		if err := create(e, st, 0, batch); err != nil {
			return err
		}
	}
	return nil
}
