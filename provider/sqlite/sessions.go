package sqlite

import (
	"math"

	"zombiezen.com/go/sqlite"

	"github.com/durango-go/durango/provider"
)

// The queues of tasks that no node holds, as they stand where otherwise the
// holder does, whose key is positive. A claim reads whole queues only, so what it
// must not see is never in its way, however much there is.
const (
	openQueue   int64 = 0
	closedQueue int64 = math.MinInt64     // of sessions that no node has
	parkedQueue int64 = math.MinInt64 + 1 // nobody reads it
)

// sessionQueue is the queue of the sessions that a node has.
func sessionQueue(node provider.NodeKey) int64 { return -int64(node) }

// queueOf returns the queue that a task waits in.
func (w *writer) queueOf(t *provider.NewTask) (int64, error) {
	if t.Parked {
		return parkedQueue, nil
	}
	if t.Session == "" {
		return openQueue, nil
	}
	node, err := w.sessionNode(t.Session)
	if err != nil || node == 0 {
		return closedQueue, err
	}
	return sessionQueue(node), nil
}

// sessionNode returns the node that has a session, or zero.
func (w *writer) sessionNode(session string) (node provider.NodeKey, err error) {
	st := w.c.query(qSessionGet)
	st.BindText(1, session)
	_, err = row(st, func(st *sqlite.Stmt) { node = provider.NodeKey(st.ColumnInt64(0)) })
	return node, err
}

// openSession gives a session that no node has to one.
func (w *writer) openSession(session string, node provider.NodeKey) error {
	st := w.c.query(qSessionOpen, int64(node), w.now)
	st.BindText(3, session)
	if err := run(st); err != nil {
		return err
	}
	_, err := w.moveSession(session, closedQueue, sessionQueue(node))
	return err
}

// closeSession takes a session from its node and returns how many tasks of it
// were waiting.
func (w *writer) closeSession(session string, node provider.NodeKey) (waiting int, err error) {
	st := w.c.query(qSessionClose)
	st.BindText(1, session)
	if err := run(st); err != nil {
		return 0, err
	}
	return w.moveSession(session, sessionQueue(node), closedQueue)
}

func (w *writer) moveSession(session string, from, to int64) (moved int, err error) {
	st := w.c.query(qSessionMove, from, to)
	st.BindText(3, session)
	err = run(st)
	return w.c.Changes(), err
}

// useSession notes that a node has claimed or finished a task of a session, if
// the session is the node's.
func (w *writer) useSession(session string, node provider.NodeKey) error {
	if session == "" || node == 0 {
		return nil
	}
	st := w.c.query(qSessionUse, int64(node), w.now)
	st.BindText(3, session)
	return run(st)
}

// idleSessions returns those of the node's sessions that hold no task and have
// not been used for longer than the claim allows.
func idleSessions(c *conn, req *provider.TaskClaim, now int64) (idle []string, err error) {
	if req.SessionIdle <= 0 {
		return nil, nil
	}
	err = rows(c.query(qSessionIdle, int64(req.Node), now-req.SessionIdle), func(st *sqlite.Stmt) bool {
		idle = append(idle, st.ColumnText(0))
		return true
	})
	return idle, err
}

// closeSessions closes sessions of a node that is being buried, until there are
// none or enough has been written, and returns how much that was.
func (w *writer) closeSessions(node provider.NodeKey) (written int, err error) {
	var sessions []string
	err = rows(w.c.query(qSessionList, int64(node), buryLimit), func(st *sqlite.Stmt) bool {
		sessions = append(sessions, st.ColumnText(0))
		return true
	})
	if err != nil {
		return 0, err
	}
	for _, session := range sessions {
		if written >= buryLimit {
			break
		}
		waiting, err := w.closeSession(session, node)
		if err != nil {
			return 0, err
		}
		written += 1 + waiting
	}
	return written, nil
}
