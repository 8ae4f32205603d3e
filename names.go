package durango

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"
)

// Limits of what is used to find things in a store.
const (
	// MaxNameLength is the longest name of an orchestration, activity, signal
	// or error kind, in bytes.
	MaxNameLength = 255
	// MaxIDLength is the longest instance ID, in bytes.
	MaxIDLength = 512
	// MaxReasonLength is the longest reason of a request to cancel or terminate,
	// in bytes.
	MaxReasonLength = 4 << 10
	// MaxNonRetryable is how many names [RetryPolicy.NonRetryable] may have.
	MaxNonRetryable = 64
	// DefaultVersion is the version of an orchestration bound without one.
	DefaultVersion = "1.0.0"
	// SameVersion, as [CallOptions.Version] of the handle whose ContinueAsNew is
	// called, keeps the version that is running.
	SameVersion = "same"
)

// reservedPrefix begins the names that belong to the engine.
const reservedPrefix = "durango/"

// InvalidError says that a value handed to durango cannot be used. It is
// returned by the call that got the value, before anything has happened.
type InvalidError struct {
	// What the value is: "instance ID", "activity name".
	What string
	// Value as it was given, cut to 64 bytes.
	Value string
	// Reason says what is wrong with it, with the limit that applies.
	Reason string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("invalid %s %q: %s", e.What, e.Value, e.Reason)
}

// Is makes every InvalidError match [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

func (e *InvalidError) errorCode() string { return CodeInvalid }

func invalid(what, value, reason string) error {
	if len(value) > 64 {
		value = value[:64]
	}
	return &InvalidError{What: what, Value: value, Reason: reason}
}

// checkName reports what is wrong with a declared name. what says whose name
// it is.
func checkName(what, name string) error {
	if err := checkText(what, name, MaxNameLength); err != nil {
		return err
	}
	if strings.HasPrefix(name, reservedPrefix) {
		return invalid(what, name, `names that begin with "durango/" are reserved`)
	}
	return nil
}

// checkID reports what is wrong with an instance ID.
func checkID(id string) error { return checkText("instance ID", id, MaxIDLength) }

func checkText(what, s string, limit int) error {
	switch {
	case s == "":
		return invalid(what, s, "it is empty")
	case len(s) > limit:
		return invalid(what, s, fmt.Sprintf("it is %d bytes long, the limit is %d", len(s), limit))
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return checkRunes(what, s)
		}
	}
	return nil
}

// checkReason reports what is wrong with a reason, which may be empty and have
// lines.
func checkReason(reason string) error {
	switch {
	case len(reason) > MaxReasonLength:
		return invalid("reason", reason, fmt.Sprintf("it is %d bytes long, the limit is %d", len(reason), MaxReasonLength))
	case !utf8.ValidString(reason) || strings.ContainsRune(reason, 0):
		return invalid("reason", reason, "it is not UTF-8 text")
	}
	return nil
}

// checkRunes is the slow half of checkText, for what is not printable ASCII.
func checkRunes(what, s string) error {
	if !utf8.ValidString(s) {
		return invalid(what, s, "it is not valid UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return invalid(what, s, fmt.Sprintf("it contains the control character %U", r))
		}
	}
	return nil
}

// checkVersion reports what is wrong with the version of an orchestration.
// Build metadata is refused because semver gives it no order, and the engine
// must be able to say which of two versions is the higher.
func checkVersion(v string) error {
	const what = "version"
	switch {
	case len(v) > MaxNameLength:
		return invalid(what, v, fmt.Sprintf("it is %d bytes long, the limit is %d", len(v), MaxNameLength))
	case strings.Contains(v, "+"):
		return invalid(what, v, "build metadata has no order")
	}
	if _, err := semver.StrictNewVersion(v); err != nil {
		return invalid(what, v, "a version is MAJOR.MINOR.PATCH, as in 1.4.0 (semver.org)")
	}
	return nil
}

// checkRange reports what is wrong with a version or a range of versions.
func checkRange(v string) error {
	const what = "version"
	if _, err := semver.StrictNewVersion(v); err == nil {
		return checkVersion(v)
	}
	if len(v) > MaxNameLength {
		return invalid(what, v, fmt.Sprintf("it is %d bytes long, the limit is %d", len(v), MaxNameLength))
	}
	if _, err := semver.NewConstraint(v); err != nil {
		return invalid(what, v, "it is neither a version, MAJOR.MINOR.PATCH as in 1.4.0, nor a range, as ^1.4 or >=1.4 <3")
	}
	return nil
}
