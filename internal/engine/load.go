package engine

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// handoff is a message that goes from one execution of this node to another
// without being read back from the store.
type handoff struct {
	key       provider.Key
	seq       int64
	execution int64
	payload   []byte
	// ended: it was not delivered, but has ended its receiver.
	ended bool
}

// handMails delivers what was gathered while executions were locked.
func (e *Engine) handMails(mail []handoff) {
	for _, h := range mail {
		if h.ended {
			e.client.Operated(h.key)
			continue
		}
		e.handMail(h.key, h.seq, h.execution, h.payload)
	}
}

// handMail gives a message that has just been stored to its receiver, if it is
// the next one; what lies beyond a gap is read from the store.
func (e *Engine) handMail(key provider.Key, seq, execution int64, payload []byte) {
	x := e.lookup(key)
	if x == nil {
		poke(e.wake)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.node == 0 || x.state == gone {
		poke(e.wake)
		return
	}
	if seq <= x.mailSeen {
		return
	}
	event, err := history.DecodeMessage(payload)
	if err != nil || seq != x.mailSeen+1 || x.needMail || len(x.inbox) >= e.o.InboxSize {
		// What is under way may have looked before the message was there.
		x.needMail, x.mailHint = true, x.mailHint || x.state != idle
	} else {
		x.mailSeen = seq
		x.inbox = append(x.inbox, delivery{event: event, mail: seq, execution: execution})
	}
	if e.poke(x) {
		e.turns.push(x)
	}
}

// loadGroup reads what the executions of a group lack: history, mail, or both.
func (e *Engine) loadGroup(group []*execution) {
	batch := make([]provider.LoadRequest, len(group))
	for i, x := range group {
		x.mu.Lock()
		batch[i] = provider.LoadRequest{Key: x.key, AfterMail: x.mailSeen, MaxMail: max(1, e.o.InboxSize-len(x.inbox)), MaxBytes: pageBytes}
		if x.machine != nil {
			batch[i].FromTurn, batch[i].MaxBytes = x.nextTurn, mailBytes
		}
		x.mu.Unlock()
	}
	for delay := time.Millisecond; ; delay = min(2*delay, maxPause) {
		loaded, err := e.store.Load(e.ctx, batch)
		switch {
		case err == nil:
			for i, x := range group {
				if l := &loaded[i]; l.Err == nil && l.Instance.NextTurn == 1 {
					e.lookForCancel(l)
				}
				e.loaded(x, &loaded[i])
			}
			return
		case e.ctx.Err() != nil:
			return
		case retryable(err) || len(group) == 1:
			e.o.Logger.Warn("load will be repeated", "error", err, "instances", len(group))
			e.pause(delay)
		default:
			for i := range group {
				e.loadGroup(group[i : i+1])
			}
			return
		}
	}
}

// lookForCancel leaves of the mail of an instance that has taken no turn its
// start and the first request to cancel, if there is one: a request hastens a
// delayed start, whose code must not run, and so has to be part of the first turn
// however much was sent before it. That turn ends the instance, so nobody is going
// to read the rest.
func (e *Engine) lookForCancel(l *provider.Loaded) {
	if len(l.Mail) == 0 || l.Mail[0].Seq != 1 {
		return
	}
	start := l.Mail[0]
	for page := l; ; {
		for _, m := range page.Mail {
			if event, err := history.DecodeMessage(m.Payload); err == nil && event.Kind == history.CancelRequested {
				l.Mail, l.MoreMail = []provider.Mail{start, m}, false
				return
			}
		}
		if !page.MoreMail || len(page.Mail) == 0 {
			return
		}
		last := page.Mail[len(page.Mail)-1].Seq
		var err error
		if page, err = e.loadPart(provider.LoadRequest{Key: l.Instance.Key, AfterMail: last, MaxBytes: mailBytes}); err != nil {
			return
		}
	}
}

// loaded takes in what was read of x.
func (e *Engine) loaded(x *execution, l *provider.Loaded) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.state != loading {
		return
	}
	row := &l.Instance
	if l.Err != nil || row.Owner != x.node || x.node == 0 {
		e.forget(x)
		e.client.lostSight(x.key)
		return
	}
	if x.machine != nil && (row.NextTurn != x.nextTurn || row.Execution != x.generation) {
		// The hot copy is of another time: read again, whole.
		e.closeMachine(x)
		x.nextTurn, x.mailSeen, x.inbox = row.NextTurn, row.ReadSeq, nil
		e.loads.add(x)
		return
	}
	if x.machine == nil {
		e.adoptRow(x, row)
		x.loaded = l
	}
	for i := range l.Mail {
		m := &l.Mail[i]
		if m.Seq <= x.mailSeen {
			continue
		}
		event, err := history.DecodeMessage(m.Payload)
		d := delivery{event: event, mail: m.Seq, execution: m.Execution}
		if err != nil {
			d, err = e.undecodable(x, m, err)
		} else if m.Refused != provider.NotRefused {
			refusal(&d.event, m.Refused)
		}
		if err != nil {
			x.state = running
			e.failTurn(x, err)
			return
		}
		x.mailSeen = m.Seq
		x.inbox = append(x.inbox, d)
	}
	x.needMail = l.MoreMail || x.mailHint
	x.mailHint = false
	if e.draining.Load() {
		e.enterIdle(x)
		e.handOver(x)
		return
	}
	if e.detain(x) {
		return
	}
	if x.loaded != nil || x.due(e.clock.now()) {
		x.state = queued
		e.turns.push(x)
		return
	}
	e.enterIdle(x)
	if e.poke(x) {
		e.turns.push(x)
		return
	}
	e.settle(x)
}

