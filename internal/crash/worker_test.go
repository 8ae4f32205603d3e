package crash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/durango-go/durango"
)

// The environment that makes this test binary a worker.
const (
	envStore  = "DURANGO_CRASH_STORE"
	envLedger = "DURANGO_CRASH_LEDGER"
	envLease  = "DURANGO_CRASH_LEASE"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(envStore); path != "" {
		if err := work(path, os.Getenv(envLedger)); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if next.path != "" {
		_ = os.RemoveAll(filepath.Dir(next.path))
	}
	os.Exit(code)
}

// A step writes its token to the ledger and returns it: the one that the
// history keeps must be the last one written, because what is recorded is never
// run again.
var (
	step = durango.NewActivity[string, string]("step")
	bad  = durango.NewActivity[int, string]("flaky").With(durango.CallOptions{
		Retry: &durango.RetryPolicy{MaxAttempts: durango.Unlimited, Initial: 2 * time.Millisecond},
	})
	slow    = durango.NewActivity[string, string]("slow")
	note    = durango.NewSignal[string]("note")
	deposit = durango.NewUpdate[int, int]("deposit")
	balance = durango.NewValue[int]("balance")

	chain   = durango.NewOrchestration[int, []string]("chain")
	mixed   = durango.NewOrchestration[string, string]("mixed")
	child   = durango.NewOrchestration[string, string]("child")
	eternal = durango.NewOrchestration[round, int]("eternal")
	slowly  = durango.NewOrchestration[int, string]("slowly")
	account = durango.NewOrchestration[int, int]("account")
)

type round struct{ Left, Sum int }

func runChain(ctx *durango.Context, n int) ([]string, error) {
	var out []string
	for i := range n {
		s, err := step.Call(ctx, fmt.Sprintf("%s/%d", ctx.InstanceID(), i))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// runMixed waits for signals numbered 1 to 3 from one sender between timers,
// fan-outs, retries and children.
func runMixed(ctx *durango.Context, id string) (string, error) {
	var got []string
	for i := range 3 {
		s, err := note.Next(ctx).Await(ctx)
		if err != nil {
			return "", err
		}
		got = append(got, s)
		if err := ctx.Sleep(time.Duration(5*i) * time.Millisecond); err != nil {
			return "", err
		}
		var fan []*durango.Future[string]
		for j := range 4 {
			fan = append(fan, step.Go(ctx, fmt.Sprintf("%s/%d.%d", id, i, j)))
		}
		if _, err := durango.All(ctx, fan...); err != nil {
			return "", err
		}
	}
	c := child.Go(ctx, id)
	if _, err := bad.Call(ctx, 2); err != nil {
		return "", err
	}
	s, err := c.Await(ctx)
	return strings.Join(got, ",") + ";" + s, err
}

func runChild(ctx *durango.Context, id string) (string, error) {
	if _, err := step.Call(ctx, id+"/child"); err != nil {
		return "", err
	}
	return "child of " + id, nil
}

func runEternal(ctx *durango.Context, r round) (int, error) {
	if r.Left == 0 {
		return r.Sum, nil
	}
	if _, err := step.Call(ctx, fmt.Sprintf("%s/%d", ctx.InstanceID(), r.Left)); err != nil {
		return 0, err
	}
	return eternal.ContinueAsNew(ctx, round{r.Left - 1, r.Sum + r.Left})
}

// runAccount takes n deposits, each with a step, and keeps its balance as a
// value. It continues as new after every second one.
func runAccount(ctx *durango.Context, n int) (int, error) {
	sum, _ := balance.Get(ctx)
	done := durango.NewChan[durango.None](ctx, n)
	deposit.Handle(ctx, func(ctx *durango.Context, amount int) (int, error) {
		if _, err := step.Call(ctx, fmt.Sprintf("%s/%d", ctx.InstanceID(), amount)); err != nil {
			return 0, err
		}
		sum += amount
		if err := balance.Set(ctx, sum); err != nil {
			return 0, err
		}
		return sum, done.Send(ctx, durango.None{})
	}, func(amount int) error {
		if amount <= 0 {
			return errors.New("not positive")
		}
		return nil
	})
	for i := range n {
		if _, err := done.Next(ctx).Await(ctx); err != nil {
			return 0, err
		}
		if i == 1 && n > 2 {
			return account.ContinueAsNew(ctx, n-2)
		}
	}
	return sum, nil
}

func runSlowly(ctx *durango.Context, n int) (string, error) {
	for i := range n {
		if _, err := slow.Call(ctx, fmt.Sprintf("%s/%d", ctx.InstanceID(), i)); err != nil {
			return "", err
		}
	}
	return "done", nil
}

// ledger is an append-only file. A line is in the kernel when write returns,
// which is all that a SIGKILL can take away.
type ledger struct {
	mu sync.Mutex
	f  *os.File
}

func openLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &ledger{f: f}, err
}

func (l *ledger) write(fields ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.WriteString(strings.Join(fields, "\t") + "\n"); err != nil {
		panic(err)
	}
}

func work(path, ledgerPath string) error {
	book, err := openLedger(ledgerPath)
	if err != nil {
		return err
	}
	lease, err := time.ParseDuration(os.Getenv(envLease))
	if err != nil {
		return err
	}
	store, rt, err := begin(path, lease)
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); store, rt, err = begin(path, lease) {
		<-time.After(50 * time.Millisecond) // the server may be starting again
	}
	if err != nil {
		return err
	}
	defer store.Close()
	rt.Register(
		step.Bind(func(ctx context.Context, in string) (string, error) {
			info := durango.Info(ctx)
			token := fmt.Sprintf("%d-%d-%d", os.Getpid(), info.Attempt, time.Now().UnixNano())
			book.write("step", in, token, info.IdempotencyKey, fmt.Sprint(time.Now().UnixNano()))
			return token, nil
		}),
		slow.Bind(func(ctx context.Context, in string) (string, error) {
			book.write("slow", in, fmt.Sprint(os.Getpid()))
			select {
			case <-time.After(150 * time.Millisecond):
				return in, nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		}),
		bad.Bind(func(ctx context.Context, n int) (string, error) {
			if durango.Info(ctx).Attempt <= n {
				return "", errors.New("not yet")
			}
			return "done", nil
		}),
		chain.Bind(runChain), mixed.Bind(runMixed), child.Bind(runChild), eternal.Bind(runEternal), slowly.Bind(runSlowly), account.Bind(runAccount),
		look.Bind(runLook),
		exits.Bind(runExits),
	)
	rt.Register(journeys()...)
	rt.Register(killers()...)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println("ready")
	return rt.Run(ctx)
}

func begin(path string, lease time.Duration) (inspected, *durango.Runtime, error) {
	store, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	rt, err := durango.New(store, durango.Options{
		Lease: lease, MinBackoff: 50 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, rt, nil
}
