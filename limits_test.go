package durango_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// sizedText is a text that takes n bytes as JSON.
func sizedText(n int) string { return strings.Repeat("x", n-2) }

// tooLarge checks that err is a *SizeError with these fields.
func tooLarge(t *testing.T, err error, want durango.SizeError) {
	t.Helper()
	var e *durango.SizeError
	assert.ErrorIs(t, err, durango.ErrTooLarge)
	assert.True(t, errors.As(err, &e), "%T is no *SizeError: %v", err, err)
	assert.Equal(t, *e, want)
	assert.Contains(t, e.Error(), string(want.What), fmt.Sprint(want.Size), fmt.Sprint(want.Limit))
	if want.Field != "" {
		assert.Contains(t, e.Error(), "Limits."+want.Field, "WithLimits")
	}
}

// What the code of an instance hands over, in the tests of limits.
var (
	limEcho   = durango.NewActivity[string, int]("lim-echo")
	limMake   = durango.NewActivity[int, string]("lim-make")
	limBeat   = durango.NewActivity[int, int]("lim-beat")
	limChild  = durango.NewOrchestration[string, int]("lim-child")
	limSignal = durango.NewSignal[string]("lim-signal")
	limUpdate = durango.NewUpdate[string, string]("lim-update")
	limValue  = durango.NewValue[string]("lim-value")
	limProbe  = durango.NewOrchestration[probe, string]("lim-probe")
	limGo     = durango.NewSignal[int]("lim-go")
)

// probe says what an instance does, with a value of which size.
type probe struct {
	Do   string
	Size int
	Next string
}

// limRun hands a value over and says what came of it, as far as it is the
// call's error. After that it waits, so that it can be replayed.
func limRun(ctx *durango.Context, p probe) (string, error) {
	text, err := sizedText(max(p.Size, 2)), error(nil)
	switch p.Do {
	case "activity":
		_, err = limEcho.Call(ctx, text)
	case "output":
		_, err = limMake.Call(ctx, p.Size)
	case "heartbeat":
		_, err = limBeat.Call(ctx, p.Size)
	case "child":
		_, err = limChild.Call(ctx, text)
	case "start":
		_, err = limChild.StartFrom(ctx, ctx.InstanceID()+"/started", text)
	case "signal":
		_, err = limSignal.SendFrom(ctx, ctx.InstanceID(), text)
	case "status":
		err = ctx.SetStatus(text)
	case "value":
		err = limValue.Set(ctx, text)
	case "continue":
		if len(p.Next) == 0 {
			next := probe{Do: p.Do, Next: "x"}
			b, _ := json.Marshal(next)
			next.Next = strings.Repeat("x", p.Size-len(b)+1)
			var out string
			if out, err = limProbe.ContinueAsNew(ctx, next); err == nil {
				return out, nil
			} else if durango.ContinuesAsNew(err) {
				return out, err
			}
		}
	}
	if _, failed := limGo.Next(ctx).Await(ctx); failed != nil {
		return "", failed
	}
	return "went on", err
}

func limCode() []durango.Registrable {
	return []durango.Registrable{
		limEcho.Bind(func(_ context.Context, s string) (int, error) { return len(s), nil }),
		limMake.Bind(func(_ context.Context, n int) (string, error) { return sizedText(n), nil }),
		limBeat.Bind(func(ctx context.Context, n int) (int, error) { return n, durango.Heartbeat(ctx, sizedText(n)) }),
		limChild.Bind(func(_ *durango.Context, s string) (int, error) { return len(s), nil }),
		limProbe.Bind(limRun),
	}
}

// limits of the tests: each another, and small.
var limSmall = durango.Limits{
	ActivityInput: 1000, ActivityOutput: 1100, OrchestrationInput: 1200, OrchestrationOutput: 1300, Signal: 1400, Event: 5000,
}

