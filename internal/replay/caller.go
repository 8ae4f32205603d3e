package replay

import (
	"fmt"
	"runtime"
	"strings"
)

const module = "github.com/durango-go/durango"

// userLine returns file and line of the innermost caller that is not part of
// durango itself or of the runtime.
func userLine() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function != "" && !own(f.Function, f.File) {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

// own reports whether a function is the root package's or an internal one's.
// Tests and examples are users.
func own(function, file string) bool {
	if strings.HasPrefix(function, "runtime.") || strings.HasPrefix(function, "iter.") {
		return true
	}
	rest, ok := strings.CutPrefix(function, module)
	if !ok || strings.HasSuffix(file, "_test.go") {
		return false
	}
	return strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/internal/")
}

// At returns file and line of the innermost frame of the user's code on the
// stack, or empty if there is none.
func (e *PanicError) At() string { return UserFrame(e.Stack) }

// UserFrame returns file and line of the innermost frame on a stack, as
// runtime.Stack writes it, that is not part of durango itself or of the
// runtime; of one that panics, the innermost that did. It is empty if there is
// none.
func UserFrame(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic(") {
			lines = lines[i:]
			break
		}
	}
	for i := 0; i+1 < len(lines); i++ {
		file, ok := strings.CutPrefix(lines[i+1], "\t")
		if !ok || strings.HasPrefix(lines[i], "\t") {
			continue
		}
		file, _, _ = strings.Cut(file, " +0x")
		path := file
		if colon := strings.LastIndexByte(file, ':'); colon > 0 {
			path = file[:colon]
		}
		function := strings.TrimPrefix(lines[i], "created by ")
		if !strings.HasPrefix(function, "panic(") && !own(function, path) {
			return file
		}
	}
	return ""
}
