package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// simClients are the people outside: each an actor that does what it has to
// until it has the answer, with whatever client works.
type simClients struct {
	w     *world
	plain *Client // of no node
	work  sync.WaitGroup
	over  chan struct{}
	clerk sync.WaitGroup
}

func newSimClients(w *world) *simClients {
	return &simClients{w: w, plain: NewClient(w.connect("clients", 0, &line{}, nil), 0), over: make(chan struct{})}
}

// any returns a client, and the line that its node depends on.
func (c *simClients) any(r *rand.Rand) (*Client, *line) {
	if i := r.IntN(2 * len(c.w.nodes)); i < len(c.w.nodes) {
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		return c.w.nodes[i].e.Client(), c.w.nodes[i].line
	}
	return c.plain, &line{}
}

// stubborn tries a call, with one client after the other, until it says that it
// has its answer.
func (c *simClients) stubborn(r *rand.Rand, what string, do func(ctx context.Context, c *Client) bool) {
	for range 100 {
		client, _ := c.any(r)
		ctx, cancel := context.WithTimeout(context.Background(), upTo(r, 10*time.Second))
		done := do(ctx, client)
		cancel()
		if done {
			return
		}
		time.Sleep(upTo(r, 100*time.Millisecond))
	}
	c.w.t.Errorf("%s: no answer", what)
}

// start sees to it that there is an instance.
func (c *simClients) start(r *rand.Rand, n provider.NewInstance, payload string) provider.Target {
	ev := history.Event{Kind: history.Started, Name: n.Name, Version: n.Version, Payload: []byte(payload)}
	n.Start = history.AppendMessage(nil, &ev)
	target := provider.Target{ID: n.ID}
	c.stubborn(r, "start "+n.ID, func(ctx context.Context, client *Client) bool {
		res, err := client.Start(ctx, n)
		if err != nil || res.Err != nil && !errors.Is(res.Err, provider.ErrAlreadyExists) {
			return false
		}
		for _, sent := range res.Sent {
			if sent.Err != nil && !errors.Is(sent.Err, provider.ErrNotOpen) { // it may have ended by it
				c.w.t.Errorf("message with the start of %s: %v", n.ID, sent.Err)
			}
		}
		target.Key = res.Key
		return true
	})
	return target
}

// send sends a signal, once however often it takes.
func (c *simClients) send(r *rand.Rand, to provider.Target, name, payload, id string) {
	ev := history.Event{Kind: history.SignalReceived, Name: name, Payload: []byte(payload)}
	m := provider.Message{To: to, ID: id, Payload: history.AppendMessage(nil, &ev)}
	c.stubborn(r, "signal to "+to.ID, func(ctx context.Context, client *Client) bool {
		res, err := client.Send(ctx, m)
		if err == nil && res.Err != nil && !errors.Is(res.Err, provider.ErrNotOpen) {
			c.w.t.Errorf("signal to %s: %v", to.ID, res.Err)
		}
		return err == nil
	})
}

// wait waits for an end. Who waits with a client whose node lives is told of it.
func (c *simClients) wait(r *rand.Rand, target provider.Target) provider.Outcome {
	for range 10 {
		client, line := c.any(r)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		o, err := client.Wait(ctx, target)
		cancel()
		if err == nil || errors.Is(err, provider.ErrNotFound) {
			return o
		}
		line.mu.Lock()
		dead := line.dead
		line.mu.Unlock()
		row, _ := c.w.store.Get(context.Background(), target)
		if !dead && client.e.live() && row.ClosedAt != 0 && time.Since(time.Unix(0, row.ClosedAt).Add(-c.w.store.ClockOffset)) > time.Minute {
			c.w.t.Errorf("who waits for %s was not told of its end: %v", target.ID, err)
		}
	}
	row, _ := c.w.store.Get(context.Background(), target)
	all, _ := c.w.store.Nodes(context.Background())
	c.w.t.Errorf("%s did not end\n%+v\nnodes %+v\n%s", target.ID, row, all, c.w.describe(target.Key))
	return provider.Outcome{}
}

