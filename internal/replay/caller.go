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
