package durango_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
)

var (
	seed     = flag.Uint64("seed", 0, "repeat the generated program of this seed only")
	programs = flag.Int("programs", 150, "how many programs to generate")
)

// "Replay runs the same algorithm over the recorded turns": programs of all that
// the language composes with, driven at random. The harness replays the whole
// history after every turn; here each replayed turn must also have left the same
// trace as the live one.
func TestGeneratedPrograms(t *testing.T) {
	if *seed != 0 {
		checkGenerated(t, *seed)
		return
	}
	first := rand.Uint64()
	for i := range uint64(*programs) {
		if !t.Run(fmt.Sprint(first+i), func(t *testing.T) { checkGenerated(t, first+i) }) {
			t.Fatalf("repeat with: go test -run TestGeneratedPrograms . -seed %d", first+i)
		}
	}
}

func checkGenerated(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	block := generate(r, 3)
	var live, current *program
	o := durango.DefineOrchestration("o", func(ctx *durango.Context, _ durango.None) (string, error) {
		p := newProgram(ctx)
		if current = p; live == nil {
			live = p
		}
		v, err := p.block(ctx, block)
		p.printf("end %d %v", v, err)
		return strings.Join(p.trace, "\n"), err
	})
	h := newHarness(t, o, double, broken)
	h.hold = true
	check := func() {
		t.Helper()
		if h.failed != nil {
			t.Fatalf("turn failed: %v", h.failed)
		}
		if a, b := h.traced(live), h.traced(current); a != b {
			t.Fatalf("replay of turn %d left another trace:\n%s\nlive:\n%s", h.number, b, a)
		}
	}
	h.start("o", nil)
	check()
	for n := 0; n < 60 && h.end == nil; n++ {
		h.now += r.Int64N(int64(20 * time.Second))
		h.deliver(randomDeliveries(r, h, n)...)
		check()
	}
	if len(live.trace) == 0 {
		t.Fatal("the program did nothing")
	}
}

// traced is what the program has done, once the execution has ended without what
// the sagas did that it left: a replay need not run them where that emitted
// nothing, because it could as well have been recorded when they were abandoned.
func (h *harness) traced(p *program) string {
	trace := p.trace
	if i := slices.IndexFunc(trace, func(line string) bool { return strings.HasPrefix(line, "end ") }); h.end != nil && i >= 0 {
		trace = trace[:i+1]
	}
	return strings.Join(trace, "\n")
}

