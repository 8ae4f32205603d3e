package history_test

import (
	"strings"
	"testing"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
)

func TestEventString(t *testing.T) {
	tests := []struct {
		event history.Event
		want  string
	}{
		{
			history.Event{Kind: history.ActivityScheduled, Seq: 3, Name: "charge-card", Pool: "gpu", Payload: []byte(`{"cents": 990}`)},
			`ActivityScheduled #3 "charge-card" pool=gpu input={"cents":990}`,
		},
		{
			history.Event{Kind: history.ActivityCompleted, Ref: 3, Attempt: 2, Payload: []byte("true")},
			`ActivityCompleted of #3 attempt=2 result=true`,
		},
		{
			history.Event{Kind: history.ActivityFailed, Ref: 3, Failure: &history.Failure{
				Code: "card-declined", Message: "no \"money\"\n", Type: "*bank.Error", Detail: []byte("[1]"), Final: true,
				Cause: &history.Failure{Message: "EOF"},
			}},
			`ActivityFailed of #3 failure={card-declined "no \"money\"\n" type=*bank.Error detail=[1] final cause={"" "EOF"}}`,
		},
		{
			history.Event{Kind: history.TimerSet, Seq: 4, Time: 1767323045_250000000},
			`TimerSet #4 at=2026-01-02T03:04:05.25Z`,
		},
		{
			history.Event{
				Kind: history.ChildStarted, Seq: 5, Name: "ship", Version: "1.2.0", Target: "order 7/1.5",
				Detached: true, Close: history.CloseAbandon, Payload: []byte{},
			},
			`ChildStarted #5 "ship" version=1.2.0 target="order 7/1.5" detached close=abandon input=(empty)`,
		},
		{
			history.Event{Kind: history.Started, Name: "ship", Parent: &history.Parent{Key: 9, ID: "order-7", Execution: 2, Seq: 5}},
			`Started "ship" parent=order-7/2#5`,
		},
		{
			history.Event{Kind: history.ActivityScheduled, Seq: 1, Name: "a", Session: "s", Policy: &history.Policy{
				StartToClose: 1e9, ScheduleToClose: 60e9, ScheduleToStart: 5e8, Heartbeat: 2e9, MaxAttempts: 5, Backoff: history.BackoffFixed,
				Initial: 1e6, MaxInterval: 3e9, Factor: 1.5, Jitter: 0.1, NonRetryable: []string{"declined", "a b"},
			}},
			`ActivityScheduled #1 "a" session=s policy={start-to-close=1s schedule-to-close=1m0s schedule-to-start=500ms ` +
				`heartbeat=2s attempts=5 backoff=fixed initial=1ms max-interval=3s factor=1.5 jitter=0.1 ` +
				`non-retryable=declined non-retryable="a b"}`,
		},
		{
			history.Event{Kind: history.ContinuedAsNew, Seq: 9, Payload: []byte("{}"), Carried: []history.Event{
				{Kind: history.SignalReceived, Name: "go", Payload: []byte("1")}, {Kind: history.SignalReceived, Name: "stop"},
			}},
			`ContinuedAsNew #9 input={} carried=[SignalReceived "go" payload=1] carried=[SignalReceived "stop"]`,
		},
		{history.Event{Kind: history.Canceled, Seq: 2, Text: "by ann"}, `Canceled #2 text="by ann"`},
		{history.Event{Kind: history.StatusSet, Seq: 2, Payload: []byte(`"x"`)}, `StatusSet #2 status="x"`},
		{history.Event{Kind: history.ValueRecorded, Seq: 2, Name: "now", Payload: []byte("1")}, `ValueRecorded #2 "now" value=1`},
		{history.Event{Kind: history.Completed, Seq: 2, Payload: []byte("null")}, `Completed #2 output=null`},
		{history.Event{Kind: history.ValueSet, Seq: 3, Name: "stage", Payload: []byte("1")}, `ValueSet #3 "stage" value=1`},
		{history.Event{Kind: history.ValueCleared, Seq: 3, Name: "stage"}, `ValueCleared #3 "stage"`},
		{history.Event{Kind: history.PatchMarked, Name: "ship-by-air"}, `PatchMarked "ship-by-air"`},
		{
			history.Event{Kind: history.CallRefused, Seq: 5, Name: "ship", Text: "activity input", Failure: &history.Failure{Code: "busy"}},
			`CallRefused #5 "ship" text="activity input" failure={busy ""}`,
		},
		{
			history.Event{Kind: history.UpdateRequested, Name: "reprice", Text: "r-5", Payload: []byte("[1]")},
			`UpdateRequested "reprice" text="r-5" input=[1]`,
		},
		{
			history.Event{Kind: history.UpdateAnswered, Seq: 5, Name: "reprice", Text: "r-5", Payload: []byte("[2]")},
			`UpdateAnswered #5 "reprice" text="r-5" answer=[2]`,
		},
		{
			history.Event{
				Kind: history.Started, Name: "ship", Header: map[string]string{"tenant": "acme", "b 2": "x=y", "a": ""}, Payload: []byte("1"),
				Carried: []history.Event{{Kind: history.ValueCarried, Name: "stage", Payload: []byte("2")}},
			},
			`Started "ship" header.a="" header."b 2"="x=y" header.tenant=acme input=1 carried=[ValueCarried "stage" value=2]`,
		},
		{
			history.Event{Kind: history.ActivityFailed, Ref: 3, Failure: &history.Failure{
				Code: "busy", Detail: []byte("\x00\xff"), Sealed: true, RetryAfter: 90e9,
			}},
			`ActivityFailed of #3 failure={busy "" detail=0x00ff sealed retry-after=1m30s}`,
		},
		{history.Event{Kind: 77, Close: 9, Policy: &history.Policy{Backoff: 9}}, `Kind(77) close=ClosePolicy(9) policy={backoff=BackoffKind(9)}`},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.event.String(), tt.want)
	}
}

