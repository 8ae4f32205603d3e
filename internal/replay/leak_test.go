package replay

import (
	"runtime"
	"strings"
	"testing"
)

// checkGoroutines verifies at the end of the test that no coroutine is left.
func checkGoroutines(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if n := coroutines(); n > 0 {
			t.Errorf("%d coroutines are left after Close", n)
		}
	})
}

// coroutines counts the goroutines that iter.Pull started and that exist.
func coroutines() int {
	buf := make([]byte, 64<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "runtime.corostart")
}