func randomDeliveries(r *rand.Rand, h *harness, n int) []history.Event {
	events := h.m.DueTimers(h.now, nil)
	r.Shuffle(len(h.answers), func(i, j int) { h.answers[i], h.answers[j] = h.answers[j], h.answers[i] })
	keep := r.IntN(len(h.answers) + 1)
	events = append(events, h.answers[keep:]...)
	h.answers = h.answers[:keep]
	for range r.IntN(3) {
		events = append(events, history.Event{Kind: history.SignalReceived, Name: "counted", Payload: fmt.Append(nil, r.IntN(100))})
	}
	if n == 59 || r.IntN(50) == 0 {
		events = append(events, history.Event{Kind: history.CancelRequested, Text: "stop"})
	}
	if r.IntN(2) == 0 {
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
	return events
}

// statement is one step of a generated program.
type statement struct {
	verb  int
	a, b  int
	inner []statement
}

const (
	genCall = iota
	genGo
	genAfter
	genNext
	genAwait
	genSelect
	genRace
	genSettle
	genAsCompleted
	genBreakOut
	genAll
	genCancel
	genTryNext
	genRange
	genAcquire
	genSend
	genReceive
	genSpawn // from here on with an inner block
	genWithCancel
	genWithTimeout
	genSaga
	genDetach
	genVerbs
)

func generate(r *rand.Rand, depth int) []statement {
	list := make([]statement, 2+r.IntN(6))
	for i := range list {
		s := statement{verb: r.IntN(genVerbs), a: r.IntN(1000), b: r.IntN(1000)}
		if s.verb >= genSpawn && depth == 0 {
			s.verb = r.IntN(genSpawn)
		} else if s.verb >= genSpawn {
			s.inner = generate(r, depth-1)
		}
		list[i] = s
	}
	return list
}

// program is the state of one run of a generated program.
type program struct {
	trace   []string
	futures []*durango.Future[int]
	sem     *durango.Semaphore
	ch      *durango.Chan[int]
}

func newProgram(ctx *durango.Context) *program {
	return &program{sem: durango.NewSemaphore(ctx, 1), ch: durango.NewChan[int](ctx, 2)}
}

func (p *program) printf(format string, args ...any) {
	p.trace = append(p.trace, fmt.Sprintf(format, args...))
}

func (p *program) block(ctx *durango.Context, list []statement) (int, error) {
	var err error
	for _, s := range list {
		if e := p.step(ctx, s); e != nil {
			err = e
		}
	}
	return len(p.futures), err
}

// some is a nil future, one of a signal, which nobody else waits for, and up to
// four others.
func (p *program) some(ctx *durango.Context, s statement) []*durango.Future[int] {
	fs := []*durango.Future[int]{nil, counted.Next(ctx)}
	for i := range min(s.b%5, len(p.futures)) {
		fs = append(fs, p.futures[(s.a+i)%len(p.futures)])
	}
	if s.a%2 == 0 {
		fs[0], fs[len(fs)-1] = fs[len(fs)-1], fs[0]
	}
	return fs
}

func (p *program) step(ctx *durango.Context, s statement) error {
	add := func(f *durango.Future[int]) { p.futures = append(p.futures, f) }
	d := time.Duration(s.b%40) * time.Second
	switch s.verb {
	case genCall:
		v, err := double.Call(ctx, s.a)
		p.printf("called %d %v", v, err)
	case genGo:
		if s.b%4 == 0 {
			add(broken.Go(ctx, durango.None{}))
		} else {
			add(double.Go(ctx, s.b))
		}
	case genAfter:
		add(durango.Go(ctx, func(ctx *durango.Context) (int, error) { return s.a, ctx.Sleep(d) }))
	case genNext:
		part, cancel := ctx.WithTimeout(d)
		defer cancel()
		v, err := counted.Next(ctx).Await(part)
		p.printf("signal %d %v", v, err)
	case genAwait:
		if len(p.futures) > 0 { // it may be the coroutine's own
			part, cancel := ctx.WithTimeout(d)
			defer cancel()
			v, err := p.futures[s.a%len(p.futures)].Await(part)
			p.printf("awaited %d %v", v, err)
		}
	case genTryNext:
		v, ok, err := counted.TryNext(ctx)
		p.printf("tried %d %v %v", v, ok, err)
	case genCancel:
		if len(p.futures) > 0 {
			p.futures[s.a%len(p.futures)].Cancel(ctx)
		}
	case genAcquire:
		err := p.sem.Acquire(ctx)
		p.printf("acquired %v", err)
		if err == nil {
			_ = ctx.Sleep(d)
			p.sem.Release()
		}
	case genSend:
		part, cancel := ctx.WithTimeout(d)
		defer cancel()
		p.printf("sent %v", p.ch.Send(part, s.a))
	case genReceive:
		part, cancel := ctx.WithTimeout(d)
		defer cancel()
		v, err := p.ch.Next(ctx).Await(part)
		p.printf("received %d %v", v, err)
	case genSelect, genRace, genSettle, genAsCompleted, genBreakOut, genAll, genRange:
		return p.compose(ctx, s, d)
	default:
		return p.nest(ctx, s, d)
	}
	return nil
}

// compose waits for several things, with a limit on most waits.
func (p *program) compose(ctx *durango.Context, s statement, d time.Duration) error {
	part, cancel := ctx.WithTimeout(d)
	defer cancel()
	fs := p.some(ctx, s)
	list := make([]durango.Awaitable, 0, len(fs)+1)
	for _, f := range fs {
		list = append(list, f)
	}
	list = append(list, p.ch.Next(ctx))
	switch s.verb {
	case genSelect, genRace:
		choose := part.Select
		if s.verb == genRace {
			choose = part.Race
		}
		won := choose(list...)
		at := -1
		for i, f := range list {
			if won != nil && f == won {
				at = i
				break
			}
		}
		p.printf("won %d, %v", at, part.Err())
	case genSettle:
		p.printf("settled %s", show(durango.Settle(part, fs...)))
	case genAll:
		vs, err := durango.All(part, fs...)
		p.printf("all %v %v", vs, err)
		return err
	case genAsCompleted, genBreakOut:
		n := 0
		for i, r := range durango.AsCompleted(part, fs...) {
			p.printf("completed %d: %d %v", i, r.Value, r.Err)
			if n++; s.verb == genBreakOut && n == 2 {
				break
			}
			if s.a%3 == 0 {
				_ = ctx.Sleep(time.Second)
			}
		}
	case genRange:
		n := 0
		for v, err := range counted.All(part) {
			p.printf("ranged %d %v", v, err)
			if n++; n == 3 {
				break
			}
		}
	}
	return nil
}

// nest runs an inner block in some way.
func (p *program) nest(ctx *durango.Context, s statement, d time.Duration) error {
	switch s.verb {
	case genSpawn:
		p.futures = append(p.futures, durango.Go(ctx, func(ctx *durango.Context) (int, error) { return p.block(ctx, s.inner) }))
	case genWithCancel:
		part, cancel := ctx.WithCancel()
		_, err := p.block(part, s.inner)
		if s.a%2 == 0 {
			cancel("enough")
		}
		p.printf("scope %v %v", err, part.Err())
	case genWithTimeout:
		part, cancel := ctx.WithTimeout(d)
		_, err := p.block(part, s.inner)
		if s.a%3 > 0 {
			cancel()
		}
		p.printf("limit %v %v", err, part.Err())
	case genDetach:
		part, cancel := ctx.Detach().WithTimeout(d)
		defer cancel()
		_, err := p.block(part, s.inner)
		p.printf("detached %v", err)
	case genSaga:
		_, err := durango.RunSaga(ctx, func(saga *durango.Saga) (int, error) {
			for i := range 1 + s.a%3 {
				saga.Add(func(ctx *durango.Context) error {
					p.printf("undo %d: %v", i, ctx.Sleep(d))
					if s.b%5 == i {
						return errors.New("stuck")
					}
					return nil
				})
			}
			n, err := p.block(ctx, s.inner)
			return n, errors.Join(err, ctx.Err())
		})
		p.printf("saga %v %v", err, errors.Is(err, durango.ErrNotCompensated))
		return err
	}
	return nil
}