// adoptRow takes over what the store says of an instance.
func (e *Engine) adoptRow(x *execution, row *provider.Instance) {
	x.id, x.name, x.version, x.status = row.ID, row.Name, row.Version, row.Status
	x.generation, x.nextTurn, x.historyFrom = row.Execution, row.NextTurn, row.HistoryFrom
	x.readSeq, x.parent, x.attempts = row.ReadSeq, row.Parent, row.Attempts
	x.noteFault(row)
	x.mailSeen = max(x.mailSeen, row.ReadSeq)
	// Until a replay tells: who gives it up unread does not lose its timers.
	x.nextTimer = row.DueAt
}

// rebuild replays the history of x, page by page, and finds the tasks that
// were lost with the memory of another node.
func (e *Engine) rebuild(x *execution, l *provider.Loaded) error {
	e.metrics.rebuilds.Add(1)
	x.events = 0
	err := e.history(x.key, l, func(t *history.Turn) error { return e.replayTurn(x, t) })
	if err != nil {
		e.explain(x, err)
		return err
	}
	if x.machine == nil {
		return nil
	}
	e.recover(x, l)
	if x.fault != nil && x.fault.Requeued {
		if err := e.missed(x); err != nil {
			return err
		}
	}
	x.mu.Lock()
	e.remember(x)
	x.mu.Unlock()
	return nil
}

// How much is read at a time: of a history, of which nothing can be replayed
// before the first page is there, and of the mail of an execution that is hot.
const (
	pageBytes = 256 << 10
	mailBytes = 1 << 20
)

// history passes a history, of which l is the first page, to replay. What is
// not there yet is read and decoded while the caller replays.
func (e *Engine) history(key provider.Key, l *provider.Loaded, replay func(*history.Turn) error) error {
	var decoder history.Decoder // the names of a history are few, and shared
	if !l.MoreTurns {
		return decodeTurns(&decoder, l.Turns, replay)
	}
	type page struct {
		turns []history.Turn
		err   error
	}
	pages, stopped := make(chan page, 1), make(chan struct{})
	defer close(stopped)
	pass := func(p page) (more bool) {
		select {
		case pages <- p:
			return p.err == nil
		case <-stopped:
			return false
		}
	}
	e.pool.run(func() {
		defer close(pages)
		for {
			p := page{turns: make([]history.Turn, 0, len(l.Turns))}
			p.err = decodeTurns(&decoder, l.Turns, func(t *history.Turn) error {
				p.turns = append(p.turns, *t)
				return nil
			})
			if !pass(p) || !l.MoreTurns {
				return
			}
			var err error
			if l, err = e.loadTurns(key, l.Turns[len(l.Turns)-1].Number+1); err != nil {
				pass(page{err: err})
				return
			}
		}
	})
	for p := range pages {
		for i := range p.turns {
			if err := replay(&p.turns[i]); err != nil {
				return err
			}
		}
		if p.err != nil {
			return p.err
		}
	}
	return nil
}

func decodeTurns(decoder *history.Decoder, rows []provider.Turn, yield func(*history.Turn) error) error {
	for i := range rows {
		row := &rows[i]
		deliveries, commands, err := decoder.Turn(row.Events)
		if err != nil {
			return fmt.Errorf("turn %d: %w", row.Number, err)
		}
		t := history.Turn{
			Number: row.Number, Execution: row.Execution, CommitID: row.CommitID, Time: row.Time,
			Deliveries: deliveries, Commands: commands,
		}
		if err := yield(&t); err != nil {
			return err
		}
	}
	return nil
}

// loadTurns reads a page of history.
func (e *Engine) loadTurns(key provider.Key, from int64) (*provider.Loaded, error) {
	return e.loadPart(provider.LoadRequest{Key: key, FromTurn: from, MaxMail: 1, MaxBytes: pageBytes})
}

