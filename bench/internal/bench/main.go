// Package bench measures durango: throughput, latency, CPU, memory and what
// the store is asked to do, workload by workload, beside a bare loop that
// writes the same rows without an engine, and beside other systems.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Main is the program: that of the command bench with no further peers.
func Main(further ...*Peer) {
	peers = append(peers, further...)
	if isChild() {
		os.Exit(childMain())
	}
	if isWorker() {
		os.Exit(workerMain())
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type config struct {
	quick      bool
	workloads  []string // empty: all
	stores     []string
	peers      []string
	inFlight   []int // nil: the sizes'
	window     time.Duration
	jsonFile   string
	markdown   string
	plots      string
	rounds     int
	dir        string
	cpuProfile string
	backlog    int
}

func parse(args []string) (config, error) {
	var c config
	var workloads, stores, peers, inFlight string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&c.quick, "quick", false, "every system on a few workloads, small and one round: shows that it works, not how fast")
	f.StringVar(&workloads, "workload", "", "comma-separated: "+strings.Join(workloadNames, ",")+" (default all; with -quick "+strings.Join(quickWorkloads, ",")+")")
	f.StringVar(&stores, "store", "", "comma-separated: "+strings.Join(storeNames, ",")+" (default all; with -quick "+strings.Join(quickStores, ",")+")")
	f.StringVar(&inFlight, "inflight", "", "comma-separated: how many orchestrations are in flight in bare, seq and hello (default 1,64,512 and 1,64)")
	f.DurationVar(&c.window, "window", 0, "how long bare, seq, hello and fanout are measured in a round (default 2s, with -quick 500ms)")
	f.StringVar(&peers, "peers", strings.Join(peerNames(), ","), "comma-separated peers, or none")
	f.IntVar(&c.backlog, "backlog", 0, "sleeping instances of the backlog (default 100000, with -quick 20000)")
	f.StringVar(&c.jsonFile, "json", "", "also write everything measured to this file")
	f.StringVar(&c.markdown, "markdown", "", "also write the report as Markdown to this file")
	f.StringVar(&c.plots, "plots", "", "also draw throughput and latencies, as SVG files in this directory")
	f.IntVar(&c.rounds, "rounds", 0, "interleaved rounds (default 3, with -quick 1)")
	f.StringVar(&c.dir, "dir", "", "where the databases live; must be on a real disk (default ./.tmp)")
	f.StringVar(&c.cpuProfile, "cpuprofile", "", "write a CPU profile of the whole run to this file")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	var problems []error
	list := func(text, what string, known []string) []string {
		var out []string
		for s := range strings.SplitSeq(text, ",") {
			if s = strings.TrimSpace(s); s == "" {
				continue
			}
			if !slices.Contains(known, s) {
				problems = append(problems, fmt.Errorf("unknown %s %q; there are %s", what, s, strings.Join(known, ", ")))
			}
			out = append(out, s)
		}
		return out
	}
	c.workloads = list(workloads, "workload", workloadNames)
	c.stores = list(stores, "store", storeNames)
	if c.quick && workloads == "" {
		c.workloads = quickWorkloads
	}
	switch {
	case stores != "":
	case c.quick:
		c.stores = slices.Clone(quickStores)
	default:
		c.stores = slices.Clone(storeNames)
	}
	for s := range strings.SplitSeq(inFlight, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			problems = append(problems, fmt.Errorf("-inflight: %q is no positive number", s))
		}
		c.inFlight = append(c.inFlight, n)
	}
	if c.window < 0 {
		problems = append(problems, errors.New("-window is negative"))
	}
	if peers != "none" {
		c.peers = list(peers, "peer", peerNames())
	}
	if c.rounds < 0 {
		problems = append(problems, errors.New("-rounds is negative"))
	}
	if c.rounds == 0 {
		c.rounds = 3
		if c.quick {
			c.rounds = 1
		}
	}
	return c, errors.Join(problems...)
}

