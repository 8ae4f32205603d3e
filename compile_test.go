package durango_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// "Everything else is checked by the compiler": what must not compile, and the
// same without the mistake, which must.
func TestWhatDoesNotCompile(t *testing.T) {
	const prelude = `package p
import (
	"context"
	"net/http"
	"time"
	"github.com/durango-go/durango"
)
var (
	_ context.Context
	_ http.Request
	_ time.Duration
	act = durango.NewActivity[int, string]("act")
	orc = durango.NewOrchestration[int, string]("orc")
	sig = durango.NewSignal[bool]("sig")
)
func actFn(context.Context, int) (string, error) { return "", nil }
func orcFn(*durango.Context, int) (string, error) { return "", nil }
func use(ctx *durango.Context, rt *durango.Runtime, c *durango.Client, bg context.Context) {
	var err error
	_ = err
`
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", exports(t))
	check := func(t *testing.T, body string) error {
		t.Helper()
		f, err := parser.ParseFile(fset, "p.go", prelude+body+"\n}\n", 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&types.Config{Importer: imp}).Check("p", fset, []*ast.File{f}, nil)
		return err
	}
	for _, c := range []struct{ name, bad, good, says string }{
		{"context to I/O", `_, err = http.NewRequestWithContext(ctx, "GET", "", nil)`,
			`_, err = http.NewRequestWithContext(bg, "GET", "", nil)`, "does not implement context.Context"},
		{"context to context", `_, _ = context.WithTimeout(ctx, time.Second)`,
			`_, _ = context.WithTimeout(bg, time.Second)`, "does not implement context.Context"},
		{"input type", `_, err = act.Call(ctx, "text")`, `_, err = act.Call(ctx, 1)`, "cannot use"},
		{"output type", `var n int; n, err = act.Call(ctx, 1); _ = n`, `var n string; n, err = act.Call(ctx, 1); _ = n`, "cannot use"},
		{"start input type", `_, err = orc.Start(bg, c, "id", "text")`, `_, err = orc.Start(bg, c, "id", 1)`, "cannot use"},
		{"start without a client", `_, err = orc.Start(bg, bg, "id", 1)`, `_, err = orc.Start(bg, c, "id", 1)`, "durango.Sender"},
		{"signal type", `err = sig.Send(bg, c, "id", 1)`, `err = sig.Send(bg, c, "id", true)`, "cannot use"},
		{"bind another function", `_ = act.Bind(orcFn)`, `_ = act.Bind(actFn)`, "cannot use orcFn"},
		{"bind an activity to an orchestration", `_ = orc.Bind(actFn)`, `_ = orc.Bind(orcFn)`, "cannot use actFn"},
		{"register an unbound activity", `rt.Register(act)`, `rt.Register(act.Bind(actFn))`, "does not implement durango.Registrable"},
		{"register an unbound orchestration", `rt.Register(orc)`, `rt.Register(orc.Bind(orcFn))`, "does not implement durango.Registrable"},
		{"call from a client's context", `_, err = act.Call(bg, 1)`, `_, err = act.Call(ctx, 1)`, "cannot use bg"},
		{"select of something else", `ctx.Select(bg)`, `ctx.Select(sig.Next(ctx), act.Go(ctx, 1))`, "does not implement durango.Awaitable"},
		{"case of something else", `switch ctx.Select() { case c: }`, `f := sig.Next(ctx); switch ctx.Select(f) { case f: }`, "Client"},
		{"all of different types", `_, err = durango.All(ctx, sig.Next(ctx), act.Go(ctx, 1))`,
			`_, err = durango.All(ctx, act.Go(ctx, 2), act.Go(ctx, 1))`, "does not match"},
		{"undo with another input", `_, err = durango.RunSaga(ctx, func(s *durango.Saga) (int, error) { durango.Undo(s, act, true); return 1, nil })`,
			`_, err = durango.RunSaga(ctx, func(s *durango.Saga) (int, error) { durango.Undo(s, act, 1); return 1, nil })`, "cannot use true"},
		{"continue with another input", `_, err = orc.ContinueAsNew(ctx, "text")`, `_, err = orc.ContinueAsNew(ctx, 1)`, "cannot use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := check(t, c.good); err != nil {
				t.Fatalf("%s\ndoes not compile: %v", c.good, err)
			}
			err := check(t, c.bad)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%s\ngot %v, want an error with %q", c.bad, err, c.says)
			}
		})
	}
}

// exports finds compiled packages through the go command's build cache.
func exports(t *testing.T) importer.Lookup {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".", "net/http").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) {

		return os.Open(files[path])
	}
}
