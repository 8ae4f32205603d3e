package replay

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/durango-go/durango/history"
)

// prog is what a test orchestration is written with: a thin layer as the root
// package would have, and a log that transcripts show.
type prog struct {
	*Machine
	log *[]string
}

func (p prog) printf(format string, args ...any) {
	*p.log = append(*p.log, fmt.Sprintf(format, args...))
}

func (p prog) act(name string) *Op { return p.actIn(p.Root(), name) }

func (p prog) actIn(s *Scope, name string) *Op {
	return s.Emit(history.Event{Kind: history.ActivityScheduled, Name: name, Payload: []byte("in")})
}

func (p prog) timer(d int64) *Op {
	return p.Emit(history.Event{Kind: history.TimerSet, Time: p.Now() + d})
}

func (p prog) child(id string) *Op {
	return p.Emit(history.Event{Kind: history.ChildStarted, Name: "c", Target: id})
}

// await returns the answer as text, in a scope.
func (p prog) awaitIn(s *Scope, op *Op) string {
	i, e := p.Wait(s, op)
	switch {
	case i == 0 || e == nil:
		return "canceled"
	case e.Failure != nil:
		return "failed: " + e.Failure.Message
	}
	return string(e.Payload)
}

func (p prog) await(op *Op) string { return p.awaitIn(p.Root(), op) }

// next waits for a signal.
func (p prog) next(name string) string {
	i, e := p.Wait(p.Root(), p.Signals(name))
	if i == 0 {
		return "canceled"
	}
	return string(e.Payload)
}

// text returns a value, or "none".
func (p prog) text(value string) string {
	payload, ok := p.Value(value)
	if !ok {
		return "none"
	}
	return string(payload)
}

func (p prog) set(value, payload string) {
	p.Emit(history.Event{Kind: history.ValueSet, Name: value, Payload: []byte(payload)})
}

func (p prog) reply(e *history.Event, payload string) {
	p.Emit(history.Event{Kind: history.UpdateAnswered, Name: e.Name, Text: e.Text, Payload: []byte(payload)})
}

// do obeys signals: set:NAME:PAYLOAD, clear:NAME, show:NAME, patch:ID, end, and
// next for continue-as-new.
func (p prog) do() history.Event {
	for {
		_, e := p.Wait(p.Signals("do"))
		f := strings.Split(string(e.Payload), ":")
		switch f[0] {
		case "set":
			p.set(f[1], f[2])
		case "clear":
			p.Emit(history.Event{Kind: history.ValueCleared, Name: f[1]})
		case "show":
			p.printf("%s is %s", f[1], p.text(f[1]))
		case "patch":
			p.printf("patch %s: %v", f[1], p.Patched(f[1]))
		case "end":
			return completed("")
		case "next":
			return history.Event{Kind: history.ContinuedAsNew, Payload: []byte("in")}
		}
	}
}

// patched schedules one activity in the older branch and another in the newer.
func (p prog) patched(id string) *Op {
	if p.Patched(id) {
		return p.act(id + " newer")
	}
	return p.act(id + " older")
}

// updates has a handler "add" that takes its time and a validator, and others.
func (p prog) updates(add func(e *history.Event)) history.Event {
	if add != nil {
		p.printf("handles %v", p.Handle("add", p.judgeAdd, add))
		p.printf("again %v", p.Handle("add", nil, nil))
	}
	p.Handle("get", nil, func(e *history.Event) { p.reply(e, p.text("sum")) })
	p.Handle("fail", nil, func(e *history.Event) {
		p.Emit(history.Event{Kind: history.UpdateAnswered, Name: e.Name, Text: e.Text, Failure: &history.Failure{Message: "no"}})
	})
	p.Handle("ignore", nil, func(e *history.Event) { p.await(p.act("ignored")) })
	p.Handle("boom", nil, func(e *history.Event) { panic("in the handler") })
	stopped := p.NewGate()
	p.Handle("stop", nil, func(e *history.Event) { p.reply(e, "stopping"); stopped.Open() })
	if i, _ := p.Wait(p.Signals("end"), stopped, p.Signals("next")); i == 2 {
		return history.Event{Kind: history.ContinuedAsNew}
	}
	return completed(p.text("sum"))
}

