package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango/examples/order/fulfil"
	"github.com/durango-go/durango/internal/assert"
)

// The demonstration starts its own program again as the worker, and here that
// is the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "demo" {
		cmd := Command()
		cmd.SetArgs(os.Args[2:])
		if cmd.ExecuteContext(context.Background()) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := Command()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// "Zero lost, zero duplicated where exactly-once is promised", with a worker
// that is killed; and a proof that notices when that is not so.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	out, err := command(t, "--orders", "18", "--kills", "2", "--pace", "0.5", "--seed", "7", "--dir", dir, "--timeout", "2m")
	log, _ := os.ReadFile(filepath.Join(dir, "worker.log"))
	assert.NoError(t, err, "%s\nworker: %s", out, log)
	last := regexp.MustCompile(`(?m)^18 orders: \d+ shipped, \d+ refused, \d+ expired; worker killed 2 times; 0 lost, 0 charged twice\n\z`)
	assert.True(t, last.MatchString(out), "%s", out)
	assert.False(t, strings.Contains(out, "\x1b"), "escape sequences without a terminal: %q", out)
	assert.Equal(t, strings.Count(out, " killed with "), 2, "%s", out)

	out, err = command(t, "verify", dir)
	assert.NoError(t, err, "%s", out)
	assert.True(t, last.MatchString(out), "%s", out)

	_, err = command(t, "--dir", dir)
	assert.ErrorContains(t, err, "is not empty")

	t.Run("corrupted", func(t *testing.T) { corrupt(t, dir) })
}

// corrupt changes the ledger in ways that each must make the proof fail.
func corrupt(t *testing.T, dir string) {
	path := filepath.Join(dir, ledgerFile)
	whole, err := os.ReadFile(path)
	assert.NoError(t, err)
	lines := strings.SplitAfter(string(whole), "\n")
	find := func(parts ...string) int {
		for i, l := range lines {
			ok := true
			for _, p := range parts {
				ok = ok && strings.Contains(l, p)
			}
			if ok {
				return i
			}
		}
		t.Fatalf("no line has %q", parts)
		return 0
	}
	charge := find(`"effect"`, `"charge"`)
	recharge := regexp.MustCompile(`"key":"`).ReplaceAllString(lines[charge], `"key":"another/`)
	for _, c := range []struct {
		name  string
		lines []string
		says  string
	}{
		{"charged twice", append(lines[:len(lines):len(lines)], recharge), "was charged 2 times"},
		{"charged again under the same key", append(lines[:len(lines):len(lines)], lines[charge]), "carried out again under the key"},
		{"never charged", without(lines, charge), "cents paid: "},
		{"lost", without(lines, find(`"effect"`, `"notify"`)), "is lost"},
		{"never shipped", without(lines, find(`"effect"`, `"ship"`)), "shipments: 0, want 1"},
		{"never released", without(lines, find(`"effect"`, `"release"`)), "reservations kept: 1, want 0"},
		{"unreadable", append(lines[:len(lines):len(lines)], "not a line\n"), "invalid character"},
		{"cut off", append(lines[:len(lines)-2:len(lines)-2], lines[len(lines)-2][:10]), "unexpected end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.NoError(t, os.WriteFile(path, []byte(strings.Join(c.lines, "")), 0o644))
			out, err := command(t, "verify", dir)
			if err == nil {
				t.Fatalf("the proof succeeded:\n%s", out)
			}
			assert.Contains(t, out+err.Error(), c.says)
		})
	}
}

func without(lines []string, i int) []string {
	return append(lines[:i:i], lines[i+1:]...)
}

// What the orchestrations returned and what the ledger says must agree, too.
func TestProveResults(t *testing.T) {
	tasks, err := loadOrders(1)
	assert.NoError(t, err)
	id := tasks[0].Order.ID
	done := func(action, key, result string, cents int64) entry {
		return entry{What: effect, Action: action, Order: id, Key: key, Result: result, Cents: cents}
	}
	entries := []entry{
		done("reserve", "1", "", 0), done("charge", "2", "", tasks[0].Order.Total()), done("ship", "3", "", 0), done("notify", "4", "shipped", 0),
	}
	shipped := map[string]fulfil.Result{id: {Outcome: fulfil.Shipped}}
	p := prove(tasks, entries, shipped)
	assert.Equal(t, p.problems, []string(nil))
	assert.Equal(t, p.summary(0), "1 orders: 1 shipped, 0 refused, 0 expired; worker killed 0 times; 0 lost, 0 charged twice")

	p = prove(tasks, entries, nil)
	assert.Contains(t, strings.Join(p.problems, "\n"), "has not ended")
	p = prove(tasks, entries, map[string]fulfil.Result{id: {Outcome: fulfil.Refused}})
	assert.Contains(t, strings.Join(p.problems, "\n"), "ended as refused, and the customer was told shipped")
	p = prove(tasks, append(entries, entry{What: effect, Action: "ship", Order: "order-0", Key: "5"}), shipped)
	assert.Contains(t, strings.Join(p.problems, "\n"), "is not an order of this run")
	entries[1].Cents++
	p = prove(tasks, entries, shipped)
	assert.Contains(t, strings.Join(p.problems, "\n"), "cents paid")
}