// loadPart reads a part of an instance, for as long as it takes.
func (e *Engine) loadPart(req provider.LoadRequest) (*provider.Loaded, error) {
	for delay := time.Millisecond; ; delay = min(2*delay, maxPause) {
		page, err := e.store.Load(e.ctx, []provider.LoadRequest{req})
		switch {
		case err == nil && page[0].Err == nil:
			return &page[0], nil
		case err == nil:
			return nil, page[0].Err
		case e.ctx.Err() != nil || !retryable(err):
			return nil, err
		}
		e.pause(delay)
	}
}

// replayTurn feeds one recorded turn to the machine of x.
func (e *Engine) replayTurn(x *execution, t *history.Turn) error {
	e.metrics.replayedTurns.Add(1)
	x.lastTime = t.Time
	if t.Execution != x.generation {
		// The turn that continued as new: it begins the execution if no turn
		// of that follows.
		if n := len(t.Commands); n == 0 || t.Commands[n-1].Kind != history.ContinuedAsNew {
			return fmt.Errorf("turn %d belongs to execution %d and does not continue as new", t.Number, t.Execution)
		}
		x.first = e.successor(x, &t.Commands[len(t.Commands)-1])
		return nil
	}
	x.events += int64(len(t.Deliveries) + len(t.Commands))
	if x.machine == nil {
		if len(t.Deliveries) == 0 || t.Deliveries[0].Kind != history.Started {
			return fmt.Errorf("turn %d: %w: an execution that does not begin with Started", t.Number, history.ErrCorrupt)
		}
		x.first = nil
		if err := e.begin(x, &t.Deliveries[0]); err != nil {
			return err
		}
	}
	return x.machine.Replay(t)
}

// missed delivers the ends of children that had nobody to be told while x was a
// dead letter. What it has been told as well is dropped as a duplicate.
func (e *Engine) missed(x *execution) error {
	inspector, err := e.client.Inspector(e.ctx)
	if err != nil {
		return nil // then nobody can have requeued it
	}
	var open []history.Event
	x.machine.OpenChildren(func(child *history.Event) bool {
		if !child.Detached {
			open = append(open, *child)
		}
		return true
	})
	for i := range open {
		var row provider.Instance
		err := e.insist(e.ctx, func() (err error) {
			row, err = inspector.Get(e.ctx, provider.Target{ID: open[i].Target})
			return err
		})
		answer := history.Event{Kind: history.ChildFailed, Ref: open[i].Seq}
		switch {
		case errors.Is(err, provider.ErrNotFound):
			answer.Failure = &history.Failure{Code: CodeNotFound, Message: "instance " + open[i].Target + " not found", Final: true}
		case err != nil:
			return err
		case row.Parent.Key != x.key || row.Parent.Execution != x.generation || row.Parent.Command != open[i].Seq || row.Status.Open():
			continue
		default:
			final, err := history.DecodeMessage(row.Outcome)
			if err != nil {
				return fmt.Errorf("outcome of the child %s: %w: %w", row.ID, history.ErrCorrupt, err)
			}
			answer = Notice(&final, open[i].Seq)
		}
		x.turn.taken = append(x.turn.taken, delivery{event: answer, execution: x.generation})
	}
	return nil
}

// recover queues the tasks that the history says are open, that have no row,
// no answer in the whole of the mailbox, and do not run here. They were begun
// by a node that is gone, so their first attempt is spent.
func (e *Engine) recover(x *execution, l *provider.Loaded) {
	known := make(map[int64]bool, len(l.Tasks)+len(l.Answered))
	for _, c := range l.Tasks {
		known[c] = true
	}
	for _, c := range l.Answered {
		known[c] = true
	}
	for _, row := range x.turn.extra {
		known[row.Command] = true
	}
	now := e.clock.now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.extra { // they have left x.local since the turn began
		known[x.extra[i].Command] = true
	}
	for _, arrived := range [][]delivery{x.turn.taken, x.inbox} {
		for i := range arrived {
			// An answer for an execution before this one is of another command.
			if d := &arrived[i]; d.execution == 0 || d.execution == x.generation {
				known[d.event.Ref] = true
			}
		}
	}
	x.machine.OpenActivities(func(cmd *history.Event) bool {
		if _, running := x.local[cmd.Seq]; running || known[cmd.Seq] {
			return true
		}
		e.metrics.recovered.Add(1)
		row := newRow(cmd, cmp.Or(cmd.Time, now), x.taskPayload(cmd))
		row.Attempt, row.VisibleAt = 1, now
		x.turn.extra = append(x.turn.extra, row)
		return true
	})
}
