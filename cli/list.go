package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"

	"github.com/spf13/cobra"
)

// instanceView is an instance as JSON has it.
type instanceView struct {
	ID            string          `json:"id"`
	Key           string          `json:"key"`
	Name          string          `json:"name"`
	Version       string          `json:"version,omitempty"`
	Status        string          `json:"status"`
	Execution     int64           `json:"execution"`
	Turns         int64           `json:"turns"`
	Parent        string          `json:"parent,omitempty"`
	CreatedAt     *time.Time      `json:"created_at"`
	UpdatedAt     *time.Time      `json:"updated_at"`
	ClosedAt      *time.Time      `json:"closed_at,omitempty"`
	DueAt         *time.Time      `json:"due_at,omitempty"`
	WaitingSince  *time.Time      `json:"waiting_since,omitempty"`
	Unread        int64           `json:"unread_messages"`
	CustomStatus  json.RawMessage `json:"custom_status,omitempty"`
	Outcome       *outcomeView    `json:"outcome,omitempty"`
	TurnFailure   string          `json:"turn_failure,omitempty"`
	TurnFailureAt *time.Time      `json:"turn_failure_at,omitempty"`
	Attempts      int64           `json:"attempts,omitempty"`
	Note          string          `json:"note,omitempty"`
}

// outcomeView is how an instance ended.
type outcomeView struct {
	Output json.RawMessage `json:"output,omitempty"`
	Error  *failureView    `json:"error,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

type failureView struct {
	Code    string          `json:"code,omitempty"`
	Message string          `json:"message"`
	Type    string          `json:"type,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
	Final   bool            `json:"final,omitempty"`
	Cause   *failureView    `json:"cause,omitempty"`
}

func viewFailure(f *history.Failure) *failureView {
	if f == nil {
		return nil
	}
	return &failureView{f.Code, f.Message, f.Type, rawJSON(f.Detail), f.Final, viewFailure(f.Cause)}
}

func viewOutcome(c *durango.Client, b []byte) *outcomeView {
	if len(b) == 0 {
		return nil
	}
	end, err := history.DecodeMessage(b)
	if err != nil {
		return &outcomeView{Reason: "cannot be decoded: " + err.Error()}
	}
	end = c.Readable(end)
	return &outcomeView{rawJSON(end.Payload), viewFailure(end.Failure), end.Text}
}

// surroundings is what tells why an instance does not move.
type surroundings struct {
	now    int64
	nodes  map[provider.NodeKey]provider.NodeView
	alive  int
	client *durango.Client // reads what is stored; nil: as it is
}

func (s *session) surroundings(ctx context.Context) (*surroundings, error) {
	d, err := s.store.Describe(ctx)
	if err != nil {
		return nil, fmt.Errorf("describe the store: %w", err)
	}
	nodes, err := s.inspector.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	around := &surroundings{now: d.Now, nodes: map[provider.NodeKey]provider.NodeView{}, client: s.client}
	for _, n := range nodes {
		around.nodes[n.Key] = n
		if !n.Gone && !n.Dead {
			around.alive++
		}
	}
	return around, nil
}

// patience is how long something may be due before that is worth a note:
// longer than an idle node needs to look.
const patience = 5 * time.Second

// waitingSince is since when an instance could run and no node has taken it, or
// zero.
func (a *surroundings) waitingSince(i *provider.Instance) int64 {
	if i.Owner != 0 || !i.Status.Runnable() || i.WakeAt > a.now {
		return 0
	}
	return max(i.WakeAt, i.CreatedAt)
}