func run(args []string) (err error) {
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if c.dir == "" {
		c.dir = ".tmp"
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.dir, "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}

	defer func() { err = errors.Join(err, stopServer(), removeIdle()) }()
	s := fullSizes
	if c.quick {
		s = quickSizes
	}
	if c.backlog > 0 {
		s.Backlog = []int{0, c.backlog}
		s.Timeout = time.Hour
	}
	if c.inFlight != nil {
		s.InFlight, s.Hello = c.inFlight, c.inFlight
	}
	if c.window > 0 {
		s.Window = c.window
		s.Timeout += c.window
	}
	result := &Result{Machine: describeMachine(dir), Started: time.Now().UTC(), Rounds: c.rounds, Quick: c.quick}
	if result.Machine.InMemory && slices.Contains(c.stores, "sqlite") {
		fmt.Fprintf(os.Stderr, "bench: %s is on %s, where a flush costs nothing: the rows at FULL are left out; use -dir\n",
			dir, result.Machine.Filesystem)
		c.stores = slices.DeleteFunc(c.stores, func(s string) bool { return s == "sqlite" })
	}
	if c.cpuProfile != "" {
		f, err := os.Create(c.cpuProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	benchmarks := plan(c.workloads, c.stores, c.peers, s)
	if len(benchmarks) == 0 {
		return errors.New("nothing to measure with these workloads and stores")
	}
	result.Systems = systems(benchmarks)
	result.Estimated = estimate(benchmarks, s, c.rounds)
	fmt.Fprintf(os.Stderr, "%s of %s: about %s\n", plural(c.rounds, "round"), plural(len(benchmarks), "row"),
		result.Estimated.Round(10*time.Second))
	if slices.ContainsFunc(benchmarks, func(b *benchmark) bool { return onPostgres(b.store) }) {
		if result.Machine.PostgreSQL, err = describeServer(ctx); err != nil {
			return err
		}
	}
	measure(ctx, benchmarks, s, dir, result)
	result.finish()
	result.Took = time.Since(result.Started)
	if err := c.write(result); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	return result.failures()
}

// write writes the result wherever it is wanted.
func (c *config) write(result *Result) error {
	report := result.report()
	if err := report.plain(os.Stdout); err != nil {
		return err
	}
	if c.markdown != "" {
		var b bytes.Buffer
		report.markdown(&b)
		if err := os.WriteFile(c.markdown, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if c.plots != "" {
		if err := writePlots(c.plots, result); err != nil {
			return fmt.Errorf("plots: %w", err)
		}
	}
	if c.jsonFile != "" {
		b, err := json.MarshalIndent(result, "", "\t")
		if err != nil {
			return err
		}
		return os.WriteFile(c.jsonFile, append(b, '\n'), 0o644)
	}
	return nil
}

// measure runs every benchmark once per round, one after another, so that what
// disturbs the machine for a while disturbs all of them.
func measure(ctx context.Context, plan []*benchmark, s sizes, dir string, result *Result) {
	for _, b := range plan {
		result.Rows = append(result.Rows, newRow(b))
	}
	for round := range result.Rounds {
		result.Probes = append(result.Probes, probeDisk(dir))
		for i, b := range plan {
			if ctx.Err() != nil {
				return
			}
			if round >= b.roundsOf(result.Rounds) {
				continue
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %-28s", round+1, result.Rounds, b.id())
			began := time.Now()
			sample, err := b.measure(ctx, s, dir)
			row := result.Rows[i]
			row.Took += time.Since(began)
			if err != nil {
				fmt.Fprintf(os.Stderr, " failed: %v\n", err)
				row.Errors = append(row.Errors, err.Error())
				sample = nil
			} else {
				fmt.Fprintf(os.Stderr, " %12.0f %s/s, took %.1f s\n", sample.rate(), b.unit, time.Since(began).Seconds())
			}
			row.Samples = append(row.Samples, sample) // nil keeps the rounds aligned
		}
	}
}
