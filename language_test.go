package durango_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/replay"
)

type Order struct {
	Item  string
	Cents int
}

var (
	double = durango.DefineActivity("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	broken = durango.DefineActivity("broken", func(context.Context, durango.None) (int, error) {
		return 0, errors.New("no luck")
	})
)

func TestCallAndGo(t *testing.T) {
	sum := durango.DefineOrchestration("sum", func(ctx *durango.Context, n int) (int, error) {
		a, b := double.Go(ctx, n), double.Go(ctx, n+1)
		c, err := double.Call(ctx, 100)
		if err != nil {
			return 0, err
		}
		x, err := a.Await(ctx)
		if err != nil {
			return 0, err
		}
		y, err := b.Await(ctx)
		if again, _ := b.Await(ctx); again != y {
			return 0, errors.New("awaiting again differs")
		}
		return x + y + c, err
	})
	want(newHarness(t, sum, double).start("sum", 1), 2+4+200)
}

// "durango.All joins futures of one type and returns at the first error,
// canceling the rest."
func TestAll(t *testing.T) {
	fan := durango.DefineOrchestration("fan", func(ctx *durango.Context, n int) (int, error) {
		var fs []*durango.Future[int]
		for i := range n {
			fs = append(fs, double.Go(ctx, i))
		}
		sum := 0
		all, err := durango.All(ctx, append(fs, nil)...)
		for _, v := range all {
			sum += v
		}
		return sum, err
	})
	want(newHarness(t, fan, double).start("fan", 100), 9900)

	fails := durango.DefineOrchestration("fails", func(ctx *durango.Context, _ durango.None) (string, error) {
		never := durango.NewSignal[int]("never")
		slow := durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			return never.Next(ctx).Await(ctx)
		})
		_, err := durango.All(ctx, slow, broken.Go(ctx, durango.None{}))
		_, canceled := slow.Await(ctx)
		return fmt.Sprint(err, "; ", errors.Is(canceled, durango.ErrCanceled)), nil
	})
	want(newHarness(t, fails, broken).start("fails", nil), "no luck; true")
}

func TestJoinJoinsErrors(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		ok, bad, nobody := double.Go(ctx, 1), broken.Go(ctx, durango.None{}), (*durango.Future[string])(nil)
		err := ctx.Join(bad, ok, nobody, ctx.After(time.Hour))
		n, _ := ok.Await(ctx)
		return fmt.Sprint(n, " ", err, " ", ctx.Now().Hour()), nil
	})
	h := newHarness(t, o, double, broken).start("o", nil)
	waits(h)
	want(h.advance(time.Hour), "2 no luck 1")
}

// "Undeclared Go errors cross as text plus type name, so errors.Is(err,
// sql.ErrNoRows) is false live too. Declared kinds and the engine's sentinels
// match."
func TestErrorsCrossTyped(t *testing.T) {
	type Decline struct{ Reason string }
	declined := durango.NewError[Decline]("card-declined")
	charge := durango.DefineActivity("charge", func(_ context.Context, how string) (int, error) {
		switch how {
		case "declined":
			return 0, fmt.Errorf("charge: %w", declined.New(Decline{"expired"}, "the bank", "no"))
		case "rows":
			return 0, fmt.Errorf("query: %w", sql.ErrNoRows)
		case "joined":
			return 0, errors.Join(sql.ErrNoRows, declined.New(Decline{"joined"}))
		case "panic":
			var p *Order
			return p.Cents, nil
		case "sentinel":
			return 0, fmt.Errorf("gone: %w", durango.ErrNotFound)
		}
		return 0, nil
	})
	show := func(err error) string {
		d, ok := declined.From(err)
		var e *durango.Error
		errors.As(err, &e)
		return fmt.Sprintf("%v|%s|%t%t%t|%t|%t%t|%s", err, d.Reason, ok, declined.Is(err), errors.Is(err, declined),
			errors.Is(err, sql.ErrNoRows), errors.Is(err, durango.ErrPanic), errors.Is(err, durango.ErrNotFound), e.Type)
	}
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, how string) (string, error) {
		_, err := charge.Call(ctx, how)
		return show(err), nil
	})
	for how, text := range map[string]string{
		"declined": "charge: the bank: no|expired|truetruetrue|false|falsefalse|*fmt.wrapError",
		"rows":     "query: sql: no rows in result set||falsefalsefalse|false|falsefalse|*fmt.wrapError",
		"joined":   "sql: no rows in result set\ncard-declined|joined|truetruetrue|false|falsefalse|*errors.joinError",
		"panic":    "panic: runtime error: invalid memory address or nil pointer dereference||falsefalsefalse|false|truefalse|",
		"sentinel": "gone: instance not found||falsefalsefalse|false|falsetrue|*fmt.wrapError",
	} {
		want(newHarness(t, o, charge).start("o", how), text)
	}

	// An orchestration passes an error on, through its own outcome.
	pass := durango.DefineOrchestration("pass", func(ctx *durango.Context, how string) (int, error) {
		n, err := charge.Call(ctx, how)
		if err != nil {
			return 0, fmt.Errorf("pass: %w", err)
		}
		return n, nil
	})
	err := wantErr(newHarness(t, pass, charge).start("pass", "declined"), declined)
	assert.Equal(t, show(err), "pass: charge: the bank: no|expired|truetruetrue|false|falsefalse|*fmt.wrapError")

	// And so do a child and its parent.
	parent := durango.DefineOrchestration("parent", func(ctx *durango.Context, how string) (string, error) {
		_, err := pass.Call(ctx, how)
		return show(err), nil
	})
	want(newHarness(t, parent, pass, charge).start("parent", "declined"),
		"pass: charge: the bank: no|expired|truetruetrue|false|falsefalse|*fmt.wrapError")
}

