package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"

	"github.com/spf13/cobra"
)

// exportFormat names the form of what show --export writes.
const exportFormat = "durango-history/1"

// showView is everything known of an instance.
type showView struct {
	Format   string       `json:"format"`
	Instance instanceView `json:"instance"`
	Turns    []turnView   `json:"turns"`
	Mailbox  []mailView   `json:"mailbox"`
	Tasks    []taskView   `json:"tasks"`
	Values   []valueView  `json:"values"`
}

type turnView struct {
	Number     int64       `json:"number"`
	Execution  int64       `json:"execution"`
	Time       *time.Time  `json:"time"`
	Deliveries []eventView `json:"deliveries"`
	Commands   []eventView `json:"commands"`
	// Error says why the turn could not be read.
	Error string `json:"error,omitempty"`
	// Encoded is the turn as it is stored, for programs; only with --export.
	CommitID int64  `json:"commit_id,omitempty,string"`
	Encoded  []byte `json:"encoded,omitempty"`
}

type eventView struct {
	Kind     string          `json:"kind"`
	Seq      int64           `json:"seq,omitempty"`
	Ref      int64           `json:"ref,omitempty"`
	Name     string          `json:"name,omitempty"`
	Version  string          `json:"version,omitempty"`
	Target   string          `json:"target,omitempty"`
	Pool     string          `json:"pool,omitempty"`
	Attempt  int64           `json:"attempt,omitempty"`
	Time     *time.Time      `json:"time,omitempty"`
	Text     string          `json:"text,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	Failure  *failureView    `json:"failure,omitempty"`
	Carried  []eventView     `json:"carried,omitempty"`
	Readable string          `json:"readable"`
}

type mailView struct {
	Seq     int64       `json:"seq"`
	Refused string      `json:"refused,omitempty"`
	Events  []eventView `json:"events,omitempty"`
	Error   string      `json:"error,omitempty"`
}

type taskView struct {
	Command   int64      `json:"command"`
	Execution int64      `json:"execution"`
	Name      string     `json:"name"`
	Pool      string     `json:"pool,omitempty"`
	Attempt   int64      `json:"attempt"`
	State     string     `json:"state"`
	HeldSince *time.Time `json:"held_since,omitempty"`
	Node      string     `json:"node,omitempty"`
	VisibleAt *time.Time `json:"visible_at,omitempty"`
	// WaitingSince is since when it is due and nobody holds it.
	WaitingSince *time.Time `json:"waiting_since,omitempty"`
	Session      string     `json:"session,omitempty"`
	// Token completes a parked task; ExpiresAt is until when.
	Token     string     `json:"token,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Failure   string     `json:"last_failure,omitempty"`
}

type valueView struct {
	Name    string          `json:"name"`
	Content json.RawMessage `json:"content"`
}

func viewEvents(c *durango.Client, events []history.Event) []eventView {
	views := make([]eventView, len(events))
	for i := range events {
		e := c.Readable(events[i])
		views[i] = eventView{
			Kind: e.Kind.String(), Seq: e.Seq, Ref: e.Ref, Name: e.Name, Version: e.Version, Target: e.Target,
			Pool: e.Pool, Attempt: e.Attempt, Time: timestamp(e.Time), Text: e.Text, Payload: rawJSON(e.Payload),
			Failure: viewFailure(e.Failure), Readable: e.String(),
		}
		if len(e.Carried) > 0 {
			views[i].Carried = viewEvents(nil, e.Carried) // Readable has read them
		}
	}
	return views
}

func (a *app) showCommand() *cobra.Command {
	var export string
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show an instance with its values, history, mailbox and tasks",
		Args:  args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(reading, func(s *session) error { return a.show(cmd, s, args[0], export) })
		},
	}
	cmd.Flags().StringVar(&export, "export", "", "write everything as JSON to this file (- for standard output)")
	return cmd
}

