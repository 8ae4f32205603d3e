package durango_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/durango-go/durango"
)

var (
	play     = durango.NewOrchestration[journey, string]("play")
	mark     = durango.NewValue[int]("mark")
	sumValue = durango.NewValue[int]("total")
	held     = durango.NewValue[int]("held")
	add      = durango.NewUpdate[addition, int]("add")
	numbered = durango.NewSignal[int]("numbered")
	extra    = durango.NewSignal[int]("extra")
	declined = durango.NewError[int]("declined")
)

// journey is the input of an execution: which step it plays, and what it
// should find when it goes on from another.
type journey struct {
	Step, Segment int
	// Want is the version that is asked for, of which Exact says that it is the
	// one it had.
	Want string
	Got  int  // numbered signals
	Held *int // the value, if it is set
	Text string
}

// addition is the request of an update.
type addition struct{ N, Hour int }

// actor plays one execution of a drawn program. What it finds wrong fails the
// test by itself, with a crash or without.
type actor struct {
	*theater
	version  string
	deployed bool // it is the code after the deployment
	in       journey
	asked    map[int]bool // patches, and what the answer was
}

// versions of play, and what a range of them chose before and after the
// deployment, which adds the last.
var (
	playVersions = []string{"1.0.0", "1.1.0", "2.0.0", "3.0.0"}
	playRanges   = map[string][2]string{
		"": {"2.0.0", "3.0.0"}, "^1.0": {"1.1.0", "1.1.0"}, ">=1.1": {"2.0.0", "3.0.0"}, "<2 || =3.0.0": {"1.1.0", "3.0.0"},
		"1.0.0": {"1.0.0", "1.0.0"}, "1.1.0": {"1.1.0", "1.1.0"}, "2.0.0": {"2.0.0", "2.0.0"}, "3.0.0": {"3.0.0", "3.0.0"},
	}
	asksFor = []string{"", "", "^1.0", ">=1.1", "1.0.0"}
)

func (x *actor) wrong(s *step, format string, args ...any) {
	x.t.Helper()
	x.t.Errorf("step %d %s: %s", s.id, s.verb, fmt.Sprintf(format, args...))
}

func (x *actor) play(ctx *durango.Context, in journey) (string, error) {
	x.in = in
	if in.Step < 0 {
		return x.extras(ctx)
	}
	s := x.steps[in.Step]
	since := 0
	if x.deploy > 0 && ctx.Now().After(at(x.deploy)) {
		since = 1
	}
	if v := ctx.Info().Version; v != playRanges[in.Want][since] || v != x.version {
		x.wrong(s, "version %s runs as %s, and %q was asked for", v, x.version, in.Want)
	}
	if v, ok := held.Get(ctx); ok != (in.Held != nil) || ok && v != *in.Held {
		x.wrong(s, "the value is %d %v, want %v", v, ok, in.Held)
	}
	if err := mark.Set(ctx, s.id); err != nil {
		x.wrong(s, "mark: %v", err)
	}
	switch s.verb {
	case vTalk:
		return x.talker(ctx, s)
	case aChild:
		if err := ctx.Sleep(x.until(ctx, s.hour)); err != nil {
			return "", err
		}
		return "begotten", nil
	case vRoot:
		add.Handle(ctx, x.add, func(a addition) error {
			if a.N < 100 {
				return declined.New(a.N)
			}
			return nil
		})
	}
	if in.Segment > 0 {
		// What was carried from the execution before comes one by one, behind the
		// start; it is there after the first wait.
		_ = ctx.Sleep(time.Second)
	}
	x.in.Text += fmt.Sprintf(" <%s>", x.version) + x.block(ctx, s.inner[in.Segment])
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("%s: %w", x.in.Text, err)
	}
	if x.in.Segment++; x.in.Segment < len(s.inner) {
		var o durango.CallOptions
		switch (s.n + x.in.Segment) % 4 {
		case 0:
			o.Version, x.in.Want = durango.SameVersion, x.version
		case 1:
			o.Version, x.in.Want = "^1.0", "^1.0"
		default:
			x.in.Want = ""
		}
		return play.With(o).ContinueAsNew(ctx, x.in)
	}
	if s.n%7 == 0 {
		return "", declined.New(s.id, x.in.Text)
	}
	return x.in.Text, nil
}

