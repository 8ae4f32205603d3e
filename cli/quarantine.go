package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/durango-go/durango"

	"github.com/spf13/cobra"
)

// quarantineView is an instance that a policy has stopped, as JSON has it.
type quarantineView struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	Version      string     `json:"version,omitempty"`
	Status       string     `json:"status"`
	Execution    int64      `json:"execution"`
	Fingerprint  string     `json:"fingerprint"`
	Kind         string     `json:"kind"`
	Place        string     `json:"place"`
	Cause        string     `json:"cause"`
	Failures     int64      `json:"failures"`
	FirstFailure *time.Time `json:"first_failure,omitempty"`
	LastFailure  *time.Time `json:"last_failure,omitempty"`
	Unread       int64      `json:"unread_messages"`
}

func viewQuarantine(q *durango.Quarantine) quarantineView {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC()
		return &t
	}
	return quarantineView{
		q.ID, q.Name, q.Version, q.Status.String(), q.Execution, q.Fingerprint, q.Kind, q.Place, q.Cause, q.Failures,
		at(q.FirstFailure), at(q.LastFailure), q.Unread,
	}
}

func (a *app) quarantineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "See, release and retry instances whose turns failed too often, and dead letters",
		RunE:  noCommand,
		Args:  cobra.ArbitraryArgs,
	}
	letters := &cobra.Command{
		Use:   "dead-letter",
		Short: "See, requeue and purge dead letters: instances that a policy has ended",
		RunE:  noCommand,
		Args:  cobra.ArbitraryArgs,
	}
	letters.AddCommand(
		a.quarantineList(true), a.quarantineShow(true), a.quarantineGroup(true),
		a.quarantineChange(true, "requeue", "requeued", "Let dead letters go on from where they stopped", (*durango.Client).Requeue, (*durango.Client).RequeueAll),
		a.quarantineChange(true, "purge", "purged", "Delete dead letters", (*durango.Client).Purge, (*durango.Client).PurgeAll),
	)
	cmd.AddCommand(
		a.quarantineList(false), a.quarantineShow(false), a.quarantineGroup(false),
		a.quarantineChange(false, "release", "released", "Let instances go on; one more failure quarantines them again", (*durango.Client).Release, (*durango.Client).ReleaseAll),
		a.quarantineChange(false, "retry", "retried", "Let instances go on, their failures forgotten", (*durango.Client).Retry, (*durango.Client).RetryAll),
		letters,
	)
	return cmd
}

// quarantineFlags adds the flags of a filter.
func quarantineFlags(cmd *cobra.Command, f *durango.QuarantineFilter) {
	flags := cmd.Flags()
	flags.StringVar(&f.Name, "name", "", "only this orchestration")
	flags.StringVar(&f.Version, "version", "", "only this version of the orchestration")
	flags.StringVar(&f.IDPrefix, "id-prefix", "", "only IDs that begin so")
	flags.StringVar(&f.Fingerprint, "fingerprint", "", "only this kind of failure at this place, as 'group' has it")
}

func (a *app) quarantineList(dead bool) *cobra.Command {
	f := durango.QuarantineFilter{DeadLetters: dead}
	limit := 100
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List them, newest first",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return Usagef("--limit: %d is not positive", limit)
			}
			return a.with(reading, func(s *session) error { return a.listQuarantines(cmd, s, f, limit) })
		},
	}
	quarantineFlags(cmd, &f)
	cmd.Flags().IntVar(&limit, "limit", limit, "at most this many")
	return cmd
}

func (a *app) listQuarantines(cmd *cobra.Command, s *session, f durango.QuarantineFilter, limit int) error {
	all := []quarantineView{}
	var rows [][]string
	more := false
	for q, err := range s.client.Quarantines(cmd.Context(), f) {
		if err != nil {
			return err
		}
		if more = len(all) == limit; more {
			break
		}
		all = append(all, viewQuarantine(&q))
		rows = append(rows, []string{q.ID, q.Name, dash(q.Version), strconv.FormatInt(q.Failures, 10),
			clock(q.LastFailure.UnixNano()), q.Fingerprint, brief(q.Cause, 60)})
	}
	doc := struct {
		Quarantines []quarantineView `json:"quarantines"`
		More        bool             `json:"more,omitempty"`
	}{all, more}
	return a.print(cmd, doc, func(w io.Writer) {
		if len(rows) == 0 {
			fmt.Fprintln(w, nothingOf(f))
			return
		}
		table(w, []string{"ID", "NAME", "VERSION", "FAILURES", "LAST", "FINGERPRINT", "CAUSE"}, rows)
		if more {
			fmt.Fprintln(w, "there are more: raise --limit")
		}
	})
}

func nothingOf(f durango.QuarantineFilter) string {
	if f.DeadLetters {
		return "no dead letters"
	}
	return "nothing is quarantined"
}

