package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// 40001, 40P01, 57P01, 53300, 08xxx, 55P03 and 0A000 are retryable.
func TestClassify(t *testing.T) {
	for code, want := range map[string]error{
		"40001": provider.ErrTransient, "40P01": provider.ErrTransient, "57P01": provider.ErrTransient,
		"57P03": provider.ErrTransient, "53300": provider.ErrTransient, "08006": provider.ErrTransient,
		"55P03": provider.ErrTransient, "57014": provider.ErrTransient, "0A000": provider.ErrTransient,
		"25P03": provider.ErrTransient, "53200": provider.ErrTransient,
		"08007": provider.ErrUnknownOutcome, "40003": provider.ErrUnknownOutcome,
		"53100": provider.ErrFull, "25006": provider.ErrReadOnly, "XX001": provider.ErrCorrupt,
		"54000": provider.ErrTooLarge, "22021": provider.ErrInvalid, "42601": nil, "42P01": nil, "": nil,
	} {
		err := fmt.Errorf("statement: %w", &pgconn.PgError{Code: code})
		assert.True(t, classify(err) == want, "%s is %v", code, classify(err))
		assert.Equal(t, transient(err), want == provider.ErrTransient, code)
	}
	assert.True(t, classify(io.ErrUnexpectedEOF) == provider.ErrTransient)
	assert.True(t, classify(errApart) == nil)
	assert.False(t, wholesale(&pgconn.PgError{Code: "22021"}), "one bad text fails its item alone")
	assert.True(t, wholesale(&pgconn.PgError{Code: "53100"}))
}

// What the end of a transaction may have done is not taken for nothing.
func TestResolve(t *testing.T) {
	s := &Store{}
	lost := io.ErrUnexpectedEOF
	shutDown := &pgconn.PgError{Code: "57P01", Severity: "FATAL"}
	conflict := &pgconn.PgError{Code: "40001", Severity: "ERROR"}
	for _, tt := range []struct {
		err     error
		last    statement
		unknown bool
	}{
		{lost, qInstancesTurn, true}, // the end had been sent, too
		{lost, qCommit, true},
		{lost, -1, true},
		{shutDown, qInstancesTurn, false},
		{shutDown, qCommit, true},
		{conflict, qInstancesTurn, false},
		{conflict, qCommit, false},
		{&pgconn.PgError{Code: "40003", Severity: "ERROR"}, qCommit, true},
		// A pooler that lost the server.
		{&pgconn.PgError{Code: "08P01", Severity: "FATAL"}, qInstancesTurn, true},
	} {
		err := s.resolve(&trip{s: s, last: tt.last}, tt.err)
		assert.Equal(t, errors.Is(err, provider.ErrUnknownOutcome), tt.unknown, "%v at %d", tt.err, tt.last)
		assert.Equal(t, transient(err), !tt.unknown, "%v at %d", tt.err, tt.last)
	}
	// What ended the connection may have been the pooler, whatever it says.
	s = &Store{pooled: true}
	err := s.resolve(&trip{s: s, last: qInstancesTurn}, shutDown)
	assert.True(t, errors.Is(err, provider.ErrUnknownOutcome), "%v", err)
	err = s.resolve(&trip{s: s, last: qInstancesTurn}, conflict)
	assert.True(t, transient(err), "%v", err)
}

func TestOptions(t *testing.T) {
	for _, options := range []Options{
		{MaxConns: 2}, {Writers: -1}, {Writers: 20}, {Shards: -1}, {Migrate: 7}, {LockTimeout: -1},
		{Schema: "a\x00b"}, {Schema: string(make([]byte, 100))},
	} {
		_, err := Open(context.Background(), server, options)
		assert.True(t, errors.Is(err, provider.ErrInvalid), "%+v: %v", options, err)
	}
	_, err := Open(context.Background(), "port=none", Options{})
	assert.True(t, errors.Is(err, provider.ErrInvalid), "%v", err)
	_, err = Open(context.Background(), "host=127.0.0.1 port=1 connect_timeout=1", Options{})
	assert.True(t, errors.Is(err, provider.ErrTransient), "%v", err)
}

func TestAfter(t *testing.T) {
	for prefix, want := range map[string]string{
		"a": "b", "az": "a{", "\U0010ffff": strings.Repeat("\U0010ffff", maxName), "a\U0010ffff": "b", "\ud7ff": "\ue000", "é": "ê",
	} {
		assert.Equal(t, after(prefix), want, "%q", prefix)
	}
}
