package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/durango-go/durango"

	"github.com/spf13/cobra"
)

// limited is the command's context, with a limit unless it is zero.
func limited(cmd *cobra.Command, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		return context.WithTimeout(cmd.Context(), timeout)
	}
	return context.WithCancel(cmd.Context())
}

// contentView answers value.
type contentView struct {
	ID      string          `json:"id"`
	Name    string          `json:"name"`
	Content json.RawMessage `json:"content"`
}

func (a *app) valueCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "value ID NAME",
		Short: "Print a value of an instance",
		Args:  args("ID", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(reading, func(s *session) error {
				id, name := args[0], args[1]
				content, ok, err := durango.NewValue[json.RawMessage](name).Read(cmd.Context(), s.client, id)
				if err != nil {
					return err
				}
				if !ok {
					return &missingError{fmt.Sprintf("instance %q has no value %q; 'show' has those it has", id, name)}
				}
				content = rawJSON(content)
				return a.print(cmd, contentView{id, name, content}, func(w io.Writer) { fmt.Fprintf(w, "%s\n", content) })
			})
		},
	}
}

// missingError says that an instance does not have what was asked for.
type missingError struct{ text string }

func (e *missingError) Error() string { return e.text }

// statusView is one line of what watch prints as JSON.
type statusView struct {
	ID           string          `json:"id"`
	Turn         int64           `json:"turn"`
	CustomStatus json.RawMessage `json:"custom_status"`
}

func (a *app) watchCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "watch ID",
		Short: "Print the custom status of an instance as it changes, until it ends",
		Long: `Print the custom status of an instance as it changes, until it ends.

The first line is the present status. Of several that follow quickly one another
only the last may be printed. With -o json each line is a document. How the
instance ended is for 'wait' to tell.`,
		Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(reading, func(s *session) error { return a.watch(cmd, s, args[0], timeout) })
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this long (default never)")
	return cmd
}

func (a *app) watch(cmd *cobra.Command, s *session, id string, timeout time.Duration) error {
	ctx, cancel := limited(cmd, timeout)
	defer cancel()
	for status, err := range s.run(id).Statuses(ctx) {
		if err != nil {
			return err
		}
		v := statusView{ID: id, Turn: status.Turn}
		if err := status.Decode(&v.CustomStatus); err != nil {
			return err
		}
		v.CustomStatus = rawJSON(v.CustomStatus)
		if a.output == "json" {
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(v)
		} else {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", v.CustomStatus)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// answerView answers update.
type answerView struct {
	ID     string          `json:"id"`
	Name   string          `json:"name"`
	Answer json.RawMessage `json:"answer,omitempty"`
	Error  *errorView      `json:"error,omitempty"`
}

func (a *app) updateCommand() *cobra.Command {
	var text, id string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "update ID NAME",
		Short: "Ask an instance for something and print its answer",
		Long: `Ask an instance for something and print its answer.

It needs a worker that runs the instance. What was asked when --timeout passes
may still be handled; with --id, asking again gives the answer.`,
		Example: `  durango update cart-1 add --input '{"product": "tea", "quantity": 2}' --id click-7`,
		Args:    args("ID", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			input, err := readPayload(cmd, "--input", text)
			if err != nil {
				return err
			}
			handle := durango.NewUpdate[json.RawMessage, json.RawMessage](args[1]).With(durango.SendOptions{ID: id})
			return a.with(writing, func(s *session) error { return a.update(cmd, s, args[0], handle, input, timeout) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&text, "input", "", "the request: JSON, @FILE, or - for standard input")
	flags.StringVar(&id, "id", "", "makes the command safe to repeat: a request with this ID is handled once")
	flags.DurationVar(&timeout, "timeout", 0, "give up waiting for the answer after this long (default never)")
	return cmd
}

func (a *app) update(cmd *cobra.Command, s *session, id string, handle durango.Update[json.RawMessage, json.RawMessage], input json.RawMessage, timeout time.Duration) error {
	ctx, cancel := limited(cmd, timeout)
	defer cancel()
	answer, err := handle.Call(ctx, s.client, id, input)
	answer = rawJSON(answer)
	v := answerView{ID: id, Name: handle.Name(), Answer: answer}
	var refused *durango.Error
	if errors.As(err, &refused) && !errors.Is(err, durango.ErrNotRunning) {
		v.Error = &errorView{refused.Code, refused.Error(), refused.Type, refused.Detail}
		if a.output == "json" {
			if err := writeJSON(cmd.OutOrStdout(), v); err != nil {
				return err
			}
		}
		return &endError{id, fmt.Errorf("it refused: %w", err)}
	}
	if err != nil {
		return err
	}
	return a.print(cmd, v, func(w io.Writer) {
		if len(answer) > 0 {
			fmt.Fprintf(w, "%s\n", answer)
		}
	})
}

func (a *app) completeCommand() *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:   "complete TOKEN",
		Short: "Complete an activity that waits for somebody to do so",
		Long: `Complete an activity that waits for somebody to do so.

'show' has the tokens of such activities.`,
		Example: `  durango complete zteGrtaasKA0AgIC --result '{"by": "ann"}'`,
		Args:    args("TOKEN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := readPayload(cmd, "--result", text)
			if err != nil {
				return err
			}
			return a.with(writing, func(s *session) error {
				handle := durango.NewActivity[json.RawMessage, json.RawMessage]("any")
				if err := handle.Complete(cmd.Context(), s.client, args[0], result); err != nil {
					return err
				}
				return a.settled(cmd, args[0], "completed")
			})
		},
	}
	cmd.Flags().StringVar(&text, "result", "", "the result: JSON, @FILE, or - for standard input")
	return cmd
}

func (a *app) failCommand() *cobra.Command {
	var message, code, text string
	var final bool
	cmd := &cobra.Command{
		Use:   "fail TOKEN",
		Short: "Fail an activity that waits to be completed",
		Long: `Fail an activity that waits to be completed.

It is tried again if its policy says so, unless the failure is --final.`,
		Example: `  durango fail zteGrtaasKA0AgIC --message 'the bank refuses' --code card-declined --detail '"stolen"'`,
		Args:    args("TOKEN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if message == "" && code == "" {
				return Usagef("say why, with --message or --code")
			}
			detail, err := readPayload(cmd, "--detail", text)
			if err != nil {
				return err
			}
			if len(detail) > 0 && code == "" {
				return Usagef("--detail is that of a --code")
			}
			cause := errors.New(message)
			if code != "" {
				cause = durango.NewError[json.RawMessage](code).New(detail, cmp.Or(message, code))
			}
			if final {
				cause = durango.NonRetryable(cause)
			}
			return a.with(writing, func(s *session) error {
				if err := s.client.Fail(cmd.Context(), args[0], cause); err != nil {
					return err
				}
				return a.settled(cmd, args[0], "failed")
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&message, "message", "", "what went wrong")
	flags.StringVar(&code, "code", "", "the declared kind of the error")
	flags.StringVar(&text, "detail", "", "the detail of that kind: JSON, @FILE, or - for standard input")
	flags.BoolVar(&final, "final", false, "trying again is pointless")
	return cmd
}

// settled tells that what waited for a token has been told.
func (a *app) settled(cmd *cobra.Command, token, action string) error {
	v := struct {
		Token  string `json:"token"`
		Action string `json:"action"`
	}{token, action}
	return a.print(cmd, v, func(w io.Writer) { fmt.Fprintf(w, "%s\n", action) })
}