func TestFormatPayload(t *testing.T) {
	tests := []struct{ name, payload, want string }{
		{"json loses white space", "{\n  \"a\": [1, 2]\n}", `{"a":[1,2]}`},
		{"json is cut", `"` + strings.Repeat("x", 98) + `"`, `"` + strings.Repeat("x", 79) + `…(100 bytes)`},
		{"cut between characters", `"` + strings.Repeat("é", 50) + `"`, `"` + strings.Repeat("é", 39) + `…(102 bytes)`},
		{"exactly as much as fits", `"` + strings.Repeat("x", 78) + `"`, `"` + strings.Repeat("x", 78) + `"`},
		{"json with terminal controls", "\"a\u009b\u202e\"", `"a\u009b\u202e"`},
		{"json that is not utf-8", "\"\xff\"", `"�"`},
		{"text", "hello\nworld", `"hello\nworld"`},
		{"text is cut", strings.Repeat("x y", 40), `"` + strings.Repeat("x y", 26) + `x "…(120 bytes)`},
		{"binary", "\x00\x01\xfe", `0x0001fe`},
		{"binary is cut", strings.Repeat("\x00", 41), `0x` + strings.Repeat("00", 40) + `…(41 bytes)`},
		{"binary fits", strings.Repeat("\x00", 40), `0x` + strings.Repeat("00", 40)},
		{"continuation bytes only", strings.Repeat("\x80", 100), `0x` + strings.Repeat("80", 40) + `…(100 bytes)`},
		{"empty", "", "(empty)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := history.FormatPayload([]byte(tt.payload))
			assert.Equal(t, got, tt.want)
			assert.False(t, strings.ContainsAny(got, "\n\r\x1b"), "more than one line")
		})
	}
}

// A chain of causes that refers to itself is a bug of whoever made it, but
// must not hang the log line that would show it.
func TestFailureStringOfCycle(t *testing.T) {
	f := &history.Failure{Message: "again"}
	f.Cause = f
	assert.Contains(t, f.String(), strings.Repeat("}", 32))
}
