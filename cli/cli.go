// Package cli is durango's command line as a library. A program that hands its
// own [durango.Runtime] to [Main] has every command of the durango tool, and
// those that need its code besides:
//
//	func main() {
//		store, err := sqlite.Open("orders.db")
//		…
//		rt, err := durango.New(store, durango.Options{})
//		…
//		rt.Register(…)
//		os.Exit(cli.Main(rt))
//	}
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"

	"github.com/spf13/cobra"
)

// Main runs the command that the program's arguments name and returns the exit
// code for the caller's os.Exit; "help exit-codes" lists them. It prints errors
// itself. SIGINT and SIGTERM end what runs: a worker drains, and a second
// signal kills it. A nil rt means that the program has no code of its own.
func Main(rt *durango.Runtime) int {
	return Execute(Command(rt), os.Args[1:])
}

// Execute is Main for a tree made by [Command] to which the caller may have
// added commands.
func Execute(root *cobra.Command, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks, the second must not be caught.
	defer context.AfterFunc(ctx, stop)()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil {
		printError(root.ErrOrStderr(), cmd, err)
	}
	return ExitCode(err)
}

// app is what the commands of one tree share.
type app struct {
	rt     *durango.Runtime
	store  string // --store
	output string // --output
}

// Command returns the command tree, for programs that embed it in their own.
// [ExitCode] translates the error of its Execute method.
func Command(rt *durango.Runtime) *cobra.Command {
	a := &app{rt: rt}
	root := &cobra.Command{
		Use:           "durango",
		Short:         "Durable execution: start, watch and steer instances",
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          noCommand,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usagef("%w (see '%s --help')", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.store, "store", "", "the store, as in sqlite:orders.db (default $DURANGO_STORE)")
	flags.StringVarP(&a.output, "output", "o", "table", "format of the output: table or json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "table" && a.output != "json" {
			return Usagef("output format %q is neither table nor json", a.output)
		}
		return nil
	}
	root.AddCommand(
		a.startCommand(), a.listCommand(), a.showCommand(), a.valueCommand(), a.watchCommand(), a.signalCommand(),
		a.updateCommand(), a.completeCommand(), a.failCommand(), a.cancelCommand(),
		a.terminateCommand(), a.quarantineCommand(), a.waitCommand(), a.nodesCommand(), a.statsCommand(), a.doctorCommand(), a.blobsCommand(), a.migrateCommand(), a.genCommand(), a.versionCommand(),
		exitCodesTopic(),
	)
	if rt != nil {
		root.AddCommand(a.checkCommand(), a.workerCommand())
	}
	return root
}

// noCommand is what runs when no command was named.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return Usagef("%s (see '%s --help')", text, cmd.CommandPath())
}

// args checks the number of arguments, naming what is missing.
func args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return Usagef("%s: missing %s (see '%s --help')", cmd.CommandPath(), names[len(args)], cmd.CommandPath())
		case len(args) > len(names):
			return Usagef("%s: unexpected argument %q (see '%s --help')", cmd.CommandPath(), args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}

// session is an open store for the time of one command.
type session struct {
	store     provider.Provider
	contract  provider.Contract
	inspector provider.Inspector
	client    *durango.Client
	close     func() error
}

// open opens the store for a command.
func (a *app) open(m mode) (*session, error) {
	s := &session{close: func() error { return nil }}
	if own := runtimeStore(a.rt); own != nil && a.store == "" {
		s.store = own
	} else {
		store, err := openStore(a.store, m)
		if err != nil {
			return nil, err
		}
		s.store, s.close = store, store.Close
	}
	var own *durango.Client
	if a.rt != nil {
		own = a.rt.Client()
	}
	s.client = own.For(s.store) // reads and writes as the program's nodes do
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	var err error
	if s.contract, err = provider.Agree(ctx, s.store, provider.Supported); err == nil && !s.contract.Store.Capabilities.Inspect {
		err = s.contract.Lacks("the command line", "Inspect")
	}
	if err != nil {
		return nil, errors.Join(&storeError{err}, s.close())
	}
	s.inspector = s.store.(provider.Inspector) // Agree has seen it
	return s, nil
}

// with runs do with an open store.
func (a *app) with(m mode, do func(*session) error) error {
	s, err := a.open(m)
	if err != nil {
		return err
	}
	err = do(s)
	if cerr := s.close(); err == nil && cerr != nil {
		err = fmt.Errorf("close the store: %w", cerr)
	}
	return err
}

// print writes v as the one JSON document of a command, or else what table
// does.
func (a *app) print(cmd *cobra.Command, v any, table func(io.Writer)) error {
	w := cmd.OutOrStdout()
	if a.output == "json" {
		return writeJSON(w, v)
	}
	table(w)
	return nil
}
