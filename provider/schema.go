package provider

import (
	"errors"
	"fmt"
)

// What is wrong with the version of a schema. A [*SchemaError] has the numbers.
var (
	// ErrSchemaNewer: the store was written by a newer version.
	ErrSchemaNewer = errors.New("the store's schema is newer than this program")
	// ErrSchemaOlder: the store has to be migrated first.
	ErrSchemaOlder = errors.New("the store's schema is older than this program needs")
	// ErrSchemaDown: a schema is not taken back to an older version.
	ErrSchemaDown = errors.New("a schema does not go back")
)

// Schema is where the schema of a store stands, and what a program can do
// about that.
type Schema struct {
	// Version is the store's. Zero: it has none yet.
	Version int
	// Min and Max are what the program works with. Max is the newest that it
	// knows, and what Open migrates to.
	Min, Max int
	// Migrations are those that lead from Version to Max, in order.
	Migrations []Migration
}

// Migration is one numbered step of a schema.
type Migration struct {
	Version int    // to which it leads
	Name    string // of its file
}

// Check returns nil if the program works with the schema as it is, and a
// [*SchemaError] otherwise.
func (s Schema) Check() error {
	switch {
	case s.Version > s.Max:
		return &SchemaError{ErrSchemaNewer, s, s.Max}
	case s.Version < s.Min:
		return &SchemaError{ErrSchemaOlder, s, s.Max}
	}
	return nil
}

// Steps returns the migrations that lead to a version, which are none if it is
// there. Zero stands for Max. A version that is not known, or is older than the
// schema, is a [*SchemaError].
func (s Schema) Steps(to int) ([]Migration, error) {
	if to == 0 {
		to = s.Max
	}
	switch {
	case s.Version > s.Max:
		return nil, &SchemaError{ErrSchemaNewer, s, to}
	case to < 0 || to > s.Max:
		return nil, &SchemaError{ErrInvalid, s, to}
	case to < s.Version:
		return nil, &SchemaError{ErrSchemaDown, s, to}
	}
	return s.Migrations[:to-s.Version], nil
}

// SchemaError says what is wrong with the version of a schema, and what to do.
// It matches Kind: [ErrSchemaNewer], [ErrSchemaOlder], [ErrSchemaDown], or
// [ErrInvalid] for a version that the program does not know.
type SchemaError struct {
	Kind   error
	Schema Schema
	// To is the version that was asked for.
	To int
}

func (e *SchemaError) Error() string {
	works := Range{Min: e.Schema.Min, Max: e.Schema.Max}
	switch e.Kind {
	case ErrSchemaNewer:
		return fmt.Sprintf("%v: it has version %d, this program works with %v; upgrade the program", e.Kind, e.Schema.Version, works)
	case ErrSchemaOlder:
		return fmt.Sprintf("%v: it has version %d, this program works with %v; run 'durango migrate --to %d', or let the program migrate it when it opens the store",
			e.Kind, e.Schema.Version, works, e.To)
	case ErrSchemaDown:
		return fmt.Sprintf("%v: it has version %d, and no migration leads back to %d; go on with a program that works with %d, or restore a backup",
			e.Kind, e.Schema.Version, e.To, e.Schema.Version)
	}
	return fmt.Sprintf("%v: this program knows the versions 1 to %d of the schema, and not %d", e.Kind, e.Schema.Max, e.To)
}

// Unwrap returns Kind.
func (e *SchemaError) Unwrap() error { return e.Kind }
