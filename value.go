package durango

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
)

// Value is the handle of a value: durable state of each instance, under a name
// and with a type. The orchestration sets it, clients and other instances read
// it, also after the instance has ended. It outlives continue-as-new.
type Value[T any] struct{ d *declaration }

// NewValue declares a value. The name is what the store keeps: at most 255
// bytes without control characters, and not beginning with "durango/".
func NewValue[T any](name string) Value[T] { return Value[T]{declare("value", name)} }

// Name returns the declared name.
func (v Value[T]) Name() string { return v.d.or().name }

// Set gives the value of this instance a new content. Others see it when the
// turn has been committed. The error is of a content that cannot be encoded, or is too large.
func (v Value[T]) Set(ctx *Context, content T) error {
	d := v.d.or()
	if d.problem != nil {
		return fmt.Errorf("set value %q: %w", d.name, d.problem)
	}
	payload, blobs, err := encodeIn(ctx.x, "content of value", d.name, &content)
	if err != nil {
		return err
	}
	if err := ctx.fits(&sizedValue, d.name, ctx.x.own, len(payload)); err != nil {
		return fmt.Errorf("set value %q: %w", d.name, err)
	}
	ctx.scope.Emit(history.Event{Kind: history.ValueSet, Name: d.name, Payload: payload, Blobs: blobs})
	return nil
}

// Clear removes the value of this instance. Clearing one that is not set does
// nothing.
func (v Value[T]) Clear(ctx *Context) {
	d := v.d.or()
	if _, set := ctx.x.m.Value(d.name); set {
		ctx.scope.Emit(history.Event{Kind: history.ValueCleared, Name: d.name})
	}
}

// Get returns what this instance set last; ok is false if that is nothing. It
// never asks the store. A content that does not decode into T fails the turn.
func (v Value[T]) Get(ctx *Context) (content T, ok bool) {
	d := v.d.or()
	payload, ok := ctx.x.m.Value(d.name)
	if !ok {
		return content, false
	}
	if err := decode(ctx.x.codec, payload, &content); err != nil {
		ctx.x.fail(decodeError[T](fmt.Sprintf("value %q", d.name), err))
	}
	return content, true
}

// Read returns the value of an instance as of its last committed turn; ok is
// false if it is not set. The error matches [ErrNotFound] if there is no such
// instance.
func (v Value[T]) Read(ctx context.Context, c *Client, instance string) (content T, ok bool, err error) {
	d := v.d.or()
	if err = d.problem; err == nil {
		err = checkID(instance)
	}
	var f provider.Finding
	if err == nil {
		f, err = c.look(ctx, provider.Lookup{To: provider.Target{ID: instance}, Kind: provider.LookupValue, Name: d.name})
	}
	if err != nil {
		return content, false, fmt.Errorf("read value %q of instance %q: %w", d.name, cut(instance, 64), err)
	}
	if !f.Found {
		return content, false, nil
	}
	if err := decode(c.codecOf(), f.Payload, &content); err != nil {
		return *new(T), false, decodeError[T](fmt.Sprintf("value %q of instance %q", d.name, instance), err)
	}
	bind(c.blobs, &content)
	return content, true, nil
}

// ReadFrom reads the value of another instance from an orchestration. What it
// finds is recorded; it is nil if the value is not set. The future fails with
// [ErrNotFound] if there is no such instance.
func (v Value[T]) ReadFrom(ctx *Context, instance string) *Future[*T] {
	d := v.d.or()
	err := d.problem
	if err == nil {
		err = checkID(instance)
	}
	var question []byte
	if err == nil {
		question, err = json.Marshal(valueQuestion{instance, d.name})
	}
	if err != nil {
		return settled[*T](fmt.Errorf("read value %q of instance %q: %w", d.name, cut(instance, 64), err))
	}
	return Go(ctx, func(ctx *Context) (*T, error) {
		op := ctx.scope.Emit(history.Event{Kind: history.ActivityScheduled, Name: readValue, Payload: question})
		_, e := ctx.x.m.Wait(op)
		var found None
		if err := outcome(ctx, readValueHandle, op, e, &found); err != nil {
			return nil, err
		}
		if len(e.Payload) == 0 {
			return nil, nil
		}
		content := new(T)
		if err := decode(ctx.x.codec, e.Payload[1:], content); err != nil {
			ctx.x.fail(decodeError[T](fmt.Sprintf("value %q of instance %q", d.name, instance), err))
		}
		return content, nil
	})
}

// readValue is an activity that every node has: reading is recorded as its
// result.
const readValue = "durango/read-value"

var readValueHandle = &declaration{what: "activity", name: readValue}

type valueQuestion struct {
	Instance string `json:"instance"`
	Name     string `json:"name"`
}

// builtin lists the activities that every node has.
func builtin() []engine.Activity {
	return []engine.Activity{{Name: readValue, Run: runReadValue}}
}

// runReadValue returns nothing for a value that is not set, and otherwise one
// byte that says so and what is stored.
func runReadValue(ctx context.Context, a *engine.Attempt) ([]byte, *history.Failure) {
	var q valueQuestion
	if err := json.Unmarshal(a.Input, &q); err != nil {
		return nil, &history.Failure{Code: CodeUndecodable, Message: err.Error(), Final: true}
	}
	f, blobs, err := a.Client.LookWith(ctx, provider.Lookup{To: provider.Target{ID: q.Instance}, Kind: provider.LookupValue, Name: q.Name})
	if err != nil {
		return nil, toFailure(nil, fromStore(err))
	}
	if !f.Found {
		return nil, nil
	}
	a.Blobs = blobs
	return append([]byte{1}, f.Payload...), nil
}
