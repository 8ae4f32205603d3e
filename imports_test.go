package durango_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

const module = "github.com/durango-go/durango"

// layer says what a package may import beside the standard library.
type layer struct {
	own   []string // packages of this module; "public" stands for all that applications may import
	other []string // packages of other modules, by prefix
	never []string // packages of the standard library, by prefix
}

// Imports point downwards only. A package that is not listed must be added
// here, which is the moment to think about where it stands.
var layers = map[string]layer{
	".": {
		own:   []string{"internal/engine", "internal/replay", "internal/topic", "provider", "history"},
		other: []string{"github.com/go-json-experiment/json", "github.com/google/uuid", "github.com/Masterminds/semver"},
	},
	"durangotest": {
		own:   []string{".", "provider", "provider/memory", "history"},
		other: []string{"github.com/Masterminds/semver"},
	},
	"blobdir":               {own: []string{"."}},
	"codec":                 {own: []string{"."}},
	"codec/sealed":          {own: []string{"."}},
	"codec/protobuf":        {own: []string{"."}, other: []string{"google.golang.org/protobuf"}},
	"history":               {other: []string{"github.com/klauspost/compress/zstd"}},
	"provider":              {own: []string{"history"}},
	"provider/providertest": {own: []string{"provider", "history"}},
	"provider/memory":       {own: []string{"provider", "history", "internal/topic"}},
	"provider/sqlite": {
		own:   []string{"provider", "history", "internal/topic"},
		other: []string{"zombiezen.com/go/sqlite", "github.com/gofrs/flock", "golang.org/x/sys"},
	},
	"provider/postgres": {
		own:   []string{"provider", "history", "internal/topic"},
		other: []string{"github.com/jackc/pgx"},
	},
	"internal/coro": {},
	"internal/replay": {
		own:   []string{"internal/coro", "history"},
		never: []string{"context", "crypto", "log", "math/rand", "net", "os", "sync", "syscall", "time"},
	},
	"internal/engine": {
		own:   []string{"internal/replay", "provider", "history"},
		other: []string{"github.com/Masterminds/semver", "golang.org/x/time/rate"},
	},
	"internal/topic":  {},
	"internal/gen":    {other: []string{"golang.org/x/tools", "golang.org/x/mod"}},
	"internal/assert": {other: []string{"github.com/google/go-cmp"}},
	"internal/crash":  {}, // tests only
	"internal/demo": {
		own:   []string{"public", "examples/order/fulfil"},
		other: []string{"github.com/spf13/cobra", "golang.org/x/term"},
	},
	"internal/pgtest":   {other: []string{"github.com/jackc/pgx"}},
	"internal/protocol": {}, // tests only
	"admin":             {own: []string{".", "provider", "history"}},
	"cli":               {own: []string{"public", "internal/gen"}, other: []string{""}},
	"cmd/durango":       {own: []string{"cli", "internal/demo", "provider/memory", "provider/sqlite", "provider/postgres"}},
	"durangovet":        {other: []string{"golang.org/x/tools"}},
	"examples":          {own: []string{"public"}, other: []string{""}}, // and everything below
}

func TestImports(t *testing.T) {
	for _, p := range listPackages(t) {
		name := relative(p.ImportPath)
		rules, known := layerOf(name)
		if !known {
			t.Errorf("package %s is not in the table of layers", name)
			continue
		}
		for _, path := range p.Imports {
			if !rules.allow(treeOf(name), path) {
				t.Errorf("package %s must not import %s", name, path)
			}
		}
	}
}

// relative is a path without the module's, "." for the root.
func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func layerOf(name string) (layer, bool) {
	l, known := layers[treeOf(name)]
	return l, known
}

// treeOf is the package's name in the table, where some stand for all that is
// below them.
func treeOf(name string) string {
	for _, tree := range []string{"examples", "cmd/durango", "durangovet"} {
		if strings.HasPrefix(name, tree+"/") {
			return tree
		}
	}
	return name
}

func (l layer) allow(from, path string) bool {
	if below([]string{module}, path) {
		name := relative(path)
		public := !below([]string{"internal", "examples"}, name)
		return slices.Contains(l.own, name) || slices.Contains(l.own, "public") && public ||
			strings.HasPrefix(name, from+"/internal/") || from == "examples" && below([]string{"examples"}, name)
	}
	first, _, _ := strings.Cut(path, "/")
	if strings.Contains(first, ".") {
		return below(l.other, path)
	}
	return !below(l.never, path)
}

