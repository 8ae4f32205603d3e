package main

import (
	"bytes"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, filepath.Join(t.TempDir(), "approval.db")); err != nil {
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
