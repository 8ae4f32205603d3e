package durango_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/durango-go/durango"
)

// signal waits for a signal that comes at an hour which is known.
func (x *actor) signal(ctx *durango.Context, s *step) string {
	from, comes, want := numbered, time.Time{}, x.in.Got
	if s.verb == vSignal {
		from, comes, want = durango.NewSignal[int](fmt.Sprint("s", s.id)), at(s.event), s.id
	} else {
		comes = at(x.numbered[x.in.Got])
	}
	took := func(v int, err error) string {
		if err == nil && s.verb != vSignal {
			x.in.Got++
		}
		return x.number(ctx, s, v, err, want)
	}
	if s.verb == vTry {
		v, ok, err := from.TryNext(ctx)
		if err == nil && ok != comes.Before(ctx.Now()) {
			x.wrong(s, "signal %d, sent at %v, is there: %v", want, comes, ok)
		}
		if !ok {
			return "none " + says(err)
		}
		return took(v, err)
	}
	if s.n%3 == 0 {
		return took(from.Next(ctx).Await(ctx))
	}
	late := x.next(ctx.Now(), s.hour)
	part, cancel := ctx.WithTimeout(late.Sub(ctx.Now()))
	defer cancel()
	v, err := from.Next(ctx).Await(part)
	if err != nil && ctx.Err() != nil {
		return says(err)
	}
	if comes.Before(late) {
		return took(v, err)
	}
	if text := x.failure(ctx, s, err, durango.ErrTimeout); s.n%3 == 1 {
		return text
	}
	return "late " + took(from.Next(ctx).Await(ctx))
}

// talk exchanges signals with a child.
func (x *actor) talk(ctx *durango.Context, s *step) string {
	id := fmt.Sprint("t", s.id)
	f := play.With(durango.CallOptions{ID: id}).Go(ctx, journey{Step: s.id})
	v, err := durango.NewSignal[int]("hello-" + id).Next(ctx).Await(ctx)
	if err != nil {
		return says(err)
	}
	if _, err := durango.NewSignal[int]("reply-"+id).SendFrom(ctx, id, v+1); err != nil {
		x.wrong(s, "reply: %v", err)
	}
	text, err := f.Await(ctx)
	if want := fmt.Sprint("heard ", s.id+1); ctx.Err() == nil && (err != nil || text != want) {
		x.wrong(s, "%q %v, want %q", text, err, want)
	}
	return text + says(err)
}

func (x *actor) talker(ctx *durango.Context, s *step) (string, error) {
	if _, err := durango.NewSignal[int]("hello-"+ctx.InstanceID()).SendFrom(ctx, ctx.Info().Parent, s.id); err != nil {
		return "", err
	}
	v, err := durango.NewSignal[int]("reply-" + ctx.InstanceID()).Next(ctx).Await(ctx)
	return fmt.Sprint("heard ", v), err
}

// exclusive has coroutines count those that hold something.
func (x *actor) exclusive(ctx *durango.Context, s *step) string {
	most := 1 + s.n%2
	var mutex durango.Mutex
	acquire, release := mutex.Lock, mutex.Unlock
	if s.verb == vSema {
		sem := durango.NewSemaphore(ctx, most)
		acquire, release = sem.Acquire, sem.Release
	} else {
		most = 1
	}
	inside := 0
	var fs []*durango.Future[int]
	for i := range 3 {
		fs = append(fs, durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			if err := acquire(ctx); err != nil {
				return 0, err
			}
			defer release()
			if inside++; inside > most {
				x.wrong(s, "%d are inside", inside)
			}
			defer func() { inside-- }()
			if i == 1 && s.n%3 == 0 {
				return 1, ctx.Sleep(x.until(ctx, s.hour))
			}
			_, err := work.Call(ctx, task{ID: s.id*10 + i})
			return 1, err
		}))
	}
	return x.sum(ctx, s, fs)
}

// meet has coroutines wait until all of them have come.
func (x *actor) meet(ctx *durango.Context, s *step) string {
	came := 0
	var fs []*durango.Future[int]
	for i := range 3 {
		fs = append(fs, durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			if i == 1 && s.n%3 == 0 {
				if err := ctx.Sleep(x.until(ctx, s.hour)); err != nil {
					return 0, err
				}
			} else if _, err := work.Call(ctx, task{ID: s.id*10 + i}); err != nil {
				return 0, err
			}
			came++
			if err := ctx.Until(func() bool { return came == 3 }); err != nil {
				return 0, err
			}
			if came != 3 {
				x.wrong(s, "%d have come", came)
			}
			return 1, nil
		}))
	}
	return x.sum(ctx, s, fs)
}

// sum waits for coroutines that fail only when ctx has ended.
func (x *actor) sum(ctx *durango.Context, s *step, fs []*durango.Future[int]) string {
	got := 0
	for _, r := range durango.Settle(ctx.Detach(), fs...) {
		got += r.Value
		if r.Err != nil && ctx.Err() == nil {
			x.wrong(s, "%v", r.Err)
		}
	}
	return fmt.Sprint(got, says(ctx.Err()))
}

