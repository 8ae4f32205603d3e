package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/durango-go/durango"

	"github.com/spf13/cobra"
)

type checkView struct {
	Compatible   int         `json:"compatible"`
	Incompatible int         `json:"incompatible"`
	Unknown      int         `json:"unknown"`
	Skipped      int         `json:"skipped,omitempty"`
	Groups       []groupView `json:"groups"`
}

type groupView struct {
	Name         string        `json:"name"`
	Version      string        `json:"version,omitempty"`
	Compatible   int           `json:"compatible"`
	Incompatible int           `json:"incompatible"`
	Unknown      int           `json:"unknown"`
	Skipped      int           `json:"skipped,omitempty"`
	Warned       int           `json:"warned,omitempty"`
	Findings     []findingView `json:"findings,omitempty"`
}

type findingView struct {
	ID          string `json:"id"`
	Status      string `json:"status"`
	Verdict     string `json:"verdict"`
	Error       string `json:"error"`
	Cause       string `json:"cause,omitempty"`
	Patch       string `json:"patch,omitempty"`
	Explanation string `json:"explanation,omitempty"`
}

// errIncompatible says that a check has found what the code cannot go on with.
var errIncompatible = errors.New("some instances cannot go on with this program")

func (a *app) checkCommand() *cobra.Command {
	var o durango.CheckOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Replay the open instances of the store against this program's code",
		Long: `Replay the open instances of the store against this program's code.

It tells before a deployment what the new program cannot go on with, and how to
change that. Nothing is written, and nothing of what runs is disturbed. The exit
code is 10 if something is incompatible. What is unknown (this program has no code
for it, or cannot read it) does not count: it waits for another program.`,
		Example: `  orders check
  orders check --name fulfil --sample 50 -o json`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.store != "" {
				return Usagef("--store: this program's code is bound to a store of its own")
			}
			if o.Sample < 0 || o.MaxFindings < 1 {
				return Usagef("--sample, --findings: a number must be positive")
			}
			report, err := a.rt.Check(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := a.print(cmd, viewCheck(&report), func(w io.Writer) { writeCheck(w, &report) }); err != nil {
				return err
			}
			if report.Incompatible > 0 {
				return errIncompatible
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Name, "name", "", "only this orchestration")
	flags.StringVar(&o.Version, "version", "", "only this version of the orchestration")
	flags.StringVar(&o.IDPrefix, "id-prefix", "", "only IDs that begin so")
	flags.IntVar(&o.Sample, "sample", 0, "at most this many of each orchestration and version, the newest (default all)")
	flags.IntVar(&o.MaxFindings, "findings", 10, "show at most this many of each orchestration and version")
	return cmd
}

func viewCheck(r *durango.Report) checkView {
	v := checkView{r.Compatible, r.Incompatible, r.Unknown, r.Skipped, []groupView{}}
	for i := range r.Groups {
		g := &r.Groups[i]
		group := groupView{g.Name, g.Version, g.Compatible, g.Incompatible, g.Unknown, g.Skipped, g.Warned, nil}
		for j := range g.Findings {
			f := &g.Findings[j]
			found := findingView{ID: f.ID, Status: f.Status.String(), Verdict: string(f.Verdict), Error: f.Err.Error()}
			if x := explanationOf(f); x != nil {
				found.Cause, found.Patch, found.Explanation = string(x.Cause), x.Patch, x.String()
			}
			group.Findings = append(group.Findings, found)
		}
		v.Groups = append(v.Groups, group)
	}
	return v
}

func explanationOf(f *durango.Finding) *durango.Explanation {
	var where *durango.ReplayError
	if !errors.As(f.Err, &where) {
		return nil
	}
	return where.Explanation
}

func writeCheck(w io.Writer, r *durango.Report) {
	var rows [][]string
	for i := range r.Groups {
		g := &r.Groups[i]
		rows = append(rows, []string{g.Name, dash(g.Version), strconv.Itoa(g.Compatible), strconv.Itoa(g.Incompatible),
			strconv.Itoa(g.Unknown), strconv.Itoa(g.Skipped), strconv.Itoa(g.Warned)})
	}
	if len(rows) == 0 {
		fmt.Fprintln(w, "no open instances")
		return
	}
	table(w, []string{"NAME", "VERSION", "COMPATIBLE", "INCOMPATIBLE", "UNKNOWN", "SKIPPED", "WARNED"}, rows)
	for i := range r.Groups {
		g := &r.Groups[i]
		said := map[string]string{} // the ID of who had the explanation first
		for j := range g.Findings {
			f := &g.Findings[j]
			fmt.Fprintf(w, "\n%s: %s: %s\n", f.Verdict, plain(f.ID), plain(f.Err.Error()))
			text := explanationOf(f).String()
			switch first := said[text]; {
			case text == "":
			case first != "":
				fmt.Fprintf(w, "  as %s\n", plain(first))
			default:
				said[text] = f.ID
				fmt.Fprintf(w, "%s\n", indent(lines(strings.TrimSuffix(text, "\n")), "  "))
			}
		}
		if more := g.Incompatible + g.Unknown - len(g.Findings); more > 0 {
			fmt.Fprintf(w, "\n… and %d more of %s %s\n", more, g.Name, dash(g.Version))
		}
	}
}
