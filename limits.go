package durango

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/engine"
	"github.com/durango-go/durango/provider"
)

// Limits bound values, in bytes, as the [Codec] has encoded them. A value is
// measured by the call that hands it over, which returns a [*SizeError] for one
// that is too large, before anything has happened. Zero fields stand for the
// default.
//
// A runtime has limits ([Options.Limits]), and so has a client; those of a handle
// (WithLimits) go before them. The store's own limit is above all; math.MaxInt is
// as much as it takes. An orchestration's code is measured when it makes a call
// for the first time, and what came of it is recorded: limits that change
// change no replay.
type Limits struct {
	// ActivityInput and ActivityOutput bound what an activity is given, and what
	// it returns, is completed with, or says in a heartbeat. Default 256 KiB.
	ActivityInput, ActivityOutput int
	// OrchestrationInput bounds what an instance, a child or the execution after
	// this one starts with, OrchestrationOutput what one returns, and what it
	// keeps: each custom status, value, and value recorded by [Record]. Default
	// 256 KiB. An output that is too large, and what Record gets, fail the turn:
	// the limit can be raised and the instance go on.
	OrchestrationInput, OrchestrationOutput int
	// Signal bounds signals, and the requests and answers of updates. Default
	// 64 KiB.
	Signal int
	// Event bounds each of these. Default 1 MiB, or the largest of the others if
	// that is more. Of a handle, zero: the runtime's, or the largest of the
	// handle's if that is more.
	Event int
}

// What the limits are by default.
const (
	defaultPayload = 256 << 10
	defaultSignal  = 64 << 10
	defaultEvent   = 1 << 20
)

// MaxHeaderLength bounds the names and values of a header ([ClientCall]), in
// bytes, all together.
const MaxHeaderLength = 8 << 10

// SizeKind says what a size is of.
type SizeKind string

// What is measured.
const (
	SizeActivityInput       SizeKind = "activity input"
	SizeActivityOutput      SizeKind = "activity output"
	SizeHeartbeat           SizeKind = "heartbeat details"
	SizeOrchestrationInput  SizeKind = "orchestration input"
	SizeOrchestrationOutput SizeKind = "orchestration output"
	SizeStatus              SizeKind = "custom status"
	SizeValue               SizeKind = "value"
	SizeRecorded            SizeKind = "recorded value"
	SizeSignal              SizeKind = "signal"
	SizeRequest             SizeKind = "update request"
	SizeAnswer              SizeKind = "update answer"
	SizeHeader              SizeKind = "header"
)

// SizeError says that a value is too large. It matches [ErrTooLarge], and
// errors.As finds it also after it has been stored.
type SizeError struct {
	// What the value is.
	What SizeKind `json:"what"`
	// Name of the activity, orchestration, signal, update or value.
	Name string `json:"name"`
	// Size of the value, encoded, and the Limit that applied, in bytes.
	Size  int `json:"size"`
	Limit int `json:"limit"`
	// Field is the field of [Limits] to raise. Empty: the limit is the store's,
	// or cannot be changed.
	Field string `json:"field,omitempty"`
}

func (e *SizeError) Error() string {
	text := fmt.Sprintf("%s of %q takes %d bytes, the limit is %d", e.What, e.Name, e.Size, e.Limit)
	switch {
	case e.Field != "":
		return text + "; raise Limits." + e.Field + " of the runtime, the client or the handle (WithLimits), or hand over a Blob"
	case e.What == SizeHeader:
		return text
	}
	return text + ", the store's; hand over a Blob"
}

// Is makes every SizeError match [ErrTooLarge].
func (e *SizeError) Is(target error) bool { return target == ErrTooLarge }

func (e *SizeError) errorCode() string { return CodeTooLarge }

func (e *SizeError) detail() []byte {
	b, _ := json.Marshal(e) // of strings and numbers
	return b
}

// As makes errors.As find the [*SizeError] in an error that has been stored.
func (e *Error) As(target any) bool {
	into, ok := target.(**SizeError)
	if !ok || e.Code != CodeTooLarge || len(e.Detail) == 0 {
		return false
	}
	var size SizeError
	if json.Unmarshal(e.Detail, &size) != nil || size.What == "" {
		return false
	}
	*into = &size
	return true
}

// limitOf is one of the limits, as an index.
type limitOf uint8

const (
	limitActivityInput limitOf = iota
	limitActivityOutput
	limitOrchestrationInput
	limitOrchestrationOutput
	limitSignal
	limitCount
)

var limitFields = [limitCount]string{"ActivityInput", "ActivityOutput", "OrchestrationInput", "OrchestrationOutput", "Signal"}

// sized is a kind of values.
type sized struct {
	what  SizeKind
	limit limitOf
	count engine.SizeOf
	// asks: the call asks for something that a canceled context does not.
	asks bool
}

