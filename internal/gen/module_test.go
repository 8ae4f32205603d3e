package gen_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

// newModule makes a module example.com/shop that uses this one, with files by
// path.
func newModule(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	// The name of a temporary directory may be a link, which positions resolve.
	dir = assert.Must(filepath.EvalSymlinks(t.TempDir()))(t)
	root := assert.Must(filepath.Abs("../.."))(t)
	mod := string(assert.Must(os.ReadFile(filepath.Join(root, "go.mod")))(t))
	_, mod, _ = strings.Cut(mod, "\n") // the module line
	var kept []string
	for line := range strings.Lines(mod) {
		if !strings.HasPrefix(line, "tool ") {
			kept = append(kept, line)
		}
	}
	writeFiles(t, dir, map[string]string{
		"go.mod": "module example.com/shop\n" + strings.Join(kept, "") +
			"\nrequire github.com/durango-go/durango v0.0.0\nreplace github.com/durango-go/durango => " + root + "\n",
		"go.sum": string(assert.Must(os.ReadFile(filepath.Join(root, "go.sum")))(t)),
	})
	writeFiles(t, dir, files)
	return dir
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		assert.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		assert.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
}
