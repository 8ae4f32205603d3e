package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango/provider"
)

// hold keeps the store's writer busy until the function it returns is called.
func hold(s *Store) (release func()) {
	held, done, released := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(released)
		for !s.w.exclusively(func() { close(held); <-done }) {
			runtime.Gosched()
		}
	}()
	<-held
	return func() { close(done); <-released }
}

// queued waits until n requests wait for the writer.
func queued(s *Store, n int) {
	for have := -1; have != n; runtime.Gosched() {
		have = 0
		s.w.mu.Lock()
		for r := s.w.first; r != nil; r = r.next {
			have++
		}
		s.w.mu.Unlock()
	}
}

func TestWhatIsQueuedIsCommittedInOneTransaction(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	var keys []provider.Key
	for i := range 40 {
		keys = append(keys, create(t, s, node, fmt.Sprint(i)))
	}
	before := s.Counters()
	release := hold(s)
	var wg sync.WaitGroup
	for _, key := range keys {
		wg.Go(func() {
			if err := commit(t, s, node, turn(key, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	queued(s, len(keys))
	release()
	wg.Wait()
	after := s.Counters()
	if n := after.Transactions - before.Transactions; n != 1 {
		t.Errorf("%d transactions for %d commits that waited", n, len(keys))
	}
	if n := after.Commits - before.Commits; n != int64(len(keys)) {
		t.Errorf("counted %d commits of %d", n, len(keys))
	}
}

func TestAGroupIsBounded(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	keys := []provider.Key{create(t, s, node, "a"), create(t, s, node, "b"), create(t, s, node, "c")}
	before := s.Counters().Transactions
	release := hold(s)
	var wg sync.WaitGroup
	for _, key := range keys {
		wg.Go(func() {
			c := turn(key, 1)
			c.Turn.Events = make([]byte, maxGroupBytes*2/3)
			if err := commit(t, s, node, c); err != nil {
				t.Error(err)
			}
		})
	}
	queued(s, len(keys))
	release()
	wg.Wait()
	if n := s.Counters().Transactions - before; n != 3 {
		t.Errorf("%d transactions for three commits of which two are too large for one", n)
	}
}

// A turn of a running instance is one append and one update, and touches
// neither mail nor tasks.
func TestAPlainTurnIsTwoStatements(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	key := create(t, s, node, "a")
	must(t, commit(t, s, node, turn(key, 1)))
	before := s.Counters().Statements
	must(t, commit(t, s, node, turn(key, 2)))
	const around = 3 // begin, data_version, commit
	if n := s.Counters().Statements - before - around; n != 2 {
		t.Errorf("%d statements", n)
	}
}

// What a turn publishes costs what it publishes, once the instance is known to
// have any.
func TestATurnThatPublishesWritesThatOnly(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	key := create(t, s, node, "a")
	publish := func(number int64) int64 {
		c := turn(key, number)
		c.CustomStatus = []byte("half way")
		c.Values = []provider.Value{{Name: "a", Payload: []byte("1")}, {Name: "b"}}
		c.Replies = []provider.Reply{{ID: fmt.Sprint(number), Payload: []byte("ok")}}
		before := s.Counters().Statements
		must(t, commit(t, s, node, c))
		return s.Counters().Statements - before
	}
	publish(1)
	const around = 3 // begin, data_version, commit
	if n := publish(2) - around; n != 2+4 {
		t.Errorf("%d statements", n)
	}
}

// "one bad item never fails its group for ever: on a non-retryable error the
// group is retried item by item, and the failing item is charged"
func TestAFailingStatementFailsItsItemOnly(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	var keys []provider.Key
	for i := range 6 {
		keys = append(keys, create(t, s, node, fmt.Sprint(i)))
	}
	bad := keys[1]
	must(t, executeAll(raw(t, s).Conn, fmt.Sprintf(
		"CREATE TRIGGER bad BEFORE INSERT ON history WHEN NEW.instance = %d BEGIN SELECT RAISE(ABORT, 'poison'); END;", bad)))

	release := hold(s)
	var wg sync.WaitGroup
	for _, batch := range [][]provider.Key{keys[:3], keys[3:5], keys[5:]} {
		wg.Go(func() {
			var commits []provider.Commit
			for _, key := range batch {
				commits = append(commits, turn(key, 1))
			}
			results, err := s.Commit(t.Context(), node, commits)
			if err != nil {
				t.Error(err)
				return
			}
			for i, r := range results {
				if (r.Err != nil) != (batch[i] == bad) {
					t.Errorf("commit of %d: %v", batch[i], r.Err)
				}
				if r.Err != nil && !strings.Contains(r.Err.Error(), "poison") {
					t.Errorf("the error hides its cause: %v", r.Err)
				}
			}
		})
	}
	queued(s, 3)
	release()
	wg.Wait()
	for _, key := range keys {
		turns, err := s.Turns(t.Context(), key, 1, 10)
		must(t, err)
		if want := 1; key == bad && len(turns) != 0 || key != bad && len(turns) != want {
			t.Errorf("instance %d has %d turns", key, len(turns))
		}
	}
	// What the writer remembers of the failed one is what the file has.
	must(t, executeAll(raw(t, s).Conn, "DROP TRIGGER bad"))
	must(t, commit(t, s, node, turn(bad, 1)))
}

func TestACanceledRequestIsNotApplied(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	a, b, c := create(t, s, node, "a"), create(t, s, node, "b"), create(t, s, node, "c")
	release := hold(s)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, key := range []provider.Key{a, b, c} {
		wg.Go(func() {
			of := t.Context()
			if key == b {
				of = ctx
			}
			_, err := s.Commit(of, node, []provider.Commit{turn(key, 1)})
			if key == b && !errors.Is(err, context.Canceled) || key != b && err != nil {
				t.Errorf("commit: %v", err)
			}
		})
	}
	queued(s, 3)
	cancel()
	queued(s, 2)
	release()
	wg.Wait()
	in, err := s.Get(t.Context(), provider.Target{Key: b})
	must(t, err)
	if in.NextTurn != 1 {
		t.Error("the canceled commit was applied")
	}
	must(t, commit(t, s, node, turn(b, 1)))
}

// Requests that are canceled while others lead must neither be lost nor leave
// the store without a leader.
func TestManyWritersSomeOfWhomGiveUp(t *testing.T) {
	s := open(t, Options{Synchronous: Normal})
	node := join(t, s)
	var wg sync.WaitGroup
	for i := range 32 {
		key := create(t, s, node, fmt.Sprint(i))
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for n := int64(1); n <= 100; {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(2*time.Millisecond))))
				results, err := s.Commit(ctx, node, []provider.Commit{turn(key, n)})
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					continue // not applied: the same turn is still next
				}
				if err != nil || results[0].Err != nil {
					t.Errorf("turn %d: %v %v", n, err, results)
					return
				}
				n++
			}
		})
	}
	wg.Wait()
	must(t, commit(t, s, node, turn(create(t, s, node, "last"), 1)))
}

