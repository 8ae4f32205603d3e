package provider

import "context"

// Examiner is implemented by stores that can examine themselves. It is
// optional, and for people: nothing depends on it.
type Examiner interface {
	// Examine looks for what is wrong with the store, and returns what it has
	// looked at, healthy or not. It changes nothing, may take a while, and
	// returns an error only if it could not look.
	Examine(ctx context.Context) ([]Symptom, error)
}

// Symptom is what an examination has found of one thing.
type Symptom struct {
	Severity Severity
	// Name says what was looked at, in a word or two: "schema", "indexes".
	Name string
	// Text says what was found and, unless it is healthy, what to do.
	Text string
}

// Severity says how bad a symptom is.
type Severity uint8

// The severities.
const (
	Healthy Severity = 0
	Warning Severity = 1 // works, and needs a look
	Sick    Severity = 2 // something does not work, or soon will not
)

// String returns the severity's name.
func (s Severity) String() string {
	switch s {
	case Healthy:
		return "ok"
	case Warning:
		return "warning"
	}
	return "sick"
}
