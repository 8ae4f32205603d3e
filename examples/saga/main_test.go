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
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "saga.db")); err != nil {
		t.Fatal(err)
	}
	const want = `  booked flight-Ann
  booked hotel-Ann
  booked car-Ann
Ann travels
  booked flight-Bob
  booked hotel-Bob
  gave back hotel-Bob
  gave back flight-Bob
Bob stays at home: no car is left
  booked flight-Cid
  booked hotel-Cid
  booked car-Cid
  gave back car-Cid
  gave back hotel-Cid
  gave back flight-Cid
Cid stays at home: canceled: Cid is ill
`
	if got := out.String(); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}
