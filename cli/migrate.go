package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) migrateCommand() *cobra.Command {
	check := false
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the store's schema to the version of this program",
		Long: "Bring the store's schema to the version of this program, making the store if there is none.\n" +
			"It may run any number of times, also at once. With --check nothing is changed: an older or\n" +
			"newer schema is an error (exit code 7).",
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m := creating
			if check {
				m = reading
			}
			return a.with(m, func(s *session) error { return a.migrate(cmd, s) })
		},
	}
	c.Flags().BoolVar(&check, "check", false, "change nothing, and fail if there is something to do")
	return c
}

// migrate reports: opening the store has done the work.
func (a *app) migrate(cmd *cobra.Command, s *session) error {
	d, err := s.store.Describe(cmd.Context())
	if err != nil {
		return fmt.Errorf("describe the store: %w", err)
	}
	schema := "as this program needs it"
	if v, ok := s.store.(interface{ SchemaVersion() int }); ok {
		schema = fmt.Sprintf("version %d", v.SchemaVersion())
	}
	return a.print(cmd, map[string]any{"store": d.Name, "version": d.Version, "schema": schema}, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s: the schema is %s\n", d.Name, d.Version, schema)
	})
}
