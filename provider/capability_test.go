package provider_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/durango-go/durango/provider"
)

// described is a provider of which only the description is asked for.
type described struct {
	provider.Provider
	d provider.Description
}

func (s *described) Describe(context.Context) (provider.Description, error) { return s.d, nil }

// with returns a provider that has the interface of one capability, or none, and
// claims what it is told.
func with(t *testing.T, capability string, claims ...string) provider.Provider {
	t.Helper()
	s := &described{d: provider.Description{Name: "old", Version: "7", Contract: provider.Supported}}
	for _, name := range claims {
		reflect.ValueOf(&s.d.Capabilities).Elem().FieldByName(name).SetBool(true)
	}
	switch capability {
	case "":
		return s
	case "Amend":
		return struct {
			*described
			provider.Amender
		}{described: s}
	case "Blobs":
		return struct {
			*described
			provider.BlobKeeper
		}{described: s}
	case "Pipeline":
		return struct {
			*described
			provider.Pipeliner
		}{described: s}
	case "Examine":
		return struct {
			*described
			provider.Examiner
		}{described: s}
	case "Hold":
		return struct {
			*described
			provider.Holder
		}{described: s}
	case "Inspect":
		return struct {
			*described
			provider.Inspector
		}{described: s}
	}
	t.Fatalf("capability %s has an interface, and this test does not know it", capability)
	return nil
}

// Every field of Capabilities, and every interface beside Provider, is one of
// AllCapabilities; CONTRACT.md has the same table.
func TestAllCapabilities(t *testing.T) {
	var names, interfaces []string
	rows := ""
	for _, a := range provider.AllCapabilities() {
		names = append(names, a.Name)
		column := ""
		if a.Interface != "" {
			interfaces = append(interfaces, a.Interface)
			column = "`" + a.Interface + "`"
		}
		rows += "| `" + a.Name + "` | " + column + " | " + a.Without + " |\n"
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %v", names)
	}
	var fields []string
	for f := range reflect.TypeFor[provider.Capabilities]().Fields() {
		fields = append(fields, f.Name)
	}
	slices.Sort(fields)
	if !slices.Equal(names, fields) {
		t.Errorf("capabilities %v, fields %v", names, fields)
	}
	declared := declaredInterfaces(t)
	slices.Sort(interfaces)
	if !slices.Equal(interfaces, declared) {
		t.Errorf("interfaces of capabilities %v, declared beside Provider %v", interfaces, declared)
	}
	text, err := os.ReadFile("CONTRACT.md")
	if err != nil || !strings.Contains(string(text), rows) {
		t.Errorf("CONTRACT.md does not have these rows (%v):\n%s", err, rows)
	}
}

// declaredInterfaces returns the exported interfaces of the package but
// Provider.
func declaredInterfaces(t *testing.T) (names []string) {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && s.Name.IsExported() && s.Name.Name != "Provider" {
				if _, ok := s.Type.(*ast.InterfaceType); ok {
					names = append(names, s.Name.Name)
				}
			}
			return true
		})
	}
	slices.Sort(names)
	return names
}

// CONTRACT: "What is claimed without its interface, or there without being
// claimed, is an error when an engine or a client begins."
func TestAgreeComparesClaimsWithInterfaces(t *testing.T) {
	for _, a := range provider.AllCapabilities() {
		t.Run(a.Name, func(t *testing.T) {
			if a.Interface == "" {
				agreed(t, with(t, "", a.Name), a.Name)
				return
			}
			agreed(t, with(t, a.Name, a.Name), a.Name)
			refused(t, with(t, "", a.Name), a.Name, "claims the capability "+a.Name+" and is no provider."+a.Interface)
			refused(t, with(t, a.Name), a.Name, "is a provider."+a.Interface+" and does not claim the capability "+a.Name)
			// Who embeds a provider has its description and not its interfaces.
			whole := with(t, a.Name, a.Name, "Watch")
			refused(t, struct{ provider.Provider }{whole}, a.Name, "claims")
			agreed(t, struct{ provider.Provider }{provider.Plain(whole)}, "Watch")
		})
	}
}

func agreed(t *testing.T, p provider.Provider, want string) {
	t.Helper()
	c, err := provider.Agree(t.Context(), p, provider.Supported)
	if err != nil || c.Version != provider.ContractVersion || c.Store.Capabilities.String() != want {
		t.Errorf("got %+v, %v; want %s", c, err, want)
	}
}

func refused(t *testing.T, p provider.Provider, name, text string) {
	t.Helper()
	_, err := provider.Agree(t.Context(), p, provider.Supported)
	var typed *provider.CapabilityError
	if !errors.As(err, &typed) || typed.Capability != name || !errors.Is(err, provider.ErrInvalid) ||
		!strings.Contains(err.Error(), "store old 7") || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want a CapabilityError with %q", err, text)
	}
}

// An engine of tomorrow and a store of today speak what the store knows.
func TestAgreeWithAnOlderStore(t *testing.T) {
	s := &described{d: provider.Description{Name: "old", Version: "7", Contract: provider.Range{Min: 1, Max: 1}}}
	for _, tc := range []struct {
		engine, store provider.Range
		want          int
		older         string
	}{
		{provider.Range{Min: 1, Max: 1}, provider.Range{Min: 1, Max: 1}, 1, ""},
		{provider.Range{Min: 1, Max: 2}, provider.Range{Min: 1, Max: 1}, 1, "durango prefers 2, the provider speaks 1; upgrade the store's provider"},
		{provider.Range{Min: 1, Max: 2}, provider.Range{Min: 1, Max: 3}, 2, "the provider prefers 3, durango speaks 1 to 2; upgrade durango"},
		{provider.Range{Min: 1, Max: 2, Preferred: 1}, provider.Range{Min: 1, Max: 1}, 1, ""},
	} {
		s.d.Contract = tc.store
		c, err := provider.Agree(t.Context(), s, tc.engine)
		if err != nil || c.Version != tc.want || c.Older() != tc.older {
			t.Errorf("%v with %v: got %d, %q, %v; want %d, %q", tc.engine, tc.store, c.Version, c.Older(), err, tc.want, tc.older)
		}
	}
	s.d.Contract = provider.Range{Min: 3, Max: 4}
	_, err := provider.Agree(t.Context(), s, provider.Supported)
	var typed *provider.IncompatibleError
	if !errors.As(err, &typed) || !strings.HasPrefix(err.Error(), "store old 7: ") {
		t.Errorf("got %v", err)
	}
}

func TestNamesOfCapabilities(t *testing.T) {
	var none provider.Capabilities
	some := provider.Capabilities{Watch: true, Amend: true}
	if got := some.String() + "/" + none.String(); got != "Amend Watch/none" {
		t.Errorf("got %s", got)
	}
	if got := strings.Join(some.Missing(), " "); got != "Blobs DetectsExit Examine Hasten Hold Inspect Notes Persistent Pipeline Shared" {
		t.Errorf("got %s", got)
	}
}
