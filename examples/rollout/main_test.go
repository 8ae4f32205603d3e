package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The programs are processes of this one, as they are of the example.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && programs[os.Args[1]] != nil {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "rollout.db")); err != nil {
		t.Fatal(err)
	}
	const want = `a: waits with parcel a, as version 1.0.0
b: waits before it packs, as version 2.0.0
the old program has gone
c: waits with gift-wrapped parcel c, as version 1.0.0
d: waits before it packs, as version 2.0.0
a: parcel a
b: parcel b
c: gift-wrapped parcel c
d: parcel d
`
	if got := out.String(); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}
