package durango_test

import (
	"os"
	"strings"
	"testing"
)

// Every Go snippet of the README is part of a compiled example whose output is
// checked.
func TestReadmeSnippetsAreExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	snippets := strings.Split(string(readme), "```go\n")[1:]
	if len(snippets) < 4 {
		t.Fatalf("found %d snippets", len(snippets))
	}
	for _, s := range snippets {
		s, _, _ = strings.Cut(s, "```")
		if !strings.Contains(string(example), strings.TrimSpace(s)) {
			t.Errorf("not in example_test.go:\n%s", s)
		}
	}
}
