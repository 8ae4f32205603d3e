package durango_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/codec/sealed"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
	"github.com/durango-go/durango/provider/sqlite"
)

func sealedCodec(t *testing.T, ids ...string) *sealed.Codec {
	t.Helper()
	var keys []sealed.Key
	for _, id := range ids {
		secret := bytes.Repeat([]byte{'.'}, sealed.KeySize)
		copy(secret, id)
		keys = append(keys, sealed.Key{ID: id, Secret: secret})
	}
	c, err := sealed.New(nil, keys...)
	assert.NoError(t, err)
	return c
}

// runWith runs a runtime until the test or the returned function ends it.
func runWith(t *testing.T, store provider.Provider, o durango.Options, ds ...durango.Registrable) (rt *durango.Runtime, stop func()) {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	rt, err := durango.New(store, o)
	assert.NoError(t, err)
	rt.Register(ds...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rt.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return rt, stop
}

// secret begins every value that must not be in the file.
const secret = "s3cr3t-"

type vault struct{ Value string }

// Under a codec that encrypts no value is in the store in plain: inputs,
// outputs, signals, updates and answers, values, recorded values, custom status,
// heartbeats, and the text and details of errors. Names and codes are.
func TestSealedStoreHasNoPlaintext(t *testing.T) {
	ctx := deadline(t)
	dir := t.TempDir()
	store, err := sqlite.Open(filepath.Join(dir, "test.db"))
	assert.NoError(t, err)
	codec := sealedCodec(t, "k1")

	refused := durango.NewError[vault]("refused-code")
	letters := durango.NewSignal[vault]("letters")
	stage := durango.NewValue[vault]("stage")
	ask := durango.NewUpdate[vault, vault]("ask")
	stay := make(chan struct{})
	echo := durango.DefineActivity("echo", func(_ context.Context, v vault) (vault, error) {
		return vault{secret + "output " + v.Value}, nil
	})
	fail := durango.DefineActivity("fail", func(ctx context.Context, how string) (durango.None, error) {
		switch how {
		case secret + "kind":
			return durango.None{}, refused.New(vault{secret + "detail"}, secret+"message")
		case secret + "panic":
			panic(secret + "panicked")
		case secret + "retried":
			if durango.Info(ctx).Attempt == 1 {
				if err := durango.Heartbeat(ctx, vault{secret + "progress"}); err != nil {
					return durango.None{}, err
				}
				return durango.None{}, errors.New(secret + "first attempt")
			}
			if at, ok, err := durango.HeartbeatDetails[vault](ctx); !ok || err != nil || at.Value != secret+"progress" {
				return durango.None{}, fmt.Errorf("the progress is lost: %v, %w", at, err)
			}
			<-stay // the failure of the first attempt is in the row of the task
			return durango.None{}, nil
		}
		return durango.None{}, errors.New(secret + "text")
	})
	retrying := fail.With(durango.CallOptions{Retry: &durango.RetryPolicy{MaxAttempts: 2, Initial: time.Millisecond}})
	child := durango.DefineOrchestration("child", func(ctx *durango.Context, v vault) (vault, error) {
		return vault{secret + "of child"}, refused.New(vault{secret + "child detail"})
	})
	parent := durango.NewOrchestration[vault, vault]("parent")
	bound := parent.Bind(func(ctx *durango.Context, v vault) (vault, error) {
		if err := ctx.SetStatus(vault{secret + "status"}); err != nil {
			return v, err
		}
		ask.Handle(ctx, func(_ *durango.Context, v vault) (vault, error) {
			if v.Value == secret+"bad question" {
				return v, errors.New(secret + "no answer")
			}
			return vault{secret + "answer to " + v.Value}, nil
		}, func(v vault) error {
			if v.Value == secret+"refused question" {
				return errors.New(secret + "refusal")
			}
			return nil
		})
		if err := stage.Set(ctx, vault{secret + "stage"}); err != nil {
			return v, err
		}
		recorded := durango.Record(ctx, func() vault { return vault{secret + "recorded"} })
		if ctx.Execution() == 1 {
			if _, err := letters.Next(ctx).Await(ctx); err != nil {
				return v, err
			}
			if _, err := letters.SendFrom(ctx, ctx.InstanceID(), vault{secret + "sent to self"}); err != nil {
				return v, err
			}
			return parent.ContinueAsNew(ctx, vault{secret + "continued"})
		}
		letter, err := letters.Next(ctx).Await(ctx)
		if err != nil {
			return v, err
		}
		out, err := echo.Call(ctx, vault{secret + "argument"})
		if err != nil {
			return v, err
		}
		for _, how := range []string{"kind", "panic", "else"} {
			if _, err := fail.Call(ctx, secret+how); err == nil {
				return v, errors.New("it did not fail")
			} else if !strings.Contains(err.Error(), secret) {
				return v, err
			}
		}
		if _, err := retrying.Call(ctx, secret+"retried"); err != nil {
			return v, err
		}
		_, err = child.Call(ctx, vault{secret + "to child"})
		if d, ok := refused.From(err); !ok || d.Value != secret+"child detail" {
			return v, errors.New("the detail of the child's error is lost")
		}
		return vault{secret + "result"}, refused.New(vault{recorded.Value + out.Value + letter.Value}, secret+"end")
	})
	rt, _ := runWith(t, store, durango.Options{Codec: codec}, echo, fail, child, bound)
	client := durango.NewClientWith(store, durango.ClientOptions{Codec: codec})
	run, err := parent.Start(ctx, client, "instance", vault{secret + "input"})
	assert.NoError(t, err)
	assert.NoError(t, letters.Send(ctx, rt.Client(), "instance", vault{secret + "letter"}))
	for running := false; !running; {
		tasks, err := store.Tasks(ctx, keyOf(t, store, "instance"))
		assert.NoError(t, err)
		running = len(tasks) == 1 && len(tasks[0].Failure) > 0
	}
	answer, err := ask.Call(ctx, client, "instance", vault{secret + "question"})
	assert.True(t, err == nil && answer.Value == secret+"answer to "+secret+"question", "%v, %v", answer, err)
	for question, want := range map[string]string{"bad question": "no answer", "refused question": "refusal"} {
		_, err = ask.Call(ctx, client, "instance", vault{secret + question})
		assert.True(t, err != nil && err.Error() == secret+want, "%v", err)
	}
	at, ok, err := stage.Read(ctx, client, "instance")
	assert.True(t, ok && err == nil && at.Value == secret+"stage", "%v, %v", at, err)
	noPlaintext(t, dir)
	close(stay)
	_, err = run.Wait(ctx)
	d, ok := refused.From(err)
	assert.True(t, ok && strings.Contains(d.Value, "recorded") && strings.Contains(d.Value, "argument"), err)
	assert.True(t, strings.HasSuffix(err.Error(), secret+"end"), err)

	info, err := run.Status(ctx)
	assert.NoError(t, err)
	var status vault
	assert.NoError(t, info.DecodeStatus(&status))
	assert.Equal(t, status.Value, secret+"status")
	assert.Equal(t, string(info.CustomStatus), `{"Value":"`+secret+`status"}`)

	noPlaintext(t, dir)
	text := files(t, dir)
	for _, readable := range []string{"refused-code", "letters", "instance", "echo"} {
		assert.True(t, bytes.Contains(text, []byte(readable)), "%s", readable)
	}
}

func keyOf(t *testing.T, store provider.Inspector, id string) provider.Key {
	t.Helper()
	i, err := store.Get(t.Context(), provider.Target{ID: id})
	assert.NoError(t, err)
	return i.Key
}

// files is everything in a directory.
func files(t *testing.T, dir string) (text []byte) {
	t.Helper()
	list, err := os.ReadDir(dir)
	assert.NoError(t, err)
	for _, f := range list {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		assert.NoError(t, err)
		text = append(text, b...)
	}
	return text
}

func noPlaintext(t *testing.T, dir string) {
	t.Helper()
	text := files(t, dir)
	if at := bytes.Index(text, []byte(secret)); at >= 0 {
		t.Fatalf("in the store: %q", text[max(0, at-40):min(len(text), at+40)])
	}
	assert.True(t, len(text) > 10_000, "only %d bytes were looked at", len(text))
}

// A value that cannot be opened fails the turn, and is no outcome: the instance
// goes on when the key is there. For a signal it is the error of its Await.
func TestAWrongKeyIsNoOutcome(t *testing.T) {
	ctx := deadline(t)
	store := memory.Open()
	letters := durango.NewSignal[string]("letters")
	go1 := durango.NewSignal[durango.None]("go")
	work := durango.DefineActivity("work", func(_ context.Context, fails bool) (string, error) {
		if fails {
			return "", errors.New("it failed")
		}
		return "done", nil
	})
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, _ durango.None) (string, error) {
		out, err := work.Call(ctx, ctx.InstanceID() == "fails")
		if _, err := go1.Next(ctx).Await(ctx); err != nil {
			return "", err
		}
		if err != nil {
			return "", err
		}
		letter, err := letters.Next(ctx).Await(ctx)
		if !errors.Is(err, durango.ErrDecode) {
			return "", errors.New("read a letter that cannot be read: " + letter)
		}
		return out, nil
	})
	o := durango.Options{Codec: sealedCodec(t, "k1"), MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}
	first, stop := runWith(t, store, o, work, flow)
	runs := map[string]*durango.Run[string]{}
	for _, id := range []string{"completes", "fails"} {
		run, err := flow.Start(ctx, first.Client(), id, durango.None{})
		assert.NoError(t, err)
		runs[id] = run
		for {
			info, err := run.Status(ctx)
			assert.NoError(t, err)
			if info.Turns == 2 { // the result is recorded
				break
			}
		}
	}
	stop()
	_, stop = runWith(t, store, durango.Options{Codec: sealedCodec(t, "k2"), MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}, work, flow)
	plain := durango.NewClient(store)
	for id, run := range runs {
		assert.NoError(t, go1.Send(ctx, plain, id, durango.None{}))
		for failure := ""; failure == ""; {
			info, err := run.Status(ctx)
			assert.NoError(t, err)
			assert.True(t, info.Status.Open(), "%s has ended: %v", id, info)
			failure = info.TurnFailure
		}
		info, err := run.Status(ctx)
		assert.NoError(t, err)
		assert.True(t, strings.Contains(info.TurnFailure, `"k1"`), info.TurnFailure)
	}
	stop()
	assert.NoError(t, letters.Send(ctx, plain, "completes", "in plain"))
	_, _ = runWith(t, store, durango.Options{Codec: sealedCodec(t, "k2", "k1"), MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}, work, flow)
	keyed := durango.NewClientWith(store, durango.ClientOptions{Codec: sealedCodec(t, "k2", "k1")})
	out, err := flow.Run(keyed, "completes").Wait(ctx)
	assert.NoError(t, err)
	assert.Equal(t, out, "done")
	_, err = flow.Run(keyed, "fails").Wait(ctx)
	var failed *durango.Error
	assert.True(t, errors.As(err, &failed) && failed.Message == "it failed" && failed.Type == "*errors.errorString", "%v", err)

	// A client without the key is told so, whether it was a result or an error.
	for id := range runs {
		_, err = flow.Run(plain, id).Wait(ctx)
		var undecodable *durango.DecodeError
		assert.True(t, errors.As(err, &undecodable) && errors.Is(err, durango.ErrDecode), "%v", err)
	}
}

