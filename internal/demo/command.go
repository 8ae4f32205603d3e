package demo

import (
	"os"
	"path/filepath"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/cli"
	"github.com/durango-go/durango/examples/order/fulfil"
	"github.com/durango-go/durango/provider/sqlite"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Command returns the demo command.
func Command() *cobra.Command {
	s := &settings{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Fulfil orders while their worker is killed again and again",
		Long: `Fulfil orders while their worker is killed again and again.

Orders are placed by this process and fulfilled by another, which is killed with
SIGKILL at varied moments, always with work in flight. The services it talks to (a
warehouse, a flaky payment gateway, a carrier, a mail provider) write what they do to
an append-only ledger. At the end the ledger is read, and proves that every order
ended in exactly one outcome and that nobody was charged twice.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.orders < 1 || s.kills < 0 || s.pace <= 0 {
				return cli.Usagef("--orders and --pace must be positive, --kills not negative")
			}
			s.out = cmd.OutOrStdout()
			f, ok := s.out.(*os.File)
			s.terminal = ok && term.IsTerminal(int(f.Fd()))
			return start(cmd.Context(), s)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&s.orders, "orders", 120, "how many orders")
	flags.IntVar(&s.kills, "kills", 5, "how often the worker is killed")
	flags.Uint64Var(&s.seed, "seed", 1, "decides when the gateway fails and the worker is killed")
	flags.Float64Var(&s.pace, "pace", 1, "scales the time that things take")
	flags.StringVar(&s.dir, "dir", "", "work in this directory and keep it (default a temporary one)")
	flags.BoolVar(&s.keep, "keep", false, "keep the temporary directory")
	flags.DurationVar(&s.timeout, "timeout", 5*time.Minute, "give up after this long")
	cmd.AddCommand(workerCommand(), verifyCommand())
	return cmd
}

// usage gives the errors of an argument check the exit code of wrong usage.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return cli.Usagef("%s: %w", cmd.CommandPath(), err)
		}
		return nil
	}
}

// workerCommand is what the demonstration starts and kills.
func workerCommand() *cobra.Command {
	var dir string
	var number int
	var seed uint64
	var pace float64
	cmd := &cobra.Command{
		Use:    "worker",
		Hidden: true,
		Args:   usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return work(cmd.Context(), dir, number, seed, pace)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "", "")
	flags.IntVar(&number, "number", 1, "")
	flags.Uint64Var(&seed, "seed", 1, "")
	flags.Float64Var(&pace, "pace", 1, "")
	return cmd
}

// verifyCommand proves again, from what a run left behind.
func verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Prove again from the ledger of a run that was kept",
		Args:  usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			var tasks []task
			if err := readFile(filepath.Join(dir, ordersFile), &tasks); err != nil {
				return err
			}
			entries, err := readLedger(filepath.Join(dir, ledgerFile))
			if err != nil {
				return err
			}
			store, err := sqlite.OpenWith(filepath.Join(dir, storeFile), sqlite.Options{ReadOnly: true})
			if err != nil {
				return err
			}
			defer store.Close() // opened for reading
			client := durango.NewClient(store)
			results := map[string]fulfil.Result{}
			for _, t := range tasks {
				handle := fulfil.Fulfil.Run(client, t.Order.ID)
				info, err := handle.Status(cmd.Context())
				if err != nil {
					return err
				}
				if info.Status != durango.StatusCompleted {
					continue // the proof will say so
				}
				if results[t.Order.ID], err = handle.Wait(cmd.Context()); err != nil {
					return err
				}
			}
			p := prove(tasks, entries, results)
			workers := map[int]bool{}
			for _, e := range entries {
				workers[e.Worker] = true
			}
			return p.report(cmd.OutOrStdout(), max(len(workers)-1, 0))
		},
	}
}
