package provider_test

import (
	"strings"
	"testing"
	"time"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// A failure is text for people that also says what is counted: what was
// written is read, and what somebody else wrote is all message.
func TestTurnFailureText(t *testing.T) {
	first := time.Date(2026, 1, 31, 8, 0, 0, 5, time.UTC)
	for _, f := range []provider.TurnFailure{
		{Message: "panic: boom", Kind: "panic", Place: "orders.go:42", Count: 3, First: first, Limit: 5, Attempts: 4},
		{Message: "two\nlines\ndurango: {not the last line}", Kind: "crash", Count: 1, First: first, Trial: true, Requeued: true},
		{Message: "", Kind: "panic", Notify: 7},
	} {
		text := f.String()
		assert.Equal(t, provider.ParseTurnFailure(text), f)
		assert.True(t, strings.HasPrefix(text, f.Message), text)
	}
	for _, text := range []string{"", "no", "a\ndurango: not JSON", "durango: {}"} {
		assert.Equal(t, provider.ParseTurnFailure(text), provider.TurnFailure{Message: text})
	}
	assert.Equal(t, provider.TurnFailure{Kind: "panic", Place: "orders.go:42"}.Fingerprint(), "panic orders.go:42")
	assert.Equal(t, provider.TurnFailure{Message: "who knows"}.Fingerprint(), "")
}