// live reports whether a client's node, if it has one, is at work.
func (e *Engine) live() bool { return e == nil || !e.draining.Load() }

// output waits for an instance that completes, and checks its history.
func (c *simClients) output(r *rand.Rand, target provider.Target) string {
	o := c.wait(r, target)
	if o.Status == 0 {
		return "nothing"
	}
	ev, err := history.DecodeMessage(o.Payload)
	assert.NoError(c.w.t, err)
	if ev.Failure != nil {
		return ev.Failure.Message
	}
	checkHistory(c.w.t, c.w.store, target)
	return string(ev.Payload)
}

// begin lets everyone begin.
func (c *simClients) begin() {
	for i, kind := range []string{"chain", "fan", "signals", "parent", "retry", "climb", "approve", "session", "fickle",
		"versioned", "desk", "inbox", "chain", "climb", "approve", "session", "fickle", "versioned", "session", "versioned", "doomed", "deleted", "once", "once"} {
		id := fmt.Sprint(kind, i)
		r := c.w.actor(id, 0)
		c.work.Go(func() {
			time.Sleep(upTo(r, 8*time.Second))
			switch kind {
			case "once":
				if target := c.start(r, provider.NewInstance{ID: id, Name: kind}, id); c.w.calm {
					assert.Equal(c.w.t, c.output(r, target), simWant[kind], "%s", id)
				} else { // an attempt may have been lost
					c.wait(r, target)
				}
			case "desk":
				c.desk(r, id)
			case "inbox":
				c.inbox(r, id)
			case "versioned":
				c.versioned(r, id)
			case "signals":
				target := c.start(r, provider.NewInstance{ID: id, Name: kind}, id)
				for n := range 4 {
					time.Sleep(upTo(r, 300*time.Millisecond))
					c.send(r, target, "n", strconv.Itoa(n), strconv.Itoa(n))
				}
				assert.Equal(c.w.t, c.output(r, target), clusterWant[kind], "%s", id)
			case "doomed", "deleted":
				c.doomed(r, id, kind)
			default:
				payload := id
				if kind == "session" {
					payload = fmt.Sprint("session ", r.IntN(2))
				} else if kind == "fickle" {
					payload = ""
				}
				target := c.start(r, provider.NewInstance{ID: id, Name: kind}, payload)
				assert.Equal(c.w.t, c.output(r, target), simWant[kind], "%s", id)
			}
		})
	}
	c.clerk.Go(func() {
		for n := 0; ; n++ {
			select {
			case token := <-c.w.clerks:
				r := c.w.actor("clerk", n)
				c.clerk.Go(func() { c.complete(r, token) })
			case <-c.over:
				return
			}
		}
	})
}

var simWant = map[string]string{
	"chain": "012345", "fan": "012345678901", "parent": "abxxabxxabxx", "retry": "r",
	"climb": "top", "approve": "donedone", "session": "01234", "fickle": "top",
	"once": "01234567",
}

// finish waits until everyone has what they wanted.
func (c *simClients) finish() {
	c.work.Wait()
	close(c.over)
	c.clerk.Wait()
	synctest.Wait()
}

// complete completes an attempt, or fails it, unless another has come of it.
func (c *simClients) complete(r *rand.Rand, token string) {
	time.Sleep(upTo(r, 6*time.Second))
	fails := r.IntN(5) == 0
	c.stubborn(r, "completion", func(ctx context.Context, client *Client) bool {
		var err error
		switch {
		case fails:
			err = client.Fail(ctx, token, &history.Failure{Message: "declined"})
			var unsupported *provider.NotSupportedError
			fails = !errors.As(err, &unsupported) // else it is completed
		case r.IntN(2) == 0:
			var unsupported *provider.NotSupportedError
			if err = client.Beat(ctx, token, []byte("7")); err == nil || errors.As(err, &unsupported) {
				err = client.Complete(ctx, token, []byte("done"), nil)
			}
		default:
			err = client.Complete(ctx, token, []byte("done"), nil)
		}
		return err == nil || errors.Is(err, provider.ErrStale)
	})
}

