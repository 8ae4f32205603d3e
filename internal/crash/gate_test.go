package crash

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

var gateOpen = flag.Int("gate.open", 250, "how many histories are open when programs are checked against them")

// example is one of the programs of examples/, and what a test does with it.
type example struct {
	dir, name string
	register  string // of everything
	starts    string // other than register, for what it needs to stay open
	begin     string // one instance, with this ID
	turns     int    // after which it waits
	// What a new release changes: old text, new text, and the cause that is to be
	// named; empty: it is safe.
	old, new, cause string
}

var gated = []example{
	{dir: "approval", name: "ask-for-holiday", register: `rt.Register(Ask.Bind(ask))`, turns: 1,
		begin: `_, err = Ask.Start(ctx, client, id, Holiday{Who: id, Days: 3, Within: time.Hour})`,
		old:   "	answered, expired :=",
		new:   "	_ = ctx.NewID()\n	answered, expired :=",
		cause: "changed"},
	{dir: "saga", name: "travel", turns: 4,
		register: `a := agency{io.Discard}; rt.Register(Travel.Bind(travel), Book.Bind(a.book), Return.Bind(a.giveBack))`,
		begin:    `_, err = Travel.Start(ctx, client, id, id)`,
		old:      `{"flight", "hotel", "car"}`, new: `{"flight"}`, cause: "removed"},
	{dir: "update", name: "shop", turns: 2, register: `rt.Register(Shop.Bind(shop), Price.Bind(price))`,
		begin: `if _, err = Shop.Start(ctx, client, id, durango.None{}); err == nil { _, err = Add.Call(ctx, client, id, Line{"tea", 2}) }`,
		old:   `("price")`, new: `("price-of")`, cause: "renamed"},
	{dir: "eternal", name: "watch-temperature", turns: 2, register: `rt.Register(Watch.Bind(watch))`,
		begin: `if _, err = Watch.Start(ctx, client, id, State{}); err == nil {
			for n := 0; n < 13 && err == nil; n++ { err = Reading.Send(ctx, client, id, float64(n)) } }`,
		old: "perExecution = 10", new: "perExecution = 20"},
	{dir: "fanout", name: "count-all", turns: 1, register: `rt.Register(countWords, countAll)`, starts: `rt.Register(countAll)`,
		begin: `_, err = countAll.Start(ctx, client, id, []string{"a b", "c", "d e f"})`,
		old:   "	futures := make(", new: "	if ctx.Patched(\"announce\") {\n		if err := ctx.SetStatus(\"counting\"); err != nil {\n			return Report{}, err\n		}\n	}\n	futures := make("},
}

// gateMain replaces the main of an example: it opens histories in a store, or
// checks those that are open there.
const gateMain = `package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

var _ = io.Discard

func main() {
	if err := gate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func gate(path, mode string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	store, err := sqlite.OpenWith(path, sqlite.Options{Synchronous: sqlite.Normal})
	if err != nil {
		return err
	}
	defer store.Close()
	rt, err := durango.New(store, durango.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(mode); err == nil {
		STARTS
		return open(ctx, rt, n)
	}
	REGISTER
	return check(ctx, rt)
}

func open(ctx context.Context, rt *durango.Runtime, n int) error {
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- rt.Run(run) }()
	client, any := rt.Client(), durango.NewOrchestration[json.RawMessage, json.RawMessage]("NAME")
	var err error
	for i := range n {
		id := fmt.Sprintf("NAME-%05d", i)
		BEGIN
		if err != nil {
			return err
		}
	}
	for i := range n {
		for {
			info, err := any.Run(client, fmt.Sprintf("NAME-%05d", i)).Status(ctx)
			if err != nil {
				return err
			}
			if info.Turns >= TURNS {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	stop()
	return <-done
}

func check(ctx context.Context, rt *durango.Runtime) error {
	var peak, end atomic.Uint64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for end.Load() == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			time.Sleep(time.Millisecond)
		}
	}()
	began := time.Now()
	found := map[string][]string{}
	causes := map[string]int{}
	report, err := rt.Check(ctx, durango.CheckOptions{Each: func(f *durango.Finding) error {
		if f.Verdict == durango.Incompatible {
			found[f.Name] = append(found[f.Name], f.ID)
			if r, ok := f.Err.(*durango.ReplayError); ok && r.Explanation != nil {
				causes[string(r.Explanation.Cause)]++
			}
		}
		return nil
	}})
	end.Store(1)
	<-done
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"compatible": report.Compatible, "unknown": report.Unknown, "found": found, "causes": causes,
		"heap": peak.Load(), "seconds": time.Since(began).Seconds(),
	})
}
`

