package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/durango-go/durango/provider"

	"github.com/spf13/cobra"
)

type doctorOptions struct {
	watch  time.Duration // how long beats are watched
	stuck  time.Duration // how long an instance or a task may wait for a node
	limits int           // how many instances are counted, or looked at, at most
}

func (a *app) doctorCommand() *cobra.Command {
	o := doctorOptions{limits: 1000}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Examine the store, and what waits or fails in it",
		Long: "Examine the store, and what waits or fails in it. Nothing is changed.\n" +
			"The exit code is 9 if something is sick, 0 with warnings only.",
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(reading, func(s *session) error { return a.doctor(cmd, s, &o) })
		},
	}
	c.Flags().DurationVar(&o.watch, "watch", 5*time.Second, "how long to wait for the nodes' heartbeats; one that is alone beats every 3 s")
	c.Flags().DurationVar(&o.stuck, "stuck", time.Minute, "how long an instance or a task may be due before it counts as stuck")
	return c
}

type symptomView struct {
	Severity string `json:"severity"`
	Name     string `json:"name"`
	Text     string `json:"text"`
}

// errSick says that an examination has found something sick.
var errSick = errors.New("something is sick")

func (a *app) doctor(cmd *cobra.Command, s *session, o *doctorOptions) error {
	symptoms, err := examine(cmd.Context(), s, o)
	if err != nil {
		return fmt.Errorf("examine the store: %w", err)
	}
	views, rows, worst := []symptomView{}, [][]string{}, provider.Healthy
	for _, y := range symptoms {
		worst = max(worst, y.Severity)
		views = append(views, symptomView{y.Severity.String(), y.Name, y.Text})
		rows = append(rows, []string{y.Severity.String(), y.Name, y.Text})
	}
	err = a.print(cmd, map[string][]symptomView{"symptoms": views}, func(w io.Writer) {
		table(w, []string{"", "WHAT", "FOUND"}, rows)
	})
	if err == nil && worst == provider.Sick {
		err = errSick
	}
	return err
}

