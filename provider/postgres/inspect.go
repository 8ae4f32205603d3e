package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

const (
	defaultPage = 100
	// maxListed is the largest payload that a list carries, in bytes.
	maxListed = 4 << 10
)

// Get implements [provider.Inspector].
func (s *Store) Get(ctx context.Context, to provider.Target) (provider.Instance, error) {
	var in provider.Instance
	found := false
	err := s.read(ctx, "get", func(run func(*trip) error) error {
		found = false
		t := s.trip()
		scan := func(rows pgx.Rows) (err error) {
			in, err = scanInstance(rows)
			found = to.ID == "" || to.ID == in.ID
			return err
		}
		switch {
		case to.Key != 0:
			t.each(qGetByKey, scan, s.keyShard(to.Key), int64(to.Key))
		case valid(to.ID):
			t.each(qGetByID, scan, s.textShard(to.ID), to.ID)
		default:
			return nil
		}
		return run(t)
	})
	if err == nil && !found {
		err = s.notFound("get", to)
	}
	if err != nil {
		return provider.Instance{}, err
	}
	return in, nil
}

func (s *Store) notFound(op string, t provider.Target) error {
	return fmt.Errorf("postgres: %s %s (key %d): %w", op, t.ID, t.Key, provider.ErrNotFound)
}

// List implements [provider.Inspector].
func (s *Store) List(ctx context.Context, q provider.Query) (provider.Page, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	var page provider.Page
	err := s.read(ctx, "list", func(run func(*trip) error) error {
		page = provider.Page{}
		for _, text := range []string{q.Name, q.NamePrefix, q.IDPrefix, q.Version, q.Parent} {
			if clean(text) != text {
				return nil // nothing has it
			}
		}
		list, args := s.selection(&q, limit+1)
		t := s.trip()
		t.add(qWalkIndexes)
		t.each(list, func(rows pgx.Rows) error {
			in, err := scanInstance(rows)
			page.Instances = append(page.Instances, in)
			return err
		}, args...)
		return run(t)
	})
	if len(page.Instances) > limit {
		page.Instances = page.Instances[:limit]
		page.Next = page.Instances[limit-1].Key
	}
	return page, err
}

// selection chooses the statement that looks through the smallest index that
// has everything the query selects.
func (s *Store) selection(q *provider.Query, limit int) (statement, []any) {
	statuses := []int16{}
	rare := len(q.Statuses) > 0
	for _, st := range q.Statuses {
		statuses = append(statuses, int16(st))
		rare = rare && st >= provider.Failed
	}
	failing := 0
	switch {
	case q.DeadLetters && (len(statuses) == 0 || slices.Contains(q.Statuses, provider.Failed)) && !q.TurnFailed:
		failing, statuses = 2, []int16{int16(provider.Failed)}
	case q.DeadLetters:
		failing, statuses = 2, []int16{0} // nothing is both
	case q.TurnFailed:
		failing = 1
	}
	if len(statuses) == 0 {
		for st := provider.Pending; st <= provider.Quarantined; st++ {
			statuses = append(statuses, int16(st))
		}
	}
	orMax := func(v int64) int64 {
		if v == 0 {
			return math.MaxInt64
		}
		return v
	}
	args := []any{s.allShards, orMax(int64(q.After)), limit, distinct(statuses), q.Name, q.NamePrefix, q.Version, q.CreatedFrom,
		orMax(q.CreatedBefore), failing, q.IDPrefix, q.Parent, q.WaitingSince, maxListed}
	switch {
	case q.Parent != "":
		return qListChildren, args
	case q.IDPrefix != "":
		return qListIDs, append(args, after(q.IDPrefix))
	case failing != 0:
		return qListFailing, args
	case q.WaitingSince != 0:
		return qListWaiting, args
	case rare:
		return qListRare, args
	}
	return qListRecent, args
}

