package durangotest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/durango-go/durango"
)

// CrashEverywhere finds out whether a program is as durable as it should be.
// It runs f as [Run] does, undisturbed, and counts what the node writes to the
// store: turns, ends of activities that had been queued, what activities send.
// Then it runs f again for each of these writes, twice: the node crashes just
// before, and just after, the write reaches the store, and another one takes
// over. However a run went, it must end as the undisturbed one did: every
// instance with the same status, output, failure, custom status and values
// ([durango.Value]), its updates with the same answers, and the world with the
// same effects ([Env.Effect]), in whatever order. The first run that does not
// fails the test, and the report names the write that the node crashed at and
// what was different. With a codec ([Env.Configure]) it is values that are
// compared, and not their stored forms: as JSON where the codec can give it, else
// by its method Same if it has one ([durango.Codec]).
//
// f has to wait for what it starts; what has not ended an hour after f returned
// is not compared. Outputs and effects must not differ from run to run by
// themselves, as random IDs do; to make sure, f is first run twice without a
// crash. With -short the node crashes at 25 of the writes at most.
//
// The node is cut off from the store for good: nothing that it does afterwards
// has happened. Fakes should record what they do with the Env of their own
// run, as in
//
//	durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
//		e.Replace(ChargeCard.Bind(func(ctx context.Context, c Charge) (Receipt, error) {
//			e.EffectOnce(ctx, c.Cents)
//			return Receipt{}, nil
//		}))
//		durangotest.Wait(e, durangotest.Start(e, Fulfil, "order-42", Order{}))
//	}, definitions...)
func CrashEverywhere(t *testing.T, f func(t *testing.T, e *Env), definitions ...durango.Registrable) {
	t.Helper()
	known := &forms{}
	want, writes := undisturbed(t, f, known, definitions)
	again, _ := undisturbed(t, f, known, definitions)
	if diff := want.diff(again); diff != "" && !t.Failed() {
		t.Errorf("two runs without a crash end differently, so that runs with one cannot be compared:\n%s", diff)
	}
	if t.Failed() {
		return
	}
	if writes == 0 {
		t.Fatal("the node wrote nothing, so that it cannot crash anywhere")
	}
	step := 1
	if testing.Short() {
		step = (writes + 24) / 25
	}
	// Writes may come in other groups than before, so the last is where
	// no crash happens any more.
	for n := 1; ; n += step {
		for _, fate := range []fate{cutBefore, cutAfter} {
			tap := &tap{at: n, fate: fate}
			ok := t.Run(fmt.Sprintf("crash_%s_write_%d", fate, n), func(t *testing.T) {
				bubble(t, func(t *testing.T) { crash(t, f, tap, want, known, definitions) })
			})
			if !ok {
				return
			}
			if tap.point == "" && n > writes {
				return
			}
		}
	}
}

// CrashSomewhere is CrashEverywhere for a great many programs: f runs with a
// crash at so many points only, a random sample of them when the program has
// more, one before and one after each write; the same seed chooses the same.
// That f ends alike without a crash is looked at only when a run fails.
func CrashSomewhere(t *testing.T, points int, seed uint64, f func(t *testing.T, e *Env), definitions ...durango.Registrable) {
	t.Helper()
	known := &forms{}
	want, writes := undisturbed(t, f, known, definitions)
	if t.Failed() {
		return
	}
	sample := rand.New(rand.NewPCG(seed, 0)).Perm(2 * writes)
	for _, point := range sample[:min(points, len(sample))] {
		tap := &tap{at: 1 + point/2, fate: cutBefore + fate(point%2)}
		ok := t.Run(fmt.Sprintf("crash_%s_write_%d", tap.fate, tap.at), func(t *testing.T) {
			bubble(t, func(t *testing.T) { crash(t, f, tap, want, known, definitions) })
		})
		if ok {
			continue
		}
		again, _ := undisturbed(t, f, known, definitions)
		if diff := want.diff(again); diff != "" {
			t.Errorf("but then two runs without a crash end differently too:\n%s", diff)
		}
		return
	}
}

func undisturbed(t *testing.T, f func(*testing.T, *Env), known *forms, definitions []durango.Registrable) (state, int) {
	t.Helper()
	var s state
	tap := &tap{}
	bubble(t, func(t *testing.T) {
		e := newEnv(t, tap, definitions)
		defer e.close()
		f(t, e)
		tap.stop()
		s = e.state(known)
	})
	return s, tap.count
}

// crash runs f with a crash and compares how it ends.
func crash(t *testing.T, f func(*testing.T, *Env), tap *tap, want state, known *forms, definitions []durango.Registrable) {
	e := newEnv(t, tap, definitions)
	defer e.close()
	defer func() {
		if t.Failed() && tap.point != "" {
			t.Logf("the node crashed just %s write %d, %s", tap.fate, tap.at, tap.point)
		}
	}()
	f(t, e)
	tap.stop()
	if diff := want.diff(e.state(known)); diff != "" {
		t.Errorf("the program does not end as it does without a crash (- without, + with the crash):\n%s", diff)
	}
}

// fate is what becomes of a write.
type fate int

const (
	written fate = iota
	cutBefore
	cutAfter
)

func (f fate) String() string {
	switch f {
	case cutBefore:
		return "before"
	case cutAfter:
		return "after"
	}
	return "without"
}

// tap counts the writes of all nodes and decides the fate of one. A nil tap
// lets all pass.
type tap struct {
	at   int // the number of the write, from 1
	fate fate

	mu      sync.Mutex
	stopped bool
	count   int
	point   string // what the node crashed at, once it has
}

func (t *tap) next(what func() string) fate {
	if t == nil {
		return written
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return written
	}
	if t.count++; t.count != t.at || t.fate == written {
		return written
	}
	t.point = what()
	return t.fate
}

// stop lets everything pass from now on.
func (t *tap) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
}
