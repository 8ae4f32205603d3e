package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/cli"
	"github.com/durango-go/durango/codec/sealed"
	"github.com/durango-go/durango/provider/sqlite"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata/script are the specification of the command line.
// They run two programs: durango, which has no code, and shop, which has some.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"durango": func() { os.Exit(cli.Main(nil)) },
		"shop":    func() { os.Exit(shop()) },
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      exits,
			"eventually": eventually,
			"capture":    capture,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("DURANGO_STORE", "sqlite:store.db")
			// The race detector's pause at the end of a process adds up here.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return goEnv(env)
		},
	})
}

// goEnv lets scripts run the go command on a module of their own that uses this
// one, which is in $ROOT.
func goEnv(env *testscript.Env) error {
	out, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOMOD").Output()
	if err != nil {
		return err
	}
	var vars map[string]string
	if err := json.Unmarshal(out, &vars); err != nil {
		return err
	}
	env.Setenv("GOCACHE", vars["GOCACHE"])
	env.Setenv("GOMODCACHE", vars["GOMODCACHE"])
	env.Setenv("ROOT", filepath.Dir(vars["GOMOD"]))
	return nil
}

// exits CODE PROGRAM ARGS… runs a program and checks its exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := run(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func run(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// eventually PATTERN PROGRAM ARGS… runs a program until its output matches.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.After(time.Minute)
	for {
		run(ts, args[1:])
		if out := ts.ReadFile("stdout"); pattern.MatchString(out) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			ts.Fatalf("no match for %q in %s%s", args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// capture NAME PATTERN sets a variable to what the group of a pattern matches in
// the output of the last program.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	m := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("no match for %q", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// shop is a program with code, as a user would write it.
func shop() int {
	path, ok := strings.CutPrefix(os.Getenv("DURANGO_STORE"), "sqlite:")
	if !ok {
		fmt.Fprintln(os.Stderr, "shop: DURANGO_STORE is not set")
		return cli.ExitUsage
	}
	store, err := sqlite.Open(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		return cli.ExitStore
	}
	defer store.Close()
	o := durango.Options{
		Name: "till-1", MinBackoff: time.Minute, SuspendIncompatible: os.Getenv("SHOP_SUSPENDS") != "",
	}
	if os.Getenv("SHOP_IS_SEALED") != "" {
		if o.Codec, err = sealed.New(nil, sealed.Key{ID: "k1", Secret: make([]byte, sealed.KeySize)}); err != nil {
			fmt.Fprintln(os.Stderr, "shop:", err)
			return cli.ExitFailure
		}
	}
	rt, err := durango.New(store, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		return cli.ExitFailure
	}
	if os.Getenv("SHOP_IS_NEW") != "" {
		rt.Register(hello, approveNew)
		return cli.Main(rt)
	}
	rt.Register(hello, approve, decline, broken, counter, stuck, hang, cart, asking, ask, catalog,
		poison.WithQuarantine(durango.QuarantinePolicy{MaxConsecutiveFailures: 1}),
		letter.WithQuarantine(durango.QuarantinePolicy{MaxConsecutiveFailures: 1, Action: durango.QuarantineDeadLetter}))
	return cli.Main(rt)
}

var (
	approved = durango.NewSignal[string]("approved")
	poor     = durango.NewError[int]("too-poor")

	greet = durango.NewActivity[string, string]("greet")
	hello = durango.DefineOrchestration("hello", func(_ *durango.Context, name string) (string, error) {
		return "Hello, " + name + "!", nil
	})
	approve = durango.DefineOrchestration("approve", func(ctx *durango.Context, _ durango.None) (string, error) {
		if err := ctx.SetStatus("waiting for a person"); err != nil {
			return "", err
		}
		by, err := approved.Next(ctx).Await(ctx)
		return "approved by " + by, err
	})
	catalog = durango.DefineOrchestration("catalog", func(*durango.Context, durango.None) (durango.Blob, error) {
		return durango.BlobOf([]byte(strings.Repeat("item ", 20_000))), nil
	})
	// approveNew asks for more than approve did.
	approveNew = durango.DefineOrchestration("approve", func(ctx *durango.Context, _ durango.None) (string, error) {
		if err := ctx.SetStatus("waiting for a person"); err != nil {
			return "", err
		}
		name, err := greet.Call(ctx, "person")
		if err != nil {
			return "", err
		}
		by, err := approved.Next(ctx).Await(ctx)
		return name + " approved by " + by, err
	})
	decline = durango.DefineOrchestration("decline", func(_ *durango.Context, cents int) (durango.None, error) {
		return durango.None{}, fmt.Errorf("buy: %w", poor.New(cents, "not enough money"))
	})
	broken = durango.DefineOrchestration("broken", func(*durango.Context, durango.None) (durango.None, error) {
		panic("a bug")
	})
	// poison and letter fail until the shop is FIXED.
	poison  = durango.DefineOrchestration("poison", fixed)
	letter  = durango.DefineOrchestration("letter", fixed)
	counter = durango.NewOrchestration[int, int]("counter").BindVersion("2.1.0", func(ctx *durango.Context, n int) (int, error) {
		if n == 0 {
			return int(ctx.Execution()), nil
		}
		return durango.ContinueAsNew[int](ctx, n-1)
	})
	stuck = durango.DefineOrchestration("stuck", func(ctx *durango.Context, name string) (string, error) {
		return greet.Call(ctx, name) // which nobody has
	})
	add   = durango.NewUpdate[int, int]("add")
	total = durango.NewValue[int]("total")
	cart  = durango.DefineOrchestration("cart", func(ctx *durango.Context, _ durango.None) (string, error) {
		add.Handle(ctx, func(ctx *durango.Context, n int) (int, error) {
			if n == 1000 {
				return 0, ctx.Sleep(time.Hour)
			}
			sum, _ := total.Get(ctx)
			return sum + n, total.Set(ctx, sum+n)
		}, func(n int) error {
			if n <= 0 {
				return poor.New(n, "nothing to add")
			}
			return nil
		})
		if err := ctx.SetStatus("open"); err != nil {
			return "", err
		}
		if _, err := approved.Next(ctx).Await(ctx); err != nil {
			return "", err
		}
		return "sold", ctx.SetStatus("closed")
	})
	ask = durango.DefineActivity("ask", func(ctx context.Context, _ durango.None) (string, error) {
		_, err := durango.CompleteLater(ctx)
		return "", err
	})
	asking = durango.DefineOrchestration("asking", func(ctx *durango.Context, _ durango.None) (string, error) {
		return ask.With(durango.CallOptions{
			StartToClose: time.Hour, Retry: &durango.RetryPolicy{MaxAttempts: 9, Initial: time.Millisecond},
		}).Call(ctx, durango.None{})
	})
	// hang ends when the node drains.
	hang = durango.DefineActivity("hang", func(ctx context.Context, _ durango.None) (durango.None, error) {
		<-ctx.Done()
		return durango.None{}, ctx.Err()
	})
)

func fixed(*durango.Context, durango.None) (string, error) {
	if os.Getenv("FIXED") == "" {
		panic("not fixed yet")
	}
	return "fixed", nil
}
