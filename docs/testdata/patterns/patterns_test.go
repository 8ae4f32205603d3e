package patterns

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/durangotest"
)

var (
	// The lines come in the order of completion, which a crash may change.
	each = durango.DefineOrchestration("digest-each", func(ctx *durango.Context, urls []string) ([]string, error) {
		lines, err := digestEach(ctx, urls)
		slices.Sort(lines)
		return lines, err
	})
	all     = durango.DefineOrchestration("digest-all", digestAll)
	asking  = durango.DefineOrchestration("ask", ask)
	trips   = durango.DefineOrchestration("travel", travel)
	signers = durango.DefineOrchestration("signer", func(ctx *durango.Context, document string) (string, error) {
		return Sign.Call(ctx, document)
	})
	scans    = durango.DefineOrchestration("archive", archive)
	videos   = durango.DefineOrchestration("video", video)
	inboxes  = durango.DefineOrchestration("inbox", inbox)
	oracles  = durango.DefineOrchestration("oracle", oracle)
	visitors = durango.DefineOrchestration("visitor", func(ctx *durango.Context, text string) (string, error) {
		if _, err := Asked.SendFrom(ctx, "oracle", Question{ctx.InstanceID(), text}); err != nil {
			return "", err
		}
		return Replied.Next(ctx).Await(ctx)
	})
)

func program(e *durangotest.Env) []durango.Registrable {
	say := func(name string) func(context.Context, string) (string, error) {
		return func(ctx context.Context, in string) (string, error) {
			e.EffectOnce(ctx, name, in)
			return name + "(" + in + ")", nil
		}
	}
	tell := func(name string) func(context.Context, string) (durango.None, error) {
		return func(ctx context.Context, in string) (durango.None, error) {
			e.EffectOnce(ctx, name, in)
			return durango.None{}, nil
		}
	}
	book := func(name string) func(context.Context, Trip) (string, error) {
		return func(ctx context.Context, t Trip) (string, error) {
			e.EffectOnce(ctx, name)
			return name, nil
		}
	}
	return append(digests(), each, all, asking, trips, signers, videos, scans, Recognize.Bind(recognize), Letter.Bind(letter), inboxes, oracles, visitors, Account.Bind(account),
		Download.Bind(say("download")), Summarize.Bind(say("summarize")), Mail.Bind(tell("mail")),
		BookFlight.Bind(book("flight")), BookHotel.Bind(book("hotel")),
		CancelFlight.Bind(tell("cancel-flight")), CancelHotel.Bind(tell("cancel-hotel")),
		Sign.Bind(askToSign(func(document, token string) error { desk.Store(document, token); return nil })),
		Fetch.Bind(say("fetch")),
		Transcode.Bind(func(ctx context.Context, file string) (string, error) {
			if durango.Info(ctx).Instance == "moved" && moved.CompareAndSwap(false, true) {
				return "", Gone.New(file)
			}
			return "transcoded " + file, nil
		}),
		Pay.Bind(func(context.Context, []string) (string, error) { return "", errors.New("no money") }))
}

var (
	desk  sync.Map // tokens by document
	moved atomic.Bool
)

