package demo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/durango-go/durango/examples/order/fulfil"
)

// proof is what the ledger says about the orders.
type proof struct {
	orders                    int
	shipped, refused, expired int
	lost, twice               int
	// cut counts requests whose answer never reached a worker because it had
	// been killed, absorbed those that were recognized as made before.
	cut, absorbed int
	problems      []string
}

// account is what the outside world did for one order.
type account struct {
	reserved, released int
	charges, refunds   int
	paid               int64
	shipped            int
	told               []string
	keys               map[string]bool
}

// prove checks the ledger against the orders that were placed, and against
// what the orchestrations returned:
//
//   - every order ended, and its customer was told so once;
//   - nobody was charged twice, or another amount than the order's;
//   - what was shipped is paid and was taken off the stock, once;
//   - what was not shipped is not paid, and is back in stock.
func prove(tasks []task, entries []entry, results map[string]fulfil.Result) proof {
	p := proof{orders: len(tasks)}
	accounts := map[string]*account{}
	for _, t := range tasks {
		accounts[t.Order.ID] = &account{keys: map[string]bool{}}
	}
	open := map[[2]int64]bool{}
	for n, e := range entries {
		a := accounts[e.Order]
		if a == nil {
			p.problem("ledger, line %d: %q is not an order of this run", n+1, e.Order)
			continue
		}
		request := [2]int64{int64(e.Worker), e.Call}
		switch e.What {
		case begun:
			open[request] = true
		case answered:
			delete(open, request)
		case repeated:
			p.absorbed++
		case effect:
			p.post(n+1, a, e)
		default:
			p.problem("ledger, line %d: unknown kind %q", n+1, e.What)
		}
	}
	p.cut = len(open)
	for _, t := range tasks {
		result, ended := results[t.Order.ID]
		p.judge(t, accounts[t.Order.ID], result, ended)
	}
	return p
}

// post enters an effect into the account of its order.
func (p *proof) post(n int, a *account, e entry) {
	key := e.Action + "\x00" + e.Key
	if e.Key == "" || a.keys[key] {
		p.problem("ledger, line %d: %s of %s was carried out again under the key %q", n, e.Action, e.Order, e.Key)
	}
	a.keys[key] = true
	switch e.Action {
	case "reserve":
		a.reserved++
	case "release":
		a.released++
	case "charge":
		a.charges++
		a.paid += e.Cents
	case "refund":
		a.refunds++
		a.paid -= e.Cents
	case "ship":
		a.shipped++
	case "notify":
		a.told = append(a.told, e.Result)
	default:
		p.problem("ledger, line %d: unknown action %q", n, e.Action)
	}
}

func (p *proof) judge(t task, a *account, result fulfil.Result, ended bool) {
	id := t.Order.ID
	if len(a.told) == 0 {
		p.lost++
		p.problem("%s is lost: the customer never heard of it", id)
	} else if len(a.told) > 1 {
		p.problem("%s has %d outcomes: %s", id, len(a.told), strings.Join(a.told, ", "))
	}
	switch {
	case !ended:
		p.problem("%s has not ended", id)
	case len(a.told) > 0 && a.told[0] != string(result.Outcome):
		p.problem("%s ended as %s, and the customer was told %s", id, result.Outcome, a.told[0])
	}
	if a.charges > 1 {
		p.twice++
		p.problem("%s was charged %d times", id, a.charges)
	}
	if a.reserved > 1 {
		p.problem("%s was reserved %d times", id, a.reserved)
	}
	if len(a.told) == 0 {
		return
	}
	switch fulfil.Outcome(a.told[0]) {
	case fulfil.Shipped:
		p.shipped++
		p.check(id, "shipments", a.shipped, 1)
		p.check(id, "reservations kept", a.reserved-a.released, 1)
		p.check(id, "cents paid", a.paid, t.Order.Total())
		return
	case fulfil.Refused:
		p.refused++
	case fulfil.Expired:
		p.expired++
	default:
		p.problem("%s has the unknown outcome %q", id, a.told[0])
	}
	p.check(id, "shipments", a.shipped, 0)
	p.check(id, "reservations kept", a.reserved-a.released, 0)
	p.check(id, "cents paid", a.paid, int64(0))
}

// check reports a number in an order's account that is not what it must be.
func (p *proof) check(id, what string, got, want any) {
	if got != want {
		p.problem("%s: %s: %v, want %v", id, what, got, want)
	}
}

func (p *proof) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// summary is the last line of the demonstration.
func (p *proof) summary(kills int) string {
	return fmt.Sprintf("%d orders: %d shipped, %d refused, %d expired; worker killed %d times; %d lost, %d charged twice",
		p.orders, p.shipped, p.refused, p.expired, kills, p.lost, p.twice)
}

// reasons are the problems for people, at most some of them.
func (p *proof) reasons() []string {
	const most = 20
	if len(p.problems) > most {
		return append(slices.Clone(p.problems[:most]), fmt.Sprintf("… and %d more", len(p.problems)-most))
	}
	return p.problems
}