// below reports whether path is one of the prefixes or under one.
func below(prefixes []string, path string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return p == "" || path == p || strings.HasPrefix(path, p+"/")
	})
}

func TestLayerRules(t *testing.T) {
	tests := []struct {
		from, path string
		want       bool
	}{
		{"history", "encoding/json", true},
		{"history", "github.com/google/uuid", false},
		{"history", "github.com/klauspost/compress/zstd", true},
		{"history", module + "/provider", false},
		{"provider", module + "/history", true},
		{"internal/replay", "slices", true},
		{"internal/replay", "time", false},
		{"internal/replay", "sync/atomic", false},
		{"internal/replay", "log/slog", false},
		{"internal/replay", "math/rand/v2", false},
		{"internal/engine", module, false},
		{"examples", module, true},
		{"examples", module + "/internal/engine", false},
		{".", module + "/internal/assert", false},
		{"provider/postgres", "github.com/jackc/pgx/v5", true},
	}
	for _, tt := range tests {
		assert.Equal(t, layers[tt.from].allow(tt.from, tt.path), tt.want, "%s imports %s", tt.from, tt.path)
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) (packages []listed) {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	assert.NoError(t, err, "%s", stderr.String())
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			assert.NoError(t, err)
		}
		packages = append(packages, p)
	}
	assert.True(t, len(packages) > 0, "no packages listed")
	return packages
}

// Files have a length that a reader can hold; tests may be longer.
const (
	longest     = 600
	longestTest = 900
)

// sleeps are the tests that may sleep, each with its reason. All others wait
// on events, or run in virtual time: in testing/synctest, or in durangotest.
var sleeps = map[string]string{}

func TestFiles(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (d.Name() == "testdata" || d.Name() == "vendor" || strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		checked++
		for _, problem := range checkFile(filepath.ToSlash(path), src) {
			t.Errorf("%s: %s", path, problem)
		}
		return nil
	})
	assert.NoError(t, err)
	assert.True(t, checked > 10, "only %d files found", checked)
}

func checkFile(path string, src []byte) (problems []string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments)
	if err != nil {
		return []string{err.Error()}
	}
	isTest := strings.HasSuffix(path, "_test.go")
	limit := longest
	if isTest {
		limit = longestTest
	}
	if n := bytes.Count(src, []byte("\n")); n > limit && !ast.IsGenerated(file) {
		problems = append(problems, strconv.Itoa(n)+" lines, more than "+strconv.Itoa(limit))
	}
	virtual := false
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		virtual = virtual || imported == "testing/synctest" || imported == module+"/durangotest"
		if strings.HasPrefix(imported, "github.com/stretchr/") {
			problems = append(problems, "imports "+imported+": use internal/assert")
		}
	}
	if isTest && !virtual && sleeps[path] == "" && callsSleep(file) {
		problems = append(problems, "time.Sleep: wait on an event, or use testing/synctest or durangotest")
	}
	return problems
}

func callsSleep(file *ast.File) (found bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
			x, ok := sel.X.(*ast.Ident)
			found = found || ok && x.Name == "time"
		}
		return !found
	})
	return found
}

func TestCheckFile(t *testing.T) {
	long := "package x\n" + strings.Repeat("\n", longest)
	sleeping := "package x\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"
	tests := []struct {
		path, src string
		problems  int
	}{
		{"x.go", "package x\n", 0},
		{"x.go", long, 1},
		{"x_test.go", long, 0},
		{"x.go", "// Code generated by durango gen. DO NOT EDIT.\n" + long, 0},
		{"x.go", sleeping, 0},
		{"x_test.go", sleeping, 1},
		{"x_test.go", strings.Replace(sleeping, "\"time\"", "(\"time\"; \"testing/synctest\")", 1), 0},
		{"x_test.go", "package x\nimport _ \"github.com/stretchr/testify/assert\"\n", 1},
		{"x.go", "package", 1},
	}
	for i, tt := range tests {
		assert.Equal(t, len(checkFile(tt.path, []byte(tt.src))), tt.problems, "case %d", i)
	}
	for path, reason := range sleeps {
		_, err := os.Stat(filepath.FromSlash(path))
		assert.NoError(t, err, "sleeps lists %s (%s)", path, reason)
	}
}
