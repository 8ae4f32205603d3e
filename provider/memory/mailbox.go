package memory

import (
	"context"

	"github.com/durango-go/durango/provider"
)

// Send implements [provider.Provider].
func (s *Store) Send(ctx context.Context, batch []provider.Message) ([]provider.SendResult, error) {
	now, err := s.begin(ctx, "send")
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	results := make([]provider.SendResult, len(batch))
	for i := range batch {
		results[i] = s.send(now, &batch[i])
	}
	return results, nil
}

func (s *Store) send(now int64, m *provider.Message) provider.SendResult {
	in := s.find(m.To)
	if in == nil {
		return provider.SendResult{Err: provider.ErrNotFound}
	}
	key := in.row.Key
	if !in.row.Status.Open() {
		return provider.SendResult{Err: provider.ErrNotOpen, Key: key}
	}
	if m.IfParent != 0 && in.row.Parent.Key != m.IfParent {
		return provider.SendResult{Key: key}
	}
	if s.tooLarge(m.Payload, m.Notify) {
		return provider.SendResult{Err: provider.ErrTooLarge, Key: key}
	}
	if m.Terminate {
		s.terminate(now, in, m.Payload, m.Notify)
		return provider.SendResult{Key: key}
	}
	if m.ID != "" {
		if in.seen[m.ID] {
			return provider.SendResult{Key: key, Owner: in.row.Owner}
		}
		if in.seen == nil {
			in.seen = map[string]bool{}
		}
		in.seen[m.ID] = true
	}
	if m.Hasten {
		in.row.Hasten() // put computes WakeAt
	}
	in.refer(m.Blobs)
	seq := in.put(now, provider.Mail{Execution: m.Execution, Command: m.Command, Payload: m.Payload})
	return provider.SendResult{Key: key, Seq: seq, Owner: in.row.Owner}
}

// put appends to the mailbox of an open instance: the next number, the
// message under it and the wake-up belong together.
func (in *instance) put(now int64, m provider.Mail) int64 {
	in.row.MailboxSeq++
	m.Seq, m.Payload = in.row.MailboxSeq, keep(m.Payload)
	in.mail = append(in.mail, m)
	// Mail lowers WakeAt and never raises it: what has waited longest is
	// claimed first, however much arrives meanwhile.
	in.row.WakeAt = min(in.row.WakeAt, in.row.ComputeWakeAt(now))
	return m.Seq
}

// read consumes the mail up to seq.
func (in *instance) read(seq int64) {
	n := max(0, seq-in.row.ReadSeq)
	in.row.ReadSeq += n
	clear(in.mail[:n])
	in.mail = in.mail[n:]
}

// terminate ends an open instance from outside and tells its parent.
func (s *Store) terminate(now int64, in *instance, outcome, notify []byte) {
	s.end(in, now, provider.Terminated, outcome, false)
	link := in.row.Parent
	parent := s.open[link.Key]
	if parent == nil || len(notify) == 0 {
		return
	}
	parent.put(now, provider.Mail{Execution: link.Execution, Command: link.Command, Payload: notify})
}
