package durango_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/memory"
)

// DESIGN 8.8: "Error details are cut at 16 KiB", between characters, and it
// shows.
func TestErrorsAreCut(t *testing.T) {
	f, back := stored(t, errors.New("b"+strings.Repeat("ü", 9000)))
	assert.True(t, len(f.Message) <= 16<<10 && utf8.ValidString(f.Message), "%d bytes", len(f.Message))
	assert.True(t, strings.HasSuffix(back.Error(), "ü … (cut)"), back.Error()[len(back.Error())-20:])
	f, _ = stored(t, errors.New(strings.Repeat("x", 16<<10)))
	assert.Equal(t, len(f.Message), 16<<10)
	assert.False(t, strings.Contains(f.Message, "cut"))

	kind := durango.NewError[string]("kind")
	_, back = stored(t, kind.New(sizedText(16<<10-4)))
	detail, ok := kind.From(back)
	assert.True(t, ok && len(detail) == 16<<10-6)
	_, back = stored(t, fmt.Errorf("out: %w", kind.New(sizedText(16<<10+1))))
	_, ok = kind.From(back)
	assert.True(t, !ok && kind.Is(back), back)
	assert.Contains(t, errors.Unwrap(back).Error(), "kind", "its detail of 16385 bytes was left out")
}

// DESIGN 8.8: "a turn has a command and a byte limit", and what goes beyond waits
// in quarantine until the limit, or the code, is changed.
func TestLimitsOfTurns(t *testing.T) {
	for name, tt := range map[string]struct {
		low, high durango.Options
		part      string
	}{
		"commands": {durango.Options{MaxTurnCommands: 49}, durango.Options{MaxTurnCommands: 50}, "more than 49 commands"},
		"bytes":    {durango.Options{MaxTurnBytes: 40_000}, durango.Options{MaxTurnBytes: 50_001}, "Options.MaxTurnBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, store := context.Background(), memory.Open()
				var runs atomic.Int64
				fan := durango.DefineOrchestration("fan", func(ctx *durango.Context, n int) (int, error) {
					runs.Add(1)
					var all []*durango.Future[int]
					for range n {
						all = append(all, limEcho.Go(ctx, sizedText(1000)))
					}
					lengths, err := durango.All(ctx, all...)
					return len(lengths), err
				})
				client, stop := brief(t, store, tt.low, append(limCode(), fan)...)
				small, err := fan.Start(ctx, client, "small", 20)
				assert.NoError(t, err)
				completes(t, small, 20)
				runs.Store(0)
				run, err := fan.Start(ctx, client, "wide", 50)
				assert.NoError(t, err)
				reaches(t, store, "wide", provider.Quarantined)
				q, err := client.Quarantine(ctx, "wide")
				assert.NoError(t, err)
				assert.Equal(t, q.Kind, "limit")
				assert.Contains(t, q.Place, "limits_turns_test.go:")
				assert.Contains(t, q.Cause, tt.part)
				time.Sleep(24 * time.Hour)
				n := runs.Load()
				assert.True(t, n == 5 || n == 6, "%d turns", n)
				stop()
				client, _ = brief(t, store, tt.high, append(limCode(), fan)...)
				assert.NoError(t, client.Release(ctx, "wide"))
				completes(t, fan.Run(client, run.ID()), 50)
			})
		})
	}
}

// Mail of more bytes than a turn takes is taken by several, in its order.
func TestMailIsTakenInPortions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := context.Background(), memory.Open()
		count := durango.DefineOrchestration("count", func(ctx *durango.Context, n int) (string, error) {
			seen := ""
			for range n {
				s, err := limSignal.Next(ctx).Await(ctx)
				if err != nil {
					return "", err
				}
				seen += s[:1]
			}
			return seen, nil
		})
		client := durango.NewClient(store)
		run, err := count.Start(ctx, client, "i", 20)
		assert.NoError(t, err)
		order := ""
		for i := range 20 {
			letter := string(rune('a' + i))
			order += letter
			assert.NoError(t, limSignal.Send(ctx, client, "i", letter+sizedText(10_000)))
		}
		brief(t, store, durango.Options{MaxTurnBytes: 35_000}, count)
		completes(t, run, order)
		info, err := run.Status(ctx)
		assert.NoError(t, err)
		assert.Equal(t, info.Turns, int64(5)) // four signals reach the limit
	})
}

