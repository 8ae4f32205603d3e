package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "hello.db")
	if err := run(ctx, &out, path); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "Hello, Ada! Hello, Grace! Hello, Barbara!\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}

	// What it did is in the file, for everyone with a client.
	store, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	text, err := greetAll.Run(durango.NewClient(store), "hello-1").Wait(ctx)
	if err != nil || text+"\n" != out.String() {
		t.Fatalf("got %q, %v", text, err)
	}
}
