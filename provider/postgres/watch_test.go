package postgres

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

func itoa(n int) string { return strconv.Itoa(n) }

// watch counts notifications into a channel.
func watch(t *testing.T, s *Store) chan struct{} {
	t.Helper()
	heard := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func() {
			select {
			case heard <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return heard
}

func TestWatch(t *testing.T) {
	a := open(t, Options{})
	b := openAt(t, server, a.options)
	heard, own := watch(t, b), watch(t, a)
	<-heard // the connection is there
	<-own
	create(t, a, 0, "1")
	<-heard
	// Its own news come back to a, and are not told: what b does is heard next.
	select {
	case <-own:
		t.Error("a was told of what it did itself")
	default:
	}
	create(t, b, 0, "2")
	<-own
}

// A connection that listens is replaced when it is lost.
func TestWatchAgain(t *testing.T) {
	a := open(t, Options{})
	b := openAt(t, named(server, "listens"), a.options)
	heard := watch(t, b)
	<-heard
	execute(t, raw(t), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'listens' AND query LIKE 'LISTEN%'")
	<-heard // it looks, because it may have missed something
	create(t, a, 0, "1")
	<-heard
}

func TestNoListen(t *testing.T) {
	s := open(t, Options{NoListen: true})
	d, err := s.Describe(t.Context())
	must(t, err)
	assert.False(t, d.Capabilities.Watch)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, func() { t.Error("told") }) }()
	create(t, s, 0, "1")
	cancel()
	assert.True(t, errors.Is(<-done, context.Canceled))
}

// Behind a pooler that lends connections by the transaction nothing may be
// left on a connection: no prepared statements, no settings.
func TestPooled(t *testing.T) {
	separator := " "
	useEverything(t, openAt(t, server+separator+"default_query_exec_mode=exec", Options{Schema: newSchema(t), NoListen: true, NoSync: true}))
}

// useEverything executes most statements there are, in an empty store.
func useEverything(t *testing.T, s *Store) {
	t.Helper()
	node := join(t, s)
	key := create(t, s, node, "a")
	c := turn(key, 1)
	c.Values = []provider.Value{{Name: "v", Payload: []byte("x")}}
	c.Replies = []provider.Reply{{ID: "r", Payload: []byte("y")}}
	c.CustomStatus = []byte("z")
	c.Tasks = []provider.NewTask{{Command: 1, Name: "charge"}, {Command: 2, Name: "charge", Session: "s"}}
	c.Children = []provider.NewInstance{draft("b")}
	c.Messages = []provider.Message{{To: provider.Target{ID: "b"}, ID: "m", Payload: []byte("hello")}}
	must(t, commit(t, s, node, c))
	claimed, err := s.Claim(t.Context(), provider.ClaimRequest{Node: node, Limit: 10, Definitions: []provider.Definition{{Name: "flow", Version: "1"}}})
	must(t, err)
	assert.Equal(t, len(claimed.Claimed), 1)
	tasks, err := s.ClaimTasks(t.Context(), provider.TaskClaim{Node: node, Limit: 10, MaxSessions: 1, SessionIdle: 1,
		Filters: []provider.TaskFilter{{Name: "charge"}}})
	must(t, err)
	assert.Equal(t, len(tasks.Tasks), 2)
	for _, k := range tasks.Tasks {
		errs, err := s.FinishTasks(t.Context(), node, []provider.TaskFinish{{TaskRef: k.Ref(), Message: []byte("done")}})
		must(t, err)
		must(t, errs[0])
	}
	loaded, err := s.Load(t.Context(), []provider.LoadRequest{{Key: key}})
	must(t, err)
	assert.Equal(t, loaded[0].Answered, []int64{1, 2})
	found, err := s.Lookup(t.Context(), []provider.Lookup{
		{To: provider.Target{ID: "a"}, Kind: provider.LookupStatus},
		{To: provider.Target{ID: "a"}, Kind: provider.LookupValue, Name: "v"},
		{To: provider.Target{ID: "a"}, Kind: provider.LookupReply, Name: "r"},
	})
	must(t, err)
	assert.Equal(t, string(found[0].Payload)+string(found[1].Payload)+string(found[2].Payload), "zxy")
	must(t, s.Terminate(t.Context(), provider.Target{ID: "b"}, []byte("out"), nil))
	must(t, s.Delete(t.Context(), provider.Target{ID: "b"}, false))
	for _, q := range []provider.Query{{}, {IDPrefix: "a"}, {Name: "flow", Statuses: []provider.Status{provider.Running}}} {
		page, err := s.List(t.Context(), q)
		must(t, err)
		assert.Equal(t, len(page.Instances), 1)
	}
}