var limCases = []struct {
	do   string
	want durango.SizeError
}{
	{"activity", durango.SizeError{What: durango.SizeActivityInput, Name: "lim-echo", Limit: 1000, Field: "ActivityInput"}},
	{"output", durango.SizeError{What: durango.SizeActivityOutput, Name: "lim-make", Limit: 1100, Field: "ActivityOutput"}},
	{"heartbeat", durango.SizeError{What: durango.SizeHeartbeat, Name: "lim-beat", Limit: 1100, Field: "ActivityOutput"}},
	{"child", durango.SizeError{What: durango.SizeOrchestrationInput, Name: "lim-child", Limit: 1200, Field: "OrchestrationInput"}},
	{"start", durango.SizeError{What: durango.SizeOrchestrationInput, Name: "lim-child", Limit: 1200, Field: "OrchestrationInput"}},
	{"continue", durango.SizeError{What: durango.SizeOrchestrationInput, Name: "lim-probe", Limit: 1200, Field: "OrchestrationInput"}},
	{"signal", durango.SizeError{What: durango.SizeSignal, Name: "lim-signal", Limit: 1400, Field: "Signal"}},
	{"status", durango.SizeError{What: durango.SizeStatus, Name: "lim-probe", Limit: 1300, Field: "OrchestrationOutput"}},
	{"value", durango.SizeError{What: durango.SizeValue, Name: "lim-value", Limit: 1300, Field: "OrchestrationOutput"}},
}

// DESIGN 8.8: "Checked where the value is handed over, after encoding, with a
// typed error that names the limit."
func TestLimitsInOrchestrations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		client, _ := brief(t, memory.Open(), durango.Options{Limits: limSmall}, limCode()...)
		for _, tt := range limCases {
			for _, size := range []int{tt.want.Limit, tt.want.Limit + 1} {
				id := fmt.Sprint(tt.do, size)
				run, err := limProbe.Start(ctx, client, id, probe{Do: tt.do, Size: size})
				assert.NoError(t, err)
				assert.NoError(t, limGo.Send(ctx, client, id, 1))
				out, err := run.Wait(ctx)
				if size == tt.want.Limit {
					assert.NoError(t, err, id)
					assert.Equal(t, out, "went on", id)
					continue
				}
				want := tt.want
				want.Size = size
				tooLarge(t, err, want)
			}
		}
	})
}

// DESIGN 8.8: "A rejection seen by orchestration code is recorded, and limits are
// evaluated at first emission only, so changing one never changes a replay."
// Instances that wait are taken over by a node with other limits.
func TestLimitsThatChangeChangeNoReplay(t *testing.T) {
	few := durango.Limits{ActivityInput: 1, ActivityOutput: 1, OrchestrationInput: 1, OrchestrationOutput: 1, Signal: 1, Event: 1}
	out := few
	out.OrchestrationOutput, out.Event = 100, 100 // the result of the instance
	for name, change := range map[string]struct{ before, after durango.Limits }{
		"up": {limSmall, durango.Limits{}}, "down": {limSmall, out},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				store := memory.Open()
				client, stop := brief(t, store, durango.Options{Limits: change.before}, limCode()...)
				type pending struct {
					run  *durango.Run[string]
					want durango.SizeError
				}
				var all []pending
				for _, tt := range limCases {
					for _, size := range []int{tt.want.Limit, tt.want.Limit + 1} {
						run, err := limProbe.Start(ctx, client, fmt.Sprint(tt.do, size), probe{Do: tt.do, Size: size})
						assert.NoError(t, err)
						want := tt.want
						want.Size = size
						all = append(all, pending{run, want})
					}
				}
				time.Sleep(time.Minute)
				stop()

				rt, err := durango.New(store, durango.Options{Limits: change.after})
				assert.NoError(t, err)
				rt.Register(limCode()...)
				for _, p := range all {
					warnings, err := rt.Replay(ctx, recorded(t, store, p.run.ID()))
					assert.NoError(t, err, p.run.ID())
					assert.Equal(t, len(warnings), 0, warnings)
				}
				brief(t, store, durango.Options{Limits: change.after}, limCode()...)
				for _, p := range all {
					assert.NoError(t, limGo.Send(ctx, durango.NewClient(store), p.run.ID(), 1))
					got, err := p.run.Wait(ctx)
					if p.want.Size == p.want.Limit {
						assert.NoError(t, err, p.run.ID())
						assert.Equal(t, got, "went on")
						continue
					}
					tooLarge(t, err, p.want)
				}
			})
		})
	}
}

// A canceled context refuses for that, whatever the size.
func TestCanceledGoesBeforeTooLarge(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (bool, error) {
		inner, cancel := ctx.WithCancel()
		cancel()
		_, err := limEcho.Call(inner, sizedText(400<<10))
		return errors.Is(err, durango.ErrCanceled), nil
	})
	h := newHarness(t, append(limCode(), o)...)
	want(h.start("o", nil), true)
}