// "A recorded result that today's type cannot decode is not an outcome: it is
// a turn failure."
func TestResultThatDoesNotDecodeFailsTheTurn(t *testing.T) {
	text := durango.DefineActivity("text", func(context.Context, durango.None) (string, error) { return "x", nil })
	number := durango.NewActivity[durango.None, int]("text")
	for name, fn := range map[string]func(*durango.Context, durango.None) (int, error){
		"call": func(ctx *durango.Context, _ durango.None) (int, error) {
			return number.Call(ctx, durango.None{})
		},
		"go": func(ctx *durango.Context, _ durango.None) (int, error) {
			return number.Go(ctx, durango.None{}).Await(ctx)
		},
		"recovered": func(ctx *durango.Context, _ durango.None) (n int, err error) {
			defer func() { _ = recover() }()
			return number.Call(ctx, durango.None{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, durango.DefineOrchestration("o", fn), text).start("o", nil)
			wantTurnFailure(h, `decode the recorded result of activity "text" into int`)
			assert.ErrorIs(t, h.failed, durango.ErrDecode)
		})
	}
}

func TestInputThatDoesNotDecode(t *testing.T) {
	o := durango.DefineOrchestration("o", func(*durango.Context, int) (int, error) { return 1, nil })
	wantTurnFailure(newHarness(t, o).start("o", "text"), `decode input of orchestration "o" into int`)

	// An activity's is a final failure: nobody will send another input.
	textual := durango.NewActivity[string, int]("double")
	caller := durango.DefineOrchestration("caller", func(ctx *durango.Context, _ durango.None) (int, error) {
		return textual.Call(ctx, "text")
	})
	err := wantErr(newHarness(t, caller, double).start("caller", nil), durango.ErrDecode)
	var e *durango.Error
	assert.True(t, errors.As(err, &e) && e.Final, "final")
}

func TestEncodingErrors(t *testing.T) {
	send := durango.NewActivity[chan int, int]("send")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		_, err1 := send.Call(ctx, nil)
		_, err2 := send.Go(ctx, nil).Await(ctx)
		err3 := ctx.SetStatus(func() {})
		return fmt.Sprintln(err1 != nil, err2 != nil, err3 != nil), nil
	})
	want(newHarness(t, o).start("o", nil), "true true true\n")

	output := durango.DefineOrchestration("output", func(*durango.Context, durango.None) (chan int, error) {
		return make(chan int), nil
	})
	wantTurnFailure(newHarness(t, output).start("output", nil), `output of orchestration "output"`)
}

func TestTimeAndRecordedValues(t *testing.T) {
	calls := 0
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		n := durango.Record(ctx, func() int { calls++; return calls })
		id, begin := ctx.NewID(), ctx.Now()
		ctx.Logger().Info("sleeping", "n", n)
		if err := ctx.Sleep(90 * time.Minute); err != nil {
			return "", err
		}
		if id2 := ctx.NewID(); len(id) != 36 || id2 == id {
			return "", errors.New("bad IDs " + id + " " + id2)
		}
		return fmt.Sprint(n, ctx.Now().Sub(begin), ctx.Now().Location()), nil
	})
	h := newHarness(t, o).start("o", nil)
	waits(h.advance(90*time.Minute - 1))
	want(h.advance(1), "1 1h30m0s UTC")
	if n := strings.Count(h.log.String(), "sleeping"); n != 1 || !strings.Contains(h.log.String(), "instance=test orchestration=o") {
		t.Fatalf("log: %s", h.log)
	}
}

func TestVeryLongSleep(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		return 1, ctx.Sleep(1<<63 - 1)
	})
	waits(newHarness(t, o).start("o", nil).advance(1000 * time.Hour))
}

func TestStatusAndInfo(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (durango.InstanceInfo, error) {
		return ctx.Info(), ctx.SetStatus(map[string]int{"step": 3})
	})
	h := newHarness(t, o).start("o", nil)
	want(h, durango.InstanceInfo{ID: "test", Name: "o", Version: "1.0.0", Execution: 1})
	assert.Equal(t, string(h.status), `{"step":3}`)
}