func (a *app) show(cmd *cobra.Command, s *session, id, export string) error {
	ctx := cmd.Context()
	in, err := s.inspector.Get(ctx, provider.Target{ID: id})
	if err != nil {
		return notFound(id, err)
	}
	around, err := s.surroundings(ctx)
	if err != nil {
		return err
	}
	if export != "" {
		around.client = nil // what leaves the store is as it is there
	}
	v := showView{Format: exportFormat, Instance: around.view(&in)}
	if v.Turns, err = s.turns(ctx, &in, around.client, export != ""); err != nil {
		return err
	}
	if v.Mailbox, err = s.mailbox(ctx, &in, around.client); err != nil {
		return err
	}
	if v.Tasks, err = s.tasks(ctx, &in, around); err != nil {
		return err
	}
	if v.Values, err = s.values(ctx, &in, around.client); err != nil {
		return err
	}
	switch export {
	case "":
		return a.print(cmd, v, func(w io.Writer) { v.write(w, &in, around) })
	case "-":
		return writeJSON(cmd.OutOrStdout(), v)
	}
	return a.export(cmd, export, &v)
}

// notFound turns an unknown ID into an error that says what to do.
func notFound(id string, err error) error {
	if errors.Is(err, provider.ErrNotFound) {
		return fmt.Errorf("%w: %q; 'list' shows what there is", provider.ErrNotFound, id)
	}
	return fmt.Errorf("instance %q: %w", id, err)
}

func (a *app) export(cmd *cobra.Command, path string, v *showView) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err = errors.Join(writeJSON(f, v), f.Close()); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	done := map[string]any{"exported": path, "turns": len(v.Turns)}
	return a.print(cmd, done, func(w io.Writer) {
		fmt.Fprintf(w, "wrote %s: %d turns of %s\n", path, len(v.Turns), plain(v.Instance.ID))
	})
}

// turnsPerRead bounds what is held in memory undecoded.
const turnsPerRead = 500

func (s *session) turns(ctx context.Context, in *provider.Instance, c *durango.Client, encoded bool) ([]turnView, error) {
	views := []turnView{}
	for from := int64(1); from < in.NextTurn; {
		turns, err := s.inspector.Turns(ctx, in.Key, from, turnsPerRead)
		if err != nil {
			return nil, fmt.Errorf("history of instance %q: %w", in.ID, err)
		}
		if len(turns) == 0 {
			break
		}
		for _, t := range turns {
			v := turnView{Number: t.Number, Execution: t.Execution, Time: timestamp(t.Time)}
			deliveries, commands, err := history.DecodeTurn(t.Events)
			if err != nil {
				v.Error = err.Error() // the others are still worth showing
			}
			v.Deliveries, v.Commands = viewEvents(c, deliveries), viewEvents(c, commands)
			if encoded {
				v.CommitID, v.Encoded = t.CommitID, t.Events
			}
			views = append(views, v)
		}
		from = turns[len(turns)-1].Number + 1
	}
	return views, nil
}

// maxMail is how much of a mailbox is shown.
const maxMail = 1000

func (s *session) mailbox(ctx context.Context, in *provider.Instance, c *durango.Client) ([]mailView, error) {
	mail, err := s.inspector.Mailbox(ctx, in.Key, maxMail)
	if err != nil {
		return nil, fmt.Errorf("mailbox of instance %q: %w", in.ID, err)
	}
	views := []mailView{}
	for _, m := range mail {
		v := mailView{Seq: m.Seq}
		switch m.Refused {
		case provider.RefusedNotFound:
			v.Refused = "no such instance"
		case provider.RefusedNotOpen:
			v.Refused = "the instance has ended"
		case provider.RefusedTaken:
			v.Refused = "the ID is taken"
		}
		if e, err := history.DecodeMessage(m.Payload); err != nil {
			v.Error = err.Error()
		} else {
			v.Events = viewEvents(c, []history.Event{e})
		}
		views = append(views, v)
	}
	return views, nil
}

