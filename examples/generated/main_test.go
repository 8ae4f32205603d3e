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
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "generated.db")); err != nil {
		t.Fatal(err)
	}
	want := "1.0.0: 9.90 EUR\n2.0.0: receipt over 9.90 EUR\n"
	if out.String() != want {
		t.Fatalf("got %q, want %q", out.String(), want)
	}
	// The names that a store would hold.
	for name, want := range map[string]string{
		ChargeActivity.Name(): "charge-card", sendReceiptActivity.Name(): "send-receipt", buyOrchestration.Name(): "buy",
	} {
		if name != want {
			t.Errorf("got name %q, want %q", name, want)
		}
	}
}
