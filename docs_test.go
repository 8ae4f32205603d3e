package durango_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

// The Go snippets of a page of the guide are, one after another, a file of one
// package: docs/testdata/PAGE has what the page does not show. Its file
// head.go.txt comes before the snippets (the package clause and the imports,
// unless the first snippet has them), its Go files are part of the package, and
// its tests are run.
func TestDocsSnippetsAreProgramsThatWork(t *testing.T) {
	root, err := os.Getwd()
	assert.NoError(t, err)
	overlay := map[string]string{}
	var packages []string
	for name, text := range docPages(t) {
		blocks := snippets(text)
		page := strings.TrimSuffix(name, ".md")
		dir := filepath.Join(root, "docs", "testdata", page)
		if len(blocks) == 0 {
			_, err := os.Stat(dir)
			assert.True(t, os.IsNotExist(err), "docs/%s has no Go snippets, but there is %s", name, dir)
			continue
		}
		var program bytes.Buffer
		head, err := os.ReadFile(filepath.Join(dir, "head.go.txt"))
		assert.NoError(t, err)
		program.Write(head)
		for _, b := range blocks {
			formatted, err := format.Source([]byte(b.code))
			assert.NoError(t, err, "docs/%s:%d", name, b.line)
			assert.Equal(t, b.code, string(formatted), "docs/%s:%d: gofmt", name, b.line)
			fmt.Fprintf(&program, "\n//line %s:%d\n%s", filepath.Join(root, "docs", name), b.line, b.code)
		}
		file := "page.go"
		if strings.Contains(program.String(), `"testing"`) {
			file = "page_test.go"
		}
		assembled := filepath.Join(t.TempDir(), file)
		assert.NoError(t, os.WriteFile(assembled, program.Bytes(), 0o600))
		overlay[filepath.Join(dir, file)] = assembled
		packages = append(packages, "./docs/testdata/"+page)
	}
	assert.True(t, len(packages) >= 5, "found snippets in %v only", packages)
	slices.Sort(packages)

	config, err := json.Marshal(map[string]any{"Replace": overlay})
	assert.NoError(t, err)
	path := filepath.Join(t.TempDir(), "overlay.json")
	assert.NoError(t, os.WriteFile(path, config, 0o600))
	for _, verb := range []string{"vet", "test"} {
		out, err := exec.Command("go", slices.Concat([]string{verb, "-overlay", path}, packages)...).CombinedOutput()
		assert.NoError(t, err, "go %s: %s", verb, out)
	}
}

// docPages returns the pages of the guide by their file names. STATUS.md is
// none: it names what is not there yet.
func docPages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("docs/*.md")
	assert.NoError(t, err)
	pages := map[string]string{}
	for _, p := range paths {
		if filepath.Base(p) == "STATUS.md" {
			continue
		}
		text, err := os.ReadFile(p)
		assert.NoError(t, err)
		pages[filepath.Base(p)] = string(text)
	}
	assert.True(t, len(pages) > 0, "no pages")
	return pages
}

type snippet struct {
	line int // of the first line of code
	code string
}

func snippets(page string) (found []snippet) {
	inside := false
	line := 0
	for text := range strings.Lines(page) {
		line++
		switch fence := strings.TrimRight(text, "\n"); {
		case inside && fence == "```":
			inside = false
		case inside:
			found[len(found)-1].code += text
		case fence == "```go":
			inside = true
			found = append(found, snippet{line: line + 1})
		}
	}
	return found
}