// note says what a person would want to know first.
func (a *surroundings) note(i *provider.Instance) string {
	due, since := i.ComputeWakeAt(a.now), a.waitingSince(i)
	owner, owned := a.nodes[i.Owner]
	switch {
	case !i.Status.Open():
		if out := viewOutcome(a.client, i.Outcome); out != nil && out.Error != nil {
			return out.Error.Message
		} else if out != nil {
			return out.Reason
		}
		return ""
	case turnFailure(i) != "" && i.Status == provider.Suspended:
		return brief(turnFailure(i), 1000)
	case turnFailure(i) != "":
		return "turn failed: " + brief(turnFailure(i), 1000)
	case !i.Status.Runnable():
		return ""
	case a.alive == 0 && (i.Owner != 0 || due <= a.now):
		return "no node is running"
	case i.Owner != 0 && (!owned || owner.Gone || owner.Dead):
		return "its node is gone; another will take over"
	case i.Owner == 0 && i.NotBefore > a.now && i.Status == provider.Pending:
		return "starts in " + span(time.Duration(i.NotBefore-a.now))
	case since != 0 && a.now-since > int64(patience):
		return "no live node takes " + strings.TrimSpace(i.Name+" "+i.Version) + "; waiting for " + age(since, a.now)
	case i.DueAt > a.now && i.DueAt != provider.Never:
		return "timer in " + span(time.Duration(i.DueAt-a.now))
	}
	return ""
}

func (a *surroundings) view(i *provider.Instance) instanceView {
	return instanceView{
		ID: i.ID, Key: strconv.FormatInt(int64(i.Key), 10), Name: i.Name, Version: i.Version,
		Status: i.Status.String(), Execution: i.Execution, Turns: i.NextTurn - 1, Parent: i.Parent.ID,
		CreatedAt: timestamp(i.CreatedAt), UpdatedAt: timestamp(i.UpdatedAt), ClosedAt: timestamp(i.ClosedAt),
		DueAt: timestamp(i.DueAt), WaitingSince: timestamp(a.waitingSince(i)), Unread: i.MailboxSeq - i.ReadSeq,
		CustomStatus: rawJSON(a.client.ReadableValue(i.CustomStatus)), Outcome: viewOutcome(a.client, i.Outcome),
		TurnFailure: turnFailure(i), TurnFailureAt: timestamp(i.FailedAt), Attempts: i.Attempts, Note: a.note(i),
	}
}

// turnFailure is why the last turn failed, or empty.
func turnFailure(i *provider.Instance) string {
	if f := provider.ParseTurnFailure(i.TurnFailure); f.Failed() {
		return f.Message
	}
	return ""
}

type listFlags struct {
	statuses              []string
	name, prefix, version string
	parent                string
	from, before          string
	failed                bool
	waiting               time.Duration // negative: all
	limit                 int
	after                 string
}

func (a *app) listCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List instances, newest first",
		Example: `  durango list --status running,pending --name fulfil
  durango list --failed --created-after 24h
  durango list --waiting=1m
  durango list --limit 50 --after 1893456000000000001`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query(time.Now(), cmd.Flags().Changed("waiting"))
			if err != nil {
				return err
			}
			return a.with(reading, func(s *session) error { return a.list(cmd, s, q, f.waiting) })
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.statuses, "status", nil, "only these statuses, as in running,failed")
	flags.StringVar(&f.name, "name", "", "only this orchestration; a * at the end makes it a prefix")
	flags.StringVar(&f.version, "version", "", "only this version of the orchestration")
	flags.StringVar(&f.prefix, "id-prefix", "", "only IDs that begin so")
	flags.StringVar(&f.parent, "parent", "", "only children of this instance")
	flags.StringVar(&f.from, "created-after", "", "created at or after: an RFC 3339 time, or an age as in 24h")
	flags.StringVar(&f.before, "created-before", "", "created before: an RFC 3339 time, or an age as in 24h")
	flags.BoolVar(&f.failed, "failed", false, "only open instances whose last turn failed")
	flags.DurationVar(&f.waiting, "waiting", -1, "only instances that are due and that no node has taken for this long")
	flags.Lookup("waiting").NoOptDefVal = patience.String()
	flags.Lookup("waiting").DefValue = ""
	flags.IntVar(&f.limit, "limit", 100, "at most this many")
	flags.StringVar(&f.after, "after", "", "continue behind the page that named this key")
	return cmd
}

