package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/durango-go/durango/provider"
)

// published is what an instance shows to others besides its custom status. It
// goes when the instance is deleted, and not before.
type published struct {
	values  map[string][]byte
	replies map[string]reply
}

// reply is an answer with the time at which it was stored.
type reply struct {
	payload  []byte
	storedAt int64
}

// publish stores what a commit shows to others. Old replies are dropped before
// new ones come, so that a new one is never taken for the old.
func (in *instance) publish(now int64, c *provider.Commit) {
	if c.CustomStatus != nil {
		in.row.CustomStatus, in.row.CustomStatusTurn = keep(c.CustomStatus), c.Expect
	}
	for _, v := range c.Values {
		if v.Payload == nil {
			delete(in.values, v.Name)
			continue
		}
		if in.values == nil {
			in.values = map[string][]byte{}
		}
		in.values[v.Name] = keep(v.Payload)
	}
	for id, r := range in.replies {
		if r.storedAt < c.DropReplies {
			delete(in.replies, id)
		}
	}
	for _, r := range c.Replies {
		if _, answered := in.replies[r.ID]; answered {
			continue
		}
		if in.replies == nil {
			in.replies = map[string]reply{}
		}
		in.replies[r.ID] = reply{payload: keep(r.Payload), storedAt: now}
	}
}

// Lookup implements [provider.Provider].
func (s *Store) Lookup(ctx context.Context, batch []provider.Lookup) ([]provider.Finding, error) {
	if _, err := s.begin(ctx, "look up"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	found := make([]provider.Finding, len(batch))
	for i := range batch {
		found[i] = s.lookup(&batch[i])
	}
	return found, nil
}

func (s *Store) lookup(l *provider.Lookup) provider.Finding {
	in := s.find(l.To)
	if in == nil {
		return provider.Finding{Err: provider.ErrNotFound}
	}
	f := provider.Finding{Key: in.row.Key, Status: in.row.Status}
	switch l.Kind {
	case provider.LookupStatus:
		f.Turn, f.Payload = in.row.CustomStatusTurn, in.row.CustomStatus
		f.Found = f.Turn != 0
	case provider.LookupValue:
		f.Payload, f.Found = in.values[l.Name]
	case provider.LookupReply:
		var r reply
		r, f.Found = in.replies[l.Name]
		f.Payload = r.payload
	default:
		f.Err = fmt.Errorf("%w: no lookup of kind %d", provider.ErrInvalid, l.Kind)
	}
	return f
}

// Values implements [provider.Inspector].
func (s *Store) Values(ctx context.Context, k provider.Key) ([]provider.Value, error) {
	if _, err := s.begin(ctx, "values"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	in := s.instances[k]
	if in == nil {
		return nil, nil
	}
	var values []provider.Value
	for name, payload := range in.values {
		values = append(values, provider.Value{Name: name, Payload: payload})
	}
	slices.SortFunc(values, func(a, b provider.Value) int { return cmp.Compare(a.Name, b.Name) })
	return values, nil
}
