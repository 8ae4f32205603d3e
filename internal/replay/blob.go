package replay

import "github.com/durango-go/durango/history"

// Content is something large that a payload of the turn refers to.
type Content struct {
	Address history.BlobAddress
	Bytes   []byte
}

// Keep has a content kept before the turn is committed. When replaying it is
// kept already.
func (m *Machine) Keep(contents ...Content) {
	if !m.replaying {
		m.kept = append(m.kept, contents...)
	}
}

// TakeKept returns, once, what the last turn has to keep.
func (m *Machine) TakeKept() []Content {
	kept := m.kept
	m.kept = nil
	return kept
}
