package durango

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/provider"
)

// Verdict says whether the code registered with a runtime can go on with an
// instance.
type Verdict string

// The verdicts.
const (
	// Compatible: the code asks for what is recorded, or nothing is recorded
	// yet that it could differ from.
	Compatible Verdict = "compatible"
	// Incompatible: it does not, or it fails while it is replayed.
	Incompatible Verdict = "incompatible"
	// Unknown: the runtime has no code for it ([ErrNotRegistered]), or its
	// history cannot be read.
	Unknown Verdict = "unknown"
)

// CheckOptions say what [Runtime.Check] looks at. The zero value of each field
// stands for the default it names.
type CheckOptions struct {
	// Name and Version select by orchestration, IDPrefix by instance ID.
	// Default: all.
	Name, Version, IDPrefix string
	// Sample bounds the instances looked at of each orchestration and version;
	// the newest are taken. Default: all.
	Sample int
	// Concurrency bounds the histories that are replayed at once. Default: the
	// number of processors.
	Concurrency int
	// MaxFindings bounds the findings that the report keeps for each
	// orchestration and version. Default 100; negative: all.
	MaxFindings int
	// Each, unless nil, is called with every finding, compatible ones included,
	// in no particular order and by one goroutine at a time. Its error ends the
	// check, which returns it.
	Each func(*Finding) error
}

// Finding is what a check has found of one instance.
type Finding struct {
	// ID is the instance's, Name and Version are the orchestration's. Version is
	// what the instance asks for as long as it has no turn.
	ID, Name, Version string
	Status            Status
	Verdict           Verdict
	// Turns is how many turns were replayed.
	Turns int
	// Err says why the verdict is not Compatible: a *[ReplayError], or what is
	// wrong with the history.
	Err error
	// Warnings is how many commands had another payload, time or version.
	Warnings int

	key  provider.Key
	held bool // by an earlier check
}

// CheckedGroup counts what a check has found of one version of an
// orchestration.
type CheckedGroup struct {
	Name, Version                              string
	Compatible, Incompatible, Unknown, Skipped int
	// Warned counts the compatible ones with payloads, times or versions that
	// the code would give differently.
	Warned int
	// Findings are the incompatible and unknown ones by ID, at most MaxFindings.
	Findings []Finding
}

// Report is what [Runtime.Check] has found.
type Report struct {
	// Skipped are those beyond CheckOptions.Sample.
	Compatible, Incompatible, Unknown, Skipped int
	// Groups are in the order of names and versions.
	Groups []CheckedGroup
}

// Check replays the open instances of the store against the code registered
// with r. It tells before an upgrade what the new program cannot go on with,
// and why. It writes nothing, runs no activities, and may be called while
// nodes run, this one included; r need not run.
//
// An instance that has not begun its execution is compatible if there is code
// for it. Those that are suspended or quarantined are looked at too. Histories
// are read page by page, so memory is bounded by CheckOptions.Concurrency and
// by what the report keeps. Check returns [ErrNotSupported] if the store cannot
// list its instances, and with any other error what it has found so far.
func (r *Runtime) Check(ctx context.Context, o CheckOptions) (Report, error) {
	return r.check(ctx, o, true)
}

// check is Check. Without guess it runs no code with made-up results.
func (r *Runtime) check(ctx context.Context, o CheckOptions, guess bool) (Report, error) {
	c := checker{r: r, o: o, guess: guess, groups: map[[2]string]*CheckedGroup{}}
	if o.Concurrency <= 0 {
		c.o.Concurrency = runtime.GOMAXPROCS(0)
	}
	if o.MaxFindings == 0 {
		c.o.MaxFindings = 100
	}
	inspector, err := r.env.client.inspector(ctx)
	if err == nil {
		err = c.run(ctx, inspector)
	}
	if err != nil {
		err = fmt.Errorf("check: %w", fromStore(err))
	}
	return c.report(), err
}

// checker is a check under way.
type checker struct {
	r     *Runtime
	o     CheckOptions
	guess bool

	mu     sync.Mutex
	groups map[[2]string]*CheckedGroup
	err    error // the first
}

// run lists the open instances and has workers replay them.
func (c *checker) run(ctx context.Context, inspector provider.Inspector) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows := make(chan provider.Instance)
	var workers sync.WaitGroup
	for range c.o.Concurrency {
		workers.Go(func() {
			for row := range rows {
				if err := c.look(ctx, &row); err != nil {
					c.stop(err)
					cancel()
				}
			}
		})
	}
	c.stop(c.list(ctx, inspector, rows))
	close(rows)
	workers.Wait()
	return c.err
}

