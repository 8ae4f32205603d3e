package history_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

// testdata/v1 holds what version 1 of the format looks like. Every later
// version of this package must read these files as it did when they were
// written, so they are never changed or removed, and -update only adds. A
// file has the fields of the events, and their encoding:
//
//	-- turn --            or message
//	Delivery[0]:
//	  Kind: 2 ActivityCompleted
//	-- bytes --
//	0100…
func TestGoldenFiles(t *testing.T) {
	dir := filepath.Join("testdata", "v1")
	if *update {
		writeGolden(t, dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.golden"))
	assert.NoError(t, err)
	assert.True(t, len(files) >= 30, "%d golden files: some are missing", len(files))
	kinds := map[history.Kind]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			assert.NoError(t, err)
			form, enc := parseGolden(t, string(text))
			var deliveries, commands []history.Event
			if form == "turn" {
				deliveries, commands, err = history.DecodeTurn(enc)
			} else {
				commands = make([]history.Event, 1)
				commands[0], err = history.DecodeMessage(enc)
			}
			assert.NoError(t, err)
			assert.Equal(t, formatGolden(form, deliveries, commands, enc), string(text))
			for _, e := range append(deliveries, commands...) {
				kinds[e.Kind] = true
			}
		})
	}
	for k := range 256 {
		assert.Equal(t, kinds[history.Kind(k)], history.Kind(k).Known(), "golden file of kind %v", history.Kind(k))
	}
}

// The encoder of version 1 still writes version 1, byte by byte. This is what
// changes, together with the directory, when there is a version 2.
func TestEncodingIsGolden(t *testing.T) {
	for _, c := range goldenCases() {
		t.Run(c.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("v%d", history.FormatVersion), c.name+".golden"))
			assert.NoError(t, err, "run with -update to add it")
			_, enc := parseGolden(t, string(text))
			assert.Equal(t, hex.EncodeToString(history.AppendMessage(nil, &c.event)), hex.EncodeToString(enc))
		})
	}
}

// Every field of every recorded struct is in some golden file.
func TestGoldenCasesCoverEveryField(t *testing.T) {
	seen := map[string]bool{}
	var visit func(v reflect.Value)
	visit = func(v reflect.Value) {
		for i := range v.NumField() {
			f := v.Field(i)
			if f.IsZero() {
				continue
			}
			seen[v.Type().Name()+"."+v.Type().Field(i).Name] = true
			if f.Kind() == reflect.Pointer {
				visit(f.Elem())
			}
		}
	}
	for _, c := range goldenCases() {
		visit(reflect.ValueOf(c.event))
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[history.Event](), reflect.TypeFor[history.Failure](),
		reflect.TypeFor[history.Policy](), reflect.TypeFor[history.Parent](),
	} {
		for i := range typ.NumField() {
			name := typ.Name() + "." + typ.Field(i).Name
			assert.True(t, seen[name], "no golden case sets %s", name)
		}
	}
}

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	assert.NoError(t, os.MkdirAll(dir, 0o755))
	write := func(name, text string) {
		f, err := os.OpenFile(filepath.Join(dir, name+".golden"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if os.IsExist(err) {
			return
		}
		assert.NoError(t, err)
		_, err = f.WriteString(text)
		assert.NoError(t, err)
		assert.NoError(t, f.Close())
	}
	var deliveries, commands []history.Event
	for _, c := range goldenCases() {
		enc := history.AppendMessage(nil, &c.event)
		write(c.name, formatGolden("message", nil, []history.Event{c.event}, enc))
		if c.event.Kind.Delivery() {
			deliveries = append(deliveries, c.event)
		} else {
			commands = append(commands, c.event)
		}
	}
	write("turn-all", formatGolden("turn", deliveries, commands, history.AppendTurn(nil, deliveries, commands)))
	write("turn-empty", formatGolden("turn", nil, nil, history.AppendTurn(nil, nil, nil)))
	deliveries, commands = typicalTurn()
	write("turn-typical", formatGolden("turn", deliveries, commands, history.AppendTurn(nil, deliveries, commands)))
	p, long := history.NewPacker(1), []history.Event{largeEvent()}
	write("packed-message", formatGolden("message", nil, long, p.Pack(history.AppendMessage(nil, &long[0]))))
	write("packed-turn", formatGolden("turn", long, commands, p.Pack(history.AppendTurn(nil, long, commands))))
}

func formatGolden(form string, deliveries, commands []history.Event, enc []byte) string {
	var b strings.Builder
	b.WriteString("-- " + form + " --\n")
	for i := range deliveries {
		fmt.Fprintf(&b, "Delivery[%d]:\n", i)
		dump(&b, reflect.ValueOf(deliveries[i]), "  ")
	}
	for i := range commands {
		if form == "turn" {
			fmt.Fprintf(&b, "Command[%d]:\n", i)
		} else {
			b.WriteString("Event:\n")
		}
		dump(&b, reflect.ValueOf(commands[i]), "  ")
	}
	b.WriteString("-- bytes --\n")
	for len(enc) > 0 {
		n := min(len(enc), 40)
		b.WriteString(hex.EncodeToString(enc[:n]) + "\n")
		enc = enc[n:]
	}
	return b.String()
}

func parseGolden(t *testing.T, text string) (form string, enc []byte) {
	t.Helper()
	head, digits, ok := strings.Cut(text, "-- bytes --\n")
	assert.True(t, ok, "no bytes in golden file")
	form, _, _ = strings.Cut(strings.TrimPrefix(head, "-- "), " ")
	enc, err := hex.DecodeString(strings.ReplaceAll(digits, "\n", ""))
	assert.NoError(t, err)
	return form, enc
}

// dump writes the fields that are set, one a line. A field that is added later
// is not set in what exists, so it does not show.
func dump(b *strings.Builder, v reflect.Value, indent string) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if f.IsZero() {
			continue
		}
		switch x := f.Interface().(type) {
		case []history.Event:
			for i := range x {
				fmt.Fprintf(b, "%s%s[%d]:\n", indent, name, i)
				dump(b, reflect.ValueOf(x[i]), indent+"  ")
			}
			continue
		case history.Kind:
			fmt.Fprintf(b, "%s%s: %d %v\n", indent, name, uint8(x), x)
			continue
		case []byte, string, []string, map[string]string:
			fmt.Fprintf(b, "%s%s: %q\n", indent, name, x)
			continue
		}
		switch f.Kind() {
		case reflect.Pointer:
			fmt.Fprintf(b, "%s%s:\n", indent, name)
			dump(b, f.Elem(), indent+"  ")
		default:
			fmt.Fprintf(b, "%s%s: %v\n", indent, name, f.Interface())
		}
	}
}

