package main

import (
	"bytes"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, filepath.Join(t.TempDir(), "fanout.db")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "100 texts have 4950 words; text 27 is the longest\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
