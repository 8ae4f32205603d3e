package demo

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/examples/order/fulfil"
)

// world is everything outside: a warehouse, a payment gateway, a carrier and a
// mail provider. What they have done is in the ledger and nowhere else, so that
// it outlives the process that asked, as it would if they were somewhere else.
//
// They are as idempotent as the real ones: a request with a key that was seen
// before is answered with what was done then. Two requests with two keys are
// two orders for work, and are both carried out: nothing here protects a
// caller who would charge twice.
type world struct {
	ledger *ledger
	seed   uint64
	calls  atomic.Int64
	pace   float64 // scales the time that requests take

	mu       sync.Mutex
	stock    map[string]int
	done     map[string]string // by service, action and key: the answer
	reserved map[string][]line // by order
	paid     map[string]int64  // by order
	tries    map[string]uint64 // of charges, by order
}

var _ fulfil.Services = (*world)(nil)

func newWorld(l *ledger, past []entry, stock []stockItem, seed uint64, pace float64) *world {
	w := &world{
		ledger: l, seed: seed, pace: pace, stock: map[string]int{}, done: map[string]string{},
		reserved: map[string][]line{}, paid: map[string]int64{}, tries: map[string]uint64{},
	}
	for _, s := range stock {
		w.stock[s.SKU] = s.Stock
	}
	for _, e := range past {
		if e.Service == "gateway" && e.Action == "charge" && e.What == begun {
			w.tries[e.Order]++
		}
		if e.What == effect {
			w.apply(e)
		}
	}
	return w
}

// apply changes the state by an effect, old or new.
func (w *world) apply(e entry) {
	w.done[e.Service+"\x00"+e.Action+"\x00"+e.Key] = e.Result
	switch e.Action {
	case "reserve":
		for _, s := range e.SKUs {
			w.stock[s.SKU] -= s.Quantity
		}
		w.reserved[e.Order] = e.SKUs
	case "release":
		for _, s := range e.SKUs {
			w.stock[s.SKU] += s.Quantity
		}
		delete(w.reserved, e.Order)
	case "charge":
		w.paid[e.Order] += e.Cents
	case "refund":
		w.paid[e.Order] -= e.Cents
	}
}

// request is one request to a service. act returns what to record, called with
// the lock held; an entry without Action means that there is nothing to do.
func (w *world) request(ctx context.Context, service, action, order string, act func(e *entry) error) (string, error) {
	e := entry{
		Worker: os.Getpid(), Call: w.calls.Add(1), What: begun,
		Service: service, Action: action, Order: order, Key: durango.Info(ctx).IdempotencyKey,
	}
	if err := w.ledger.append(e); err != nil {
		return "", err
	}
	if err := w.wait(ctx); err != nil { // the way there
		return "", err
	}
	result, err := w.perform(e, act)
	if err == nil {
		err = w.wait(ctx) // and the way back, on which an answer may be lost
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return "", err
	}
	e.What, e.Result = answered, result
	if err != nil {
		e.Result = err.Error()
	}
	if lerr := w.ledger.append(e); lerr != nil {
		return "", lerr
	}
	return result, err
}

func (w *world) perform(e entry, act func(e *entry) error) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if result, ok := w.done[e.Service+"\x00"+e.Action+"\x00"+e.Key]; ok {
		e.What, e.Result = repeated, result
		return result, w.ledger.append(e)
	}
	e.What = effect
	if err := act(&e); err != nil || e.Action == "" {
		return "", err
	}
	if err := w.ledger.append(e); err != nil {
		return "", err
	}
	w.apply(e)
	return e.Result, nil
}

// wait takes the time that half a request takes.
func (w *world) wait(ctx context.Context) error {
	d := time.Duration(w.pace * float64(5+rand.IntN(40)) * float64(time.Millisecond))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reserve takes an order's items off the stock.
func (w *world) Reserve(ctx context.Context, o fulfil.Order) (durango.None, error) {
	_, err := w.request(ctx, "warehouse", "reserve", o.ID, func(e *entry) error {
		for _, i := range o.Items {
			if w.stock[i.SKU] < i.Quantity {
				return fulfil.OutOfStock.New(i.SKU)
			}
			e.SKUs = append(e.SKUs, line{i.SKU, i.Quantity})
		}
		return nil
	})
	return durango.None{}, err
}

// Release puts them back, if they were taken.
func (w *world) Release(ctx context.Context, o fulfil.Order) (durango.None, error) {
	_, err := w.request(ctx, "warehouse", "release", o.ID, func(e *entry) error {
		if e.SKUs = w.reserved[o.ID]; e.SKUs == nil {
			e.Action = ""
		}
		return nil
	})
	return durango.None{}, err
}

var (
	errUnavailable = errors.New("gateway: 503 service unavailable")
	errReset       = errors.New("gateway: connection reset by peer")
)

// Charge takes money from a card. Now and then the gateway is not there; and
// now and then it does what it was asked for, and the answer is lost.
func (w *world) Charge(ctx context.Context, c fulfil.Charge) (string, error) {
	w.mu.Lock()
	w.tries[c.Order]++
	mood := w.mood(c.Order, w.tries[c.Order])
	w.mu.Unlock()
	receipt, err := w.request(ctx, "gateway", "charge", c.Order, func(e *entry) error {
		switch {
		case mood < 20:
			return errUnavailable
		case !luhn(c.Card):
			return fulfil.Declined.New("no such card", "card declined: no such card")
		case strings.HasSuffix(c.Card, "9995"):
			return fulfil.Declined.New("insufficient funds", "card declined: insufficient funds")
		}
		e.Cents, e.Result = c.Cents, "receipt for "+c.Order
		return nil
	})
	if err == nil && mood >= 88 {
		return "", errReset
	}
	return receipt, err
}

// mood is a number below 100 that depends on the seed, the order and the try.
func (w *world) mood(order string, try uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s/%d", w.seed, order, try)
	return rand.New(rand.NewPCG(h.Sum64(), w.seed)).Uint64N(100)
}

// Refund gives back what was charged for the order, if anything was.
func (w *world) Refund(ctx context.Context, o fulfil.Order) (durango.None, error) {
	_, err := w.request(ctx, "gateway", "refund", o.ID, func(e *entry) error {
		if e.Cents = w.paid[o.ID]; e.Cents == 0 {
			e.Action = ""
		}
		return nil
	})
	return durango.None{}, err
}

// Ship hands the order to a carrier.
func (w *world) Ship(ctx context.Context, o fulfil.Order) (string, error) {
	return w.request(ctx, "carrier", "ship", o.ID, func(e *entry) error {
		if o.City == "Atlantis" {
			return fulfil.Unreachable.New(o.City, "no route to "+o.City)
		}
		e.Result = "track-" + o.ID
		return nil
	})
}

// Notify writes to the customer.
func (w *world) Notify(ctx context.Context, n fulfil.Notice) (durango.None, error) {
	_, err := w.request(ctx, "mail", "notify", n.Order, func(e *entry) error {
		e.Result = string(n.Result.Outcome)
		return nil
	})
	return durango.None{}, err
}

// luhn checks a card number (ISO/IEC 7812-1, annex B).
func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if d < 0 || d > 9 {
			return false
		}
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return len(number) >= 12 && sum%10 == 0
}
