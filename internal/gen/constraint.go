package gen

import (
	"go/ast"
	"go/build"
	"go/build/constraint"
	"io"
	"path/filepath"
	"strings"
)

// constraintOf is the condition under which a file is built, empty for always:
// its go:build line and what its name says.
func constraintOf(file *ast.File, path string) string {
	var expr constraint.Expr
	and := func(e constraint.Expr) {
		if expr != nil {
			e = &constraint.AndExpr{X: expr, Y: e}
		}
		expr = e
	}
	for _, tag := range nameTags(filepath.Base(path)) {
		and(&constraint.TagExpr{Tag: tag})
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if c.Pos() < file.Package && constraint.IsGoBuild(c.Text) {
				if e, err := constraint.Parse(c.Text); err == nil {
					and(e)
				}
			}
		}
	}
	if expr == nil {
		return ""
	}
	return expr.String()
}

// nameTags are the operating system and the architecture in a file's name: one
// that ends in _linux, _amd64 or _linux_amd64 is built for those only. The
// list of platforms is go/build's, which keeps it to itself, so it is asked.
func nameTags(name string) []string {
	parts := strings.Split(strings.TrimSuffix(name, ".go"), "_")
	n := len(parts) - 1
	switch {
	case n < 1 || builtFor(name, "none", "none"):
		return nil
	case builtFor(name, parts[n], "none"):
		return parts[n:]
	}
	return parts[n-1:]
}

// builtFor reports whether a file of that name and without a go:build line is
// built for a platform.
func builtFor(name, system, arch string) bool {
	context := build.Context{
		GOOS: system, GOARCH: arch, Compiler: "gc",
		OpenFile: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("package p\n")), nil },
	}
	match, err := context.MatchFile("", name)
	return err != nil || match
}
