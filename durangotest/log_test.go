package durangotest

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/durango-go/durango/internal/assert"
)

func TestNodeHandler(t *testing.T) {
	var b bytes.Buffer
	l := newLine(newWorld(), nil)
	node := slog.New(nodeHandler{Handler: slog.NewTextHandler(&b, nil), line: l})
	code := node.With("instance", "it")
	node.Info("node joined")
	node.Error("turn failed")
	assert.Equal(t, b.String(), "")
	node.Warn("a warning")
	code.Info("from the code")
	code.WithGroup("g").Error("turn failed", "k", "v")
	assert.Contains(t, b.String(), `msg="a warning"`, `msg="from the code" instance=it`, `msg="turn failed" instance=it g.k=v`)
	l.sever()
	b.Reset()
	node.Error("after the cut")
	code.Error("after the cut")
	assert.Equal(t, b.String(), "")
}
