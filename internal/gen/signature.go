package gen

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// want is the signature that each kind must have.
var want = map[kind]string{
	activity:      "func(context.Context, In) (Out, error)",
	orchestration: "func(*durango.Context, In) (Out, error)",
}

// function is what one directive declares.
type function struct {
	declared
	in, out types.Type
	// recv is the type of the receiver, nil for functions; pointer says that
	// only a pointer to it has the method.
	recv    *types.TypeName
	pointer bool
	// condition is the file's.
	condition string
}

// durableName is the name in the store.
func (f *function) durableName() string { return cmp.Or(f.name, kebab(f.decl.Name.Name)) }

// String is the function as Go's documentation links to it.
func (f *function) String() string {
	if f.recv != nil {
		return f.recv.Name() + "." + f.decl.Name.Name
	}
	return f.decl.Name.Name
}

// functions returns what the package declares. It reports what cannot be, and
// directives in files that the generated one cannot refer to.
func (u *unit) functions() (found []*function) {
	inside := 0
	for _, file := range u.Syntax {
		name := u.fileName(file)
		if name == u.path() {
			continue
		}
		condition := constraintOf(file, name)
		for _, d := range u.directives(file) {
			inside++
			f := &function{declared: d, condition: condition}
			if u.checkSignature(f) {
				found = append(found, f)
			}
		}
	}
	for _, file := range u.outside {
		name := u.fileName(file)
		for _, d := range u.directives(file) {
			condition := constraintOf(file, name)
			switch {
			case strings.HasSuffix(name, "_test.go"):
				u.problem(d.pos, "this is a file of tests, which "+FileName+" cannot refer to")
			case inside == 0:
				u.skipped = condition
			default:
				u.problem(d.pos, fmt.Sprintf("this file is not built now (only if %s), but other files with directives are: "+
					"what one %s refers to must be built together", condition, FileName))
			}
		}
	}
	if len(found) > 0 {
		for _, f := range found[1:] {
			if first := found[0]; f.condition != first.condition {
				u.problem(f.pos, fmt.Sprintf("this file is built %s, but %s is built %s (%s): what one %s refers to must be built together",
					when(f.condition), first, when(first.condition), u.position(first.pos), FileName))
			}
		}
	}
	return found
}

func when(condition string) string {
	if condition == "" {
		return "always"
	}
	return "if " + condition
}

// checkSignature completes f, or reports why it cannot have its directive.
func (u *unit) checkSignature(f *function) bool {
	name, kind := f.decl.Name, f.kind
	bad := func(at token.Pos, text string) bool {
		u.problem(at, fmt.Sprintf("%s %s: %s; want %s", kind, name.Name, text, want[kind]))
		return false
	}
	obj, ok := u.TypesInfo.Defs[name].(*types.Func)
	if !ok || name.Name == "_" || name.Name == "init" {
		u.problem(name.Pos(), fmt.Sprintf("%s %s: nothing can refer to this function", kind, name.Name))
		return false
	}
	sig := obj.Signature()
	if sig.TypeParams().Len() > 0 || sig.RecvTypeParams().Len() > 0 {
		u.problem(name.Pos(), fmt.Sprintf("%s %s is generic, and one name in the store cannot stand for many functions: "+
			"put the directive on a function that calls it with its types", kind, name.Name))
		return false
	}
	params, results := sig.Params(), sig.Results()
	switch {
	case params.Len() == 1:
		return bad(name.Pos(), "it has one parameter (without an input, In is durango.None)")
	case params.Len() != 2:
		return bad(name.Pos(), fmt.Sprintf("it has %d parameters", params.Len()))
	case results.Len() == 1:
		return bad(name.Pos(), "it has one result (without an output, Out is durango.None)")
	case results.Len() != 2:
		return bad(name.Pos(), fmt.Sprintf("it has %d results", results.Len()))
	case sig.Variadic():
		return bad(typeAt(f.decl.Type.Params, 1).Pos(), "its input is variadic")
	}
	known := true
	check := func(list *ast.FieldList, i int, what string, t types.Type) {
		if known = known && !invalid(t); known || !invalid(t) {
			return
		}
		expr := typeAt(list, i)
		u.problem(expr.Pos(), fmt.Sprintf("%s %s: the type of its %s is not known: %s", kind, name.Name, what, u.reason(expr)))
	}
	check(f.decl.Type.Params, 0, "first parameter", params.At(0).Type())
	check(f.decl.Type.Params, 1, "input", params.At(1).Type())
	check(f.decl.Type.Results, 0, "output", results.At(0).Type())
	check(f.decl.Type.Results, 1, "second result", results.At(1).Type())
	if !known {
		return false
	}
	if got := contextOf(params.At(0).Type()); got != kind {
		text := "its first parameter is " + u.typeString(params.At(0).Type())
		if got != "" {
			text += fmt.Sprintf(", as if it were an %s", got)
		}
		return bad(typeAt(f.decl.Type.Params, 0).Pos(), text)
	}
	if t := results.At(1).Type(); !types.Identical(t, types.Universe.Lookup("error").Type()) {
		return bad(typeAt(f.decl.Type.Results, 1).Pos(), "its second result is "+u.typeString(t))
	}
	f.in, f.out = params.At(1).Type(), results.At(0).Type()
	if recv := sig.Recv(); recv != nil {
		t := types.Unalias(recv.Type())
		if p, ok := t.(*types.Pointer); ok {
			t, f.pointer = types.Unalias(p.Elem()), true
		}
		named, ok := t.(*types.Named)
		if !ok {
			u.problem(name.Pos(), fmt.Sprintf("%s %s: the type of its receiver is not known: %s", kind, name.Name, u.reason(f.decl.Recv)))
			return false
		}
		f.recv = named.Obj()
	}
	return true
}