var (
	sizedActivityInput       = sized{SizeActivityInput, limitActivityInput, engine.ActivityInput, true}
	sizedActivityOutput      = sized{SizeActivityOutput, limitActivityOutput, engine.ActivityOutput, false}
	sizedHeartbeat           = sized{SizeHeartbeat, limitActivityOutput, engine.StateSize, false}
	sizedOrchestrationInput  = sized{SizeOrchestrationInput, limitOrchestrationInput, engine.OrchestrationInput, true}
	sizedOrchestrationOutput = sized{SizeOrchestrationOutput, limitOrchestrationOutput, engine.OrchestrationOutput, false}
	sizedStatus              = sized{SizeStatus, limitOrchestrationOutput, engine.StateSize, false}
	sizedValue               = sized{SizeValue, limitOrchestrationOutput, engine.StateSize, false}
	sizedRecorded            = sized{SizeRecorded, limitOrchestrationOutput, engine.StateSize, false}
	sizedSignal              = sized{SizeSignal, limitSignal, engine.SignalSize, true}
	sizedRequest             = sized{SizeRequest, limitSignal, engine.SignalSize, false}
	sizedAnswer              = sized{SizeAnswer, limitSignal, engine.SignalSize, false}
)

func (l *Limits) fields() [limitCount]*int {
	return [limitCount]*int{&l.ActivityInput, &l.ActivityOutput, &l.OrchestrationInput, &l.OrchestrationOutput, &l.Signal}
}

// check returns what is wrong with limits.
func (l *Limits) check(bad func(is bool, field, reason string)) {
	for i, f := range l.fields() {
		bad(*f < 0, limitFields[i], "it is negative")
	}
	bad(l.Event < 0, "Event", "it is negative")
}

// problem is everything that is wrong with limits.
func (l Limits) problem(of string) error {
	var problems []error
	l.check(func(is bool, field, reason string) {
		if is {
			problems = append(problems, invalid(of, "Limits."+field, reason))
		}
	})
	return errors.Join(problems...)
}

// on puts the non-zero fields of l on base.
func (l Limits) on(base Limits) Limits {
	from, to := l.fields(), base.fields()
	for i := range from {
		set(to[i], *from[i])
	}
	set(&base.Event, l.Event)
	return base
}

// over is on for limits of a handle over those of a runtime: what l says of one
// kind goes before what base says of all.
func (l Limits) over(base Limits) Limits {
	base = l.on(base)
	if l.Event == 0 {
		for _, f := range l.fields() {
			base.Event = max(base.Event, *f)
		}
	}
	return base
}

func (l Limits) withDefaults() Limits {
	d := Limits{defaultPayload, defaultPayload, defaultPayload, defaultPayload, defaultSignal, defaultEvent}
	return l.over(d)
}

// bounds are limits as they are applied.
type bounds struct {
	limits Limits          // without zeros
	fit    [limitCount]int // what is surely not too large, unless a handle says otherwise
	sizes  *engine.Sizes   // nil: nobody counts
	// store is the largest payload of the store, less the room for what comes
	// with it; zero: not known yet.
	store *atomic.Int64
}

func newBounds(l Limits, sizes *engine.Sizes) *bounds {
	b := &bounds{limits: l.withDefaults(), sizes: sizes, store: new(atomic.Int64)}
	b.fitted()
	return b
}

// fitted computes fit.
func (b *bounds) fitted() {
	store := int(cmp.Or(b.store.Load(), math.MaxInt64))
	for i, f := range b.limits.fields() {
		b.fit[i] = min(*f, b.limits.Event, store)
	}
}

// stored sets the largest payload of the store, zero for none.
func (b *bounds) stored(largest int) *bounds {
	b.store.Store(room(largest))
	b.fitted()
	return b
}

// room is what the largest payload of a store leaves for a value beside what
// comes with it: names, a header, a policy.
func room(largest int) int64 {
	if largest <= 0 {
		return math.MaxInt64
	}
	return int64(largest - min(32<<10, largest/8))
}

// over returns b with the limits of a handle put over it.
func (b *bounds) over(own *Limits) *bounds {
	if own == nil {
		return b
	}
	n := *b
	n.limits = own.over(b.limits)
	n.fitted()
	return &n
}

// count adds a size to the histograms.
func (b *bounds) count(k *sized, size int) {
	if b.sizes != nil {
		b.sizes.Observe(k.count, size)
	}
}

// measure returns why a value is too large, or nil. own are the limits of the
// handle, or nil.
func (b *bounds) measure(k *sized, name string, own *Limits, size int) error {
	store := b.store.Load()
	if own == nil && size <= b.fit[k.limit] && (store == 0 || int64(size) <= store) {
		return nil
	}
	l := b.limits
	if own != nil {
		l = own.over(l)
	}
	e := &SizeError{What: k.what, Name: name, Size: size, Limit: *l.fields()[k.limit], Field: limitFields[k.limit]}
	if l.Event < e.Limit {
		e.Limit, e.Field = l.Event, "Event"
	}
	if store != 0 && store < int64(e.Limit) {
		e.Limit, e.Field = int(store), ""
	}
	if size <= e.Limit {
		return nil
	}
	return e
}

