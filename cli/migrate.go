package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/durango-go/durango/provider"

	"github.com/spf13/cobra"
)

func (a *app) migrateCommand() *cobra.Command {
	var to int
	var status, check bool
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the store's schema to the version of this program, or to another",
		Long: `Bring the store's schema to the version of this program, making the store if there
is none. With --to it goes up to exactly that version.

It may run any number of times, also at once: each migration is applied once, or not
at all. A schema does not go back. With --status nothing is changed: it shows the
version and what would be applied. With --check nothing is changed either, and a
schema that this program does not work with as it is, is an error (exit code 7).`,
		Example: `  durango migrate --status
  durango migrate --to 2`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if changed := cmd.Flags().Changed; changed("to") && to < 1 {
				return Usagef("--to: a version is 1 or more")
			} else if changed("to") && check || status && check {
				return Usagef("--check goes with neither --to nor --status")
			}
			return a.migrate(cmd, to, status, check)
		},
	}
	flags := c.Flags()
	flags.IntVar(&to, "to", 0, "go up to this version (default the newest that this program knows)")
	flags.BoolVar(&status, "status", false, "change nothing; show the version, and what would be applied")
	flags.BoolVar(&check, "check", false, "change nothing, and fail if this program does not work with the schema")
	return c
}

// schemaView answers migrate.
type schemaView struct {
	Store   string `json:"store"`
	Version int    `json:"version"`
	// This program works with the versions from Min to Max.
	Min     int      `json:"min,omitempty"`
	Max     int      `json:"max,omitempty"`
	Pending []string `json:"pending"`           // up to --to
	Applied []string `json:"applied,omitempty"` // by this command
}

func (a *app) migrate(cmd *cobra.Command, to int, status, check bool) error {
	if own := runtimeStore(a.rt); own != nil && a.store == "" {
		return a.migrated(cmd, own, to)
	}
	word, kind, rest, err := findStore(a.store)
	if err != nil {
		return err
	}
	v := schemaView{Store: word}
	if !status && !check {
		done, err := kind.migrate(cmd.Context(), rest, to)
		if err != nil {
			return &storeError{err}
		}
		v.Applied = namesOf(done)
	}
	schema, err := kind.schema(cmd.Context(), rest)
	if err == nil && check {
		err = schema.Check()
	}
	var pending []provider.Migration
	if err == nil && status && (to != 0 || schema.Version <= schema.Max) { // one that is newer is shown, too
		pending, err = schema.Steps(to)
	}
	if err != nil {
		return &storeError{err}
	}
	if !status {
		pending = schema.Migrations
	}
	v.Version, v.Min, v.Max, v.Pending = schema.Version, schema.Min, schema.Max, namesOf(pending)
	return a.print(cmd, v, v.write)
}

// migrated reports on the store that the program itself has opened: that has
// migrated it, or has found that nothing is to be done.
func (a *app) migrated(cmd *cobra.Command, own provider.Provider, to int) error {
	d, err := own.Describe(cmd.Context())
	if err != nil {
		return fmt.Errorf("describe the store: %w", err)
	}
	v := schemaView{Store: d.Name, Pending: []string{}}
	if s, ok := own.(interface{ SchemaVersion() int }); ok {
		v.Version = s.SchemaVersion()
	}
	if to != 0 && to != v.Version {
		return Usagef("--to: this program has opened its store, at version %d of the schema; name the store with --store", v.Version)
	}
	return a.print(cmd, v, func(w io.Writer) { fmt.Fprintf(w, "%s: the schema is version %d\n", v.Store, v.Version) })
}

func namesOf(all []provider.Migration) []string {
	names := []string{}
	for _, m := range all {
		names = append(names, m.Name)
	}
	return names
}

func (v *schemaView) write(w io.Writer) {
	fmt.Fprintf(w, "%s: the schema is version %d; this program works with %v\n", v.Store, v.Version, provider.Range{Min: v.Min, Max: v.Max})
	if len(v.Applied) > 0 {
		fmt.Fprintf(w, "applied %s\n", strings.Join(v.Applied, ", "))
	}
	if len(v.Pending) > 0 {
		fmt.Fprintf(w, "to be applied: %s\n", strings.Join(v.Pending, ", "))
	}
}
