package postgres

import (
	"context"
	"fmt"

	"github.com/durango-go/durango/provider"
)

// Send implements [provider.Provider].
func (s *Store) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	results := make([]provider.SendResult, len(batch))
	r := request{n: len(batch)}
	for i := range batch {
		r.bytes += len(batch[i].Payload) + len(batch[i].Notify)
	}
	r.needs = func(n *needs, i int) { n.message(&batch[i]) }
	r.run = func(t *txn, i int) { results[i] = t.send(&batch[i]) }
	r.fail = func(i int, err error) { results[i] = provider.SendResult{Err: err} }
	if err := s.submit(ctx, "send", &r); err != nil {
		return nil, err
	}
	return results, nil
}

func (t *txn) send(m *provider.Message) provider.SendResult {
	e := t.find(m.To)
	switch {
	case e == nil:
		return provider.SendResult{Err: provider.ErrNotFound}
	case !e.Status.Open():
		return provider.SendResult{Err: provider.ErrNotOpen, Key: e.Key}
	case m.IfParent != 0 && e.Parent.Key != m.IfParent:
		return provider.SendResult{Key: e.Key}
	case tooLarge(m.Payload, m.Notify):
		return provider.SendResult{Err: provider.ErrTooLarge, Key: e.Key}
	case m.Terminate:
		t.terminate(e, m.Payload, m.Notify)
		return provider.SendResult{Key: e.Key}
	case !validOrEmpty(m.ID):
		return provider.SendResult{Err: fmt.Errorf("%w: ID of a message", provider.ErrInvalid), Key: e.Key}
	}
	if m.ID != "" && !t.accept(e, m.ID) {
		return provider.SendResult{Key: e.Key, Owner: e.Owner}
	}
	if m.Hasten && e.Hasten() { // put computes WakeAt
		t.touch(e, changedState)
	}
	e.blobs = append(e.blobs, m.Blobs...)
	seq := t.put(e, provider.Mail{Execution: m.Execution, Command: m.Command, Payload: m.Payload})
	return provider.SendResult{Key: e.Key, Seq: seq, Owner: e.Owner}
}

// accept notes the ID of a message, unless the instance has accepted it
// before.
func (t *txn) accept(e *entry, id string) bool {
	m := messageID{e.Key, id}
	if t.seen[m] {
		return false
	}
	if t.seen == nil {
		t.seen = map[messageID]bool{}
	}
	t.seen[m] = true
	e.messageIDs = append(e.messageIDs, id)
	if e.extras&hasMessageIDs == 0 {
		e.extras |= hasMessageIDs
		t.touch(e, changedState)
	}
	return true
}

// put appends to the mailbox of an open instance: the next number, the
// message under it and the wake-up belong together.
func (t *txn) put(e *entry, m provider.Mail) int64 {
	e.MailboxSeq++
	m.Seq = e.MailboxSeq
	if m.Payload == nil {
		m.Payload = []byte{}
	}
	e.mail = append(e.mail, m)
	t.touch(e, changedTurn)
	// Mail lowers WakeAt and never raises it: what has waited longest is
	// claimed first, however much arrives meanwhile.
	if at := e.ComputeWakeAt(t.now); at < e.WakeAt {
		e.WakeAt = at
		t.touch(e, changedState)
	}
	t.tellOwner(e)
	return m.Seq
}

// tellOwner notes that whoever owns the instance, or may claim it, should
// look, unless that is this process.
func (t *txn) tellOwner(e *entry) {
	if !t.loud && !t.s.isLocal(e.Owner) {
		t.loud = true
	}
}

// readMail consumes the mail up to seq.
func (e *entry) readMail(seq int64) {
	if seq <= e.ReadSeq {
		return
	}
	e.ReadSeq = seq
	n := 0
	for n < len(e.mail) && e.mail[n].Seq <= seq {
		n++
	}
	e.mail = e.mail[n:]
}

// terminate ends an open instance from outside and tells its parent.
func (t *txn) terminate(e *entry, outcome, notify []byte) {
	t.end(e, provider.Terminated, outcome, false)
	if e.Parent.Key == 0 || len(notify) == 0 {
		return
	}
	parent := t.entries[e.Parent.Key]
	if parent == nil && e.changed&made != 0 {
		t.apart = true // it was made in this group, which did not know whom to lock
		return
	}
	if parent == nil || !parent.Status.Open() {
		return
	}
	t.put(parent, provider.Mail{Execution: e.Parent.Execution, Command: e.Parent.Command, Payload: notify})
}

// end closes an instance. Its history, outcome and what it published stay;
// what nobody is going to read goes. A dead letter keeps its mail.
func (t *txn) end(e *entry, status provider.Status, outcome []byte, deadLetter bool) {
	t.dropTasks(e)
	if !deadLetter {
		e.readMail(e.MailboxSeq)
		e.messageIDs = nil
		if e.extras&hasMessageIDs != 0 {
			e.forget = true
		}
		e.extras = 0
	}
	e.Status, e.Outcome, e.ClosedAt, e.UpdatedAt = status, outcome, t.now, t.now
	e.Owner = 0
	t.touch(e, changedState)
	t.wake(e)
	t.loud = true // somebody may wait for it
}

func tooLarge(payloads ...[]byte) bool {
	for _, p := range payloads {
		if len(p) > maxEventSize {
			return true
		}
	}
	return false
}
