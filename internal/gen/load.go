package gen

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/packages"
)

// load type-checks packages as far as that goes. A package that uses handles
// which are yet to be generated does not compile, but the signatures of its
// functions are known all the same, because no signature needs a handle.
func load(ctx context.Context, dir, tags string, patterns []string) ([]*packages.Package, error) {
	config := &packages.Config{
		Context: ctx,
		Dir:     dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedTypes | packages.NeedTypesSizes | packages.NeedTypesInfo | packages.NeedSyntax,
	}
	if tags != "" {
		config.BuildFlags = []string{"-tags=" + tags}
	}
	loaded, err := packages.Load(config, patterns...)
	if err == nil && len(loaded) == 0 {
		err = errors.New("no packages match " + strings.Join(patterns, " "))
	}
	return loaded, err
}

// unit is one package while its file is made.
type unit struct {
	*packages.Package
	base     string // positions are relative to it
	dir      string
	problems Problems
	// names are the package's own, from all files that may be built together
	// with the generated one: those of tests and of other platforms too.
	names map[string]token.Position
	// imported are the names of packages in those files. The language forbids
	// to declare one of them for the package.
	imported map[string]token.Position
	// outside are the files that are no part of this build, and tests.
	outside []*ast.File
	// skipped is the condition under which the package has directives, when it
	// has none in this build.
	skipped string
}

func newUnit(base string, p *packages.Package) (*unit, error) {
	u := &unit{Package: p, base: base, dir: p.Dir, names: map[string]token.Position{}, imported: map[string]token.Position{}}
	for _, e := range p.Errors {
		u.loadProblem(e)
	}
	if p.Types == nil || u.dir == "" {
		return u, nil
	}
	entries, err := os.ReadDir(u.dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || filepath.Ext(name) != ".go" || name == FileName {
			continue
		}
		// What cannot be parsed is reported with p.Errors if it counts.
		file, _ := parser.ParseFile(p.Fset, filepath.Join(u.dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if file == nil || file.Name == nil || file.Name.Name != p.Name {
			continue
		}
		u.collectNames(file)
		if !slices.ContainsFunc(p.Syntax, func(f *ast.File) bool { return u.fileName(f) == filepath.Join(u.dir, name) }) {
			u.outside = append(u.outside, file)
		}
	}
	return u, nil
}

// loadProblem keeps what makes a package impossible to read. What does not
// type-check is no problem until a signature needs it.
func (u *unit) loadProblem(e packages.Error) {
	// The go command adds what the compiler wrote below "# " and the package.
	if e.Kind == packages.TypeError || strings.HasPrefix(e.Msg, "# ") {
		return
	}
	// A position is file:line:column, of which the go command omits parts from
	// the end. It is read from there.
	var pos token.Position
	parts := strings.Split(e.Pos, ":")
	for len(parts) > 1 {
		n, err := strconv.Atoi(parts[len(parts)-1])
		if err != nil {
			break
		}
		pos.Line, pos.Column = n, pos.Line
		parts = parts[:len(parts)-1]
	}
	if name := strings.Join(parts, ":"); name != "" && name != "-" {
		pos.Filename = u.relative(name)
	}
	if filepath.Base(pos.Filename) == FileName && e.Kind == packages.ParseError {
		return // see frozen
	}
	u.problems = append(u.problems, Problem{pos, e.Msg})
}

func (u *unit) fileName(f *ast.File) string { return u.Fset.Position(f.Package).Filename }

// collectNames adds the names that a file declares for the whole package.
func (u *unit) collectNames(file *ast.File) {
	add := func(id *ast.Ident) {
		if _, known := u.names[id.Name]; !known && id.Name != "_" {
			u.names[id.Name] = u.position(id.Pos())
		}
	}
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		u.imported[name] = u.position(spec.Pos())
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil && decl.Name.Name != "init" {
				add(decl.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name)
				case *ast.ValueSpec:
					for _, id := range spec.Names {
						add(id)
					}
				}
			}
		}
	}
}

func (u *unit) problem(at token.Pos, text string) {
	u.problems = append(u.problems, Problem{u.position(at), text})
}

func (u *unit) position(at token.Pos) token.Position {
	p := u.Fset.Position(at)
	p.Filename = u.relative(p.Filename)
	return p
}

func (u *unit) relative(path string) string {
	if rel, err := filepath.Rel(u.base, path); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return path
}

// typeString is a type as messages show it.
func (u *unit) typeString(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == u.Types {
			return ""
		}
		return p.Name()
	})
}
