package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
)

// An examination names what is wrong, and nothing where nothing is.
func TestExamine(t *testing.T) {
	symptoms := func(path string) map[string]provider.Symptom {
		t.Helper()
		s, err := OpenWith(path, Options{ReadOnly: path != ":memory:"})
		assert.NoError(t, err)
		defer s.Close()
		all, err := s.Examine(t.Context())
		assert.NoError(t, err)
		byName := map[string]provider.Symptom{}
		for _, y := range all {
			byName[y.Name] = y
		}
		return byName
	}
	for _, y := range symptoms(":memory:") {
		assert.Equal(t, y.Severity, provider.Healthy, "%v", y)
	}

	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(path)
	assert.NoError(t, err)
	assert.NoError(t, s.Close())
	healthy := symptoms(path)
	for _, y := range healthy {
		assert.Equal(t, y.Severity, provider.Healthy, "%v", y)
	}
	assert.True(t, len(healthy) >= 2, "looked at %v", healthy)

	c, err := sqlite.OpenConn(path)
	assert.NoError(t, err)
	assert.NoError(t, sqlitex.ExecuteTransient(c, "DROP INDEX instances_rare", nil))
	assert.NoError(t, c.Close())
	_, err = Open(path)
	assert.True(t, err != nil && strings.Contains(err.Error(), "no such index: instances_rare"), "%v", err)

	// A page of a file overwritten.
	path = filepath.Join(t.TempDir(), "y.db")
	s, err = Open(path)
	assert.NoError(t, err)
	assert.NoError(t, s.Close())
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	assert.NoError(t, err)
	_, err = f.WriteAt([]byte(strings.Repeat("\xff", 4096)), 3*4096)
	assert.NoError(t, err)
	assert.NoError(t, f.Close())
	y := symptoms(path)["file"]
	assert.Equal(t, y.Severity, provider.Sick, "%v", y)
}

// A store that was open while another program migrated says that it is behind.
func TestExamineSeesANewerSchema(t *testing.T) {
	s := open(t, Options{})
	must(t, raw(t, s).pragma("user_version = 99"))
	all, err := s.Examine(t.Context())
	must(t, err)
	assert.Equal(t, all[0].Severity, provider.Sick)
	assert.Contains(t, all[0].Text, "version 99, since this program opened it with version")
}