// DESIGN 8.8, for clients: what they hand over is measured before anything
// happens.
func TestLimitsOfClients(t *testing.T) {
	ctx := deadline(t)
	tokens := make(chan string, 1)
	later := durango.DefineActivity("later", func(ctx context.Context, _ durango.None) (string, error) {
		token, err := durango.CompleteLater(ctx)
		tokens <- token
		return "", err
	})
	parked := caller(later.Activity)
	answers := durango.DefineOrchestration("answers", func(ctx *durango.Context, _ durango.None) (int, error) {
		limUpdate.Handle(ctx, func(_ *durango.Context, s string) (string, error) {
			if n := 0; json.Unmarshal([]byte(s), &n) == nil {
				return sizedText(n), nil
			}
			return s, nil
		})
		n, err := limGo.Next(ctx).Await(ctx)
		return n, err
	})
	store := memory.Open()
	client, _ := brief(t, store, durango.Options{Limits: limSmall}, append(limCode(), later, parked, answers)...)
	own := durango.NewClientWith(store, durango.ClientOptions{Limits: limSmall})
	_, err := answers.Start(ctx, client, "a", durango.None{})
	assert.NoError(t, err)
	_, err = parked.Start(ctx, client, "p", durango.None{})
	assert.NoError(t, err)
	token := <-tokens

	for who, c := range map[string]*durango.Client{"runtime": client, "own": own} {
		for _, tt := range []struct {
			name string
			call func(c *durango.Client, size int) error
			want durango.SizeError
		}{
			{"start", func(c *durango.Client, size int) error {
				_, err := limChild.Start(ctx, c, fmt.Sprint(who, size), sizedText(size))
				return err
			}, durango.SizeError{What: durango.SizeOrchestrationInput, Name: "lim-child", Limit: 1200, Field: "OrchestrationInput"}},
			{"send", func(c *durango.Client, size int) error { return limSignal.Send(ctx, c, "a", sizedText(size)) },
				durango.SizeError{What: durango.SizeSignal, Name: "lim-signal", Limit: 1400, Field: "Signal"}},
			{"send with start", func(c *durango.Client, size int) error {
				_, err := durango.SendWithStart(ctx, c, "a", answers, durango.None{}, limSignal, sizedText(size))
				return err
			}, durango.SizeError{What: durango.SizeSignal, Name: "lim-signal", Limit: 1400, Field: "Signal"}},
			{"send with a start", func(c *durango.Client, size int) error {
				_, err := durango.SendWithStart(ctx, c, fmt.Sprint("new", who, size), limChild, sizedText(size), limSignal, "")
				if errors.Is(err, durango.ErrNotRunning) {
					return nil // it was started, and has ended
				}
				return err
			}, durango.SizeError{What: durango.SizeOrchestrationInput, Name: "lim-child", Limit: 1200, Field: "OrchestrationInput"}},
			{"request", func(c *durango.Client, size int) error {
				_, err := limUpdate.Call(ctx, c, "a", sizedText(size))
				return err
			}, durango.SizeError{What: durango.SizeRequest, Name: "lim-update", Limit: 1400, Field: "Signal"}},
			{"answer", func(c *durango.Client, size int) error {
				_, err := limUpdate.Call(ctx, c, "a", fmt.Sprint(size))
				return err
			}, durango.SizeError{What: durango.SizeAnswer, Name: "lim-update", Limit: 1400, Field: "Signal"}},
		} {
			assert.NoError(t, tt.call(c, tt.want.Limit), "%s of %s", tt.name, who)
			want := tt.want
			want.Size = want.Limit + 1
			tooLarge(t, tt.call(c, want.Size), want)
		}
		err := c.Complete(ctx, token, sizedText(1101))
		tooLarge(t, err, durango.SizeError{What: durango.SizeActivityOutput, Size: 1101, Limit: 1100, Field: "ActivityOutput"})
		err = later.Complete(ctx, c, token, sizedText(1101))
		tooLarge(t, err, durango.SizeError{What: durango.SizeActivityOutput, Name: "later", Size: 1101, Limit: 1100, Field: "ActivityOutput"})
		// Nothing has come of what was refused.
		_, err = limChild.Run(c, fmt.Sprint(who, 1201)).Status(ctx)
		assert.ErrorIs(t, err, durango.ErrNotFound)
	}
	// A client without limits of its own has the default ones.
	_, err = limChild.Start(ctx, durango.NewClient(store), "default", sizedText(2000))
	assert.NoError(t, err)
	assert.NoError(t, own.Complete(ctx, token, sizedText(1100)))
	assert.Equal(t, len(must(parked.Run(own, "p").Wait(ctx))), 1098)
	defer func() { assert.Contains(t, fmt.Sprint(recover()), "Limits.Signal", "it is negative") }()
	durango.NewClientWith(store, durango.ClientOptions{Limits: durango.Limits{Signal: -1}})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// DESIGN 8.8: "per runtime and per handle (the handle's wins)", downwards and
// upwards, also beyond what the runtime says of any event.
func TestLimitsOfHandles(t *testing.T) {
	ctx := deadline(t)
	text := func(n int) string { return sizedText(n) }
	less, more := durango.Limits{ActivityInput: 10}, durango.Limits{ActivityInput: 3 << 20}
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, p probe) (string, error) {
		act := limEcho
		switch p.Do {
		case "less":
			act = act.WithLimits(less)
		case "more":
			act = act.WithLimits(less).With(durango.CallOptions{StartToClose: time.Hour}).WithLimits(more)
		case "event":
			act = act.WithLimits(durango.Limits{Event: 20})
		}
		_, err := act.Call(ctx, text(p.Size))
		return text(p.Size), err
	}).WithLimits(durango.Limits{OrchestrationOutput: 3 << 20})
	client, _ := brief(t, memory.Open(), durango.Options{Limits: durango.Limits{Event: 500 << 10}}, append(limCode(), o)...)
	for i, tt := range []struct {
		p    probe
		want *durango.SizeError
	}{
		{probe{Do: "less", Size: 10}, nil},
		{probe{Do: "less", Size: 11}, &durango.SizeError{Limit: 10, Field: "ActivityInput"}},
		{probe{Do: "more", Size: 2 << 20}, nil},
		{probe{Do: "more", Size: 3<<20 + 1}, &durango.SizeError{Limit: 3 << 20, Field: "ActivityInput"}},
		{probe{Do: "event", Size: 20}, nil},
		{probe{Do: "event", Size: 21}, &durango.SizeError{Limit: 20, Field: "Event"}},
		{probe{Do: "plain", Size: 256 << 10}, nil},
		{probe{Do: "plain", Size: 256<<10 + 1}, &durango.SizeError{Limit: 256 << 10, Field: "ActivityInput"}},
	} {
		run, err := o.Start(ctx, client, fmt.Sprint(i), tt.p)
		assert.NoError(t, err)
		got, err := run.Wait(ctx)
		if tt.want == nil {
			assert.NoError(t, err)
			assert.Equal(t, len(got), tt.p.Size-2)
			continue
		}
		tt.want.What, tt.want.Name, tt.want.Size = durango.SizeActivityInput, "lim-echo", tt.p.Size
		tooLarge(t, err, *tt.want)
	}
	_, err := o.WithLimits(durango.Limits{OrchestrationInput: 10}).Start(ctx, client, "no", probe{Do: "plain", Size: 3})
	assert.ErrorIs(t, err, durango.ErrTooLarge)
	assert.ErrorIs(t, limSignal.WithLimits(durango.Limits{Signal: 3}).Send(ctx, client, "x", "xx"), durango.ErrTooLarge)
	assert.ErrorIs(t, limSignal.WithLimits(durango.Limits{Signal: 4}).Send(ctx, client, "x", "xx"), durango.ErrNotFound)
	_, err = limUpdate.WithLimits(durango.Limits{Signal: 3}).Call(ctx, client, "x", "xx")
	assert.ErrorIs(t, err, durango.ErrTooLarge)

	// What means nothing, or nothing sensible, is said by the call and by Register.
	for _, l := range []durango.Limits{{Signal: 1}, {OrchestrationInput: 1}, {ActivityInput: -1}, {Event: -1}} {
		bad := limEcho.Bind(func(context.Context, string) (int, error) { return 0, nil }).WithLimits(l).With(durango.CallOptions{})
		_, _, problems := durango.Definitions(nil, bad.Bind(func(context.Context, string) (int, error) { return 0, nil }))
		assert.ErrorIs(t, errors.Join(problems...), durango.ErrInvalid, l)
	}
	assert.ErrorIs(t, limSignal.WithLimits(durango.Limits{ActivityInput: 1}).Send(ctx, client, "x", ""), durango.ErrInvalid)
	_, err = durango.New(memory.Open(), durango.Options{Limits: durango.Limits{Event: -1, Signal: -1}, WarnHistory: -1})
	assert.Contains(t, fmt.Sprint(err), "Limits.Event: it is negative", "Limits.Signal: it is negative")
}

