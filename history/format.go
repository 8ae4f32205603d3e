package history

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// shownBytes is how much of a payload String shows.
const shownBytes = 80

// String renders e on one line for people: transcripts, errors of
// nondeterminism, the command line. It is not an encoding: long payloads are
// cut, and the form may change.
//
//	ActivityScheduled #3 "charge-card" pool=gpu input={"cents":990}
//	ActivityCompleted of #3 result={"id":"r-1"}
func (e *Event) String() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	if e.Seq != 0 {
		b.WriteString(" #" + strconv.FormatInt(e.Seq, 10))
	}
	if e.Ref != 0 {
		b.WriteString(" of #" + strconv.FormatInt(e.Ref, 10))
	}
	if e.Name != "" {
		b.WriteString(" " + strconv.Quote(e.Name))
	}
	field(&b, "version", e.Version)
	field(&b, "target", e.Target)
	field(&b, "pool", e.Pool)
	field(&b, "session", e.Session)
	if e.Time != 0 {
		b.WriteString(" at=" + time.Unix(0, e.Time).UTC().Format(time.RFC3339Nano))
	}
	if e.Attempt != 0 {
		b.WriteString(" attempt=" + strconv.FormatInt(e.Attempt, 10))
	}
	if e.Detached {
		b.WriteString(" detached")
	}
	if e.Close != CloseCancel {
		b.WriteString(" close=" + e.Close.String())
	}
	if p := e.Parent; p != nil {
		b.WriteString(" parent=" + word(p.ID) + "/" + strconv.FormatInt(p.Execution, 10) + "#" + strconv.FormatInt(p.Seq, 10))
	}
	if e.Policy != nil {
		b.WriteString(" policy=" + e.Policy.String())
	}
	if e.Text != "" {
		b.WriteString(" text=" + strconv.Quote(e.Text))
	}
	if e.Failure != nil {
		b.WriteString(" failure=" + e.Failure.String())
	}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		b.WriteString(" header." + word(name) + "=" + word(e.Header[name]))
	}
	if e.Payload != nil {
		b.WriteString(" " + e.Kind.payloadName() + "=" + FormatPayload(e.Payload))
	}
	for i := range e.Blobs {
		b.WriteString(" blob=" + e.Blobs[i].String())
	}
	for i := range e.Carried {
		b.WriteString(" carried=[" + e.Carried[i].String() + "]")
	}
	return b.String()
}

// payloadName is what the payload of an event of kind k is called.
func (k Kind) payloadName() string {
	switch k {
	case Started, UpdateRequested, ActivityScheduled, ChildStarted, ContinuedAsNew:
		return "input"
	case ActivityCompleted, ChildCompleted:
		return "result"
	case Completed:
		return "output"
	case StatusSet:
		return "status"
	case ValueRecorded, ValueSet, ValueCarried:
		return "value"
	case UpdateAnswered:
		return "answer"
	}
	return "payload"
}

// String renders the policy's fields that are not at their default.
func (p *Policy) String() string {
	var b strings.Builder
	duration := func(name string, ns int64) {
		if ns != 0 {
			b.WriteString(" " + name + "=" + time.Duration(ns).String())
		}
	}
	float := func(name string, v float64) {
		if v != 0 {
			b.WriteString(" " + name + "=" + strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	duration("start-to-close", p.StartToClose)
	duration("schedule-to-close", p.ScheduleToClose)
	duration("schedule-to-start", p.ScheduleToStart)
	duration("heartbeat", p.Heartbeat)
	if p.MaxAttempts != 0 {
		b.WriteString(" attempts=" + strconv.FormatInt(p.MaxAttempts, 10))
	}
	if p.Backoff != BackoffExponential {
		b.WriteString(" backoff=" + p.Backoff.String())
	}
	duration("initial", p.Initial)
	duration("max-interval", p.MaxInterval)
	float("factor", p.Factor)
	float("jitter", p.Jitter)
	for _, code := range p.NonRetryable {
		b.WriteString(" non-retryable=" + word(code))
	}
	return "{" + strings.TrimPrefix(b.String(), " ") + "}"
}

// String renders the failure and its causes on one line.
func (f *Failure) String() string {
	var b strings.Builder
	depth := 0
	for ; f != nil && depth < maxCauses; f = f.Cause {
		if depth++; depth > 1 {
			b.WriteString(" cause=")
		}
		b.WriteString("{" + word(f.Code) + " " + strconv.Quote(f.Message))
		field(&b, "type", f.Type)
		if f.Detail != nil {
			b.WriteString(" detail=" + FormatPayload(f.Detail))
		}
		if f.Final {
			b.WriteString(" final")
		}
		if f.Sealed {
			b.WriteString(" sealed")
		}
		if f.RetryAfter != 0 {
			b.WriteString(" retry-after=" + time.Duration(f.RetryAfter).String())
		}
	}
	return b.String() + strings.Repeat("}", depth)
}

// FormatPayload renders p on one line for people: JSON as text without its
// white space, other text in quotes, anything else in hexadecimal. What is
// longer than 80 bytes is cut, and its whole size told.
func FormatPayload(p []byte) string {
	switch {
	case len(p) == 0:
		return "(empty)"
	case json.Valid(p):
		var b bytes.Buffer
		_ = json.Compact(&b, p) // p is valid
		return cut(visible(truncate(b.Bytes(), shownBytes)), b.Len(), len(p))
	case printable(p):
		return cut(strconv.Quote(string(truncate(p, shownBytes))), len(p), len(p))
	}
	return cut("0x"+hex.EncodeToString(p[:min(len(p), shownBytes/2)]), 2*len(p), len(p))
}

// cut marks s as incomplete if more than shownBytes were to be shown.
func cut(s string, of, size int) string {
	if of <= shownBytes {
		return s
	}
	return s + "…(" + strconv.Itoa(size) + " bytes)"
}

// truncate returns the longest prefix of p that has at most n bytes and does
// not end within a character.
func truncate(p []byte, n int) []byte {
	if len(p) <= n {
		return p
	}
	for n > 0 && !utf8.RuneStart(p[n]) {
		n--
	}
	return p[:n]
}

// visible escapes what JSON allows in strings but terminals act upon.
func visible(p []byte) string {
	var b strings.Builder
	for _, r := range string(p) {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

func printable(p []byte) bool {
	if !utf8.Valid(p) {
		return false
	}
	return bytes.IndexFunc(p, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) < 0
}

func field(b *strings.Builder, name, value string) {
	if value != "" {
		b.WriteString(" " + name + "=" + word(value))
	}
}

// word quotes s unless it can be told from what stands around it.
func word(s string) string {
	plain := func(r rune) bool { return unicode.IsPrint(r) && !strings.ContainsRune(" \"={}[]", r) }
	if s != "" && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}