// desk has several clients ask for updates, more than once, while others watch
// the status.
func (c *simClients) desk(r *rand.Rand, id string) {
	w := c.w
	target := c.start(r, provider.NewInstance{ID: id, Name: "desk"}, "")
	var mu sync.Mutex
	answers := map[string]string{} // by payload
	var asking, watching sync.WaitGroup
	for i := range 3 {
		r := w.actor(id+" asks", i)
		asking.Go(func() {
			for n := range 5 {
				time.Sleep(upTo(r, 3*time.Second))
				payload := fmt.Sprintf("%d.%d", i, n)
				if r.IntN(4) == 0 {
					payload = "-" + payload
				}
				answer := c.update(r, target, payload)
				if r.IntN(2) == 0 {
					assert.Equal(w.t, c.update(r, target, payload), answer, "asked again")
				}
				mu.Lock()
				answers[payload] = answer
				mu.Unlock()
			}
		})
	}
	for i := range 2 {
		r := w.actor(id+" watches", i)
		watching.Go(func() { c.watch(r, target) })
	}
	asking.Wait()
	c.send(r, target, "close", "", "close")
	log := strings.Split(strings.TrimSuffix(c.output(r, target), ","), ",")
	watching.Wait()
	accepted := 0
	for payload, answer := range answers {
		at := slices.Index(log, payload) + 1
		if payload[0] == '-' {
			assert.Equal(w.t, answer, "!no", "%s", payload)
			assert.Equal(w.t, at, 0, "%s is in the log", payload)
			continue
		}
		accepted++
		assert.Equal(w.t, answer, strconv.Itoa(at), "%s, in %v", payload, log)
	}
	if accepted > 0 {
		assert.Equal(w.t, len(log), accepted)
		f, err := w.store.Lookup(context.Background(), []provider.Lookup{{To: target, Kind: provider.LookupValue, Name: "log"}})
		assert.NoError(w.t, err)
		assert.Equal(w.t, string(f[0].Payload), strings.Join(log, ",")+",", "the value")
	}
	c.checkUpdates(target)
}

// update asks until there is an answer.
func (c *simClients) update(r *rand.Rand, target provider.Target, payload string) (answer string) {
	id := "u" + payload
	request := history.Event{Kind: history.UpdateRequested, Name: "add", Text: id, Payload: []byte(payload)}
	m := provider.Message{To: target, ID: id, Payload: history.AppendMessage(nil, &request)}
	c.stubborn(r, "update "+payload, func(ctx context.Context, client *Client) bool {
		f, err := client.Request(ctx, m, id)
		if err != nil {
			return false
		}
		if !f.Found {
			c.w.t.Errorf("update %s of %s has no answer", payload, target.ID)
			return true
		}
		ev, err := history.DecodeMessage(f.Payload)
		assert.NoError(c.w.t, err)
		if answer = string(ev.Payload); ev.Failure != nil {
			answer = "!" + ev.Failure.Message
		}
		return true
	})
	return answer
}

// checkUpdates checks that no update was answered twice, and that those which
// were rejected left no trace but where they were carried.
func (c *simClients) checkUpdates(target provider.Target) {
	turns, err := c.w.store.Turns(context.Background(), target.Key, 1, 1<<20)
	assert.NoError(c.w.t, err)
	answered := map[string]bool{}
	for _, turn := range turns {
		deliveries, commands, err := history.DecodeTurn(turn.Events)
		assert.NoError(c.w.t, err)
		last := history.Event{}
		for _, cmd := range commands {
			if cmd.Kind == history.UpdateAnswered {
				if answered[cmd.Text] {
					c.w.t.Errorf("update %s was answered twice", cmd.Text)
				}
				answered[cmd.Text] = true
			}
			last = cmd
		}
		for _, d := range deliveries {
			if d.Kind == history.UpdateRequested && d.Payload[0] == '-' && last.Kind != history.ContinuedAsNew {
				c.w.t.Errorf("update %s was rejected, and is in turn %d", d.Text, turn.Number)
			}
		}
	}
}

