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
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "approval.db")); err != nil {
		t.Fatal(err)
	}
	const want = `Ann goes: Max said yes
Bob stays: Max said no
Cid stays: nobody answered
Dee asks no more: canceled: Dee is ill
`
	if got := out.String(); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}
