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
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "eternal.db")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "Canceled in execution 6: 55 readings, at most 21 degrees\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