// after returns text that is behind all that begins with prefix, in the order
// of bytes, which is that of code points.
func after(prefix string) string {
	runes := []rune(prefix)
	for i := len(runes) - 1; i >= 0; i-- {
		switch r := runes[i]; {
		case r == 0xd7ff:
			runes[i] = 0xe000 // what is between are no code points
		case r < utf8.MaxRune:
			runes[i] = r + 1
		default:
			continue
		}
		return string(runes[:i+1])
	}
	return strings.Repeat(string(utf8.MaxRune), maxName) // longer than any ID of that rune alone
}

// Turns implements [provider.Inspector].
func (s *Store) Turns(ctx context.Context, k provider.Key, from int64, limit int) ([]provider.Turn, error) {
	var turns []provider.Turn
	err := s.read(ctx, "turns", func(run func(*trip) error) error {
		turns = nil
		t := s.trip()
		t.each(qTurnList, func(rows pgx.Rows) error {
			h, err := scanTurn(rows)
			turns = append(turns, h)
			return err
		}, s.keyShard(k), int64(k), from, orAll(limit))
		return run(t)
	})
	return turns, err
}

// orAll is a limit for the server; zero means all.
func orAll(limit int) int64 {
	if limit <= 0 {
		return math.MaxInt64
	}
	return int64(limit)
}

// Mailbox implements [provider.Inspector].
func (s *Store) Mailbox(ctx context.Context, k provider.Key, limit int) ([]provider.Mail, error) {
	var mail []provider.Mail
	err := s.read(ctx, "mailbox", func(run func(*trip) error) error {
		mail = nil
		t := s.trip()
		t.each(qMailList, func(rows pgx.Rows) error {
			m, err := scanMail(rows)
			mail = append(mail, m)
			return err
		}, s.keyShard(k), int64(k), orAll(limit))
		return run(t)
	})
	return mail, err
}

// Tasks implements [provider.Inspector].
func (s *Store) Tasks(ctx context.Context, k provider.Key) ([]provider.Task, error) {
	var tasks []provider.Task
	err := s.read(ctx, "tasks", func(run func(*trip) error) error {
		tasks = nil
		t := s.trip()
		t.each(qTaskList, func(rows pgx.Rows) error {
			k, err := scanTask(rows)
			tasks = append(tasks, k)
			return err
		}, s.keyShard(k), int64(k))
		return run(t)
	})
	return tasks, err
}

// Values implements [provider.Inspector].
func (s *Store) Values(ctx context.Context, k provider.Key) ([]provider.Value, error) {
	var values []provider.Value
	err := s.read(ctx, "values", func(run func(*trip) error) error {
		values = nil
		t := s.trip()
		t.each(qValueList, func(rows pgx.Rows) error {
			var v provider.Value
			err := rows.Scan(&v.Name, &v.Payload)
			values = append(values, v)
			return err
		}, s.keyShard(k), int64(k))
		return run(t)
	})
	return values, err
}

// Nodes implements [provider.Inspector].
func (s *Store) Nodes(ctx context.Context) ([]provider.NodeView, error) {
	var nodes []provider.NodeView
	err := s.read(ctx, "nodes", func(run func(*trip) error) error {
		t := s.trip()
		t.listNodes(&nodes)
		return run(t)
	})
	return nodes, err
}

// Stats implements [provider.Inspector]. It counts rows, which takes time in
// a large store.
func (s *Store) Stats(ctx context.Context) (provider.Stats, error) {
	var stats provider.Stats
	err := s.read(ctx, "stats", func(run func(*trip) error) error {
		stats = provider.Stats{Instances: map[provider.Status]int64{}}
		t := s.trip()
		t.add(qBeginRead)
		t.each(qStatsInstances, func(rows pgx.Rows) error {
			var status provider.Status
			var n int64
			err := rows.Scan(&status, &n)
			stats.Instances[status] = n
			return err
		})
		t.each(qStatsRest, func(rows pgx.Rows) error {
			return rows.Scan(&stats.Turns, &stats.UnreadMail, &stats.TaskWaiting, &stats.TaskHeld, &stats.Nodes, &stats.Now)
		})
		t.add(qCommit)
		return run(t)
	})
	return stats, err
}
