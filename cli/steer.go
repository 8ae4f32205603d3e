package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/durango-go/durango"

	"github.com/spf13/cobra"
)

// doneView answers the commands that only ask for something.
type doneView struct {
	ID     string `json:"id"`
	Action string `json:"action"`
}

func (a *app) done(cmd *cobra.Command, id, action, text string) error {
	return a.print(cmd, doneView{id, action}, func(w io.Writer) { fmt.Fprintf(w, text+"\n", plain(id)) })
}

// run returns a run whose output type does not matter.
func (s *session) run(id string) *durango.Run[json.RawMessage] {
	return durango.NewOrchestration[json.RawMessage, json.RawMessage]("any").Run(s.client, id)
}

func (a *app) signalCommand() *cobra.Command {
	var text, id string
	cmd := &cobra.Command{
		Use:   "signal ID NAME",
		Short: "Send a signal to an instance",
		Long: `Send a signal to an instance.

The command returns when the signal is stored; it waits there until the instance
consumes it, also if no worker is running.`,
		Example: `  durango signal order-42 approved --payload '{"by": "ann"}'`,
		Args:    args("ID", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			payload, err := readPayload(cmd, "--payload", text)
			if err != nil {
				return err
			}
			return a.with(writing, func(s *session) error {
				handle := durango.NewSignal[json.RawMessage](args[1]).With(durango.SendOptions{ID: id})
				if err := handle.Send(cmd.Context(), s.client, args[0], payload); err != nil {
					return err
				}
				return a.done(cmd, args[0], "signaled", "signal sent to %s")
			})
		},
	}
	cmd.Flags().StringVar(&text, "payload", "", "the payload: JSON, @FILE, or - for standard input")
	cmd.Flags().StringVar(&id, "message-id", "", "makes the command safe to repeat: the instance accepts each ID once")
	return cmd
}

func (a *app) cancelCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "Ask an instance to end; its code may clean up",
		Args:  args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(writing, func(s *session) error {
				if err := s.run(args[0]).Cancel(cmd.Context(), reason); err != nil {
					return err
				}
				return a.done(cmd, args[0], "cancel-requested", "asked %s to cancel; 'wait' tells how it ends")
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the instance and for people")
	return cmd
}

func (a *app) terminateCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "terminate ID",
		Short: "End an instance at once, without running its code",
		Args:  args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(writing, func(s *session) error {
				if err := s.run(args[0]).Terminate(cmd.Context(), reason); err != nil {
					return err
				}
				return a.done(cmd, args[0], "terminated", "terminated %s")
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people")
	return cmd
}