func TestOrders(t *testing.T) {
	tasks, err := loadOrders(240)
	assert.NoError(t, err)
	stock, err := loadStock()
	assert.NoError(t, err)
	known := map[string]bool{}
	for _, s := range stock {
		known[s.SKU] = true
	}
	ids, kinds := map[string]bool{}, map[string]int{}
	for _, task := range tasks {
		o := task.Order
		assert.False(t, ids[o.ID], "%s comes twice", o.ID)
		ids[o.ID] = true
		for _, i := range o.Items {
			assert.True(t, known[i.SKU] && i.Quantity > 0 && i.Cents > 0, "%s: %v", o.ID, i)
		}
		// Who is asked to approve is decided by the amount, not by the file.
		assert.Equal(t, task.Approval != "", o.Total() > approveAbove, "%s: %d cents", o.ID, o.Total())
		kinds[task.Approval]++
		if !luhn(o.Card) {
			kinds["bad card"]++
		}
	}
	assert.True(t, kinds["approve"] > 0 && kinds["reject"] > 0 && kinds["ignore"] > 0 && kinds["bad card"] > 0, "%v", kinds)
}

func TestLuhn(t *testing.T) {
	for number, want := range map[string]bool{
		"4242424242424242": true, "4000000000009995": true, "4242424242424241": false,
		"": false, "42x2424242424242": false, "0": false,
	} {
		assert.Equal(t, luhn(number), want, "%q", number)
	}
}

// A line that a crash cut off was never acted upon.
func TestLedgerAfterCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), ledgerFile)
	l, past, err := openLedger(path)
	assert.NoError(t, err)
	assert.Equal(t, len(past), 0)
	assert.NoError(t, l.append(entry{What: effect, Action: "ship", Order: "a", Key: "1"}))
	_, err = l.f.WriteString(`{"what":"eff`)
	assert.NoError(t, err)
	assert.NoError(t, l.close())
	l, past, err = openLedger(path)
	assert.NoError(t, err)
	assert.Equal(t, len(past), 1)
	assert.NoError(t, l.append(entry{What: effect, Action: "ship", Order: "b", Key: "2"}))
	assert.NoError(t, l.close())
	past, err = readLedger(path)
	assert.NoError(t, err)
	assert.Equal(t, len(past), 2)
}

// On a terminal the block is drawn over itself; what is said stays above it.
func TestBoardOnTerminal(t *testing.T) {
	var out bytes.Buffer
	b := newBoard(&settings{orders: 4, kills: 2, out: &out, terminal: true}, "dir")
	b.placing()
	b.placing()
	b.ended(fulfil.Shipped)
	b.say("hello")
	b.killed(&process{number: 1}, 3)
	b.close()
	text := out.String()
	assert.Contains(t, text, "\x1b[6A\x1b[J", "hello\n", "##########==========....................",
		" 1 of 4", "x. killed 1 of 2 times", "worker 1 killed with 3 requests and 1 orders in flight")
}

// A kill waits for requests to interrupt, and for ever only while there may be
// more of them.
func TestWaitBusy(t *testing.T) {
	b := newBoard(&settings{orders: 4, out: &bytes.Buffer{}}, "dir")
	defer b.close()
	p := &process{number: 3, pid: 7, ended: make(chan struct{}), err: errors.New("exit status 1")}
	close(p.ended)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := b.waitBusy(ctx, p)
	assert.ErrorContains(t, err, "worker 3 ended by itself")
	assert.NoError(t, b.awaitLast(ctx)) // with nothing in flight
	for range 4 {
		b.placing()
	}
	b.saw([]entry{
		{Worker: 7, Call: 1, What: begun}, {Worker: 7, Call: 2, What: begun}, {Worker: 7, Call: 3, What: begun},
		{Worker: 7, Call: 4, What: begun}, {Worker: 7, Call: 1, What: answered}, {Worker: 8, Call: 1, What: begun},
	})
	busy, err := b.waitBusy(ctx, p)
	assert.NoError(t, err)
	assert.Equal(t, busy, 3)
	b.saw([]entry{{Worker: 7, Call: 2, What: answered}, {Worker: 7, Call: 3, What: answered}})
	b.ended(fulfil.Shipped)
	b.ended(fulfil.Shipped)
	b.ended(fulfil.Shipped)
	busy, err = b.waitBusy(ctx, p) // as many as there are orders
	assert.NoError(t, err)
	assert.Equal(t, busy, 1)
	b.saw([]entry{{Worker: 7, Call: 4, What: answered}})
	b.ended(fulfil.Refused)
	busy, err = b.waitBusy(ctx, p)
	assert.NoError(t, err)
	assert.Equal(t, busy, 0)
}
