package providertest

import (
	"fmt"
	"slices"

	"github.com/durango-go/durango/provider"
)

// check verifies what holds between any two calls.
func (w *walker) check() {
	living := map[provider.NodeKey]bool{0: true}
	for _, n := range w.nodes {
		living[n] = true
	}
	sessions := map[string]provider.NodeKey{}
	var unread, turns, tasks int64
	for _, key := range w.keys {
		row, mail, rows := w.row(key), w.mail(key), w.taskRows(key)
		history := w.harness.turns(key)
		unread, turns, tasks = unread+int64(len(mail)), turns+int64(len(history)), tasks+int64(len(rows))
		fail := func(format string, args ...any) {
			w.Errorf("step %d, %s: %s\nrow: %+v", w.step, row.ID, fmt.Sprintf(format, args...), row)
		}
		if row.MailboxSeq-row.ReadSeq != int64(len(mail)) {
			fail("%d messages are unread", len(mail))
		}
		for i, m := range mail {
			if m.Seq != row.ReadSeq+int64(i)+1 {
				fail("message %d is at place %d", m.Seq, i)
			}
		}
		if int64(len(history)) != row.NextTurn-1 || w.turns[key] != row.NextTurn-1 {
			fail("%d turns are stored, %d were acknowledged", len(history), w.turns[key])
		}
		for i, t := range history {
			if t.Number != int64(i+1) {
				fail("turn %d is at place %d", t.Number, i)
			}
		}
		if !living[row.Owner] {
			fail("the owner is dead")
		}
		if row.Owner != 0 && !row.Status.Runnable() {
			fail("owned, and cannot run")
		}
		if (row.ClosedAt != 0) == row.Status.Open() {
			fail("closed at does not fit the status")
		}
		if !row.Status.Open() && (len(rows) != 0 || len(mail) != 0 && !row.DeadLetter()) {
			fail("ended with %d messages and %d tasks", len(mail), len(rows))
		}
		if !rightWakeAt(&row, w.now()) {
			fail("wake at is wrong")
		}
		for _, t := range rows {
			if t.Execution != row.Execution || !living[t.Holder] {
				fail("task %+v does not belong", t)
			}
			if t.Holder != 0 && t.Session != "" && !w.heldExpired(&t) {
				if has := sessions[t.Session]; has != 0 && has != t.Holder {
					fail("session %s is with two nodes", t.Session)
				}
				sessions[t.Session] = t.Holder
			}
		}
		w.checkShown(key)
	}
	s := w.stats()
	w.same("unread mail counted", s.UnreadMail, unread)
	w.same("turns counted", s.Turns, turns)
	w.same("tasks counted", s.TaskWaiting+s.TaskHeld, tasks)
	w.same("nodes counted", s.Nodes, len(w.nodes))
}

// heldExpired reports whether the task was last claimed because it had expired.
func (w *walker) heldExpired(t *provider.Task) bool {
	for _, held := range slices.Backward(w.tasks) {
		if held.node == t.Holder && held.ref == t.Ref() {
			return held.expired
		}
	}
	return false
}

// checkShown compares what an instance has published with what it must have.
func (w *walker) checkShown(key provider.Key) {
	want := w.shown[key]
	if want == nil {
		want = &shown{values: map[string]string{}}
	}
	values, err := w.Values(w.ctx, key)
	w.ok(err, "values")
	got := map[string]string{}
	for _, v := range values {
		got[v.Name] = string(v.Payload)
	}
	w.same("values", got, want.values)
	var batch []provider.Lookup
	for i := range walkReplies {
		batch = append(batch, provider.Lookup{To: provider.Target{Key: key}, Kind: provider.LookupReply, Name: "r" + itoa(i)})
	}
	for i, f := range w.lookup(batch...) {
		answer, answered := want.replies[batch[i].Name]
		w.same("reply "+batch[i].Name, []any{f.Found, string(f.Payload)}, []any{answered, answer})
	}
}

// rightWakeAt reports whether WakeAt says what ComputeWakeAt means. The time
// at which mail came is not in the row, hence a range.
func rightWakeAt(row *provider.Instance, now int64) bool {
	switch {
	case !row.Status.Runnable(), row.Owner != 0 && !row.Unread():
		return row.WakeAt == provider.Never
	case row.Owner != 0:
		return row.WakeAt <= now
	case row.Unread():
		return row.WakeAt >= row.NotBefore && row.WakeAt <= max(now, row.NotBefore)
	}
	return row.WakeAt == max(row.DueAt, row.NotBefore)
}
