package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango/history"
	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

func TestNote(t *testing.T) {
	const node, dead = provider.NodeKey(7), provider.NodeKey(8)
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano()
	ago := func(d time.Duration) int64 { return now - int64(d) }
	running := &surroundings{now: now, alive: 1, nodes: map[provider.NodeKey]provider.NodeView{
		node: {Key: node}, dead: {Key: dead, Gone: true},
	}}
	nobody := &surroundings{now: now}
	failed := history.AppendMessage(nil, &history.Event{Kind: history.Failed, Failure: &history.Failure{Message: "no money"}})
	canceled := history.AppendMessage(nil, &history.Event{Kind: history.Canceled, Text: "ill"})
	for _, c := range []struct {
		name string
		at   *surroundings
		in   provider.Instance
		want string
	}{
		{"completed", nobody, provider.Instance{Status: provider.Completed}, ""},
		{"failed", nobody, provider.Instance{Status: provider.Failed, Outcome: failed}, "no money"},
		{"canceled", nobody, provider.Instance{Status: provider.Canceled, Outcome: canceled}, "ill"},
		{"undecodable", nobody, provider.Instance{Status: provider.Failed, Outcome: []byte{255}}, "cannot be decoded: "},
		{"turn failed", running, provider.Instance{Status: provider.Running, TurnFailure: "panic: x"}, "turn failed: panic: x"},
		{"suspended", running, provider.Instance{Status: provider.Suspended}, ""},
		{"due, no node", nobody, provider.Instance{Status: provider.Pending}, "no node is running"},
		{"owned, no node", nobody, provider.Instance{Status: provider.Running, Owner: dead}, "no node is running"},
		{"waiting, no node", nobody, provider.Instance{Status: provider.Running, DueAt: provider.Never}, ""},
		{"owner gone", running, provider.Instance{Status: provider.Running, Owner: dead}, "its node is gone; another will take over"},
		{"owner unknown", running, provider.Instance{Status: provider.Running, Owner: 9}, "its node is gone; another will take over"},
		{"just due", running, provider.Instance{Status: provider.Pending, Name: "n", CreatedAt: ago(time.Second)}, ""},
		{"long due", running, provider.Instance{Status: provider.Pending, Name: "n", Version: "2.0.0", CreatedAt: ago(time.Minute)}, "no live node takes n 2.0.0; waiting for 1m0s"},
		{"timer just due", running, provider.Instance{Status: provider.Running, CreatedAt: ago(time.Hour), WakeAt: ago(time.Second), DueAt: ago(time.Second)}, ""},
		{"sleeping", running, provider.Instance{Status: provider.Running, WakeAt: now + int64(90*time.Minute), DueAt: now + int64(90*time.Minute)}, "timer in 1h30m"},
		{"delayed", running, provider.Instance{Status: provider.Pending, WakeAt: now + int64(3*time.Second), NotBefore: now + int64(3*time.Second)}, "starts in 3s"},
		{"busy", running, provider.Instance{Status: provider.Running, Owner: node}, ""},
		{"busy, with mail", running, provider.Instance{Status: provider.Running, Owner: node, MailboxSeq: 1, WakeAt: ago(time.Hour), DueAt: provider.Never}, ""},
	} {
		got := c.at.note(&c.in)
		assert.True(t, got == c.want || c.want != "" && strings.HasSuffix(c.want, ": ") && strings.HasPrefix(got, c.want), "%s: got %q, want %q", c.name, got, c.want)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2h": now.Add(-2 * time.Hour), "2029-12-31": now.Add(-36 * time.Hour), "2030-01-01T13:00:00+01:00": now,
	} {
		got, err := parseTime("--x", text, now)
		assert.NoError(t, err, "%s", text)
		assert.Equal(t, got, want.UnixNano(), "%s", text)
	}
	for _, text := range []string{"-2h", "noon", "2030-13-01"} {
		_, err := parseTime("--x", text, now)
		assert.Equal(t, ExitCode(err), ExitUsage, "%s", text)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 12 * time.Millisecond: "12ms", 59 * time.Second: "59s", 61 * time.Second: "1m1s",
		25 * time.Hour: "1d1h", 23*time.Hour + 59*time.Minute: "23h59m",
	} {
		assert.Equal(t, span(d), want)
	}
}

// What comes from outside cannot move the cursor or the columns.
func TestTableIsPlain(t *testing.T) {
	var out bytes.Buffer
	table(&out, []string{"ID", "NOTE"}, [][]string{{"a\tb\x1b[2J", "x\ny"}, {"ü", ""}})
	assert.Equal(t, out.String(), "ID       NOTE\na b\ufffd[2J  x y\nü\n")
}

func TestRawJSON(t *testing.T) {
	for in, want := range map[string]string{
		"": "", `{"a":1}`: `{"a":1}`, "text": `"text"`, "\xff\x00": `{"base64":"/wA="}`,
	} {
		assert.Equal(t, string(rawJSON([]byte(in))), want)
	}
}

// A message that could not be decoded is shown, with where it is.
func TestShowNamesWhatWasPutAside(t *testing.T) {
	at := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	around := &surroundings{now: at.UnixNano()}
	in := provider.Instance{ID: "x", Name: "fulfil", Status: provider.Running}
	bad := history.Event{Kind: history.Undecodable, Text: "truncated", Payload: []byte{1, 5, 0xff}}
	v := showView{Instance: around.view(&in), Turns: []turnView{
		{Number: 1, Time: &at, Deliveries: viewEvents(nil, []history.Event{{Kind: history.Started, Name: "fulfil"}})},
		{Number: 2, Time: &at, Deliveries: viewEvents(nil, []history.Event{bad})},
	}}
	var b bytes.Buffer
	v.write(&b, &in, around)
	assert.Contains(t, b.String(), "messages that cannot be decoded, by turn 2")
	assert.Contains(t, b.String(), `Undecodable text="truncated" payload=0x0105ff`)
}
