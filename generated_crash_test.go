package durango_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/provider"
)

var (
	crashed = flag.Int("crashed", 0, "how many generated programs to run with crashes, from -seed on; 0: 40, or with -seed that one")
	points  = flag.Int("points", 4, "at how many points each crashes at most")
)

// "Orchestrations survive crashes, restarts and deployments": programs of all
// that the language has, with what is done to them from outside, end the same
// whatever the node was doing when it crashed, and as they should; and their
// histories replay.
func TestGeneratedCrashes(t *testing.T) {
	from, n := rand.Uint64()>>16, uint64(40)
	if *seed != 0 {
		from, n = *seed, 1
	}
	if *crashed > 0 {
		n = uint64(*crashed)
	}
	t.Logf("seeds %d to %d", from, from+n-1)
	for s := from; s < from+n; s++ {
		p := draw(s)
		ok := t.Run(fmt.Sprint(s), func(t *testing.T) {
			durangotest.CrashSomewhere(t, *points, s, func(t *testing.T, e *durangotest.Env) {
				(&theater{drawn: p, t: t, e: e, completed: map[int]int{}, attempts: map[string]int{}}).run()
			})
		})
		if !ok {
			t.Fatalf("repeat with: go test . -run 'TestGeneratedCrashes$' -seed %d -points %d\n%s", s, *points, p)
		}
	}
}

var (
	work   = durango.NewActivity[task, int]("work")
	pooled = durango.NewActivity[task, int]("pooled").With(durango.CallOptions{Pool: "pool"})
	beat   = durango.NewActivity[task, int]("beat")
	park   = durango.NewActivity[task, int]("park")
)

// task is the input of an activity.
type task struct {
	ID int
	// Fails is how many attempts fail at least, Final that it fails in the end.
	Fails int  `json:",omitempty"`
	Final bool `json:",omitempty"`
	// Soon asks for the next attempt at another time than the policy does.
	Soon bool `json:",omitempty"`
	// Quiet leaves no effect; and what is parked is left alone.
	Quiet bool      `json:",omitempty"`
	At    time.Time `json:",omitzero"`
}

// theater is one run of a program.
type theater struct {
	*drawn
	t *testing.T
	e *durangotest.Env

	mu        sync.Mutex
	completed map[int]int    // how often who parked was completed
	attempts  map[string]int // by idempotency key
	added     int            // by updates that were answered
}

// definitions is the code before or after the deployment.
func (st *theater) definitions(deployed bool) []durango.Registrable {
	list := []durango.Registrable{work.Bind(st.work), pooled.Bind(st.work), beat.Bind(st.beat), park.Bind(st.park)}
	for i, version := range playVersions {
		if i == 3 && !deployed {
			break
		}
		list = append(list, play.BindVersion(version, func(ctx *durango.Context, in journey) (string, error) {
			x := &actor{theater: st, deployed: deployed, version: version, asked: map[int]bool{}}
			return x.play(ctx, in)
		}))
	}
	return list
}

func (st *theater) run() {
	st.e.Replace(st.definitions(false)...)
	var script sync.WaitGroup
	when := func(hour int, f func()) {
		script.Add(1)
		st.e.After(time.Until(at(hour)), func() { defer script.Done(); f() })
	}
	root := durangotest.Start(st.e, play, "root", journey{})
	if st.deploy > 0 {
		when(st.deploy, func() { st.e.Replace(st.definitions(true)...) })
	}
	for i := range st.events {
		e := &st.events[i]
		when(e.hour, func() { st.happen(root, e) })
	}
	script.Wait()
	inspector := st.e.Client().Store().(provider.Inspector)
	for {
		page, err := inspector.List(st.e.Context(), provider.Query{Statuses: []provider.Status{provider.Pending, provider.Running}, Limit: 1})
		if err != nil {
			st.t.Fatal(err)
		}
		if len(page.Instances) == 0 {
			break
		}
		st.e.Wait(page.Instances[0].ID)
	}
	sum, _, err := sumValue.Read(st.e.Context(), st.e.Client(), "root")
	if err != nil || sum != st.added {
		st.t.Errorf("updates have added %d, and their callers know of %d; %v", sum, st.added, err)
	}
	st.e.CheckReplay()
}

// happen does to the root what an event says.
func (st *theater) happen(root *durango.Run[string], e *event) {
	ctx, client := st.e.Context(), st.e.Client()
	id := durango.SendOptions{ID: fmt.Sprint(e.what, e.id)}
	switch e.what {
	case "signal":
		st.says(e, "", durango.NewSignal[int](fmt.Sprint("s", e.id)).With(id).Send(ctx, client, "root", e.id))
	case "numbered":
		number := 0
		for st.numbered[number] != e.hour {
			number++
		}
		st.says(e, "", numbered.With(id).Send(ctx, client, "root", number))
		if e.n%2 == 0 { // it may be too late by now
			_ = numbered.With(id).Send(ctx, client, "root", number)
		}
	case "update":
		st.update(e)
	case "query":
		info, err := root.Status(ctx)
		v, ok, unread := held.Read(ctx, client, "root")
		st.says(e, fmt.Sprint(info.Status, string(info.CustomStatus), info.Execution, v, ok), errors.Join(err, unread))
	case "cancel":
		st.says(e, "", root.Cancel(ctx, "enough"))
	case "terminate":
		st.says(e, "", root.Terminate(ctx, "enough"))
	case "sendwithstart":
		for range 2 {
			_, err := durango.SendWithStart(ctx, client, "extra", play, journey{Step: -1}, extra, e.n)
			st.says(e, "", err)
			time.Sleep(20 * time.Minute)
		}
	}
}