// extras is the instance that is started with a signal.
func (x *actor) extras(ctx *durango.Context) (string, error) {
	a, err := extra.Next(ctx).Await(ctx)
	if err != nil {
		return "", err
	}
	b, err := extra.Next(ctx).Await(ctx)
	return fmt.Sprint(a, b), err
}

func (x *actor) add(ctx *durango.Context, a addition) (int, error) {
	if a.Hour > 0 {
		if err := ctx.Sleep(x.until(ctx, a.Hour)); err != nil {
			return 0, err
		}
	}
	if _, err := work.Call(ctx, task{ID: 10000 + a.N}); err != nil {
		return 0, err
	}
	sum, _ := sumValue.Get(ctx)
	return 3 * a.N, sumValue.Set(ctx, sum+a.N)
}

func (x *actor) until(ctx *durango.Context, hour int) time.Duration {
	return x.next(ctx.Now(), hour).Sub(ctx.Now())
}

// block plays a list of steps, and says how it went. It returns when all that
// it has begun is over, but for waits.
func (x *actor) block(ctx *durango.Context, list []*step) string {
	var b strings.Builder
	var begun []*durango.Future[string]
	for _, s := range list {
		if s.verb == vGo {
			begun = append(begun, durango.Go(ctx, func(ctx *durango.Context) (string, error) {
				return x.block(ctx, s.inner[0]), nil
			}))
			continue
		}
		fmt.Fprintf(&b, " %d:%s", s.id, x.step(ctx, s))
	}
	for _, f := range begun {
		text, err := f.Await(ctx.Detach())
		fmt.Fprintf(&b, " [%s%s]", text, says(err))
	}
	return b.String()
}

// says is what of an error is the same in every run.
func says(err error) string {
	detail, _ := declined.From(err)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, durango.ErrNotCompensated):
		return "not-compensated"
	case errors.Is(err, durango.ErrTimeout):
		return "timeout"
	case errors.Is(err, durango.ErrCanceled):
		return "canceled"
	case errors.Is(err, declined):
		return fmt.Sprint("declined-", detail)
	case errors.Is(err, durango.ErrNotRunning):
		return "not-running"
	case errors.Is(err, durango.ErrTerminated):
		return "terminated"
	}
	return err.Error()
}

// number checks a result, unless ctx has ended.
func (x *actor) number(ctx *durango.Context, s *step, got int, err error, want int) string {
	if err != nil && ctx.Err() != nil {
		return says(err)
	}
	if got != want || err != nil {
		x.wrong(s, "got %d, error %v; want %d", got, err, want)
	}
	return fmt.Sprint(got)
}

// failure checks an error.
func (x *actor) failure(ctx *durango.Context, s *step, err error, want error) string {
	if ctx.Err() == nil && !errors.Is(err, want) {
		x.wrong(s, "error %v, want %v", err, want)
	}
	if v, ok := declined.From(err); ok && v != s.id {
		x.wrong(s, "detail of %v is %d", err, v)
	}
	return says(err)
}

func (x *actor) step(ctx *durango.Context, s *step) string {
	switch s.verb {
	case vCall, vRetried, vDeclined, vBeat, vPark:
		return x.activity(ctx, s)
	case vSleep:
		err := ctx.Sleep(x.until(ctx, s.hour))
		for id, was := range x.asked {
			if x.deployed && ctx.Patched(fmt.Sprint("p", id)) != was {
				x.wrong(s, "the answer to patch %d has changed", id)
			}
		}
		return says(err)
	case vRecord:
		r := durango.Record(ctx, func() int { return rand.IntN(1 << 30) })
		v, err := work.Call(ctx, task{ID: r, Quiet: true})
		if err == nil && v != 2*r {
			x.wrong(s, "recorded %d, and gave %d to an activity", r, v/2)
		}
		return says(err)
	case vStatus:
		return says(ctx.SetStatus(s.id))
	case vPatch:
		return x.patch(ctx, s)
	case vRefused:
		return x.refused(ctx, s)
	case vSignal, vNext, vTry:
		return x.signal(ctx, s)
	case vTalk:
		return x.talk(ctx, s)
	case vMutex, vSema:
		return x.exclusive(ctx, s)
	case vChan:
		return x.channel(ctx, s)
	case vUntil:
		return x.meet(ctx, s)
	case vAbandon:
		durango.Go(ctx, func(ctx *durango.Context) (int, error) { return 0, ctx.Sleep(x.until(ctx, s.hour)) })
		ctx.After(x.until(ctx, s.hour))
		return ""
	case vValue:
		return x.value(ctx, s)
	case vSelect, vRace:
		return x.choose(ctx, s)
	case vSettle, vAll, vCompleted:
		return x.gather(ctx, s)
	}
	return x.nest(ctx, s)
}