// The defaults are those of DESIGN 8.8.
func TestLimitsByDefault(t *testing.T) {
	ctx := deadline(t)
	store := memory.Open()
	client, _ := brief(t, store, durango.Options{}, limCode()...)
	for _, c := range []*durango.Client{client, durango.NewClient(store)} {
		_, err := limChild.Start(ctx, c, "x", sizedText(256<<10+1))
		tooLarge(t, err, durango.SizeError{What: durango.SizeOrchestrationInput, Name: "lim-child", Size: 256<<10 + 1, Limit: 256 << 10, Field: "OrchestrationInput"})
		err = limSignal.Send(ctx, c, "x", sizedText(64<<10+1))
		tooLarge(t, err, durango.SizeError{What: durango.SizeSignal, Name: "lim-signal", Size: 64<<10 + 1, Limit: 64 << 10, Field: "Signal"})
		assert.ErrorIs(t, limSignal.Send(ctx, c, "x", sizedText(64<<10)), durango.ErrNotFound)
	}
	for do, limit := range map[string]int{"activity": 256 << 10, "output": 256 << 10, "status": 256 << 10, "value": 256 << 10, "signal": 64 << 10} {
		for _, size := range []int{limit, limit + 1} {
			run, err := limProbe.Start(ctx, client, fmt.Sprint(do, size), probe{Do: do, Size: size})
			assert.NoError(t, err)
			assert.NoError(t, limGo.Send(ctx, client, run.ID(), 1))
			_, err = run.Wait(ctx)
			assert.Equal(t, errors.Is(err, durango.ErrTooLarge), size > limit, "%s of %d: %v", do, size, err)
		}
	}
}

