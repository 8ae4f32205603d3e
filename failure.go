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
	// typeCut is the type of a declared error whose detail was too large to keep.
	typeCut = "detail left out"
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
func toFailure(c Codec, err error) *history.Failure { return seal(c, plainFailure(err)) }

// plainFailure is toFailure before the codec.
func plainFailure(err error) *history.Failure {
	if err == nil {
		return nil
	}
	var first, last *history.Failure
	final, pause, depth, room := false, int64(0), 0, 2*maxMessage
	walk(err, func(err error) bool {
		if later, ok := err.(*retryError); ok {
			pause = max(pause, int64(later.pause))
			return true
		}
		if _, ok := err.(*finalError); ok {
			final = true
			return true
		}
		if depth++; depth > maxChain {
			return false
		}
		f := failureNode(err)
		final = final || f.Final
		f.Message = shorten(f.Message, min(maxMessage, room))
		if n := len(f.Detail); n > min(maxMessage, room-len(f.Message)) {
			f.Message, f.Type, f.Detail = fmt.Sprintf("%s (its detail of %d bytes was left out)", f.Message, n), typeCut, nil
		}
		room -= len(f.Message) + len(f.Detail)
		if last == nil {
			first = f
		} else {
			last.Cause = f
		}
		last = f
		return true
	})
	if first == nil {
		first = &history.Failure{Message: shorten(err.Error(), maxMessage)}
	}
	first.Final, first.RetryAfter = final, pause
	return first
}

// failureNode converts one level of a chain.
func failureNode(err error) *history.Failure {
	if e, ok := err.(*Error); ok {
		return &history.Failure{Code: e.Code, Message: e.Message, Type: e.Type, Detail: e.Detail, Final: e.Final}
	}
	if code := codeOf(err); code != "" {
		f := &history.Failure{Code: code, Message: err.Error()}
		if d, ok := err.(interface{ detail() []byte }); ok {
			f.Detail = d.detail()
		}
		return f
	}
	return &history.Failure{Message: err.Error(), Type: fmt.Sprintf("%T", err)}
}

// shorten is cut for people, who see that something is missing.
func shorten(s string, n int) string {
	const mark = " … (cut)"
	if len(s) <= n {
		return cut(s, n)
	}
	if n < len(mark) {
		return ""
	}
	return cut(s, n-len(mark)) + mark
}

// cut shortens s to at most n bytes of valid UTF-8.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// sealedText is the part of a failure that passes a codec other than the
// default, which keeps the code and what the engine acts upon readable.
type sealedText struct {
	Message string `json:"message,omitempty"`
	Type    string `json:"type,omitempty"`
	Detail  []byte `json:"detail,omitempty"`
}

// seal hands the text of a chain to the codec. Nothing may get past it: text
// that it does not take is not stored.
func seal(c Codec, first *history.Failure) *history.Failure {
	if c == nil {
		return first
	}
	for f := first; f != nil; f = f.Cause {
		b, err := c.Encode(&sealedText{f.Message, f.Type, f.Detail})
		if err != nil {
			f.Message, f.Type, f.Detail = fmt.Sprintf("an error that the codec did not encode: %T", err), "", nil
			continue
		}
		f.Sealed, f.Message, f.Type, f.Detail = true, "", "", b
	}
	return first
}

// fromFailure is the inverse of toFailure: it returns an *[Error], nil for nil,
// or a *[DecodeError] if the codec cannot open it.
func fromFailure(c Codec, f *history.Failure) error {
	if f == nil {
		return nil
	}
	text := sealedText{f.Message, f.Type, f.Detail}
	if f.Sealed {
		text = sealedText{}
		if err := decode(c, f.Detail, &text); err != nil {
			return decodeError[sealedText](fmt.Sprintf("error %q", f.Code), err)
		}
	}
	cause := fromFailure(c, f.Cause)
	if err, ok := cause.(*DecodeError); ok {
		return err
	}
	return &Error{Code: f.Code, Message: text.Message, Type: text.Type, Detail: text.Detail, Final: f.Final, Cause: cause}
}
