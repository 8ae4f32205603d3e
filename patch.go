package durango

// Patched reports whether the code is to take the newer of two branches. It is
// how an orchestration is changed while instances of it run: an execution that
// had passed this point before the change goes on as it was, every other takes
// the new branch, and remembers that it did.
//
//	if ctx.Patched("two-approvals") {
//		… // new
//	} else {
//		… // as it was
//	}
//
// The id is recorded; use a new one for each change. The first answer stands
// for the whole execution. When no execution of before the change is left, the
// old branch and the call are removed together: a recorded answer that nobody
// asks for is skipped.
func (ctx *Context) Patched(id string) bool {
	if err := checkName("patch", id); err != nil {
		ctx.x.fail(err)
	}
	return ctx.x.m.Patched(id)
}
