package gen_test

import (
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/internal/gen"

	"golang.org/x/tools/txtar"
)

// DESIGN.md, section 3: "two functions that claim one name fail generation".
// So does all else that would make a wrong file; the messages say what to do.
func TestProblems(t *testing.T) {
	archive := assert.Must(txtar.ParseFile("testdata/problems.txtar"))(t)
	files, want := map[string]string{}, map[string]string{}
	for _, f := range archive.Files {
		if name, base := path.Split(f.Name); base == "want" {
			want[strings.TrimSuffix(name, "/")] = string(f.Data)
		} else {
			files[f.Name] = string(f.Data)
		}
	}
	dir := newModule(t, files)
	_, err := gen.Generate(t.Context(), gen.Options{Dir: dir}, "./...")
	got := map[string]string{}
	for _, p := range assert.ErrorAs[gen.Problems](t, err) {
		text := strings.ReplaceAll(p.String(), dir+string(filepath.Separator), "")
		name, _, _ := strings.Cut(text, "/")
		got[name] += text + "\n"
	}
	if *update {
		for i, f := range archive.Files {
			if name, base := path.Split(f.Name); base == "want" {
				archive.Files[i].Data = []byte(got[strings.TrimSuffix(name, "/")])
			}
		}
		writeFiles(t, "testdata", map[string]string{"problems.txtar": string(txtar.Format(archive))})
		return
	}
	assert.Equal(t, got, want, "-update rewrites testdata/problems.txtar")
	assert.Contains(t, err.Error(), "generate: nothing was written\nclaims/x.go:14:1: activity")
}