var (
	docLink = regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	docName = regexp.MustCompile(`\b(durango|durangotest|sqlite|cli)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	docVar  = regexp.MustCompile("`(ctx|e)\\.([A-Z]\\w*)")
)

// docVars are the variables that prose has, with their types.
var docVars = map[string][2]string{"ctx": {"durango", "Context"}, "e": {"durangotest", "Env"}}

// What the guide links to is there, and what it names is exported.
func TestDocsLinksAndNames(t *testing.T) {
	exported := map[string]map[string]bool{
		"durango": exportedNames(t, "."), "durangotest": exportedNames(t, "durangotest"),
		"sqlite": exportedNames(t, "provider/sqlite"), "cli": exportedNames(t, "cli"),
	}
	names := 0
	for name, text := range docPages(t) {
		for _, m := range docLink.FindAllStringSubmatch(prose(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := filepath.Join("docs", m[1])
			if m[1] == "" {
				target = filepath.Join("docs", name)
			}
			linked, err := os.ReadFile(target)
			if info, serr := os.Stat(target); serr == nil && info.IsDir() {
				err = nil
			}
			assert.NoError(t, err, "docs/%s links to %s", name, m[1])
			if m[2] != "" {
				assert.True(t, slices.Contains(anchors(string(linked)), m[2]), "docs/%s links to %s%s; there are %v",
					name, m[1], m[2], anchors(string(linked)))
			}
		}
		for _, m := range docName.FindAllStringSubmatch(text, -1) {
			known := exported[m[1]]
			names++
			assert.True(t, known[m[2]], "docs/%s names %s, which is not exported", name, m[0])
			assert.True(t, m[3] == "" || known[m[2]+"."+m[3]], "docs/%s names %s, which is not exported", name, m[0])
		}
		for _, m := range docVar.FindAllStringSubmatch(prose(text), -1) {
			v := docVars[m[1]]
			assert.True(t, exported[v[0]][v[1]+"."+m[2]], "docs/%s names %s, which %s.%s does not have", name, m[0], v[0], v[1])
		}
	}
	assert.True(t, names > 100, "found only %d names", names)
}

// prose is a page without its blocks of code.
func prose(page string) string {
	var b strings.Builder
	for i, part := range strings.Split(page, "\n```") {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// anchors are the targets that a page's headings make.
func anchors(page string) (found []string) {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(page) {
		if text, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			text = drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(text)), "")
			found = append(found, "#"+strings.ReplaceAll(text, " ", "-"))
		}
	}
	return found
}

// exportedNames are the exported names of a package, and as Type.Name those
// of the fields and methods of its types.
func exportedNames(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	embedded := map[string][]string{}
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	assert.NoError(t, err)
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, 0)
		assert.NoError(t, err)
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					names[d.Name.Name] = true
				} else {
					names[typeName(d.Recv.List[0].Type)+"."+d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						for _, n := range s.Names {
							names[n.Name] = true
						}
					case *ast.TypeSpec:
						names[s.Name.Name] = true
						st, ok := s.Type.(*ast.StructType)
						if !ok {
							continue
						}
						for _, f := range st.Fields.List {
							for _, n := range f.Names {
								names[s.Name.Name+"."+n.Name] = true
							}
							if len(f.Names) == 0 {
								embedded[s.Name.Name] = append(embedded[s.Name.Name], typeName(f.Type))
							}
						}
					}
				}
			}
		}
	}
	for outer, inner := range embedded {
		for name := range maps.Clone(names) {
			if method, ok := strings.CutPrefix(name, inner[0]+"."); ok {
				names[outer+"."+method] = true
			}
		}
	}
	return names
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	// noCapability are the methods that Go asks for and those that repeat what
	// was declared.
	noCapability = regexp.MustCompile(`\.(Error|Is|Unwrap|String|Name|Definition|Open|Decode|DecodeStatus)$`)
	// withFields are the structs whose fields are capabilities of their own.
	withFields = []string{"CallOptions", "RetryPolicy", "SendOptions"}
)

// The table of capabilities names tests and calls that exist, and every
// function, every method and every option of a call of package durango.
func TestCapabilitiesAreTested(t *testing.T) {
	page, err := os.ReadFile("docs/capabilities.md")
	assert.NoError(t, err)
	exported := exportedNames(t, ".")
	named := map[string]bool{}
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.Contains(line, "|---|") || strings.Contains(line, "| capability |") {
			continue
		}
		rows++
		for _, m := range codeSpan.FindAllStringSubmatch(cells[2], -1) {
			named[m[1]] = true
			known := exported[m[1]] || strings.HasPrefix(m[1], "durango") // checked by TestDocsLinksAndNames
			assert.True(t, known, "capabilities.md names the call %s, which is not exported", m[1])
		}
		tests := codeSpan.FindAllStringSubmatch(cells[3], -1)
		assert.True(t, len(tests) > 0, "no test: %s", line)
		for _, m := range tests {
			dir, name := filepath.Split(m[1])
			if dir = strings.TrimSuffix(dir, "/"); dir != "" {
				name = dir + "." + name
			}
			assert.True(t, testExists(t, name), "capabilities.md names the test %s, which does not exist", m[1])
		}
	}
	assert.True(t, rows > 60, "found only %d capabilities", rows)

	for name := range capabilities(t) {
		assert.True(t, named[name], "%s is in no row of capabilities.md", name)
	}
}

// capabilities are the exported functions of package durango, the methods of
// its types, and the fields of the structs that hold options of a call.
func capabilities(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	paths, err := filepath.Glob("*.go")
	assert.NoError(t, err)
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, 0)
		assert.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				receiver := typeName(f.Recv.List[0].Type)
				if !ast.IsExported(receiver) {
					continue
				}
				name = receiver + "." + name
			}
			if !noCapability.MatchString(name) || f.Recv != nil && strings.HasPrefix(name, "ErrorKind.Is") {
				found[name] = true
			}
		}
	}
	for name := range exportedNames(t, ".") {
		for _, s := range withFields {
			if field, ok := strings.CutPrefix(name, s+"."); ok && ast.IsExported(field) {
				found[name] = true
			}
		}
	}
	return found
}