// A history that grows long is mentioned once per execution, and the code can
// see it coming.
func TestHistoryWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store, lines := context.Background(), memory.Open(), &logLines{}
		prog := durango.NewOrchestration[int, int]("prog")
		longest := 0
		code := prog.Bind(func(ctx *durango.Context, rounds int) (int, error) {
			for {
				if err := ctx.Sleep(time.Second); err != nil {
					return 0, err
				}
				if longest = max(longest, ctx.HistoryLength()); ctx.HistoryLength() < 60 {
					continue
				}
				if rounds == 1 {
					return ctx.HistoryLength(), nil
				}
				return prog.ContinueAsNew(ctx, rounds-1)
			}
		})
		o := durango.Options{WarnHistory: 50, MaxHot: 1, Logger: slog.New(lines)}
		run := func(d time.Duration) {
			rt, err := durango.New(store, o)
			assert.NoError(t, err)
			rt.Register(code)
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			assert.NoError(t, rt.Run(ctx))
		}
		client := durango.NewClient(store)
		_, err := prog.Start(ctx, client, "i", 2)
		assert.NoError(t, err)
		for range 10 { // replays, between and behind the warnings
			run(7 * time.Second)
		}
		completes(t, prog.Run(client, "i"), 60)
		assert.Equal(t, longest, 60)
		warned := 0
		for _, line := range lines.all() {
			if strings.Contains(line, "history grows long") {
				warned++
			}
		}
		assert.Equal(t, warned, 2)
	})
}

// logLines keeps the messages that are logged.
type logLines struct{ lines atomic.Pointer[[]string] }

func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }
func (l *logLines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logLines) WithGroup(string) slog.Handler            { return l }
func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	for {
		old := l.lines.Load()
		next := []string{r.Message}
		if old != nil {
			next = append(append([]string(nil), *old...), r.Message)
		}
		if l.lines.CompareAndSwap(old, &next) {
			return nil
		}
	}
}
func (l *logLines) all() []string {
	if p := l.lines.Load(); p != nil {
		return *p
	}
	return nil
}

// DESIGN 8.8: "Sizes are histograms from which p50, p99 and max can be read."
func TestSizes(t *testing.T) {
	ctx := deadline(t)
	rt, err := durango.New(memory.Open(), durango.Options{Logger: slog.New(slog.DiscardHandler)})
	assert.NoError(t, err)
	rt.Register(limCode()...)
	node, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- rt.Run(node) }()
	for i := range 100 {
		size := 1000
		if i == 99 {
			size = 300 << 10 // refused, and counted
		}
		run, err := limProbe.Start(ctx, rt.Client(), fmt.Sprint(i), probe{Do: "activity", Size: size})
		assert.NoError(t, err)
		assert.NoError(t, limGo.Send(ctx, rt.Client(), run.ID(), 1))
		_, err = run.Wait(ctx)
		assert.Equal(t, errors.Is(err, durango.ErrTooLarge), i == 99)
	}
	stop()
	assert.NoError(t, <-done)
	sizes := rt.Sizes()
	in := sizes[durango.SizeActivityInput]
	assert.True(t, in.Count >= 100, in.Count) // a first turn may be taken twice
	assert.Equal(t, in.Max, int64(300<<10))
	assert.True(t, in.Quantile(0.5) >= 1000 && in.Quantile(0.5) < 1250, in.Quantile(0.5))
	assert.Equal(t, in.Quantile(1), int64(300<<10))
	out := sizes[durango.SizeActivityOutput]
	assert.Equal(t, out.Count, int64(99))
	assert.Equal(t, out.Quantile(0.99), int64(3)) // 998
	for kind, s := range sizes {
		assert.True(t, kind == durango.SizeState || s.Count > 0, kind)
		assert.True(t, s.Quantile(0.5) <= s.Quantile(0.99) && s.Quantile(0.99) <= s.Max, kind)
	}
	assert.Equal(t, len(sizes), 9)
	assert.Equal(t, durango.SizeSummary{}.Quantile(0.99), int64(0))
}
