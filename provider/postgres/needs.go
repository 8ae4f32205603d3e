package postgres

import (
	"cmp"
	"slices"

	"github.com/durango-go/durango/provider"
)

// needs is what a group has to lock and read before it can decide anything.
type needs struct {
	nodes []provider.NodeKey
	keys  []provider.Key
	ids   []string
	// What is going to be terminated, whose parents are told.
	endKeys []provider.Key
	endIDs  []string
	// Messages with an ID that may have been accepted before.
	messageIDs   []messageID // to a key
	messageIDsTo []letterID  // to an ID
	tasks        []taskID
}

// messageID is the ID of a message to an instance.
type messageID struct {
	key provider.Key
	id  string
}

type letterID struct{ to, id string }

// taskID identifies a task.
type taskID struct {
	key                provider.Key
	execution, command int64
}

func (n *needs) target(t provider.Target) {
	if t.Key != 0 {
		n.keys = append(n.keys, t.Key)
	} else if valid(t.ID) {
		n.ids = append(n.ids, t.ID)
	}
}

func (n *needs) message(m *provider.Message) {
	n.target(m.To)
	if m.Terminate {
		n.end(m.To)
		return
	}
	switch {
	case !valid(m.ID):
	case m.To.Key != 0:
		n.messageIDs = append(n.messageIDs, messageID{m.To.Key, m.ID})
	case valid(m.To.ID):
		n.messageIDsTo = append(n.messageIDsTo, letterID{m.To.ID, m.ID})
	}
}

// end adds an instance that is to be terminated, and its parent.
func (n *needs) end(t provider.Target) {
	n.target(t)
	if t.Key != 0 {
		n.endKeys = append(n.endKeys, t.Key)
	} else if valid(t.ID) {
		n.endIDs = append(n.endIDs, t.ID)
	}
}

func (n *needs) instance(in *provider.NewInstance) {
	n.keys = append(n.keys, in.Key)
	if valid(in.ID) {
		n.ids = append(n.ids, in.ID)
	}
	if in.First != nil {
		n.commit(in.First)
	}
	for i := range in.With {
		m := in.With[i]
		m.To = provider.Target{ID: in.ID}
		n.message(&m)
		if m.Terminate && in.Parent.Key != 0 {
			n.keys = append(n.keys, in.Parent.Key)
		}
	}
}

func (n *needs) commit(c *provider.Commit) {
	n.keys = append(n.keys, c.Key)
	for i := range c.Children {
		n.instance(&c.Children[i])
	}
	for i := range c.Messages {
		n.message(&c.Messages[i])
	}
}

func (n *needs) task(ref provider.TaskRef) {
	n.keys = append(n.keys, ref.Instance)
	n.tasks = append(n.tasks, taskID{ref.Instance, ref.Execution, ref.Command})
}

func compareTaskIDs(a, b taskID) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.execution, b.execution), cmp.Compare(a.command, b.command))
}

// distinct sorts items and leaves each once.
func distinct[T cmp.Ordered](items []T) []T {
	slices.Sort(items)
	return slices.Compact(items)
}
