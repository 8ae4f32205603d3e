package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	rest := out.String()
	// Which machine opens a session is not known; that it keeps it is.
	next := func(film, then string) {
		t.Helper()
		first, second := "red", "blue"
		if strings.HasPrefix(rest, "  blue") {
			first, second = second, first
		}
		want := strings.NewReplacer("X", first, "Y", second, "film", film, "FILM", strings.ToUpper(film)).Replace(then)
		var ok bool
		if rest, ok = strings.CutPrefix(rest, want); !ok {
			t.Fatalf("got\n%s\nwant\n%s", rest, want)
		}
	}
	for _, film := range []string{"alien", "amelie", "argo"} {
		next(film, `  X downloads film
  X processes film
  X uploads film
THE CONTENT OF FILM
`)
	}
	next("brazil", `  X downloads film
  X is switched off
  Y does not have film
  Y downloads film
  Y processes film
  Y uploads film
THE CONTENT OF FILM
`)
	if rest != "" {
		t.Fatalf("more: %s", rest)
	}
}
