package main

import (
	"bytes"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, filepath.Join(t.TempDir(), "eternal.db")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "Canceled in execution 6: {\"Readings\":55,\"Highest\":21}\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