func (p prog) judgeAdd(e *history.Event) *history.Failure {
	switch string(e.Payload) {
	case "bad":
		return &history.Failure{Code: "bad", Message: "sum is " + p.text("sum")}
	case "panic":
		panic("in the validator")
	case "goexit":
		runtime.Goexit()
	case "now":
		return &history.Failure{Message: fmt.Sprintf("at %d, replaying %v, started %s", p.Now(), p.Replaying(), p.Started().Name)}
	case "act":
		p.act("not to be")
	}
	return nil
}

func (p prog) add(e *history.Event) {
	p.printf("adding %s", e.Payload)
	p.printf("checked %s: %s", e.Payload, p.await(p.act("check")))
	p.set("sum", p.text("sum")+"+"+string(e.Payload))
	p.reply(e, p.text("sum"))
}

func completed(out string) history.Event {
	return history.Event{Kind: history.Completed, Payload: []byte(out)}
}

// programs are the test orchestrations by name.
var programs = map[string]func(p prog) history.Event{
	"sequential": func(p prog) history.Event {
		a := p.await(p.act("first"))
		b := p.await(p.act("second"))
		return completed(a + b)
	},
	"fanout": func(p prog) history.Event {
		ops := []*Op{p.act("a"), p.act("b"), p.act("c")}
		var out []string
		for _, op := range ops {
			out = append(out, p.await(op))
		}
		return completed(strings.Join(out, " "))
	},
	"select": func(p prog) history.Event {
		a, b := p.act("a"), p.act("b")
		i, e := p.Wait(p.Root(), a, b)
		p.printf("won %d with %s", i, e.Payload)
		p.printf("then %s", p.await(p.act("after")))
		return completed("")
	},
	"select-tie": func(p prog) history.Event {
		a, b, gate := p.act("a"), p.act("b"), p.act("gate")
		p.await(gate)
		i, _ := p.Wait(nil, b, a, (*Op)(nil))
		j, _ := p.Wait()
		return completed(fmt.Sprintf("%d %d", i, j))
	},
	// Two sources of one select become ready in one delivery: the coroutine's
	// end is the first to happen, the op the earlier argument.
	"select-tie-woken": func(p prog) history.Event {
		op := p.act("op")
		task := p.Spawn(func() { p.next("go") })
		p.Spawn(func() { p.Wait(task); p.Cancel(op) })
		sleeper := p.Spawn(func() {
			i, _ := p.Wait(op, task)
			p.printf("won %d", i)
		})
		p.Wait(sleeper)
		i, _ := p.Wait(op, task)
		return completed(fmt.Sprint(i))
	},
	"coroutines": func(p prog) history.Event {
		var tasks []*Task
		for i := range 3 {
			tasks = append(tasks, p.Spawn(func() {
				p.printf("task %d starts", i)
				p.printf("task %d got %s", i, p.await(p.act(fmt.Sprint("t", i))))
			}))
		}
		p.printf("main waits")
		for _, t := range tasks {
			p.Wait(p.Root(), t)
		}
		return completed("all")
	},
	"as-completed": func(p prog) history.Event {
		w := p.NewWaiter()
		defer w.Close()
		for i := range 4 {
			w.Add(i, p.act(fmt.Sprint("a", i)))
		}
		w.Add(9, p.Root())
		for range 3 {
			tag, e := w.Next()
			if e == nil {
				return completed(fmt.Sprintf("stopped by %d", tag))
			}
			p.printf("%d: %s", tag, e.Payload)
		}
		return completed("three")
	},
	"signals": func(p prog) history.Event {
		p.await(p.act("work"))
		for range 2 {
			p.printf("got %s", p.next("s"))
		}
		return completed("")
	},
	"signal-loses": func(p prog) history.Event {
		op := p.act("a")
		i, _ := p.Wait(p.Root(), p.Signals("s"), op)
		p.printf("won %d", i)
		p.printf("s has %d", p.Signals("s").Len())
		p.printf("then %s", p.next("s"))
		return completed("")
	},
	// A signal is offered to a waiter that is closed without taking it, so it is
	// offered to the select, which has an earlier winner when it runs, so it goes
	// to the last. Nobody overtakes those to whom it is offered.
	"signal-offered": func(p prog) history.Event {
		op := p.act("a")
		p.Spawn(func() {
			w := p.NewWaiter()
			w.Add(0, p.Signals("s"))
			p.await(p.act("gate"))
			w.Close()
			p.Cancel(op)
			_, ok := p.Signals("s").Take()
			p.printf("newcomer sees %d, peek %v, take %v", p.Signals("s").Len(), p.Signals("s").Peek() != nil, ok)
		})
		p.Spawn(func() {
			i, e := p.Wait(op, p.Signals("s"))
			p.printf("select won %d, event %v", i, e != nil)
		})
		p.Spawn(func() { p.printf("last got %s", p.next("s")) })
		p.next("end")
		return completed("")
	},
	"two-waiters": func(p prog) history.Event {
		for _, name := range []string{"early", "late"} {
			p.Spawn(func() {
				for range 2 {
					p.printf("%s got %s", name, p.next("s"))
				}
			})
		}
		p.next("end")
		return completed("")
	},
	"abandoned-wait": func(p prog) history.Event {
		s := p.Root().Child()
		t := p.Spawn(func() {
			i, _ := p.Wait(s, p.Signals("s"))
			p.printf("inner won %d", i)
		})
		p.await(p.act("a"))
		s.Cancel("enough")
		p.Wait(t)
		p.printf("outer got %s", p.next("s"))
		return completed("")
	},
	"continue": func(p prog) history.Event {
		p.printf("got %s", p.next("s"))
		p.await(p.act("a"))
		return history.Event{Kind: history.ContinuedAsNew, Payload: []byte("next")}
	},
	"cancel": func(p prog) history.Event {
		inner := p.Root().Child()
		p.actIn(inner, "inner")
		a, b := p.act("a"), p.timer(100)
		p.child("kid")
		p.actIn(inner, "inner")
		i, _ := p.Wait(p.Root(), a, b)
		p.printf("won %d, reason %s", i, p.Root().Reason())
		refused := p.act("refused")
		p.printf("refused %v, number %d, await %s", refused.Canceled(), refused.Seq(), p.await(refused))
		p.Emit(history.Event{Kind: history.StatusSet, Payload: []byte("undoing")})
		d := p.Detached()
		p.printf("undo: %s", p.awaitIn(d, p.actIn(d, "undo")))
		return history.Event{Kind: history.Canceled, Text: p.Root().Reason()}
	},
	"cancel-scope": func(p prog) history.Event {
		outer := p.Root().Child()
		inner, closed := outer.Child(), outer.Child()
		x, y, z := p.actIn(inner, "x"), p.actIn(outer, "y"), p.actIn(closed, "z")
		keep := p.act("keep")
		closed.Close()
		for _, f := range []struct {
			name string
			s    *Scope
		}{{"inner", inner}, {"outer", outer}, {"closed", closed}} {
			p.Spawn(func() { p.Wait(f.s); p.printf("%s canceled", f.name) })
		}
		p.next("go")
		outer.Cancel("enough")
		outer.Cancel("again")
		p.printf("%v %v %v %v", x.Canceled(), y.Canceled(), z.Canceled(), keep.Done())
		p.printf("late child %v", outer.Child().Canceled())
		p.printf("closed %v", closed.Canceled())
		p.await(keep)
		return completed("")
	},
	// A limit that passes ends what is in its scope and below, tells so, and
	// leaves the rest; one that does not is withdrawn with its scope.
	"expire": func(p prog) history.Event {
		s := p.Root().Child()
		s.ExpireAt(p.Now()+10, "after 10")
		below := s.Child()
		keep := p.act("keep")
		op := p.actIn(below, "late")
		p.printf("%s, expired %v %v %v, reason %s, op %v %s", p.awaitIn(below, op),
			s.Expired(), below.Expired(), p.Root().Expired(), below.Reason(), op.Expired(), op.Reason())
		refused := p.actIn(below.Child(), "refused")
		p.printf("refused: %v %v %s", refused.Canceled(), refused.Expired(), refused.Reason())
		t := p.Root().Child()
		t.ExpireAt(p.Now()+10, "never")
		t.Cancel("early")
		p.printf("%v %v %s", t.Canceled(), t.Expired(), t.Reason())
		now := p.Root().Child()
		op = p.actIn(now, "stillborn")
		now.Expire("at once")
		now.Expire("again")
		p.printf("%v %s", op.Expired(), op.Reason())
		return completed(p.await(keep))
	},
	// What a closed scope leaves behind is canceled with its parent, also below
	// it, also what is asked of it later; its own limit is withdrawn.
	"close-nested": func(p prog) history.Event {
		outer := p.Root().Child()
		closed := outer.Child()
		closed.ExpireAt(50, "never")
		first, second := closed.Child(), closed.Child()
		for _, f := range []struct {
			name string
			s    *Scope
		}{{"second", second}, {"first", first}, {"closed", closed}} {
			p.Spawn(func() { p.Wait(f.s); p.printf("%s canceled", f.name) })
		}
		p.Spawn(func() { p.next("go"); outer.Cancel("stop") })
		p.next("close")
		p.actIn(first, "below")
		closed.Close()
		closed.Close()
		closed.Cancel("in vain")
		late := p.actIn(closed, "late")
		later := closed.Child()
		p.printf("canceled %v", outer.Canceled())
		p.awaitIn(later, p.actIn(later, "later"))
		p.printf("%v %v %s", closed.Canceled(), late.Canceled(), later.Reason())
		p.next("end")
		return completed("")
	},
	// Who waits for a gate goes on in the order of arrival; nothing is recorded.
	"gate": func(p prog) history.Event {
		g := p.NewGate()
		for _, name := range []string{"first", "second"} {
			p.Spawn(func() {
				i, _ := p.Wait(p.Root(), g)
				p.printf("%s won %d", name, i)
			})
		}
		p.next("open")
		g.Open()
		g.Open()
		i, e := p.Wait(nil, p.NewOpenGate(), g)
		w := p.NewWaiter()
		defer w.Close()
		w.Add(7, g)
		w.Add(8, p.NewOpenGate())
		a, _ := w.Next()
		b, _ := w.Next()
		p.printf("opened: %d %v %d %d", i, e != nil, a, b)
		p.next("end")
		return completed("")
	},
	// A queue that the code fills is offered as signals are, and is not carried.
	"own-queue": func(p prog) history.Event {
		q := p.NewQueue()
		for _, name := range []string{"first", "second"} {
			p.Spawn(func() {
				i, _ := p.Wait(p.Root(), q)
				p.printf("%s won %d", name, i)
			})
		}
		for range 4 {
			p.next("push")
			q.Push()
			p.printf("has %d", q.Len())
		}
		return history.Event{Kind: history.ContinuedAsNew}
	},
	"schedule-and-cancel": func(p prog) history.Event {
		op, t, c := p.act("a"), p.timer(5), p.child("kid")
		p.Cancel(op)
		p.Cancel(op)
		p.Cancel(t)
		p.Cancel(c)
		p.printf("%v %v %v", op.Canceled(), t.Canceled(), c.Canceled())
		p.next("end")
		return completed("")
	},
	"cancel-one": func(p prog) history.Event {
		op := p.act("a")
		p.act("a")
		p.Cancel(op)
		return completed("")
	},
	"returns-at-once": func(p prog) history.Event {
		p.Spawn(func() { p.printf("ran after the end") })
		return completed("")
	},
	"timers": func(p prog) history.Event {
		a, b, c := p.timer(30), p.timer(10), p.timer(10)
		for i, op := range []*Op{b, c, a} {
			p.await(op)
			p.printf("%d at %d", i, p.Now())
		}
		return completed("")
	},
	"record": func(p prog) history.Event {
		v := p.Record("dice", func() []byte { return []byte("4") })
		p.await(p.act("a"))
		return completed(string(v))
	},
	"record-uses-context": func(p prog) history.Event {
		p.Record("bad", func() []byte { p.act("inside"); return nil })
		return completed("")
	},
	"record-reads": func(p prog) history.Event {
		p.Record("bad", func() []byte { return []byte(p.text("v")) })
		return completed("")
	},
	"record-panics": func(p prog) history.Event {
		defer func() { p.printf("recovered %v", recover()) }()
		p.Record("bad", func() []byte { panic("in record") })
		return completed("")
	},
	"detached": func(p prog) history.Event {
		c := p.Emit(history.Event{Kind: history.ChildStarted, Name: "c", Target: "free", Detached: true})
		s := p.Emit(history.Event{Kind: history.SignalSent, Name: "s", Target: "other"})
		p.printf("child %s", p.await(c))
		p.printf("signal %s", p.await(s))
		return completed("")
	},
	"fails": func(p prog) history.Event {
		text := p.await(p.act("a"))
		return history.Event{Kind: history.Failed, Failure: &history.Failure{Message: text}}
	},
	"abandons": func(p prog) history.Event {
		for _, name := range []string{"one", "two"} {
			p.Spawn(func() {
				defer p.printf("%s unwound", name)
				p.await(p.act(name))
				p.printf("%s went on", name)
			})
		}
		p.await(p.act("main"))
		return completed("")
	},
	"durable-defer": func(p prog) history.Event {
		defer p.printf("outer deferred")
		defer func() {
			p.printf("inner deferred")
			p.await(p.act("in defer"))
			p.printf("not unwound")
		}()
		p.next("never")
		return completed("")
	},
	"swallows": func(p prog) history.Event {
		func() {
			defer func() { p.printf("recovered %v", recover() != nil) }()
			p.next("never")
		}()
		return completed("from the dead")
	},
	"panics": func(p prog) history.Event {
		p.Spawn(func() { p.await(p.act("a")); panic("boom") })
		p.next("never")
		return completed("")
	},
	"panics-in-defer": func(p prog) history.Event {
		defer func() { panic("second") }()
		p.await(p.act("a"))
		panic("first")
	},
	"goexits": func(p prog) history.Event {
		defer p.printf("deferred")
		p.await(p.act("a"))
		runtime.Goexit()
		return completed("")
	},
	"emits-terminal": func(p prog) history.Event {
		p.Emit(completed(""))
		p.printf("went on")
		return completed("")
	},
	"not-terminal": func(p prog) history.Event {
		return history.Event{Kind: history.StatusSet}
	},

	"do":      func(p prog) history.Event { return p.do() },
	"updates": func(p prog) history.Event { return p.updates(p.add) },
	// It gets its handler when the activity is done.
	"late-handler": func(p prog) history.Event {
		p.await(p.act("prepare"))
		p.Handle("get", nil, func(e *history.Event) { p.reply(e, "got") })
		p.next("end")
		return completed("")
	},
	"patch/none": func(p prog) history.Event {
		p.await(p.act("a older"))
		return completed(p.await(p.act("b older")))
	},
	"patch": func(p prog) history.Event {
		p.await(p.patched("a"))
		p.printf("again %v", p.Patched("a"))
		return completed(p.await(p.act("b older")))
	},
	"patch/gone": func(p prog) history.Event {
		p.await(p.act("a newer"))
		p.printf("again true")
		return completed(p.await(p.act("b older")))
	},
	"patch/b-too": func(p prog) history.Event {
		p.await(p.patched("a"))
		p.printf("again %v", p.Patched("a"))
		return completed(p.await(p.patched("b")))
	},
	// Marks without a command between them, and one that ends its turn.
	"marks": func(p prog) history.Event {
		p.printf("%v %v", p.Patched("x"), p.Patched("y"))
		p.await(p.act("a"))
		p.printf("%v", p.Patched("z"))
		p.next("end")
		return completed("")
	},
	"marks/second-only": func(p prog) history.Event {
		p.printf("%v", p.Patched("y"))
		p.await(p.act("a"))
		p.next("end")
		return completed("")
	},
	"marks/swapped": func(p prog) history.Event {
		p.printf("%v %v", p.Patched("y"), p.Patched("x"))
		p.await(p.act("a"))
		p.next("end")
		p.printf("%v", p.Patched("z"))
		return completed("")
	},
	"marks/unasked": func(p prog) history.Event {
		p.await(p.act("a"))
		p.next("end")
		return completed("")
	},
	"marks/another": func(p prog) history.Event {
		p.printf("%v %v %v", p.Patched("w"), p.Patched("x"), p.Patched("y"))
		p.await(p.act("a"))
		p.next("end")
		return completed("")
	},

	// What follows differs from a program above in one thing.
	"do/other-name":    func(p prog) history.Event { p.next("do"); p.set("b", "1"); p.next("never"); return completed("") },
	"do/other-payload": func(p prog) history.Event { p.next("do"); p.set("a", "2"); p.printf("%s", p.text("a")); return p.do() },
	"do/clears": func(p prog) history.Event {
		p.next("do")
		p.Emit(history.Event{Kind: history.ValueCleared, Name: "a"})
		p.next("never")
		return completed("")
	},
	"updates/no-handler": func(p prog) history.Event { return p.updates(nil) },
	"updates/ended":      func(p prog) history.Event { p.Handle("add", nil, nil); return completed("") },
	"updates/other-answer": func(p prog) history.Event {
		return p.updates(func(e *history.Event) {
			p.printf("adding %s", e.Payload)
			p.printf("checked %s: %s", e.Payload, p.await(p.act("check")))
			p.set("sum", p.text("sum")+"+"+string(e.Payload))
			p.reply(e, "another")
		})
	},
	"updates/fails": func(p prog) history.Event {
		return p.updates(func(e *history.Event) {
			p.printf("adding %s", e.Payload)
			p.printf("checked %s: %s", e.Payload, p.await(p.act("check")))
			p.set("sum", p.text("sum")+"+"+string(e.Payload))
			p.Emit(history.Event{Kind: history.UpdateAnswered, Name: e.Name, Text: e.Text, Failure: &history.Failure{}})
		})
	},
	"updates/other-request": func(p prog) history.Event {
		return p.updates(func(e *history.Event) { e.Text += "x"; p.add(e) })
	},
	"sequential/renamed": func(p prog) history.Event {
		a := p.await(p.act("first"))
		b := p.await(p.act("other"))
		return completed(a + b)
	},
	"sequential/early": func(p prog) history.Event { return completed(p.await(p.act("first"))) },
	"sequential/silent": func(p prog) history.Event {
		p.await(p.act("first"))
		p.next("never")
		return completed("")
	},
	"sequential/more": func(p prog) history.Event {
		a := p.await(p.act("first"))
		b := p.await(p.act("second"))
		p.await(p.act("third"))
		return completed(a + b)
	},
	"sequential/pool": func(p prog) history.Event {
		p.await(p.Emit(history.Event{Kind: history.ActivityScheduled, Name: "first", Pool: "gpu"}))
		return completed("")
	},
	"sequential/session": func(p prog) history.Event {
		p.await(p.Emit(history.Event{Kind: history.ActivityScheduled, Name: "first", Session: "s"}))
		return completed("")
	},
	"sequential/timer": func(p prog) history.Event { p.await(p.timer(1)); return completed("") },
	"sequential/payload": func(p prog) history.Event {
		a := p.await(p.Emit(history.Event{Kind: history.ActivityScheduled, Name: "first", Payload: []byte("new")}))
		b := p.await(p.act("second"))
		return completed(a + b + "!")
	},
	"sequential/fails": func(p prog) history.Event {
		p.await(p.act("first"))
		p.await(p.act("second"))
		return history.Event{Kind: history.Failed}
	},
	"schedule-and-cancel/ref": func(p prog) history.Event {
		op, t, c := p.act("a"), p.timer(5), p.child("kid")
		p.Cancel(t)
		p.printf("went on after a difference")
		p.Cancel(op)
		p.Cancel(c)
		return completed("")
	},
	"schedule-and-cancel/target": func(p prog) history.Event {
		p.act("a")
		p.timer(5)
		p.child("another")
		return completed("")
	},
	"cancel-one/other": func(p prog) history.Event {
		p.act("a")
		p.Cancel(p.act("a"))
		return completed("")
	},
	"cancel-one/scope": func(p prog) history.Event {
		s := p.Root().Child()
		p.act("a")
		p.actIn(s, "a")
		s.Cancel("")
		p.printf("went on after a difference")
		return completed("")
	},
	"cancel/differs": func(p prog) history.Event {
		inner := p.Root().Child()
		p.actIn(inner, "inner")
		p.act("a")
		p.timer(100)
		p.child("kid")
		p.actIn(p.Detached(), "inner")
		p.next("never")
		return completed("")
	},
	"detached/attached": func(p prog) history.Event { p.child("free"); return completed("") },
}
