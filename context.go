package durango

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/replay"

	"github.com/google/uuid"
)

// Context is what an orchestration has instead of a clock, a context.Context
// and goroutines. It is deliberately not a context.Context, so that handing it
// to something that does I/O does not compile. It belongs to the coroutine
// that runs the orchestration, and to those begun with [Go]; used from a
// goroutine it fails the turn.
//
// After a request to cancel, or after [Context.WithCancel] ended a context,
// what waits with it returns [ErrCanceled] and [Context.Select] returns nil;
// after [Context.WithTimeout] did, the error is [ErrTimeout]. [Context.Detach] is for
// compensation.
type Context struct {
	x     *execution
	scope *replay.Scope
}

// execution is what all contexts of one execution share.
type execution struct {
	m        *replay.Machine
	env      *environment
	codec    Codec        // env's
	log      *slog.Logger // env's with attributes, once it was asked for
	info     InstanceInfo
	header   map[string]string
	in, out  reflect.Type
	next     *history.Event // what ContinueAsNew asked for
	fatal    error          // what fails the turn, even if user code recovers it
	children int64          // started without an ID
	own      *Limits        // of the orchestration's handle, or nil
	sagas    sagas
	root     Context
}

// InstanceInfo describes the instance that an orchestration runs as.
type InstanceInfo struct {
	ID            string
	Name, Version string // of the orchestration
	// Execution counts generations from 1: it grows with continue-as-new.
	Execution int64
	// Parent is the ID of the instance that awaits this one, or empty.
	Parent string
}

func newExecution[In, Out any](m *replay.Machine, started *history.Event, env *environment) *execution {
	x := &execution{
		m: m, env: env, codec: env.codec, header: started.Header, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
		info: InstanceInfo{
			ID: started.Target, Name: started.Name, Version: started.Version, Execution: max(started.Seq, 1),
		},
	}
	if started.Parent != nil {
		x.info.Parent = started.Parent.ID
	}
	m.Same = env.same
	x.root = Context{x, m.Root()}
	return x
}

// fail fails the turn: the instance waits for a corrected program.
func (x *execution) fail(err error) {
	if errors.Is(err, ErrDecode) {
		err = &replay.UndecodableError{Err: err}
	}
	x.fatal = err
	panic(err)
}

// limit fails a live turn for a value that is too large, and that no call
// hands over.
func (x *execution) limit(k *sized, size int) {
	x.env.bounds.count(k, size)
	if err := x.env.bounds.measure(k, x.info.Name, x.own, size); err != nil {
		x.fail(&replay.LimitError{Err: err})
	}
}

// HistoryLength returns how many events the history of this execution had
// before the present turn. It is the same in every replay, so the code may go by
// it: to continue as new before [Options.MaxHistory] is reached.
func (ctx *Context) HistoryLength() int { return int(ctx.x.m.Length()) }

// Now returns the time of the turn, by the store's clock. It stands still
// while the code runs.
func (ctx *Context) Now() time.Time { return time.Unix(0, ctx.x.m.Now()).UTC() }

// NewID returns a UUIDv7 that is recorded, and so the same in every replay.
func (ctx *Context) NewID() string {
	return record(ctx, "id", func() string { return uuid.Must(uuid.NewV7()).String() })
}

// After returns a future that completes when d has passed, by the store's
// clock: never early, and at once if that time has passed while nothing ran.
func (ctx *Context) After(d time.Duration) *Future[None] {
	return &Future[None]{src: ctx.timer(d)}
}

// Sleep waits until d has passed. Its error is that of [Context.Err].
func (ctx *Context) Sleep(d time.Duration) error {
	op := ctx.timer(d)
	_, fired := ctx.x.m.Wait(op)
	if fired == nil {
		return ended(op)
	}
	ctx.x.m.Release(op)
	return nil
}

func (ctx *Context) timer(d time.Duration) *replay.Op {
	return ctx.scope.Emit(history.Event{Kind: history.TimerSet, Time: ctx.in(d)})
}

// SetStatus publishes a custom status, encoded by the codec, that clients read with
// [Run.Status]. It replaces the previous one and outlives continue-as-new.
func (ctx *Context) SetStatus(status any) error {
	payload, blobs, err := encodeIn(ctx.x, "status of orchestration", ctx.x.info.Name, &status)
	if err != nil {
		return err
	}
	if err := ctx.fits(&sizedStatus, ctx.x.info.Name, ctx.x.own, len(payload)); err != nil {
		return fmt.Errorf("set status: %w", err)
	}
	ctx.scope.Emit(history.Event{Kind: history.StatusSet, Payload: payload, Blobs: blobs})
	return nil
}

// Info describes the instance.
func (ctx *Context) Info() InstanceInfo { return ctx.x.info }

// Header returns a copy of what the call that started the instance put along;
// see [ClientCall].
func (ctx *Context) Header() map[string]string { return maps.Clone(ctx.x.header) }

// InstanceID returns the instance's ID.
func (ctx *Context) InstanceID() string { return ctx.x.info.ID }

// Execution returns the number of the execution: 1, and one more after each
// continue-as-new.
func (ctx *Context) Execution() int64 { return ctx.x.info.Execution }

// Logger returns a logger that is silent while a recorded turn is replayed,
// so that each line appears once. It carries the instance and its
// orchestration.
func (ctx *Context) Logger() *slog.Logger {
	x := ctx.x
	if x.log == nil {
		x.log = slog.New(replayHandler{x.env.logger.Handler(), x.m}).With(
			"instance", x.info.ID, "orchestration", x.info.Name,
			"version", x.info.Version, "execution", x.info.Execution)
	}
	return x.log
}

// replayHandler drops what is logged while replaying.
type replayHandler struct {
	slog.Handler
	m *replay.Machine
}

func (h replayHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return !h.m.Replaying() && h.Handler.Enabled(ctx, l)
}

func (h replayHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return replayHandler{h.Handler.WithAttrs(attrs), h.m}
}

func (h replayHandler) WithGroup(name string) slog.Handler {
	return replayHandler{h.Handler.WithGroup(name), h.m}
}

// Record returns what fn returns, and records it, so that fn is not called
// again in a replay. It is for what differs from run to run and is quick: a
// random number, an environment variable. What can fail or takes long is an
// activity. fn must not use ctx. A value that the codec cannot encode fails the
// turn.
func Record[T any](ctx *Context, fn func() T) T { return record(ctx, "record", fn) }

func record[T any](ctx *Context, name string, fn func() T) T {
	payload := ctx.x.m.Record(name, func() []byte {
		v := fn()
		b, _, err := encodeIn(ctx.x, "value recorded by", ctx.x.info.Name, &v)
		if err != nil {
			ctx.x.fail(err)
		}
		ctx.x.limit(&sizedRecorded, len(b))
		return b
	})
	// Also a live value takes the way through its encoding, so that what the
	// code sees cannot differ in a replay.
	var v T
	if err := decode(ctx.x.codec, payload, &v); err != nil {
		ctx.x.fail(decodeError[T]("a recorded value", err))
	}
	return v
}
