package durango_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider/memory"
)

var unpack = durango.NewActivity[int, string]("unpack")

// onNode says which node an activity ran on.
func onNode(name string) durango.BoundActivity[int, string] {
	return unpack.Bind(func(context.Context, int) (string, error) { return name, nil })
}

// "Sessions pin a series of activities to one node, with capacity per node, and
// move when it dies."
func TestSessions(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, steps int) ([]string, error) {
		bound := unpack.With(durango.CallOptions{Session: "of " + ctx.InstanceID()})
		var nodes []string
		for i := range steps {
			name, err := bound.Call(ctx, i)
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, name)
			if err := ctx.Sleep(20 * time.Second); err != nil {
				return nil, err
			}
		}
		return nodes, nil
	})
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		options := durango.Options{MaxSessions: 3}
		lines := map[string]*severed{"a": {Store: store}, "b": {Store: store}}
		stops := map[string]func(){}
		for name, line := range lines {
			_, stops[name] = brief(t, line, options, o, onNode(name))
		}
		client := durango.NewClient(store)
		var runs []*durango.Run[[]string]
		for i := range 6 {
			run, err := o.Start(t.Context(), client, fmt.Sprint("i", i), 3)
			assert.NoError(t, err)
			runs = append(runs, run)
		}
		sessions := map[string]int{}
		for _, run := range runs {
			nodes, err := run.Wait(t.Context())
			assert.NoError(t, err)
			assert.True(t, nodes[0] == nodes[1] && nodes[1] == nodes[2], "%s moved for no reason: %v", run.ID(), nodes)
			sessions[nodes[0]]++
		}
		assert.Equal(t, sessions, map[string]int{"a": 3, "b": 3})

		time.Sleep(10 * time.Minute) // the sessions are idle, and close
		run, err := o.Start(t.Context(), client, "moves", 6)
		assert.NoError(t, err)
		time.Sleep(30 * time.Second)
		first, other := "a", "b"
		if holds(t, client, "moves") != "a" {
			first, other = other, first
		}
		lines[first].cut.Store(true)
		nodes, err := run.Wait(t.Context())
		assert.NoError(t, err)
		assert.True(t, nodes[0] == first && nodes[5] == other, "it did not move: %v", nodes)
		for i := 1; i < len(nodes); i++ {
			assert.True(t, nodes[i-1] == first || nodes[i] == other, "it moved back: %v", nodes)
		}
		lines[first].cut.Store(false)
		for _, stop := range stops {
			stop()
		}
	})
}

// holds returns the node that ran the instance's last activity.
func holds(t *testing.T, c *durango.Client, id string) string {
	t.Helper()
	deliveries, _ := historyOf(t, c, id)
	name := ""
	for i := range deliveries {
		if len(deliveries[i].Payload) == 3 {
			name = string(deliveries[i].Payload[1:2])
		}
	}
	return name
}

// A session waits for its node while that is busy, and what has no session does
// not wait for sessions. A node without room for sessions runs none.
func TestSessionsAndOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		var mu sync.Mutex
		ran := map[string]bool{}
		o := durango.DefineOrchestration("o", func(ctx *durango.Context, session string) (string, error) {
			return unpack.With(durango.CallOptions{Session: session, ScheduleToClose: time.Hour}).Call(ctx, 1)
		})
		client, _ := brief(t, store, durango.Options{MaxSessions: -1}, o, unpack.Bind(func(context.Context, int) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			ran["none"] = true
			return "none", nil
		}))
		pinned, err := o.Start(t.Context(), client, "pinned", "s")
		assert.NoError(t, err)
		free, err := o.Start(t.Context(), client, "free", "")
		assert.NoError(t, err)
		completes(t, free, "none")
		time.Sleep(time.Minute)
		info, err := pinned.Status(t.Context())
		assert.NoError(t, err)
		assert.True(t, info.Status.Open(), "a node without sessions ran one")
		brief(t, store, durango.Options{}, onNode("with"))
		completes(t, pinned, "with")
	})
}
