package assert_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/durango-go/durango/internal/assert"
)

// recorder is a testing.TB whose Fatal can be looked at. It does not end the
// goroutine: the helpers must cope with that as little as with anything else.
type recorder struct {
	testing.TB
	message string
}

func (r *recorder) Helper()           {}
func (r *recorder) Fatal(args ...any) { r.message = fmt.Sprint(args...) }

func TestAssert(t *testing.T) {
	err := fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: "x", Err: io.EOF})
	tests := []struct {
		name    string
		check   func(t testing.TB)
		message string // empty: passes
	}{
		{"equal", func(t testing.TB) { assert.Equal(t, []int{1}, []int{1}) }, ""},
		{"equal opt", func(t testing.TB) {
			assert.EqualOpt(t, []int{}, nil, cmp.Options{cmpopts.EquateEmpty()})
		}, ""},
		{"equal opt fails", func(t testing.TB) {
			assert.EqualOpt(t, []int{1}, nil, cmp.Options{cmpopts.EquateEmpty()}, "list")
		}, "list: mismatch"},
		{"not equal fails", func(t testing.TB) { assert.NotEqual(t, 3, 3) }, "both are 3"},
		{"true", func(t testing.TB) { assert.True(t, true) }, ""},
		{"true fails", func(t testing.TB) { assert.True(t, false, "seed %d", 7) }, "seed 7: got false"},
		{"false fails", func(t testing.TB) { assert.False(t, true) }, "got true"},
		{"no error fails", func(t testing.TB) { assert.NoError(t, err, "100%") }, "unexpected error: read: open x: EOF"},
		{"must", func(t testing.TB) { assert.Must(1, error(nil))(t) }, ""},
		{"must fails", func(t testing.TB) { assert.Must(1, err)(t) }, "unexpected error"},
		{"error is", func(t testing.TB) { assert.ErrorIs(t, err, io.EOF) }, ""},
		{"error is fails", func(t testing.TB) { assert.ErrorIs(t, nil, io.EOF, "close") }, "close: got error <nil>, want one that is: EOF"},
		{"error as", func(t testing.TB) { assert.ErrorAs[*fs.PathError](t, err) }, ""},
		{"error as fails", func(t testing.TB) { assert.ErrorAs[*fs.PathError](t, io.EOF) }, "want a *fs.PathError"},
		{"error contains", func(t testing.TB) { assert.ErrorContains(t, err, "read", "EOF") }, ""},
		{"error contains fails", func(t testing.TB) { assert.ErrorContains(t, nil, "read") }, "got no error"},
		{"contains fails", func(t testing.TB) { assert.Contains(t, "abc", "b", "x") }, `no "x" in`},
		{"panics", func(t testing.TB) { assert.Panics(t, func() { panic(errors.New("x")) }) }, ""},
		{"panics fails", func(t testing.TB) { assert.Panics(t, func() {}) }, "no panic"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &recorder{}
			tt.check(r)
			if (r.message == "") != (tt.message == "") {
				t.Fatalf("failed with %q, want %q", r.message, tt.message)
			}
			assert.Contains(t, r.message, tt.message)
		})
	}
}