type goldenCase struct {
	name  string
	event history.Event
}

// goldenCases has every kind with the fields it is documented to have, and
// then what the fields may hold.
func goldenCases() []goldenCase {
	payload := []byte(`{"id":"o-17","cents":990}`)
	declined := &history.Failure{
		Code: "card-declined", Message: "declined: limit", Type: "*bank.Error", Detail: []byte(`{"limit":5}`), Final: true,
		Cause: &history.Failure{Message: "402 Payment Required"},
	}
	policy := &history.Policy{
		StartToClose: 30e9, ScheduleToClose: 600e9, ScheduleToStart: 60e9, Heartbeat: 5e9, MaxAttempts: 5,
		Backoff: history.BackoffLinear, Initial: 1e9, MaxInterval: 60e9, Factor: 2.5, Jitter: 0.1,
		NonRetryable: []string{"card-declined", "fraud"},
	}
	signal := history.Event{Kind: history.SignalReceived, Name: "approved", Payload: []byte(`{"by":"ann"}`)}
	const at = 1767323045_250000000
	cases := []goldenCase{
		{"", history.Event{
			Kind: history.Started, Name: "fulfil", Version: "1.2.0", Payload: payload,
			Parent: &history.Parent{Key: 1 << 40, ID: "order-7", Execution: 2, Seq: 5},
		}},
		{"", history.Event{Kind: history.ActivityCompleted, Ref: 3, Attempt: 2, Payload: []byte("true")}},
		{"", history.Event{Kind: history.ActivityFailed, Ref: 3, Attempt: 5, Failure: declined}},
		{"", history.Event{Kind: history.TimerFired, Ref: 4}},
		{"", signal},
		{"", history.Event{Kind: history.ChildCompleted, Ref: 5, Payload: []byte("null")}},
		{"", history.Event{Kind: history.ChildFailed, Ref: 5, Failure: declined}},
		{"", history.Event{Kind: history.CancelRequested, Text: "the customer left"}},
		{"", history.Event{Kind: history.SignalRefused, Ref: 6, Failure: &history.Failure{Code: "durango/not-found"}}},
		{"", history.Event{
			Kind: history.ActivityScheduled, Seq: 3, Name: "charge-card", Payload: payload,
			Pool: "gpu", Session: "s-1", Policy: policy,
		}},
		{"", history.Event{Kind: history.TimerSet, Seq: 4, Time: at}},
		{"", history.Event{
			Kind: history.ChildStarted, Seq: 5, Target: "order-7/1.5", Name: "ship", Version: "2.0.0", Payload: payload,
			Close: history.CloseTerminate,
		}},
		{"", history.Event{Kind: history.SignalSent, Seq: 6, Target: "order-8", Name: "approved", Payload: payload}},
		{"", history.Event{Kind: history.ValueRecorded, Seq: 7, Name: "now", Payload: []byte("1767323045")}},
		{"", history.Event{Kind: history.StatusSet, Seq: 8, Payload: []byte(`"packing"`)}},
		{"", history.Event{Kind: history.ActivityCanceled, Seq: 9, Ref: 3}},
		{"", history.Event{Kind: history.TimerCanceled, Seq: 10, Ref: 4}},
		{"", history.Event{Kind: history.ChildCanceled, Seq: 11, Ref: 5, Target: "order-7/1.5", Text: "too late"}},
		{"", history.Event{Kind: history.Completed, Seq: 12, Payload: payload}},
		{"", history.Event{Kind: history.Failed, Seq: 12, Failure: declined}},
		{"", history.Event{Kind: history.Canceled, Seq: 12, Text: "the customer left"}},
		{"", history.Event{
			Kind: history.ContinuedAsNew, Seq: 12, Version: "1.3.0", Payload: payload,
			Carried: []history.Event{signal, {Kind: history.SignalReceived, Name: "tick"}},
		}},
		{"", history.Event{Kind: history.ValueCarried, Name: "stage", Payload: []byte(`"packing"`)}},
		{"", history.Event{Kind: history.UpdateRequested, Name: "reprice", Text: "r-5", Payload: payload}},
		{"", history.Event{Kind: history.Undecodable, Ref: 3, Text: "truncated", Payload: []byte{1, 5, 0xff}}},
		{"", history.Event{Kind: history.InstanceQuarantined, Name: "panic pay.go:31", Attempt: 5, Time: 1767323045e9, Text: "nil map"}},
		{"", history.Event{Kind: history.ValueSet, Seq: 13, Name: "stage", Payload: []byte(`"shipped"`)}},
		{"", history.Event{Kind: history.ValueCleared, Seq: 14, Name: "stage"}},
		{"", history.Event{Kind: history.UpdateAnswered, Seq: 15, Name: "reprice", Text: "r-5", Payload: payload}},
		{"", history.Event{Kind: history.PatchMarked, Name: "ship-by-air"}},
		{"", history.Event{
			Kind: history.CallRefused, Seq: 16, Name: "charge-card", Text: "activity input",
			Failure: &history.Failure{Code: "durango/too-large", Message: "too large", Detail: []byte(`{"size":300000}`)},
		}},
		{"update-refused", history.Event{
			Kind: history.UpdateAnswered, Seq: 15, Name: "reprice", Text: "r-6",
			Failure: &history.Failure{Code: "too-late", Message: "shipped", RetryAfter: 90e9},
		}},
		{"header", history.Event{
			Kind: history.ActivityScheduled, Seq: 3, Name: "charge-card", Payload: payload,
			Header: map[string]string{"traceparent": "00-0af7651916cd43dd", "tenant": "acme", "": "\xff", "empty": ""},
		}},
		{"blobs", history.Event{
			Kind: history.Completed, Seq: 3, Payload: []byte(`{"blob":"01"}`),
			Blobs: []history.BlobAddress{{1, 2, 31: 3}, {31: 0xff}},
		}},
		{"sealed-failure", history.Event{
			Kind: history.ActivityFailed, Ref: 3,
			Failure: &history.Failure{Code: "card-declined", Detail: []byte("\x00\x8f"), Sealed: true, RetryAfter: math.MaxInt64, Cause: declined},
		}},
		{"started-with-values", history.Event{
			Kind: history.Started, Name: "fulfil", Version: "1.2.0", Payload: payload, Target: "order-7", Seq: 2,
			Header: map[string]string{"tenant": "acme"},
			Carried: []history.Event{
				{Kind: history.ValueCarried, Name: "rounds", Payload: []byte("3")},
				{Kind: history.ValueCarried, Name: "stage", Payload: []byte{}},
			},
		}},
		{"continued-with-everything", history.Event{
			Kind: history.ContinuedAsNew, Seq: 12, Payload: payload,
			Carried: []history.Event{
				{Kind: history.ValueCarried, Name: "stage", Payload: []byte("3")}, signal,
				{Kind: history.CancelRequested, Text: "the customer left"},
			},
		}},
		{"detached-child", history.Event{
			Kind: history.ChildStarted, Seq: 1, Target: "order-9", Name: "fulfil", Detached: true, Close: history.CloseAbandon,
		}},
		{"empty-payload", history.Event{Kind: history.Completed, Seq: 1, Payload: []byte{}}},
		{"extreme-numbers", history.Event{
			Kind: history.TimerSet, Seq: math.MaxInt64, Ref: math.MinInt64, Time: -1, Attempt: math.MinInt64,
			Parent: &history.Parent{Key: math.MinInt64, Execution: -1, Seq: math.MaxInt64},
			Policy: &history.Policy{StartToClose: -1, MaxAttempts: math.MaxInt64, Factor: math.Inf(-1), Jitter: math.SmallestNonzeroFloat64},
		}},
		{"strange-strings", history.Event{
			Kind: history.SignalReceived, Name: "näme \x00\xff", Payload: []byte("\x00\x01\xff"), Text: strings.Repeat("long ", 60),
		}},
		{"empty-structs", history.Event{
			Kind: history.ActivityScheduled, Policy: &history.Policy{}, Parent: &history.Parent{},
			Failure: &history.Failure{Detail: []byte{}, Cause: &history.Failure{Cause: &history.Failure{Final: true}}},
		}},
	}
	for i, c := range cases {
		if c.name == "" {
			cases[i].name = c.event.Kind.String()
		}
	}
	return cases
}
