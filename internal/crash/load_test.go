package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
)

var rest = flag.Duration("rest", 0, "how long each of five clients rests between instances; for long runs")

// load is a client that starts instances, sends signals and asks for updates
// for as long as it is told to, and remembers what was acknowledged. What was
// not it tries again, under the same IDs, as clients do.
type load struct {
	t      *testing.T
	client *durango.Client
	book   *ledger
	ctx    context.Context // ends when the test does
	// stale: for a moment a store may answer that knows less than another one did
	// before. What is missing then is asked for again.
	stale    bool
	stop     chan struct{}
	done     sync.WaitGroup
	messages atomic.Int64
	mu       sync.Mutex
	runs     []acknowledged
}

type acknowledged struct {
	id   string
	wait func(context.Context) (string, error)
	want string // "" for any
}

func startLoad(t *testing.T, p *place, stale bool) *load {
	book, err := openLedger(p.ledger())
	assert.NoError(t, err)
	l := &load{t: t, client: durango.NewClient(p.store), book: book, stale: stale, ctx: t.Context(), stop: make(chan struct{})}
	for w := range 5 {
		l.done.Go(func() {
			for i := w; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				l.one(fmt.Sprintf("w%d-%d", w, i), i)
				if *rest > 0 {
					<-time.After(*rest)
				}
			}
		})
	}
	return l
}

func (l *load) finish() { close(l.stop); l.done.Wait() }

func (l *load) acknowledge(id, want string, wait func(context.Context) (string, error)) {
	l.book.write("start", id)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, acknowledged{id, wait, want})
}

// until makes a call that can be repeated until it is acknowledged. It gives up
// only on an error that repeating does not help, or when the test ends.
func (l *load) until(id string, call func(context.Context) error) bool {
	const forgiven = time.Minute
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
		err := call(ctx)
		cancel()
		switch {
		case err == nil || errors.Is(err, durango.ErrAlreadyExists):
			return true
		case l.ctx.Err() != nil:
			return false
		case l.stale && errors.Is(err, durango.ErrNotFound) && time.Since(began) < forgiven:
		case errors.Is(err, durango.ErrNotFound), errors.Is(err, durango.ErrNotRunning), errors.Is(err, durango.ErrInvalid):
			l.t.Errorf("%s: %v", id, err)
			return false
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (l *load) one(id string, i int) {
	switch i % 4 {
	case 0:
		if l.until(id, func(ctx context.Context) error { _, err := chain.Start(ctx, l.client, id, 6); return err }) {
			l.acknowledge(id, "6", func(ctx context.Context) (string, error) {
				out, err := chain.Run(l.client, id).Wait(ctx)
				return fmt.Sprint(len(out)), err
			})
		}
	case 1:
		if !l.until(id, func(ctx context.Context) error { _, err := mixed.Start(ctx, l.client, id, id); return err }) {
			return
		}
		l.acknowledge(id, "1,2,3;child of "+id, mixed.Run(l.client, id).Wait)
		for n := range 3 {
			once := note.With(durango.SendOptions{ID: fmt.Sprint(n)})
			if !l.until(id, func(ctx context.Context) error { return once.Send(ctx, l.client, id, fmt.Sprint(n+1)) }) {
				return
			}
			l.messages.Add(1)
			l.book.write("signal", id, fmt.Sprint(n+1))
		}
	case 2:
		if !l.until(id, func(ctx context.Context) error {
			_, err := eternal.Start(ctx, l.client, id, round{Left: 5})
			return err
		}) {
			return
		}
		wait := func(ctx context.Context) (string, error) {
			out, err := eternal.Run(l.client, id).Wait(ctx)
			return fmt.Sprint(out), err
		}
		l.acknowledge(id, "15", wait)
		// The load follows the workers: without a wait it would be all starts.
		l.until(id, func(ctx context.Context) error { _, err := wait(ctx); return err })
	case 3:
		l.deposits(id)
	}
}

// deposits asks for updates one after another. Each answer is the balance that
// it must be if every earlier request was handled once.
func (l *load) deposits(id string) {
	const n = 5
	if !l.until(id, func(ctx context.Context) error { _, err := account.Start(ctx, l.client, id, n); return err }) {
		return
	}
	l.acknowledge(id, fmt.Sprint(n*(n+1)/2), func(ctx context.Context) (string, error) {
		out, err := account.Run(l.client, id).Wait(ctx)
		return fmt.Sprint(out), err
	})
	for i := 1; i <= n; i++ {
		var got int
		once := deposit.With(durango.SendOptions{ID: fmt.Sprint(i)})
		if !l.until(id, func(ctx context.Context) (err error) { got, err = once.Call(ctx, l.client, id, i); return err }) {
			return
		}
		l.messages.Add(1)
		if got != i*(i+1)/2 {
			l.t.Errorf("%s: the balance after deposit %d is %d", id, i, got)
		}
		l.book.write("update", id, fmt.Sprint(i))
	}
}
