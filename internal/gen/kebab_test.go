package gen

import (
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

// What kebab does is frozen in the stores of those who use it.
func TestKebab(t *testing.T) {
	for name, want := range map[string]string{
		"Charge":     "charge",
		"chargeCard": "charge-card",
		"ChargeV2":   "charge-v2",
		"HTTPGet":    "http-get",
		"FetchURL":   "fetch-url",
		"fetchURLOf": "fetch-url-of",
		"JSONToXML":  "json-to-xml",
		"Step1Two":   "step1-two",
		"snake_Case": "snake-case",
		"A":          "a",
		"ABTest":     "ab-test",
		"ÜberPrüfen": "über-prüfen",
	} {
		assert.Equal(t, kebab(name), want, "%s", name)
	}
}
