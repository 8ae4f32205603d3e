package provider_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/durango-go/durango/provider"
)

// schemaAt is a schema that a program of versions 2 to 4 has found.
func schemaAt(version int) provider.Schema {
	s := provider.Schema{Version: version, Min: 2, Max: 4}
	for v := version + 1; v <= s.Max; v++ {
		s.Migrations = append(s.Migrations, provider.Migration{Version: v})
	}
	return s
}

// DESIGN 8.9: "A store whose schema is newer than the binary is refused". One
// that is older is worked with if the program can.
func TestSchemaCheck(t *testing.T) {
	for version, want := range map[int]error{
		0: provider.ErrSchemaOlder, 1: provider.ErrSchemaOlder, 2: nil, 3: nil, 4: nil, 5: provider.ErrSchemaNewer,
	} {
		err := schemaAt(version).Check()
		if want == nil {
			if err != nil {
				t.Errorf("version %d: %v", version, err)
			}
			continue
		}
		schemaError(t, err, want, version, 4)
	}
}

func TestSchemaSteps(t *testing.T) {
	for _, tc := range []struct {
		version, to int
		want        []int
		err         error
	}{
		{0, 0, []int{1, 2, 3, 4}, nil},
		{0, 2, []int{1, 2}, nil},
		{2, 3, []int{3}, nil},
		{2, 0, []int{3, 4}, nil},
		{3, 3, nil, nil},
		{4, 0, nil, nil},
		{3, 2, nil, provider.ErrSchemaDown},
		{3, 5, nil, provider.ErrInvalid},
		{3, -1, nil, provider.ErrInvalid},
		{5, 4, nil, provider.ErrSchemaNewer},
	} {
		steps, err := schemaAt(tc.version).Steps(tc.to)
		if tc.err != nil {
			schemaError(t, err, tc.err, tc.version, tc.to)
			continue
		}
		var got []int
		for _, m := range steps {
			got = append(got, m.Version)
		}
		if err != nil || len(got) != len(tc.want) {
			t.Fatalf("from %d to %d: got %v, %v; want %v", tc.version, tc.to, got, err, tc.want)
		}
		for i := range got {
			if got[i] != tc.want[i] {
				t.Errorf("from %d to %d: got %v, want %v", tc.version, tc.to, got, tc.want)
			}
		}
	}
}

func schemaError(t *testing.T, err, kind error, version, to int) {
	t.Helper()
	var typed *provider.SchemaError
	if !errors.As(err, &typed) || !errors.Is(err, kind) || typed.Schema.Version != version || typed.To != to {
		t.Errorf("got %v, want %v of version %d, to %d", err, kind, version, to)
	}
}

func TestSchemaErrorsSayWhatToDo(t *testing.T) {
	for kind, want := range map[error]string{
		provider.ErrSchemaNewer: "it has version 9, this program works with 2 to 4; upgrade the program",
		provider.ErrSchemaOlder: "it has version 9, this program works with 2 to 4; run 'durango migrate --to 3'",
		provider.ErrSchemaDown:  "it has version 9, and no migration leads back to 3; go on with a program that works with 9, or restore a backup",
		provider.ErrInvalid:     "this program knows the versions 1 to 4 of the schema, and not 3",
	} {
		err := &provider.SchemaError{Kind: kind, Schema: provider.Schema{Version: 9, Min: 2, Max: 4}, To: 3}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}
