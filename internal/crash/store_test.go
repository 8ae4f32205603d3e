package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/durango-go/durango/internal/assert"
	"github.com/durango-go/durango/provider"
	"github.com/durango-go/durango/provider/postgres"
	"github.com/durango-go/durango/provider/sqlite"
)

// inspected is a store that tests look into.
type inspected interface {
	provider.Provider
	provider.Inspector
}

// open opens the store at a URL, as the command line has them.
func open(url string) (inspected, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
		return sqlite.Open(rest)
	case "postgres":
		return postgres.Open(context.Background(), url, postgres.Options{})
	}
	return nil, fmt.Errorf("store %q: unknown scheme", url)
}

// place is where the processes of one test meet: a store and a ledger.
type place struct {
	url   string
	dir   string
	store inspected
	// stderr takes what workers have to say; nil: this process's.
	stderr *os.File
}

func (p *place) ledger() string { return filepath.Join(p.dir, "ledger") }

// onSQLite makes a place with a file.
func onSQLite(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	return at(t, dir, "sqlite:"+filepath.Join(dir, "crash.db"))
}

func at(t *testing.T, dir, url string) *place {
	t.Helper()
	store, err := open(url)
	assert.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return &place{url: url, dir: dir, store: store}
}