func (a *app) quarantineShow(dead bool) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show what failed, where, and how often",
		Args:  args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(reading, func(s *session) error {
				q, err := s.client.Quarantine(cmd.Context(), args[0])
				if err == nil && (q.Status == durango.StatusFailed) != dead {
					err = fmt.Errorf("instance %q is %s: %w", q.ID, q.Status, durango.ErrNotQuarantined)
				}
				if err != nil {
					return err
				}
				v := viewQuarantine(&q)
				return a.print(cmd, v, func(w io.Writer) { showQuarantine(w, &v) })
			})
		},
	}
}

func showQuarantine(w io.Writer, v *quarantineView) {
	when := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return clock(t.UnixNano())
	}
	for _, f := range [][2]string{
		{"Instance", v.ID}, {"Orchestration", strings.TrimSpace(v.Name + " " + v.Version)}, {"Status", v.Status},
		{"Fingerprint", v.Fingerprint}, {"Failures", strconv.FormatInt(v.Failures, 10)},
		{"First", when(v.FirstFailure)}, {"Last", when(v.LastFailure)}, {"Unread", strconv.FormatInt(v.Unread, 10)},
	} {
		fmt.Fprintf(w, "%-14s %s\n", f[0], plain(f[1]))
	}
	fmt.Fprintf(w, "\n%s\n", indent(lines(v.Cause), "  "))
}

// fingerprintView is what failed in one way.
type fingerprintView struct {
	Fingerprint string `json:"fingerprint"`
	Instances   int    `json:"instances"`
	Example     string `json:"example"`
	Cause       string `json:"cause"`
}

func (a *app) quarantineGroup(dead bool) *cobra.Command {
	f := durango.QuarantineFilter{DeadLetters: dead}
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Count them by fingerprint: the kind of failure and its place in the code",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(reading, func(s *session) error { return a.groupQuarantines(cmd, s, f) })
		},
	}
	quarantineFlags(cmd, &f)
	return cmd
}

func (a *app) groupQuarantines(cmd *cobra.Command, s *session, f durango.QuarantineFilter) error {
	groups := []*fingerprintView{}
	known := map[string]*fingerprintView{}
	for q, err := range s.client.Quarantines(cmd.Context(), f) {
		if err != nil {
			return err
		}
		g := known[q.Fingerprint]
		if g == nil {
			g = &fingerprintView{Fingerprint: q.Fingerprint, Example: q.ID, Cause: q.Cause}
			known[q.Fingerprint] = g
			groups = append(groups, g)
		}
		g.Instances++
	}
	slices.SortStableFunc(groups, func(a, b *fingerprintView) int { return b.Instances - a.Instances })
	doc := struct {
		Groups []*fingerprintView `json:"groups"`
	}{groups}
	return a.print(cmd, doc, func(w io.Writer) {
		if len(groups) == 0 {
			fmt.Fprintln(w, nothingOf(f))
			return
		}
		var rows [][]string
		for _, g := range groups {
			rows = append(rows, []string{g.Fingerprint, strconv.Itoa(g.Instances), g.Example, brief(g.Cause, 60)})
		}
		table(w, []string{"FINGERPRINT", "INSTANCES", "EXAMPLE", "CAUSE"}, rows)
	})
}

// quarantineChange is a command that does something to one instance or to all
// that a filter selects.
func (a *app) quarantineChange(dead bool, verb, done, short string,
	one func(*durango.Client, context.Context, string) error,
	all func(*durango.Client, context.Context, durango.QuarantineFilter) (int, error),
) *cobra.Command {
	f := durango.QuarantineFilter{DeadLetters: dead}
	everything := false
	cmd := &cobra.Command{
		Use:   verb + " [ID …]",
		Short: short,
		Long:  short + ".\n\nName the instances, or select them by --name, --version, --id-prefix or --fingerprint, or --all.",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			selects := f != (durango.QuarantineFilter{DeadLetters: dead})
			switch {
			case len(ids) > 0 && (selects || everything):
				return Usagef("%s: either IDs or a selection", cmd.CommandPath())
			case len(ids) == 0 && !selects && !everything:
				return Usagef("%s: missing ID, a selection, or --all (see '%s --help')", cmd.CommandPath(), cmd.CommandPath())
			}
			return a.with(writing, func(s *session) (err error) {
				n := 0
				for _, id := range ids {
					if err := one(s.client, cmd.Context(), id); err != nil {
						return err
					}
					n++
				}
				if len(ids) == 0 {
					if n, err = all(s.client, cmd.Context(), f); err != nil {
						return fmt.Errorf("after %d: %w", n, err)
					}
				}
				doc := struct {
					Action    string `json:"action"`
					Instances int    `json:"instances"`
				}{done, n}
				return a.print(cmd, doc, func(w io.Writer) { fmt.Fprintf(w, "%s %d\n", done, n) })
			})
		},
	}
	quarantineFlags(cmd, &f)
	cmd.Flags().BoolVar(&everything, "all", false, "all of them")
	return cmd
}