func (f *listFlags) query(now time.Time, changed bool) (q provider.Query, err error) {
	q = provider.Query{
		Version: f.version, IDPrefix: f.prefix, Parent: f.parent, TurnFailed: f.failed, Limit: f.limit,
	}
	if prefix, ok := strings.CutSuffix(f.name, "*"); ok {
		q.NamePrefix = prefix
	} else {
		q.Name = f.name
	}
	for _, text := range f.statuses {
		st := parseStatus(text)
		if st == 0 {
			return q, Usagef("--status: %q is none of %s", text, strings.Join(statusNames(), ", "))
		}
		q.Statuses = append(q.Statuses, st)
	}
	if f.waiting < 0 && changed {
		return q, Usagef("--waiting: %s is negative", f.waiting)
	}
	if f.limit < 1 {
		return q, Usagef("--limit: %d is not positive", f.limit)
	}
	if f.after != "" {
		key, err := strconv.ParseInt(f.after, 10, 64)
		if err != nil || key <= 0 {
			return q, Usagef("--after: %q is not a key; take the one that the previous page ended with", f.after)
		}
		q.After = provider.Key(key)
	}
	if q.CreatedFrom, err = parseTime("--created-after", f.from, now); err != nil {
		return q, err
	}
	q.CreatedBefore, err = parseTime("--created-before", f.before, now)
	return q, err
}

func statusNames() (names []string) {
	for s := provider.Pending; s <= provider.Quarantined; s++ {
		names = append(names, strings.ToLower(s.String()))
	}
	return names
}

func parseStatus(text string) provider.Status {
	for s := provider.Pending; s <= provider.Quarantined; s++ {
		if strings.EqualFold(s.String(), text) {
			return s
		}
	}
	return 0
}

// parseTime reads a time, or an age before now.
func parseTime(flag, text string, now time.Time) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UnixNano(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixNano(), nil
		}
	}
	return 0, Usagef("%s: %q is neither a time (2026-01-31T08:00:00Z) nor an age (24h)", flag, text)
}

func (a *app) list(cmd *cobra.Command, s *session, q provider.Query, waiting time.Duration) error {
	ctx := cmd.Context()
	around, err := s.surroundings(ctx)
	if err != nil {
		return err
	}
	if waiting >= 0 {
		q.WaitingSince = around.now - int64(waiting)
		if young := q.WaitingSince + 1; q.CreatedBefore == 0 || q.CreatedBefore > young {
			q.CreatedBefore = young // who is younger is due since ever, but has not waited so long
		}
	}
	page, err := s.inspector.List(ctx, q)
	if err != nil {
		return fmt.Errorf("list instances: %w", err)
	}
	doc := struct {
		Instances []instanceView `json:"instances"`
		Next      string         `json:"next,omitempty"`
	}{Instances: []instanceView{}}
	var rows [][]string
	for i := range page.Instances {
		in := &page.Instances[i]
		v := around.view(in)
		doc.Instances = append(doc.Instances, v)
		rows = append(rows, []string{
			v.ID, v.Name, dash(v.Version), v.Status, strconv.FormatInt(v.Execution, 10),
			age(in.CreatedAt, around.now), brief(v.Note, 60),
		})
	}
	if page.Next != 0 {
		doc.Next = strconv.FormatInt(int64(page.Next), 10)
	}
	return a.print(cmd, doc, func(w io.Writer) {
		if len(rows) == 0 {
			fmt.Fprintln(w, "no instances")
			return
		}
		table(w, []string{"ID", "NAME", "VERSION", "STATUS", "EXECUTION", "AGE", "NOTE"}, rows)
		if doc.Next != "" {
			fmt.Fprintf(w, "more: --after %s\n", doc.Next)
		}
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
