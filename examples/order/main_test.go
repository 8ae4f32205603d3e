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
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "orders.db")); err != nil {
		t.Fatal(err)
	}
	const want = `Ada: shipped parcel-a
Bob: refused card declined: the card is stolen
Cid: refused mug is out of stock
Dee: refused nobody delivers to Atlantis
Eve: shipped parcel-e
Fay: expired nobody approved in time
left: 8 mugs, 10 chairs, 1 pianos; 2 orders are paid; 6 customers were told
`
	if got := out.String(); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}
