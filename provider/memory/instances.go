package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/durango-go/durango/provider"
)

// instance is a row with what belongs to it.
type instance struct {
	row   provider.Instance
	turns []provider.Turn // turn number n is at n-1
	mail  []provider.Mail // unread, in order
	seen  map[string]bool // IDs of messages accepted
	blobs map[provider.BlobAddress]bool
	published
}

// Create implements [provider.Provider].
func (s *Store) Create(ctx context.Context, node provider.NodeKey, batch []provider.NewInstance) ([]provider.CreateResult, error) {
	now, err := s.begin(ctx, "create")
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for i := range batch {
		if batch[i].Owned {
			if err := s.alive(node, "create"); err != nil {
				return nil, err
			}
			break
		}
	}
	results := make([]provider.CreateResult, len(batch))
	for i := range batch {
		n := &batch[i]
		if n.First != nil && !n.Owned {
			results[i].Err = fmt.Errorf("%w: a first turn of %s, which the node does not own", provider.ErrInvalid, n.ID)
			continue
		}
		results[i] = s.create(now, node, n)
		if results[i].Err == nil && n.First != nil {
			results[i].First = s.commit(now, node, n.First)
		}
		results[i].Sent = s.sendWith(now, results[i], n.With)
	}
	return results, nil
}

func (s *Store) create(now int64, node provider.NodeKey, n *provider.NewInstance) provider.CreateResult {
	if n.Key == 0 || n.ID == "" {
		return provider.CreateResult{Err: provider.ErrInvalid}
	}
	if in := s.byID[n.ID]; in != nil {
		if in.row.Key == n.Key {
			return provider.CreateResult{Key: n.Key} // an earlier attempt made it
		}
		return provider.CreateResult{Err: provider.ErrAlreadyExists, Key: in.row.Key}
	}
	if s.instances[n.Key] != nil {
		// Two processes made the same key. Nobody has the ID, hence no Key.
		return provider.CreateResult{Err: provider.ErrAlreadyExists}
	}
	if s.tooLarge(n.Start) {
		return provider.CreateResult{Err: provider.ErrTooLarge}
	}
	in := &instance{row: provider.Instance{
		Key: n.Key, ID: n.ID, Name: n.Name, Version: n.Version,
		Status: provider.Pending, Execution: 1, NextTurn: 1, HistoryFrom: 1,
		NotBefore: n.NotBefore, Parent: n.Parent,
		CreatedAt: now, UpdatedAt: now,
	}}
	if n.Owned {
		in.row.Owner, in.row.Attempts = node, 1
	}
	in.row.WakeAt = provider.Never
	s.instances[n.Key], s.byID[n.ID], s.open[n.Key] = in, in, in
	in.put(now, provider.Mail{Payload: n.Start})
	in.refer(n.Blobs)
	return provider.CreateResult{Key: n.Key}
}

// sendWith sends the messages that come with a new instance to whatever
// instance has its ID now. Without one there is nobody to send them to.
func (s *Store) sendWith(now int64, created provider.CreateResult, with []provider.Message) []provider.SendResult {
	there := errors.Is(created.Err, provider.ErrAlreadyExists) && created.Key != 0
	if len(with) == 0 || created.Err != nil && !there {
		return nil
	}
	results := make([]provider.SendResult, len(with))
	for i := range with {
		m := with[i]
		m.To = provider.Target{Key: created.Key}
		results[i] = s.send(now, &m)
	}
	return results
}

// Claim implements [provider.Provider].
func (s *Store) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	now, err := s.begin(ctx, "claim")
	if err != nil {
		return provider.ClaimReply{}, err
	}
	defer s.mu.Unlock()
	if err := s.alive(req.Node, "claim"); err != nil {
		return provider.ClaimReply{}, err
	}
	reply := provider.ClaimReply{Now: now, NextDue: provider.Never}
	var due []*instance
	for _, in := range s.open {
		switch row := &in.row; {
		case row.Owner == req.Node:
			if row.WakeAt <= now {
				reply.Mail = append(reply.Mail, row.Key)
			}
		case row.Owner != 0 || !slices.Contains(req.Definitions, provider.Definition{Name: row.Name, Version: row.Version}):
		case row.WakeAt <= now:
			due = append(due, in)
		default:
			reply.NextDue = min(reply.NextDue, row.WakeAt)
		}
	}
	slices.Sort(reply.Mail)
	slices.SortFunc(due, func(a, b *instance) int {
		return cmp.Or(cmp.Compare(a.row.WakeAt, b.row.WakeAt), cmp.Compare(a.row.Key, b.row.Key))
	})
	for _, in := range due[:min(len(due), max(req.Limit, 0))] {
		in.row.Owner = req.Node
		in.row.Attempts++
		in.row.WakeAt = in.row.ComputeWakeAt(now)
		reply.Claimed = append(reply.Claimed, in.row)
	}
	return reply, nil
}