func (x *actor) activity(ctx *durango.Context, s *step) string {
	patient := &durango.RetryPolicy{MaxAttempts: 12, Backoff: durango.Backoff(s.n % 3), Max: 3 * time.Second}
	switch s.verb {
	case vRetried:
		v, err := work.With(durango.CallOptions{Retry: patient}).Call(ctx, task{ID: s.id, Fails: 1 + s.n%3, Soon: s.n%2 == 0})
		return x.number(ctx, s, v, err, 2*s.id)
	case vDeclined:
		_, err := work.With(durango.CallOptions{Retry: patient}).Call(ctx, task{ID: s.id, Fails: s.n % 3, Final: true})
		return x.failure(ctx, s, err, declined)
	case vBeat:
		o := durango.CallOptions{Retry: patient, Heartbeat: time.Minute}
		v, err := beat.With(o).Call(ctx, task{ID: s.id, Fails: 1 + s.n%3})
		return x.number(ctx, s, v, err, 2*s.id)
	case vPark:
		t := task{ID: s.id, At: x.next(ctx.Now(), s.hour)}
		switch s.n % 4 {
		case 0:
			v, err := park.Call(ctx, t)
			return x.number(ctx, s, v, err, 3*s.id)
		case 1:
			t.Final = true
			_, err := park.Call(ctx, t)
			return x.failure(ctx, s, err, declined)
		case 2:
			t.Fails = 1
			v, err := park.With(durango.CallOptions{Retry: patient}).Call(ctx, t)
			return x.number(ctx, s, v, err, 3*s.id)
		}
		t.Quiet = true
		_, err := park.With(durango.CallOptions{StartToClose: x.until(ctx, s.hour)}).Call(ctx, t)
		return x.failure(ctx, s, err, durango.ErrTimeout)
	}
	h := work.With(durango.CallOptions{})
	switch s.n % 4 {
	case 0:
		h = pooled
	case 1:
		h = work.With(durango.CallOptions{Session: fmt.Sprint("session ", s.n%2)})
	}
	v, err := h.Call(ctx, task{ID: s.id})
	return x.number(ctx, s, v, err, 2*s.id)
}

// patch takes the new branch if the execution is here after the deployment.
func (x *actor) patch(ctx *durango.Context, s *step) string {
	want := x.deploy > 0 && ctx.Now().After(at(x.deploy))
	newer := x.deployed && ctx.Patched(fmt.Sprint("p", s.id))
	if newer != want {
		x.wrong(s, "newer is %v, want %v", newer, want)
	}
	x.asked[s.id] = newer
	if newer {
		v, err := pooled.Call(ctx, task{ID: s.id})
		return "newer " + x.number(ctx, s, v, err, 2*s.id)
	}
	v, err := work.Call(ctx, task{ID: s.id})
	return "older " + x.number(ctx, s, v, err, 2*s.id)
}

func (x *actor) refused(ctx *durango.Context, s *step) string {
	switch s.n % 4 {
	case 0:
		f, err := numbered.SendFrom(ctx, "nobody", 1)
		if err == nil {
			_, err = f.Await(ctx)
		}
		return x.failure(ctx, s, err, durango.ErrNotFound)
	case 1:
		f, err := play.StartFrom(ctx, "root", journey{})
		if err == nil {
			_, err = f.Await(ctx)
		}
		return x.failure(ctx, s, err, durango.ErrAlreadyExists)
	case 2:
		_, err := play.With(durango.CallOptions{ID: "root"}).Call(ctx, journey{})
		return x.failure(ctx, s, err, durango.ErrAlreadyExists)
	}
	_, err := mark.ReadFrom(ctx, "nobody").Await(ctx)
	return x.failure(ctx, s, err, durango.ErrNotFound)
}

func (x *actor) value(ctx *durango.Context, s *step) string {
	v, ok := held.Get(ctx)
	if ok != (x.in.Held != nil) || ok && v != *x.in.Held {
		x.wrong(s, "it is %d %v, want %v", v, ok, x.in.Held)
	}
	if s.n%4 == 0 {
		held.Clear(ctx)
		x.in.Held = nil
		return "cleared"
	}
	x.in.Held = &s.id
	return says(held.Set(ctx, s.id))
}
