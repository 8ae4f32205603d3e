package main

import (
	"bytes"
	"context"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, filepath.Join(t.TempDir(), "callback.db")); err != nil {
		t.Fatal(err)
	}
	const want = `mail to Max: http://LINK
Max reads: thank you
Max reads: it has been decided already
Ann gets a chair, says Max
mail to Max: http://LINK
Max reads: thank you
Max reads: it has been decided already
Bob gets no yacht: Max is against it
`
	link := regexp.MustCompile(`http://127\.0\.0\.1:\d+/answer\?token=[\w-]+`)
	if got := link.ReplaceAllString(out.String(), "http://LINK"); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}
