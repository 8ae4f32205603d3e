package codec

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/codec/sealed"
	"github.com/durango-go/durango/durangotest"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func key(id string) sealed.Key {
	return sealed.Key{ID: id, Secret: bytes.Repeat([]byte(id), sealed.KeySize)[:sealed.KeySize]}
}

// What one step of a rotation writes, the steps before and after it read.
func TestRotation(t *testing.T) {
	steps := rotation(key("old"), key("new"))
	for i := range steps {
		writer, _, err := options(steps[i]...)
		if err != nil {
			t.Fatal(err)
		}
		b, err := writer.Codec.Encode(&i)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{i - 1, i, i + 1} {
			if at < 0 || at == len(steps) {
				continue
			}
			reader, _, err := options(steps[at]...)
			if err != nil {
				t.Fatal(err)
			}
			var got int
			if err := reader.Codec.Decode(b, &got); err != nil || got != i {
				t.Errorf("step %d reads what step %d wrote: %d, %v", at, i, got, err)
			}
		}
	}
}

// The program of the page: a tenant's deadline, in messages, gobs and sealed.
func TestPrograms(t *testing.T) {
	sealedMessages, err := messages(key("k"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	delay := Delay.Bind(func(ctx context.Context, d *durationpb.Duration) (*timestamppb.Timestamp, error) {
		if ctx.Value(tenantKey{}) != "acme" {
			return nil, errors.New("for whom?")
		}
		return timestamppb.New(began.Add(d.AsDuration())), nil
	})
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, d time.Duration) (time.Time, error) {
		at, err := delay.Call(ctx, durationpb.New(d))
		return at.AsTime(), err
	})
	attempts := 0
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		e.Configure(func(o *durango.Options) {
			o.Codec = sealedMessages
			o.Interceptors = []durango.Interceptor{Tenant, measure(func(string, time.Duration, error) { attempts++ })}
		})
		ctx := context.WithValue(e.Context(), tenantKey{}, "acme")
		run, err := flow.Start(ctx, e.Client(), "i", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if got := durangotest.Wait(e, run); !got.Equal(began.Add(time.Hour)) || attempts != 1 {
			t.Errorf("%v after %d attempts", got, attempts)
		}
	}, delay, flow)
}

// A codec of one's own takes what the example of gobs does, errors included.
func TestGobs(t *testing.T) {
	work := durango.DefineActivity("work", func(_ context.Context, in map[string]int) (int, error) {
		if in["n"] == 0 {
			return 0, errors.New("no n")
		}
		return in["n"] + 1, nil
	})
	flow := durango.DefineOrchestration("flow", func(ctx *durango.Context, n int) (int, error) {
		if err := ctx.SetStatus(n); err != nil {
			return 0, err
		}
		return work.Call(ctx, map[string]int{"n": n})
	})
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		e.Configure(func(o *durango.Options) { o.Codec = gobs{} })
		run, err := flow.Start(e.Context(), e.Client(), "i", 41)
		if err != nil {
			t.Fatal(err)
		}
		if got := durangotest.Wait(e, run); got != 42 {
			t.Error(got)
		}
		info, err := run.Status(e.Context())
		var status int
		if err != nil || info.CustomStatus != nil || info.DecodeStatus(&status) != nil || status != 41 {
			t.Error(err, info.CustomStatus, status)
		}
		failing, err := flow.Start(e.Context(), e.Client(), "j", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := failing.Wait(e.Context()); err == nil || err.Error() != "no n" {
			t.Error(err)
		}
	}, work, flow)
}
