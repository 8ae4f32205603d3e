package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/durango-go/durango/examples/order/fulfil"
)

// board shows what happens: a block of lines redrawn in place on a terminal,
// one line per event and second elsewhere.
type board struct {
	out      io.Writer
	terminal bool
	orders   int
	kills    int
	begin    time.Time

	mu         sync.Mutex
	drawn      int // lines of the block on the terminal
	start      int // orders placed
	ends       map[fulfil.Outcome]int
	done       int
	killings   int
	requests   int
	again      int
	busy       map[int]map[int64]bool // open requests by process
	changed    chan struct{}          // closed and replaced when start, done or busy changes
	lastOnce   sync.Once
	lastOrders chan struct{} // closed when the last burst of orders may begin
	stopped    chan struct{}
	ticking    sync.WaitGroup
}

func newBoard(s *settings, dir string) *board {
	b := &board{
		out: s.out, terminal: s.terminal, orders: s.orders, kills: s.kills, begin: time.Now(),
		ends: map[fulfil.Outcome]int{}, busy: map[int]map[int64]bool{}, changed: make(chan struct{}), lastOrders: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	fmt.Fprintf(b.out, "durango demo: %d orders, fulfilled by a worker that is killed (SIGKILL) %d times\n", s.orders, s.kills)
	until := ""
	if s.dir == "" && !s.keep {
		until = " (removed at the end; --keep keeps it)"
	}
	fmt.Fprintf(b.out, "store and ledger in %s%s, seed %d\n\n", dir, until, s.seed)
	interval := time.Second
	if b.terminal {
		interval = 100 * time.Millisecond
	}
	b.ticking.Go(func() {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				b.mu.Lock()
				b.draw()
				b.mu.Unlock()
			case <-b.stopped:
				return
			}
		}
	})
	return b
}

// close draws the last state and ends.
func (b *board) close() {
	close(b.stopped)
	b.ticking.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw()
	b.drawn = 0
}

// say adds a line that stays.
func (b *board) say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.line(format, args...)
}

func (b *board) line(format string, args ...any) {
	b.erase()
	fmt.Fprintf(b.out, "%6.1fs  %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
	if b.terminal {
		b.draw()
	}
}

// erase removes the block from the terminal.
func (b *board) erase() {
	if b.drawn > 0 {
		fmt.Fprintf(b.out, "\x1b[%dA\x1b[J", b.drawn)
		b.drawn = 0
	}
}

func (b *board) draw() {
	counts := fmt.Sprintf("%d shipped, %d refused, %d expired", b.ends[fulfil.Shipped], b.ends[fulfil.Refused], b.ends[fulfil.Expired])
	if !b.terminal {
		fmt.Fprintf(b.out, "%6.1fs  %d of %d orders ended (%s), %d in progress\n",
			time.Since(b.begin).Seconds(), b.done, b.orders, counts, b.start-b.done)
		return
	}
	b.erase()
	block := []string{
		"",
		"  orders    " + bar(b.done, b.start, b.orders, 40) + fmt.Sprintf(" %d of %d", b.done, b.orders),
		"            " + counts,
		"  worker    " + strings.Repeat("x", b.killings) + strings.Repeat(".", b.kills-b.killings) + fmt.Sprintf(" killed %d of %d times", b.killings, b.kills),
		fmt.Sprintf("  requests  %d, of which %d came again and were recognized", b.requests, b.again),
		"",
	}
	fmt.Fprint(b.out, strings.Join(block, "\n")+"\n")
	b.drawn = len(block)
}

// bar draws done, started and missing shares of a width.
func bar(done, started, of, width int) string {
	of = max(of, 1)
	d, s := done*width/of, started*width/of
	return strings.Repeat("#", d) + strings.Repeat("=", s-d) + strings.Repeat(".", width-s)
}

func (b *board) placing() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start++
	b.change()
}

func (b *board) ended(o fulfil.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends[o]++
	b.done++
	b.change()
}

// change wakes whoever waits for something to change. The caller holds b.mu.
func (b *board) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) killed(p *process, busy int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.killings++
	b.line("worker %d killed with %d requests and %d orders in flight", p.number, busy, b.start-b.done)
}

// saw takes in new lines of the ledger.
func (b *board) saw(entries []entry) {
	if len(entries) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		calls := b.busy[e.Worker]
		if calls == nil {
			calls = map[int64]bool{}
			b.busy[e.Worker] = calls
		}
		switch e.What {
		case begun:
			b.requests++
			calls[e.Call] = true
		case repeated:
			b.again++
		case answered:
			delete(calls, e.Call)
		}
	}
	b.change()
}

// last lets the last burst of orders begin, which is kept for the last kill.
func (b *board) last() { b.lastOnce.Do(func() { close(b.lastOrders) }) }

// awaitLast waits for last.
func (b *board) awaitLast(ctx context.Context) error {
	select {
	case <-b.lastOrders:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enough is how many requests in flight are worth a kill; after a second
// fewer will do.
const enough = 3

// waitBusy waits until a worker has requests in flight, and returns how many:
// none if there will be no more.
func (b *board) waitBusy(ctx context.Context, p *process) (int, error) {
	want, impatient := enough, time.After(time.Second)
	for {
		b.mu.Lock()
		busy, changed, orders, over := len(b.busy[p.pid]), b.changed, b.start-b.done, b.done == b.orders
		b.mu.Unlock()
		if busy >= min(want, max(orders, 1)) || over {
			return busy, nil
		}
		if orders == 0 {
			b.last()
		}
		select {
		case <-changed:
		case <-impatient:
			want = 1
		case <-p.ended:
			return 0, p.crashed()
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
