// Package assert has the few checks that durango's tests share. A failed
// check ends the test, so they must run on the test's own goroutine.
//
// The optional last arguments say what was being checked: a format and its
// operands.
package assert

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Equal fails the test unless got and want are equal by [cmp.Equal].
func Equal[T any](t testing.TB, got, want T, what ...any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		fail(t, what, "mismatch (-want +got):\n%s", diff)
	}
}

// EqualOpt is Equal with options, such as those of package cmpopts.
func EqualOpt[T any](t testing.TB, got, want T, opts cmp.Options, what ...any) {
	t.Helper()
	if diff := cmp.Diff(want, got, opts); diff != "" {
		fail(t, what, "mismatch (-want +got):\n%s", diff)
	}
}

// NotEqual fails the test if a and b are equal.
func NotEqual[T comparable](t testing.TB, a, b T, what ...any) {
	t.Helper()
	if a == b {
		fail(t, what, "both are %v", a)
	}
}

// True fails the test unless ok.
func True(t testing.TB, ok bool, what ...any) {
	t.Helper()
	if !ok {
		fail(t, what, "got false, want true")
	}
}

// False fails the test if bad.
func False(t testing.TB, bad bool, what ...any) {
	t.Helper()
	if bad {
		fail(t, what, "got true, want false")
	}
}

// NoError fails the test if err is not nil.
func NoError(t testing.TB, err error, what ...any) {
	t.Helper()
	if err != nil {
		fail(t, what, "unexpected error: %v", err)
	}
}

// Must returns v, or fails the test if err is not nil. It takes a call with
// two results: v := assert.Must(open(path))(t).
func Must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		NoError(t, err)
		return v
	}
}

// ErrorIs fails the test unless err wraps target.
func ErrorIs(t testing.TB, err, target error, what ...any) {
	t.Helper()
	if !errors.Is(err, target) {
		fail(t, what, "got error %v, want one that is: %v", err, target)
	}
}

// ErrorAs returns the first error of type E that err wraps, and fails the
// test if there is none.
func ErrorAs[E error](t testing.TB, err error, what ...any) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		fail(t, what, "got error %v (%T), want a %T", err, err, e)
	}
	return e
}

// ErrorContains fails the test unless err's text contains every part.
func ErrorContains(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		fail(t, nil, "got no error, want one with %q", parts)
		return
	}
	Contains(t, err.Error(), parts...)
}

// Contains fails the test unless s contains every part.
func Contains(t testing.TB, s string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(s, part) {
			fail(t, nil, "no %q in:\n%s", part, s)
		}
	}
}

// Panics fails the test unless f panics, and returns what it panicked with.
func Panics(t testing.TB, f func(), what ...any) (value any) {
	t.Helper()
	returned := false
	func() {
		defer func() { value = recover() }()
		f()
		returned = true
	}()
	if returned {
		fail(t, what, "no panic")
	}
	return value
}

func fail(t testing.TB, what []any, format string, args ...any) {
	t.Helper()
	msg := fmt.Sprintf(format, args...)
	if len(what) > 0 {
		prefix, ok := what[0].(string)
		if !ok || len(what) > 1 && !strings.Contains(prefix, "%") {
			prefix = fmt.Sprint(what...)
		} else {
			prefix = fmt.Sprintf(prefix, what[1:]...)
		}
		msg = prefix + ": " + msg
	}
	t.Fatal(msg)
}
