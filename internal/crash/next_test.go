package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
)

// release is "2" in the binary that buildNext makes.
var release = "1"

// journey is an orchestration that the two releases know under two versions.
var journey = durango.NewOrchestration[string, string]("journey")

// runJourney takes steps and rests between them. Replayed as the other version
// it would fail at its first command.
func runJourney(version string) func(*durango.Context, string) (string, error) {
	return func(ctx *durango.Context, id string) (string, error) {
		for i := range 15 {
			if version == "2.0.0" || i > 0 {
				if err := ctx.Sleep(100 * time.Millisecond); err != nil {
					return "", err
				}
			}
			if _, err := step.Call(ctx, fmt.Sprintf("%s/%s.%d", id, version, i)); err != nil {
				return "", err
			}
		}
		return version, nil
	}
}

// journeys are what a release registers.
func journeys() []durango.Registrable {
	all := []durango.Registrable{journey.Bind(runJourney("1.0.0"))}
	if release == "2" {
		all = append(all, journey.BindVersion("2.0.0", runJourney("2.0.0")))
	}
	return all
}

// look is an orchestration that looks at the clock, rests for a second, and
// looks again. It ends with what it saw, in Unix milliseconds.
var look = durango.NewOrchestration[durango.None, []int64]("look")

func runLook(ctx *durango.Context, _ durango.None) (seen []int64, err error) {
	for range 4 {
		seen = append(seen, ctx.Now().UnixMilli())
		if err := ctx.Sleep(time.Second); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

const envSkew = "DURANGO_CRASH_SKEW" // seconds; only the binary of buildNext heeds it

var next struct {
	sync.Once
	path string
	err  error
}

// buildNext builds the workers' next release. Its wall clock is wrong by as much
// as the environment says: the standard library's time.Now is replaced.
func buildNext(t *testing.T) string {
	t.Helper()
	next.Do(func() { next.path, next.err = buildNextIn(os.TempDir()) })
	assert.NoError(t, next.err)
	return next.path
}

func buildNextIn(tmp string) (string, error) {
	dir, err := os.MkdirTemp(tmp, "durango-next-")
	if err != nil {
		return "", err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const read = "	sec, nsec, mono := runtimeNow()\n	if mono == 0 {"
	if strings.Count(string(source), read) != 1 {
		return "", fmt.Errorf("%s reads the clock in another way than %q", original, read)
	}
	skewed := strings.Replace(string(source), read, strings.Replace(read, "\n", "\n	sec += skew\n", 1), 1) + `
var skew = func() (n int64) {
	s, _ := syscall.Getenv("` + envSkew + `")
	negative := s != "" && s[0] == '-'
	for _, c := range s {
		if '0' <= c && c <= '9' {
			n = 10*n + int64(c-'0')
		}
	}
	if negative {
		return -n
	}
	return n
}()
`
	skewed = strings.Replace(skewed, "import (\n", "import (\n	\"syscall\"\n", 1)
	changed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(changed, []byte(skewed), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "worker")
	out, err := exec.Command("go", "test", "-c", "-o", binary, "-overlay", overlay,
		"-ldflags", "-X github.com/durango-go/durango/internal/crash.release=2", ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the next release: %w: %s", err, out)
	}
	return binary, nil
}

// A rolling upgrade: three nodes of one release give way one by one to three of
// the next while work arrives. Every instance ends under the version that it
// began with, nothing is lost and nothing recorded is run again.
func TestRollingUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another binary")
	}
	binary := buildNext(t)
	p, _ := startPostgres(t)
	book, err := openLedger(p.ledger())
	assert.NoError(t, err)
	l := &load{t: t, client: durango.NewClient(p.store), book: book, ctx: t.Context()}
	start := func(id, want string) {
		_, err := journey.Start(t.Context(), l.client, id, id)
		assert.NoError(t, err)
		l.acknowledge(id, want, journey.Run(l.client, id).Wait)
	}
	var nodes []*process
	for range 3 {
		nodes = append(nodes, spawn(t, p, endless))
	}
	for _, n := range nodes {
		n.waitReady(t)
	}
	for i := range 30 {
		start(fmt.Sprint("before", i), "1.0.0")
	}
	for i := range nodes {
		n := spawnBinary(t, binary, p, endless)
		n.waitReady(t)
		for j := range 10 {
			start(fmt.Sprint("between", i, "-", j), "") // under the highest that whoever takes it has
		}
		t.Logf("node %d handed over within %s", i, nodes[i].drain(t).Round(time.Millisecond))
		nodes[i] = n
	}
	for i := range 30 {
		start(fmt.Sprint("after", i), "2.0.0")
	}
	verify(t, p, l, false)
	under := map[string]int{}
	for _, r := range l.runs {
		info, err := journey.Run(l.client, r.id).Status(t.Context())
		assert.NoError(t, err)
		got, err := r.wait(t.Context())
		assert.NoError(t, err)
		assert.Equal(t, got, info.Version, r.id)
		under[got]++
	}
	t.Logf("instances by version: %v", under)
	for _, n := range nodes {
		n.drain(t)
	}
	verifyNothingHeld(t, p.store)
}

// "Clock skew between nodes of an hour changes nothing": one node is an hour
// early, one an hour late, and the one that is right is killed.
func TestClocksAnHourApart(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another binary")
	}
	binary := buildNext(t)
	p, _ := startPostgres(t)
	const lease = "2s"
	right := spawn(t, p, lease)
	early, late := spawnBinary(t, binary, p, lease, envSkew+"=-3600"), spawnBinary(t, binary, p, lease, envSkew+"=3600")
	for _, n := range []*process{right, early, late} {
		n.waitReady(t)
	}
	load := startLoad(t, p, false)
	client := durango.NewClient(p.store)
	begun := time.Now()
	for i := range 30 {
		_, err := look.Start(t.Context(), client, fmt.Sprint("look", i), durango.None{})
		assert.NoError(t, err)
	}
	<-time.After(1500 * time.Millisecond)
	right.kill()
	for i := range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		seen, err := look.Run(client, fmt.Sprint("look", i)).Wait(ctx)
		cancel()
		assert.NoError(t, err)
		for j, at := range seen {
			off := time.UnixMilli(at).Sub(begun)
			assert.True(t, off > -time.Second && off < time.Minute, "an orchestration saw the clock at %s", off)
			assert.True(t, j == 0 || at >= seen[j-1]+1000, "a second was %d ms", at-seen[max(j, 1)-1])
		}
	}
	load.finish()
	verify(t, p, load, false)
	nodes, err := p.store.Nodes(t.Context())
	assert.NoError(t, err)
	assert.Equal(t, len(nodes), 2, "nodes: the killed one has been buried, and nobody else")
	early.drain(t)
	late.drain(t)
	verifyNothingHeld(t, p.store)
	by := map[time.Duration]int{}
	for _, at := range stepTimes(t, p.ledger()) {
		by[at.Sub(begun).Round(time.Hour)]++
	}
	assert.True(t, by[-time.Hour] > 0 && by[0] > 0 && by[time.Hour] > 0, "steps by the clock of their node: %v", by)
	t.Logf("%d instances; steps by the clock of their node: %v", len(load.runs)+30, by)
}