// says records how an event went.
func (st *theater) says(e *event, text string, err error) string {
	text = fmt.Sprint("hour ", e.hour, " ", e.what, " ", e.id, ": ", text, says(err))
	st.e.Effect(st.e.Context(), text)
	return text
}

// update asks twice, at once or within the hour, with the same ID.
func (st *theater) update(e *event) {
	ask := func() (int, error) {
		u := add.With(durango.SendOptions{ID: fmt.Sprint("update", e.id)})
		return u.Call(st.e.Context(), st.e.Client(), "root", addition{N: e.n, Hour: e.wait})
	}
	var again string
	var repeated sync.WaitGroup
	repeated.Go(func() {
		time.Sleep(time.Duration(e.n%2) * 20 * time.Minute)
		v, err := ask()
		again = st.says(e, fmt.Sprint(v, " "), err)
	})
	v, err := ask()
	once := st.says(e, fmt.Sprint(v, " "), err)
	if err == nil {
		st.mu.Lock()
		st.added += e.n
		st.mu.Unlock()
	}
	repeated.Wait()
	if once != again {
		st.t.Errorf("the answer was %q and then %q", once, again)
	}
	if err == nil && v != 3*e.n || (e.n < 100) != errors.Is(err, declined) && says(err) != "not-running" && says(err) != "canceled" && says(err) != "terminated" {
		st.t.Errorf("hour %d: the answer to %d is %d, %v", e.hour, e.n, v, err)
	}
}

// many is more attempts than anything needs.
const many = 60

func (st *theater) enough(ctx context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	info := durango.Info(ctx)
	if st.attempts[info.IdempotencyKey]++; st.attempts[info.IdempotencyKey] > many {
		st.t.Errorf("an activity %s has attempt %d, which is called %d", info.Name, many, info.Attempt)
		return durango.NonRetryable(errors.New("too many attempts"))
	}
	return nil
}

func (st *theater) work(ctx context.Context, in task) (int, error) {
	if err := st.enough(ctx); err != nil {
		return 0, err
	}
	if durango.Info(ctx).Attempt <= in.Fails {
		err := errors.New("not yet")
		if in.Soon {
			err = durango.RetryAfter(err, 3*time.Second)
		}
		return 0, err
	}
	if !in.Quiet {
		st.e.EffectOnce(ctx, in.ID)
	}
	if in.Final {
		return 0, durango.NonRetryable(declined.New(in.ID))
	}
	return 2 * in.ID, nil
}

// beat gets on by one with each attempt.
func (st *theater) beat(ctx context.Context, in task) (int, error) {
	if err := st.enough(ctx); err != nil {
		return 0, err
	}
	n, _, err := durango.HeartbeatDetails[int](ctx)
	if err != nil {
		return 0, durango.NonRetryable(err)
	}
	if n < in.Fails {
		return 0, errors.Join(durango.Heartbeat(ctx, n+1), errors.New("not yet"))
	}
	st.e.EffectOnce(ctx, in.ID)
	return 2 * in.ID, nil
}

// park leaves its completion to the outside.
func (st *theater) park(ctx context.Context, in task) (int, error) {
	if err := st.enough(ctx); err != nil {
		return 0, err
	}
	st.e.EffectOnce(ctx, in.ID)
	token, err := durango.CompleteLater(ctx)
	if err != nil || in.Quiet {
		return 0, err
	}
	in.Final = in.Final || durango.Info(ctx).Attempt <= in.Fails
	wait := time.Until(in.At)
	if wait < 0 { // it was failed at the time
		wait = time.Minute
	}
	st.e.After(wait, func() { st.complete(token, in) })
	return 0, nil
}

// complete ends what is parked: once, whatever was parked how often.
func (st *theater) complete(token string, in task) {
	ctx, client := st.e.Context(), st.e.Client()
	var err error
	if in.Final {
		err = client.Fail(ctx, token, declined.New(in.ID))
	} else if err = park.Complete(ctx, client, token, 3*in.ID); err == nil {
		st.mu.Lock()
		st.completed[in.ID]++
		if st.completed[in.ID] > 1 {
			st.t.Errorf("activity %d was completed twice", in.ID)
		}
		st.mu.Unlock()
	}
	if err != nil && !errors.Is(err, durango.ErrNotRunning) && !errors.Is(err, durango.ErrNotFound) {
		st.t.Errorf("complete %d: %v", in.ID, err)
	}
}