// channel has one coroutine send to another.
func (x *actor) channel(ctx *durango.Context, s *step) string {
	ch := durango.NewChan[int](ctx, 1+s.n%2)
	sent := durango.Go(ctx, func(ctx *durango.Context) (int, error) {
		for i := range 3 {
			if i == 1 && s.n%2 == 0 {
				if _, err := work.Call(ctx, task{ID: s.id}); err != nil {
					return i, err
				}
			} else if i == 2 && s.n%5 == 0 {
				if err := ctx.Sleep(x.until(ctx, s.hour)); err != nil {
					return i, err
				}
			}
			if err := ch.Send(ctx, i); err != nil {
				return i, err
			}
		}
		return 3, nil
	})
	for i := range 3 {
		v, err := ch.Next(ctx).Await(ctx)
		if err != nil {
			break
		}
		if v != i {
			x.wrong(s, "received %d, want %d", v, i)
		}
	}
	v, err := sent.Await(ctx.Detach())
	return x.number(ctx, s, v, err, 3)
}

// arm is something that is ready from a moment on that is known.
type arm struct {
	*step
	any   durango.Awaitable
	f     *durango.Future[int]
	ready time.Time
	value int
}

func (x *actor) arms(ctx *durango.Context, list []*step) (arms []*arm) {
	for _, s := range list {
		a := &arm{step: s, ready: x.next(ctx.Now(), s.hour), value: s.id}
		switch s.verb {
		case aTimer:
			a.any = ctx.After(a.ready.Sub(ctx.Now()))
		case aGated:
			a.value = 2 * s.id
			a.f = durango.Go(ctx, func(ctx *durango.Context) (int, error) {
				if err := ctx.Sleep(a.ready.Sub(ctx.Now())); err != nil {
					return 0, err
				}
				return work.Call(ctx, task{ID: s.id})
			})
		case aPark:
			a.value = 3 * s.id
			a.f = park.Go(ctx, task{ID: s.id, At: a.ready})
		case aSignal:
			a.ready = at(s.event)
			a.f = durango.NewSignal[int](fmt.Sprint("s", s.id)).Next(ctx)
		case aChild:
			a.f = durango.Go(ctx, func(ctx *durango.Context) (int, error) {
				_, err := play.With(durango.CallOptions{ID: fmt.Sprint("a", s.id)}).Call(ctx, journey{Step: s.id})
				return s.id, err
			})
		}
		if a.any == nil {
			a.any = a.f
		}
		arms = append(arms, a)
	}
	return arms
}

// first is the arm that is ready first: the first argument of those that are.
func first(ctx *durango.Context, arms []*arm) (best *arm) {
	when := func(a *arm) time.Time {
		if a.ready.Before(ctx.Now()) {
			return ctx.Now()
		}
		return a.ready
	}
	for _, a := range arms {
		if a != nil && (best == nil || when(a).Before(when(best))) {
			best = a
		}
	}
	return best
}

func (x *actor) choose(ctx *durango.Context, s *step) (text string) {
	arms := x.arms(ctx, s.inner[0])
	for range arms {
		list := make([]durango.Awaitable, len(arms))
		for i, a := range arms {
			if a != nil {
				list[i] = a.any
			}
		}
		want := first(ctx, arms)
		choose := ctx.Select
		if s.verb == vRace {
			choose = ctx.Race
		}
		won := choose(list...)
		if won == nil {
			return text + " " + says(ctx.Err())
		}
		i := slices.Index(list, won)
		if got := arms[i]; got != want {
			x.wrong(s, "%d won at %v, and %d should have", got.id, ctx.Now(), want.id)
		}
		text += fmt.Sprint(" won-", arms[i].id)
		if f := arms[i].f; f != nil {
			v, err := f.Await(ctx)
			text += " " + x.number(ctx, arms[i].step, v, err, arms[i].value)
		}
		if arms[i] = nil; s.verb == vRace {
			break
		}
	}
	return text
}

