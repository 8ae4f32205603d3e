package sqlite

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// buryLimit is how much one call of Bury returns to the pool, so that a large
// burial does not keep others from writing.
const buryLimit = 500

// Join implements [provider.Provider].
func (s *Store) Join(ctx context.Context, info provider.NodeInfo) (provider.NodeKey, error) {
	if err := s.ready(ctx, "join"); err != nil {
		return 0, err
	}
	key := provider.NewNodeKey()
	if s.file != "" && !s.options.ReadOnly {
		// The lock comes before the row: a row without a lock would look like
		// a node whose process has ended.
		if err := s.locks.take(s.file, key); err != nil {
			return 0, fmt.Errorf("sqlite: join: %w", err)
		}
	}
	err := s.w.submit(ctx, "join", &request{n: 1, run: func(w *writer, _ int) error {
		st := w.c.query(qNodeInsert, int64(key), int64(info.PID))
		st.BindText(3, info.Name)
		st.BindText(4, info.Version)
		return run(st)
	}})
	if err != nil {
		s.locks.release(key)
		return 0, err
	}
	return key, nil
}

// Heartbeat implements [provider.Provider].
func (s *Store) Heartbeat(ctx context.Context, node provider.NodeKey) (provider.Pulse, error) {
	var pulse provider.Pulse
	var gone error
	err := s.w.submit(ctx, "heartbeat", &request{n: 1, run: func(w *writer, _ int) (err error) {
		if gone, err = w.member(node, "heartbeat"); err != nil || gone != nil {
			return err
		}
		if err = w.c.exec(qNodeBeat, int64(node)); err != nil {
			return err
		}
		pulse.Now = w.now
		pulse.Nodes, err = readNodes(w.c)
		return err
	}})
	if err == nil && gone != nil {
		s.locks.release(node) // it will join again under another key
		err = gone
	}
	if err != nil {
		return provider.Pulse{}, err
	}
	s.markGone(pulse.Nodes)
	return pulse, nil
}

func readNodes(c *conn) ([]provider.NodeView, error) {
	nodes := []provider.NodeView{}
	err := rows(c.query(qNodeList), func(st *sqlite.Stmt) bool {
		nodes = append(nodes, provider.NodeView{
			Key: provider.NodeKey(st.ColumnInt64(0)), Beat: st.ColumnInt64(1), Dead: st.ColumnInt64(2) != 0,
			Info: provider.NodeInfo{PID: int(st.ColumnInt64(3)), Name: st.ColumnText(4), Version: st.ColumnText(5)},
		})
		return true
	})
	return nodes, err
}

func (s *Store) markGone(nodes []provider.NodeView) {
	if s.file == "" {
		return
	}
	for i := range nodes {
		nodes[i].Gone = s.locks.gone(s.file, nodes[i].Key)
	}
}

// member returns ErrNodeGone in gone unless the node has joined and has not
// been buried. It is asked before a node's key is written into any row: a
// claim that came after its node's burial would own its rows for ever.
func (w *writer) member(node provider.NodeKey, op string) (gone, err error) {
	if w.nodes[node] {
		return nil, nil
	}
	alive, err := isMember(w.c, node)
	if err != nil {
		return nil, err
	}
	if !alive {
		return w.s.nodeGone(op, node), nil
	}
	w.nodes[node] = true
	return nil, nil
}

func isMember(c *conn, node provider.NodeKey) (alive bool, err error) {
	_, err = row(c.query(qNodeGet, int64(node)), func(st *sqlite.Stmt) { alive = st.ColumnInt64(1) == 0 })
	return alive, err
}

func (s *Store) nodeGone(op string, node provider.NodeKey) error {
	return fmt.Errorf("sqlite: %s: %s: node %x: %w", op, s.name, int64(node), provider.ErrNodeGone)
}

// Bury implements [provider.Provider]. A buried node keeps its row, marked
// dead, until all it held has been returned.
func (s *Store) Bury(ctx context.Context, b provider.Burial) (provider.BuryResult, error) {
	var result provider.BuryResult
	var removed bool
	err := s.w.submit(ctx, "bury", &request{n: 1, run: func(w *writer, _ int) (err error) {
		result, removed, err = w.bury(b)
		return err
	}})
	if err != nil {
		return provider.BuryResult{}, err
	}
	if removed && s.file != "" {
		s.locks.remove(s.file, b.Node)
	}
	return result, nil
}

func (w *writer) bury(b provider.Burial) (result provider.BuryResult, removed bool, err error) {
	var beat int64
	var dead bool
	found, err := row(w.c.query(qNodeGet, int64(b.Node)), func(st *sqlite.Stmt) {
		beat, dead = st.ColumnInt64(0), st.ColumnInt64(1) != 0
	})
	if err != nil || !found || (!dead && beat != b.Beat && !b.Force) {
		return provider.BuryResult{Done: true}, false, err
	}
	delete(w.nodes, b.Node)
	if !dead {
		if err := w.c.exec(qNodeDead, int64(b.Node)); err != nil {
			return result, false, err
		}
	}
	if result.Instances, err = w.disown(b.Node); err != nil {
		return result, false, err
	}
	closed, err := w.closeSessions(b.Node)
	if err != nil {
		return result, false, err
	}
	if result.Tasks, err = w.returnTasks(b.Node); err != nil {
		return result, false, err
	}
	if result.Instances == buryLimit || result.Tasks == buryLimit || closed >= buryLimit {
		return result, false, nil
	}
	result.Done = true
	return result, true, w.c.exec(qNodeDelete, int64(b.Node))
}

// disown makes instances of a node unowned and returns how many.
func (w *writer) disown(node provider.NodeKey) (int, error) {
	if err := w.flush(); err != nil {
		return 0, err
	}
	var keys []provider.Key
	err := rows(w.c.query(qInstanceOwned, int64(node), buryLimit), func(st *sqlite.Stmt) bool {
		keys = append(keys, provider.Key(st.ColumnInt64(0)))
		return true
	})
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		e, err := w.entry(key)
		if err != nil {
			return 0, err
		}
		e.Owner = 0
		w.touch(e, changedOwner)
		w.wake(e)
	}
	return len(keys), nil
}

// returnTasks makes tasks of a node unheld and returns how many.
func (w *writer) returnTasks(node provider.NodeKey) (int, error) {
	refs, err := heldTasks(w.c, node, buryLimit)
	if err != nil {
		return 0, err
	}
	for _, id := range refs {
		t, err := taskState(w.c, id)
		if err != nil {
			return 0, err
		}
		t.VisibleAt = w.now
		if err := w.releaseTask(t); err != nil {
			return 0, err
		}
	}
	return len(refs), nil
}

// Owned implements [provider.Provider].
func (s *Store) Owned(ctx context.Context, node provider.NodeKey) (provider.Holdings, error) {
	var h provider.Holdings
	err := s.read(ctx, "owned", func(c *conn) error {
		h = provider.Holdings{}
		if node == 0 {
			return nil
		}
		err := rows(c.query(qInstanceOwned, int64(node), -1), func(st *sqlite.Stmt) bool {
			h.Instances = append(h.Instances, provider.Holding{Key: provider.Key(st.ColumnInt64(0)), NextTurn: st.ColumnInt64(1)})
			return true
		})
		if err != nil {
			return err
		}
		held, err := heldTasks(c, node, -1)
		if err != nil {
			return err
		}
		for _, id := range held {
			t, err := readTask(c, s, id)
			if err != nil {
				return err
			}
			h.Tasks = append(h.Tasks, t.Ref())
		}
		return nil
	})
	return h, err
}
