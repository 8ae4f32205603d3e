package durango

import (
	"fmt"
	"strings"

	"github.com/durango-go/durango/history"
)

// Bounds of a stored error. The text of a chain repeats itself at every level,
// so the levels below the first share one allowance.
const (
	maxChain   = 16
	maxMessage = 16 << 10
)

// walk calls visit for err and everything it wraps, depth first, until visit
// returns false. It returns whether it came to the end.
func walk(err error, visit func(error) bool) bool {
	for err != nil {
		if !visit(err) {
			return false
		}
		switch w := err.(type) {
		case interface{ Unwrap() error }:
			err = w.Unwrap()
		case interface{ Unwrap() []error }:
			for _, branch := range w.Unwrap() {
				if !walk(branch, visit) {
					return false
				}
			}
			return true
		default:
			return true
		}
	}
	return true
}

// toFailure is the form in which err is stored. It returns nil for nil.
func toFailure(err error) *history.Failure {
	if err == nil {
		return nil
	}
	var first, last *history.Failure
	final, depth, room := false, 0, 2*maxMessage
	walk(err, func(err error) bool {
		if _, ok := err.(*finalError); ok {
			final = true
			return true
		}
		if depth++; depth > maxChain {
			return false
		}
		f := failureNode(err)
		final = final || f.Final
		f.Message = cut(f.Message, min(maxMessage, room))
		room -= len(f.Message)
		if last == nil {
			first = f
		} else {
			last.Cause = f
		}
		last = f
		return true
	})
	if first == nil {
		first = &history.Failure{Message: cut(err.Error(), maxMessage)}
	}
	first.Final = final
	return first
}

// failureNode converts one level of a chain.
func failureNode(err error) *history.Failure {
	if e, ok := err.(*Error); ok {
		return &history.Failure{Code: e.Code, Message: e.Message, Type: e.Type, Detail: e.Detail, Final: e.Final}
	}
	if code := codeOf(err); code != "" {
		return &history.Failure{Code: code, Message: err.Error()}
	}
	return &history.Failure{Message: err.Error(), Type: fmt.Sprintf("%T", err)}
}

// cut shortens s to at most n bytes of valid UTF-8.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// fromFailure is the inverse of toFailure. It returns nil for nil.
func fromFailure(f *history.Failure) error {
	if f == nil {
		return nil
	}
	return &Error{
		Code: f.Code, Message: f.Message, Type: f.Type, Detail: f.Detail, Final: f.Final,
		Cause: fromFailure(f.Cause),
	}
}