// watch follows the custom status to the end of an instance.
func (c *simClients) watch(r *rand.Rand, target provider.Target) {
	turn, count := int64(0), 0
	for range 200 {
		client, line := c.any(r)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		f, err := client.Await(ctx, provider.Lookup{To: target, Kind: provider.LookupStatus}, turn)
		cancel()
		line.mu.Lock()
		dead := line.dead
		line.mu.Unlock()
		if err != nil {
			now, _ := c.w.store.Lookup(context.Background(), []provider.Lookup{{To: target, Kind: provider.LookupStatus}})
			if !dead && client.e.live() && errors.Is(err, context.DeadlineExceeded) && (now[0].Turn > turn || !now[0].Status.Open()) {
				c.w.t.Errorf("who waits for a status of %s after turn %d was not told: %+v", target.ID, turn, now[0])
			}
			time.Sleep(upTo(r, time.Second))
			continue
		}
		if !f.Found {
			return
		}
		n, _ := strconv.Atoi(string(f.Payload))
		if f.Turn <= turn || n < count {
			c.w.t.Errorf("status %d of turn %d after status %d of turn %d", n, f.Turn, count, turn)
		}
		turn, count = f.Turn, n
	}
	c.w.t.Errorf("%s: its status has no end", target.ID)
}

// inbox has three clients start one instance, each with a message.
func (c *simClients) inbox(r *rand.Rand, id string) {
	var starting sync.WaitGroup
	var target provider.Target
	var mu sync.Mutex
	for i := range 3 {
		r := c.w.actor(id+" starts", i)
		starting.Go(func() {
			ev := history.Event{Kind: history.SignalReceived, Name: "n", Payload: []byte(strconv.Itoa(i) + ",")}
			got := c.start(r, provider.NewInstance{ID: id, Name: "inbox", With: []provider.Message{
				{ID: "with " + strconv.Itoa(i), Payload: history.AppendMessage(nil, &ev)},
			}}, "")
			mu.Lock()
			defer mu.Unlock()
			if target.Key != 0 && target.Key != got.Key {
				c.w.t.Errorf("%s was started twice", id)
			}
			target = got
		})
	}
	starting.Wait()
	assert.Equal(c.w.t, c.output(r, target), "0,1,2", "%s", id)
}

// versioned asks for a range, and for what it continues as, too.
func (c *simClients) versioned(r *rand.Rand, id string) {
	asked := []string{"", "1.0.0", "2.0.0", "^1", ">=1.1.0", "~1.0", ">1.0.0 <3"}[r.IntN(7)]
	target := c.start(r, provider.NewInstance{ID: id, Name: "versioned", Version: asked}, asked)
	first, second, _ := strings.Cut(c.output(r, target), " ")
	if !fits(first, asked) || !fits(second, asked) {
		c.w.t.Errorf("%s asked for %q and had %q, then %q", id, asked, first, second)
	}
}

// doomed is waited for while an operator terminates or deletes it.
func (c *simClients) doomed(r *rand.Rand, id, how string) {
	target := c.start(r, provider.NewInstance{ID: id, Name: "signals"}, "")
	var waiting sync.WaitGroup
	for i := range 2 {
		r := c.w.actor(id+" waits", i)
		waiting.Go(func() {
			o := c.wait(r, target)
			want := provider.Terminated
			if how == "deleted" {
				want = 0
			}
			assert.Equal(c.w.t, o.Status, want, "%s", id)
		})
	}
	time.Sleep(upTo(r, 10*time.Second))
	client, _ := c.any(r)
	end := Terminated("the operator wants it so")
	var err error
	if how == "deleted" {
		err = c.w.store.Delete(context.Background(), target, true)
	} else {
		err = c.w.store.Terminate(context.Background(), target, history.AppendMessage(nil, &end), nil)
	}
	assert.NoError(c.w.t, err)
	client.Operated(target.Key)
	waiting.Wait()
}