// examine looks at everything that every store has, and at what the store has
// to say of itself.
func examine(ctx context.Context, s *session, o *doctorOptions) ([]provider.Symptom, error) {
	d, err := s.store.Describe(ctx)
	if err != nil {
		return nil, err
	}
	var all []provider.Symptom
	add := func(severity provider.Severity, name, format string, args ...any) {
		all = append(all, provider.Symptom{Severity: severity, Name: name, Text: fmt.Sprintf(format, args...)})
	}
	add(provider.Healthy, "store", "%s %s, durability %s", d.Name, d.Version, d.Durability)
	examineContract(&s.contract, add)
	if skew := time.Until(time.Unix(0, d.Now)).Round(time.Second); skew.Abs() > time.Minute {
		add(provider.Warning, "clock", "the store's clock is %s from this machine's; timers go by the store's", skew)
	} else {
		add(provider.Healthy, "clock", "within a minute of this machine's")
	}
	if e, ok := s.store.(provider.Examiner); ok {
		own, err := e.Examine(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	// What cannot be read is a symptom itself, beside those that say why.
	alive, err := examineNodes(ctx, s, o, add)
	if err != nil {
		add(provider.Sick, "nodes", "cannot be read: %v", err)
	}
	if err := examineWork(ctx, s, o, d.Now, alive, add); err != nil {
		add(provider.Sick, "instances", "cannot be read: %v", err)
	}
	return all, ctx.Err()
}

// examineContract says what is spoken, and what the store cannot do.
func examineContract(c *provider.Contract, add adder) {
	if older := c.Older(); older != "" {
		add(provider.Warning, "contract", "version %d: %s", c.Version, older)
	} else {
		add(provider.Healthy, "contract", "version %d", c.Version)
	}
	add(provider.Healthy, "capabilities", "%s", c.Store.Capabilities)
	for _, a := range provider.AllCapabilities() {
		if !a.In(c.Store.Capabilities) {
			add(provider.Healthy, "without "+a.Name, "%s", a.Without)
		}
	}
}

type adder func(severity provider.Severity, name, format string, args ...any)

// examineNodes watches the heartbeats, and counts those that live.
func examineNodes(ctx context.Context, s *session, o *doctorOptions, add adder) (alive int, err error) {
	before, err := s.inspector.Nodes(ctx)
	if err != nil {
		return 0, err
	}
	if len(before) == 0 {
		add(provider.Healthy, "nodes", "none: nothing runs")
		return 0, nil
	}
	beats := map[provider.NodeKey]int64{}
	for _, n := range before {
		beats[n.Key] = n.Beat
	}
	silent := func(n provider.NodeView) bool {
		beat, known := beats[n.Key]
		return !n.Dead && !n.Gone && known && beat == n.Beat
	}
	after := before
	end := time.NewTimer(o.watch)
	defer end.Stop()
	again := time.NewTicker(max(o.watch/20, time.Millisecond))
	defer again.Stop()
	for over := false; !over && slices.ContainsFunc(after, silent); {
		select {
		case <-again.C:
		case <-end.C:
			over = true
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if after, err = s.inspector.Nodes(ctx); err != nil {
			return 0, err
		}
	}
	for _, n := range after {
		switch {
		case n.Dead:
			add(provider.Warning, "node "+n.Info.Name, "buried, and not all of its work returned yet; a node that runs goes on with that")
		case n.Gone:
			add(provider.Warning, "node "+n.Info.Name, "its process %d has ended; its work goes on when another node runs", n.Info.PID)
		case silent(n):
			add(provider.Warning, "node "+n.Info.Name, "process %d did not beat for %s; others declare it dead after their lease", n.Info.PID, o.watch)
		default:
			alive++
		}
	}
	severity := provider.Healthy
	if alive == 0 {
		severity = provider.Sick
	}
	add(severity, "nodes", "%d of %d beat", alive, len(after))
	return alive, nil
}

// examineWork looks for what waits, and what fails.
func examineWork(ctx context.Context, s *session, o *doctorOptions, now int64, alive int, add adder) error {
	since := now - int64(o.stuck) // what is younger is due since ever, but has not waited so long
	stuck, err := s.inspector.List(ctx, provider.Query{WaitingSince: since, CreatedBefore: since + 1, Limit: o.limits})
	if err != nil {
		return err
	}
	if n := len(stuck.Instances); n > 0 {
		first := &stuck.Instances[n-1]
		severity, why := provider.Sick, "no node that runs has its code in that version"
		if alive == 0 {
			why = "no node runs"
		}
		add(severity, "instances", "%s for more than %s, among them %q of %s %s: %s", counted(n, o.limits, "instance is due", "instances are due"),
			o.stuck, first.ID, first.Name, dash(first.Version), why)
	} else {
		add(provider.Healthy, "instances", "none is due for more than %s", o.stuck)
	}
	failing, err := s.inspector.List(ctx, provider.Query{TurnFailed: true, Limit: o.limits})
	if err != nil {
		return err
	}
	if n := len(failing.Instances); n > 0 {
		last := &failing.Instances[0]
		add(provider.Warning, "turns", "%s, among them %q: %s", counted(n, o.limits, "instance fails its turns", "instances fail their turns"),
			last.ID, brief(turnFailure(last), 120))
	} else {
		add(provider.Healthy, "turns", "none fails")
	}
	stats, err := s.inspector.Stats(ctx)
	if err != nil {
		return err
	}
	add(provider.Healthy, "tasks", "%d wait, %d are held", stats.TaskWaiting, stats.TaskHeld)
	if stats.TaskWaiting == 0 {
		return nil
	}
	return examineTasks(ctx, s, o, now, alive, stats.TaskWaiting, add)
}

// overdue are tasks of one kind that are due and that nobody holds.
type overdue struct {
	provider.TaskFilter
	count  int
	oldest provider.Task
}

// examineTasks looks for tasks that no node takes, among those of the instances
// that were begun last: a store has no list of its tasks.
func examineTasks(ctx context.Context, s *session, o *doctorOptions, now int64, alive int, waiting int64, add adder) error {
	running, err := s.inspector.List(ctx, provider.Query{
		Statuses: []provider.Status{provider.Running}, CreatedBefore: now - int64(o.stuck), Limit: o.limits,
	})
	if err != nil {
		return err
	}
	var kinds []*overdue // those with the most tasks first
	for i := 0; i < len(running.Instances) && waiting > 0; i++ {
		tasks, err := s.inspector.Tasks(ctx, running.Instances[i].Key)
		if err != nil {
			return err
		}
		for _, t := range tasks {
			if t.Holder != 0 {
				continue
			}
			waiting--
			if t.Parked || t.VisibleAt >= now-int64(o.stuck) {
				continue
			}
			kind := provider.TaskFilter{Name: t.Name, Pool: t.Pool}
			at := slices.IndexFunc(kinds, func(k *overdue) bool { return k.TaskFilter == kind })
			if at < 0 {
				at = len(kinds)
				kinds = append(kinds, &overdue{TaskFilter: kind, oldest: t})
			}
			kinds[at].count++
			if t.VisibleAt < kinds[at].oldest.VisibleAt {
				kinds[at].oldest = t
			}
		}
	}
	slices.SortStableFunc(kinds, func(a, b *overdue) int { return cmp.Compare(b.count, a.count) })
	for _, k := range kinds[:min(len(kinds), maxKinds)] {
		where := ""
		if k.Pool != "" {
			where = fmt.Sprintf(" in pool %q", k.Pool)
		}
		advice := "register the activity" + where + " with a node that runs; if one has it, it has too few workers"
		if alive == 0 {
			advice = "no node runs"
		}
		add(provider.Warning, "tasks", "%d of %q%s due for more than %s and held by nobody, the oldest for %s (instance %q): %s",
			k.count, k.Name, where, o.stuck, age(k.oldest.VisibleAt, now), k.oldest.InstanceID, advice)
	}
	if more := len(kinds) - maxKinds; more > 0 {
		add(provider.Warning, "tasks", "and of %d other kinds", more)
	}
	if waiting > 0 && running.Next != 0 {
		add(provider.Healthy, "tasks", "those of the %d newest instances were looked at, %d others wait", len(running.Instances), waiting)
	}
	return nil
}

// maxKinds is how many kinds of tasks are told of.
const maxKinds = 10

func counted(n, limit int, one, many string) string {
	switch {
	case n == 1:
		return "1 " + one
	case n >= limit:
		return fmt.Sprintf("%d %s, or more", n, many)
	}
	return fmt.Sprintf("%d %s", n, many)
}