// DESIGN 8.8: "An orchestration's own output over the limit is a turn failure
// (the limit can be raised)." So is a recorded value, which no call hands over.
func TestOutputOverTheLimitWaits(t *testing.T) {
	for _, do := range []string{"output", "record"} {
		t.Run(do, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, store, turns := context.Background(), memory.Open(), 0
				o := durango.DefineOrchestration("o", func(ctx *durango.Context, do string) (string, error) {
					turns++
					if do == "record" {
						return fmt.Sprint(len(durango.Record(ctx, func() string { return sizedText(2000) }))), nil
					}
					return sizedText(2000), nil
				})
				client, stop := brief(t, store, durango.Options{Limits: durango.Limits{OrchestrationOutput: 1999}}, o)
				run, err := o.Start(ctx, client, "i", do)
				assert.NoError(t, err)
				row := reaches(t, store, "i", provider.Quarantined)
				f := provider.ParseTurnFailure(row.TurnFailure)
				assert.Equal(t, f.Kind, "limit")
				assert.Contains(t, f.Message, "2000 bytes", "the limit is 1999", "raise Limits.OrchestrationOutput")
				assert.False(t, strings.Contains(f.Message, "panic"), f.Message)
				time.Sleep(24 * time.Hour)
				assert.True(t, turns == 5 || turns == 6, "%d turns", turns) // one before it exists
				stop()

				client, _ = brief(t, store, durango.Options{Limits: durango.Limits{OrchestrationOutput: 2000}}, o)
				assert.NoError(t, client.Release(ctx, "i"))
				got, err := run.Wait(ctx)
				assert.NoError(t, err)
				assert.True(t, len(got) == 1998 || got == "1998", len(got))
			})
		})
	}
}

