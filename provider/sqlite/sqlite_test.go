package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/providertest"
)

// open opens a store in a fresh directory.
func open(tb testing.TB, options Options) *Store {
	tb.Helper()
	return openAt(tb, filepath.Join(tb.TempDir(), "store.db"), options)
}

func openAt(tb testing.TB, path string, options Options) *Store {
	tb.Helper()
	s, err := OpenWith(path, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func TestConformanceFile(t *testing.T) {
	providertest.Config{
		// The tests make thousands of small commits: what they check does not
		// depend on flushing each.
		Open: func(tb testing.TB) provider.Provider { return open(tb, Options{Synchronous: Normal}) },
		Again: func(tb testing.TB, p provider.Provider) provider.Provider {
			return openAt(tb, p.(*Store).name, Options{Synchronous: Normal})
		},
	}.Run(t)
}

func TestConformanceMemory(t *testing.T) {
	providertest.Config{
		Open: func(tb testing.TB) provider.Provider { return openAt(tb, ":memory:", Options{}) },
	}.Run(t)
}
