package durango

import (
	"log/slog"

	"github.com/durango-go/durango/internal/engine"
)

// What the tests of the language need to drive bound functions without an
// engine.

// Definitions is what Register would hand to the engine.
func Definitions(logger *slog.Logger, ds ...Registrable) ([]engine.Orchestration, []engine.Activity, []error) {
	return DefinitionsWith(Options{Logger: logger}, ds...)
}

// DefinitionsWith is Definitions of a runtime with options.
func DefinitionsWith(o Options, ds ...Registrable) ([]engine.Orchestration, []engine.Activity, []error) {
	r := registry{names: map[string]bool{}, env: newEnvironment(nil, &o, newBlobs(nil, o.Codec, o.Blobs))}
	for _, d := range ds {
		d.register(&r)
	}
	return r.orchestrations, r.activities, r.problems
}

// ReadOutcome is what Run.Wait does with a stored outcome.
func ReadOutcome[T any](outcome []byte) (T, error) { return readOutcome[T](nil, "test", outcome) }
