package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

// targetColumns are targets as arrays: those with a key, and those with an ID
// alone.
type targetColumns struct {
	keyPlaces, keyShards []int32
	keys                 []int64
	idPlaces, idShards   []int32
	ids                  []string
}

func (c *targetColumns) add(s *Store, place int, t provider.Target) {
	if t.Key != 0 {
		c.keyPlaces, c.keyShards = append(c.keyPlaces, int32(place)), append(c.keyShards, s.keyShard(t.Key))
		c.keys = append(c.keys, int64(t.Key))
	} else if valid(t.ID) {
		c.idPlaces, c.idShards = append(c.idPlaces, int32(place)), append(c.idShards, s.textShard(t.ID))
		c.ids = append(c.ids, t.ID)
	}
}

func (c *targetColumns) args() []any {
	return []any{c.keyPlaces, c.keyShards, c.keys, c.idPlaces, c.idShards, c.ids}
}

// Outcomes implements [provider.Provider].
func (s *Store) Outcomes(ctx context.Context, targets []provider.Target) ([]provider.Outcome, error) {
	var outcomes []provider.Outcome
	var columns targetColumns
	for i, t := range targets {
		columns.add(s, i, t)
	}
	err := s.read(ctx, "outcomes", func(run func(*trip) error) error {
		outcomes = make([]provider.Outcome, len(targets))
		t := s.trip()
		t.each(qOutcomes, func(rows pgx.Rows) error {
			var place int
			var id string
			var o provider.Outcome
			err := rows.Scan(&place, &o.Key, &id, &o.Status, &o.Owner, &o.Payload)
			if want := targets[place].ID; want == "" || want == id {
				outcomes[place] = o
			}
			return err
		}, columns.args()...)
		return run(t)
	})
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

// Lookup implements [provider.Provider]. It finds the instances first, and
// then in the same snapshot what they have published.
func (s *Store) Lookup(ctx context.Context, batch []provider.Lookup) ([]provider.Finding, error) {
	var found []provider.Finding
	var columns targetColumns
	for i := range batch {
		columns.add(s, i, batch[i].To)
	}
	err := s.read(ctx, "look up", func(run func(*trip) error) error {
		found = make([]provider.Finding, len(batch))
		if len(batch) == 0 {
			return nil
		}
		t := s.trip()
		t.add(qBeginRead)
		t.each(qFindTargets, func(rows pgx.Rows) error {
			var place int
			var id string
			var f provider.Finding
			err := rows.Scan(&place, &f.Key, &id, &f.Status, &f.Turn)
			if want := batch[place].To.ID; want == "" || want == id {
				found[place] = f
			}
			return err
		}, columns.args()...)
		if err := run(t); err != nil {
			return err
		}
		return run(s.readPublished(batch, found))
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// readPublished makes the trip that reads what was asked of those found.
func (s *Store) readPublished(batch []provider.Lookup, found []provider.Finding) *trip {
	var statuses, values, replies namedColumns
	for i := range batch {
		f := &found[i]
		if f.Key == 0 {
			f.Err = provider.ErrNotFound
			continue
		}
		turn := f.Turn
		f.Turn = 0
		switch batch[i].Kind {
		case provider.LookupStatus:
			if turn != 0 {
				f.Turn = turn
				statuses.add(s, i, f.Key, "")
			}
		case provider.LookupValue:
			values.add(s, i, f.Key, batch[i].Name)
		case provider.LookupReply:
			replies.add(s, i, f.Key, batch[i].Name)
		default:
			f.Err = fmt.Errorf("%w: no lookup of kind %d", provider.ErrInvalid, batch[i].Kind)
		}
	}
	t := s.trip()
	scan := func(rows pgx.Rows) error {
		var place int
		var payload []byte
		err := rows.Scan(&place, &payload)
		found[place].Found, found[place].Payload = true, payload
		return err
	}
	if len(statuses.keys) > 0 {
		t.each(qFindStatuses, scan, statuses.places, statuses.shards, statuses.keys)
	}
	if len(values.keys) > 0 {
		t.each(qFindValues, scan, values.places, values.shards, values.keys, values.names)
	}
	if len(replies.keys) > 0 {
		t.each(qFindReplies, scan, replies.places, replies.shards, replies.keys, replies.names)
	}
	t.add(qCommit)
	return t
}

// namedColumns are names of what instances have published, as arrays.
type namedColumns struct {
	places, shards []int32
	keys           []int64
	names          []string
}

func (c *namedColumns) add(s *Store, place int, key provider.Key, name string) {
	if !validOrEmpty(name) {
		return // nothing has it
	}
	c.places, c.shards = append(c.places, int32(place)), append(c.shards, s.keyShard(key))
	c.keys, c.names = append(c.keys, int64(key)), append(c.names, name)
}

// Definitions implements [provider.Provider]. It lists what any instance ever
// had: there are few, and none is in the way of a claim.
func (s *Store) Definitions(ctx context.Context) ([]provider.Definition, error) {
	var list []provider.Definition
	err := s.read(ctx, "definitions", func(run func(*trip) error) error {
		list = nil
		t := s.trip()
		t.each(qDefinitionList, func(rows pgx.Rows) error {
			var d provider.Definition
			err := rows.Scan(&d.Name, &d.Version)
			list = append(list, d)
			return err
		}, s.allShards)
		return run(t)
	})
	return list, err
}
