package durango

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/durango-go/durango/internal/engine"
)

// ActivityInfo tells an activity what it is part of.
type ActivityInfo struct {
	Name string
	// Instance is the ID of the instance that called the activity, Execution
	// its generation.
	Instance  string
	Execution int64
	// Attempt counts from 1.
	Attempt int
	// IdempotencyKey is the same for every attempt of one call, and different
	// for every other call, also of an instance that was deleted and created
	// again under the same ID. Hand it to what must not act twice.
	IdempotencyKey string
	// ScheduledAt is when the orchestration asked, by the store's clock.
	ScheduledAt time.Time
	// Header is what the call that started the instance put along; see
	// [ClientCall]. It is a copy.
	Header map[string]string
	// Deadline is when the attempt must be over. Zero: there is none.
	Deadline time.Time
}

// Info describes the activity that ctx belongs to. Outside an activity, as in
// a test that calls the function, it returns the zero ActivityInfo.
func Info(ctx context.Context) ActivityInfo {
	a := engine.AttemptFrom(ctx)
	if a == nil {
		return ActivityInfo{}
	}
	return infoOf(a)
}

func infoOf(a *engine.Attempt) ActivityInfo {
	key := strconv.AppendInt(nil, int64(a.Key), 36)
	key = strconv.AppendInt(append(key, '/'), a.Execution, 10)
	key = strconv.AppendInt(append(key, '/'), a.Command, 10)
	return ActivityInfo{
		Name: a.Name, Instance: a.Instance, Execution: a.Execution, Attempt: int(a.Number),
		IdempotencyKey: string(key), ScheduledAt: time.Unix(0, a.ScheduledAt), Deadline: a.Deadline,
		Header: maps.Clone(a.Header),
	}
}

// environmentFrom returns what the activity that ctx belongs to was registered
// with, or nil outside an activity.
func environmentFrom(ctx context.Context) *environment {
	if a := engine.AttemptFrom(ctx); a != nil {
		env, _ := a.Env.(*environment)
		return env
	}
	return nil
}

// codecFrom returns the codec of the activity that ctx belongs to; nil, the
// default, outside an activity.
func codecFrom(ctx context.Context) Codec {
	if env := environmentFrom(ctx); env != nil {
		return env.codec
	}
	return nil
}

// ClientFrom returns a client for use inside an activity, or nil outside one.
func ClientFrom(ctx context.Context) *Client {
	if env := environmentFrom(ctx); env != nil {
		return env.client
	}
	return nil
}