// An output that is too large fails an activity once: it would be as large again.
func TestActivityOutputOverTheLimitIsFinal(t *testing.T) {
	attempts := 0
	big := durango.DefineActivity("big", func(context.Context, durango.None) (string, error) {
		attempts++
		return sizedText(300 << 10), nil
	})
	for name, act := range map[string]durango.Activity[durango.None, string]{
		"local": big.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: durango.Unlimited}}),
		"held":  big.With(durango.CallOptions{Heartbeat: time.Hour, Retry: &durango.RetryPolicy{MaxAttempts: durango.Unlimited}}),
	} {
		synctest.Test(t, func(t *testing.T) {
			attempts = 0
			o := caller(act)
			client, _ := brief(t, memory.Open(), durango.Options{}, o, big)
			run, err := o.Start(context.Background(), client, "i", durango.None{})
			assert.NoError(t, err)
			_, err = run.Wait(context.Background())
			tooLarge(t, err, durango.SizeError{What: durango.SizeActivityOutput, Name: "big", Size: 300 << 10, Limit: 256 << 10, Field: "ActivityOutput"})
			assert.Equal(t, attempts, 1, name)
		})
	}
}

// Bounds of what is used to find things, and of text that people give.
func TestBoundsOfNames(t *testing.T) {
	ctx := deadline(t)
	client, _ := brief(t, memory.Open(), durango.Options{}, limCode()...)
	run := limChild.Run(client, "i")
	long := func(n int) string { return strings.Repeat("n", n) }
	for name, err := range map[string]error{
		"reason of a cancel":    run.Cancel(ctx, long(durango.MaxReasonLength+1)),
		"reason of terminate":   run.Terminate(ctx, long(durango.MaxReasonLength+1)),
		"reason is not UTF-8":   run.Cancel(ctx, "\xff"),
		"ID of a signal":        limSignal.With(durango.SendOptions{ID: long(durango.MaxIDLength + 1)}).Send(ctx, client, "i", ""),
		"instance of a signal":  limSignal.Send(ctx, client, long(durango.MaxIDLength+1), ""),
		"name of a signal":      durango.NewSignal[int](long(durango.MaxNameLength+1)).Send(ctx, client, "i", 1),
		"ID of an instance":     second(limChild.Start(ctx, client, long(durango.MaxIDLength+1), "")),
		"version":               second(limChild.With(durango.CallOptions{Version: "1.0.0-" + long(255)}).Start(ctx, client, "i", "")),
		"name of a value":       third(durango.NewValue[int](long(256)).Read(ctx, client, "i")),
		"names not retryable":   problem(limEcho.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 1, NonRetryable: make([]string, 65)}})),
		"a name not retryable":  problem(limEcho.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 1, NonRetryable: []string{long(256)}}})),
		"session":               problem(limEcho.With(durango.CallOptions{Session: long(256)})),
		"pool":                  problem(limEcho.With(durango.CallOptions{Pool: long(256)})),
		"name of an activity":   problem(durango.NewActivity[string, int](long(256))),
		"name of an error kind": durango.NewError[int](long(256)).New(1),
	} {
		var e *durango.InvalidError
		assert.True(t, errors.Is(err, durango.ErrInvalid) && errors.As(err, &e), "%s: %v", name, err)
		if !strings.Contains(name, "UTF-8") && name != "names not retryable" {
			assert.Contains(t, e.Error(), "the limit is")
			assert.True(t, len(e.Value) <= 64, name)
		}
	}
	assert.ErrorIs(t, run.Cancel(ctx, long(durango.MaxReasonLength)), durango.ErrNotFound)

	heading := durango.NewClientWith(client.Store(), durango.ClientOptions{Interceptors: []durango.Interceptor{{
		Client: func(ctx context.Context, call *durango.ClientCall, next func(context.Context) error) error {
			call.SetHeader("h", long(len(call.Instance)*1000))
			return next(ctx)
		},
	}}})
	_, err := limChild.Start(ctx, heading, "12345678", "")
	assert.NoError(t, err)
	_, err = limChild.Start(ctx, heading, "123456789", "")
	tooLarge(t, err, durango.SizeError{What: durango.SizeHeader, Name: "lim-child", Size: 9001, Limit: durango.MaxHeaderLength})
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// problem is what Register says of an activity.
func problem(a durango.Activity[string, int]) error {
	_, _, problems := durango.Definitions(nil, a.Bind(func(context.Context, string) (int, error) { return 0, nil }))
	return errors.Join(problems...)
}
