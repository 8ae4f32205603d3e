package durangotest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// A test kit that never fails a test is no good. What must fail runs in a
// process of its own, whose output is looked at.
const failing = "DURANGOTEST_FAILING"

var (
	step = durango.DefineActivity("step", func(_ context.Context, n int) (int, error) { return n + 1, nil })
	prog = durango.NewOrchestration[int, int]("program")
)

// flip is what makes code differ between its first run and every replay.
var flip int

var failures = []struct {
	name string
	run  func(t *testing.T)
	want []string
}{
	{
		name: "CheckReplay_other_commands",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
				e.CheckReplay()
			}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
				if flip++; flip > 1 {
					return n, nil
				}
				return step.Call(ctx, n)
			}))
		},
		want: []string{`check replay of instance "it"`, `recorded ActivityScheduled "step"; emitted Completed`},
	},
	{
		name: "CheckReplay_other_payloads",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
				e.CheckReplay("it")
			}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
				flip++
				return step.Call(ctx, flip)
			}))
		},
		want: []string{`check replay of instance "it": the orchestration is not deterministic: turn 1`, `-> ActivityScheduled #1 "step"`},
	},
	{
		name: "CheckReplay_last_turn",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
				flip = 1
				e.CheckReplay()
			}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
				for range 3 {
					n, _ = step.Call(ctx, n)
				}
				if flip == 1 {
					return 0, errors.New("flipped")
				}
				return n, nil
			}))
		},
		want: []string{"replay turn 4", "recorded Completed; emitted Failed"},
	},
	{
		name: "turn_failure",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
			}, prog.Bind(func(*durango.Context, int) (int, error) { panic("a bug") }))
		},
		want: []string{`a turn of instance "it" failed: panic: a bug`, "is Pending after 0 turns"},
	},
	{
		// Its coroutine never ends, so that the bubble cannot; the tests behind it run.
		name: "goroutine_that_is_waited_for",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
			}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
				answer := make(chan int)
				go func() {
					n, _ := step.Call(ctx, n)
					answer <- n
				}()
				return <-answer, nil
			}))
		},
		want: []string{
			`a turn of instance "it" failed: orchestration context used from a goroutine that is not its coroutine at`, "failing_test.go:",
			"--- FAIL: TestFailing/goroutine_that_is_waited_for",
		},
	},
	{
		name: "waits_for_ever",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
			}, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
				return durango.NewSignal[int]("never").Next(ctx).Await(ctx)
			}))
		},
		want: []string{
			`: wait for instance "it": context deadline exceeded`, "is Running after 1 turns", "<- Started",
			"it waits for a signal or an update, or for something that is not durango's",
		},
	},
	{
		name: "waits_for_what_nobody_has",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
			}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
				if _, err := step.Call(ctx, n); err != nil {
					return 0, err
				}
				far := durango.NewActivity[int, int]("far").Go(ctx, n)
				other := durango.NewOrchestration[int, int]("other").With(durango.CallOptions{ID: "child"}).Go(ctx, n)
				return n, ctx.Join(far, other, ctx.After(100*365*24*time.Hour))
			}))
		},
		want: []string{
			`it waits for activity "far" (#2), which is not registered`,
			`and instance "child" of "other" (#3), which is not registered`, "and a timer at 2099-",
		},
	},
	{
		name: "waits_for_code",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog.With(durango.CallOptions{Version: "2.0.0"}), "it", 1))
			}, prog.Bind(func(*durango.Context, int) (int, error) { return 0, nil }))
		},
		want: []string{`no definition of "program" is registered in version 2.0.0`},
	},
	{
		name: "unknown_instance",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) { e.Wait("nobody") }, step)
		},
		want: []string{`there is no instance "nobody"`},
	},
	{
		name: "failed_instance",
		run: func(t *testing.T) {
			durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
			}, prog.Bind(func(ctx *durango.Context, n int) (int, error) { return 0, errors.New("out of stock") }))
		},
		want: []string{"out of stock", "is Failed after 1 turns"},
	},
	{
		// An effect that counts each time, in an activity that runs at least once.
		name: "CrashEverywhere_effect_not_idempotent",
		run: func(t *testing.T) {
			durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
				e.Replace(step.Bind(func(ctx context.Context, n int) (int, error) {
					e.Effect(ctx, "of", n)
					return n + 1, nil
				}))
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
			}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
				n, err := step.Call(ctx, n)
				if err != nil {
					return 0, err
				}
				return step.Call(ctx, n)
			}))
		},
		want: []string{
			"+ effect step: of 1\n", "the node crashed just before write 2, the commit of turn of instance \"it\"",
			"<- ActivityCompleted of #1 result=2", "--- FAIL: TestFailing/CrashEverywhere_effect_not_idempotent/crash_before_write_2",
			"--- PASS: TestFailing/CrashEverywhere_effect_not_idempotent/crash_after_write_1",
		},
	},
	{
		// A lost attempt counts: with one attempt only, the outcome is another.
		name: "CrashEverywhere_outcome",
		run: func(t *testing.T) {
			once := step.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 1}})
			durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Start(e, prog, "it", 1)
				e.Wait("it")
			}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) { return once.Call(ctx, n) }))
		},
		want: []string{
			`- instance "it", program 1.0.0: Completed, output 2`, `+ instance "it", program 1.0.0: Failed, durango/worker-lost`,
		},
	},
	{
		// What a crash tears out of the memory of the process.
		name: "CrashEverywhere_state_in_memory",
		run: func(t *testing.T) {
			durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
				runs := 0
				e.Replace(prog.Bind(func(ctx *durango.Context, n int) (int, error) {
					runs++
					n, err := step.Call(ctx, n)
					return n + runs, err
				}))
				durangotest.Wait(e, durangotest.Start(e, prog, "it", 1))
			}, step)
		},
		want: []string{`- instance "it", program 1.0.0: Completed, output 3`, `+ instance "it", program 1.0.0: Completed, output 4`},
	},
	{
		// What others see of an instance while it runs, and after.
		name: "CrashEverywhere_values_and_answers",
		run: func(t *testing.T) {
			attempts := durango.NewValue[int]("attempts")
			ask := durango.NewUpdate[durango.None, int]("ask")
			attempt := durango.DefineActivity("attempt", func(ctx context.Context, _ durango.None) (int, error) {
				return durango.Info(ctx).Attempt, nil
			})
			durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
				durangotest.Start(e, prog, "it", 1)
				if _, err := ask.Call(e.Context(), e.Client(), "it", durango.None{}); err != nil {
					t.Error(err)
				}
				e.Wait("it")
			}, attempt, prog.Bind(func(ctx *durango.Context, n int) (int, error) {
				var tries int
				ask.Handle(ctx, func(ctx *durango.Context, _ durango.None) (out int, err error) {
					tries, err = attempt.Call(ctx, durango.None{})
					return tries, err
				}, func(durango.None) error { return nil })
				if err := ctx.Sleep(time.Hour); err != nil {
					return 0, err
				}
				return n, attempts.Set(ctx, tries)
			}))
		},
		want: []string{
			`- instance "it", value "attempts": 1`, `+ instance "it", value "attempts": 2`,
			`- instance "it", answer of update "ask": 1`, `+ instance "it", answer of update "ask": 2`,
		},
	},
	{
		name: "CrashEverywhere_not_repeatable",
		run: func(t *testing.T) {
			durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
				flip++
				durangotest.Wait(e, durangotest.Start(e, prog, "it", flip))
			}, step, prog.Bind(func(ctx *durango.Context, n int) (int, error) { return step.Call(ctx, n) }))
		},
		want: []string{"two runs without a crash end differently", "Completed, output 2", "Completed, output 3"},
	},
	{
		name: "CrashEverywhere_writes_nothing",
		run: func(t *testing.T) {
			durangotest.CrashEverywhere(t, func(*testing.T, *durangotest.Env) {}, step)
		},
		want: []string{"the node wrote nothing"},
	},
	{
		name: "Replay_no_file",
		run:  func(t *testing.T) { durangotest.Replay(t, "testdata/nothing*.json", step) },
		want: []string{"testdata/nothing*.json: no such file"},
	},
	{
		name: "Replay_no_history",
		run:  func(t *testing.T) { durangotest.Replay(t, "failing_test.go", step) },
		want: []string{"replay failing_test.go: invalid character"},
	},
	{
		name: "Replay_other_code",
		run: func(t *testing.T) {
			durangotest.Replay(t, "testdata/month.json", monthWith(36*time.Hour, "other-step")...)
		},
		want: []string{`replay testdata/month.json: replay turn 1 of instance "month-1"`, `recorded ActivityScheduled "step"; emitted ActivityScheduled "other-step"`},
	},
	{
		name: "Replay_no_code",
		run:  func(t *testing.T) { durangotest.Replay(t, "testdata/*.json", step) },
		want: []string{"no code is registered"},
	},
}

func TestFailing(t *testing.T) {
	if os.Getenv(failing) == "" {
		t.Skip("run by TestKitFails")
	}
	for _, f := range failures {
		t.Run(f.name, f.run)
	}
}

func TestKitFails(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	assert.NoError(t, err)
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			cmd := exec.Command(exe, "-test.run", fmt.Sprintf("^TestFailing$/^%s$", f.name), "-test.v", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), failing+"=1", "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			exit := assert.ErrorAs[*exec.ExitError](t, err, "%s", out)
			assert.Equal(t, exit.ExitCode(), 1, "%s", out)
			assert.Contains(t, string(out), f.want...)
			assert.False(t, strings.Contains(string(out), `wait for instance "it": wait for`), "said twice: %s", out)
		})
	}
}
