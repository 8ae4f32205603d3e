package memory

import "github.com/durango-go/durango/provider"

// session binds the tasks of one name to one node.
type session struct {
	name   string
	node   provider.NodeKey
	usedAt int64 // when a task of it was last claimed or finished
}

// useSession reports whether the node may take a task of the session, which is
// opened if nobody has it and the node has room for it.
func (s *Store) useSession(now int64, node provider.NodeKey, name string, limit int) bool {
	have := s.sessions[name]
	if have == nil {
		open := 0
		for _, other := range s.sessions {
			if other.node == node {
				open++
			}
		}
		if open >= limit {
			return false
		}
		have = &session{name: name, node: node}
		s.sessions[name] = have
	}
	if have.node != node {
		return false
	}
	have.usedAt = now
	return true
}

// closeIdle closes the node's sessions that have no task in work and were not
// used for longer than idle nanoseconds; zero closes none.
func (s *Store) closeIdle(now int64, node provider.NodeKey, idle int64) {
	if idle <= 0 {
		return
	}
	s.closeSessions(node, func(have *session) bool {
		return now-have.usedAt > idle && !s.busy(have)
	})
}

// busy reports whether the node that has the session holds a task of it.
func (s *Store) busy(have *session) bool {
	for _, rows := range s.tasks {
		for _, t := range rows {
			if t.Holder == have.node && t.Session == have.name {
				return true
			}
		}
	}
	return false
}

// closeSessions closes those sessions of the node that which selects.
func (s *Store) closeSessions(node provider.NodeKey, which func(*session) bool) {
	for name, have := range s.sessions {
		if have.node == node && which(have) {
			delete(s.sessions, name)
		}
	}
}