// build builds the program with gateMain for its main, as it is or as it will be.
func (x *example) build(t *testing.T, dir string, changed bool) string {
	t.Helper()
	original, err := filepath.Abs(filepath.Join("..", "..", "examples", x.dir, "main.go"))
	assert.NoError(t, err)
	source, err := os.ReadFile(original)
	assert.NoError(t, err)
	text := strings.Replace(string(source), "func main() {", "func Example() {", 1)
	release := x.dir + "-old"
	if changed {
		release = x.dir + "-new"
		assert.Equal(t, strings.Count(text, x.old), 1, "%s has %q", original, x.old)
		text = strings.Replace(text, x.old, x.new, 1)
	}
	starts := x.starts
	if starts == "" {
		starts = x.register
	}
	gate := strings.NewReplacer("REGISTER", x.register, "STARTS", starts, "BEGIN", x.begin, "NAME", x.name, "TURNS", fmt.Sprint(x.turns)).Replace(gateMain)
	replaced := map[string]string{}
	for path, content := range map[string]string{original: text, filepath.Join(filepath.Dir(original), "gate.go"): gate} {
		file := filepath.Join(dir, release+"-"+filepath.Base(path))
		assert.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		replaced[path] = file
	}
	list, err := json.Marshal(map[string]any{"Replace": replaced})
	assert.NoError(t, err)
	overlay := filepath.Join(dir, release+".json")
	assert.NoError(t, os.WriteFile(overlay, list, 0o600))
	binary := filepath.Join(dir, release)
	out, err := exec.Command("go", "build", "-o", binary, "-overlay", overlay, filepath.Dir(original)).CombinedOutput()
	assert.NoError(t, err, "%s", out)
	return binary
}

// An upgrade gate (DESIGN 4, 8.6): five programs, with histories open in one
// store, are checked as they are, with a safe change (Context.Patched; work
// behind the end of what is recorded), and with three that are not. The report
// names exactly what cannot go on, and memory does not grow with the store.
func TestTheGateOverTheExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("builds ten programs")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "gate.db")
	each := *gateOpen / len(gated)
	run := func(args ...string) []byte {
		cmd := exec.Command(args[0], append([]string{path}, args[1:]...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		assert.NoError(t, err, "%v", args)
		return out
	}
	for i := range gated {
		run(gated[i].build(t, dir, false), fmt.Sprint(each))
	}
	for i := range gated {
		x := &gated[i]
		for _, changed := range []bool{false, true} {
			var r struct {
				Compatible, Unknown int
				Found               map[string][]string
				Causes              map[string]int
				Heap                uint64
				Seconds             float64
			}
			binary := filepath.Join(dir, x.dir+"-old")
			if changed {
				binary = x.build(t, dir, true)
			}
			assert.NoError(t, json.Unmarshal(run(binary, "check"), &r))
			t.Logf("%-8s changed=%-5v %d compatible, %d incompatible %v, %d of others; heap at most %.1f MiB, %.2f s",
				x.dir, changed, r.Compatible, len(r.Found[x.name]), r.Causes, r.Unknown, float64(r.Heap)/(1<<20), r.Seconds)
			assert.Equal(t, r.Unknown, (len(gated)-1)*each, "the instances of the other programs")
			assert.True(t, r.Heap < 64<<20, "%d bytes", r.Heap)
			if !changed || x.cause == "" {
				assert.Equal(t, r.Compatible, each)
				assert.Equal(t, len(r.Found), 0)
				continue
			}
			var want []string
			for i := range each {
				want = append(want, fmt.Sprintf("%s-%05d", x.name, i))
			}
			slices.Sort(r.Found[x.name])
			assert.Equal(t, r.Found, map[string][]string{x.name: want})
			assert.Equal(t, r.Causes, map[string]int{x.cause: each})
		}
	}
}