func check[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// Every pattern does what its text says, also when the process crashes at any
// of its writes.
func TestPatternsSurviveCrashes(t *testing.T) {
	for name, f := range map[string]func(t *testing.T, e *durangotest.Env){
		"versions": func(t *testing.T, e *durangotest.Env) {
			old := Digest.With(durango.CallOptions{Version: "1.0.0"})
			check(t, durangotest.Wait(e, durangotest.Start(e, old, "one", "u")), "summarize(download(u))")
			check(t, durangotest.Wait(e, durangotest.Start(e, Digest, "two", "u")), "summarize(download(u))")
			check(t, strings.Count(strings.Join(e.Effects(), "\n"), "mail summarize"), 1)
		},
		"fan-out": func(t *testing.T, e *durangotest.Env) {
			a := durangotest.Start(e, all.Orchestration, "all", []string{"a", "b", "c"})
			b := durangotest.Start(e, each.Orchestration, "each", []string{"a", "b", "c"})
			check(t, durangotest.Wait(e, a), "summarize(download(a)\ndownload(b)\ndownload(c))")
			check(t, len(durangotest.Wait(e, b)), 3)
		},
		"approval": func(t *testing.T, e *durangotest.Env) {
			yes := durangotest.Start(e, asking.Orchestration, "yes", "tea?")
			late := durangotest.Start(e, asking.Orchestration, "late", "coffee?")
			if err := answer(e.Context(), e.Client(), "yes", "form-1", Answer{"ann", true}); err != nil {
				t.Fatal(err)
			}
			check(t, durangotest.Wait(e, yes), "ann said true")
			check(t, durangotest.Wait(e, late), "nobody answered")
			if err := answer(e.Context(), e.Client(), "late", "form-2", Answer{}); err == nil {
				t.Fatal("an answer that is too late is accepted")
			}
		},
		"large values": func(t *testing.T, e *durangotest.Env) {
			image := bytes.Repeat([]byte("ink "), 50_000)
			out := durangotest.Wait(e, durangotest.Start(e, scans.Orchestration, "scan", Scan{Name: "p1", Image: durango.BlobOf(image)}))
			text, err := out.Text.Bytes(e.Context())
			if err != nil || !bytes.Equal(text, bytes.ToUpper(image)) {
				t.Fatalf("%d bytes, %v", len(text), err)
			}
		},
		"saga": func(t *testing.T, e *durangotest.Env) {
			if _, err := durangotest.Start(e, trips.Orchestration, "trip", Trip{}).Wait(e.Context()); err == nil {
				t.Fatal("the trip was paid")
			}
			got := strings.Join(e.Effects(), "\n")
			hotel, flight := strings.Index(got, "cancel-hotel"), strings.Index(got, "cancel-flight")
			if hotel < 0 || flight < hotel {
				t.Fatalf("not undone in reverse order:\n%s", got)
			}
		},
		"eternal": func(t *testing.T, e *durangotest.Env) {
			run := durangotest.Start(e, Account, "acc", Tally{Deposits: 499})
			for range 3 {
				if err := Deposited.Send(e.Context(), e.Client(), "acc", 5); err != nil {
					t.Fatal(err)
				}
			}
			e.Settle()
			if err := run.Cancel(e.Context(), "enough"); err != nil {
				t.Fatal(err)
			}
			e.Wait("acc")
			info, err := run.Status(e.Context())
			if err != nil {
				t.Fatal(err)
			}
			check(t, string(info.CustomStatus), `{"Deposits":502,"Cents":15}`)
		},
		"patch": func(t *testing.T, e *durangotest.Env) {
			check(t, durangotest.Wait(e, durangotest.Start(e, Letter, "letter", "u")), "summarize(download(u))")
		},
		"mailbox": func(t *testing.T, e *durangotest.Env) {
			run := durangotest.Start(e, inboxes.Orchestration, "inbox", durango.None{})
			for _, u := range []string{"a", "b"} {
				if err := Submitted.Send(e.Context(), e.Client(), "inbox", Job{u}); err != nil {
					t.Fatal(err)
				}
			}
			if err := Closed.Send(e.Context(), e.Client(), "inbox", durango.None{}); err != nil {
				t.Fatal(err)
			}
			check(t, durangotest.Wait(e, run), 2)
		},
		"answers": func(t *testing.T, e *durangotest.Env) {
			o := durangotest.Start(e, oracles.Orchestration, "oracle", durango.None{})
			v := durangotest.Start(e, visitors.Orchestration, "visitor", "tea")
			check(t, durangotest.Wait(e, v), "about tea: yes")
			if err := o.Cancel(e.Context(), ""); err != nil {
				t.Fatal(err)
			}
			e.Wait("oracle")
		},
	} {
		t.Run(name, func(t *testing.T) {
			durangotest.CrashEverywhere(t, func(t *testing.T, e *durangotest.Env) {
				e.Replace(program(e)...)
				f(t, e)
				e.CheckReplay()
			}, program(nil)...)
		})
	}
}

// Whose effects a crash may change: a token that is lost, a file that is gone.
func TestSignedAndMoved(t *testing.T) {
	durangotest.Run(t, func(t *testing.T, e *durangotest.Env) {
		e.Replace(program(e)...)
		run := durangotest.Start(e, signers.Orchestration, "signer", "contract")
		time.Sleep(24 * time.Hour)
		token, ok := desk.Load("contract")
		check(t, ok, true)
		check(t, signed(e.Context(), e.Client(), token.(string), "ann", nil), nil)
		check(t, durangotest.Wait(e, run), "ann")

		check(t, durangotest.Wait(e, durangotest.Start(e, videos.Orchestration, "moved", "u")), "transcoded fetch(u)")
		check(t, strings.Count(strings.Join(e.Effects(), "\n"), "fetch u"), 2)
	})
}
