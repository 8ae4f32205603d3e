package crash

import (
	"context"
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/durango-go/durango"
)

var killersOnPostgres = flag.Bool("killers.postgres", false, "the killers on PostgreSQL, too")

// What ends its process: an exit, which no deferred function sees, and memory
// that the system does not give.
var (
	exiting = durango.NewActivity[durango.None, durango.None]("exiting")
	greedy  = durango.NewActivity[durango.None, durango.None]("greedy")

	callsExiting = durango.NewOrchestration[durango.None, durango.None]("calls-exiting")
	callsGreedy  = durango.NewOrchestration[durango.None, durango.None]("calls-greedy")
)

func killers() []durango.Registrable {
	return []durango.Registrable{
		exiting.Bind(func(context.Context, durango.None) (durango.None, error) {
			os.Exit(9)
			return durango.None{}, nil
		}),
		greedy.Bind(func(context.Context, durango.None) (durango.None, error) {
			return durango.None{}, exhaust()
		}),
		callsExiting.Bind(func(ctx *durango.Context, _ durango.None) (durango.None, error) {
			return exiting.Call(ctx, durango.None{})
		}),
		callsGreedy.Bind(func(ctx *durango.Context, _ durango.None) (durango.None, error) {
			return greedy.Call(ctx, durango.None{})
		}),
	}
}

// exhaust takes memory until there is none: the process may not have more than
// it has now and a little, whatever the machine has.
func exhaust() error {
	limit := syscall.Rlimit{Cur: 64 << 20, Max: 64 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &limit); err != nil {
		return err
	}
	debug.SetGCPercent(-1)
	var taken [][]byte
	for {
		taken = append(taken, make([]byte, 16<<20))
		taken[len(taken)-1][0] = 1
	}
}

// DESIGN 8.6: "Tasks … that crash their worker … are quarantined the same way
// and never block what is behind them." The instance of an activity that ends
// its process is quarantined, and everything that ran beside it completes.
func TestAnActivityThatEndsItsProcessIsQuarantined(t *testing.T) {
	ends := quarantinesKiller(t, onSQLite(t), killer[durango.None]{callsExiting, "worker-lost exiting", 9, "it ends the process of its worker"}, endless)
	t.Logf("it ended %d processes", ends)
}

// The same of one that takes more memory than there is: the Go runtime ends the
// process, and no recover is asked.
func TestAnActivityThatTakesAllMemoryIsQuarantined(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("address space has no limit here")
	}
	ends := quarantinesKiller(t, onSQLite(t), killer[durango.None]{callsGreedy, "worker-lost greedy", 2, "fatal error: runtime: out of memory"}, endless)
	t.Logf("it ended %d processes", ends)
}

// On PostgreSQL a process that has ended is found by its lease.
func TestKillersOnPostgreSQL(t *testing.T) {
	if !*killersOnPostgres {
		t.Skip("takes a minute; -killers.postgres runs it")
	}
	for name, k := range map[string]killer[durango.None]{
		"exit": {callsExiting, "worker-lost exiting", 9, "it ends the process of its worker"}, "memory": {callsGreedy, "worker-lost greedy", 2, "fatal error: runtime: out of memory"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := startPostgres(t)
			t.Logf("it ended %d processes", quarantinesKiller(t, p, k, "2s"))
		})
	}
	t.Run("orchestration", func(t *testing.T) {
		p, _ := startPostgres(t)
		t.Logf("it ended %d processes", quarantinesKiller(t, p, killer[string]{exits, "crash exits", 9, "instance quarantined"}, "2s"))
	})
}
