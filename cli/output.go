package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/durango-go/durango/provider"
)

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows in columns.
func table(w io.Writer, header []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var out strings.Builder
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			row[i] = plain(cell)
		}
		out.WriteString(strings.TrimRight(strings.Join(row, "\t"), "\t ") + "\n")
	}
	_, _ = io.WriteString(t, out.String()) // the terminal's own trouble
	_ = t.Flush()
}

// plain replaces what would move the cursor or the columns. IDs, names and
// messages come from anywhere.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// lines replaces what would move the cursor, but keeps lines and indentation.
func lines(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, s)
}

// brief is the first line of s, at most n characters.
func brief(s string, n int) string {
	s, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	if more {
		s += " …"
	}
	return s
}

// timestamp is a time of the store as JSON has it; nil for never and none.
func timestamp(ns int64) *time.Time {
	if ns == 0 || ns == provider.Never {
		return nil
	}
	t := time.Unix(0, ns).UTC()
	return &t
}

// clock is a time of the store for people.
func clock(ns int64) string {
	if t := timestamp(ns); t != nil {
		return t.Format("2006-01-02T15:04:05.000Z")
	}
	return "-"
}

// age is the time that has passed from ns to now, in the two largest units
// that say something.
func age(ns, now int64) string {
	if ns == 0 {
		return "-"
	}
	return span(time.Duration(now - ns))
}

func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// rawJSON is a payload as JSON: verbatim if it is JSON, else as a string if it
// is text, else as {"base64": …}.
func rawJSON(p []byte) json.RawMessage {
	switch {
	case len(p) == 0:
		return nil
	case json.Valid(p):
		return p
	}
	var b []byte
	if utf8.Valid(p) {
		b, _ = json.Marshal(string(p)) // a string always has JSON
	} else {
		b, _ = json.Marshal(map[string][]byte{"base64": p})
	}
	return b
}