// Load implements [provider.Provider].
func (s *Store) Load(ctx context.Context, batch []provider.LoadRequest) ([]provider.Loaded, error) {
	if _, err := s.begin(ctx, "load"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	loaded := make([]provider.Loaded, len(batch))
	for i := range batch {
		loaded[i] = s.load(&batch[i])
	}
	return loaded, nil
}

func (s *Store) load(req *provider.LoadRequest) provider.Loaded {
	in := s.instances[req.Key]
	if in == nil {
		return provider.Loaded{Err: provider.ErrNotFound}
	}
	l := provider.Loaded{Instance: in.row}
	size := 0
	full := func(have, limit, next int) bool {
		return have > 0 && (limit > 0 && have >= limit || req.MaxBytes > 0 && size+next > req.MaxBytes)
	}
	for _, t := range in.turnsFrom(cmp.Or(req.FromTurn, in.row.HistoryFrom)) {
		if l.MoreTurns = full(len(l.Turns), req.MaxTurns, len(t.Events)); l.MoreTurns {
			break
		}
		size += len(t.Events)
		l.Turns = append(l.Turns, t)
	}
	for id := range s.tasks[req.Key] {
		if id.execution == in.row.Execution {
			l.Tasks = append(l.Tasks, id.command)
		}
	}
	slices.Sort(l.Tasks)
	for _, m := range in.mail {
		if m.Seq <= req.AfterMail {
			continue
		}
		if l.MoreMail = full(len(l.Mail), req.MaxMail, len(m.Payload)); l.MoreMail {
			break
		}
		size += len(m.Payload)
		l.Mail = append(l.Mail, m)
	}
	// Over the whole mailbox, not only what this reply carries: a completion
	// beyond the window must keep its task from being dispatched again.
	for _, m := range in.mail {
		if m.Command != 0 && m.Execution == in.row.Execution {
			l.Answered = append(l.Answered, m.Command)
		}
	}
	slices.Sort(l.Answered)
	l.Answered = slices.Compact(l.Answered)
	return l
}

// Definitions implements [provider.Provider].
func (s *Store) Definitions(ctx context.Context) ([]provider.Definition, error) {
	if _, err := s.begin(ctx, "definitions"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var definitions []provider.Definition
	for _, in := range s.open {
		definitions = append(definitions, provider.Definition{Name: in.row.Name, Version: in.row.Version})
	}
	slices.SortFunc(definitions, func(a, b provider.Definition) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return slices.Compact(definitions), nil
}

func (in *instance) turnsFrom(number int64) []provider.Turn {
	first := min(max(number, 1)-1, int64(len(in.turns)))
	return slices.Clip(in.turns[first:])
}

// Outcomes implements [provider.Provider].
func (s *Store) Outcomes(ctx context.Context, targets []provider.Target) ([]provider.Outcome, error) {
	if _, err := s.begin(ctx, "outcomes"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	outcomes := make([]provider.Outcome, len(targets))
	for i, t := range targets {
		if in := s.find(t); in != nil {
			outcomes[i] = provider.Outcome{Key: in.row.Key, Status: in.row.Status, Owner: in.row.Owner, Payload: in.row.Outcome}
		}
	}
	return outcomes, nil
}

// find returns the instance that a target names, or nil.
func (s *Store) find(t provider.Target) *instance {
	if t.Key == 0 {
		return s.byID[t.ID]
	}
	in := s.instances[t.Key]
	if in == nil || t.ID != "" && t.ID != in.row.ID {
		return nil
	}
	return in
}

// end closes an instance. Its history, its outcome and what it has published
// stay; what nobody is going to read goes. A dead letter keeps its mail.
func (s *Store) end(in *instance, now int64, status provider.Status, outcome []byte, deadLetter bool) {
	in.row.Status, in.row.Outcome, in.row.ClosedAt, in.row.UpdatedAt = status, keep(outcome), now, now
	in.row.Owner = 0
	if !deadLetter {
		in.row.ReadSeq = in.row.MailboxSeq
		in.mail, in.seen = nil, nil
	}
	in.row.WakeAt = in.row.ComputeWakeAt(now)
	delete(s.tasks, in.row.Key)
	delete(s.open, in.row.Key)
}