// fits returns, before a call of the code asks for anything, why what it was
// given is too large. The answer is recorded, so it is the same in every replay.
func (ctx *Context) fits(k *sized, name string, own *Limits, size int) error {
	x := ctx.x
	if x.m.Live() {
		x.env.bounds.count(k, size)
		if own == nil && size <= x.env.bounds.fit[k.limit] {
			return nil
		}
	}
	if k.asks && ctx.scope.Canceled() {
		return nil // it is refused for that
	}
	var f *history.Failure
	if x.m.Live() {
		f = toFailure(x.codec, x.env.bounds.measure(k, name, own, size))
	}
	f = ctx.scope.Refuse(string(k.what), name, f)
	if f == nil {
		return nil
	}
	var e *SizeError
	if err := fromFailure(x.codec, f); !errors.As(err, &e) {
		return err // another codec
	}
	return e
}

// noBounds are those of a nil client.
var noBounds = newBounds(Limits{}, nil)

func (c *Client) boundsOf() *bounds {
	if c == nil {
		return noBounds
	}
	return c.bounds
}

// fits returns, before a call is made, why what it was given is too large.
func (c *Client) fits(ctx context.Context, k *sized, name string, own *Limits, size int) error {
	b := c.boundsOf()
	b.count(k, size)
	if size > defaultPayload && c != nil { // not worth asking before
		c.room(ctx)
	}
	return b.measure(k, name, own, size)
}

// room asks the store, once, how large a payload may be.
func (c *Client) room(ctx context.Context) {
	if c.bounds.store.Load() != 0 {
		return
	}
	if d, err := c.c.Store().Describe(ctx); err == nil {
		c.bounds.store.Store(room(d.MaxEventSize))
	} // else the call will meet the same trouble
}

// sizeError names what a store has refused as too large.
func (c *Client) sizeError(ctx context.Context, err error, k *sized, name string, size int) error {
	if c == nil || !errors.Is(err, provider.ErrTooLarge) {
		return err
	}
	c.room(ctx)
	limit := c.bounds.store.Load()
	if limit == 0 || int64(size) <= limit { // what comes with it is
		return err
	}
	return &SizeError{What: k.what, Name: name, Size: size, Limit: int(limit)}
}

// checkHeader reports what is wrong with the header of a call.
func checkHeader(name string, header map[string]string) error {
	size := 0
	for k, v := range header {
		size += len(k) + len(v)
	}
	if size > MaxHeaderLength {
		return &SizeError{What: SizeHeader, Name: name, Size: size, Limit: MaxHeaderLength}
	}
	return nil
}

// withLimits returns a declaration with non-zero fields of l put over its own.
// allowed are the limits that mean something for it.
func (d *declaration) withLimits(l Limits, allowed ...limitOf) *declaration {
	n := *d.or()
	if n.limits != nil {
		l = l.on(*n.limits)
	}
	n.limits = &l
	var problems []error
	bad := func(is bool, field, reason string) {
		if is {
			problems = append(problems, invalid(n.what+" option", "Limits."+field, reason))
		}
	}
	l.check(bad)
	for i, f := range l.fields() {
		bad(*f > 0 && !slices.Contains(allowed, limitOf(i)), limitFields[i], "it means nothing here")
	}
	n.limitProblem = errors.Join(problems...)
	n.problem = cmp.Or(n.problem, n.limitProblem)
	return &n
}

// WithLimits returns a copy of the handle for which l's non-zero fields go before
// the limits of the runtime or client: ActivityInput for its calls, ActivityOutput
// for what runs as it, and Event.
func (a Activity[In, Out]) WithLimits(l Limits) Activity[In, Out] {
	return Activity[In, Out]{a.d.withLimits(l, limitActivityInput, limitActivityOutput)}
}

// WithLimits is [Activity.WithLimits] of an activity with its function.
func (b BoundActivity[In, Out]) WithLimits(l Limits) BoundActivity[In, Out] {
	b.Activity = b.Activity.WithLimits(l)
	return b
}

// WithLimits returns a copy of the handle for which l's non-zero fields go before
// the limits of the runtime or client: OrchestrationInput for what starts with it,
// OrchestrationOutput for what runs as it, and Event.
func (o Orchestration[In, Out]) WithLimits(l Limits) Orchestration[In, Out] {
	return Orchestration[In, Out]{o.d.withLimits(l, limitOrchestrationInput, limitOrchestrationOutput)}
}

// WithLimits is [Orchestration.WithLimits] of an orchestration with its
// function.
func (b BoundOrchestration[In, Out]) WithLimits(l Limits) BoundOrchestration[In, Out] {
	b.Orchestration = b.Orchestration.WithLimits(l)
	return b
}

// WithLimits returns a copy of the handle that sends up to l.Signal, and l.Event.
func (s Signal[T]) WithLimits(l Limits) Signal[T] {
	s.d = s.d.withLimits(l, limitSignal)
	return s
}

// WithLimits returns a copy of the handle whose requests, and the answers of what
// handles them, have up to l.Signal, and l.Event.
func (u Update[In, Out]) WithLimits(l Limits) Update[In, Out] {
	u.d = u.d.withLimits(l, limitSignal)
	return u
}
