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
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "update.db")); err != nil {
		t.Fatal(err)
	}
	const want = `the cart is open
add 2 tea: 1980
add 0 mug: 0 is not a quantity
add 1 piano: there is no piano
add 1 mug: 3180
pay 1000: it costs 3180
pay 3180: receipt over 3180
the cart is paid
`
	if got := out.String(); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}
