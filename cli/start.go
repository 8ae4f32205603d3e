package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/durango-go/durango"

	"github.com/spf13/cobra"
)

// resultView is what start and wait answer.
type resultView struct {
	ID      string          `json:"id"`
	Name    string          `json:"name,omitempty"`
	Created *bool           `json:"created,omitempty"`
	Status  string          `json:"status,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
	Error   *errorView      `json:"error,omitempty"`
}

type errorView struct {
	Code    string          `json:"code,omitempty"`
	Message string          `json:"message"`
	Type    string          `json:"type,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

type startFlags struct {
	id, version, input string
	at                 string
	signal, messageID  string
	wait, create       bool
	// What to do if the ID is taken.
	reuse, restart, restartFailed, replace bool

	waiting waitFlags
}

// waitFlags say how to wait for an end.
type waitFlags struct {
	timeout     time.Duration
	quarantined bool
}

// add adds the flags to a command, with a text before that of each.
func (f *waitFlags) add(cmd *cobra.Command, when string) {
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, when+"give up waiting after this long (default never)")
	cmd.Flags().BoolVar(&f.quarantined, "until-quarantined", false, when+"give up when the instance is quarantined, which is no end")
}

func (a *app) startCommand() *cobra.Command {
	var f startFlags
	cmd := &cobra.Command{
		Use:   "start NAME",
		Short: "Start an instance of an orchestration",
		Long: `Start an instance of an orchestration.

It needs no running worker: what is started waits for one that has the code.`,
		Example: `  durango start hello --input '"world"' --wait
  durango start fulfil --id order-42 --input @order.json
  durango start account --id ann --signal deposited=500
  echo '{"n": 3}' | durango start count --input -`,
		Args: args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			input, err := readPayload(cmd, "--input", f.input)
			if err != nil {
				return err
			}
			options := durango.CallOptions{Version: f.version}
			if options.IfExists, err = f.ifExists(); err != nil {
				return err
			}
			if f.at != "" {
				if options.StartAt, err = parseStart(f.at, time.Now()); err != nil {
					return err
				}
			}
			first, err := f.parseSignal(cmd)
			if err != nil {
				return err
			}
			handle := durango.NewOrchestration[json.RawMessage, json.RawMessage](args[0]).With(options)
			m := writing
			if f.create {
				m = creating
			}
			return a.with(m, func(s *session) error { return a.start(cmd, s, handle, input, first, &f) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.id, "id", "", "the instance ID (default a new UUID)")
	flags.StringVar(&f.version, "version", "", "the version to start (default the highest a worker has)")
	flags.StringVar(&f.input, "input", "", "the input: JSON, @FILE, or - for standard input")
	flags.StringVar(&f.at, "at", "", "start later: an RFC 3339 time, or a delay as in 10m")
	flags.StringVar(&f.signal, "signal", "", "send NAME=PAYLOAD with it, also if the instance is there already")
	flags.StringVar(&f.messageID, "message-id", "", "with --signal: makes it safe to repeat, as that of 'signal'")
	flags.BoolVar(&f.wait, "wait", false, "wait for the end and print the output")
	f.waiting.add(cmd, "with --wait: ")
	flags.BoolVar(&f.reuse, "reuse", false, "succeed if the ID is taken")
	flags.BoolVar(&f.restart, "restart", false, "delete an instance that has the ID and has ended, with the children without an ID of their own, and start anew")
	flags.BoolVar(&f.restartFailed, "restart-failed", false, "like --restart, but not if it has completed")
	flags.BoolVar(&f.replace, "replace", false, "like --restart, and terminate it before if it has not ended")
	flags.BoolVar(&f.create, "create", false, "make the store if it does not exist")
	return cmd
}

// ifExists returns what to do if the ID is taken.
func (f *startFlags) ifExists() (durango.IfExists, error) {
	choice := durango.Fail
	for _, flag := range []struct {
		set bool
		is  durango.IfExists
	}{
		{f.reuse, durango.Reuse}, {f.restart, durango.Restart}, {f.restartFailed, durango.RestartFailed}, {f.replace, durango.Replace},
	} {
		switch {
		case !flag.set:
		case choice != durango.Fail:
			return choice, Usagef("--reuse, --restart, --restart-failed, --replace: one of them at most")
		default:
			choice = flag.is
		}
	}
	return choice, nil
}

// firstSignal goes to an instance as it starts.
type firstSignal struct {
	signal  durango.Signal[json.RawMessage]
	payload json.RawMessage
}

// parseSignal returns nil if there is none.
func (f *startFlags) parseSignal(cmd *cobra.Command) (*firstSignal, error) {
	if !cmd.Flags().Changed("signal") {
		if f.messageID != "" {
			return nil, Usagef("--message-id is that of a --signal")
		}
		return nil, nil
	}
	name, text, _ := strings.Cut(f.signal, "=")
	payload, err := readPayload(cmd, "--signal", text)
	if err != nil {
		return nil, err
	}
	signal := durango.NewSignal[json.RawMessage](name).With(durango.SendOptions{ID: f.messageID})
	return &firstSignal{signal, payload}, nil
}

func (a *app) start(cmd *cobra.Command, s *session, handle durango.Orchestration[json.RawMessage, json.RawMessage], input json.RawMessage, first *firstSignal, f *startFlags) error {
	id := f.id
	if id == "" {
		id = durango.NewID()
	}
	var run *durango.Run[json.RawMessage]
	var err error
	if first == nil {
		run, err = handle.Start(cmd.Context(), s.client, id, input)
	} else {
		run, err = durango.SendWithStart(cmd.Context(), s.client, id, handle, input, first.signal, first.payload)
	}
	if err != nil {
		return err
	}
	if f.wait {
		return a.wait(cmd, run, &f.waiting)
	}
	return a.print(cmd, resultView{ID: run.ID(), Name: handle.Name()}, func(w io.Writer) {
		fmt.Fprintln(w, plain(run.ID()))
	})
}

// parseStart reads a time, or a delay from now.
func parseStart(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, Usagef("--at: %q is neither a time (2026-01-31T08:00:00Z) nor a delay (10m)", text)
	}
	return t, nil
}

// readPayload reads JSON from a flag, a file or standard input.
func readPayload(cmd *cobra.Command, flag, text string) (json.RawMessage, error) {
	b, from := []byte(text), flag
	var err error
	if text == "-" {
		from = "standard input"
		b, err = io.ReadAll(cmd.InOrStdin())
	} else if path, ok := strings.CutPrefix(text, "@"); ok {
		from = path
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, Usagef("%s: %w", flag, err)
	}
	if b = []byte(strings.TrimSpace(string(b))); len(b) > 0 && !json.Valid(b) {
		return nil, Usagef(`%s: %s is not JSON: %s (a text needs quotes: '"text"')`, flag, from, brief(string(b), 40))
	}
	return b, nil
}

func (a *app) waitCommand() *cobra.Command {
	var f waitFlags
	cmd := &cobra.Command{
		Use:   "wait ID",
		Short: "Wait until an instance has ended and print its output",
		Args:  args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(reading, func(s *session) error {
				handle := durango.NewOrchestration[json.RawMessage, json.RawMessage]("any")
				return a.wait(cmd, handle.Run(s.client, args[0]), &f)
			})
		},
	}
	f.add(cmd, "")
	return cmd
}