func (s *session) tasks(ctx context.Context, in *provider.Instance, around *surroundings) ([]taskView, error) {
	tasks, err := s.inspector.Tasks(ctx, in.Key)
	if err != nil {
		return nil, fmt.Errorf("tasks of instance %q: %w", in.ID, err)
	}
	views := []taskView{}
	for _, t := range tasks {
		v := taskView{
			Command: t.Command, Execution: t.Execution, Name: t.Name, Pool: t.Pool, Attempt: t.Attempt, State: "waiting",
			Session: t.Session, Token: durango.TokenOf(t),
		}
		switch {
		case t.Parked:
			v.State, v.ExpiresAt = "parked", timestamp(t.VisibleAt)
		case t.Holder != 0:
			v.State, v.HeldSince = "running", timestamp(t.HeldSince)
			v.Node = around.nodes[t.Holder].Info.Name
		case t.VisibleAt > around.now:
			v.State, v.VisibleAt = "backoff", timestamp(t.VisibleAt)
		default:
			v.WaitingSince = timestamp(t.VisibleAt)
		}
		if len(t.Failure) > 0 {
			if e, err := history.DecodeMessage(t.Failure); err != nil {
				v.Failure = "cannot be decoded"
			} else if e.Failure != nil {
				v.Failure = around.client.Readable(e).Failure.String()
			}
		}
		views = append(views, v)
	}
	return views, nil
}

func (s *session) values(ctx context.Context, in *provider.Instance, c *durango.Client) ([]valueView, error) {
	values, err := s.inspector.Values(ctx, in.Key)
	if err != nil {
		return nil, fmt.Errorf("values of instance %q: %w", in.ID, err)
	}
	views := []valueView{}
	for _, v := range values {
		payload, _, err := history.DecodeRaw(v.Payload)
		if err != nil {
			return nil, fmt.Errorf("value %q of instance %q: %w", v.Name, in.ID, err)
		}
		views = append(views, valueView{v.Name, rawJSON(c.ReadableValue(payload))})
	}
	return views, nil
}

// write shows everything to a person: what it is, what it waits for, how it
// came there.
func (v *showView) write(w io.Writer, in *provider.Instance, around *surroundings) {
	i := &v.Instance
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-14s %s\n", name, plain(value))
		}
	}
	field("ID", i.ID)
	field("Orchestration", strings.TrimSpace(i.Name+" "+i.Version))
	field("Status", i.Status)
	if i.Execution > 1 {
		field("Execution", fmt.Sprint(i.Execution))
	}
	field("Parent", i.Parent)
	field("Created", clock(in.CreatedAt)+" ("+age(in.CreatedAt, around.now)+" ago)")
	if in.ClosedAt != 0 {
		field("Closed", clock(in.ClosedAt)+" (after "+span(time.Duration(in.ClosedAt-in.CreatedAt))+")")
	}
	if since := around.waitingSince(in); since != 0 {
		field("Waiting since", clock(since)+" ("+age(since, around.now)+" ago) for a node to take it")
	}
	field("Custom status", payload(around.client.ReadableValue(in.CustomStatus)))
	if out := i.Outcome; out != nil {
		field("Output", payload(out.Output))
		field("Reason", out.Reason)
		for f, name := out.Error, "Error"; f != nil; f, name = f.Cause, "  caused by" {
			field(name, strings.TrimSpace(f.Message+" "+bracket(f.Code)+bracket(f.Type)))
		}
	}
	if i.TurnFailure != "" && in.Status == provider.Suspended {
		fmt.Fprintf(w, "\nIt was stopped at %s:\n%s\n", clock(in.FailedAt), indent(lines(i.TurnFailure), "  "))
	} else if i.TurnFailure != "" {
		next := "it is tried again"
		if !in.Status.Runnable() {
			next = "see 'quarantine show'"
		}
		fmt.Fprintf(w, "\nThe last turn failed at %s (attempts: %d); %s:\n%s\n",
			clock(in.FailedAt), i.Attempts, next, indent(lines(i.TurnFailure), "  "))
	} else if i.Outcome == nil {
		field("Note", i.Note)
	}

	if aside := v.undecodable(); len(aside) > 0 {
		field("Put aside", "messages that cannot be decoded, by turn "+strings.Join(aside, ", "))
	}
	if len(v.Values) > 0 {
		fmt.Fprintf(w, "\nValues\n")
	}
	for _, value := range v.Values {
		fmt.Fprintf(w, "  %s  %s\n", plain(value.Name), plain(payload(value.Content)))
	}
	fmt.Fprintf(w, "\nHistory (%d turns)\n", len(v.Turns))
	execution := int64(0)
	for _, t := range v.Turns {
		if t.Execution != execution && i.Execution > 1 {
			fmt.Fprintf(w, "  execution %d\n", t.Execution)
		}
		execution = t.Execution
		fmt.Fprintf(w, "  turn %d  %s\n", t.Number, t.Time.Format("2006-01-02T15:04:05.000Z"))
		for _, e := range t.Deliveries {
			fmt.Fprintf(w, "    <- %s\n", plain(e.Readable))
		}
		for _, e := range t.Commands {
			fmt.Fprintf(w, "    -> %s\n", plain(e.Readable))
		}
		if t.Error != "" {
			fmt.Fprintf(w, "    !! %s\n", plain(t.Error))
		}
	}
	v.writeMailbox(w)
	v.writeTasks(w, around)
}

