package gen

import (
	"cmp"
	"fmt"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/semver"
)

// The names of the generated functions.
const (
	registerAll = "RegisterAll"
	definitions = "Definitions"
)

// handle is a durable name with the functions that are bound to it: one, or
// one for each version of an orchestration.
type handle struct {
	kind      kind
	name      string
	varName   string
	functions []*function // by version, the lowest first
}

// newest is the function that describes the handle.
func (h *handle) newest() *function { return h.functions[len(h.functions)-1] }

func (h *handle) String() string { return fmt.Sprintf("%s %q", h.kind, h.name) }

// handles groups functions by their durable names: activities first, each kind
// by name, so that moving a function changes nothing.
func (u *unit) handles(functions []*function) (handles []*handle) {
	functions = slices.Clone(functions)
	slices.SortStableFunc(functions, func(a, b *function) int {
		return cmp.Or(
			strings.Compare(string(a.kind), string(b.kind)),
			strings.Compare(a.durableName(), b.durableName()),
			compareVersions(a.version, b.version),
		)
	})
	for _, f := range functions {
		name := f.durableName()
		if problem := checkName(name); problem != "" {
			u.problem(f.pos, problem)
		}
		var h *handle
		if len(handles) > 0 {
			h = handles[len(handles)-1]
		}
		if h == nil || h.kind != f.kind || h.name != name {
			handles = append(handles, &handle{kind: f.kind, name: name, functions: []*function{f}})
			continue
		}
		u.checkVersions(h, f)
		h.functions = append(h.functions, f)
	}
	for _, h := range handles {
		u.nameHandle(h)
	}
	u.checkCollisions(handles)
	return handles
}

func compareVersions(a, b string) int { return semver.Compare("v"+a, "v"+b) }

// checkVersions reports why f cannot be another version of h.
func (u *unit) checkVersions(h *handle, f *function) {
	last := h.newest()
	at := u.position(last.pos)
	switch {
	case f.kind == activity:
		u.problem(f.pos, fmt.Sprintf("%s is claimed twice, by %s and by %s (%s): give one of them another name=", h, f, last, at))
	case f.version == last.version:
		u.problem(f.pos, fmt.Sprintf("version %s of %s is claimed twice, by %s and by %s (%s): give one of them another version= or name=",
			f.version, h, f, last, at))
	case !types.Identical(f.in, last.in) || !types.Identical(f.out, last.out):
		signature := func(f *function) string {
			return fmt.Sprintf("(%s) %s", u.typeString(f.in), u.typeString(f.out))
		}
		u.problem(f.pos, fmt.Sprintf("version %s of %s is %s, but version %s is %s (%s): versions share a handle and its types; "+
			"a function of other types needs another name=", f.version, h, signature(f), last.version, signature(last), at))
	}
}

// nameHandle chooses the variable: what a directive says, else after the
// function of the lowest version, so that a new version renames nothing.
func (u *unit) nameHandle(h *handle) {
	var said *function
	for _, f := range h.functions {
		switch {
		case f.varName == "":
		case said == nil:
			said, h.varName = f, f.varName
		case f.varName != h.varName:
			u.problem(f.pos, fmt.Sprintf("var=%s, but another version of %s says var=%s (%s)", f.varName, h, h.varName, u.position(said.pos)))
		}
	}
	if h.varName == "" {
		suffix := "Activity"
		if h.kind == orchestration {
			suffix = "Orchestration"
		}
		h.varName = h.functions[0].decl.Name.Name + suffix
	}
}

// checkCollisions reports handles that would be declared twice.
func (u *unit) checkCollisions(handles []*handle) {
	taken := map[string]*handle{}
	for _, h := range handles {
		at := h.functions[0].pos
		other, declared := u.names[h.varName]
		imported, ok := u.imported[h.varName]
		switch {
		case declared:
			u.problem(at, fmt.Sprintf("the handle of %s would be %s, which is declared at %s; choose another with var=", h, h.varName, other))
		case ok:
			u.problem(at, fmt.Sprintf("the handle of %s would be %s, the name of a package imported at %s; choose another with var=", h, h.varName, imported))
		case h.varName == registerAll || h.varName == definitions:
			u.problem(at, fmt.Sprintf("the handle of %s would be %s, which is generated too; choose another with var=", h, h.varName))
		case taken[h.varName] != nil:
			u.problem(at, fmt.Sprintf("the handle of %s would be %s, as that of %s (%s); choose another with var=",
				h, h.varName, taken[h.varName], u.position(taken[h.varName].functions[0].pos)))
		}
		taken[h.varName] = h
	}
	for _, name := range []string{definitions, registerAll} {
		if at, ok := u.names[name]; ok && len(handles) > 0 {
			u.problems = append(u.problems, Problem{at, name + " is generated in " + FileName + "; rename this one"})
		}
	}
}

// receiver is a parameter of the generated functions.
type receiver struct {
	param, typ string
}

// receivers are the types whose methods are bound, by name.
func receivers(handles []*handle, taken map[string]bool) map[string]receiver {
	byName := map[string]receiver{}
	for _, h := range handles {
		for _, f := range h.functions {
			if f.recv == nil {
				continue
			}
			r := receiver{typ: f.recv.Name()}
			if f.pointer || strings.HasPrefix(byName[r.typ].typ, "*") {
				r.typ = "*" + r.typ
			}
			byName[f.recv.Name()] = r
		}
	}
	for _, name := range sortedKeys(byName) {
		r := byName[name]
		first, size := utf8.DecodeRuneInString(name)
		r.param = unique(string(unicode.ToLower(first))+name[size:], taken)
		byName[name] = r
	}
	return byName
}

// unique makes a name that is not taken, nor a word of the language, and takes
// it.
func unique(name string, taken map[string]bool) string {
	free := name
	for i := 2; taken[free] || token.IsKeyword(free) || types.Universe.Lookup(free) != nil; i++ {
		free = fmt.Sprintf("%s%d", name, i)
	}
	taken[free] = true
	return free
}