// wait prints the output of an instance, or returns the error that it ended
// with.
func (a *app) wait(cmd *cobra.Command, run *durango.Run[json.RawMessage], f *waitFlags) error {
	ctx, cancel := limited(cmd, f.timeout)
	defer cancel()
	out, err := run.With(durango.WaitOptions{UntilQuarantined: f.quarantined}).Wait(ctx)
	out = rawJSON(out) // another codec has written it, if it is none
	var failed *durango.Error
	switch {
	case err == nil:
		return a.print(cmd, resultView{ID: run.ID(), Status: "Completed", Output: out}, func(w io.Writer) {
			if len(out) > 0 {
				fmt.Fprintf(w, "%s\n", out)
			}
		})
	case errors.As(err, &failed), errors.Is(err, durango.ErrQuarantined):
		v := resultView{ID: run.ID(), Status: "Quarantined"}
		text := "it is quarantined; 'quarantine show' says why"
		if failed != nil {
			v.Status, v.Error = "Failed", &errorView{failed.Code, failed.Error(), failed.Type, failed.Detail}
			text = "it failed: " + failed.Error()
		}
		switch {
		case errors.Is(err, durango.ErrTerminated):
			v.Status, text = "Terminated", "it was "+failed.Error()
		case errors.Is(err, durango.ErrCanceled):
			v.Status, text = "Canceled", "it was "+failed.Error()
		}
		if a.output == "json" {
			if err := writeJSON(cmd.OutOrStdout(), v); err != nil {
				return err
			}
		}
		return &endError{run.ID(), fmt.Errorf("%s", text)}
	case errors.Is(err, context.DeadlineExceeded) && f.timeout > 0:
		text := ""
		if info, serr := run.Status(cmd.Context()); serr == nil {
			text = "; its status is " + info.Status.String()
		}
		return fmt.Errorf("instance %q has not ended after %v%s: %w", run.ID(), f.timeout, text, err)
	}
	return err
}