// undecodable returns the turns that put a message aside.
func (v *showView) undecodable() (turns []string) {
	for i := range v.Turns {
		for j := range v.Turns[i].Deliveries {
			if v.Turns[i].Deliveries[j].Kind == history.Undecodable.String() {
				turns = append(turns, strconv.FormatInt(v.Turns[i].Number, 10))
			}
		}
	}
	return turns
}

func (v *showView) writeMailbox(w io.Writer) {
	if len(v.Mailbox) == 0 {
		return
	}
	fmt.Fprintf(w, "\nMailbox (%d unread)\n", v.Instance.Unread)
	for _, m := range v.Mailbox {
		text := m.Error
		for _, e := range m.Events {
			text = e.Readable
		}
		if m.Refused != "" {
			text += " (refused: " + m.Refused + ")"
		}
		fmt.Fprintf(w, "  %d  %s\n", m.Seq, plain(text))
	}
	if more := v.Instance.Unread - int64(len(v.Mailbox)); more > 0 {
		fmt.Fprintf(w, "  … and %d more\n", more)
	}
}

func (v *showView) writeTasks(w io.Writer, around *surroundings) {
	if len(v.Tasks) == 0 {
		return
	}
	fmt.Fprintf(w, "\nTasks\n")
	for _, t := range v.Tasks {
		fmt.Fprintf(w, "  #%d %s  attempt %d, %s", t.Command, plain(t.Name), t.Attempt, t.State)
		if t.HeldSince != nil {
			fmt.Fprintf(w, " for %s on %s", age(t.HeldSince.UnixNano(), around.now), plain(dash(t.Node)))
		}
		if since := t.WaitingSince; since != nil {
			fmt.Fprintf(w, " since %s (%s ago) for a node to take it", clock(since.UnixNano()), age(since.UnixNano(), around.now))
		}
		if t.VisibleAt != nil {
			fmt.Fprintf(w, " for %s", span(time.Duration(t.VisibleAt.UnixNano()-around.now)))
		}
		if t.Session != "" {
			fmt.Fprintf(w, ", session %s", plain(t.Session))
		}
		if t.ExpiresAt != nil {
			fmt.Fprintf(w, ", expires in %s", span(time.Duration(t.ExpiresAt.UnixNano()-around.now)))
		}
		fmt.Fprintln(w)
		if t.Token != "" {
			fmt.Fprintf(w, "     to complete with %s\n", t.Token)
		}
		if t.Failure != "" {
			fmt.Fprintf(w, "     last failure: %s\n", plain(t.Failure))
		}
	}
}

func payload(p []byte) string {
	if len(p) == 0 {
		return ""
	}
	return history.FormatPayload(p)
}

func bracket(s string) string {
	if s == "" {
		return ""
	}
	return "[" + s + "]"
}

func indent(s, with string) string {
	return with + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+with)
}