// What replays compare are values: a codec whose encodings are never the same
// does not make every command differ.
func TestReplayComparesSealedValues(t *testing.T) {
	ctx := deadline(t)
	store := memory.Open()
	codec := sealedCodec(t, "k1")
	in := "as before"
	work := durango.DefineActivity("work", func(_ context.Context, s string) (string, error) { return s, nil })
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, _ durango.None) (string, error) {
		if err := ctx.SetStatus("working"); err != nil {
			return "", err
		}
		return work.Call(ctx, in)
	})
	rt, _ := runWith(t, store, durango.Options{Codec: codec}, work, flow)
	run, err := flow.Start(ctx, rt.Client(), "i", durango.None{})
	assert.NoError(t, err)
	_, err = run.Wait(ctx)
	assert.NoError(t, err)

	turns := recorded(t, store, "i")
	warnings, err := rt.Replay(ctx, turns)
	assert.NoError(t, err)
	assert.Equal(t, len(warnings), 0, "%v", warnings)
	in = "otherwise"
	warnings, err = rt.Replay(ctx, turns)
	assert.NoError(t, err)
	assert.Equal(t, len(warnings), 1, "%v", warnings)
}

func recorded(t *testing.T, store provider.Inspector, id string) []history.Turn {
	t.Helper()
	rows, err := store.Turns(t.Context(), keyOf(t, store, id), 1, 1000)
	assert.NoError(t, err)
	var turns []history.Turn
	for _, row := range rows {
		deliveries, commands, err := history.DecodeTurn(row.Events)
		assert.NoError(t, err)
		turn := history.Turn{Number: row.Number, Execution: row.Execution, Time: row.Time, Deliveries: deliveries, Commands: commands}
		if d := turn.Deliveries; d[0].Kind == history.Started {
			d[0].Target = id
		}
		turns = append(turns, turn)
	}
	return turns
}