// typeAt is the type of the ith parameter or result.
func typeAt(list *ast.FieldList, i int) ast.Expr {
	for _, field := range list.List {
		if i -= max(len(field.Names), 1); i < 0 {
			return field.Type
		}
	}
	return list.List[len(list.List)-1].Type
}

// contextOf says for which kind t is the right context, empty for none.
func contextOf(t types.Type) kind {
	t = types.Unalias(t)
	pointer, ok := t.(*types.Pointer)
	if ok {
		t = types.Unalias(pointer.Elem())
	}
	named, isNamed := t.(*types.Named)
	switch {
	case !isNamed || named.Obj().Pkg() == nil || named.Obj().Name() != "Context":
	case !ok && named.Obj().Pkg().Path() == "context":
		return activity
	case ok && named.Obj().Pkg().Path() == durango:
		return orchestration
	}
	return ""
}

// invalid reports whether a part of t that is written in the signature could
// not be resolved.
func invalid(t types.Type) bool {
	switch t := t.(type) {
	case nil:
		return true
	case *types.Basic:
		return t.Kind() == types.Invalid
	case *types.Alias:
		return invalid(types.Unalias(t)) || anyInvalid(t.TypeArgs())
	case *types.Named:
		return anyInvalid(t.TypeArgs())
	case *types.Map:
		return invalid(t.Key()) || invalid(t.Elem())
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		return invalid(t.Elem())
	case *types.Struct:
		for f := range t.Fields() {
			if invalid(f.Type()) {
				return true
			}
		}
	case *types.Signature:
		return slices.ContainsFunc([]*types.Tuple{t.Params(), t.Results()}, func(tuple *types.Tuple) bool {
			for v := range tuple.Variables() {
				if invalid(v.Type()) {
					return true
				}
			}
			return false
		})
	}
	return false
}

func anyInvalid(list *types.TypeList) bool {
	for t := range list.Types() {
		if invalid(t) {
			return true
		}
	}
	return false
}

// reason is what the type checker said about a type.
func (u *unit) reason(n ast.Node) string {
	for _, e := range u.TypeErrors {
		if n.Pos() <= e.Pos && e.Pos < n.End() {
			return e.Msg
		}
	}
	// A package that cannot be imported is reported at its import only.
	for path, p := range u.Imports {
		for _, e := range p.Errors {
			if u.mentions(n, path) {
				return strings.Join(strings.Fields(e.Msg), " ") // it may have lines
			}
		}
	}
	return "the package does not build"
}

// mentions reports whether a type names something of the package with that
// path.
func (u *unit) mentions(n ast.Node, path string) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			name, ok := u.TypesInfo.Uses[id].(*types.PkgName)
			found = found || ok && name.Imported().Path() == path
		}
		return !found
	})
	return found
}
