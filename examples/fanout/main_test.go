package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "fanout.db")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "100 texts have 4950 words; text 27 is the longest\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
