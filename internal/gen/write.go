package gen

import (
	"bytes"
	"cmp"
	"fmt"
	"go/format"
	"go/types"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// writer writes the file of one package.
type writer struct {
	u         *unit
	handles   []*handle
	imports   map[*types.Package]string // the name each has in the file
	durango   string                    // the name of durango's
	receivers map[string]receiver
	bytes.Buffer
}

// write returns the file that declares handles.
func (u *unit) write(handles []*handle) ([]byte, error) {
	w := &writer{u: u, handles: handles}
	taken := map[string]bool{registerAll: true, definitions: true}
	for name := range u.names {
		taken[name] = true
	}
	for _, h := range handles {
		taken[h.varName] = true
	}
	w.chooseImports(taken)
	taken["rt"] = true
	w.receivers = receivers(handles, taken)

	w.head()
	for _, h := range handles {
		w.handle(h)
	}
	w.registration()
	out, err := format.Source(w.Bytes())
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", u.relative(u.path()), err)
	}
	return out, nil
}

// chooseImports names the packages of all types by path: their own names,
// unless something else has them here.
func (w *writer) chooseImports(taken map[string]bool) {
	w.imports = map[*types.Package]string{}
	note := func(p *types.Package) string {
		if p != w.u.Types {
			w.imports[p] = p.Name()
		}
		return ""
	}
	for _, h := range w.handles {
		types.TypeString(h.newest().in, note)
		types.TypeString(h.newest().out, note)
	}
	// The library's name comes first, because it is in every line.
	w.durango = unique("durango", taken)
	for _, p := range w.sortedImports() {
		if p.Path() == durango {
			w.imports[p] = w.durango
		} else {
			w.imports[p] = unique(p.Name(), taken)
		}
	}
}

func (w *writer) sortedImports() []*types.Package {
	return slices.SortedFunc(maps.Keys(w.imports), func(a, b *types.Package) int { return strings.Compare(a.Path(), b.Path()) })
}

func (w *writer) head() {
	fmt.Fprintf(w, "%s\n\n", header)
	if c := w.handles[0].functions[0].condition; c != "" {
		fmt.Fprintf(w, "//go:build %s\n\n", c)
	}
	fmt.Fprintf(w, "package %s\n\nimport (\n", w.u.Name)
	specs := map[string]string{durango: w.durango}
	for p, name := range w.imports {
		specs[p.Path()] = name
	}
	paths := sortedKeys(specs)
	// The standard library has a group of its own.
	slices.SortStableFunc(paths, func(a, b string) int { return cmp.Compare(group(a), group(b)) })
	for i, p := range paths {
		if i > 0 && group(p) != group(paths[i-1]) {
			w.WriteByte('\n')
		}
		if specs[p] != path.Base(p) {
			w.WriteString(specs[p] + " ")
		}
		fmt.Fprintf(w, "%q\n", p)
	}
	w.WriteString(")\n")
}

func group(path string) int {
	if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
		return 1
	}
	return 0
}

// handle writes the declaration of one durable name.
func (w *writer) handle(h *handle) {
	by := make([]string, len(h.functions))
	for i, f := range h.functions {
		by[i] = fmt.Sprintf("[%s]", f)
		if f.version != "" {
			by[i] += " (" + f.version + ")"
		}
	}
	verb := "runs"
	if len(by) > 1 {
		verb = "run"
		last := len(by) - 1
		by = []string{strings.Join(by[:last], ", ") + " and " + by[last]}
	}
	fmt.Fprintf(w, "\n// %s is the %s, which %s %s.\n", h.varName, h, by[0], verb)
	newest := h.newest()
	if doc := strings.TrimSpace(newest.decl.Doc.Text()); doc != "" {
		w.WriteString("//\n")
		for line := range strings.Lines(doc) {
			w.WriteString(strings.TrimRight("// "+strings.TrimRight(line, "\n"), " ") + "\n")
		}
	}
	if len(newest.tags) > 0 {
		fmt.Fprintf(w, "//\n// Tags: %s.\n", strings.Join(newest.tags, ", "))
	}
	constructor := "NewActivity"
	if h.kind == orchestration {
		constructor = "NewOrchestration"
	}
	fmt.Fprintf(w, "var %s = %s.%s[%s, %s](%s)\n", h.varName, w.durango, constructor,
		w.typeString(newest.in), w.typeString(newest.out), strconv.Quote(h.name))
}

func (w *writer) typeString(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string { return w.imports[p] })
}

// registration writes the functions that bind the handles. They are functions
// and not variables because methods need a receiver, and because a binding
// refers to the code that refers to the handle.
func (w *writer) registration() {
	var params, args []string
	for _, name := range sortedKeys(w.receivers) {
		r := w.receivers[name]
		params = append(params, r.param+" "+r.typ)
		args = append(args, r.param)
	}
	fmt.Fprintf(w, "\n// %s returns what [%s] registers: the handles of this package with their functions.\n", definitions, registerAll)
	fmt.Fprintf(w, "func %s(%s) []%s.Registrable {\nreturn []%s.Registrable{\n", definitions, strings.Join(params, ", "), w.durango, w.durango)
	for _, h := range w.handles {
		for _, f := range h.functions {
			target := f.decl.Name.Name
			if f.recv != nil {
				target = w.receivers[f.recv.Name()].param + "." + target
			}
			if h.kind == activity {
				fmt.Fprintf(w, "%s.Bind(%s),\n", h.varName, target)
			} else {
				fmt.Fprintf(w, "%s.BindVersion(%q, %s),\n", h.varName, f.version, target)
			}
		}
	}
	w.WriteString("}\n}\n")
	params = append([]string{"rt *" + w.durango + ".Runtime"}, params...)
	fmt.Fprintf(w, "\n// %s makes the activities and orchestrations of this package known to rt.\n", registerAll)
	fmt.Fprintf(w, "func %s(%s) {\nrt.Register(%s(%s)...)\n}\n", registerAll, strings.Join(params, ", "), definitions, strings.Join(args, ", "))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
