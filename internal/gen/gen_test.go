package gen_test

import (
	"flag"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/gen"
)

var update = flag.Bool("update", false, "rewrite testdata/golden/*/durango_gen.go")

const tags = "durangogen"

// The golden packages have the files that are generated for them, and build
// with them.
func TestGolden(t *testing.T) {
	o := gen.Options{Dir: "testdata/golden", Tags: tags, AcceptRemoved: *update}
	files, err := gen.Generate(t.Context(), o, "./...")
	assert.NoError(t, err)
	var counts [][3]any
	for _, f := range files {
		counts = append(counts, [3]any{filepath.Base(filepath.Dir(f.Path)), f.Activities, f.Orchestrations})
		if *update {
			assert.NoError(t, f.Write())
		} else {
			assert.Equal(t, string(f.Old), string(f.New), "%s (-update rewrites it)", f.Path)
		}
	}
	assert.Equal(t, counts, [][3]any{{"imports", 3, 1}, {"shop", 6, 3}, {"tagged", 1, 0}})
	cmd := exec.Command("go", "vet", "-tags="+tags, "./testdata/golden/...")
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, "%s", out)
}