// noCodec is a codec that takes nothing.
type noCodec struct{}

func (noCodec) Encode(any) ([]byte, error) { return nil, errors.New("no " + secret) }
func (noCodec) Decode([]byte, any) error   { return errors.New("no") }

// A codec sees no nothing, and what it does not take is not stored otherwise.
func TestCodecBoundaries(t *testing.T) {
	calm := durango.DefineActivity("calm", func(context.Context, durango.None) (durango.None, error) { return durango.None{}, nil })
	raw := durango.DefineActivity("raw", func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	loud := durango.DefineActivity("loud", func(context.Context, durango.None) (durango.None, error) {
		return durango.None{}, durango.NonRetryable(durango.NewError[durango.None]("loud").New(durango.None{}, secret))
	})
	_, as, _ := durango.DefinitionsWith(durango.Options{Codec: noCodec{}}, calm, raw, loud)
	for _, a := range as[:2] {
		out, failure := a.Run(t.Context(), &engine.Attempt{})
		assert.True(t, out == nil && failure == nil, "%s: %v", a.Name, failure)
	}
	_, failure := as[2].Run(t.Context(), &engine.Attempt{})
	assert.True(t, failure.Code == "loud" && failure.Final && !failure.Sealed && !strings.Contains(failure.String(), secret), "%v", failure)
	_, failure = as[1].Run(t.Context(), &engine.Attempt{Input: []byte("1")})
	assert.True(t, failure.Code == durango.CodeUndecodable && failure.Final, "%v", failure)

	_, as, _ = durango.DefinitionsWith(durango.Options{Codec: sealedCodec(t, "k1")}, loud)
	_, failure = as[0].Run(t.Context(), &engine.Attempt{})
	assert.True(t, failure.Code == "loud" && failure.Final && failure.Sealed && failure.Message == "" && failure.Type == "", "%v", failure)
}

// A policy names Go types also where the store does not have them.
func TestNonRetryableTypesUnderACodec(t *testing.T) {
	ctx := deadline(t)
	attempts := 0
	work := durango.DefineActivity("work", func(context.Context, durango.None) (durango.None, error) {
		attempts++
		return durango.None{}, &os.PathError{Op: "open", Path: "/", Err: os.ErrNotExist}
	})
	picky := work.With(durango.CallOptions{Retry: &durango.RetryPolicy{
		MaxAttempts: 3, Initial: time.Millisecond, NonRetryable: []string{"*fs.PathError"},
	}})
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, _ durango.None) (durango.None, error) {
		return picky.Call(ctx, durango.None{})
	})
	rt, _ := runWith(t, memory.Open(), durango.Options{Codec: sealedCodec(t, "k1")}, work, flow)
	run, err := flow.Start(ctx, rt.Client(), "i", durango.None{})
	assert.NoError(t, err)
	_, err = run.Wait(ctx)
	assert.True(t, err != nil && err.Error() == "open /: file does not exist", "%v", err)
	assert.Equal(t, attempts, 1)
}
