package replay

import "github.com/durango-go/durango/history"

// Patched reports whether the code is to take the newer branch of a patch.
// Live it does, and a PatchMarked says so. In a replay it does if that mark
// comes next in the turn, because what was recorded before the patch must go
// on in the old branch. The first answer is the answer for the whole
// execution.
func (m *Machine) Patched(id string) bool {
	m.enter()
	newer, asked := m.patches[id]
	if asked {
		return newer
	}
	if m.replaying {
		newer = m.marked(id)
	} else {
		m.commands = append(m.commands, history.Event{Kind: history.PatchMarked, Name: id})
		newer = true
	}
	m.patch(id, newer)
	return newer
}

// marked reports whether the mark of a patch comes next, and passes it. Marks
// before it are of patches that the code no longer asks for.
func (m *Machine) marked(id string) bool {
	for i := m.next; i < len(m.recorded) && m.recorded[i].Kind == history.PatchMarked; i++ {
		if m.recorded[i].Name == id {
			for m.next <= i {
				m.pass()
			}
			return true
		}
	}
	return false
}

// skipPatches passes the marks that come next: the code emits something else,
// so it does not ask for them. A mark has no number, and nothing is missing
// without it.
func (m *Machine) skipPatches() {
	for m.next < len(m.recorded) && m.recorded[m.next].Kind == history.PatchMarked {
		m.pass()
	}
}

// pass passes the mark that comes next. Should the code ask for it later, it
// has been answered.
func (m *Machine) pass() {
	m.patch(m.recorded[m.next].Name, true)
	m.next++
}

func (m *Machine) patch(id string, newer bool) {
	if _, known := m.patches[id]; known {
		return
	}
	if m.patches == nil {
		m.patches = make(map[string]bool)
	}
	m.patches[id] = newer
	m.bytes += entrySize + len(id)
}
