package durangotest

import (
	"context"
	"log/slog"
	"testing"
)

// newLogger returns a logger that writes to the log of a test.
func newLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// nodeHandler takes what a node logs: all that orchestrations have to say, and
// of the engine's own what is at least a warning, because nodes come and go
// whenever the test waits. Of a node that has been cut off nobody would hear.
type nodeHandler struct {
	slog.Handler
	line *line
	// code: the logger is an orchestration's, which has its name among the
	// attributes.
	code bool
}

func (h nodeHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.line.alive() && (h.code || l >= slog.LevelWarn) && h.Handler.Enabled(ctx, l)
}

func (h nodeHandler) Handle(ctx context.Context, r slog.Record) error {
	if !h.code && r.Message == "turn failed" {
		return nil // Env reports it, once, unless it is allowed
	}
	return h.Handler.Handle(ctx, r)
}

func (h nodeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return nodeHandler{h.Handler.WithAttrs(attrs), h.line, true}
}

func (h nodeHandler) WithGroup(name string) slog.Handler {
	return nodeHandler{h.Handler.WithGroup(name), h.line, h.code}
}
