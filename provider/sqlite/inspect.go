package sqlite

import (
	"context"
	"fmt"
	"math"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

const (
	defaultPage = 100
	// maxListed is the largest payload that a list carries, in bytes.
	maxListed = 4 << 10
)

// Get implements [provider.Inspector].
func (s *Store) Get(ctx context.Context, t provider.Target) (provider.Instance, error) {
	var in provider.Instance
	var found bool
	err := s.readOut(ctx, "get", func(c *conn) error {
		key, err := targetKey(c, t)
		if err != nil {
			return err
		}
		var e *entry
		in, e, err = readInstance(c, s, key)
		found = e != nil && (t.ID == "" || t.ID == e.ID)
		return err
	})
	if err == nil && !found {
		err = s.notFound("get", t)
	}
	if err != nil {
		return provider.Instance{}, err
	}
	return in, nil
}

func (s *Store) notFound(op string, t provider.Target) error {
	return fmt.Errorf("sqlite: %s %s (key %d): %w", op, t.ID, t.Key, provider.ErrNotFound)
}

// List implements [provider.Inspector].
func (s *Store) List(ctx context.Context, q provider.Query) (provider.Page, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	var page provider.Page
	err := s.readOut(ctx, "list", func(c *conn) error {
		return interruptible(ctx, c, func(c *conn) error {
			page = provider.Page{}
			keys, err := selectKeys(c, &q, limit+1)
			if err != nil {
				return err
			}
			if len(keys) > limit {
				keys = keys[:limit]
				page.Next = keys[limit-1]
			}
			for _, key := range keys {
				in, _, err := readInstance(c, s, key)
				if err != nil {
					return err
				}
				if len(in.Outcome) > maxListed {
					in.Outcome = nil
				}
				if len(in.CustomStatus) > maxListed {
					in.CustomStatus = nil
				}
				page.Instances = append(page.Instances, in)
			}
			return nil
		})
	})
	return page, err
}

// selectKeys returns the keys that a query selects, newest first. It looks
// through the smallest index that has them all; the filters are the same.
func selectKeys(c *conn, q *provider.Query, limit int) ([]provider.Key, error) {
	mask, rare := int64(0), len(q.Statuses) > 0
	for _, st := range q.Statuses {
		mask |= 1 << st
		rare = rare && st >= provider.Failed
	}
	if mask == 0 {
		mask = -1
	}
	if q.DeadLetters {
		if mask &= 1 << provider.Failed; mask == 0 || q.TurnFailed {
			return nil, nil
		}
		rare = true
	}
	list := qListRecent
	switch {
	case q.WaitingSince != 0:
		list = qListWaiting
	case q.Parent != "":
		list = qListChildren
	case q.IDPrefix != "" && after(q.IDPrefix) != "":
		list = qListIds
	case rare:
		list = qListRare
	}
	orMax := func(v int64) int64 {
		if v == 0 {
			return math.MaxInt64
		}
		return v
	}
	st := c.query(list, orMax(int64(q.After)), mask)
	bindText(st, 3, q.Name)
	bindText(st, 4, q.NamePrefix)
	bindText(st, 5, q.Version)
	st.BindInt64(6, q.CreatedFrom)
	st.BindInt64(7, orMax(q.CreatedBefore))
	switch {
	case q.DeadLetters:
		st.BindInt64(8, 2)
	case q.TurnFailed:
		st.BindInt64(8, 1)
	default:
		st.BindInt64(8, 0)
	}
	bindText(st, 9, q.IDPrefix)
	bindText(st, 10, after(q.IDPrefix))
	bindText(st, 11, q.Parent)
	st.BindInt64(12, int64(limit))
	if list == qListWaiting {
		st.BindInt64(13, q.WaitingSince)
	}
	var keys []provider.Key
	err := rows(st, func(st *sqlite.Stmt) bool {
		keys = append(keys, provider.Key(st.ColumnInt64(0)))
		return true
	})
	return keys, err
}

// after returns the first string that is behind all that begin with prefix, in
// the order of bytes; empty if there is none.
func after(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// Turns implements [provider.Inspector].
func (s *Store) Turns(ctx context.Context, k provider.Key, from int64, limit int) ([]provider.Turn, error) {
	var turns []provider.Turn
	err := s.readOut(ctx, "turns", func(c *conn) error {
		turns = nil
		e, err := readEntry(c, s, k)
		if err != nil || e == nil {
			return err
		}
		return s.readTurns(c, e, from, func(t provider.Turn) bool {
			turns = append(turns, t)
			return limit <= 0 || len(turns) < limit
		})
	})
	return turns, err
}

// Mailbox implements [provider.Inspector].
func (s *Store) Mailbox(ctx context.Context, k provider.Key, limit int) ([]provider.Mail, error) {
	var mail []provider.Mail
	err := s.readOut(ctx, "mailbox", func(c *conn) error {
		mail = nil
		return rows(c.query(qMessageList, int64(k), 0), func(st *sqlite.Stmt) bool {
			if limit > 0 && len(mail) == limit {
				return false
			}
			mail = append(mail, scanMail(st))
			return true
		})
	})
	return mail, err
}

// Tasks implements [provider.Inspector].
func (s *Store) Tasks(ctx context.Context, k provider.Key) ([]provider.Task, error) {
	var tasks []provider.Task
	err := s.readOut(ctx, "tasks", func(c *conn) error {
		tasks = nil
		e, err := readEntry(c, s, k)
		if err != nil || e == nil {
			return err
		}
		var kinds []int64
		err = rows(c.query(qTaskList, int64(k)), func(st *sqlite.Stmt) bool {
			t, kind := scanTask(st)
			t.Instance, t.InstanceID = k, e.ID
			tasks, kinds = append(tasks, t), append(kinds, kind)
			return true
		})
		if err != nil {
			return err
		}
		for i := range tasks {
			p, err := s.kinds.pair(c, kinds[i])
			if err != nil {
				return err
			}
			tasks[i].Name, tasks[i].Pool = p.a, p.b
		}
		return nil
	})
	return tasks, err
}

// Nodes implements [provider.Inspector].
func (s *Store) Nodes(ctx context.Context) ([]provider.NodeView, error) {
	var nodes []provider.NodeView
	err := s.read(ctx, "nodes", func(c *conn) (err error) {
		nodes, err = readNodes(c)
		return err
	})
	s.markGone(nodes)
	return nodes, err
}

// Stats implements [provider.Inspector]. It counts rows, which takes time in
// a large store.
func (s *Store) Stats(ctx context.Context) (provider.Stats, error) {
	var stats provider.Stats
	err := s.readOut(ctx, "stats", func(c *conn) error {
		return interruptible(ctx, c, func(c *conn) error {
			stats = provider.Stats{Instances: map[provider.Status]int64{}, Now: now()}
			err := rows(c.query(qStatusStats), func(st *sqlite.Stmt) bool {
				stats.Instances[provider.Status(st.ColumnInt64(0))] = st.ColumnInt64(1)
				return true
			})
			if err != nil {
				return err
			}
			for q, into := range map[statement][]*int64{
				qHistoryCount: {&stats.Turns},
				qMessageCount: {&stats.UnreadMail},
				qTaskStats:    {&stats.TaskWaiting, &stats.TaskHeld},
			} {
				_, err := row(c.query(q), func(st *sqlite.Stmt) {
					for i, p := range into {
						*p = st.ColumnInt64(i)
					}
				})
				if err != nil {
					return err
				}
			}
			nodes, err := readNodes(c)
			stats.Nodes = len(nodes)
			return err
		})
	})
	return stats, err
}