func TestCloseWaitsAndEndsEverything(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	key := create(t, s, node, "a")
	release := hold(s)
	committed := make(chan error)
	go func() { committed <- commit(t, s, node, turn(key, 1)) }()
	queued(s, 1)
	watched := make(chan error)
	go func() { watched <- s.Watch(t.Context(), func() {}) }()
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	release()
	must(t, <-closed)
	must(t, <-committed)
	if err := <-watched; !errors.Is(err, provider.ErrClosed) {
		t.Errorf("watch: %v", err)
	}
	for name, err := range map[string]error{
		"commit": commit(t, s, node, turn(key, 2)),
		"close":  s.Close(),
		"read":   func() error { _, err := s.Get(t.Context(), provider.Target{Key: key}); return err }(),
		"join":   func() error { _, err := s.Join(t.Context(), provider.NodeInfo{}); return err }(),
		"watch":  s.Watch(t.Context(), func() {}),
	} {
		if !errors.Is(err, provider.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := openAt(t, s.name, Options{})
	turns, err := again.Turns(t.Context(), key, 1, 10)
	must(t, err)
	if len(turns) != 1 {
		t.Error("the commit that Close waited for is not there")
	}
}

// What another handle writes is seen, although the writer remembers rows.
func TestTheWriterForgetsWhatOthersChanged(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	key := create(t, s, node, "a")
	must(t, commit(t, s, node, turn(key, 1)))
	other := openAt(t, s.name, Options{})
	must(t, other.Suspend(t.Context(), provider.Target{Key: key}))
	if err := commit(t, s, node, turn(key, 2)); !errors.Is(err, provider.ErrConflict) {
		t.Errorf("commit after another handle suspended the instance: %v", err)
	}
}

// "own-process writes through the same store do not notify"
func TestWatchReportsOthersOnly(t *testing.T) {
	s := open(t, Options{})
	other := openAt(t, s.name, Options{})
	node := join(t, other)
	told := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Watch(ctx, func() { told <- struct{}{} }) }()
	<-told // the joining of the other may be news; it comes before or after Watch began
	for i := range 50 {
		create(t, s, 0, fmt.Sprint("own-", i))
	}
	must(t, s.w.look())
	if n := len(told); n != 0 {
		t.Errorf("told %d times of own writes", n)
	}
	create(t, other, node, "other")
	<-told
	cancel()
	<-ended
}

// Turns are found through the marks, whatever the range.
func TestTurnsAreFoundInAnyRange(t *testing.T) {
	for _, total := range []int64{1, 63, 64, 65, 128, 300} {
		s := open(t, Options{Synchronous: Normal})
		node := join(t, s)
		key := create(t, s, node, "a")
		for n := int64(1); n <= total; n++ {
			must(t, commit(t, s, node, turn(key, n)))
		}
		for from := int64(1); from <= total; from += 1 + total/37 {
			for _, limit := range []int{1, 2, 63, 64, 65, 500} {
				turns, err := s.Turns(t.Context(), key, from, limit)
				must(t, err)
				want := min(int64(limit), total-from+1)
				if int64(len(turns)) != want {
					t.Fatalf("%d of %d turns from %d on, limit %d: want %d", len(turns), total, from, limit, want)
				}
				for i, turn := range turns {
					if turn.Number != from+int64(i) || turn.Events[0] != byte(turn.Number) {
						t.Fatalf("turn %d at %d", turn.Number, i)
					}
				}
			}
		}
	}
}

func TestEveryStatementHasItsConstant(t *testing.T) {
	if len(queries) != int(statements) {
		t.Fatalf("%d statements, %d constants", len(queries), statements)
	}
	// Spot checks of the order: the first, one in the middle, the last.
	for q, name := range map[statement]string{qBegin: "begin", qHistoryInsert: "history_insert", qListIds: "list_ids"} {
		if names[q] != name {
			t.Errorf("constant of %s stands for %s", name, names[q])
		}
	}
}

// Hot statements search; only what is for people may scan.
func TestQueryPlans(t *testing.T) {
	s := open(t, Options{})
	c := raw(t, s)
	mayScan := map[string]string{
		"node_list":     "SCAN nodes",
		"status_stats":  "SCAN instances",
		"history_count": "SCAN history",
		"message_count": "SCAN messages",
		"task_stats":    "SCAN tasks",
	}
	for i, q := range queries {
		name := names[i]
		switch statement(i) {
		case qBegin, qBeginRead, qCommit, qRollback, qDataVersion:
			continue
		}
		plan, err := explain(c, q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, step := range plan {
			scans := strings.HasPrefix(step, "SCAN") && step != "SCAN definitions"
			if scans && (mayScan[name] == "" || !strings.HasPrefix(step, mayScan[name])) {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
	for q, want := range map[statement]string{
		qInstanceGet:     "USING INTEGER PRIMARY KEY",
		qInstanceKey:     "USING COVERING INDEX sqlite_autoindex_instances_1",
		qInstanceDue:     "USING COVERING INDEX instances_wake (owner=? AND def=? AND wake_at<?)",
		qInstanceNextDue: "USING COVERING INDEX instances_wake",
		qInstanceMail:    "USING COVERING INDEX instances_wake (owner=?",
		qInstanceOwned:   "USING COVERING INDEX instances_owned (owner=?)",
		qTaskDue:         "USING COVERING INDEX tasks_queue (holder=? AND kind=? AND visible_at<?)",
		qTaskNextDue:     "USING COVERING INDEX tasks_queue (holder=? AND kind=? AND visible_at>?)",
		qTaskExpired:     "USING COVERING INDEX tasks_expiry (expires_at<?)",
		qTaskNextExpiry:  "USING COVERING INDEX tasks_expiry (expires_at>? AND expires_at<?)",
		qSessionIdle:     "USING COVERING INDEX sessions_node (node=? AND used_at<?)",
		qSessionUse:      "USING PRIMARY KEY (name=?)",
		qSessionMove:     "SEARCH tasks USING PRIMARY KEY (instance=? AND command=?)",
		qMessageConsume:  "USING PRIMARY KEY (instance=? AND seq<?)",
		qListRare:        "instances_rare (key<?)",
		qValueGet:        "USING PRIMARY KEY (instance=? AND name=?)",
		qReplyDrop:       "INDEX replies_age (instance=? AND stored_at<?)",
		qDefinitionOpen:  "USING COVERING INDEX instances_open (def=?)",
	} {
		plan, err := explain(c, queries[q])
		must(t, err)
		if !strings.Contains(strings.Join(plan, "\n"), want) {
			t.Errorf("%s: plan %q lacks %q", names[q], plan, want)
		}
		for _, step := range plan {
			if strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s sorts: %q", names[q], plan)
			}
		}
	}
}

func explain(c *conn, q string) (plan []string, err error) {
	st, _, err := c.PrepareTransient("EXPLAIN QUERY PLAN " + q)
	if err != nil {
		return nil, err
	}
	defer st.Finalize()
	for {
		found, err := st.Step()
		if err != nil || !found {
			return plan, err
		}
		plan = append(plan, st.ColumnText(3))
	}
}

// A claim costs the same whatever sleeps in the store.
func TestSleepersDoNotSlowAClaim(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "store.db"), Options{Synchronous: Normal})
	node := join(t, s)
	future := now() + int64(time.Hour)
	batch := make([]provider.NewInstance, 20_000)
	for i := range batch {
		batch[i] = provider.NewInstance{Key: provider.NewKey(), ID: fmt.Sprint(i), Name: "flow", Version: "1", NotBefore: future}
	}
	_, err := s.Create(t.Context(), 0, batch)
	must(t, err)
	due := create(t, s, 0, "due")
	reply, err := s.Claim(t.Context(), provider.ClaimRequest{Node: node, Limit: 10,
		Definitions: []provider.Definition{{Name: "flow", Version: "1"}}})
	must(t, err)
	if len(reply.Claimed) != 1 || reply.Claimed[0].Key != due || reply.NextDue != future {
		t.Errorf("claimed %d, next due %d", len(reply.Claimed), reply.NextDue)
	}
}

// Where the system tells of writes, nobody looks for them: a store that writes
// by itself looks once after each of its groups, and one that does nothing does
// not look.
func TestWatchSleepsUntilTheLogIsWritten(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks five times a second here")
	}
	s := open(t, Options{})
	other := openAt(t, s.name, Options{})
	join(t, other)
	told := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Watch(ctx, func() { told <- struct{}{} }) }()
	<-told
	second := time.NewTicker(time.Second)
	defer second.Stop()
	asleep := func() (looks int64) { // waits for a second without a look
		for last := int64(-1); looks != last; <-second.C {
			last, looks = looks, s.Counters().ReadStatements
		}
		return looks
	}
	before := asleep()
	create(t, s, 0, "own")
	if n := asleep() - before; n > 3 {
		t.Errorf("%d looks after a group of its own", n)
	}
	create(t, other, 0, "other")
	<-told
	cancel()
	<-ended
}
