package sqlite

import (
	"fmt"
	"testing"
	"time"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

var charges = []provider.TaskFilter{{Name: "charge"}}

func claimTasks(tb testing.TB, s *Store, req provider.TaskClaim) []provider.Task {
	tb.Helper()
	reply, err := s.ClaimTasks(tb.Context(), req)
	must(tb, err)
	return reply.Tasks
}

func commands(tasks []provider.Task) (commands []int64) {
	for _, t := range tasks {
		commands = append(commands, t.Command)
	}
	return commands
}

// withTasks makes an instance with tasks numbered from 1, visible in order.
func withTasks(tb testing.TB, s *Store, node provider.NodeKey, id string, tasks ...provider.NewTask) provider.Key {
	tb.Helper()
	key := create(tb, s, node, id)
	c := turn(key, 1)
	for i, t := range tasks {
		t.Command, t.Name = int64(i+1), "charge"
		if t.VisibleAt == 0 {
			t.VisibleAt = int64(i + 1)
		}
		c.Tasks = append(c.Tasks, t)
	}
	must(tb, commit(tb, s, node, c))
	return key
}

// count returns how many rows a table has.
func count(tb testing.TB, s *Store, table string) int64 {
	tb.Helper()
	c := raw(tb, s)
	n := int64(-1)
	st, _, err := c.PrepareTransient("SELECT count(*) FROM " + table)
	must(tb, err)
	defer st.Finalize()
	_, err = st.Step()
	must(tb, err)
	n = st.ColumnInt64(0)
	return n
}

// readable returns how many tasks wait in the queues that a claim reads.
func readable(tb testing.TB, s *Store, req provider.TaskClaim) (n int64) {
	tb.Helper()
	must(tb, s.read(tb.Context(), "test", func(c *conn) error {
		q, err := s.taskQueues(c, &req)
		for _, queue := range q.queues {
			n += count(tb, s, fmt.Sprintf("tasks WHERE holder = %d", queue))
		}
		return err
	}))
	return n
}

// "Tasks of a session that another node has are invisible to this node and
// must not hide other tasks behind them."
func TestForeignSessionsAreNotLookedAt(t *testing.T) {
	s := open(t, Options{Synchronous: Normal})
	owner, other := join(t, s), join(t, s)
	tasks := make([]provider.NewTask, 20_000)
	for i := range tasks {
		tasks[i].Session = "s"
	}
	tasks = append(tasks, provider.NewTask{})
	withTasks(t, s, owner, "a", tasks...)
	assert.Equal(t, commands(claimTasks(t, s, provider.TaskClaim{Node: owner, Filters: charges, Limit: 1, MaxSessions: 1})), []int64{1})

	claim := provider.TaskClaim{Node: other, Filters: charges, Limit: 5, MaxSessions: 5}
	assert.Equal(t, commands(claimTasks(t, s, claim)), []int64{20_001})
	assert.Equal(t, readable(t, s, claim), int64(0))
}

// "If none has, the claim opens it, unless the node has MaxSessions open
// already": what it then cannot take is not in the way either.
func TestClosedSessionsAreNotLookedAtWithoutRoom(t *testing.T) {
	s := open(t, Options{Synchronous: Normal})
	node := join(t, s)
	tasks := []provider.NewTask{{Session: "first"}}
	for i := range 20_000 {
		tasks = append(tasks, provider.NewTask{Session: fmt.Sprint("s", i)})
	}
	tasks = append(tasks, provider.NewTask{Session: "first"}, provider.NewTask{})
	withTasks(t, s, node, "a", tasks...)
	claim := provider.TaskClaim{Node: node, Filters: charges, Limit: 5, MaxSessions: 1}
	// The first opens its session; the second time round finds the rest.
	assert.Equal(t, commands(claimTasks(t, s, claim)), []int64{1, 20_002, 20_003})
	assert.Equal(t, readable(t, s, claim), int64(0))
}

// Rows beside the tasks go with them, whichever way they go.
func TestNothingIsLeftOfSessions(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	in := func(session string) provider.NewTask { return provider.NewTask{Session: session} }
	a := withTasks(t, s, node, "a", in("x"), in("x"), in("y"))
	b := withTasks(t, s, node, "b", in("x"), in("z"))
	d := withTasks(t, s, node, "d", in("x"))
	assert.Equal(t, count(t, s, "session_tasks"), int64(6))

	tasks := claimTasks(t, s, provider.TaskClaim{Node: node, Filters: charges, Limit: 1, MaxSessions: 9})
	errs, err := s.FinishTasks(t.Context(), node, []provider.TaskFinish{{TaskRef: tasks[0].Ref(), Message: []byte("done")}})
	must(t, err)
	must(t, errs[0])
	assert.Equal(t, count(t, s, "session_tasks"), int64(5))
	c := turn(a, 2)
	c.CancelTasks = []int64{2}
	must(t, commit(t, s, node, c))
	assert.Equal(t, count(t, s, "session_tasks"), int64(4))
	c = turn(a, 3)
	c.Execution, c.HistoryFrom = 2, 3
	must(t, commit(t, s, node, c))
	assert.Equal(t, count(t, s, "session_tasks"), int64(3))
	must(t, s.Terminate(t.Context(), provider.Target{Key: b}, nil, nil))
	assert.Equal(t, count(t, s, "session_tasks"), int64(1))
	must(t, s.Delete(t.Context(), provider.Target{Key: d}, true))
	assert.Equal(t, count(t, s, "session_tasks"), int64(0))
	assert.Equal(t, count(t, s, "tasks"), int64(0))

	assert.Equal(t, count(t, s, "sessions"), int64(1))
	_, err = s.Bury(t.Context(), provider.Burial{Node: node, Force: true})
	must(t, err)
	assert.Equal(t, count(t, s, "sessions"), int64(0))
}

// A burial of many sessions takes several calls, after which all of them can be
// opened by others.
func TestABurialClosesSessionsInPortions(t *testing.T) {
	s := open(t, Options{Synchronous: Normal})
	node, heir := join(t, s), join(t, s)
	const n = buryLimit + 10
	tasks := make([]provider.NewTask, n)
	for i := range tasks {
		tasks[i].Session = fmt.Sprint("s", i)
	}
	withTasks(t, s, heir, "a", tasks...)
	claimed := claimTasks(t, s, provider.TaskClaim{Node: node, Filters: charges, Limit: n, MaxSessions: n})
	assert.Equal(t, len(claimed), n)
	for _, task := range claimed[:n-1] {
		_, err := s.FinishTasks(t.Context(), node, []provider.TaskFinish{{TaskRef: task.Ref()}})
		must(t, err)
	}
	returned, calls := 0, 0
	for done := false; !done; calls++ {
		result, err := s.Bury(t.Context(), provider.Burial{Node: node, Force: true})
		must(t, err)
		returned, done = returned+result.Tasks, result.Done
	}
	assert.Equal(t, returned, 1)
	assert.Equal(t, calls, 3) // a session and the task that waits in it are two
	assert.Equal(t, len(claimTasks(t, s, provider.TaskClaim{Node: heir, Filters: charges, Limit: n, MaxSessions: n})), n)
}

// Only what can expire and is not held is in the index of expiry.
func TestTheIndexOfExpiryIsSmall(t *testing.T) {
	s := open(t, Options{})
	node := join(t, s)
	hour := int64(time.Hour)
	withTasks(t, s, node, "a", provider.NewTask{}, provider.NewTask{StartWithin: hour, VisibleAt: now()},
		provider.NewTask{CloseBy: now() + hour}, provider.NewTask{Parked: true, VisibleAt: provider.Never},
		provider.NewTask{Parked: true, VisibleAt: now() + hour})
	indexed := "tasks INDEXED BY tasks_expiry WHERE expires_at < 9223372036854775807"
	assert.Equal(t, count(t, s, indexed), int64(3))
	assert.Equal(t, len(claimTasks(t, s, provider.TaskClaim{Node: node, Filters: charges, Limit: 9})), 3)
	assert.Equal(t, count(t, s, indexed), int64(1))
}
