package durangotest_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/codec/protobuf"
	"github.com/durango-go/durango/codec/sealed"
	"github.com/durango-go/durango/durangotest"
	"github.com/durango-go/durango/internal/assert"
)

// secretly is a codec that encodes no value twice the same way.
func secretly(t *testing.T, inner durango.Codec) durango.Codec {
	t.Helper()
	codec, err := sealed.New(inner, sealed.Key{ID: "k", Secret: make([]byte, sealed.KeySize)})
	assert.NoError(t, err)
	return codec
}

// What is compared is values, whatever their stored forms: those that are JSON
// inside, and those that are not.
func TestCrashEverywhereUnderACodecThatEncrypts(t *testing.T) {
	for name, inner := range map[string]durango.Codec{"json": durango.JSON, "protobuf": protobuf.New(durango.JSON)} {
		t.Run(name, func(t *testing.T) {
			codec := secretly(t, inner)
			delay := durango.NewValue[*durationpb.Duration]("delay")
			ask := durango.NewUpdate[string, *durationpb.Duration]("ask")
			refused := durango.NewError[string]("refused")
			wait := durango.NewOrchestration[*durationpb.Duration, *durationpb.Duration]("wait")
			refuse := durango.NewOrchestration[durango.None, string]("refuse")
			durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
				e.Configure(func(o *durango.Options) { o.Codec = codec })
				run := durangotest.Start(e, wait, "a", durationpb.New(time.Hour))
				durangotest.Start(e, refuse, "b", durango.None{})
				answer, err := ask.Call(e.Context(), e.Client(), "a", "now")
				assert.NoError(t, err)
				assert.Equal(t, answer.AsDuration(), time.Hour)
				assert.Equal(t, durangotest.Wait(e, run).AsDuration(), time.Hour)
				e.Wait("b")
			}, wait.Bind(func(ctx *durango.Context, in *durationpb.Duration) (*durationpb.Duration, error) {
				ask.Handle(ctx, func(*durango.Context, string) (*durationpb.Duration, error) { return in, nil },
					func(string) error { return nil })
				err := errors.Join(delay.Set(ctx, in), ctx.SetStatus(in), ctx.Sleep(in.AsDuration()))
				return in, err
			}), refuse.Bind(func(*durango.Context, durango.None) (string, error) {
				return "", refused.New("the detail", "the text")
			}))
		})
	}
}

// A history needs the codec of the nodes that wrote it, and the interceptors
// that asked for something.
func TestReplayWithOptions(t *testing.T) {
	options := durango.Options{Codec: secretly(t, durango.JSON), Interceptors: []durango.Interceptor{{
		Orchestration: func(ctx *durango.Context, _ durango.InstanceInfo, next func(*durango.Context) error) error {
			durango.Record(ctx, func() int { return 1 })
			return next(ctx)
		},
	}}}
	code := monthWith(time.Millisecond, "step")
	path := exported(t, options, code)
	durangotest.ReplayWith(t, path, options, code...)
}