// stop keeps the first error.
func (c *checker) stop(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *checker) list(ctx context.Context, inspector provider.Inspector, rows chan<- provider.Instance) error {
	q := provider.Query{
		Statuses: []provider.Status{provider.Pending, provider.Running, provider.Suspended, provider.Quarantined},
		Name:     c.o.Name, Version: c.o.Version, IDPrefix: c.o.IDPrefix,
	}
	taken := map[[2]string]int{}
	for {
		page, err := inspector.List(ctx, q)
		if err != nil {
			return err
		}
		for _, row := range page.Instances {
			group := [2]string{row.Name, row.Version}
			if taken[group]++; c.o.Sample > 0 && taken[group] > c.o.Sample {
				c.mu.Lock()
				c.group(row.Name, row.Version).Skipped++
				c.mu.Unlock()
				continue
			}
			select {
			case rows <- row:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if q.After = page.Next; q.After == 0 {
			return nil
		}
	}
}

// look judges one instance. Its error is the store's, or that of Each.
func (c *checker) look(ctx context.Context, row *provider.Instance) error {
	f := Finding{
		ID: row.ID, Name: row.Name, Version: row.Version, Status: Status(row.Status), Verdict: Compatible, key: row.Key,
		held: row.Status == provider.Suspended && strings.HasPrefix(row.TurnFailure, heldPrefix),
	}
	ended, err := c.replay(ctx, row, &f)
	if err != nil || ended {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.group(f.Name, f.Version)
	switch f.Verdict {
	case Compatible:
		g.Compatible++
		if f.Warnings > 0 {
			g.Warned++
		}
	case Incompatible:
		g.Incompatible++
	default:
		g.Unknown++
	}
	if f.Verdict != Compatible && (c.o.MaxFindings < 0 || len(g.Findings) < c.o.MaxFindings) {
		g.Findings = append(g.Findings, f)
	}
	if c.o.Each == nil || c.err != nil {
		return nil
	}
	return c.o.Each(&f)
}

// group returns a group, which it makes if it is not there. The caller holds
// c.mu.
func (c *checker) group(name, version string) *CheckedGroup {
	key := [2]string{name, version}
	g := c.groups[key]
	if g == nil {
		g = &CheckedGroup{Name: name, Version: version}
		c.groups[key] = g
	}
	return g
}

// replay replays the current execution of an instance. It reports whether the
// instance has ended meanwhile.
func (c *checker) replay(ctx context.Context, row *provider.Instance, f *Finding) (ended bool, err error) {
	h := pages{ctx: ctx, store: c.r.Store(), row: row}
	p := replayer{guess: c.guess, again: func(turn int64) iter.Seq[*history.Turn] {
		again := pages{ctx: ctx, store: h.store, row: row}
		return again.from(turn)
	}}
	defer p.close()
	begun := false
	for t := range h.from(0) {
		if t.Execution < row.Execution && !begun {
			continue // it continued as this one, which has no turn yet
		}
		begun = true
		f.Turns++
		if f.Err = p.turn(c.r, t); f.Err != nil {
			break
		}
	}
	p.close()
	f.Warnings = len(p.warnings)
	switch {
	case h.gone:
		return true, nil
	case h.err != nil && !h.unreadable:
		return false, h.err
	case h.err != nil:
		f.Err = h.err
	case !begun && c.r.engine.Code(row.Name, row.Version) == nil:
		f.Err = &ReplayError{Instance: row.ID, Execution: row.Execution, Turn: row.NextTurn, Name: row.Name, Version: row.Version, Err: ErrNotRegistered}
	}
	switch {
	case f.Err == nil:
	case h.err != nil, errors.Is(f.Err, ErrNotRegistered), errors.Is(f.Err, history.ErrCorrupt):
		f.Verdict = Unknown
	default:
		f.Verdict = Incompatible
	}
	return false, nil
}

// pages reads the history of an instance page by page.
type pages struct {
	ctx   context.Context
	store provider.Provider
	row   *provider.Instance

	err        error
	unreadable bool // err is about the history, not about the store
	gone       bool
}

// pageBytes is how much of a history is read at a time.
const pageBytes = 256 << 10

// from yields the turns from a number on; zero: those of the current execution,
// and the one before them that continued as it if it has none.
func (h *pages) from(turn int64) iter.Seq[*history.Turn] {
	return func(yield func(*history.Turn) bool) {
		var decoder history.Decoder
		for more := true; more; {
			reply, err := h.store.Load(h.ctx, []provider.LoadRequest{
				{Key: h.row.Key, FromTurn: turn, MaxMail: 1, MaxBytes: pageBytes},
			})
			if err == nil {
				err = reply[0].Err
			}
			switch {
			case errors.Is(err, provider.ErrNotFound), err == nil && !reply[0].Instance.Status.Open():
				h.gone = true
				return
			case err != nil:
				h.err = err
				return
			}
			if turn == 0 {
				*h.row = reply[0].Instance
			}
			for i := range reply[0].Turns {
				row := &reply[0].Turns[i]
				t := history.Turn{Number: row.Number, Execution: row.Execution, CommitID: row.CommitID, Time: row.Time}
				if t.Deliveries, t.Commands, err = decoder.Turn(row.Events); err != nil {
					h.err, h.unreadable = fmt.Errorf("turn %d of instance %q: %w", row.Number, h.row.ID, err), true
					return
				}
				turn = row.Number + 1
				if !yield(&t) {
					return
				}
			}
			more = reply[0].MoreTurns
		}
	}
}

// report puts the groups in order.
func (c *checker) report() (r Report) {
	for _, g := range c.groups {
		slices.SortFunc(g.Findings, func(a, b Finding) int { return strings.Compare(a.ID, b.ID) })
		r.Compatible, r.Incompatible = r.Compatible+g.Compatible, r.Incompatible+g.Incompatible
		r.Unknown, r.Skipped = r.Unknown+g.Unknown, r.Skipped+g.Skipped
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b CheckedGroup) int {
		return strings.Compare(a.Name+"\x00"+a.Version, b.Name+"\x00"+b.Version)
	})
	return r
}