func TestUntypedHandle(t *testing.T) {
	raw := durango.NewActivity[json.RawMessage, json.RawMessage]("double")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, in json.RawMessage) (json.RawMessage, error) {
		return raw.Call(ctx, in)
	})
	h := newHarness(t, o, double).start("o", 21)
	got, err := result[int](h)
	assert.NoError(t, err)
	assert.Equal(t, got, 42)
}

// What the code does to the bytes of a RawMessage does not reach the history.
func TestRawMessagesAreCopied(t *testing.T) {
	raw := durango.NewActivity[json.RawMessage, json.RawMessage]("double")
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		in := json.RawMessage("21")
		f := raw.Go(ctx, in)
		in[0] = '9'
		out, err := f.Await(ctx)
		if err != nil {
			return "", err
		}
		text := string(out)
		out[0] = '9'
		return text, nil
	})
	want(newHarness(t, o, double).start("o", nil), "42")
}

// "Cancel requested → ctx operations return ErrCanceled, Select returns nil;
// compensation may run under ctx.Detach(); returning ErrCanceled → Canceled."
func TestCancel(t *testing.T) {
	never := durango.NewSignal[int]("never")
	var trace []string
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, how string) (int, error) {
		timer, done := ctx.After(time.Hour), double.Go(ctx, 1)
		if _, err := done.Await(ctx); err != nil {
			return 0, err
		}
		if got := ctx.Select(timer, never.Next(ctx)); got != nil {
			return 0, errors.New("somebody won")
		}
		if _, err := done.Await(ctx); !errors.Is(err, durango.ErrCanceled) || !done.Ready() {
			return 0, fmt.Errorf("await of what was done: %v", err)
		}
		if n, err := done.Await(ctx.Detach()); n != 2 || err != nil {
			return 0, fmt.Errorf("detached await of what was done: %v, %v", n, err)
		}
		_, callErr := double.Call(ctx, 1)
		_, timerErr := timer.Await(ctx)
		trace = append(trace[:0], fmt.Sprint(ctx.Err(), "|", callErr, "|", timerErr, "|", ctx.Sleep(1), "|",
			ctx.Join(timer), "|", ctx.Select(timer) == nil))
		undone, err := double.Call(ctx.Detach(), 21)
		if err != nil || undone != 42 {
			return 0, fmt.Errorf("compensation: %v, %v", undone, err)
		}
		if how == "ok" {
			return undone, nil
		}
		return 0, fmt.Errorf("stopping: %w", ctx.Err())
	})
	const c = "canceled: enough"
	h := newHarness(t, o, double).start("o", "").cancel("enough")
	wantErr(h, durango.ErrCanceled)
	assert.Equal(t, h.end.Kind, history.Canceled)
	assert.Equal(t, h.end.Text, "enough")
	assert.Equal(t, trace[0], strings.Join([]string{c, c, c, c, c, "true"}, "|"))

	want(newHarness(t, o, double).start("o", "ok").cancel("enough"), 42)
}

// A child's cancellation is not its parent's.
func TestErrCanceledWithoutRequestIsAFailure(t *testing.T) {
	o := durango.DefineOrchestration("o", func(*durango.Context, durango.None) (int, error) {
		return 0, durango.ErrCanceled
	})
	h := newHarness(t, o).start("o", nil)
	wantErr(h, durango.ErrCanceled)
	assert.Equal(t, h.end.Kind, history.Failed)
}

func TestPanicFailsTheTurn(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		panic("oops")
	})
	wantTurnFailure(newHarness(t, o).start("o", nil), "panic: oops")
	inner := durango.DefineOrchestration("inner", func(ctx *durango.Context, _ durango.None) (int, error) {
		return durango.Go(ctx, func(*durango.Context) (int, error) { panic("oops") }).Await(ctx)
	})
	wantTurnFailure(newHarness(t, inner).start("inner", nil), "panic: oops")
}

// "Using it from another goroutine fails the turn; the outer ctx inside a
// coroutine is safe."
func TestGoroutineMisuse(t *testing.T) {
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (int, error) {
		done := make(chan bool)
		go func() {
			defer close(done)
			_, _ = double.Call(ctx, 1)
		}()
		<-done
		return 1, ctx.Sleep(time.Second)
	})
	h := newHarness(t, o, double).start("o", nil)
	wantTurnFailure(h, "goroutine", "language_test.go")
	var misuse *replay.MisuseError
	assert.True(t, errors.As(h.failed, &misuse))

	outer := durango.DefineOrchestration("outer", func(ctx *durango.Context, _ durango.None) (int, error) {
		a := durango.Go(ctx, func(*durango.Context) (int, error) { return double.Call(ctx, 1) })
		b := durango.Go(ctx, func(*durango.Context) (int, error) { return double.Call(ctx, 2) })
		return sumOf(durango.All(ctx, a, b))
	})
	want(newHarness(t, outer, double).start("outer", nil), 6)
}

func sumOf(ns []int, err error) (int, error) {
	sum := 0
	for _, n := range ns {
		sum += n
	}
	return sum, err
}