// gather waits for several, of which one may fail.
func (x *actor) gather(ctx *durango.Context, s *step) (text string) {
	arms := x.arms(ctx, s.inner[0])
	if fails := s.n%2 == 0; fails {
		a := &arm{step: s, ready: x.next(ctx.Now(), s.hour)}
		a.f = durango.Go(ctx, func(ctx *durango.Context) (int, error) {
			if err := ctx.Sleep(a.ready.Sub(ctx.Now())); err != nil {
				return 0, err
			}
			return work.Call(ctx, task{ID: s.id, Final: true})
		})
		arms = append(arms, a)
	}
	fs := make([]*durango.Future[int], len(arms))
	for i, a := range arms {
		fs[i] = a.f
	}
	check := func(a *arm, v int, err error) string {
		if a.step == s {
			return x.failure(ctx, s, err, declined)
		}
		return x.number(ctx, a.step, v, err, a.value)
	}
	switch s.verb {
	case vSettle:
		for i, r := range durango.Settle(ctx, fs...) {
			text += " " + check(arms[i], r.Value, r.Err)
		}
	case vAll:
		vs, err := durango.All(ctx, fs...)
		if s.n%2 == 0 {
			return x.failure(ctx, s, err, declined)
		}
		if err != nil {
			return x.number(ctx, s, 0, err, 0)
		}
		for i, v := range vs {
			text += " " + check(arms[i], v, nil)
		}
	case vCompleted:
		left := slices.Clone(arms)
		for i, r := range durango.AsCompleted(ctx, fs...) {
			if want := first(ctx, left); ctx.Err() == nil && arms[i].ready.After(want.ready) && arms[i].ready.After(ctx.Now()) {
				x.wrong(s, "%d came before %d", arms[i].id, want.id)
			}
			left[i] = nil
			text += fmt.Sprint(" ", arms[i].id, "-") + check(arms[i], r.Value, r.Err)
			if s.n%3 == 0 {
				break
			}
		}
		for _, f := range fs {
			f.Cancel(ctx)
		}
	}
	return text
}

func (x *actor) nest(ctx *durango.Context, s *step) string {
	switch s.verb {
	case vCancel:
		part, cancel := ctx.WithCancel()
		f := durango.Go(part, func(ctx *durango.Context) (string, error) { return x.block(ctx, s.inner[0]), nil })
		err := ctx.Sleep(x.until(ctx, s.hour))
		cancel("enough")
		text, failed := f.Await(ctx.Detach())
		return text + says(err) + says(failed)
	case vTimeout:
		part, cancel := ctx.WithTimeout(x.until(ctx, s.hour))
		defer cancel()
		return x.block(part, s.inner[0]) + says(part.Err())
	case vDetach:
		return x.block(ctx.Detach(), s.inner[0])
	case vSaga:
		return x.saga(ctx, s)
	case vStart:
		_, err := play.With(durango.CallOptions{Version: ">=1.1"}).StartFrom(ctx, fmt.Sprint("d", s.id), journey{Step: s.id, Want: ">=1.1"})
		return says(err)
	}
	return x.child(ctx, s)
}

func (x *actor) child(ctx *durango.Context, s *step) string {
	o := durango.CallOptions{ID: fmt.Sprint("c", s.id), Version: asksFor[s.n%len(asksFor)], OnParentClose: durango.ParentClose(s.n / 10 % 3)}
	id := o.ID
	if s.main && s.verb == vChild && s.n%2 == 0 {
		o.ID, id = "", "" // the children of the main line are begun in a fixed order
	}
	if s.verb == vChild && s.n/10%5 == 0 {
		o.StartAt = x.next(ctx.Now(), s.hour)
	}
	f := play.With(o).Go(ctx, journey{Step: s.id, Want: o.Version})
	if s.verb == vOrphan {
		err := ctx.Sleep(x.until(ctx, s.hour))
		if err == nil && s.n%4 == 0 && !f.Ready() {
			f.Cancel(ctx)
			_, err = f.Await(ctx)
			return "withdrawn " + x.failure(ctx, s, err, durango.ErrCanceled)
		}
		return says(err)
	}
	text, err := f.Await(ctx)
	if err != nil && ctx.Err() != nil {
		return says(err)
	}
	if id != "" {
		if v, err := mark.ReadFrom(ctx, id).Await(ctx); err != nil || v == nil || *v != s.id {
			x.wrong(s, "the mark of %s is %v, %v", id, v, err)
		}
	}
	return "(" + text + says(err) + ")"
}

// saga undoes what was done around an inner block, if it fails.
func (x *actor) saga(ctx *durango.Context, s *step) string {
	var done, undone []int
	cause := declined.New(s.id)
	text := ""
	_, err := durango.RunSaga(ctx, func(saga *durango.Saga) (string, error) {
		for i, list := range s.inner {
			if _, err := work.Call(ctx, task{ID: s.id*10 + i}); err != nil {
				return "", err
			}
			durango.Undo(saga, work, task{ID: s.id*10 + i + 5})
			done = append([]int{i}, done...)
			saga.Add(func(ctx *durango.Context) error {
				undone = append(undone, i)
				_, err := work.Call(ctx, task{ID: s.id*10 + i + 7})
				if err == nil && s.n%5 == i {
					err = errors.New("stuck")
				}
				return err
			})
			text += x.block(ctx, list)
		}
		if err := ctx.Err(); err != nil || s.n%3 == 0 {
			return "", err
		}
		return "", cause
	})
	if err == nil {
		done = nil
	}
	if !slices.Equal(done, undone) {
		x.wrong(s, "undone are %v of %v", undone, done)
	}
	if stuck := len(done) > s.n%5; err != nil && stuck != errors.Is(err, durango.ErrNotCompensated) {
		x.wrong(s, "error %v, stuck %v", err, stuck)
	}
	return text + " saga " + says(err)
}
