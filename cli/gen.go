package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/durango-go/durango/internal/gen"

	"github.com/spf13/cobra"
)

// genView is what gen answers.
type genView struct {
	Files []genFileView `json:"files"`
}

type genFileView struct {
	Path string `json:"path"`
	// Status is what was done: unchanged, written or removed; with --check it
	// is unchanged or stale. It is skipped when all directives are in files
	// that are not built now, but under a condition.
	Status         string `json:"status"`
	Condition      string `json:"condition,omitempty"`
	Activities     int    `json:"activities"`
	Orchestrations int    `json:"orchestrations"`
}

func (a *app) genCommand() *cobra.Command {
	var options gen.Options
	var check bool
	cmd := &cobra.Command{
		Use:   "gen [PACKAGES]",
		Short: "Generate handles from the directives of Go functions",
		Long: `Generate handles from the directives of Go functions.

In each package (default: the one in this directory) that has functions or
methods with a directive, gen writes ` + gen.FileName + `:

  //durango:activity [name=charge-card] [var=ChargeCard] [tags=billing,cards]
  func Charge(ctx context.Context, in Payment) (Receipt, error)

  //durango:orchestration [name=fulfil] [version=1.0.0] [var=Fulfil] [tags=orders]
  func Fulfil(ctx *durango.Context, in Order) (Receipt, error)

The file declares a handle for each, called after the function plus Activity or
Orchestration unless var= says otherwise, and RegisterAll, which registers all
with a runtime and takes the receivers of the methods. Functions with the same
name= and different version= are versions of one orchestration and share a
handle.

The name in the store is name=, else the function's in kebab-case. It is
schema: gen fails when a name or a version that the file declares would
disappear. Add name= to a function that was renamed; --accept-removed gives
up names that no store holds.

Build constraints of files with directives are those of the file too. A package
that has directives only in files that are not built now is skipped: pass
--tags, or set GOOS and GOARCH.

To run it with go generate, run this once in your module:

  go get -tool ` + module + `/cmd/durango

and add one of these lines to a package:

  //go:generate go tool durango gen
  //go:generate go run ` + module + `/cmd/durango gen`,
		Example: `  durango gen ./...
  durango gen --check ./...`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if len(patterns) == 0 {
				patterns = []string{"."}
			}
			files, err := gen.Generate(cmd.Context(), options, patterns...)
			if err != nil {
				return err
			}
			return a.gen(cmd, files, check)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&check, "check", false, "write nothing; fail if a file is not what would be written")
	flags.BoolVar(&options.AcceptRemoved, "accept-removed", false, "let names and versions disappear")
	flags.StringVar(&options.Tags, "tags", "", "build tags, separated by commas")
	return cmd
}

const module = "github.com/durango-go/durango"

func (a *app) gen(cmd *cobra.Command, files []gen.File, check bool) error {
	v := genView{Files: make([]genFileView, 0, len(files))}
	var stale []string
	for i := range files {
		f := &files[i]
		row := genFileView{displayPath(f.Path), "unchanged", f.Skipped, f.Activities, f.Orchestrations}
		switch {
		case f.Skipped != "":
			row.Status = "skipped"
		case !f.Stale():
		case check:
			row.Status = "stale"
			stale = append(stale, row.Path)
		case f.New == nil:
			row.Status = "removed"
		default:
			row.Status = "written"
		}
		if !check {
			if err := f.Write(); err != nil {
				return err
			}
		}
		v.Files = append(v.Files, row)
	}
	err := a.print(cmd, v, func(w io.Writer) {
		if len(files) == 0 {
			fmt.Fprintln(w, "no function has a directive")
		}
		for _, f := range v.Files {
			switch f.Status {
			case "written":
				fmt.Fprintf(w, "wrote %s (%s, %s)\n", f.Path, count(f.Activities, "activity", "activities"),
					count(f.Orchestrations, "orchestration", "orchestrations"))
			case "skipped":
				fmt.Fprintf(w, "skipped %s: its functions are built only if %s\n", f.Path, f.Condition)
			case "removed":
				fmt.Fprintf(w, "removed %s\n", f.Path)
			}
		}
	})
	if err != nil || len(stale) == 0 {
		return err
	}
	return errors.New("stale: " + strings.Join(stale, ", ") + "; run 'durango gen' to renew")
}

// displayPath is path as seen from here, if it is below.
func displayPath(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel)
		}
	}
	return path
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
