package durangotest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/durango-go/durango"
)

// ledger is what the fakes of a test have done to the world.
type ledger struct {
	mu      sync.Mutex
	entries []string
	keys    map[string]bool // idempotency keys that were used
}

// Effect records that an activity, whose context ctx is, has done something
// that counts each time: sent a mail, added a row. [CrashEverywhere] compares
// what was recorded. What a process does that has crashed is not recorded,
// because it does not happen.
func (e *Env) Effect(ctx context.Context, what ...any) {
	e.effect(ctx, "", what)
}

// EffectOnce records an effect like [Env.Effect], but only the first with the
// idempotency key of the activity that ctx belongs to: as a service does that
// was handed durango.Info(ctx).IdempotencyKey.
func (e *Env) EffectOnce(ctx context.Context, what ...any) {
	e.effect(ctx, durango.Info(ctx).IdempotencyKey, what)
}

// Effects returns what has been recorded, in order, each as the name of the
// activity and what it said.
func (e *Env) Effects() []string {
	e.effects.mu.Lock()
	defer e.effects.mu.Unlock()
	return slices.Clone(e.effects.entries)
}

func (e *Env) effect(ctx context.Context, key string, what []any) {
	if l, ok := durango.ClientFrom(ctx).Store().(*line); ok && !l.alive() {
		return
	}
	text := strings.TrimSuffix(fmt.Sprintln(what...), "\n")
	if name := durango.Info(ctx).Name; name != "" {
		text = strings.TrimSuffix(name+": "+text, ": ")
	}
	e.effects.mu.Lock()
	defer e.effects.mu.Unlock()
	if key != "" {
		key += "\x00" + text // a key is one activity's, which may do several things
		if e.effects.keys[key] {
			return
		}
		if e.effects.keys == nil {
			e.effects.keys = map[string]bool{}
		}
		e.effects.keys[key] = true
	}
	e.effects.entries = append(e.effects.entries, text)
}
