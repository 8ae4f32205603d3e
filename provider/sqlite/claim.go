package sqlite

import (
	"cmp"
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// Claim implements [provider.Provider]. It looks first, without a lock, and
// writes only if there is something to claim.
func (s *Store) Claim(ctx context.Context, req provider.ClaimRequest) (provider.ClaimReply, error) {
	var reply provider.ClaimReply
	var gone error
	var due []dueInstance
	err := s.read(ctx, "claim", func(c *conn) error {
		reply, gone, due = provider.ClaimReply{Now: now()}, nil, nil
		alive, err := isMember(c, req.Node)
		if err != nil {
			return err
		}
		if !alive {
			gone = s.nodeGone("claim", req.Node)
			return nil
		}
		if reply.Mail, err = readMailed(c, req.Node); err != nil {
			return err
		}
		defs, err := s.definitions(c, req.Definitions)
		if err != nil {
			return err
		}
		if due, err = readDue(c, defs, reply.Now, min(req.Limit, 1)); err != nil || len(due) > 0 {
			return err
		}
		reply.NextDue, err = readNextDue(c, defs, reply.Now)
		return err
	})
	if err == nil {
		err = gone
	}
	if err != nil || len(due) == 0 {
		return reply, err
	}

	mail := reply.Mail
	err = s.w.submit(ctx, "claim", &request{n: 1, run: func(w *writer, _ int) (err error) {
		if gone, err = w.member(req.Node, "claim"); err != nil || gone != nil {
			return err
		}
		reply, err = w.claim(&req)
		return err
	}})
	if err == nil {
		err = gone
	}
	if err != nil {
		return provider.ClaimReply{}, err
	}
	reply.Mail = mail
	return reply, nil
}

// Definitions implements [provider.Provider].
func (s *Store) Definitions(ctx context.Context) ([]provider.Definition, error) {
	var defs []provider.Definition
	err := s.read(ctx, "definitions", func(c *conn) error {
		defs = nil
		return rows(c.query(qDefinitionOpen), func(st *sqlite.Stmt) bool {
			defs = append(defs, provider.Definition{Name: st.ColumnText(0), Version: st.ColumnText(1)})
			return true
		})
	})
	return defs, err
}

// definitions returns the numbers of those definitions that have any.
func (s *Store) definitions(c *conn, defs []provider.Definition) ([]int64, error) {
	ids := make([]int64, 0, len(defs))
	for _, d := range defs {
		id, err := s.defs.find(c, pair{d.Name, d.Version})
		if err != nil {
			return nil, err
		}
		if id != 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// dueInstance is a candidate of a claim.
type dueInstance struct {
	key    provider.Key
	wakeAt int64
}

// readDue returns the limit longest due of all definitions.
func readDue(c *conn, defs []int64, now int64, limit int) ([]dueInstance, error) {
	if limit <= 0 {
		return nil, nil
	}
	var due []dueInstance
	for _, def := range defs {
		err := rows(c.query(qInstanceDue, def, now, int64(limit)), func(st *sqlite.Stmt) bool {
			due = append(due, dueInstance{provider.Key(st.ColumnInt64(0)), st.ColumnInt64(1)})
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(due, func(a, b dueInstance) int {
		return cmp.Or(cmp.Compare(a.wakeAt, b.wakeAt), cmp.Compare(a.key, b.key))
	})
	return due[:min(len(due), limit)], nil
}

func readNextDue(c *conn, defs []int64, now int64) (int64, error) {
	next := provider.Never
	for _, def := range defs {
		_, err := row(c.query(qInstanceNextDue, def, now), func(st *sqlite.Stmt) {
			next = min(next, st.ColumnInt64(0))
		})
		if err != nil {
			return 0, err
		}
	}
	return next, nil
}

// readMailed returns the instances of a node that have mail.
func readMailed(c *conn, node provider.NodeKey) (keys []provider.Key, err error) {
	if node == 0 {
		return nil, nil
	}
	err = rows(c.query(qInstanceMail, int64(node)), func(st *sqlite.Stmt) bool {
		keys = append(keys, provider.Key(st.ColumnInt64(0)))
		return true
	})
	slices.Sort(keys)
	return keys, err
}

// claim takes what is due under the write lock: what the look before it saw
// may be another's by now.
func (w *writer) claim(req *provider.ClaimRequest) (provider.ClaimReply, error) {
	reply := provider.ClaimReply{Now: w.now}
	if err := w.flush(); err != nil {
		return reply, err
	}
	defs, err := w.s.definitions(w.c, req.Definitions)
	if err != nil {
		return reply, err
	}
	due, err := readDue(w.c, defs, w.now, req.Limit)
	if err != nil {
		return reply, err
	}
	for _, d := range due {
		e, err := w.entry(d.key)
		if err != nil {
			return reply, err
		}
		e.Owner = req.Node
		e.Attempts++
		w.touch(e, changedOwner)
		w.wake(e)
		in := e.Instance
		if err := readNotes(w.c, e, &in); err != nil {
			return reply, err
		}
		reply.Claimed = append(reply.Claimed, in)
	}
	if err := w.flush(); err != nil {
		return reply, err
	}
	reply.NextDue, err = readNextDue(w.c, defs, w.now)
	return reply, err
}
